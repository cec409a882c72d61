"""Whatever one student hands in, all others get row, points and page; and the grader goes on.

The classes are those of proofs/odd_submissions.py, with the small assignment; its cells run in this
process instead of the cage.
"""

import io
import json
import shutil
import time

import course_sample
import pytest
import submissions
from hypothesis import given, settings
from hypothesis import strategies as st

from course import assignments
from course.grader import batch, feedback, files, points, report
from course.grader.intake import intake, naming, reading
from course.grader.sandbox.kernel import Limits
from proofs import odd_submissions as odd

TESTED = 7  # points of a right notebook


@pytest.fixture(scope="module", autouse=True)
def no_sandbox():
    with submissions.no_sandbox() as patch:
        patch.setattr(report, "PAGE_SECONDS", 2)
        yield


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """The course, and the assignment."""
    folder = tmp_path_factory.mktemp("course")
    course = course_sample.course(folder)
    return course, assignments.load("sample", folder / "made", course)


@pytest.fixture
def inbox(sample, tmp_path):
    (tmp_path / "inbox").mkdir()
    return odd.Inbox(tmp_path / "inbox", sample[1])


@pytest.fixture(scope="module")
def one_of_each(sample, tmp_path_factory):
    """A class with each kind once: what is wrong with it."""
    folder = tmp_path_factory.mktemp("each")
    (folder / "inbox").mkdir()
    every = odd.write_class(odd.Inbox(folder / "inbox", sample[1]), list(odd.KINDS), 0)
    odd.grade(folder / "inbox", sample[0], folder / "out", None)
    wrong = odd.faults(folder / "out", every, TESTED)
    more = odd.faults(folder / "out", every | {"nobody": odd.Expected("nobody")}, TESTED + 1)
    graded = sum(expected.graded for expected in every.values())
    assert len(more) == len(wrong) + graded + 2  # each student's points, the row, the sum
    return {kind: [w for w in wrong if repr(name) in w]
            for kind, name in zip(odd.KINDS, every, strict=True)} | {"": wrong}


@pytest.mark.parametrize("kind", odd.KINDS)
def test_an_odd_submission_gets_row_points_and_page(one_of_each, kind):
    assert one_of_each[kind] == []


def test_nobody_else_is_in_the_class(one_of_each):
    assert one_of_each[""] == []


@pytest.mark.slow
def test_a_class_of_sixty_is_graded_twice_and_once_interrupted(sample, inbox, tmp_path):
    course, out = sample[0], tmp_path / "out"
    every = odd.write_class(inbox, odd.drawn(1), 2)
    with pytest.raises(KeyboardInterrupt):
        odd.grade(inbox.folder, course, out, None, stop_after=20)
    assert 20 <= len(odd.table(out / "totals.csv")) < 60 and not (out / "feedback").exists()
    odd.grade(inbox.folder, course, out, None)
    assert odd.faults(out, every, TESTED) == [] and len(every) == 60
    first = odd.results(out)
    odd.grade(inbox.folder, course, out, None)
    assert odd.results(out) == first
    # And at one go.
    whole = batch.Batch(course, tmp_path / "whole", Limits(), None, say=lambda said: None)
    with odd.closed_to_root():
        report.Report(whole).tables(whole.grade(inbox.folder, None, 1, False))
    assert (tmp_path / "whole" / "points.csv").read_bytes() == first["points.csv"]


class Burns:
    def __del__(self):
        until = time.process_time() + 0.3
        while time.process_time() < until:
            pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_limit_that_falls_where_python_drops_exceptions_comes_again():
    until = time.process_time() + 5
    with pytest.raises(report.TooLong, match=r"more than 0\.1 s"), report.limited(0.1):
        Burns()
        while time.process_time() < until:
            pass
    assert time.process_time() < until


# Guards: a fault that nobody thought of ----------------------------------------------------------

def pages(out) -> dict[str, str]:
    return {path.stem: path.read_text("utf-8") for path in (out / "feedback").rglob("*.html")}


