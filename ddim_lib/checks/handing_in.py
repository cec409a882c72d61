"""The last cell of an assignment: the file to hand in."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

# What the release leaves where an answer belongs.
BLANK = ("raise NotImplementedError", "YOUR ANSWER HERE")
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
    """
    if grading():
        print("graded here, nothing is packed")
        return None
    name = re.sub(r"[^\w.@+-]+", "-", str(student)).strip("-._")
    if not name:
        print(f"write your name or number between the quotes, then run this again; "
              f"it is {student!r}")
        return None
    notebook = _from_colab() or _from_file(Path(folder), assignment)
    sources = ["".join(cell["source"]) for cell in notebook["cells"]]
    marks = {(m[1], m[2]): source for source in sources if (m := MARK.match(source))}
    for (kind, question), source in marks.items():
        if kind == "question" and any(blank in source for blank in BLANK):
            print(f"still open: {question}")
        if kind == "test" and ("question", question) not in marks:
            print(f"missing: the cell that begins with '# question: {question}'")
    path = Path(folder) / f"{assignment}__{name}.ipynb"
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"hand in: {path.name}")
    if "google.colab" in sys.modules:
        from google.colab import files

        files.download(str(path))
    return path


def _from_colab() -> dict | None:
    if "google.colab" not in sys.modules:
        return None
    from google.colab import _message

    return _message.blocking_request("get_ipynb", timeout_sec=60)["ipynb"]


def _from_file(folder: Path, assignment: str) -> dict:
    path = folder / f"{assignment}.ipynb"
    if not path.is_file():
        here = ", ".join(sorted(p.name for p in folder.glob("*.ipynb"))) or "none"
        raise FileNotFoundError(f"the notebook must be called {path.name} to be packed; "
                                f"notebooks in this folder: {here}")
    return json.loads(path.read_text(encoding="utf-8"))
