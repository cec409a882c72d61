"""Formulas on feedback pages: MathML, also of a student's own TeX, and nothing else of it."""

import re
from xml.etree import ElementTree

import pytest

from course import assignments
from course.grader import formulas

CELL = '<div class="text_cell_render border-box-sizing rendered_html">\n{}\n</div>'
HOSTILE = [
    r"\text{<script>alert(1)</script>}", r"\text{&lt;script&gt;alert(1)&lt;/script&gt;}",
    r"\text{&amp;lt;script&amp;gt;}", r"\text{&#x3c;img src=x onerror=alert(1)&#x3e;}",
    r"\href{javascript:alert(1)}{x}", r"\url{javascript:alert(1)}", r"\text{]]><script>}",
    r"\style{position:fixed;inset:0}{x}", r"\class{a\" onclick=\"alert(1)}{x}",
    r"\color{red\" onmouseover=\"alert(1)}{x}", r"\hspace{9999em}", r"\rule{99em}{99em}",
    r"\mathrm{</math><script>}", r"\begin{array}{c\" onclick=\"x}a\end{array}", "{" * 900,
    r"\unicode{x3c}script\unicode{x3e}", r"\text{" + "<b>" * 900 + "}", r"\frac" * 500,
]


def text(made: str) -> str:
    """The letters of MathML, which must be well-formed."""
    return "".join(ElementTree.fromstring(made).itertext())


@pytest.mark.parametrize("tex, said", [
    (r"x_t = \sqrt{\alpha_t}\,x_0 + \sqrt{1-\alpha_t}\,\epsilon", "xt=αtx0+1−αtϵ"),
    (r"\mathcal N(0, \mathbf I)", "𝒩(0,𝐈)"),
    (r"\bigl\lVert x \bigr\rVert^2", "‖x‖2"),
    (r"\mathrm{d}x \sim a<b", "dx∼a<b"),
    (r"\begin{align*}a&=b\\c&=d\end{align*}", "a=bc=d"),
])
def test_tex_becomes_mathml(tex, said):
    assert text(formulas.mathml(tex)) == said


def test_a_tag_becomes_a_number_behind_the_formula():
    made = formulas.mathml(r"x = y \tag{7}", display=True)
    assert made.startswith('<math display="block">')
    assert text(made) == "x=y(7)" and '<mspace width="2em">' in made


@pytest.mark.parametrize("tex", HOSTILE)
def test_hostile_tex_becomes_letters_or_stays_text(tex):
    try:
        made = formulas.mathml(tex)
    except formulas.NotConverted:
        return
    elements = {e.tag for e in ElementTree.fromstring(made).iter()}
    assert elements <= formulas.ELEMENTS
    given = {k: v for e in ElementTree.fromstring(made).iter() for k, v in e.attrib.items()}
    assert set(given) <= formulas.ATTRIBUTES | {"width"}
    assert not any(re.search(r"javascript|alert|on\w+=|9em", value) for value in given.values())
    assert not re.search(r"<(?!/?m|/?none)", made)


def test_what_is_no_formula_stays_as_it_is():
    for tex in (r"\nosuchcommand{x}", "^", "x" * (formulas.LONGEST + 1)):
        with pytest.raises(formulas.NotConverted):
            formulas.mathml(tex)
        page = CELL.format(f"<p>${tex}$</p>")
        assert formulas.shown(page) == page
    for said in ("costs 5$ or 6$.", "$5 and $6", r"a price: \$5$", "no formula at all", "$ x $"):
        page = CELL.format(f"<p>{said}</p>")
        assert formulas.shown(page) == page


def test_code_outputs_and_titles_are_left_alone():
    page = (
        "<title>$a$</title><pre>$b$</pre>"
        + CELL.format("<p>$c$ <code>$d$</code></p><pre>$e$</pre><div>$f$</div>")
        + "<p>$g$</p>" + '<div class="output_text">$h$</div>' + CELL.format("$$i$$")
    )
    made = formulas.shown(page)
    assert re.findall(r"<mi>(\w)</mi>", made) == ["c", "f", "i"]
    assert re.findall(r"\$(\w)\$", made) == ["a", "b", "d", "e", "g", "h"]


def test_a_less_than_sign_may_be_escaped_once_or_twice():
    for said in ("x&lt;y", "x&amp;lt;y"):
        made = formulas.shown(CELL.format(f"<p>${said}$</p>"))
        assert "<mo>&lt;</mo>" in made and text(made) == "\nx<y\n"


def test_a_page_has_an_end_of_formulas():
    page = CELL.format("$x$ " * (formulas.MOST + 5))
    assert formulas.shown(page).count("<math") == formulas.MOST


@pytest.mark.parametrize("name", assignments.names())
def test_every_formula_of_the_assignments_is_converted(name):
    count = 0
    for cell in assignments.source(name).source.cells:
        if cell.cell_type != "markdown":
            continue
        for found in formulas.FORMULA.finditer(cell.source):
            formulas.mathml((found["inline"] or found["display"]).strip())
            count += 1
    assert count >= 5
