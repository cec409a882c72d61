"""Change the library in small ways, one at a time; the tests must notice each that matters.

mutmut makes the mutants of schedule, sampling, training, its precision and metrics, in copies of
the last commit in the user's cache, and runs a module's own tests against each. A mutant that no
test notices must stand in proofs/survivors.toml with a reason; one that stands there and is
noticed, or is no more, is an error as well.

    python -m proofs.mutants                 all modules
    python -m proofs.mutants sampling        one; the record keeps what it says of the others

A run that was interrupted goes on where it stopped, as long as module and tests are the same.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections import Counter
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from ddim_lib.runtime.provenance import commit
from ddim_lib.storage.folders import cache_root
from proofs.common import RESULTS, ROOT, Failed, record
from proofs.mutation_runs import NOTICED, TESTS, Mutants, source_hash

LIST = ROOT / "proofs" / "survivors.toml"
KINDS = ("equivalent", "kept")
ENOUGH = 0.95  # of the mutants that change behaviour


def accepted(module: str, path: Path = LIST) -> list[dict]:
    """The listed survivors of a module.

    Raises:
        Failed: an entry has no reason, or a kind that is none.
    """
    entries = tomllib.loads(path.read_text()).get(module, [])
    for entry in entries:
        if entry.get("kind") not in KINDS or len(entry.get("why", "")) < 10:
            raise Failed(f"{path.name}: kind must be {' or '.join(KINDS)} and why a reason; of "
                         f"{entry.get('was')!r} they are {entry.get('kind')!r} and "
                         f"{entry.get('why')!r}")
    return entries


def compare(found: list[tuple], listed: list[dict]) -> list[str]:
    """What is wrong between the survivors (function, was, became) and the list, in words."""
    here = Counter(found)
    there = Counter((entry["function"], entry["was"], entry["became"]) for entry in listed)
    words = ((here - there, "survives and is not listed"),
             (there - here, "is listed and does not survive"))
    return [f"{what}: {function}: {was}  ->  {became}" for mutants, what in words
            for function, was, became in mutants.elements()]


def score(killed: int, mutants: int, equivalent: int) -> float:
    """The share of the mutants that change behaviour that a test noticed."""
    return killed / (mutants - equivalent)


def counts(verdicts: dict[str, str], listed: list[dict]) -> dict:
    """The numbers of a record, of one module."""
    killed = sum(what in NOTICED for what in verdicts.values())
    equivalent = sum(entry["kind"] == "equivalent" for entry in listed)
    return {"mutants": len(verdicts), "killed": killed, "equivalent": equivalent,
            "kept": len(listed) - equivalent,
            "score": round(score(killed, len(verdicts), equivalent), 4)}


def prove(module: str, folder: Path) -> dict:
    """Run the mutants of one module; the facts for the record.

    Raises:
        Failed: the survivors are not the listed ones, or too many change behaviour.
    """
    mutants, listed = Mutants(module, folder), accepted(module)
    mutants.prepare()
    mutants.run()
    verdicts = mutants.verdicts()
    survivors = [mutants.change(name) for name, what in verdicts.items() if what not in NOTICED]
    if wrong := compare(survivors, listed):
        raise Failed(f"{len(wrong)} differences from {LIST.name}:\n" + "\n".join(wrong))
    facts = counts(verdicts, listed)
    if not mutants.current():
        raise Failed("module or tests were committed anew while their mutants ran: once more")
    if facts["score"] < ENOUGH:
        raise Failed(f"only {facts['score']:.1%} of the mutants that matter are killed")
    return {**facts, "seconds": round(mutants.seconds()), "tests": TESTS[module],
            "source_sha256": source_hash(module), "commit": commit(),
            "date": datetime.now(UTC).date().isoformat()}


def merged(old: dict, new: dict) -> dict:
    """What was found now, and of other modules what the record says of the source they have now."""
    kept = {name: facts for name, facts in old.items()
            if name in TESTS and facts["source_sha256"] == source_hash(name)}
    return {name: (kept | new)[name] for name in TESTS if name in kept | new}


def main(names: list[str]) -> None:
    """These modules (all, where none is named); the record, which is told where it is not whole."""
    for name in names:
        if name not in TESTS:
            sys.exit(f"the module must be one of {', '.join(TESTS)}, got {name!r}")
    path, modules = RESULTS / "proof-mutants.json", {}
    for name in names or TESTS:
        try:
            found = prove(name, cache_root() / "mutants")
        except Failed as error:
            sys.exit(f"mutants: {name}: {error}")
        print(f"{name}: {found}", flush=True)
        old = json.loads(path.read_text())["modules"] if path.exists() else {}
        modules = merged(old, {name: found})
        whole = {key: sum(facts[key] for facts in modules.values())
                 for key in ("mutants", "killed", "equivalent", "kept")}
        share = score(whole["killed"], whole["mutants"], whole["equivalent"])
        record("mutants", what=WHAT, tool=f"mutmut {version('mutmut')}", threads=1, **whole,
               score=round(share, 4), modules=modules)
    if missing := TESTS.keys() - modules.keys():
        sys.exit(f"mutants: the record still lacks {', '.join(sorted(missing))}")
    print(f"written: {path}")


WHAT = ("Of mutmut's changes to these modules the tests notice all but the listed ones "
        "(proofs/survivors.toml); score is killed / (mutants - equivalent).")

if __name__ == "__main__":
    main(sys.argv[1:])
