"""A folder of submissions, each broken in its own way, through the commands of the guide."""

import csv
import os
import subprocess
import time
from pathlib import Path

import course_sample
import nbformat
import pytest
import submissions

from course import assignments
from course.grader.intake import naming
from course.grader.intake.reading import outputs
from course.grader.sandbox import cage
from course.grader.sandbox.work import unshadowed
from proofs.odd_submissions import table

ROOT = Path(__file__).resolve().parents[2]
CELL_SECONDS, LONGEST = 5, 600
FULL = {"square": 2, "cube": 3, "words": None, "total": 2}
NO_CUBE = FULL | {"cube": 0}
# The points of each submission by question; None is a written answer that is still open.
EXPECTED = {
    "right": FULL,
    "blank": dict.fromkeys(FULL, 0),
    "no metadata": FULL,
    "no names": FULL,
    "neither": FULL,
    "begun as a copy": FULL,
    "answer deleted": NO_CUBE,
    "tests deleted and changed": FULL | {"square": 0, "total": 0},
    "doubled": FULL,
    "split": FULL,
    "merged": FULL,
    "turned round": FULL,
    "cells of one's own": FULL,
    "names of Python taken": FULL,
    "another type": FULL,
    "syntax error": NO_CUBE,
    "raises": NO_CUBE,
    "input": NO_CUBE,
    "exit": FULL | {"total": 0},
    "exit in a test": NO_CUBE,
    "killed": NO_CUBE,
    "endless": NO_CUBE,
    "endless and stubborn": NO_CUBE,
    "prints": FULL,
    "prints endlessly": NO_CUBE,
    "memory": NO_CUBE,
    "forks": NO_CUBE,
    "leaves running": FULL,
    "history": FULL,
}
NOTES = {
    ("no metadata", ""): "had lost their metadata",
    ("neither", "cube"): "known by its function",
    ("answer deleted", "cube"): "the answer cell was deleted",
    ("tests deleted and changed", "square"): "the test cell was changed",
    ("tests deleted and changed", "cube"): "the test cell was deleted; put back",
    ("tests deleted and changed", ""): "the read-only cell 'setup' was changed",
    ("doubled", "square"): "3 cells with this name; the last answer counts",
    ("turned round", ""): "another order",
    ("another type", "square"): "a cell of type markdown",
    ("syntax error", "cube"): "SyntaxError",
    ("raises", "cube"): "ValueError: <b>no</b> | idea",
    ("exit", "total"): "the cell ended the kernel",
    ("exit in a test", "cube"): "the cell ended the kernel",
    ("killed", "cube"): "the cell ended the kernel",
    ("endless", "cube"): f"ran for more than {CELL_SECONDS} s",
    ("endless and stubborn", "cube"): "could not be interrupted",
    ("prints endlessly", "cube"): "ran for more than",
    ("forks", "cube"): "more than",
}
REASONS = {
    "nothing": "the file is empty",
    "text": "not a notebook",
    "cut_off": "not a notebook",
    "nested": "not a notebook",
    "list": "not a notebook",
    "odd": "the notebook is empty",
    "no_cells": "the notebook is empty",
    "holidays": "no question of any assignment",
    "other": "this is the assignment 'other', not 'sample'",
    "essay": "no notebook, but essay.pdf",
    "broken": "the zip file is broken",
    "no_notebook": "no notebook, but readme",
    "empty folder": "the folder is empty",
    "link": "a link, not a file",
}
pytestmark = [pytest.mark.slow, submissions.NEEDS_CAGE]


def grade(place: Path, **settings) -> subprocess.CompletedProcess:
    """make grade on the class, as in the guide, without setting up the environment first."""
    settings |= {"submissions": place / "inbox", "out": place / "out", "course": place / "course",
                 "assignment": "sample",
                 "options": f"--cell-seconds {CELL_SECONDS} --total-seconds 60 --memory 1"}
    wanted = [f"{name.upper()}={value}" for name, value in settings.items()]
    command = ["make", "-s", "-o", ".venv/.ready", "grade", *wanted]
    scratch = place / "tmp"
    scratch.mkdir(exist_ok=True)
    environment = os.environ | {"GRADER_SECRET": "of the grader", "TMPDIR": str(scratch)}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST
    )


