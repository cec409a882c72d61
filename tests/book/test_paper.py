"""A chapter printed from the browser: whole lines, dark on light, everything open, its number."""

import re

import pytest
from test_page_weight import CHAPTERS, scroll
from test_pages import address, browser, visit  # noqa: F401

# A4 with margins of 15 mm, in CSS pixels.
WIDTH = 680
CUT = """() => [...document.querySelectorAll("article pre")].map(block => {
    const range = document.createRange(), edge = block.getBoundingClientRect().right;
    range.selectNodeContents(block);
    return new Set([...range.getClientRects()].filter(r => r.right > edge + 1)
        .map(r => Math.round(r.top))).size;
}).reduce((a, b) => a + b, 0)"""
PAST = """() => {
    const edge = document.querySelector("article").getBoundingClientRect().right;
    return [...document.querySelectorAll("article *")]
        .filter(e => !e.closest("mjx-assistive-mml"))
        .filter(e => e.getBoundingClientRect().right > edge + 1)
        .map(e => e.outerHTML.slice(0, 80)).slice(0, 3);
}"""
# Of the colours of running text and of code: the palest against white.
PALEST = """() => {
    const light = colour => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const said = [...document.querySelectorAll("article > section > :is(h1, p), article pre span")]
        .filter(e => e.textContent.trim());
    return Math.min(...said.map(e => 1.05 / (light(getComputedStyle(e).color) + 0.05)));
}"""
FOLDED = "document.querySelectorAll('article details:not([open])').length"


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_on_paper(visit, name):  # noqa: F811
    page, faults = visit(name, color_scheme="dark", viewport={"width": WIDTH, "height": 1000})
    assert page.evaluate(FOLDED) > 5
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_timeout(400)
    assert page.evaluate(CUT) == 0
    assert page.evaluate(PAST) == []
    assert page.evaluate(PALEST) >= 4.5
    assert page.evaluate(FOLDED) == 0
    for pressed in ("article button", "article form", "article input"):
        assert not any(one.is_visible() for one in page.locator(pressed).all()), pressed
    titles = [t.inner_text() for t in page.locator("h1").all() if t.is_visible()]
    assert len(titles) == 1 and re.match(r"\d+\. ", titles[0])
    assert faults == []


def test_lines_that_are_cut_are_counted(visit):  # noqa: F811
    """The check above can fail."""
    page, _ = visit("book/10_beyond_mnist.html", viewport={"width": WIDTH, "height": 1000})
    page.emulate_media(media="print")
    page.add_style_tag(content="article pre { white-space: pre !important }")
    assert page.evaluate(CUT) > 4


def test_after_printing_the_page_is_as_it_was(visit):  # noqa: F811
    page, faults = visit("book/01_noising.html", color_scheme="dark")
    scroll(page)
    page.locator("article details.choice summary").first.click()
    theme = "document.documentElement.dataset.theme"
    before = page.evaluate(FOLDED)
    page.evaluate(f"""addEventListener("beforeprint", () => window.seen = [{theme}, {FOLDED}])""")
    page.pdf(format="A4")
    assert page.evaluate("window.seen") == ["light", 0]
    assert page.evaluate(theme) == "dark" and page.evaluate(FOLDED) == before > 5
    # The widget's 3.6 MB were not asked for.
    assert page.locator(".ddim-widget-place button").count() == 1
    assert faults == []
