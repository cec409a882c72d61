"""A picture without alt text stops the build."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PNG = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5E"
       "rkJggg==")
CONFIG = ("import sys; sys.path.insert(0, {ext!r})\n"
          "extensions = ['myst_nb', 'ddim_alt']\nnb_execution_mode = 'off'\n"
          "project = 'x'\nexclude_patterns = ['out']\n")


def cell(metadata: dict, data: dict) -> dict:
    return {"cell_type": "code", "execution_count": 1, "metadata": metadata, "source": "1",
            "outputs": [{"output_type": "display_data", "metadata": {}, "data": data}]}


def build(folder: Path, page: str, *cells: dict) -> str:
    """Build one page and one notebook; returns the warnings, or "" where all is well."""
    import base64

    (folder / "conf.py").write_text(CONFIG.format(ext=str(ROOT / "book" / "_ext")))
    (folder / "dot.png").write_bytes(base64.b64decode(PNG))
    (folder / "index.md").write_text(f"# Page\n\n{page}\n\n```{{toctree}}\nbook\n```\n")
    (folder / "book.ipynb").write_text(json.dumps(
        {"nbformat": 4, "nbformat_minor": 4, "metadata": {"kernelspec": {
            "name": "python3", "display_name": "Python 3", "language": "python"}},
         "cells": [{"cell_type": "markdown", "metadata": {}, "source": "# Book"}, *cells]}))
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", ".", "out"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert (done.returncode == 0) == (done.stderr == ""), done.stderr
    return done.stderr


GOOD = {"mystnb": {"image": {"alt": "One black dot"}}}


def test_pictures_with_alt_text_build(tmp_path):
    html = {"text/html": '<b>1</b><img src="x" alt="A dot in HTML">', "image/png": PNG}
    assert build(tmp_path, "![A black dot](dot.png)", cell(GOOD, {"image/png": PNG}),
                 cell({}, html)) == ""


@pytest.mark.parametrize(("page", "cells", "message"), [
    ("![](dot.png)", (), "picture 'dot.png' has no alt text"),
    ("![dot](dot.png)", (), "has an alt text of 'dot', too short"),
    ("A dot.", (cell({}, {"image/png": PNG}),), "has no alt text"),
    ("![one black dot.png](dot.png)", (), "has a file's name for alt text"),
    ("A dot.", (cell({}, {"text/html": '<img src="x">'}),), "picture in HTML '<img src="),
    ('<img src="dot.png">', (), "has no alt text"),
    ('<img src="dot.png" alt="">', (), "has no alt text"),
], ids=["none", "short", "output", "file", "html", "raw", "empty"])
def test_a_picture_without_alt_text_stops_the_build(tmp_path, page, cells, message):
    assert message in build(tmp_path, page, *cells)
