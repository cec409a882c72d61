"""What the page "How we know" cites, read where it stands: tests, files, measured records.

Whatever is not there is an error, so that no claim outlives its evidence.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from pathlib import Path

from repository import ROOT, definitions

RESULTS = "data/results"


class Missing(ValueError):
    """The page cites what is not there."""


@dataclass(frozen=True)
class Source:
    """A file that a claim rests on; of a test also its name and its lines."""

    path: str
    name: str | None = None
    first: int | None = None
    last: int | None = None


def in_tests(path: str) -> str:
    """test_x.py lies in tests, other paths are taken as they are."""
    return f"tests/{path}" if re.fullmatch(r"test_\w+\.py", path) else path


def test(path: str, name: str, root: Path = ROOT) -> Source:
    """A test function that pytest collects and does not always skip."""
    path = in_tests(path)
    if not re.fullmatch(r"tests/test_\w+\.py", path) or not name.startswith("test"):
        raise Missing(f"{path}: {name} is no test")
    file(path, root)
    found = definitions(root / path).get(name)
    if not isinstance(found, ast.FunctionDef):
        raise Missing(f"{path} has no test {name}")
    marks = [ast.unparse(mark) for mark in found.decorator_list]
    if any(re.match(r"pytest\.(mark\.(skip|xfail)\b|fixture\b)", mark) for mark in marks):
        raise Missing(f"{path}: {name} is never run")
    return Source(path, name, found.lineno, found.end_lineno)


def file(path: str, root: Path = ROOT) -> Source:
    """A file of the repository, or a test module as a whole."""
    path = in_tests(path)
    if path.endswith(".json") and "/" not in path:
        path = f"{RESULTS}/{path}"
    if not (root / path).is_file():
        raise Missing(f"there is no file {path}")
    return Source(path)


def record(name: str, root: Path = ROOT) -> dict:
    return json.loads((root / file(name, root).path).read_text(encoding="utf-8"))


def field(value: object, path: str) -> object:
    """A value in a record: rows[S=10,eta=0.0].distance, or *.seconds for one of each entry."""
    if not path:
        return value
    if path.startswith("["):
        chosen, _, rest = path[1:].partition("]")
        wanted = dict(pair.split("=") for pair in chosen.split(","))
        rows = [row for row in value
                if all(str(row.get(key)) == text for key, text in wanted.items())]
        if len(rows) != 1:
            raise Missing(f"{len(rows)} rows have {chosen}")
        return field(rows[0], rest.removeprefix("."))
    if path.startswith("*."):
        entries = value.values() if isinstance(value, dict) else value
        return [field(entry, path[2:]) for entry in entries]
    # Keys may have dots.
    for key in sorted(value if isinstance(value, dict) else (), key=len, reverse=True):
        if path == key or path.startswith((f"{key}.", f"{key}[")):
            return field(value[key], path[len(key):].removeprefix("."))
    raise Missing(f"there is no field {path}")
