"""Grading that stops and goes on: Ctrl-C, a notebook handed in again, one that came late.

Cells run in this process instead of the cage.
"""

import shutil
from pathlib import Path

import course_sample
import pytest
import submissions

from course import assignments
from course.grader import batch, points, report
from course.grader.intake import intake
from course.grader.sandbox.kernel import Limits
from proofs.odd_submissions import table

CUBE = "# question: cube\ndef cube(x):\n    return 0\n"


@pytest.fixture(scope="module", autouse=True)
def no_sandbox():
    with submissions.no_sandbox():
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("again")
    course_sample.course(folder)
    return folder


@pytest.fixture(scope="module")
def maker(place):
    return submissions.Maker(assignments.load("sample", place / "made", place / "course"))


def opened(place: Path, out: Path, say=lambda said: None) -> batch.Batch:
    out.mkdir(exist_ok=True)
    return batch.Batch(place / "course", out, Limits(), None, say=say)


def test_what_is_graded_before_a_stop_stands_in_the_tables(place, maker, tmp_path):
    for name in ("ann", "bob", "cleo"):
        submissions.write(maker.answered(), tmp_path / "inbox" / name / "sample.ipynb")

    def stop(said):
        if said.startswith("1/"):
            raise KeyboardInterrupt

    made = opened(place, tmp_path / "out", stop)
    with pytest.raises(KeyboardInterrupt):
        made.grade(tmp_path / "inbox", "sample", 1, False, between=report.Report(made).tables)
    totals = table(tmp_path / "out" / "totals.csv")
    assert [(row["student"], row["points"]) for row in totals] == [("ann", "7")]
    assert len(table(tmp_path / "out" / "points.csv")) == 4
    said = []
    made = opened(place, tmp_path / "out", said.append)
    made.grade(tmp_path / "inbox", "sample", 1, False, between=report.Report(made).tables)
    assert [line for line in said if line[1:2] == "/"] == ["1/2 bob sample", "2/2 cleo sample"]


def test_tables_and_pages_are_written_from_the_store_alone(place, maker, tmp_path):
    submissions.write(maker.answered(), tmp_path / "inbox" / "ann" / "sample.ipynb")
    out, seen = tmp_path / "out", []
    outputs = [out / "points.csv", out / "totals.csv", out / "feedback" / "sample" / "ann.html"]
    for gone in ([], outputs, [out / "work" / "graded"]):
        for path in gone:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        said = []
        made = opened(place, out, said.append)
        report.Report(made).write(made.grade(tmp_path / "inbox", "sample", 1, False))
        seen.append((said, [path.read_bytes() for path in outputs]))
    # Without the notebook that ran there is no page: it runs once more.
    assert [said for said, _ in seen] == [["1/1 ann sample"], [], ["1/1 ann sample"]]
    assert seen[0][1] == seen[1][1] and seen[2][1][:2] == seen[0][1][:2]


def test_the_tables_are_written_now_and_then(place, maker, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "EVERY", 1)
    for name in ("ann", "bob"):
        submissions.write(maker.answered(), tmp_path / "inbox" / name / "sample.ipynb")
    seen = []
    opened(place, tmp_path / "out").grade(
        tmp_path / "inbox", "sample", 1, False, between=lambda jobs: seen.append(len(jobs))
    )
    assert seen == [1, 2]


def test_an_old_sheet_after_a_resubmission_names_the_cause(place, maker, tmp_path):
    file = tmp_path / "inbox" / "ann" / "sample.ipynb"
    messages = []
    for notebook in (maker.answered(cube=CUBE), maker.answered()):
        submissions.write(notebook, file)
        made = opened(place, tmp_path / "out")
        told = report.Report(made)
        jobs = made.grade(tmp_path / "inbox", "sample", 1, False)
        if file.with_name("graded.csv").exists():
            with pytest.raises(points.Wrong) as error:
                told.merge(file.with_name("graded.csv"), jobs)
            messages.append(str(error.value))
        told.write(jobs)
        (tmp_path / "out" / "points.csv").rename(file.with_name("graded.csv"))
    assert messages == [
        "row 3 (ann, cube): this question is graded by its tests, and it was handed in again:"
        " begin with the newest points.csv"
    ]


