"""What the page "How we know" cites, read where it stands: tests and files.

Whatever is not there is an error, so that no claim outlives its evidence.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from ddim_records.fields import RESULTS, Missing
from ddim_shared.repository import ROOT, definitions


@dataclass(frozen=True)
class Source:
    """A file that a claim rests on; of a test also its name and its lines."""

    path: str
    name: str | None = None
    first: int | None = None
    last: int | None = None


def in_tests(path: str, root: Path) -> str:
    """test_x.py lies somewhere in tests, other paths are taken as they are."""
    if not re.fullmatch(r"test_\w+\.py", path):
        return path
    found = list((root / "tests").rglob(path))
    if len(found) != 1:
        raise Missing(f"there must be one {path} in tests, there are {len(found)}")
    return found[0].relative_to(root).as_posix()


def test(path: str, name: str, root: Path = ROOT) -> Source:
    """A test function that pytest collects and does not always skip."""
    path = in_tests(path, root)
    if not re.fullmatch(r"tests/(\w+/)?test_\w+\.py", path) or not name.startswith("test"):
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
    path = in_tests(path, root)
    if path.endswith(".json") and "/" not in path:
        path = f"{RESULTS}/{path}"
    if not (root / path).is_file():
        raise Missing(f"there is no file {path}")
    return Source(path)
