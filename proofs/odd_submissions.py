"""A class in which every third folder is of an awkward kind: everyone gets row, points and page.

The class hands in a real assignment and is graded in the cage, stopped in the middle, continued,
and graded once more: what each kind must give is written beside it, and the second call changes no
byte of tables and pages.

    python -m proofs.odd submissions --seed 3

Sixty run in twelve minutes of a busy core. test_odd_submissions.py does the same with a
small assignment and no cage.
"""

from __future__ import annotations

import copy
import csv
import html
import io
import json
import os
import random
import tempfile
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import nbformat

from course import assignments
from course.assignments import Assignment, marks
from course.grader import points
from course.grader.batch import Batch
from course.grader.report import Report
from course.grader.sandbox import cage
from course.grader.sandbox.kernel import Limits
from proofs.colab_notebooks import answered
from proofs.common import Failed

ASSIGNMENT = "noise"
SIZE = 60  # students of a class; every third is odd
PLAIN = "<p>Your answers stand here as you typed them"
PIXEL = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5E"
         "rkJggg==")


@dataclass
class Expected:
    """What the tables and the page must say of one student."""

    name: str
    graded: bool = True
    note: str = ""
    page: str = ""


class Inbox:
    """Where submissions are written: `name` is the assignment's, `text` a right notebook."""

    def __init__(self, folder: Path, assignment: Assignment):
        self.folder, self.name = folder, assignment.name
        self.notebook = answered(assignment.release, assignment.source)
        self.data = nbformat.writes(self.notebook).encode()

    def write(self, *parts: str | bytes, data: bytes | None = None) -> Path:
        """A file below the folder; a right notebook, where nothing else is given."""
        path = os.path.join(os.fsencode(self.folder), *map(os.fsencode, parts))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(self.data if data is None else data)
        return Path(os.fsdecode(path))

    def changed(self, change: Callable[[nbformat.NotebookNode], None]) -> bytes:
        notebook = copy.deepcopy(self.notebook)
        change(notebook)
        return nbformat.writes(notebook).encode()

    def told(self, words: str, attachments: dict | None = None) -> bytes:
        """A right notebook in which a written answer says something more."""
        def change(notebook):
            cell = next(c for c in notebook.cells
                        if marks(c).get("solution") and c.cell_type == "markdown")
            cell.source += f"\n\n{words}"
            if attachments:
                cell.attachments = attachments
        return self.changed(change)


class Unflagged(zipfile.ZipInfo):
    """A member whose name is UTF-8 without saying so, as macOS writes it."""

    def _encodeFilenameFlags(self):
        return self.filename.encode(), 0