@pytest.mark.parametrize("where", ["parse", "repair", "rows", "page", "alarm", "writing"])
def test_a_fault_at_one_student_reaches_no_other(sample, inbox, tmp_path, monkeypatch, where):
    for who in ("ann", "bob", "cleo"):
        inbox.write(who, "sample.ipynb", data=inbox.told(f"I am {who}."))

    def failing(plain, marked):
        def asked(*arguments, **options):
            if marked(*arguments):
                raise RuntimeError("a fault that nobody thought of")
            return plain(*arguments, **options)
        return asked

    def endless(*_):
        while True:
            pass

    told = {
        "parse": (reading, "parse", lambda data: b"I am bob." in data),
        "repair": (batch.repair, "repair", lambda cells, _: "I am bob." in str(cells)),
        "rows": (report.Report, "rows", lambda _, job: job.student == "bob" and not job.why),
        "page": (feedback, "page", lambda _, notebook, *__: "I am bob." in str(notebook)),
        "alarm": (feedback, "told_to_students", lambda cell, _: "I am bob." in cell.source
                  and endless()),
    }
    if where == "writing":
        (tmp_path / "out" / "feedback" / "sample" / "bob.html" / "x").mkdir(parents=True)
    else:
        place, name, marked = told[where]
        monkeypatch.setattr(place, name, failing(getattr(place, name), marked))
    odd.grade(inbox.folder, sample[0], tmp_path / "out", None)
    totals = {row["student"]: row for row in odd.table(tmp_path / "out" / "totals.csv")}
    assert totals["ann"]["points"] == totals["cleo"]["points"] == str(TESTED)
    if where == "writing":
        assert totals["bob"]["points"] == str(TESTED)
        return
    graded = where in ("page", "alarm")
    assert totals["bob"]["status"] == ("open" if graded else "not graded")
    made = pages(tmp_path / "out")
    assert all(f"I am {who}." in made[who] for who in ("ann", "cleo"))
    words = "I am bob." if graded else "RuntimeError: a fault that nobody thought of"
    assert words in made["bob"]
    assert "secret_number" not in made["bob"]


# Files: whole or not at all ----------------------------------------------------------------------

def command(inbox, sample, *options) -> tuple[int, str]:
    done = submissions.command(inbox.folder, "--course", sample[0], *options,
                               "--submissions-may-read-my-files")
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "list", "entry", "bytes", "folder"])
def test_a_damaged_store_is_one_line_that_says_how_to_go_on(sample, inbox, tmp_path, damage):
    inbox.write("ann", "sample.ipynb")
    out = tmp_path / "out"
    assert command(inbox, sample, "--out", out)[0] == 0
    store = out / "grades.json"
    data = store.read_bytes()
    store.unlink()
    if damage == "folder":
        store.mkdir()
    else:
        store.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "text": b"no",
                           "list": b"[]", "entry": b'{"sample/ann": {"points": 3}}',
                           "bytes": b"\xff" + data}[damage])
    code, said = command(inbox, sample, "--out", out)
    (line,) = said.strip().split("\n")[1:]  # after the line on the cage
    assert code == 2 and line.startswith(f"{store} cannot be read: ")
    assert "move it away: then the same command grades all anew" in line
    shutil.rmtree(store) if damage == "folder" else store.unlink()
    assert command(inbox, sample, "--out", out)[0] == 0 and store.read_bytes() == data


