"""The book on paper: how its parts are set, what is an error, and the PDF that `make pdf` left."""

import json
import os
import re
import shutil
from pathlib import Path

import ddim_pdf
import pytest
import small_book
from ddim_pdf import fold as pdf_fold
from ddim_pdf import tables as pdf_tables
from docutils import nodes

from course.edition import leaks, solutions
from scripts import pdf

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "_build" / "pdf" / pdf.NAME
TEX = all(shutil.which(program) for program in pdf.PROGRAMS)
CHAPTERS = sorted((ROOT / "book").glob("*.ipynb"))


# How formulas, folds and tables are set.


def test_the_number_of_a_formula_stands_outside_of_split():
    said = ddim_pdf.tagged(r"x = \sqrt{y}, \tag{7.1}" + "\n")
    assert said == "\\begin{equation*}\nx = \\sqrt{y}, \\tag{7.1}\n\\end{equation*}"
    said = ddim_pdf.tagged("a &= b \\\\\nc &= d \\tag{2}")
    assert said.index(r"\end{split}") < said.index(r"\tag{2}")
    # A formula that brings its own lines keeps them.
    said = ddim_pdf.tagged(r"\begin{aligned} a \\ b \end{aligned} \tag{3}")
    assert "split" not in said and r"\tag{3}" in said
    with pytest.raises(ValueError, match="two numbers"):
        ddim_pdf.tagged(r"a \tag{1} b \tag{2}")


def raw(html: str) -> nodes.raw:
    return nodes.raw("", html, format="html")


def words(text: str) -> nodes.paragraph:
    return nodes.paragraph("", "", nodes.Text(text))


def folded(*children: nodes.Node) -> list[nodes.Node]:
    parent = nodes.section("", *children)
    return pdf_fold.printed(pdf_fold.group(pdf_fold.events(list(parent.children)), parent))


def test_a_solution_is_printed_under_its_heading():
    before, inside, after = words("2.1 Show."), words("Put it in."), words("2.2 Draw.")
    opening = raw("<details>\n<summary>Solution</summary>\n")
    found = folded(before, opening, inside, raw("</details>\n"), after)
    assert found[0] is before and found[2] is after
    assert "ddimfold" in found[1]["classes"]
    heading, text = found[1].children
    assert isinstance(heading[0], nodes.strong) and heading.astext() == "Solution"
    assert text is inside


def test_a_quiz_lists_its_choices_first_and_then_what_each_of_them_says():
    found = folded(
        words("Why?"),
        raw("<details>\n<summary>A. It is <b>large</b></summary>\n"),
        words("No: it is small."),
        # Two marks in one piece of HTML, as without an empty line between them.
        raw("</details>\n<details class='x'><summary>B. $x_t$ &lt; 1, <code>step</code></summary>"),
        words("Right."),
        raw("</details>"),
    )
    question, choices, told = found
    assert [item.astext() for item in choices] == ["It is large", "x_t < 1, step"]
    assert choices["enumtype"] == "upperalpha"
    kinds = [type(node) for node in choices[1][0]]
    assert kinds == [nodes.math, nodes.Text, nodes.literal]
    assert [item.astext() for item in told[0]] == ["No: it is small.", "Right."]


def test_what_stands_between_two_folds_keeps_them_apart():
    def fold(name):
        return [raw(f"<details><summary>{name}</summary>"), words("..."), raw("</details>")]

    found = folded(*fold("Answer"), words("2. And now?"), *fold("Answer"))
    assert [type(node) for node in found] == [nodes.container, nodes.paragraph, nodes.container]


@pytest.mark.parametrize("html", ["<details>\n<summary>Solution</summary>", "</details>"])
def test_a_fold_without_its_end_is_an_error(html):
    with pytest.raises(ValueError, match="details"):
        folded(words("before"), raw(html), words("after"))


