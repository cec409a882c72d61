"""Every built page, opened in headless Chromium from a local server.

No console error, no failed request, nothing asked of another host, every formula rendered, every
picture with alt text, no sideways scroll on a narrow screen.
"""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parent.parent
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


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def address():
    if not PAGES:
        missing("there is no built book: run `make book` first")
    handler = functools.partial(Quiet, directory=SITE)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def browser(address):
    if CHROMIUM is None:
        missing("there is no Chromium: install it, or name it in the variable CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, address):
    """Open a page and wait until it is done; gives the page and what went wrong meanwhile."""
    contexts = []

    def open_page(name: str, **settings):
        context = browser.new_context(**settings)
        contexts.append(context)
        page, faults = context.new_page(), []
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("console", lambda m: m.type == "error" and faults.append(f"console: {m.text}"))
        page.on("requestfailed", lambda request: faults.append(f"failed: {request.url}"))
        page.on("response", lambda r: r.status >= 400 and faults.append(f"{r.status}: {r.url}"))

        def guarded(route):
            if urlsplit(route.request.url).netloc == urlsplit(address).netloc:
                return route.continue_()
            faults.append(f"outside: {route.request.url}")
            return route.abort()

        page.route("http*://**", guarded)
        page.goto(f"{address}/{name}", wait_until="networkidle")
        page.evaluate("() => window.MathJax?.startup?.promise")
        return page, faults

    yield open_page
    for context in contexts:
        context.close()


def test_the_book_is_built(address):
    assert (SITE / "index.html").is_file() and "book/index.html" in PAGES


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page(visit, name, scheme):
    page, faults = visit(name, color_scheme=scheme)
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    assert faults == []
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


@pytest.mark.parametrize("name", PAGES)
def test_no_sideways_scroll_on_a_narrow_screen(visit, name):
    page, _ = visit(name, viewport={"width": 400, "height": 800})
    width = page.evaluate("document.scrollingElement.scrollWidth")
    wide = page.evaluate(
        """() => [...document.querySelectorAll("article *")]
            .filter(e => e.getBoundingClientRect().right > 401)
            .map(e => e.tagName + "." + e.className).slice(0, 5)"""
    )
    assert width <= 400, f"the page is {width} pixels wide; past the edge, among others: {wide}"


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
    "07_latent_space": 1,
    "08_beyond_mnist": 2,
}


@pytest.mark.parametrize("name", PAGES)
def test_every_player_moves_under_the_keyboard(visit, name):
    page, faults = visit(name)
    players = page.locator("ddim-player")
    assert players.count() >= PLAYERS.get(Path(name).stem, 0)
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


@pytest.mark.parametrize("name", PAGES)
def test_wide_formulas_can_be_scrolled_to_their_beginning(visit, name):
    page, _ = visit(name, viewport={"width": 400, "height": 800})
    hidden = page.evaluate(
        """() => [...document.querySelectorAll("article div.math")]
            .filter(block => [...block.querySelectorAll("mjx-c")].some(glyph =>
                glyph.getBoundingClientRect().left < block.getBoundingClientRect().left - 1))
            .map(block => block.textContent.slice(0, 80))"""
    )
    assert hidden == []
