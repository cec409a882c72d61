r"""Equations, functions and tests, read from the files in which they stand.

A chapter numbers an equation with \tag{8}; a function says "Book: equation (8)." in its docstring;
a test carries @pytest.mark.equation("8").
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from pathlib import Path

from ddim_shared.repository import ROOT, definitions

from ddim_equations.words import WORDS

NUMBER = r"\d+(?:\.\d+)?"
BOOK_LINE = re.compile(r"^Book: equations? ([^\n]+(?:\n(?!\n)[^\n]+)*)\.$", re.MULTILINE)


@dataclass(frozen=True)
class Equation:
    """A numbered equation: its chapter as Sphinx names it, the chapter's title, its TeX."""

    number: str
    chapter: str
    title: str
    formula: str

    @property
    def anchor(self) -> str:
        """The id that the page gives it."""
        return "eq-" + self.number.replace(".", "-")


@dataclass(frozen=True)
class Found:
    """A function or a test that names equations: where it is, and which."""

    path: str
    name: str
    line: int
    end: int
    numbers: tuple[str, ...]


def equations(root: Path = ROOT) -> list[Equation]:
    """All numbered equations, in the order of the chapters."""
    found = []
    for path in sorted((root / "book").glob("[0-9]*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        title = texts[0].splitlines()[0].lstrip("# ")
        for block in re.findall(r"\$\$(.+?)\$\$", "\n".join(texts), re.DOTALL):
            for number in re.findall(rf"\\tag\{{({NUMBER})\}}", block):
                found.append(Equation(number, f"book/{path.stem}", title, without_tag(block)))
    return found


def without_tag(block: str) -> str:
    """A formula without its number and without the stop that ends its sentence."""
    return re.sub(r"\\tag\{[^}]*\}", "", block).strip().rstrip(".,; ")


def functions(root: Path = ROOT) -> list[Found]:
    """The functions of the library whose docstrings name equations of the book."""
    found = []
    for path in sorted((root / "ddim_lib").rglob("*.py")):
        for name, node in definitions(path).items():
            if not isinstance(node, ast.FunctionDef | ast.ClassDef):
                continue
            line = BOOK_LINE.search(ast.get_docstring(node) or "")
            if line:
                numbers = tuple(re.findall(rf"\(({NUMBER})\)", line[1]))
                found.append(Found(str(path.relative_to(root)), name, node.lineno,
                                   node.end_lineno, numbers))
    return found


def tests(root: Path = ROOT) -> list[Found]:
    """The tests that are marked with equations."""
    found = []
    for path in sorted((root / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for mark in getattr(node, "decorator_list", []):
                call = mark if isinstance(mark, ast.Call) else None
                if call and ast.unparse(call.func) == "pytest.mark.equation":
                    numbers = tuple(ast.literal_eval(argument) for argument in call.args)
                    found.append(Found(str(path.relative_to(root)), node.name, node.lineno,
                                       node.end_lineno, numbers))
    return found


def problems(root: Path = ROOT, words: dict = WORDS) -> list[str]:
    """What does not fit together; nothing, in a book that may be built."""
    numbers = [equation.number for equation in equations(root)]
    marked = {number for test in tests(root) for number in test.numbers}
    said = [f"equation ({n}) stands in two places" for n in sorted(set(numbers))
            if numbers.count(n) > 1]
    said += [f"equation ({n}) has no entry in ddim_equations/words.py" for n in numbers
             if n not in words]
    said += [f"equation ({n}) has no test marked with it" for n in numbers if n not in marked]
    said += [f"ddim_equations/words.py has ({n}), and no chapter does" for n in words
             if n not in numbers]
    for one in [*functions(root), *tests(root)]:
        said += [f"{one.path}: {one.name} names equation ({n}), and no chapter has it"
                 for n in one.numbers if n not in numbers]
        if not one.numbers:
            said.append(f"{one.path}: {one.name} names no equation in its mark or line")
    for path in sorted((root / "ddim_lib").rglob("*.py")):
        written = len(re.findall(r"^ *Book:", path.read_text(encoding="utf-8"), re.MULTILINE))
        read = [one for one in functions(root) if one.path == str(path.relative_to(root))]
        if written != len(read):
            said.append(f"{path.name}: a line with Book: must read 'Book: equation (8).' or "
                        "'Book: equations (7) and (8).'")
    return said
