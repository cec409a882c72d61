"""A picture without alt text stops the build."""

import base64
import json
from pathlib import Path

import pytest
import small_book

PNG = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5E"
       "rkJggg==")


def cell(metadata: dict, data: dict) -> dict:
    return {"cell_type": "code", "execution_count": 1, "metadata": metadata, "source": "1",
            "outputs": [{"output_type": "display_data", "metadata": {}, "data": data}]}


def build(folder: Path, page: str, *cells: dict) -> str:
    """Build one page and one notebook; returns the warnings, or "" where all is well."""
    source = folder / "source"
    source.mkdir()
    (source / "dot.png").write_bytes(base64.b64decode(PNG))
    (source / "index.md").write_text(f"# Page\n\n{page}\n\n```{{toctree}}\nbook\n```\n")
    (source / "book.ipynb").write_text(json.dumps(
        {"nbformat": 4, "nbformat_minor": 4, "metadata": {"kernelspec": {
            "name": "python3", "display_name": "Python 3", "language": "python"}},
         "cells": [{"cell_type": "markdown", "metadata": {}, "source": "# Book"}, *cells]}))
    return small_book.build(folder, ["ddim_alt"], "myst_nb", nb_execution_mode="off")


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
    """A warning, and warnings are errors to `make book`."""
    told = build(tmp_path, page, *cells)
    assert "WARNING" in told and message in told
