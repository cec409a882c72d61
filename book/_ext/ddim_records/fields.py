"""The measured records in data/results, read for a page: their fields, values and origin."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path

from ddim_shared.repository import ROOT

RESULTS = "data/results"
FACT = re.compile(r"(?P<record>\S+\.json) (?P<field>.+?)(?: as (?P<form>\w+))?")
FORMS = {"largest": max,
         "percent": lambda value: f"{Decimal(repr(value)) * 100:f}".rstrip("0").rstrip(".") + "%"}
#: What a record may say of its origin, in the order of a sentence.
ORIGIN = {"n": "n = {:,}", "rounds": "medians of {} rounds", "seeds": "seeds {}",
          "processor": "{}", "hardware": "{}", "precision": "{}", "python": "Python {}",
          "torch": "torch {}", "diffusers": "diffusers {}", "date": "{}", "commit": "commit {}"}


class Missing(ValueError):
    """A page cites what is not there."""


def load(name: str, root: Path = ROOT) -> dict:
    """The record data/results/NAME."""
    path = root / RESULTS / name
    if not path.is_file():
        raise Missing(f"there is no file {RESULTS}/{name}")
    return json.loads(path.read_text(encoding="utf-8"))


def field(value: object, path: str) -> object:
    """A value in a record: rows[S=10,eta=0.0].distance, or *.seconds for one of each entry."""
    if not path:
        return value
    if path.startswith("["):
        conditions, _, rest = path[1:].partition("]")
        rows = chosen(value, conditions)
        if not rows:
            raise Missing(f"no row has {conditions}")
        if len(rows) > 1:
            raise ValueError(f"{len(rows)} rows have {conditions}, and it must be one")
        return field(rows[0], rest.removeprefix("."))
    if path.startswith("*."):
        entries = value.values() if isinstance(value, dict) else value
        return [field(entry, path[2:]) for entry in entries]
    # Keys may have dots.
    for key in sorted(value if isinstance(value, dict) else (), key=len, reverse=True):
        if path == key or path.startswith((f"{key}.", f"{key}[")):
            return field(value[key], path[len(key):].removeprefix("."))
    raise Missing(f"there is no field {path}")


def chosen(rows: list[dict], conditions: str) -> list[dict]:
    """The rows in which each condition of "S=10, eta=0.0" holds."""
    if not re.fullmatch(r"[^,=]+=[^,=]+(,[^,=]+=[^,=]+)*", conditions):
        raise ValueError(f"conditions must read 'key=value, key=value', and are {conditions!r}")
    wanted = [[side.strip() for side in pair.split("=")] for pair in conditions.split(",")]
    return [row for row in rows if all(str(row.get(key)) == text for key, text in wanted)]


def fact(text: str, root: Path = ROOT) -> tuple[object, str]:
    """The value that "x.json field" or "x.json field as form" asks for, and the record's name."""
    asked = FACT.fullmatch(text)
    if asked is None:
        raise ValueError("a fact must read 'x.json field' or 'x.json field as form', and is "
                         f"{text!r}")
    form = asked["form"]
    if form and form not in FORMS:
        raise ValueError(f"the form must be one of {', '.join(FORMS)}, and is {form!r}")
    value = field(load(asked["record"], root), asked["field"])
    value = FORMS[form](value) if form else value
    shown(value)
    return value, asked["record"]


def shown(value: object) -> str:
    """A value as it stands on the page; a small number as TeX between dollars."""
    if isinstance(value, str) and value:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} cannot be told in words")
    if not 0 < abs(value) < 1e-3:
        return f"{int(value) if value == int(value) else value:,}"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    head = f"{'-' * sign}{digits[0]}" + ("." + "".join(map(str, digits[1:]))) * (len(digits) > 1)
    power = f"10^{{{exponent + len(digits) - 1}}}"
    return f"${power}$" if head == "1" else f"${head} \\cdot {power}$"


def origin(record: dict) -> str:
    """What a record says of its origin: how many, with which seeds, where, when.

    A record of runs, each with a machine and a day of its own, names every machine with its runs.
    """
    if "date" not in record:
        runs: dict[str, list[str]] = {}
        for name, run in record.items():
            machine = f"{run['processor']}, {run['cores']} cores, {run['threads']} threads"
            runs.setdefault(origin(run | {"processor": machine}), []).append(name)
        return "; ".join(said if len(runs) == 1 else f"{', '.join(names)}: {said}"
                         for said, names in runs.items())
    # Seeds that are no numbers are words for there being none.
    return ", ".join(form.format(record[key]) for key, form in ORIGIN.items() if key in record
                     and (key != "seeds" or re.match(r"\d", str(record[key]))))
