"""Grading that stops and goes on: Ctrl-C, a notebook handed in again, one that came late."""

import csv
import shutil
from pathlib import Path

import course_sample
import pytest
import submissions

from course import assignments
from course.grader import batch, points, report
from course.grader.intake import intake
from course.grader.sandbox import cage, kernel

CUBE = "# question: cube\ndef cube(x):\n    return 0\n"
pytestmark = [pytest.mark.slow, submissions.NEEDS_CAGE]


def rows(path: Path) -> list[dict]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("again")
    course_sample.course(folder)
    return folder


@pytest.fixture
def maker(place, tmp_path):
    return submissions.Maker(assignments.load("sample", tmp_path / "made", place / "course"))


def opened(place: Path, out: Path, say=lambda said: None) -> batch.Batch:
    out.mkdir(exist_ok=True)
    limits, shut_in = kernel.Limits(memory=2**30), cage.build([])
    return batch.Batch(place / "course", out, limits, shut_in, say=say)


def test_what_is_graded_before_a_stop_stands_in_the_tables(place, maker, tmp_path):
    for name in ("ann", "bob", "cleo"):
        submissions.write(maker.answered(), tmp_path / "inbox" / name / "sample.ipynb")

    def stop(said):
        if said.startswith("1/"):
            raise KeyboardInterrupt

    made = opened(place, tmp_path / "out", stop)
    with pytest.raises(KeyboardInterrupt):
        made.grade(tmp_path / "inbox", "sample", 1, False, between=report.Report(made).tables)
    totals = rows(tmp_path / "out" / "totals.csv")
    assert [(row["student"], row["points"]) for row in totals] == [("ann", "7")]
    assert len(rows(tmp_path / "out" / "points.csv")) == 4
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
