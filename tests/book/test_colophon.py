"""The colophon names what the pages are made with, in the versions that they are made with."""

import importlib.metadata
import importlib.util
import json
import re
from pathlib import Path

import pytest

from scripts.assets import vendor

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "book" / "colophon.md").read_text(encoding="utf-8")
# | part | version | licence | copyright |
ROW = re.compile(r"^\| (.+?) \| (\d[\d.a-z]*) \| (.+?) \| (.+?) \|$", re.M)
ROWS = {part: rest for part, *rest in ROW.findall(TEXT)}
NPM = {
    "MathJax, its fonts included": "mathjax",
    "RequireJS": "requirejs",
    "Jupyter widgets' html-manager": "@jupyter-widgets/html-manager",
    "ONNX Runtime Web": "onnxruntime-web",
}
PYTHON = {
    "Sphinx, its scripts and basic style": "sphinx",
    "Sphinx Book Theme": "sphinx-book-theme",
    "PyData Sphinx Theme": "pydata-sphinx-theme",
    "Accessible Pygments, the colours of code": "accessible-pygments",
    "MyST-NB, its style": "myst-nb",
    "sphinx-copybutton": "sphinx-copybutton",
    "sphinx-togglebutton": "sphinx-togglebutton",
    "sphinx-design": "sphinx-design",
}
# Parts that a package brings along: where, and what its own notice says.
PYDATA = "theme/pydata_sphinx_theme/static/scripts"
INSIDE = {
    "Bootstrap, in that theme": (
        "pydata_sphinx_theme", f"{PYDATA}/bootstrap.js.LICENSE.txt",
        r"Bootstrap v([\d.]+)"),
    "Font Awesome Free, in that theme": (
        "pydata_sphinx_theme", f"{PYDATA}/fontawesome.js.LICENSE.txt",
        r"Font Awesome Free ([\d.]+)"),
    "clipboard.js, in it": (
        "sphinx_copybutton", "_static/clipboard.min.js", r"clipboard\.js v([\d.]+)"),
}
LOCKED = json.loads((ROOT / "package-lock.json").read_text())["packages"]
PINS = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements.lock").read_text(), re.M))


def family(licence: str) -> str:
    """Licences are written in many ways: Apache-2.0, Apache License 2.0, Apache 2.0."""
    words = re.sub(r"License|Clause|OSI Approved|::|[\s-]", "", licence)
    return re.match(r"(MIT|BSD|Apache)?", words)[1] or words


def test_every_row_is_checked():
    assert set(ROWS) == {*NPM, *PYTHON, *INSIDE}


@pytest.mark.parametrize(("part", "package"), NPM.items())
def test_scripts_from_npm(part, package):
    version, licence, _ = ROWS[part]
    locked = LOCKED[f"node_modules/{package}"]
    assert version == locked["version"]
    assert family(licence) == family(locked["license"])


def test_every_script_that_is_served_is_named():
    direct = json.loads((ROOT / "package.json").read_text())["dependencies"]
    assert set(NPM.values()) == set(direct)


@pytest.mark.parametrize(("part", "package"), PYTHON.items())
def test_packages_from_pypi(part, package):
    version, licence, _ = ROWS[part]
    assert version == PINS[package]
    metadata = importlib.metadata.metadata(package)
    stated = " ".join([metadata.get("License-Expression") or metadata.get("License") or "",
                       *(c for c in metadata.get_all("Classifier", []) if "License" in c)])
    assert family(licence) in stated


@pytest.mark.parametrize(("part", "where"), INSIDE.items())
def test_what_packages_bring_along(part, where):
    package, file, notice = where
    folder = Path(importlib.util.find_spec(package).origin).parent
    assert ROWS[part][0] == re.search(notice, (folder / file).read_text())[1]


def test_the_notices_of_the_runtime_are_its_python_package_s():
    """The pages are built without that package: copies of its texts are committed."""
    package = Path(importlib.util.find_spec("onnxruntime").origin).parent
    copies = sorted(vendor.NOTICES.iterdir())
    assert [copy.name for copy in copies] == ["LICENSE", "ThirdPartyNotices.txt"]
    for copy in copies:
        assert copy.read_bytes() == (package / copy.name).read_bytes()


def test_jupyter_book_is_the_locked_one():
    assert f"Jupyter Book {PINS['jupyter-book']} " in TEXT


def test_the_data_sets_are_named_with_their_terms():
    for card in ("mnist", "kkanji", "cifar10-small", "anime-faces"):
        assert (ROOT / "data" / "weights" / f"{card}.md").is_file()
    kanji = (ROOT / "data" / "weights" / "kkanji.md").read_text()
    assert "CC BY-SA 4.0" in kanji and "10.20676/00000341" in kanji
    rows = [line for line in TEXT.splitlines() if line.startswith("|")]
    assert any("10.20676/00000341" in row and "CC BY-SA 4.0" in row for row in rows)
    assert any(row.startswith("| MNIST") and "CC BY-SA 3.0" in row for row in rows)
    assert any(row.startswith("| anime faces") and "artists'" in row for row in rows)
    assert any(row.startswith("| CIFAR-10") for row in rows)
