"""Every numbered equation of the chapters leads to a function and to tests, and back."""

import json
import re
from pathlib import Path

import ddim_equations
import pytest
from ddim_equations import page as equation_page
from ddim_equations import sources as equation_sources
from ddim_shared import repository
from docutils import nodes

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted((ROOT / "book").glob("[0-9]*.ipynb"))
NUMBERS = {equation.number for equation in equation_sources.equations()}


def test_every_equation_has_words_and_a_test_and_nothing_is_named_in_vain():
    assert equation_sources.problems() == []
    assert list(equation_page.WORDS) == [e.number for e in equation_sources.equations()]
    written = sum(path.read_text(encoding="utf-8").count("\\\\tag{") for path in CHAPTERS)
    assert written == len(NUMBERS) >= 23


def test_every_mark_is_read():
    marks = sum(len(re.findall(r"^@pytest\.mark\.equation\(", path.read_text(), re.MULTILINE))
                for path in (ROOT / "tests").rglob("test_*.py"))
    assert marks == len(equation_sources.tests()) >= 30


@pytest.mark.parametrize("number, functions", [
    ("1", ["Schedule.add_noise"]), ("3", ["predict_x0"]), ("5", ["noise_prediction_loss"]),
    ("7.2", ["epsilon_from_v"]), ("7.3", ["noise_prediction_loss"]),
    ("7", ["step", "sample_iter", "sample"]), ("9", ["sigma"]), ("10", ["step"]),
    ("8.2", ["slerp"]), ("9.1", ["encode"]), ("11.4", [])])
def test_the_functions_of_an_equation(number, functions):
    assert [f.name for f in equation_sources.functions() if number in f.numbers] == functions


def test_the_page_of_equations():
    page = equation_page.markdown()
    sections = re.split(r"^### ", page, flags=re.MULTILINE)[1:]
    assert [re.match(r"\((.+?)\)", s)[1] for s in sections] == list(equation_page.WORDS)
    links = re.findall(r"\[`(\w+)`\]\(https://github\.com/[\w-]+/[\w.-]+/blob/main/"
                       r"(tests/[\w/]+\.py)#L(\d+)-L\d+\)", page)
    assert len(links) == page.count("blob/main") >= 40
    for name, path, line in links:
        assert (ROOT / path).read_text().splitlines()[int(line) - 1].startswith(f"def {name}(")
    for target in re.findall(r"\{py:func\}`[^<]+<ddim_lib\.([\w.]+)>`", page):
        module, name = target.split(".", 1)
        assert name in repository.definitions(ROOT / f"ddim_lib/{module}.py")
    assert r"\tag" not in page
    for section in sections:
        assert section.count("$$") == 2 and "- **Tests:**" in section
        assert re.search(r"^  - \[`test_", section, re.MULTILINE)
    assert "none in the library; chapter 2 computes it" in sections[4]


CHAPTER = {"cells": [{"cell_type": "markdown", "source": ["# One\n\n$$\nx = y. \\tag{1}\n$$"]}]}
MODULE = 'def f(x):\n    """f of x.\n\n    Book: equation (1).\n    """\n'
TESTS = 'import pytest\n\n\n@pytest.mark.equation("1")\ndef test_f():\n    pass\n'


@pytest.mark.parametrize("plant, problem", [
    ({}, None),
    ({"words": {}}, r"equation \(1\) has no entry"),
    ({"words": {"1": ("a", None), "2": ("b", None)}}, r"has \(2\), and no chapter does"),
    ({"tests": TESTS.replace('@pytest.mark.equation("1")\n', "")}, r"\(1\) has no test"),
    ({"tests": TESTS.replace('"1"', '"1", "3"')}, r"test_f names equation \(3\), and no chapter"),
    ({"module": MODULE.replace("(1)", "(4)")}, r"f names equation \(4\), and no chapter"),
    ({"module": MODULE.replace("(1).", "1.")}, "f names no equation"),
    ({"module": MODULE.replace("equation (1).", "eq. (1)")}, "m.py: a line with Book: must read"),
    ({"second": CHAPTER}, r"equation \(1\) stands in two places"),
])
def test_what_does_not_fit_together_is_told(tmp_path, plant, problem):
    for folder in ("book", "ddim_lib", "tests"):
        (tmp_path / folder).mkdir()
    (tmp_path / "book/01_one.ipynb").write_text(json.dumps(CHAPTER))
    if "second" in plant:
        (tmp_path / "book/02_two.ipynb").write_text(json.dumps(plant["second"]))
    (tmp_path / "ddim_lib/m.py").write_text(plant.get("module", MODULE))
    (tmp_path / "tests/test_m.py").write_text(plant.get("tests", TESTS))
    found = equation_sources.problems(tmp_path, plant.get("words", {"1": ("a", None)}))
    if problem is None:
        assert found == []
        assert equation_sources.equations(tmp_path)[0].formula == "x = y"
    else:
        assert any(re.search(problem, told) for told in found), found


@pytest.mark.parametrize("text, found", [
    ("By equation (7) it is.", [("equation (7)", "7", True)]),
    ("Equation\n(9.2) becomes", [("Equation\n(9.2)", "9.2", True)]),
    ("equations (6), (7) and (8)", [("(6)", "6", True), ("(7)", "7", True), ("(8)", "8", True)]),
    ("eq. (1) or eqs. (2) and (3)",
     [("eq. (1)", "1", True), ("(2)", "2", True), ("(3)", "3", True)]),
    ("the loss (5) and (9.6), too", [("(5)", "5", False), ("(9.6)", "9.6", False)]),
    ("(Equation 12 in the paper.) eq. 9.2", []),
    ("range(16), 3 (4 of 5), f(9.2), (2021)", []),
])
def test_mentions_of_equations(text, found):
    assert [(text[a:b], number, named) for a, b, number, named
            in ddim_equations.mentions(text)] == found


def test_a_mention_of_an_equation_that_is_nowhere_is_told(monkeypatch):
    told = []
    monkeypatch.setattr(ddim_equations.logger, "warning",
                        lambda text, *a, **k: told.append(text % a))

    class App:
        ddim_equations = {}

    ddim_equations.linked(App(), "book/x", nodes.Text("by equation (99) and the ODE (4.3)"))
    assert told == ["a mention of equation (99), and no chapter has it"]
