"""A small assignment with every kind of cell, for the tests of release and grading."""

from pathlib import Path

import nbformat

from course.release import INSTALL, PLACE
from scripts import address

ROOT = Path(__file__).resolve().parents[2]
NAME = "sample"
REPOSITORY = address.configured(ROOT)
BADGE = "[![Open in Colab](badge.svg)](https://colab.research.google.com/github/{}/blob/main/{}/{}.ipynb)"
TITLE = "# A sample\n\n" + BADGE.format(REPOSITORY, PLACE, NAME)
SETUP = "# given: setup\nimport math\n\nSTEPS = 4"
SQUARE = '''# question: square
def square(x):
    """x times itself."""
    ### BEGIN SOLUTION
    squared = x * x
    return squared
    ### END SOLUTION'''
TEST_SQUARE = '''# test: square
assert square(2) == 4, f"your square of 2 is {square(2)}, expected 4"
print("ok: 2 squared")
### BEGIN HIDDEN TESTS
secret_number = 1234
assert square(-3) == 9, "a negative number has a positive square"
### END HIDDEN TESTS'''
CUBE = '''# question: cube
def cube(x):
    ### BEGIN SOLUTION
    return square(x) * x + 0
    ### END SOLUTION'''
TEST_CUBE = '''# test: cube
assert cube(2) == 8, f"your cube of 2 is {cube(2)}, expected 8"
### BEGIN HIDDEN TESTS
assert cube(-2) == -8, "a negative number has a negative cube"
### END HIDDEN TESTS'''
WORDS = """<!-- question: words -->
Which of the two grows faster, and why?

### BEGIN SOLUTION
RUBRIC 2: names the cube
RUBRIC 1: says that this holds beyond one
The cube grows faster beyond one, since it has one more factor.
### END SOLUTION"""
TOTAL = '''# question: total
def total(steps):
    """The sum of the first squares, 1 to steps."""
    ### BEGIN SOLUTION
    return sum(k * k for k in range(1, steps + 1))
    ### END SOLUTION'''
TEST_TOTAL = '''# test: total
import sys
print("a library's warning", file=sys.stderr)
assert total(STEPS) == 30, f"your total is {total(STEPS)}, expected 30"
### BEGIN HIDDEN TESTS
assert total(10) == 385, "your total of ten squares is wrong"
### END HIDDEN TESTS'''
PACK = "# given: pack\nprint('packed')"


def mark(grade_id, grade=False, solution=False, locked=False, points=None) -> dict:
    made = {"grade_id": grade_id, "grade": grade, "solution": solution, "locked": locked}
    made |= {"task": False, "schema_version": 3}
    return {"nbgrader": made | ({"points": points} if points is not None else {})}


def answer(name: str, source: str):
    return nbformat.v4.new_code_cell(source, metadata=mark(name, solution=True))


def test(name: str, source: str, points: float):
    metadata = mark(f"test-{name}", grade=True, locked=True, points=points)
    return nbformat.v4.new_code_cell(source, metadata=metadata)


test.__test__ = False  # a helper by pytest's naming, not a test


def locked(name: str, source: str):
    return nbformat.v4.new_code_cell(source, metadata=mark(name, locked=True))


def source() -> nbformat.NotebookNode:
    text, written = nbformat.v4.new_markdown_cell, mark("words", True, True, False, 3)
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [
        text(TITLE),
        nbformat.v4.new_code_cell(INSTALL.format(address.requirement(ROOT)).strip()),
        locked("setup", SETUP),
        text("## Squares"),
        answer("square", SQUARE),
        test("square", TEST_SQUARE, 2),
        answer("cube", CUBE),
        test("cube", TEST_CUBE, 3),
        text(WORDS, metadata=written),
        answer("total", TOTAL),
        test("total", TEST_TOTAL, 2),
        locked("pack", PACK),
    ]
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3",
                                        "language": "python"}}
    return notebook


def course(folder: Path, notebook=None, name: str = NAME) -> Path:
    """A course folder with one source in it; returns the folder."""
    place = folder / "course" / "source" / name
    place.mkdir(parents=True)
    nbformat.write(notebook or source(), place / f"{name}.ipynb")
    return folder / "course"
