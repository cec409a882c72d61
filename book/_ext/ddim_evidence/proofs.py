"""What the proofs of `make proof` have shown, as their records in data/results tell it."""

from __future__ import annotations

from pathlib import Path

from ddim_records.fields import RESULTS, Missing, load
from ddim_shared.repository import ROOT

from ddim_evidence.sources import Source, file

# What every proof's record says, beside its own facts.
GENERIC = ("proof", "what", "hardware", "torch", "library", "commit", "date")
# Of a record's own facts those that are for programs.
UNTOLD = {*GENERIC, "command", "source_sha256"}
LONGEST = 60  # letters of a word or two; longer texts stay in the file


def asked(wanted: list[str], root: Path = ROOT) -> list[str]:
    """The proofs wanted, or those with a record where none is: "colab" is "colab-gpu", too."""
    recorded = [path.stem.removeprefix("proof-")
                for path in sorted((root / RESULTS).glob("proof-*.json"))]
    named = [name for one in wanted
             for name in (one, *(r for r in recorded if r.startswith(f"{one}-")))]
    return named if wanted else recorded


def program(name: str, root: Path = ROOT) -> Source:
    """The module that makes the proof: "colab-gpu" is one that proofs/colab.py makes."""
    return file(f"proofs/{name.split('-')[0]}.py", root)


def proof(name: str, root: Path = ROOT) -> dict | None:
    """The record of a proof, or None where it has not been run."""
    if not (root / RESULTS / f"proof-{name}.json").is_file():
        return None
    found = load(f"proof-{name}.json", root)
    lacks = [key for key in GENERIC if not found.get(key)]
    if lacks or found["proof"] != name:
        raise Missing(f"proof-{name}.json does not say its {', '.join(lacks) or 'own name'}")
    return found


def words(key: str) -> str:
    return key.replace("_", " ")


def short(value: object) -> bool:
    """Whether a value is told on the page: a number, or a word or two."""
    if isinstance(value, str):
        return 0 < len(value) <= LONGEST and "://" not in value
    return isinstance(value, int | float) and not isinstance(value, bool)


def scalars(facts: dict, tell, form: str = "{}: {}", between: str = "; ") -> str:
    """The numbers and short texts among facts, "steps: 400; seed: 0"; `tell` writes a value."""
    return between.join(form.format(words(key), tell(value)) for key, value in facts.items()
                        if key not in UNTOLD and short(value))


def groups(facts: dict, tell) -> list[tuple[str, list[str]]]:
    """What a record has several of: a heading, and a line for each.

    Facts of facts, as the seconds of each notebook; and "unproven", what it leaves open.
    """
    found = []
    for key, value in facts.items():
        if key == "unproven":
            found.append(("What this leaves open", [str(one) for one in value]))
        elif isinstance(value, dict) and all(isinstance(one, dict) for one in value.values()):
            lines = [(words(name), scalars(one, tell, "{} {}", ", "))
                     for name, one in value.items()]
            found.append((words(key), [f"{name}: {said}" if said else name
                                       for name, said in lines]))
        elif isinstance(value, dict) and (said := scalars(value, tell)):
            found.append((words(key), [said]))
    return [(heading, lines) for heading, lines in found if lines]