def test_wide_tables_fit_the_line_and_long_words_fit_their_column():
    assert pdf_tables.widths([5, 10], [5, 5]) == [5, 10]
    natural, needed = [8, 60, 90, 6], [8, 14, 12, 6]
    given = pdf_tables.widths(natural, needed)
    assert sum(given) + pdf_tables.GAP * 4 <= pdf_tables.LINE
    assert all(width >= least for width, least in zip(given, needed, strict=True))
    assert given[0] == 8 and given[3] == 6 and given[2] > given[1]
    # A name that cannot be broken gets its room from the others.
    given = pdf_tables.widths([50, 100], [45, 8])
    assert given[0] >= 45 and sum(given) <= pdf_tables.LINE


def test_a_formula_is_measured_as_it_is_read():
    assert pdf_tables.printed(nodes.math("", r"\sqrt{1-\alpha_t}\,\epsilon")) == "1-mtm"


# What is an error.

LONG = "LaTeX Warning: Hyper reference `book/06_ddim_and_ddpm:a-long-heading' on page 3 undefined"


def test_faults_of_the_pages_are_read_from_the_log():
    log = "\n".join(
        [
            LONG[:79],
            LONG[79:],
            "Missing character: There is no ε (U+03B5) in font [lmroman10-regular]:mapping=tex;!",
            f"Overfull \\hbox ({pdf.MARGIN + 1}pt too wide) in paragraph at lines 1--2",
            r"[][]\TU/lmroman10-regular.otf(0)/m/n/10.95 a long line",
            f"Overfull \\hbox ({pdf.MARGIN - 1}pt too wide) in paragraph at lines 3--4",
            "Overfull \\vbox (30.0pt too high) detected at line 5",
        ]
    )
    told = " | ".join(pdf.faults(log))
    assert len(pdf.faults(log)) == 3
    assert "no font has ε" in told and "a-long-heading' on page 3 undefined" in told
    assert f"{pdf.MARGIN + 1} points too wide: a long line" in told
    assert pdf.faults("Overfull \\vbox (1.0pt too high)\nOutput written on book.xdv") == []


