"""The assignments' sources: their cells, questions and points, and what students get of them.

A source is course/source/NAME/NAME.ipynb, in nbgrader's form: solutions between BEGIN SOLUTION and
END SOLUTION, hidden tests between BEGIN HIDDEN TESTS and END HIDDEN TESTS.
"""

import io
import logging
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import nbformat
from nbgrader.converters import GenerateAssignment
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import SaveCells
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from scripts.notebooks.normal_form import identifier, normalise, read

ROOT = Path(__file__).resolve().parent.parent
COURSE = ROOT / "course"
# The first line of a cell names it, since editors and copies lose the metadata.
FIRST_LINE = re.compile(
    r"\s*(?:#\s*(question|test|given)\s*:\s*([\w-]+)\s*|<!--\s*(question)\s*:\s*([\w-]+)\s*-->\s*)(?:\n|$)"
)
RUBRIC = re.compile(r"^\W*RUBRIC\s+(\d+(?:\.\d+)?)\s*:\s*(.+?)\s*$", re.MULTILINE)
KEPT_METADATA = {"nbgrader", "deletable", "editable"}


class Malformed(ValueError):
    """A source that is not in the form that release and grading rely on."""


def named(source: str) -> str | None:
    """The grade_id that the first line of a cell stands for, or None."""
    found = FIRST_LINE.match(source)
    if not found:
        return None
    name = found[2] or found[4]
    return f"test-{name}" if found[1] == "test" else name


def squeezed(source: str) -> str:
    """The text without blanks and ends of lines, which editors change."""
    return re.sub(r"\s+", "", source)


def marks(cell) -> dict:
    """nbgrader's metadata of a cell; empty for a cell without."""
    return cell.metadata.get("nbgrader", {})


