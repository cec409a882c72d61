"""The students' notebooks from the sources with solutions: make release

    python -m course.release [--check]

nbgrader clears solutions and hidden tests and locks cells; then every line of them is looked for in
what students get. The notebooks go to book/assignments/, to be committed, and as a zip for a
learning platform to _build/release/assignments.zip. With --check nothing is written, and what is
committed must be the release.
"""

import argparse
import json
import re
import sys
import tempfile
import zipfile
from pathlib import Path

from course import assignments
from course.assignments import ROOT, Malformed, squeezed
from course.edition import leaks
from scripts import address
from scripts.notebooks.normal_form import text

PLACE = Path("book") / "assignments"
ZIP = Path("_build") / "release" / "assignments.zip"
INSTALL = """\
# Colab: install the book's library. Elsewhere it is already there and nothing happens.
try:
    import ddim_lib
except ModuleNotFoundError:
    %pip install -q "{}"
"""
# Lines that tell nothing: what every answer may need.
TRIVIAL = re.compile(
    r"(import|from)\b.*|return( [\w, ]+)?|(else|try|finally):|[\W\d_]*"
    r"|(with|@)\s?torch\.no_grad\(\):?|def \w+\(.*\).*:"
    # A call by names alone, as a question may spell it, and the end of a longer one.
    r"|[\w.]+\([\w, ]*\)|\w+=\w+\)+"
)
SHORTEST = 12  # letters, digits and signs of a line that cannot stand elsewhere by chance


def telling(assignment: assignments.Assignment) -> tuple[set[str], set[str]]:
    """The lines that would betray the solutions, and those that would betray the hidden tests.

    A hidden test may prepare its data with the same lines as the visible cells; what it asserts is
    its own.
    """
    shown = {
        squeezed(line)
        for cell in assignment.source.cells
        for line in visible(cell.source).split("\n")
    }
    solutions, hidden = set(), set()
    for cell in assignment.source.cells:
        for region in assignments.regions(cell.source, "SOLUTION"):
            solutions |= lines(region)
        for region in assignments.regions(cell.source, "HIDDEN TESTS"):
            hidden |= {x for x in lines(region) if x not in shown or x.startswith("assert")}
    return solutions, hidden


def lines(region: str) -> set[str]:
    found = {line.strip() for line in region.split("\n")}
    found = {squeezed(line) for line in found if not TRIVIAL.fullmatch(line)}
    return {line for line in found if len(line) >= SHORTEST}


def visible(source: str) -> str:
    for what in ("SOLUTION", "HIDDEN TESTS"):
        source = re.sub(rf"BEGIN {what}.*?END {what}", "", source, flags=re.DOTALL)
    return source


def told(assignment: assignments.Assignment, released: str) -> list[str]:
    """A line for each line of a solution or hidden test that `released` holds."""
    released = squeezed(released)
    solutions, hidden = telling(assignment)
    name = assignment.name
    found = [f"{name}: a solution's line: {x}" for x in solutions if x in released]
    return found + [f"{name}: a hidden test's line: {x}" for x in hidden if x in released]


def said(notebook) -> str:
    """All text of a notebook: cells, outputs, metadata, as a reader of the file could find it."""
    return "\n".join(leaks.strings(json.loads(text(notebook))))


def faults(assignment: assignments.Assignment) -> list[str]:
    """What is wrong with a release, a line each."""
    notebook, name = assignment.release, assignment.name
    install = INSTALL.format(address.requirement(ROOT)).strip()
    every = said(notebook)
    found = told(assignment, every)
    for mark in ("SOLUTION", "HIDDEN TESTS"):
        if f"BEGIN {mark}" in every or f"END {mark}" in every:
            found.append(f"{name}: BEGIN or END {mark} stands in the release")
    if re.search(r"\bRUBRIC\b", every):
        found.append(f"{name}: a RUBRIC stands in the release")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if not code or code[0].source.strip() != install:
        found.append(f"{name}: the first code cell is not the one that installs the library")
    there = f"{address.configured(ROOT)}/blob/main/{PLACE}/{name}.ipynb"
    link = f"https://colab.research.google.com/github/{there}"
    first_text = next((c.source for c in notebook.cells if c.cell_type == "markdown"), "")
    if f"]({link})" not in first_text:
        found.append(f"{name}: the first text cell has no badge that leads to {link}")
    return found


def make(course: Path = assignments.COURSE) -> dict[str, str]:
    """The release as text, by the notebook's name. Raises Malformed if it would tell something."""
    released, wrong = {}, []
    for name in assignments.names(course):
        with tempfile.TemporaryDirectory() as folder:
            assignment = assignments.load(name, Path(folder), course)
        wrong += faults(assignment)
        released[name] = text(assignment.release)
    if not released:
        raise Malformed(f"no assignment in {course.name}/source")
    if wrong:
        raise Malformed("\n".join(wrong))
    return released


def write(released: dict[str, str], root: Path) -> list[Path]:
    """Write the notebooks and the zip below `root`; returns the paths. Others' files go."""
    place = root / PLACE
    place.mkdir(parents=True, exist_ok=True)
    for path in place.glob("*.ipynb"):
        if path.stem not in released:
            path.unlink()
    written = []
    for name, content in released.items():
        path = place / f"{name}.ipynb"
        path.write_text(content, encoding="utf-8")
        written.append(path)
    (root / ZIP).parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(root / ZIP, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(released.items()):
            # Without a date: the same zip from the same sources.
            archive.writestr(zipfile.ZipInfo(f"{name}.ipynb"), content)
    return [*written, root / ZIP]


def stale(released: dict[str, str], root: Path) -> list[str]:
    """The names of the notebooks below `root` that are not the release."""
    there = {path.stem: path.read_text("utf-8") for path in (root / PLACE).glob("*.ipynb")}
    every = sorted({*released, *there})
    return [name for name in every if there.get(name) != released.get(name)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    options = parser.parse_args()
    try:
        released = make()
    except Malformed as error:
        print(error, file=sys.stderr)
        return 1
    if options.check:
        old = stale(released, ROOT)
        print("\n".join(f"{PLACE}/{name}.ipynb is not the release" for name in old), end="")
        return 1 if old else 0
    for path in write(released, ROOT):
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
