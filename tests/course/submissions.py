"""Submissions of the small assignment: right, broken in every way we know, and hostile."""

import contextlib
import copy
import io
from pathlib import Path

import nbformat
import psutil
import pytest
from click.testing import CliRunner, Result

from course.assignments import Assignment, marks
from course.grader.__main__ import main
from course.grader.sandbox import cage, work
from course.grader.sandbox.kernel import Ran
from proofs.odd_submissions import archive

SQUARE = "# question: square\ndef square(x):\n    return x ** 2\n"
CUBE = "# question: cube\ndef cube(x):\n    return x ** 3\n"
TOTAL = "# question: total\ndef total(n):\n    return sum(square(k + 1) for k in range(n))\n"
WORDS = "<!-- question: words -->\nThe cube, beyond one."
LEFT_RUNNING = "ddim-grading-test-left-running"


def no_cage() -> str:
    """Why this system has no cage for submissions; empty if it has one."""
    try:
        cage.build([])
    except cage.NoCage as error:
        return str(error)
    return ""


WITHOUT = no_cage()
NEEDS_CAGE = pytest.mark.skipif(bool(WITHOUT), reason=WITHOUT)


class Maker:
    """Makes notebooks that answer `assignment`, from the release that a student would open."""

    def __init__(self, assignment: Assignment):
        self.assignment = assignment

    def answered(self, **changes) -> nbformat.NotebookNode:
        """The release with right answers; `changes` replaces cells by their question's name."""
        notebook = copy.deepcopy(self.assignment.release)
        # The library takes seconds to import, and nothing here needs it.
        notebook.cells = [c for c in notebook.cells if "import ddim_lib" not in c.source]
        given = {"square": SQUARE, "cube": CUBE, "total": TOTAL, "words": WORDS} | changes
        for name, source in given.items():
            self.cell(notebook, name.replace("_", "-")).source = source
        return notebook

    @staticmethod
    def cell(notebook, grade_id: str):
        return next(c for c in notebook.cells if marks(c).get("grade_id") == grade_id)

    @classmethod
    def place(cls, notebook, grade_id: str) -> int:
        return notebook.cells.index(cls.cell(notebook, grade_id))

    def broken(self) -> dict[str, nbformat.NotebookNode]:
        """By what is the matter with it: notebooks that can be graded, all or in part."""
        code, text = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
        made = {"right": self.answered(), "blank": self.assignment.release}

        made["no metadata"] = notebook = self.answered()
        for cell in notebook.cells:
            cell.metadata = nbformat.from_dict({})

        made["no names"] = notebook = self.answered()
        for name in ("square", "cube", "total", "words", "setup", "test-cube"):
            cell = self.cell(notebook, name)
            cell.source = cell.source.split("\n", 1)[1]

        made["neither"] = notebook = self.answered()
        cell = self.cell(notebook, "cube")
        cell.source, cell.metadata = cell.source.split("\n", 1)[1], nbformat.from_dict({})

        made["begun as a copy"] = self.answered(cube=SQUARE + CUBE.split("\n", 1)[1])

        made["answer deleted"] = notebook = self.answered()
        notebook.cells.pop(self.place(notebook, "cube"))

        made["tests deleted and changed"] = notebook = self.answered(square="# question: square\n")
        self.cell(notebook, "test-square").source = "# test: square\nprint('ok')"
        notebook.cells.pop(self.place(notebook, "test-cube"))
        self.cell(notebook, "setup").source = "# given: setup\nSTEPS = 1"

        made["doubled"] = notebook = self.answered(square="# question: square\nwhile True: pass")
        at = self.place(notebook, "square")
        blank = self.assignment.cell("square", "release")
        notebook.cells[at + 1 : at + 1] = [code(SQUARE, metadata=blank.metadata), blank]
        notebook.cells.append(self.cell(notebook, "test-cube"))

        made["split"] = notebook = self.answered(square="# question: square\nPOWER = 2")
        at = self.place(notebook, "square")
        half = code("def square(x):\n    return x ** POWER", metadata=blank.metadata)
        notebook.cells.insert(at + 1, half)

        made["merged"] = notebook = self.answered()
        source = "\n".join(c.source for c in notebook.cells if c.cell_type == "code")
        notebook.cells = [code(source), text(WORDS)]

        made["turned round"] = notebook = self.answered()
        notebook.cells = notebook.cells[::-1]

        made["cells of one's own"] = notebook = self.answered(
            square="# question: square\ndef square(x):\n    return helper(x)\n"
        )
        at = self.place(notebook, "setup")
        notebook.cells.insert(at + 1, code("def helper(x):\n    return x * x"))
        notebook.cells.insert(at + 2, code("1 / 0"))

        made["names of Python taken"] = notebook = self.answered()
        at = self.place(notebook, "setup")
        taken = "print max len set abs isinstance getattr hasattr setattr RuntimeError".split()
        notebook.cells.insert(at + 1, code("\n".join(f"{name} = 3" for name in taken)))

        made["another type"] = notebook = self.answered()
        at = self.place(notebook, "square")
        notebook.cells[at] = text(SQUARE)
        return made

    def hostile(self) -> dict[str, nbformat.NotebookNode]:
        """By what it does: notebooks whose code would harm a grader or its machine."""
        head = "# question: {}\n{}\n"
        cube = lambda body: self.answered(cube=head.format("cube", body))  # noqa: E731
        function = "def cube(x):\n    {}\n    return x ** 3"
        return {
            "syntax error": cube("def cube(x:\n    return"),
            "raises": cube("raise ValueError('<b>no</b> | idea')"),
            "input": cube("n = input('how many?')\n" + function.format("pass")),
            "exit": self.answered(
                square=SQUARE + "exit()",
                cube=CUBE + "import sys\nsys.exit(0)",
                total=TOTAL + "import os\nos._exit(0)",
            ),
            "exit in a test": cube(function.format("import os; os._exit(0)")),
            "killed": cube("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
                           "import ctypes\nctypes.string_at(0)"),
            "endless": cube("while True: pass"),
            "endless and stubborn": cube(function.format(
                "import signal\n    signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
                "    while True: pass")),
            "prints": cube("print('spam' * 25_000_000)\nprint('x\\n' * 1_000_000)\n"
                           + function.format("pass")),
            "prints endlessly": cube("while True: print('spam' * 100)"),
            "memory": cube("hog = [bytearray(10**8) for _ in range(10**6)]"),
            "forks": cube("import os\nwhile True: os.fork()"),
            "leaves running": cube(
                "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', "
                f"'import time; time.sleep(600)', {LEFT_RUNNING!r}], start_new_session=True)\n"
                + function.format("pass")),
            "history": self.answered(total=TOTAL + HISTORY),
        }