def regions(text: str, what: str) -> list[str]:
    """The parts of a cell between BEGIN `what` and END `what`, without these lines."""
    pattern = rf"^[^\n]*BEGIN {what}[^\n]*\n(.*?)^[^\n]*END {what}"
    return re.findall(pattern, text, re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Question:
    """What a row of points.csv is about. `cells`: the grade_ids of the cells that give points."""

    name: str
    written: bool
    points: float
    cells: tuple[str, ...]
    rubric: tuple[tuple[float, str], ...] = ()


@dataclass
class Assignment:
    """One assignment: `source` with solutions and hidden tests, `release` as students get it."""

    name: str
    source: nbformat.NotebookNode
    release: nbformat.NotebookNode = field(repr=False)

    @cached_property
    def questions(self) -> list[Question]:
        found: dict[str, list] = {}
        for cell in self.source.cells:
            mark = marks(cell)
            if mark.get("solution"):
                found.setdefault(mark["grade_id"], [])
            if mark.get("grade"):
                found.setdefault(self.question_of(mark["grade_id"]), []).append(cell)
        return [self.question(name, cells) for name, cells in found.items()]

    def question(self, name: str, cells: list) -> Question:
        written = [cell for cell in cells if marks(cell).get("solution")]
        points = sum(float(marks(cell)["points"]) for cell in cells)
        rubric = [
            (float(worth), said)
            for cell in written
            for region in regions(cell.source, "SOLUTION")
            for worth, said in RUBRIC.findall(region)
        ]
        ids = tuple(marks(cell)["grade_id"] for cell in cells)
        return Question(name, bool(written), points, ids, tuple(rubric))

    def question_of(self, grade_id: str) -> str:
        """The question that a graded cell belongs to: test-NAME and test-NAME-2 test NAME."""
        answers = {
            marks(cell)["grade_id"] for cell in self.source.cells if marks(cell).get("solution")
        }
        if grade_id in answers:
            return grade_id
        name = grade_id.removeprefix("test-")
        for candidate in (name, re.sub(r"-\d+$", "", name)):
            if candidate in answers:
                return candidate
        raise Malformed(f"{self.name}: {grade_id!r} tests no question; there are {sorted(answers)}")

    @property
    def points(self) -> float:
        return sum(question.points for question in self.questions)

    def cell(self, grade_id: str, form: str = "source"):
        """The cell with this grade_id in `form`, which is "source" or "release"."""
        notebook = self.source if form == "source" else self.release
        return next(c for c in notebook.cells if marks(c).get("grade_id") == grade_id)

    def check(self) -> None:
        """Raises Malformed, with the cell's name, for what release and grading could not handle."""
        seen = set()
        for index, cell in enumerate(self.source.cells):
            mark = marks(cell)
            if not mark:
                continue
            grade_id = mark.get("grade_id", "")
            place = f"{self.name}, cell {index} ({grade_id})"
            if grade_id in seen:
                raise Malformed(f"{place}: another cell has this grade_id")
            seen.add(grade_id)
            first = named(cell.source)
            if (mark.get("grade") or mark.get("solution")) and first != grade_id:
                raise Malformed(f"{place}: its first line names {first!r}")
            if mark.get("solution") and not regions(cell.source, "SOLUTION"):
                raise Malformed(f"{place}: nothing stands between BEGIN and END SOLUTION")
        for question in self.questions:
            if not question.cells:
                raise Malformed(f"{self.name}: no test and no points for {question.name!r}")
            worth = sum(points for points, _ in question.rubric)
            if question.written and worth != question.points:
                raise Malformed(
                    f"{self.name}: the rubric of {question.name!r} adds up to {worth:g} points,"
                    f" and the cell has {question.points:g}"
                )


def settings(course: Path) -> Config:
    # Any course folder is graded with the book's settings; its own stand above them.
    config = Config()
    for folder in dict.fromkeys((COURSE, course)):
        if (folder / "nbgrader_config.py").exists():
            config.merge(PyFileConfigLoader("nbgrader_config.py", path=str(folder)).load_config())
    return config


def names(course: Path = COURSE) -> list[str]:
    return sorted(path.stem for path in (course / "source").glob("*/*.ipynb"))


def source(name: str, course: Path = COURSE) -> Assignment:
    """An assignment without its release. Raises Malformed if the source is not in form."""
    path = course / "source" / name / f"{name}.ipynb"
    if not path.exists():
        raise Malformed(f"there is no assignment {name!r}; there are {', '.join(names(course))}")
    assignment = Assignment(name, read(path), nbformat.v4.new_notebook())
    assignment.check()
    return assignment


def load(name: str, work: Path, course: Path = COURSE) -> Assignment:
    """Read an assignment and let nbgrader make its release, in the folder `work`.

    Raises Malformed if the source is not in form, or nbgrader's own errors, with what it would log.
    """
    path, assignment = course / "source" / name / f"{name}.ipynb", source(name, course)
    place = work / "source" / name
    place.mkdir(parents=True, exist_ok=True)
    (place / path.name).write_bytes(path.read_bytes())
    config, said = settings(course), io.StringIO()
    config.CourseDirectory.root, config.CourseDirectory.assignment_id = str(work), name
    converter = GenerateAssignment(
        coursedir=CourseDirectory(config=config), config=config, no_database=True, force=True
    )
    converter.preprocessors = [p for p in converter.preprocessors if p is not SaveCells]
    converter.log = logging.Logger("nbgrader", logging.ERROR)
    converter.log.addHandler(logging.StreamHandler(said))
    try:
        converter.start()
    except NbGraderException as error:
        raise NbGraderException(f"{error}\n{said.getvalue()}") from None
    assignment.release = students_form(read(work / "release" / name / path.name), name)
    return assignment


def students_form(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """The normal form of a release: the same bytes from the same source."""
    kept = [
        {k: v for k, v in cell.metadata.items() if k in KEPT_METADATA} for cell in notebook.cells
    ]
    for index, cell in enumerate(notebook.cells):
        cell.id = identifier("assignment", name, index)[:8]
    notebook = normalise(notebook, name)
    for cell, metadata in zip(notebook.cells, kept, strict=True):
        cell.metadata.update(metadata)
    return notebook