def test_without_tex_one_sentence_says_what_to_install(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(pdf, "ROOT", tmp_path)
    assert pdf.main() == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "latexmk" in said
    assert f"apt install {pdf.PACKAGES}" in said
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(not TEX, reason="there is no TeX")
def test_a_part_of_tex_that_lacks_is_named(monkeypatch):
    monkeypatch.setattr(pdf, "FILES", ("article.cls", "no-such-package.sty"))
    with pytest.raises(pdf.Missing, match="no-such-package.sty is not here"):
        pdf.need_tex()


def test_the_pages_do_not_need_the_pdf():
    rules = (ROOT / "Makefile").read_text()
    (book,) = re.findall(r"^book:(.*(?:\n\t.*)*)", rules, re.MULTILINE)
    assert "pdf" not in book


# The page's link to it.


def test_the_landing_page_links_the_pdf_while_there_is_one(tmp_path):
    def built() -> str:
        told = small_book.build(tmp_path, ["ddim_pdf"])
        assert told == ""
        return (tmp_path / "out" / "index.html").read_text()

    (tmp_path / "source").mkdir()
    (tmp_path / "source/index.md").write_text("# A book\n\nText.\n\n```{ddim-pdf}\n```\n")
    page = built()
    assert "is built with" in page and pdf.NAME not in page
    made = ddim_pdf.pdf_of(tmp_path / "source")
    made.parent.mkdir(parents=True)
    made.write_bytes(b"%PDF" + b"x" * 2_345_678)
    page = built()  # no source has changed
    assert f'href="{pdf.NAME}"' in page and "2.3 MB" in page and "is built with" not in page
    assert (tmp_path / "out" / pdf.NAME).read_bytes() == made.read_bytes()
    made.unlink()
    page = built()
    assert pdf.NAME not in page and not (tmp_path / "out" / pdf.NAME).exists()


def test_one_name_for_the_pdf():
    assert ddim_pdf.NAME == pdf.NAME
    assert ddim_pdf.pdf_of(ROOT) == BOOK


# A small book, built by the command's own function.

CHAPTER = r"""# Noise and η

Signs: η ≤ 1 → α_T, then ✓ and √α beside − and x₀. *Slanted ε* and **bold λ**. Code: `σ ≥ η → ✓`.

$$
x_s = \sqrt{\alpha_s}\,f_\theta + \sigma z \tag{7.1}
$$

```python
eps = (x - a ** 0.5 * x0) / (1 - a) ** 0.5  # ε ≤ 1 ✓
value = some_function_with_a_long_name(first_argument, second_argument, third_argument, fourth_one)
```

| what | a column with many words | another_long_identifier_that_does_not_fit_anywhere | a third |
|---|---|---|---|
| $\alpha_t$ | nothing but words that go on and on | `another_long_identifier_in_code` | words |

1.1 Why?

<details>
<summary>Solution</summary>

Because of the noise.

</details>

{}
"""


@pytest.fixture
def small(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    root = tmp_path / "source"
    (root / "book" / "_assets").mkdir(parents=True)
    shutil.copy(ROOT / "book" / "_assets" / "digits.png", root / "book" / "_assets")
    (root / "_config.yml").write_text(
        "title: 'A small book: for a test'\nauthor: nobody\nonly_build_toc_files: true\n"
        "execute: {execute_notebooks: 'off'}\n"
        f"sphinx: {{local_extensions: {{ddim_pdf: {ROOT / 'book' / '_ext'}}}}}\n"
    )
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: index\nparts:\n"
        "- {caption: Chapters, numbered: true, chapters: [{file: one}]}\n"
        "- {caption: Back matter, chapters: [{file: two}]}\n"
    )
    (root / "index.md").write_text("# A small book\n\nSee [one](one.md).\n\n```{ddim-pdf}\n```\n")
    (root / "one.md").write_text(CHAPTER.replace("{}", ""), encoding="utf-8")
    (root / "two.md").write_text("# Notes\n\nThe end.\n")
    return root


needs_tex = pytest.mark.skipif(not TEX, reason="there is no TeX")


@needs_tex
@pytest.mark.slow
def test_a_small_book_on_paper(small, tmp_path):
    import pypdf

    files = [tmp_path / f"{name}.pdf" for name in "ab"]
    for file in files:
        pdf.build(small, file, tmp_path / "work")
    assert files[0].read_bytes() == files[1].read_bytes()
    text = "\n".join(page.extract_text() for page in pypdf.PdfReader(files[0]).pages)
    for said in ("A small book", "for a test", "Solution\n", "Because of the noise.", "(7.1)",
                 "Chapter 1", "2023"):
        assert said in text, said
    assert "Chapter 2" not in text and "make pdf" not in text and r"\sqrt" not in text
    for sign in "ηε≤→✓√λ₀σ≥α":
        assert sign in text, sign


@needs_tex
@pytest.mark.slow
@pytest.mark.parametrize(
    "fault, told",
    [("A sign: ㊙.", "no font has ㊙"), ("Wide: $" + "y" * 200 + "$", "too wide"),
     (r"Wrong: $\nosuchcommand$", "nosuchcommand")],
    ids=["glyph", "width", "tex"],
)
def test_what_would_look_wrong_stops_the_build(small, tmp_path, fault, told):
    (small / "one.md").write_text(CHAPTER.replace("{}", fault), encoding="utf-8")
    with pytest.raises(RuntimeError, match=re.escape(told)):
        pdf.build(small, tmp_path / "a.pdf", tmp_path / "work")
    assert not (tmp_path / "a.pdf").exists()


# The PDF itself.


@pytest.fixture(scope="module")
def book():
    sources = [path for kind in ("*.ipynb", "*.md") for path in (ROOT / "book").glob(kind)]
    if not BOOK.is_file():
        lacks = "there is no PDF: run `make pdf` first"
    elif BOOK.stat().st_mtime < max(path.stat().st_mtime for path in sources):
        lacks = "the PDF is older than the chapters: run `make pdf` first"
    else:
        lacks = None
    if lacks:
        pytest.fail(lacks) if TEX and os.environ.get("CI") == "true" else pytest.skip(lacks)
    import pypdf

    return pypdf.PdfReader(BOOK)


@pytest.fixture(scope="module")
def texts(book) -> list[str]:
    return [page.extract_text() for page in book.pages]


def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def outline(entries: list) -> list[str]:
    return [
        title
        for entry in entries
        for title in (outline(entry) if isinstance(entry, list) else [entry.title])
    ]


def test_every_chapter_and_page_is_in_the_contents(book):
    titles = outline(book.outline)
    places = []
    for path in CHAPTERS:
        text = "".join(next(c["source"] for c in cells(path) if c["cell_type"] == "markdown"))
        places.append(titles.index(text.split("\n")[0].removeprefix("# ")))
    assert places == sorted(places)
    for page in ("Notation", "Glossary", "Run times and hardware", "Bibliography"):
        assert titles.index(page) > places[-1]
        assert titles.count(page) == 1


def test_every_numbered_formula_has_its_number(texts):
    lines = {line.strip() for text in texts for line in text.splitlines()}
    for path in CHAPTERS:
        text = "\n".join("".join(c["source"]) for c in cells(path) if c["cell_type"] == "markdown")
        for number in re.findall(r"\\tag\{([^}]+)\}", text):
            assert any(line.endswith(f"({number})") for line in lines), f"{path.stem}: {number}"


def test_no_tex_and_no_html_is_left_in_words(texts):
    # The library's reference may show how a formula is written.
    whole = "\n".join(texts).rpartition("Part II\n")[0]
    assert "Euler" in whole
    for mark in (r"\frac", r"\sqrt", r"\epsilon", r"\alpha", r"\tag", "<details", "<summary",
                 "VBox(", "$$", "{ref}", "```"):
        assert mark not in whole, mark


def test_every_figure_with_a_caption_is_there(texts):
    captions = sum(
        "caption" in cell["metadata"].get("mystnb", {}).get("figure", {})
        for path in CHAPTERS
        for cell in cells(path)
    )
    found = set(re.findall(r"^Fig\. (\d+\.\d+):", "\n".join(texts), re.MULTILINE))
    assert captions and len(found) == captions


def test_pictures_and_stills_are_there(book):
    pictures = sum(
        any(kind.startswith("image/") for kind in output.get("data", {}))
        for path in CHAPTERS
        for cell in cells(path)
        for output in cell.get("outputs", [])
    )
    shown = sum(len(page.images) for page in book.pages)
    assert shown >= pictures > 20


def test_every_solution_is_printed_with_its_heading(texts):
    whole = leaks.squeezed(re.sub(r"-\n", "", "\n".join(texts)))
    headings = sum(text.count("\nSolution\n") for text in texts)
    found, seen = [], 0
    for path in CHAPTERS:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        found += solutions.cut_notebook(notebook, path.stem)[1]
    assert headings == len(found)
    for solution in found:
        here = [part for part in leaks.passages(solution) if re.search(part, whole)]
        assert here, solution
        seen += len(here)
    # Nearly all: a page may end in a sentence. So a leak into the course's PDF would be found.
    assert seen >= 0.9 * sum(len(leaks.passages(solution)) for solution in found)


def test_every_link_inside_leads_somewhere(book):
    names = set(book.named_destinations)
    inside = []
    for page in book.pages:
        for note in page.get("/Annots") or []:
            action = note.get_object().get("/A", {})
            if action.get("/S") == "/GoTo":
                inside.append(str(action["/D"]))
    assert len(inside) > 100
    assert set(inside) <= names


def test_links_outside_are_whole(book):
    addresses = leaks.addresses(BOOK)
    assert any(address.endswith("/book/01_noising.ipynb") for address in addresses)
    assert not [address for address in addresses if re.search(r"[\s\\{}]", address)]
