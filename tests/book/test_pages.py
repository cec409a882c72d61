"""Every built page, opened in headless Chromium from a local server.

No console error, no failed request, nothing asked of another host, every formula rendered, every
picture with alt text, no sideways scroll on a narrow screen.
"""

import contextlib
import functools
import http.server
import io
import os
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from bs4 import BeautifulSoup
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"
# Made by Sphinx, not written by anybody: the index of terms and the redirect at the root.
PAGES = sorted(str(page.relative_to(SITE)) for page in (SITE / "book").glob("**/*.html"))
CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None
)
# Chromium calls home by itself; these leave the pages' own requests.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# MathJax marks a formula that it cannot parse, and colours a command that it does not know.
UNREADABLE = "mjx-merror, mjx-mtext[style*='color: red']"


def missing(what: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@functools.cache
def parsed(name: str) -> BeautifulSoup:
    return BeautifulSoup((SITE / name).read_text(encoding="utf-8"), "html.parser")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextlib.contextmanager
def served(by=Quiet, folder=SITE):
    """The address of a server of the built site, or of a folder that leads to it."""
    if not PAGES:
        missing("there is no built book: run `make book` first")
    handler = functools.partial(by, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def address():
    with served() as address:
        yield address


@pytest.fixture(scope="module")
def browser(playwright):
    if CHROMIUM is None:
        missing("there is no Chromium: install it, or name it in the variable CHROMIUM")
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    yield browser
    browser.close()


def watched(page, start: str) -> list[str]:
    """What goes wrong on a page from now on; what it asks for must begin with `start`."""
    faults = []
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on("console", lambda m: m.type == "error" and faults.append(f"console: {m.text}"))
    # A page that is left, or that asks anew, drops what it had asked for: that is no fault.
    page.on("requestfailed", lambda request: "ABORTED" in (request.failure or "")
            or faults.append(f"failed: {request.url}"))
    page.on("response", lambda r: r.status >= 400 and faults.append(f"{r.status}: {r.url}"))
    page.on("request", lambda r: r.url.startswith((start, "data:", "blob:"))
            or faults.append(f"outside: {r.url}"))
    return faults


@pytest.fixture
def visit(address, browser):
    """Open a page and wait until it is done; gives the page and what went wrong meanwhile."""
    contexts = []

    def open_page(name: str, script=None, **settings):
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        faults = watched(page, address)
        if script:
            page.add_init_script(script)
        page.goto(f"{address}/{name}", wait_until="networkidle")
        # On a busy machine the network may rest while the page is still being read.
        page.wait_for_load_state("load", timeout=90_000)
        page.evaluate("() => window.MathJax?.startup?.promise")
        return page, faults

    yield open_page
    for context in contexts:
        context.close()


# Formulas whose beginning is left of what can be scrolled to.
CUT = """() => [...document.querySelectorAll("article div.math")]
    .filter(block => [...block.querySelectorAll("mjx-c")].some(glyph =>
        glyph.getBoundingClientRect().left < block.getBoundingClientRect().left - 1))
    .map(block => block.textContent.slice(0, 80))"""


@pytest.mark.parametrize("name", PAGES)
def test_page(visit, name):
    page, faults = visit(name, color_scheme="light")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    assert page.locator(UNREADABLE).count() == 0
    formulas = page.locator("article .math").count()
    assert page.locator("article mjx-container").count() >= formulas
    blind = page.evaluate(
        """() => [...document.querySelectorAll("article img")]
            .filter(i => !i.closest(".jupyter-widgets"))
            .filter(i => i.alt.trim().length < 4 || /\\.(png|jpe?g|svg)$/.test(i.alt))
            .map(i => i.src)"""
    )
    assert blind == []
    broken = page.evaluate(
        "() => [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
    )
    assert broken == []
    # On a narrow screen nothing is wider than it, and no formula is cut.
    page.emulate_media(color_scheme="dark")
    for screen in (400, 320):
        page.set_viewport_size({"width": screen, "height": 800})
        width = page.evaluate("document.scrollingElement.scrollWidth")
        wide = page.evaluate(
            """screen => [...document.querySelectorAll("article *")]
                .filter(e => e.getBoundingClientRect().right > screen + 1)
                .map(e => e.tagName + "." + e.className).slice(0, 5)""", screen
        )
        assert width <= screen, f"{width} pixels wide; past the edge, among others: {wide}"
        assert page.evaluate(CUT) == []
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    assert faults == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_without_scripts_the_page_has_its_colours(visit, scheme):
    """Those of the light page, whose contrasts axe-core looks at."""
    name = "book/05_fast_sampling.html"
    plain, _ = visit(name, java_script_enabled=False, color_scheme=scheme)
    full, _ = visit(name, color_scheme="light")
    full.wait_for_function("document.documentElement.dataset.theme === 'light'")
    colours = """() => ["article a", "article blockquote", "article > section > p", "article pre",
        "article pre .k", "article pre .n", "article .highlight", "article", "main", "body", "html"]
        .map(s => getComputedStyle(document.querySelector(s)))
        .map(s => [s.color, s.backgroundColor])"""
    assert plain.evaluate(colours) == full.evaluate(colours)


def test_every_button_of_the_header_shows_that_it_has_the_focus(visit):
    page, _ = visit("book/05_fast_sampling.html", viewport={"width": 1280, "height": 900})
    page.locator("article h1").click()
    page.keyboard.press("Tab")
    buttons = page.locator(".bd-header-article :is(a, button, label, input).btn:visible")
    assert buttons.count() >= 5
    for button in buttons.all():
        button.focus()
        ring = button.evaluate("""b => { const s = getComputedStyle(b);
            return b.matches(":focus-visible") && s.outlineStyle !== "none"
                ? parseFloat(s.outlineWidth) : 0 }""")
        assert ring >= 2, button.evaluate("b => b.outerHTML.slice(0, 200)")


CHAPTERS = [name for name in PAGES if Path(name).name[:2].isdigit()]
WIDE = """() => [...document.querySelectorAll("article :is(pre, div.math, table, div.cell_output)")]
    .filter(e => e.scrollWidth > e.clientWidth + 1)"""


def test_code_seldom_scrolls_beside_the_sidebars(visit):
    wide = {}
    for name in CHAPTERS:
        page, _ = visit(name, viewport={"width": 1280, "height": 900})
        page.evaluate("document.querySelectorAll('article details').forEach(d => d.open = true)")
        wide[name] = page.evaluate(f"({WIDE})().filter(e => e.matches('pre')).length")
        page.context.close()
    assert len(wide) > 5 and sum(wide.values()) <= 10, wide


@pytest.mark.parametrize("name", ["book/05_fast_sampling.html", "book/06_ddim_and_ddpm.html"])
def test_what_scrolls_on_a_phone_fades_where_more_of_it_lies(visit, name):
    page, _ = visit(name, viewport={"width": 390, "height": 844})
    page.wait_for_timeout(600)
    kinds = page.evaluate(f"({WIDE})().map(e => [e.tagName, e.dataset.more,"
                          " getComputedStyle(e).maskImage, getComputedStyle(e).overflowX])")
    assert {"PRE", "DIV"} <= {kind for kind, *_ in kinds}
    for kind, more, mask, overflow in kinds:
        assert (more, overflow) == ("after", "auto"), kind
        assert re.search(r"100% - 2rem|100% - 32px", mask), mask
    block = page.locator("article pre[data-more]:visible").first
    block.evaluate("e => e.scrollLeft = 9999")
    page.wait_for_function("e => e.dataset.more === 'before'", arg=block.element_handle())
    page.set_viewport_size({"width": 1600, "height": 844})
    page.wait_for_function("document.querySelectorAll('article pre[data-more]').length <= 2")


def test_a_script_that_did_not_come_is_asked_for_again(visit):
    page, _ = visit("book/05_fast_sampling.html")
    lost = []
    for late in ("bootstrap", "clipboard"):
        page.route(f"**/*{late}*", lambda route: (lost.append(route.request.url), route.abort()))
    menu = page.locator(".article-header-buttons .dropdown-toggle").first
    entries = page.locator(".article-header-buttons .dropdown-menu.show")
    menu.click()
    page.wait_for_timeout(300)
    assert lost and entries.count() == 0
    page.unroute("**/*bootstrap*")
    menu.click()
    entries.wait_for(state="visible")
    assert page.locator("button.copybtn").count() == 0
    page.unroute("**/*clipboard*")
    page.keyboard.press("Escape")
    page.locator("button.copybtn").first.wait_for(state="attached")
    menu.click()
    assert entries.is_visible()
    names = page.evaluate("[...document.scripts].map(s => s.src.split('/').pop())")
    assert names.count("bootstrap.js") == 1


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_choice_of_a_quiz_shows_whether_it_is_right(visit, name):
    page, _ = visit(name)
    choices = page.locator("article details.choice")
    kinds = choices.evaluate_all("all => all.map(c => c.className.split(' ').sort().join(' '))")
    assert set(kinds) == {"choice right", "choice wrong"}
    looks = """d => [getComputedStyle(d).borderLeftStyle,
        getComputedStyle(d.querySelector("summary"), "::after").content.split(" / ")[0]]"""
    ways = {"right": set(), "wrong": set()}
    closed = set()
    for kind, choice in zip(kinds, choices.all(), strict=True):
        closed.add(str(choice.evaluate(looks)))
        choice.evaluate("d => d.open = true")
        ways[kind.split()[1]].add(tuple(choice.evaluate(looks)))
    assert len(closed) == 1  # nothing is given away
    assert ways == {"right": {("solid", '"  ✓"')}, "wrong": {("dotted", '"  ✗"')}}


def test_a_quiz_remembers_what_was_opened_until_it_is_closed(visit):
    page, _ = visit("book/05_fast_sampling.html")
    choices = page.locator("article details.choice")
    opened = "[...document.querySelectorAll('article details.choice')].map(c => +c.open)"
    for i in (1, 4, 3):
        choices.nth(i).locator("summary").click()
    choices.nth(3).locator("summary").press("Enter")
    page.evaluate("['beforeprint', 'afterprint'].forEach(e => dispatchEvent(new Event(e)))")
    expected = [int(i in (1, 4)) for i in range(choices.count())]
    assert page.evaluate(opened) == expected
    page.reload(wait_until="load")
    assert page.evaluate(opened) == expected
    page.goto(page.url.replace("05_fast_sampling", "04_sampling"))
    assert not any(page.evaluate(opened))


LINKED = {
    "term": ("article a.ddim-term[href$='#term-oracle']", "oracle", "names it"),
    "equation": ("article a[href='02_oracle.html#eq-2']", "(2) One step down", "mjx-sqrt"),
}


@pytest.mark.parametrize("kind", LINKED)
def test_a_link_shows_what_it_leads_to(visit, kind):
    selector, heading, said = LINKED[kind]
    page, faults = visit("book/05_fast_sampling.html", viewport={"width": 1280, "height": 900})
    link, card = page.locator(selector).first, page.locator(".ddim-card")
    link.hover()
    card.wait_for(timeout=60_000)
    assert card.locator("> *").first.inner_text().startswith(heading)
    assert said in card.inner_html() and card.locator(UNREADABLE).count() == 0
    assert link.get_attribute("aria-describedby") == card.get_attribute("id")
    assert link.get_attribute("title") is None
    card.hover()
    page.wait_for_timeout(600)
    assert card.is_visible(), "the mouse may go to it"
    page.keyboard.press("Escape")
    assert not card.is_visible()
    link.focus()
    card.wait_for()
    page.keyboard.press("Tab")
    page.wait_for_function("a => !a.hasAttribute('aria-describedby')", arg=link.element_handle())
    assert faults == []


def test_in_the_dark_curves_have_dark_paper_and_pictures_their_grey_levels(visit):
    page, _ = visit("book/01_noising.html", color_scheme="dark")
    greys = {True: [], False: []}
    for image in page.locator("article .cell_output img[src*='_images/']").all():
        image.scroll_into_view_if_needed()
        image.evaluate("image => image.decode()")
        shown = np.array(Image.open(io.BytesIO(image.screenshot())).convert("L"), float)
        file = SITE / "_images" / image.get_attribute("src").rpartition("/")[2]
        kept = np.array(Image.open(file).convert("L"), float)
        paper = image.get_attribute("data-paper") is not None
        greys[paper].append((shown.mean(), abs(shown.mean() - kept.mean())))
    assert len(greys[True]) == 2 and max(mean for mean, _ in greys[True]) < 40
    assert len(greys[False]) == 3 and max(change for _, change in greys[False]) < 3


SHIFTS = """window.shifts = 0; new PerformanceObserver(list => {
    for (const { value } of list.getEntries()) shifts += value;
}).observe({ type: "layout-shift", buffered: true })"""


@pytest.mark.parametrize("width", [390, 1280])
def test_the_top_of_a_page_hardly_moves_when_its_formulas_come(visit, width):
    page, _ = visit("book/05_fast_sampling.html", SHIFTS, viewport={"width": width, "height": 900})
    page.wait_for_timeout(500)
    assert page.evaluate("shifts") < 0.05


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_question_stands_nearer_to_its_choices_than_to_what_is_above(visit, name):
    page, _ = visit(name)
    gaps = page.evaluate("""() => [...document.querySelectorAll("article p:has(+ .choice)")]
        .map(p => [p.previousElementSibling, p, p.nextElementSibling]
            .map(e => e.getBoundingClientRect()))
        .map(([a, p, c]) => [p.top - a.bottom, c.top - p.bottom])""")
    assert len(gaps) >= 2
    for above, below in gaps:
        assert above >= 3 * below > 0


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_subject_stands_on_the_first_screen(visit, name):
    page, _ = visit(name, viewport={"width": 1280, "height": 900})
    folded = page.locator("article details.set-up")
    assert folded.count() == (1 if page.locator("article .cell_input").count() else 0)
    first = "article > section > h1 ~ blockquote ~ :is(p, section)"
    assert page.locator(first).first.bounding_box()["y"] < 420
    if folded.count():
        assert folded.get_attribute("open") is None
        assert not folded.locator("pre").first.is_visible()
        folded.locator("summary").click()
        assert "import ddim_lib" in folded.inner_text()


def test_less_motion_means_none_on_the_page(visit):
    page, _ = visit("book/05_fast_sampling.html", reduced_motion="reduce")
    moving = page.evaluate("""() => [...document.querySelectorAll("*")].filter(e => {
        const s = getComputedStyle(e);
        return s.animationName !== "none" || /[1-9]/.test(s.transitionDuration);
    }).map(e => e.tagName + "." + e.className)""")
    assert moving == []


@pytest.mark.parametrize("formula", [r"\frac{1", r"\nosuchcommand"])
def test_a_formula_that_cannot_be_read_is_noticed(visit, formula):
    """The check above can fail."""
    page, _ = visit("book/index.html")
    assert page.evaluate("typeof window.MathJax?.tex2chtml") == "function"
    page.evaluate(
        "tex => document.querySelector('article').append(MathJax.tex2chtml(tex))", formula
    )
    assert page.locator(UNREADABLE).count() == 1


# Where a reader is promised a slider, by chapter: how many there are at least.
PLAYERS = {
    "01_noising": 1,
    "04_sampling": 1,
    "05_fast_sampling": 1,
    "06_ddim_and_ddpm": 1,
    "08_latent_space": 1,
    "10_beyond_mnist": 2,
}


@pytest.mark.parametrize("chapter", PLAYERS)
def test_every_player_moves_under_the_keyboard(visit, chapter):
    name = f"book/{chapter}.html"
    page, faults = visit(name)
    players = page.locator("ddim-player")
    assert players.count() >= PLAYERS[chapter]
    for player in players.all():
        slider, pictures = player.get_by_role("slider"), player.locator("img")
        assert slider.is_enabled() and pictures.count() > 0
        slider.focus()
        seen = []
        for key in ("Home", "ArrowRight", "End", "ArrowLeft"):
            page.keyboard.press(key)
            sources = tuple(picture.get_attribute("src") for picture in pictures.all())
            seen.append((*sources, player.locator("output").inner_text()))
        # Every picture and the value, at each of the four positions.
        assert [len(set(values)) for values in zip(*seen, strict=True)] == [4] * len(seen[0])
        assert slider.get_attribute("aria-valuetext")
        player.get_by_role("button", name="Play").click()
        player.get_by_role("button", name="Pause").click()
    assert page.url.endswith(name)  # arrow keys turn no pages
    assert faults == []
