"""The guide for instructors says what is true of the assignments and of the commands."""

import re
from pathlib import Path

import pytest
import submissions
import yaml

from course import assignments
from course.grader import points
from course.grader.sandbox.kernel import Limits

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "book" / "for_instructors.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| (?P<number>\d)\. (?P<title>[^|]+?) \| [\d, ]+ \| (?P<hours>[^|]+?) \| (?P<points>\d+) \|"
    r" (?P<tests>\d+) \| (?P<hand>\d+) \| \[Colab\]\([^)]*/(?P<name>\w+)\.ipynb\) \|$",
    re.MULTILINE,
)
ROWS = {row["name"]: row for row in ROW.finditer(GUIDE)}


def test_every_assignment_has_its_row():
    assert set(ROWS) == set(assignments.names())
    assert [row["number"] for row in ROWS.values()] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("name", assignments.names())
def test_the_row_is_that_of_the_source(name, tmp_path):
    assignment, row = assignments.load(name, tmp_path), ROWS[name]
    by_hand = sum(q.points for q in assignment.questions if q.written)
    assert float(row["points"]) == assignment.points
    assert (float(row["hand"]), float(row["tests"])) == (by_hand, assignment.points - by_hand)
    first = next(c.source for c in assignment.release.cells if c.cell_type == "markdown")
    assert first.startswith(f"# Assignment {row['number']}: {row['title']}\n")
    # The notebook says the same of itself, to students.
    assert f"{assignment.points:.0f} points" in first
    words = {"2": "two", "3": "three", "4": "four"}
    hours = re.sub(r"\d", lambda digit: words[digit[0]], row["hours"])
    assert f"about {hours} hours" in first.replace("\n", " ")


def test_the_page_is_in_the_contents():
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    assert {"file": "book/for_instructors"} in contents["parts"][-1]["chapters"]


def test_the_settings_of_make_are_those_that_the_guide_names():
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile[makefile.index("\ngrade:") :].split("\n\n")[0]
    named = set(re.findall(r"\b([A-Z]+)=", GUIDE)) - {"REPO", "OPTIONS"}
    assert named == {"SUBMISSIONS", "ASSIGNMENT", "OUT", "MANUAL", "JOBS", "COURSE"}
    for name in named:
        assert f"$({name})" in recipe


def test_the_limits_and_the_columns_are_those_of_the_grader():
    assert f"A cell may take {Limits.cell:g} s" in GUIDE
    assert f"submission {Limits.total:g} s and {Limits.memory / 2**30:g} GB" in GUIDE
    assert ",".join(points.COLUMNS) in GUIDE
    for status in (points.TESTED, points.OPEN, points.BY_HAND, points.MISSING, points.BLANK,
                   points.REFUSED):
        assert f"*{status}*" in GUIDE


def test_the_rubrics_line_in_the_guide_can_be_merged():
    lines = [line for line in GUIDE.splitlines() if line.startswith("alice,noise,two-ways")]
    rows = [dict(zip(points.COLUMNS, line.split(","), strict=True)) for line in lines]
    assert [points.given(row, 4) for row in rows] == [None, 3]


def test_a_wrong_assignment_is_one_clear_error(tmp_path):
    done = submissions.command(tmp_path, "--assignment", "nose")
    assert done.exit_code == 2
    assert "'nose'; there are " in done.output and "noise" in done.output


def test_an_empty_folder_is_an_error(tmp_path):
    (tmp_path / "inbox").mkdir()
    done = submissions.command(tmp_path / "inbox", "--out", tmp_path / "out",
                               "--submissions-may-read-my-files")  # there are none
    assert done.exit_code == 2 and "no file of a student" in done.output