def test_a_notebook_of_the_results_that_was_cut_runs_once_more(sample, inbox, tmp_path):
    inbox.write("ann", "sample.ipynb")
    odd.grade(inbox.folder, sample[0], tmp_path / "out", None)
    first = odd.results(tmp_path / "out")
    ran = tmp_path / "out" / "work" / "graded" / "sample" / "ann.ipynb"
    ran.write_bytes(ran.read_bytes()[:1000])
    odd.grade(inbox.folder, sample[0], tmp_path / "out", None)
    assert odd.results(tmp_path / "out") == first and json.loads(ran.read_text("utf-8"))


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a" / "points.csv"
    files.write(path, "old\ud800")
    assert path.read_text("utf-8") == "old\\ud800"
    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(files.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
        files.write(path, "new")
    assert path.read_text("utf-8") == "old\\ud800"
    (tmp_path / "other").write_text("safe")
    (tmp_path / "a" / "points.csv.new").unlink()
    (tmp_path / "a" / "points.csv.new").symlink_to(tmp_path / "other")
    files.write(path, "new")
    assert path.read_text() == "new" and (tmp_path / "other").read_text() == "safe"


def test_results_inside_the_submissions_are_no_student(sample, inbox, tmp_path):
    inbox.write("ann", "sample.ipynb")
    first, second = inbox.folder / "grades", inbox.folder / "more" / "grades"
    sheet = inbox.folder / "graded.csv"
    for out, options in ((first, []), (first, []), (second, []), (first, ["--manual", sheet])):
        code, said = command(inbox, sample, "--out", out, *options)
        assert code == 0, said
        assert [row["student"] for row in odd.table(out / "totals.csv")] == ["ann"]
        if out == second:
            (first / "points.csv").rename(sheet)
            files.write(first / "points.csv", "student")
    code, said = command(inbox, sample, "--out", inbox.folder)
    assert code == 2 and "must be another folder than SUBMISSIONS" in said


# Tables read back what was written ---------------------------------------------------------------

REMARKS = ["'tis right", "=1+1", "+1 for style", "-1 for style", "@ada", "'=1", "''quoted''", "'",
           " a blank before", "a\rb", "a\r\nb\n", "a\u2028b\x0cc\x85d", '"a", b; c\td', "\uff1da"]


@pytest.mark.parametrize("remark", REMARKS)
def test_a_remark_comes_back_letter_by_letter(sample, inbox, tmp_path, remark):
    who = f"=-'t Hooft {REMARKS.index(remark)}"
    inbox.write(who, "sample.ipynb")
    sheet, out = tmp_path / "graded.csv", tmp_path / "out"
    made, jobs = odd.grade(inbox.folder, sample[0], out, None)
    for spreadsheet in (True, False):  # one that writes as the grader does, and a person's own
        rows = points.read(out / "points.csv")
        (row,) = [row for row in rows if row["question"] == "words"]
        row |= {"points": "2", "rubric": "", "note": remark + "x" * spreadsheet}
        if spreadsheet:
            points.write(sheet, points.COLUMNS, rows)
        elif not points.FORMULA.match(remark[1:]):  # else the apostrophe is a spreadsheet's
            made_by_hand = io.StringIO(newline="")
            writer = points.csv.DictWriter(made_by_hand, points.COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
            sheet.write_bytes(made_by_hand.getvalue().encode())
        else:
            continue
        told = report.Report(made)
        assert told.merge(sheet, jobs) == 1
        told.tables(jobs)
        (row,) = [r for r in points.read(out / "points.csv") if r["question"] == "words"]
        assert (row["student"], row["points"], row["note"]) == (
            who, "2", remark + "x" * spreadsheet)
        assert told.merge(out / "points.csv", jobs) == 0  # nothing new


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(), min_size=len(points.REMARKS), max_size=len(points.REMARKS)))
def test_any_text_comes_back_from_a_table(tmp_path_factory, remarks):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    row = dict.fromkeys(points.COLUMNS, "1") | dict(zip(points.REMARKS, remarks, strict=True))
    points.write(path, points.COLUMNS, [row, row])
    assert points.read(path) == [row, row]
    for cell in points.csv.reader(io.StringIO(path.read_text("utf-8"))):
        assert not any(text[:1] in {*"=+-@\t\r\n"} - {""} for text in cell)