def archive(members: dict[str, bytes], form: type[zipfile.ZipInfo] = zipfile.ZipInfo) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        for name, data in members.items():
            made.writestr(form(name), data, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


KINDS: dict[str, Callable[[Inbox, str], Expected]] = {}


def kind(name: str):
    def enter(make):
        KINDS[name] = make
        return make
    return enter


def folder_called(title: str, make: Callable[[str], str]) -> None:
    """A kind of name: a right notebook in a folder that is called so."""
    @kind(title)
    def called(inbox: Inbox, who: str) -> Expected:
        inbox.write(make(who), f"{inbox.name}.ipynb")
        return Expected(" ".join(unicodedata.normalize("NFC", make(who)).split()))


folder_called("name of 251 letters", lambda who: who.ljust(251, "a"))
folder_called("name of three-byte letters", lambda who: who + "\u6c34" * ((255 - len(who)) // 3))
folder_called("name begins with =", lambda who: f"=1+1 {who}")
folder_called("name begins with -", lambda who: f"-{who}")
folder_called("name begins with @", lambda who: f"@{who}")
folder_called("name begins with '", lambda who: f"'t {who}")
folder_called("name with marks of tables and pages", lambda who: f'"{who}", <b>; |$x$| & \u2028')
folder_called("decomposed name", lambda who: unicodedata.normalize("NFD", f"Zo\u00eb {who}"))
folder_called("name with blanks around", lambda who: f"{who} \u00a0")
folder_called("name over two lines", lambda who: f"{who}\nline two")
folder_called("name in other scripts", lambda who: f"\u0905\u0928\u093f\u0924\u093e \u5b5f {who}")
folder_called("name with a dot", lambda who: f"{who}.x")


RIGHT = ("{who}", "{name}.ipynb")


def one_file(title: str, *parts: str | bytes, data: bytes | Callable[[Inbox], bytes] | None = None,
             graded: bool = True, note: str = "", page: str = "") -> None:
    """A kind of one file.

    Args:
        title: of the kind.
        parts: of its path; {who} is the student, {name} the assignment's name.
        data: what it holds, or what makes that; a right notebook, where nothing is said.
        graded: as note and page what is Expected.
    """
    @kind(title)
    def made(inbox: Inbox, who: str) -> Expected:
        path = [p.format(who=who, name=inbox.name) if isinstance(p, str) else p for p in parts]
        inbox.write(*path, data=data(inbox) if callable(data) else data)
        return Expected(who, graded, note, page)


one_file("notebook called .ipynb.json", "{who}", "{name}.ipynb.json", note="it was called")
one_file("notebook called .ipynb.txt", "{who}", "{name}.ipynb.txt", note="it was called")
one_file("notebook called .json", "{who}", "{name}.json", note="it was called")
one_file("notebook without an ending", "{who}", "{name}", note="it was called")
one_file("notebook in capitals", "{who}", "{name}.IPYNB")
one_file("bytes in the name of a notebook", "{who}", b"na\xefve.ipynb")
one_file("unpacked on Linux from a zip of Windows", "{who}\\work\\{name}.ipynb")
one_file("zip called .ipynb", "{who}", "work.ipynb",
         data=lambda inbox: archive({f"{inbox.name}.ipynb": inbox.data}))
one_file("zip made on Windows", "{who}.zip", data=lambda inbox: archive(
    {"work\\": b"", f"work\\deep\\{inbox.name}.ipynb": inbox.data, "work\\a.csv": b"1"}))


def encoded(encoding: str, note: str) -> None:
    one_file(f"notebook in {encoding}", *RIGHT, note=note, page="Où est passé l'été",
             data=lambda inbox: inbox.told("Où est passé l'été ?").decode().encode(
                 encoding, errors="replace"))


encoded("cp1252", "read as Windows-1252")
encoded("utf-16", "the file is in UTF-16")
encoded("utf-16-le", "the file is in UTF-16-LE")
encoded("utf-8-sig", "")


def unusable(title: str, note: str, *parts: str | bytes, data: bytes = b"") -> None:
    """A kind of file that cannot be graded."""
    one_file(title, *parts, data=data, graded=False, note=note)


unusable("nothing but zeros", "the file is empty", "{who}", "a.ipynb", data=bytes(1000))
unusable("nested without end", "not a notebook", "{who}", "a.ipynb",
         data=b'{"cells":' + b"[" * 99_999)
unusable("a number of a million digits", "not a notebook", "{who}", "a.ipynb",
         data=b'{"cells": [' + b"1" * 1_000_000 + b"]}")
unusable("bytes in the name of a file", r"no notebook, but na\xefve.doc", "{who}", b"na\xefve.doc")
unusable("an empty zip", "the zip file is empty", "{who}.zip", data=archive({}))
unusable("a zip of what macOS adds", "the zip file is empty", "{who}.zip",
         data=archive({"__MACOSX/._a.ipynb": b"x", ".DS_Store": b""}))
unusable("a zip of an empty folder", "the folder is empty", "{who}.zip",
         data=archive({"work/": b""}))
unusable("a broken zip", "the zip file is broken", "{who}.zip", data=b"PK\x03\x04 no")
unusable("a picture and nothing else", "no notebook, but", "{who}", "a.png",
         data=b"\x89PNG\r\n\x1a\n")
unusable("only what Jupyter keeps", "the folder is empty", "{who}", ".ipynb_checkpoints", "a.ipynb")


def answer_says(title: str, words: str, page: str, attachments: dict | None = None) -> None:
    """A kind of written answer; what its page must show."""
    one_file(title, *RIGHT, page=page, data=lambda inbox: inbox.told(words, attachments))


SHOWN = f"data:image/png;base64,{PIXEL}"
answer_says("picture pasted into an answer", "![a b](attachment:a%20b.png)", SHOWN,
            {"a b.png": {"image/png": PIXEL}})
answer_says("picture pasted and made smaller", '<img src="attachment:a.png" width="9"/>', SHOWN,
            {"a.png": {"image/png": PIXEL}})
answer_says("picture named and missing", "![a][1]\n\n[1]: attachment:gone.png",
            "[the picture gone.png is not in the notebook]")
answer_says("page that takes hours to draw", "[" * 100_000, PLAIN)
NO_FORM = {"a": 3, "b.png": {"text/html": "<b>"}, "c.png": {"image/png": ['"', 1]}}
one_file("attachments of no form", *RIGHT, data=lambda inbox: inbox.told("x").replace(
    b'"source"', b'"attachments": %b, "source"' % json.dumps(NO_FORM).encode(), 3))
one_file("half a pair of surrogates", *RIGHT,
         data=lambda inbox: inbox.told("HERE").replace(b"HERE", rb"\ud83d"))
one_file("a cell of nothing but lines", *RIGHT, data=lambda inbox: inbox.changed(
    lambda notebook: notebook.cells.append(nbformat.v4.new_code_cell("\n" * 100_000))))


@kind("folder that cannot be read")
def _(inbox: Inbox, who: str) -> Expected:
    inbox.write(who, f"{inbox.name}.ipynb").parent.chmod(0)
    return Expected(who, False, f"the folder {who} cannot be read")


@kind("file that cannot be read")
def _(inbox: Inbox, who: str) -> Expected:
    inbox.write(who, "a.ipynb").chmod(0)
    return Expected(who, False, "a.ipynb: the file cannot be read")


@kind("folder inside that cannot be read")
def _(inbox: Inbox, who: str) -> Expected:
    inbox.write(who, f"{inbox.name}.ipynb")
    inbox.write(who, "drafts", "a.ipynb").parent.chmod(0)
    return Expected(who, note="the folder drafts cannot be read")


@kind("bytes in the name of a student")
def _(inbox: Inbox, who: str) -> Expected:
    inbox.write(who.encode() + b"\xe8", f"{inbox.name}.ipynb")
    return Expected(rf"{who}\xe8")


@kind("zip made on macOS")
def _(inbox: Inbox, who: str) -> Expected:
    name = unicodedata.normalize("NFD", f"Zoë {who}")
    members = {f"{name}/{inbox.name}.ipynb": inbox.data, f"__MACOSX/{name}/._a.ipynb": b"x"}
    inbox.write(f"{who}.zip", data=archive(members, Unflagged))
    return Expected(who)


@kind("composed and decomposed halves")
def _(inbox: Inbox, who: str) -> Expected:
    inbox.write(unicodedata.normalize("NFD", f"{who}é"), f"{inbox.name}.ipynb")
    inbox.write(f"{who}é ", "notes.txt", data=b"x")
    return Expected(f"{who}é")


@kind("a file of Gradescope's name")
def _(inbox: Inbox, who: str) -> Expected:
    inbox.write(who, f"{inbox.name}.ipynb")
    inbox.write(who, "submission_metadata.yml", data=b"a: [")
    return Expected(who)


@kind("empty folder in an empty folder")
def _(inbox: Inbox, who: str) -> Expected:
    (inbox.folder / who / "work").mkdir(parents=True)
    return Expected(who, False, "the folder is empty")


@kind("a pipe")
def _(inbox: Inbox, who: str) -> Expected:
    (inbox.folder / who).mkdir()
    os.mkfifo(inbox.folder / who / "a.ipynb")
    return Expected(who, False, "a.ipynb: no plain file")


@kind("a link that leads round")
def _(inbox: Inbox, who: str) -> Expected:
    (inbox.folder / f"{who}.x").symlink_to(inbox.folder)
    return Expected(f"{who}.x", False, "a link, not a file")


@kind("a link to itself")
def _(inbox: Inbox, who: str) -> Expected:
    (inbox.folder / who).mkdir()
    (inbox.folder / who / "a.ipynb").symlink_to("a.ipynb")
    return Expected(who, False, "a.ipynb: a link, not a file")


def write_class(inbox: Inbox, kinds: list[str], plain: int) -> dict[str, Expected]:
    """A class: for each kind one student, and after each so many that hand in as they should."""
    every = []
    for number, name in enumerate(kinds):
        every.append(KINDS[name](inbox, f"odd {number:02d}"))
        for i in range(plain):
            who = f"student {number:02d}{'abcdef'[i]}"
            inbox.write(who, f"{inbox.name}.ipynb")
            every.append(Expected(who))
    return {expected.name: expected for expected in every}


def drawn(seed: int, size: int = SIZE) -> list[str]:
    """The kinds of a class of `size` students, one in three, by chance."""
    chance, kinds = random.Random(seed), sorted(KINDS)
    found: list[str] = []
    while len(found) < size // 3:
        found += chance.sample(kinds, min(len(kinds), size // 3 - len(found)))
    return found


@contextmanager
def closed_to_root():
    """Folders and files of mode 0 are closed, whoever grades."""
    def closing(plain):
        def asked(path, *arguments):
            if not path.stat().st_mode & 0o400:
                raise PermissionError(13, "Permission denied", str(path))
            return plain(path, *arguments)
        return asked

    with mock.patch.object(Path, "iterdir", closing(Path.iterdir)), \
            mock.patch.object(Path, "read_bytes", closing(Path.read_bytes)):
        yield


def table(path: Path) -> list[dict]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def results(out: Path) -> dict[str, bytes]:
    """All that is for people: tables and pages."""
    paths = [*out.glob("*.csv"), *(out / "feedback").rglob("*.html")]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def grade(folder: Path, course: Path, out: Path, shut_in: cage.Cage | None,
          stop_after: int | None = None) -> tuple[Batch, list]:
    """Grade the class as the command does; Ctrl-C after so many submissions, where it is said."""
    def say(said: str) -> None:
        if said.startswith(f"{stop_after}/"):
            raise KeyboardInterrupt

    out.mkdir(exist_ok=True)
    batch = Batch(course, out, Limits(), shut_in, say=say)
    report = Report(batch)
    with closed_to_root():
        jobs = batch.grade(folder, None, 1, False, between=report.tables)
    report.write(jobs)
    return batch, jobs


def faults(out: Path, every: dict[str, Expected], tested: float) -> list[str]:
    """What is not as expected, a line each; `tested` are the points that a right notebook gets."""
    totals = {points.meant(row["student"]): row for row in table(out / "totals.csv")}
    pages = [path.read_text(encoding="utf-8") for path in (out / "feedback").rglob("*.html")]
    found = [f"no row for {name!r}" for name in every.keys() - totals.keys()]
    for name in every.keys() & totals.keys():
        expected, row = every[name], totals[name]
        if (row["status"] == "not graded") == expected.graded:
            found.append(f"{name!r} is {row['status']}: {row['note']}")
        if float(row["points"]) != (tested if expected.graded else 0):
            found.append(f"{name!r} has {row['points']} points: {row['note']}")
        if expected.note not in row["note"]:
            found.append(f"{name!r}: {row['note']!r} does not say {expected.note!r}")
        if not any(expected.page in page and html.escape(name) in page for page in pages):
            found.append(f"{name!r}: no page with {expected.page[:60]!r}")
    if sum(PLAIN in page for page in pages) != sum(e.page == PLAIN for e in every.values()):
        found.append("a page is plain that could have been drawn")
    if not len(pages) == len(totals) == len(every):
        found.append(f"{len(pages)} pages and {len(totals)} rows for {len(every)} students")
    return found


def tried(seed: int, examples: int) -> Counter:
    """Grade a class of as many students, at least six and at most sixty, as the module says.

    Returns:
        how many students' work ran, and how many have a row that says why it did not.

    Raises:
        Failed: somebody has no row, no page, or other points than expected; with all of it.
    """
    size = max(6, min(SIZE, examples))
    with tempfile.TemporaryDirectory() as folder:
        place, out = Path(folder) / "inbox", Path(folder) / "out"
        place.mkdir()
        assignment = assignments.load(ASSIGNMENT, Path(folder) / "made")
        inbox, kinds = Inbox(place, assignment), drawn(seed, size)
        every = write_class(inbox, kinds, 2)
        shut_in = cage.build([assignments.COURSE, place])
        try:
            grade(place, assignments.COURSE, out, shut_in, stop_after=size // 3)
            raise Failed("the grader was not interrupted")
        except KeyboardInterrupt:
            pass
        _, jobs = grade(place, assignments.COURSE, out, shut_in)
        tested = sum(q.points for q in assignment.questions if not q.written)
        first, wrong = results(out), faults(out, every, tested)
        grade(place, assignments.COURSE, out, None)  # nothing is left to run
        if results(out) != first:
            wrong.append("the second call changed tables or pages")
        if wrong:
            raise Failed("\n".join(wrong))
    ran = sum(expected.graded for expected in every.values())
    return Counter({"students whose work ran": ran,
                    "students whose row says why not": len(every) - ran})
