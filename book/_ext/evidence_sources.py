"""What the page "How we know" cites, read where it stands: tests, measured records, counts.

Whatever is not there is an error, so that no claim outlives its evidence.
"""

from __future__ import annotations

import ast
import functools
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import equation_sources
from repository import ROOT

RESULTS = "data/results"
PICTURE = re.compile(r"data:image/(?:png|jpeg);base64,")


class Missing(ValueError):  # noqa: N818
    """The page cites what is not there."""


@dataclass(frozen=True)
class Source:
    """A file that a claim rests on; of a test also its name and its lines."""

    path: str
    name: str | None = None
    first: int | None = None
    last: int | None = None


# Tests ------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def parsed(path: Path, changed: int) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def module(path: str, root: Path = ROOT) -> ast.Module:
    if not (root / path).is_file():
        raise Missing(f"there is no file {path}")
    return parsed(root / path, (root / path).stat().st_mtime_ns)


def functions(path: str, root: Path = ROOT) -> dict[str, ast.FunctionDef]:
    """A module's functions; of two with one name the later, which alone can be called."""
    return {n.name: n for n in module(path, root).body if isinstance(n, ast.FunctionDef)}


def in_tests(path: str) -> str:
    """test_x.py lies in tests, other paths are taken as they are."""
    return f"tests/{path}" if re.fullmatch(r"test_\w+\.py", path) else path


def test(path: str, name: str, root: Path = ROOT) -> Source:
    """A test function that pytest collects and does not always skip."""
    path = in_tests(path)
    found = functions(path, root).get(name)
    if not re.fullmatch(r"tests/test_\w+\.py", path) or not name.startswith("test"):
        raise Missing(f"{path}: {name} is no test")
    if found is None:
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


# What code says: constants, limits, parameters --------------------------------------------------


def constant(path: str, name: str, root: Path = ROOT) -> object:
    """The value of NAME = ... in a module; of a list of names their texts."""
    for node in module(path, root).body:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                pairs = [(target, node.value)]
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs = zip(target.elts, node.value.elts, strict=True)
                for place, value in pairs:
                    if isinstance(place, ast.Name) and place.id == name:
                        return plain(value)
    raise Missing(f"{path} has no constant {name}")


def plain(node: ast.AST) -> object:
    """The value of an expression; names and calls inside a list or dict stay text."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        if isinstance(node, ast.List | ast.Tuple):
            return [plain(one) for one in node.elts]
        if isinstance(node, ast.Dict):
            return [plain(key) for key in node.keys]
        return ast.unparse(node)


def inside(path: str, name: str, what: str, root: Path = ROOT) -> list:
    """What a test says of `what`, each value once.

    `what` is a name of its parametrize mark, or an argument as atol in one of its calls, or
    limit:word for the number that an expression with this word is compared with.
    """
    node = functions(path, root).get(name)
    if node is None:
        raise Missing(f"{path} has no function {name}")
    values = []
    for part in ast.walk(node):
        if isinstance(part, ast.Call) and ast.unparse(part.func) == "pytest.mark.parametrize":
            names = plain(part.args[0])
            names = re.split(r"\s*,\s*", names) if isinstance(names, str) else list(names)
            if what in names:
                rows = plain(part.args[1])
                values += rows if len(names) == 1 else [row[names.index(what)] for row in rows]
        # A name that is handed on, as steps=steps, says nothing.
        if (isinstance(part, ast.keyword) and part.arg == what
                and isinstance(part.value, ast.Constant)):
            values.append(plain(part.value))
        if what.startswith("limit:") and isinstance(part, ast.Compare):
            sides = [part.left, *part.comparators]
            if what.removeprefix("limit:") in ast.unparse(sides[0]):
                values += [plain(s) for s in sides[1:] if isinstance(s, ast.Constant)]
    if not values:
        raise Missing(f"{path}: {name} says nothing of {what}")
    return sorted(set(values), key=values.index)


# Records ----------------------------------------------------------------------------------------


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


# Counts -----------------------------------------------------------------------------------------


def chapters(root: Path) -> list[dict]:
    paths = sorted((root / "book").glob("[0-9]*.ipynb"))
    cells = [json.loads(path.read_text(encoding="utf-8"))["cells"] for path in paths]
    return [[c for c in one if c["cell_type"] == "code" and "".join(c["source"]).strip()]
            for one in cells]


def outputs(root: Path) -> list[dict]:
    return [output.get("data", {}) for chapter in chapters(root) for cell in chapter
            for output in cell["outputs"]]


def planted(root: Path) -> list[dict]:
    paths = sorted((root / "course" / "planted").glob("*.toml"))
    return [{"assignment": path.stem} | one for path in paths
            for one in tomllib.loads(path.read_text(encoding="utf-8"))["planted"]]


def test_names(root: Path) -> list[str]:
    paths = sorted((root / "tests").glob("test_*.py"))
    return [name for path in paths for name in functions(str(path.relative_to(root)), root)
            if name.startswith("test")]


def given(root: Path) -> list[str]:
    return [name for name, node in functions("tests/test_properties.py", root).items()
            if any(ast.unparse(mark).startswith("given(") for mark in node.decorator_list)]


COUNTS = {
    "equations": lambda root: len(equation_sources.equations(root)),
    "equation-tests": lambda root: len(equation_sources.tests(root)),
    "tests": lambda root: len(test_names(root)),
    "properties": lambda root: len(given(root)),
    "chapters": lambda root: len(chapters(root)),
    "cells": lambda root: sum(map(len, chapters(root))),
    "pictures": lambda root: sum(kind.startswith("image/") for data in outputs(root)
                                 for kind in data),
    "frames": lambda root: sum(len(PICTURE.findall("".join(data.get("text/html", ""))))
                               for data in outputs(root)),
    "assignments": lambda root: len({one["assignment"] for one in planted(root)}),
    "questions": lambda root: len({(one["assignment"], one["question"]) for one in planted(root)}),
    "wrong": lambda root: sum(one["kind"] == "wrong" for one in planted(root)),
    "right": lambda root: sum(one["kind"] == "right" for one in planted(root)),
}


def count(name: str, root: Path = ROOT) -> int:
    """How many there are; nothing that a page counts may be none."""
    if name not in COUNTS:
        raise Missing(f"nothing counts {name}")
    return COUNTS[name](root) or missing(f"there are no {name}")


def missing(what: str):
    raise Missing(what)