@pytest.mark.parametrize("text, words", [
    ("", "has no column student"), ("{head}\n", "has no column student"),
    ("{head}\nann,sample,wor", "row 2 is cut off"), ('{head}\nann,"sam', "row 2 is cut off"),
    ("{head}\nann,sample,words,2,3,open,,right, but short", "row 2 has more cells than the first"),
    ("{head}\nann,sch\u00f6n", "is not in UTF-8: save it again, in Excel as 'CSV UTF-8'"),
    ("{head}\nann,sample,words,2,3,open,," + "a" * 200_000, "is no table: field larger than"),
])
def test_a_cut_or_torn_table_is_one_line(tmp_path, text, words):
    text = text.replace("{head}", ",".join(points.COLUMNS))
    (tmp_path / "graded.csv").write_bytes(text.encode("cp1252"))
    with pytest.raises(points.Wrong, match=f"^graded.csv.*{words}"):
        points.read(tmp_path / "graded.csv")


# Names -------------------------------------------------------------------------------------------

@given(st.lists(st.text(min_size=1), min_size=2, max_size=2, unique=True))
@settings(deadline=None)
def test_each_name_is_a_file_of_its_own(names):
    made = [naming.as_file(name) for name in names]
    assert made[0] != made[1]
    for name in made:
        assert 0 < len(name.encode()) <= naming.LONGEST and "/" not in name and name.strip(" .")


@given(st.text(st.characters()))
def test_a_shown_name_is_shown_as_it_is(name):
    shown = naming.shown(name)
    assert naming.shown(shown) == shown and shown.isprintable() | (not shown.encode().isascii())


@pytest.mark.parametrize("form", [odd.zipfile.ZipInfo, odd.Unflagged])
@pytest.mark.parametrize("between", ["/", "\\"])
def test_a_zip_of_a_class_names_each_student_once(tmp_path, form, between):
    members = {
        "class/Zoe\u0308/noise.ipynb": b"1", "class/Zo\u00eb/noise-1.ipynb": b"2",
        "class/Ada /noise.ipynb": b"3", "class/Ada/a.ipynb.txt": b'{"cells": [], "nbformat": 4}',
        "class/Bob/": b"", "class/__MACOSX/._noise.ipynb": b"x", "class/desktop.ini": b"x",
        "class/" + "n" * 300 + "/noise.ipynb": b"4", "class/" + "n" * 301 + "/noise.ipynb": b"5",
    }
    place = tmp_path / "class.zip"
    place.write_bytes(odd.archive({name.replace("/", between): data
                                   for name, data in members.items()}, form))
    found = {s.name: [f.data or f.fault for f in s.notebooks]
             for s in intake.collect(place, ["noise"])}
    long = [name for name in found if name.startswith("nnn")]
    assert sorted(found.pop(name)[0] for name in long) == [b"4", b"5"]
    assert {name: len(data) for name, data in found.items()} == {"Zoë": 2, "Ada": 2, "Bob": 1}
    assert found["Bob"] == ["the folder is empty"]


def test_names_that_differ_in_a_byte_are_two_students(tmp_path):
    for byte in (b"\xe8", b"\xe9"):
        place = odd.os.path.join(odd.os.fsencode(tmp_path), b"Zo" + byte)
        odd.os.mkdir(place)
        open(place + b"/noise.ipynb", "wb").close()
    assert [s.name for s in intake.collect(tmp_path, ["noise"])] == ["Zo\\xe8", "Zo\\xe9"]


def test_a_zip_of_zips_may_unpack_to_so_much(tmp_path, monkeypatch):
    monkeypatch.setattr(intake, "LARGEST", 10_000)
    inner = odd.archive({f"{n}.ipynb": b"0" * 3000 for n in range(4)})
    (tmp_path / "ann.zip").write_bytes(inner)
    (tmp_path / "bob.zip").write_bytes(inner)
    for student in intake.collect(tmp_path, ["noise"]):
        faults = [file.fault for file in student.notebooks if not file.data]
        assert len(student.notebooks) == 4 and len(faults) == 1 and "when unpacked" in faults[0]
