"""The last cell of an assignment: the file to hand in."""

from __future__ import annotations

import json
import numbers
import os
import re
import sys
import unicodedata
from pathlib import Path

# What the release leaves where an answer belongs.
BLANK = ("raise NotImplementedError", "YOUR ANSWER HERE")
LONGEST = 150  # bytes of a name: with the assignment's and an ending, a file's name has 255
MARK = re.compile(r"^(?:#|<!--) (question|test): ([a-z0-9-]+)")


def grading() -> bool:
    """Is a grader running this notebook (the variable DDIM_GRADING is set)? Then long cells are
    cut short."""
    return bool(os.environ.get("DDIM_GRADING"))


def pack(assignment: str, student: str, folder: str | Path = ".") -> Path | None:
    """Write the file to hand in, ``ASSIGNMENT__STUDENT.ipynb``, and say what is still open.

    On Colab it is taken from the open notebook and downloaded; elsewhere it is a copy of the
    saved file, so save first. While a grader runs the notebook nothing is written.

    Args:
        assignment: its name, which is also the name of the notebook's file.
        student: your name or number.
        folder: where the notebook lies and the file is written.

    Returns:
        the file, or None while grading, and where the name is still empty.

    Raises:
        FileNotFoundError: the notebook is not in the folder.
        ValueError: the file in the folder is no whole notebook.
        RuntimeError: on Colab, the page does not answer.
    """
    if grading():
        print("graded here, nothing is packed")
        return None
    name = _file_name(student)
    if not name or len(name.encode()) > LONGEST:
        print("write your name or number between the quotes, in at most 50 letters, then run this "
              f"again; it is {student!r}")
        return None
    path = Path(folder) / f"{assignment}__{name}.ipynb"
    if "google.colab" in sys.modules:
        notebook = _from_colab(path.name)
    else:
        notebook = _from_file(Path(folder), assignment)
    sources = [_text(cell) for cell in notebook["cells"]]
    marks = {(m[1], m[2]): source for source in sources if (m := MARK.match(source))}
    for (kind, question), source in marks.items():
        if kind == "question" and any(blank in source for blank in BLANK):
            print(f"still open: {question}")
        if kind == "test" and ("question", question) not in marks:
            print(f"missing: the cell that begins with '# question: {question}'")
    content = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    # Half a pair of surrogates, as a browser may leave in an output, becomes JSON's own escape.
    path.write_bytes(content.encode("utf-8", errors="backslashreplace"))
    print(f"hand in: {path.name}")
    if "google.colab" in sys.modules:
        from google.colab import files

        files.download(str(path))
    return path


def _file_name(student) -> str:
    """A name or number as part of a file's name; empty for anything else.

    Composed letters stay, and so do the vowel signs of scripts that have them.
    """
    if isinstance(student, bool) or not isinstance(student, (str, numbers.Integral)):
        return ""
    kept = [c if c in "_.@+-" or unicodedata.category(c)[0] in "LMN" else " "
            for c in unicodedata.normalize("NFC", str(student))]
    return "-".join("".join(kept).split()).strip("-._")


def _text(cell) -> str:
    source = cell.get("source") or "" if isinstance(cell, dict) else ""
    return source if isinstance(source, str) else "".join(map(str, source))


def _from_colab(name: str) -> dict:
    from google.colab import _message

    try:
        return _whole(_message.blocking_request("get_ipynb", timeout_sec=60)["ipynb"])
    except Exception as error:
        raise RuntimeError("the page did not give its notebook: save it (Ctrl+S) and run this cell "
                           "again, or use File, Download, Download .ipynb and call the file "
                           f"{name}") from error


def _from_file(folder: Path, assignment: str) -> dict:
    path = folder / f"{assignment}.ipynb"
    if not path.is_file():
        here = ", ".join(sorted(p.name for p in folder.glob("*.ipynb"))) or "none"
        raise FileNotFoundError(f"the notebook must be called {path.name} to be packed; "
                                f"notebooks in this folder: {here}")
    try:
        return _whole(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path.name} is no whole notebook: save it and run this cell "
                         "again") from error


def _whole(notebook) -> dict:
    if not isinstance(notebook["cells"], list):
        raise TypeError("its cells are no list")
    return notebook