# Looks for the hidden tests that ran before it, and for those that will run after it.
HISTORY = """
import linecache, os
told = [str(x) for x in globals().get("In", [])] + [str(v) for v in linecache.cache.values()]
for folder, _, names in os.walk(os.path.expanduser("~")):
    for name in names:
        told.append(open(os.path.join(folder, name), errors="replace").read())
if any("secret_" + "number" in x for x in told) or "GRADER_SECRET" in os.environ:
    del total
"""


def unreadable(other: nbformat.NotebookNode) -> dict[str, bytes]:
    """By file name: what is no notebook of the assignment; `other` is another assignment's."""
    words = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("My holidays")])
    empty = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("  ")])
    good = nbformat.writes(other).encode()
    return {
        "nothing.ipynb": b"",
        "text.ipynb": b"dear teacher, the dog ate it",
        "cut_off.ipynb": good[: len(good) // 2],
        "nested.ipynb": b"[" * 100_000,
        "list.ipynb": b"[1, 2]",
        "odd.ipynb": b'{"cells": [1, null, {"cell_type": "code", "source": {"a": 1}}]}',
        "no_cells.ipynb": nbformat.writes(empty).encode(),
        "holidays.ipynb": nbformat.writes(words).encode(),
        "other.ipynb": good,
        "essay.pdf": b"%PDF-1.4",
        "broken.zip": b"PK\x03\x04 no",
        "no_notebook.zip": archive({"readme": b"hello"}),
    }


def write(notebook, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.writes(notebook), encoding="utf-8")


def running(mark: str) -> list[psutil.Process]:
    """The processes that were started with this word."""
    return [p for p in psutil.process_iter(["cmdline"]) if mark in (p.info["cmdline"] or [])]


def command(folder: Path, *options) -> Result:
    """The grader's command on a folder of submissions, in this process."""
    return CliRunner().invoke(main, [str(folder), *map(str, options)])


def in_process(notebook, *_) -> dict[int, Ran]:
    """Stands in for the sandbox."""
    space, ran = {}, {}
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            try:
                with contextlib.redirect_stdout(None), contextlib.redirect_stderr(io.StringIO()):
                    exec(cell.source, space)
                ran[index] = Ran("ok")
            except Exception as error:
                said = {"output_type": "error", "ename": type(error).__name__,
                        "evalue": str(error), "traceback": []}
                ran[index] = Ran("error", [said])
    return ran


@contextlib.contextmanager
def no_sandbox():
    """Cells run in this process; for what is not about them. Gives the patch, for more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "execute", in_process)
        patch.setattr(work, "matplotlib_cache", lambda folder: None)
        yield patch
