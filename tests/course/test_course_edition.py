"""The course edition holds no solution: what is cut, what is refused, a whole build searched."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import yaml

from course.edition import build as course
from course.edition import leaks, solutions
from scripts import pdf

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted((ROOT / "book").glob("*.ipynb"))
SOLUTION = "<details>\n<summary>Solution</summary>\n\nTake the square root.\n\n</details>"
QUIZ = "<details>\n<summary>It is large</summary>\n\nNo, small.\n\n</details>"
EXERCISES = "## Exercises\n\n**2.1** Show it.\n\n"
# Words that stand nowhere else.
MARKER = "Xylomarzipan dissolves every quagmire of Zwickau. `zeugmatic(quokka, brontide)`"
REPO = "some-school/ddim-course"
MARKS = ("xylomarzipan", "quagmire", "zwickau", "zeugmatic", "brontid")


def notebook(*sources: str, kind: str = "markdown", **fields) -> dict:
    cells = [{"cell_type": kind, "metadata": {}, "source": source} | fields for source in sources]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def cut(*sources: str) -> list[str]:
    done, _ = solutions.cut_notebook(notebook(*sources), "02_oracle.ipynb")
    return [cell["source"] for cell in done["cells"]]


# What is cut.


def test_a_solution_is_cut_and_a_quiz_stays():
    text = f"## Check yourself\n\n{QUIZ}\n\n{EXERCISES}{SOLUTION}\n\n**2.2** Draw it.\n\n{SOLUTION}"
    done, found = solutions.cut_notebook(notebook("# Title", text), "a.ipynb")
    kept = done["cells"][1]["source"]
    assert found == ["Take the square root."] * 2
    assert QUIZ in kept and "**2.2** Draw it." in kept
    assert "square root" not in kept and kept.count(solutions.IN_ITS_PLACE) == 2
    assert kept.count("<details>") == 1


def test_exercises_go_on_in_the_next_cell_until_the_next_section():
    kept = cut(EXERCISES + SOLUTION, f"**2.2** And so?\n\n{SOLUTION}", f"## More\n\n{QUIZ}")
    assert "square root" not in "".join(kept) and QUIZ in kept[2]


def test_a_hint_may_stay():
    hint = SOLUTION.replace("Solution", "Hint")
    (kept,) = cut(f"{EXERCISES}{hint}\n\n{SOLUTION}")
    assert hint in kept and kept.count("square root") == 1


# What is refused, with the name of notebook and cell.

REFUSED = {
    "unclosed": (SOLUTION.removesuffix("</details>"), "never closed"),
    "closed twice": (SOLUTION + "\n</details>", "</details> has no partner"),
    "no summary": ("<details>\n\nTake the square root.\n\n</details>", "has no partner"),
    "nested in itself": (SOLUTION.replace("Take", QUIZ + "\nTake"), "holds another <details>"),
    "inside a quiz": (QUIZ.replace("No, small.", SOLUTION), "inside another <details>"),
    "lower case": (SOLUTION.replace("Solution", "solution"), "must be \"Solution\""),
    "a space": (SOLUTION.replace("Solution", "Solution "), "must be \"Solution\""),
    "plural": (SOLUTION.replace("Solution", "Solutions"), "must be \"Solution\""),
    "numbered": (SOLUTION.replace("Solution", "Solution 2.1"), "must be \"Solution\""),
    "bold": (SOLUTION.replace("Solution", "<b>Solution</b>"), "must be \"Solution\""),
    "another word": (SOLUTION.replace("Solution", "Answer"), "may be \"Solution\" or \"Hint\""),
    "open": (SOLUTION.replace("<details>", "<details open>"), "must begin"),
    "capital tags": (SOLUTION.replace("details", "DETAILS"), "must begin"),
    "on one line": (SOLUTION.replace("<details>\n", "<details>"), "must begin"),
    "not folded": ("**Solution.** Take the square root.", "looks like a solution"),
    "a heading": ("### Solution to exercise 2.1\n\nTake the root.", "looks like a solution"),
    "a comment": ("<!-- Solution: take the square root. -->", "looks like a solution"),
    "a directive": ("```{dropdown} The solution\nTake it.\n```", "looks like a solution"),
    "sphinx-exercise": ("```{solution} ex-1\nTake it.\n```", "looks like a solution"),
    "nbgrader": ("### BEGIN SOLUTION", "looks like a solution"),
    "none": ("", "1 exercises have 0 solutions"),
}


@pytest.mark.parametrize("text, why", REFUSED.values(), ids=REFUSED.keys())
def test_what_may_be_a_solution_is_an_error_that_names_the_cell(text, why):
    with pytest.raises(solutions.Unclear, match=re.escape(why)) as refused:
        cut("# Denoising", EXERCISES + text)
    assert re.match(r"02_oracle\.ipynb, (cell 1|at its end): ", str(refused.value))


def test_a_solution_elsewhere_is_an_error():
    with pytest.raises(solutions.Unclear, match="cell 0.*outside of the section"):
        cut(f"## Check yourself\n\n{SOLUTION}")


def test_each_exercise_has_one_solution():
    with pytest.raises(solutions.Unclear, match="exercise 2.1 has no solution"):
        cut(f"{EXERCISES}Nothing.\n\n**2.2** Draw.\n\n{SOLUTION}")
    with pytest.raises(solutions.Unclear, match="at its end: 1 exercises have 2 solutions"):
        cut(f"{EXERCISES}{SOLUTION}\n\n{SOLUTION}")


@pytest.mark.parametrize("source", ["# Solution\nx = 1", "x = 1\n### END SOLUTION"])
def test_code_that_is_a_solution_is_an_error(source):
    with pytest.raises(solutions.Unclear, match="a.ipynb, cell 0"):
        solutions.cut_notebook(notebook(source, kind="code", outputs=[]), "a.ipynb")


def test_metadata_that_speak_of_a_solution_are_an_error():
    marked = notebook("x", metadata={"tags": ["solution"]})
    with pytest.raises(solutions.Unclear, match="a.ipynb, cell 0.*metadata"):
        solutions.cut_notebook(marked, "a.ipynb")
    graded = notebook("x", metadata={"nbgrader": {"solution": True, "grade_id": "step"}})
    assert solutions.cut_notebook(graded, "a.ipynb")[1] == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_chapter_can_be_cut_and_each_solution_has_a_sentence_of_its_own(path):
    text = path.read_text(encoding="utf-8")
    done, found = solutions.cut_notebook(json.loads(text), path.name)
    assert len(found) == text.count("<summary>Solution</summary>") > 0
    assert "<summary>Solution" not in json.dumps(done)
    assert json.dumps(done).count("<summary>") == text.count("<summary>") - len(found)
    assert leaks.telling(found, "\n".join(cell["source"] for cell in done["cells"]))


# How leaks are found.


def test_a_sentence_is_found_however_it_is_set(tmp_path):
    wanted = leaks.telling(["Take $\\sqrt{\\alpha_t}$ of the variance and a half."], "# Nothing.")
    shapes = {
        "a.html": "<p>Take <i>\\(\\sqrt{\\alpha_t}\\)</i> of the <em>variance</em> and a half",
        "b.ipynb": json.dumps(notebook(["Take $x$ of\n", "the variance and a half"])),
        "c.js": "Search.set('take x of the variance and a\\u0020half')".replace("\\u0020", " "),
        "deep/d.txt": "Take √α of the va\nriance and a half",
    }
    for name, text in shapes.items():
        place = tmp_path / name
        place.parent.mkdir(exist_ok=True)
        place.write_text(text, encoding="utf-8")
    assert [said.split(":")[0] for said in leaks.search(tmp_path, wanted)] == sorted(shapes)
    other = leaks.telling(["Take the mean of all of the pictures."], "")
    assert leaks.search(tmp_path, other) == []


def test_a_solution_that_was_not_cut_is_noticed():
    said = "Take the mean of all of the pictures."
    with pytest.raises(ValueError, match="also stands elsewhere"):
        leaks.telling([said], f"Some text. {said} More text.")


def test_links_to_the_public_book_are_found(tmp_path):
    (tmp_path / "a.html").write_text('<a href="https://github.com/own/book/blob/main/x">x</a>')
    (tmp_path / "b.md").write_text("[x](https://own.github.io/book/)")
    (tmp_path / "c.html").write_text('<a href="https://github.com/own/book-2">x</a> own/book')
    told = leaks.links(tmp_path, "own/book")
    assert [said.split()[0] for said in told] == ["a.html", "b.md"]


# The assignments.

ANSWER = (
    "<!-- question: why -->\nWhy?\n\n### BEGIN SOLUTION\n"
    "RUBRIC 2: names the seventeen hippopotami of the delta\n"
    "Because every walrus dissolves in lukewarm seawater.\n### END SOLUTION"
)
TESTS = (
    "# test: step\nassert step(2) == 4\n### BEGIN HIDDEN TESTS\n"
    'assert step(3) == 9, "the zebra must be striped"\n### END HIDDEN TESTS'
)


def source(folder: Path, *more: dict) -> Path:
    cells = notebook(ANSWER)["cells"] + notebook(TESTS, kind="code")["cells"] + list(more)
    place = folder / "course" / "source" / "a" / "a.ipynb"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    return folder / "course"


@pytest.mark.parametrize("told", [
    "Names the seventeen hippopotami of the delta",
    "Because every walrus <em>dissolves</em> in lukewarm seawater.",
    'assert step(3)==9, "the zebra must be striped"',
])
def test_answers_rubrics_and_hidden_tests_of_assignments_are_found(tmp_path, told):
    wanted = leaks.of_assignments(source(tmp_path), "Why?")
    place = tmp_path / "made" / "a.html"
    place.parent.mkdir()
    place.write_text("<p>Why? assert step(2) == 4</p>", encoding="utf-8")
    assert leaks.search(place.parent, wanted) == []
    place.write_text(f"<p>{told}</p>", encoding="utf-8")
    assert len(leaks.search(place.parent, wanted)) == 1


def test_an_answer_that_students_have_anyway_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="a.ipynb: nothing would betray 'assert step"):
        leaks.of_assignments(source(tmp_path), TESTS)


@pytest.mark.parametrize("repo", [None, REPO])
def test_the_assignments_page_takes_the_place_of_the_instructors(tmp_path, repo):
    _, kept = course.copy(ROOT, tmp_path / "book", repo, paper=False)
    made = tmp_path / "book" / "book"
    assert not (made / "for_instructors.md").exists()
    assert "for_instructors" not in (tmp_path / "book" / "_toc.yml").read_text("utf-8")
    for path in made.rglob("*.md"):
        assert "for_instructors" not in path.read_text("utf-8"), path
    page = (made / "assignments.md").read_text("utf-8")
    public = course.address.configured(ROOT)
    for path in sorted((ROOT / "book" / "assignments").glob("*.ipynb")):
        assert f" <assignments/{path.name}>`" in page
        for form in ("colab.research.google.com/github/", "github.com/"):
            link = f"](https://{form}" + f"{REPO}/blob/main/book/assignments/{path.name})"
            assert (link in page) == (repo is not None)
    assert public not in page and "for_instructors" not in kept
    assert "| {download}`2. One step back <assignments/one_step_back.ipynb>` | 4, 5, 6 |" in page


# The addresses.

COLAB = "https://colab.research.google.com/github/{}/blob/main/book/a.ipynb"
KAGGLE = "https://kaggle.com/kernels/welcome?src=https://github.com/{}/blob/main/book/a.ipynb"
BADGES = (f"[![Open in Colab](_assets/colab.svg)]({COLAB}) "
          f"[![Open in Kaggle](_assets/kaggle.svg)]({KAGGLE})")


def test_the_badges_lead_to_the_courses_notebooks_or_go():
    text = f"# A\n\n{BADGES.format('own/book', 'own/book')}\n\n> Box"
    assert course.readdressed(text, "own/book", None) == "# A\n\n> Box"
    moved = course.readdressed(text, "own/book", "school/course")
    assert moved == text.replace("own/book", "school/course")


def test_no_other_link_leads_to_the_public_book():
    text = "[a](https://github.com/own/book/x) [b](https://own.github.io/book/) [c](https://x.org)"
    assert course.readdressed(text, "own/book", "school/course") == "a b [c](https://x.org)"


def test_what_is_true_of_the_full_edition_alone_goes():
    text = "a\n% full edition\nThe rocket.\n% end of full edition\nb\n"
    assert course.without_full_only(text, "index.md") == "a\nb\n"
    with pytest.raises(solutions.Unclear, match="index.md"):
        course.without_full_only("a\n% full edition\nThe rocket.\nb\n", "index.md")
    landing = (ROOT / "book" / "index.md").read_text(encoding="utf-8")
    assert "make lab" in landing
    assert "make lab" not in course.without_full_only(landing, "index.md")


@pytest.mark.parametrize("repo", ["school", "https://github.com/a/b", "ddim-book/ddim-book"])
def test_an_address_that_cannot_be_the_courses_is_refused(repo, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["build.py", "--repo", repo])
    with pytest.raises(SystemExit) as stopped:
        course.main()
    assert stopped.value.code == 2
    assert "--repo" in capsys.readouterr().err.splitlines()[-1]


# A whole build.


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Path:
    """A copy of the book with a marked solution in chapter 2."""
    if not (ROOT / "book" / "_assets" / "vendor" / ".ready").is_file():
        said = "the pages' scripts are not there: run `make book` first"
        pytest.fail(said) if os.environ.get("CI") == "true" else pytest.skip(said)
    root = tmp_path_factory.mktemp("full") / "book"
    ignore = shutil.ignore_patterns(".*", "_build", "node_modules", "dist", "data", "__pycache__")
    shutil.copytree(ROOT, root, ignore=ignore)
    (root / "data").symlink_to(ROOT / "data")
    path = root / "book" / "02_oracle.ipynb"
    marked = json.loads(path.read_text(encoding="utf-8"))
    for cell in marked["cells"]:
        source = "".join(cell["source"])
        mark = f"<summary>Solution</summary>\n\n{MARKER}\n\n"
        cell["source"] = source.replace("<summary>Solution</summary>\n\n", mark, 1)
    path.write_text(json.dumps(marked), encoding="utf-8")
    assert MARKER in path.read_text(encoding="utf-8")
    path = root / "course" / "source" / "noise" / "noise.ipynb"
    text = path.read_text(encoding="utf-8")
    marked = text.replace("RUBRIC 1: ", f"RUBRIC 1: {MARKER} ")
    path.write_text(marked.replace("BEGIN HIDDEN TESTS\\n", "BEGIN HIDDEN TESTS\\n"
                                   "\",\n    \"zeugmatic = 'quagmire of xylomarzipan'\\n"), "utf-8")
    assert path.read_text(encoding="utf-8").count("ylomarzipan") > 3
    json.loads(path.read_text(encoding="utf-8"))
    return root


@pytest.fixture(scope="module")
def edition(planted) -> Path:
    """The course edition of that copy; with the PDF where TeX is."""
    try:
        pdf.need_tex()
        paper = True
    except pdf.Missing:
        paper = False
    target = planted.parent / "course"
    parts = course.build(planted, target, REPO, paper)
    assert parts == (["ddim-book.pdf"] if paper else []) + ["html", "notebooks"]
    return target


@pytest.fixture(scope="module")
def everything(edition) -> list[tuple[Path, str]]:
    """The files of the edition, with their texts."""
    return [(path, leaks.text_of(path)) for path in leaks.files(edition)]


@pytest.mark.slow
def test_no_file_of_the_course_edition_has_a_solution(planted, edition, everything):
    found = []
    for path in sorted((planted / "book").glob("*.ipynb")):
        found += solutions.cut_notebook(json.loads(path.read_text("utf-8")), path.name)[1]
    passages = {p for solution in found for p in leaks.passages(solution) if MARKER[:12] not in p}
    kept = leaks.squeezed(
        "\n".join(
            "".join(cell["source"])
            for path in (edition / "notebooks/book").glob("*.ipynb")
            for cell in json.loads(path.read_text("utf-8"))["cells"]
            if cell["cell_type"] == "code"
        )
    )
    # A solution's code may repeat a line of the chapter's code; its sentences stand nowhere else.
    shared = {p for p in passages if re.search(p, kept)}
    assert len(passages - shared) > 60
    told = []
    for path, text in everything:
        squeezed = leaks.squeezed(text)
        told += [(path.name, p) for p in passages - shared if re.search(p, squeezed)]
        told += [(path.name, mark) for mark in MARKS if mark in squeezed]
    assert told == []


@pytest.mark.slow
def test_the_course_edition_has_the_rest(edition):
    names = {path.stem for path in CHAPTERS}
    for folder, end in (("notebooks/book", "ipynb"), ("html/book", "html")):
        assert names <= {path.stem for path in (edition / folder).glob(f"*.{end}")}
    page = (edition / "html/book/02_oracle.html").read_text("utf-8")
    assert "Solution in the full edition" in page and "best_guess" in page
    assert "course edition" in (edition / "html/book/index.html").read_text("utf-8")
    index = (edition / "html/searchindex.js").read_text("utf-8")
    assert "oracl" in index
    assert (edition / "notebooks/book/_assets/colab.svg").is_file()


@pytest.mark.slow
def test_the_course_edition_has_the_assignments_and_not_their_answers(edition, everything):
    page = (edition / "html/book/assignments.html").read_text("utf-8")
    for path in sorted((ROOT / "book" / "assignments").glob("*.ipynb")):
        name = path.name
        given = json.loads((edition / "notebooks/book/assignments" / name).read_text("utf-8"))
        assert len(given["cells"]) == len(json.loads(path.read_text("utf-8"))["cells"])
        (download,) = re.findall(rf'href="\.\./(_downloads/[^"]+/{name})"', page)
        assert json.loads((edition / "html" / download).read_text("utf-8")) == given
        # In two parts, so that this file does not hold an address that is not the project's.
        assert f"{REPO}/blob/main/book/assignments/{name}" in page
    assert not (edition / "html/book/for_instructors.html").exists()
    kept = "".join(text for path, text in everything if path.suffix == ".ipynb")
    wanted = leaks.of_assignments(ROOT / "course", kept + course.library(ROOT))
    assert len(wanted) > 300
    assert leaks.search(edition, wanted) == []
    for path, text in everything:
        assert "for_instructors" not in text, path


@pytest.mark.slow
def test_the_course_editions_buttons_lead_to_its_own_notebooks(edition, everything):
    page = (edition / "html/book/02_oracle.html").read_text("utf-8")
    # In two parts, so that this file does not hold an address that is not the project's.
    link = "colab.research.google.com/github/" + f"{REPO}/blob/main/book/02_oracle.ipynb"
    assert page.count(f'href="https://{link}"') == 2
    first = json.loads((edition / "notebooks/book/02_oracle.ipynb").read_text("utf-8"))["cells"][0]
    assert link in first["source"]
    assert leaks.links(edition, course.address.configured(ROOT)) == []
    public = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["sphinx"]["config"]
    for path, text in everything:
        assert public["html_baseurl"] not in text and course.NOWHERE not in text, path
    assert '<meta name="robots" content="noindex"' in page