def number(text: str) -> float | None:
    return float(text) if text else None


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A course with two assignments, a folder of submissions, and a file that is not theirs."""
    folder = tmp_path_factory.mktemp("class")
    course = course_sample.course(folder)
    other = course_sample.source()
    renamed = nbformat.writes(other).replace("square", "root").replace("cube", "third")
    renamed = renamed.replace("words", "lines").replace("total", "sum")
    there = course / "source" / "other"
    there.mkdir()
    (there / "other.ipynb").write_text(renamed)
    maker = submissions.Maker(assignments.load("sample", folder / "made", course))
    inbox = folder / "inbox"
    inbox.mkdir()
    for name, notebook in (maker.broken() | maker.hostile()).items():
        submissions.write(notebook, inbox / name / "sample.ipynb")
    for name, data in submissions.unreadable(nbformat.reads(renamed, 4)).items():
        (inbox / name).write_bytes(data)
    (inbox / "empty folder").mkdir()
    (inbox / "link").mkdir()
    (inbox / "link" / "sample.ipynb").symlink_to(course / "source" / "sample" / "sample.ipynb")
    return folder


@pytest.fixture(scope="module")
def batch(place):
    start = time.monotonic()
    done = grade(place, jobs=2)
    return done, time.monotonic() - start


@pytest.fixture(scope="module")
def rows(place, batch):
    done, _ = batch
    assert done.returncode == 0, done.stdout + done.stderr
    return table(place / "out" / "points.csv")


def test_the_batch_ends_and_every_submission_has_its_rows(place, batch, rows):
    done, seconds = batch
    assert {row["student"] for row in rows} == set(EXPECTED) | set(REASONS)
    totals = table(place / "out" / "totals.csv")
    assert len(totals) == len(EXPECTED) + len(REASONS)
    assert cage.CAGED in done.stdout
    assert seconds < LONGEST


@pytest.mark.parametrize("name", EXPECTED)
def test_what_can_be_graded_is_graded(rows, name):
    got = {row["question"]: number(row["points"]) for row in rows if row["student"] == name}
    assert got == EXPECTED[name]


@pytest.mark.parametrize("name,question", NOTES)
def test_the_note_says_what_was_wrong(place, rows, name, question):
    if question:
        (note,) = [r["note"] for r in rows if (r["student"], r["question"]) == (name, question)]
    else:
        totals = table(place / "out" / "totals.csv")
        (note,) = [row["note"] for row in totals if row["student"] == name]
    assert NOTES[name, question] in note


@pytest.mark.parametrize("name", REASONS)
def test_what_is_no_notebook_has_a_row_with_the_reason(place, rows, name):
    (row,) = [row for row in rows if row["student"] == name]
    assert (row["status"], row["points"], row["question"]) == ("not graded", "0", "")
    assert REASONS[name] in row["note"]
    page = (place / "out" / "feedback" / "sample" / f"{name}.html").read_text()
    assert "Not graded" in page


def test_the_states_of_a_written_answer(rows):
    by_name = {row["student"]: row for row in rows if row["question"] == "words"}
    assert by_name["right"]["status"] == "open"
    assert by_name["right"]["rubric"] == (
        "_/2 names the cube; _/1 says that this holds beyond one"
    )
    assert by_name["blank"]["status"] == "blank" and by_name["blank"]["rubric"] == ""


def test_the_totals_add_up(place, rows):
    for total in table(place / "out" / "totals.csv"):
        if total["student"] in EXPECTED:
            points = [v for v in EXPECTED[total["student"]].values() if v is not None]
            still = len(FULL) - len(points)
            assert (float(total["points"]), int(total["open"])) == (sum(points), still)
            assert total["max"] == "10"


def test_nothing_is_left_running_and_no_folder_behind(place, rows):
    assert submissions.running(submissions.LEFT_RUNNING) == []
    assert [path.name for path in (place / "tmp").iterdir()] == []


@pytest.mark.parametrize("name", [n for n in EXPECTED if n != "blank"])
def test_each_student_has_a_page_without_hidden_tests_and_without_scripts(place, rows, name):
    text = (place / "out" / "feedback" / "sample" / f"{naming.as_file(name)}.html").read_text()
    assert "sample" in text and "Further tests ran here" in text
    assert "secret_number" not in text and "HIDDEN" not in text
    assert "<script" not in text and "<link" not in text
    assert "default-src 'none'" in text and "<b>no</b>" not in text
    assert len(text) < 1_000_000


def test_a_second_call_grades_nothing_anew_and_merges_the_written_points(place, rows):
    out, sheet = place / "out", place / "graded.csv"
    filled = [dict(row) for row in rows]
    for row in filled:
        if row["student"] == "right" and row["question"] == "words":
            row["rubric"] = row["rubric"].replace("_/2", "2/2").replace("_/1", "0.5/1")
        if row["student"] == "split" and row["question"] == "words":
            row |= {"points": "1", "note": "Too short & <i>late</i>."}
    write(sheet, filled)
    done = grade(place, manual=sheet)
    assert done.returncode == 0, done.stderr
    assert "2 written answers graded" in done.stdout and "1/" not in done.stdout.split("/ 10")[0]
    after = {(r["student"], r["question"]): r for r in table(out / "points.csv")}
    assert after["right", "words"]["points"] == "2.5"
    assert after["right", "words"]["status"] == after["split", "words"]["status"] == "by hand"
    assert after["split", "words"]["points"] == "1"
    assert after["merged", "words"]["status"] == "open"
    totals = {row["student"]: row for row in table(out / "totals.csv")}
    assert (totals["right"]["points"], totals["right"]["status"]) == ("9.5", "graded")
    page = (out / "feedback" / "sample" / "split.html").read_text()
    assert "Too short &amp; &lt;i>late" in page or "Too short &amp; &lt;i&gt;late" in page


def write(path: Path, rows: list[dict]) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=";")  # as a spreadsheet saves it
        writer.writeheader()
        writer.writerows(rows)


def test_a_wrong_sheet_changes_nothing_and_names_every_row(place, rows):
    sheet, filled = place / "wrong.csv", [dict(row) for row in rows]
    for row in filled:
        if row["question"] == "words" and row["student"] == "merged":
            row["points"] = "4"
        if row["question"] == "words" and row["student"] == "doubled":
            row["rubric"] = row["rubric"].replace("_/2", "3/2").replace("_/1", "0/1")
        if row["question"] == "words" and row["student"] == "endless":
            row["rubric"] = row["rubric"].replace("_/2", "2/2")
        if row["question"] == "cube" and row["student"] == "right":
            row["points"] = "1"
    write(sheet, filled)
    before = (place / "out" / "points.csv").read_bytes()
    done = grade(place, manual=sheet)
    assert done.returncode != 0
    assert "(merged, words): points is 4, and may be 0 to 3" in done.stderr
    assert "(doubled, words): '3/2 names the cube': an item gives 0 to 2" in done.stderr
    assert "(endless, words): some items of the rubric are still open" in done.stderr
    assert "(right, cube): this question is graded by its tests" in done.stderr
    assert (place / "out" / "points.csv").read_bytes() == before


def test_a_tests_names_are_pythons_own():
    source = (
        "class A(B):\n    def __init__(self):\n        super().__init__()\n"
        "max = 4\nassert max == 4 and abs(-1) == len('a')\n"
    )
    made = unshadowed(source)
    assert "super().__init__()" in made and "max == 4" in made
    assert "_builtins.abs(-1) == _builtins.len('a')" in made
    spoilt = {"B": object, "abs": None, "len": 3}
    exec(made, spoilt)
    assert spoilt["A"]()


def test_a_progress_bar_in_a_picture_cell_is_left_out():
    bar = {"model_id": "1", "version_major": 2, "version_minor": 0}
    kept = outputs([
        {"output_type": "display_data", "metadata": {},
         "data": {"application/vnd.jupyter.widget-view+json": bar, "text/plain": "100%"}},
        {"output_type": "display_data", "metadata": {}, "data": {"image/png": "AAAA"}},
    ])
    assert [output["data"] for output in kept] == [{"text/plain": "100%"}, {"image/png": "AAAA"}]