def test_a_late_file_of_canvas_is_noted(place, maker, tmp_path):
    late = tmp_path / "inbox" / "lovelaceada_LATE_123_456_sample.ipynb"
    submissions.write(maker.answered(), late)
    submissions.write(maker.answered(), late.with_name("libob_124_457_sample.ipynb"))
    jobs = opened(place, tmp_path / "out").jobs(tmp_path / "inbox", "sample")
    assert {job.student: job.note for job in jobs} == {
        "lovelaceada_123": "late, by the name that Canvas gave the file", "libob_124": "",
    }
    assert intake.late(Path("libob_LATE_124_457_all") / "sample.ipynb")
    assert not intake.late(Path("LATE") / "noise__ann_LATE.ipynb")


def graded(course: Path, folder: Path, *options) -> tuple[str, dict[str, dict]]:
    """The command on one student's folder: what it says, and the rows by question."""
    done = submissions.command(folder / "inbox", "--out", folder / "out", "--course", course,
                               "--submissions-may-read-my-files", *options)
    assert done.exit_code == 0, done.output
    return done.output, {row["question"]: row for row in table(folder / "out" / "points.csv")}


def test_points_by_hand_stand_for_that_file_and_that_maximum_alone(place, maker, tmp_path):
    file, sheet = tmp_path / "inbox" / "ann" / "sample.ipynb", tmp_path / "graded.csv"
    submissions.write(maker.answered(), file)
    page = tmp_path / "out" / "feedback" / "sample" / "ann.html"

    def words(*options, course=place / "course") -> dict:
        return graded(course, tmp_path, *options)[1]["words"]

    given = words() | {"points": "2.5", "note": "well said"}
    text = page.read_text()
    assert '>words</a> (Score: open / 3.0)' in text and ">cube</a> (Score: 3.0 / 3.0)" in text
    assert text.count("Score: open / 3.0") == 2 and "Score: 0.0 /" not in text
    assert "<img" not in text  # the badge, whose picture is not there
    points.write(sheet, points.COLUMNS, [given])
    kept = ("2.5", "by hand", "well said")
    for found in (words("--manual", sheet), words("--again")):
        assert (found["points"], found["status"], found["note"]) == kept
    assert ">words</a> (Score: 2.5 / 3.0)" in page.read_text()
    # Fewer points for the same answer, then another answer.
    notebook = course_sample.source()
    cell = next(c for c in notebook.cells if "RUBRIC 2" in c.source)
    cell.source = cell.source.replace("RUBRIC 2", "RUBRIC 1")
    cell.metadata["nbgrader"]["points"] = 2
    found = words(course=course_sample.course(tmp_path, notebook))
    assert (found["points"], found["status"], found["max"]) == ("", "open", "2")
    assert found["note"] == "changed after it was graded by hand"
    words()
    words("--manual", sheet)
    other = submissions.WORDS.replace("The cube, beyond one.", "I do not know.")
    submissions.write(maker.answered(words=other), file)
    found = words()
    assert (found["points"], found["status"]) == ("", "open")
    assert found["note"] == "changed after it was graded by hand"
    assert "well said" not in page.read_text()


def test_a_source_with_other_cells_is_graded_anew(place, maker, tmp_path):
    submissions.write(maker.answered(), tmp_path / "inbox" / "ann" / "sample.ipynb")
    notebook, same = course_sample.source(), place / "course"
    notebook.cells.insert(6, course_sample.test("square-2", "# test: square-2\nassert 1 == 2", 1))
    changed = course_sample.course(tmp_path, notebook)
    for course, most in ((same, "2"), (changed, "3"), (same, "2")):
        said, rows = graded(course, tmp_path)
        assert "1/1 ann sample" in said
        assert (rows["square"]["points"], rows["square"]["max"]) == ("2", most)


def test_what_is_beside_a_good_notebook_costs_nothing(place, maker, tmp_path):
    ann = tmp_path / "inbox" / "ann"
    submissions.write(maker.answered(), ann / "sample-1.ipynb")
    for name, data in {"sample.ipynb": "{}", "notes.txt": "hello", "sample (2).ipynb": ""}.items():
        (ann / name).write_text(data)
    graded(place / "course", tmp_path)
    (total,) = table(tmp_path / "out" / "totals.csv")
    assert (total["points"], total["open"]) == ("7", "1")
    assert "sample (2).ipynb: the file is empty" in total["note"]
