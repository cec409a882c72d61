"""Claims, facts and evidence as text: how they are read, and what is said of them."""

from __future__ import annotations

import re
from decimal import Decimal

import evidence_sources as sources
from evidence_sources import Missing, Source
from repository import ROOT

FACT = re.compile(r"(?P<record>\S+\.json) (?P<field>.+?)(?: as (?P<form>\w+))?")
FORMS = {"largest": max,
         "percent": lambda value: f"{Decimal(repr(value)) * 100:f}".rstrip("0").rstrip(".") + "%"}
# A number that stands alone. "CIFAR-10", "float32" and "chapter 8" are names.
TYPED = re.compile(r"(?<![\w.,-])(?<!hapter )\d(?:[\d.,]*\d)?(?![\w-])")
WORDS = re.compile(r"\{[\w:-]+\}`[^`]*`|\]\([^)]*\)|`[^`]*`|\$[^$]*\$")


def fact(text: str, root=ROOT) -> tuple[object, Source]:
    """The value that a role asks for, and the record in which it stands; raises Missing."""
    asked = FACT.fullmatch(text)
    if asked is None:
        raise Missing(f"a fact must read 'x.json field' or 'x.json field as form', and is {text!r}")
    form = asked["form"]
    if form and form not in FORMS:
        raise Missing(f"the form must be one of {', '.join(FORMS)}, and is {form!r}")
    value = sources.field(sources.record(asked["record"], root), asked["field"])
    value = FORMS[form](value) if form else value
    shown(value)
    return value, sources.file(asked["record"], root)


def shown(value: object) -> str:
    """A value as it stands on the page; a small number as TeX between dollars."""
    if isinstance(value, str) and value:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Missing(f"{value!r} cannot be told in words")
    if not 0 < abs(value) < 1e-3:
        return f"{int(value) if value == int(value) else value:,}"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    head = f"{'-' * sign}{digits[0]}" + ("." + "".join(map(str, digits[1:]))) * (len(digits) > 1)
    power = f"10^{{{exponent + len(digits) - 1}}}"
    return f"${power}$" if head == "1" else f"${head} \\cdot {power}$"


def plain(value: object) -> str:
    """A value of a record, as it stands there."""
    return f"{value:,}" if isinstance(value, int) else str(value)


def statements(lines: list[str]) -> list[tuple[str, list[str]]]:
    """Each sentence with the lines below it that name its evidence."""
    found = []
    for block in re.split(r"\n\s*\n", "\n".join(lines).strip()):
        text, *cited = re.split(r"^- +", block, flags=re.MULTILINE)
        found.append((" ".join(text.split()), [" ".join(line.split()) for line in cited]))
    return found


def cited(line: str, root=ROOT) -> list[Source]:
    """What a line of evidence names."""
    path, _, names = line.partition(":")
    if not names:
        return [sources.file(path, root)]
    return [sources.test(path, name.strip(), root) for name in names.split(",")]


def provenance(record: dict) -> str:
    """What a record says of its origin: how many, with which seeds, where, when."""
    if "date" not in record:  # runs, each with a machine and a day of its own
        runs = list(record.values())
        machines = dict.fromkeys(f"{run['processor']}, {run['cores']} cores" for run in runs)
        days = sorted({run["date"] for run in runs})
        return "; ".join([*machines, " to ".join(dict.fromkeys([days[0], days[-1]]))])
    told = [f"n = {record['n']:,}"] if "n" in record else []
    told += [f"seeds {record['seeds']}"] if re.match(r"\d", str(record.get("seeds"))) else []
    told += [record[key] for key in ("hardware", "precision") if key in record]
    return ", ".join([*told, record["date"], f"commit {record['commit']}"])
