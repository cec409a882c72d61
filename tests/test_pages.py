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


@pytest.mark.parametrize("name", ["01_noising", "05_fast_sampling", "06_ddim_and_ddpm"])
def test_the_slider_moves_the_picture_without_a_kernel(visit, name):
    page, faults = visit(f"book/{name}.html")
    frames = page.locator(".jupyter-widgets .ddim-frame:visible")
    frames.wait_for()
    before = frames.get_attribute("src")
    handle = page.locator(".jupyter-widgets .noUi-handle").first
    handle.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(300)
    assert frames.count() == 1 and frames.get_attribute("src") != before
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
