"""The pages in WebKit, Safari's engine: what test_firefox.py asks of Firefox.

WebKitGTK stands in for Safari, in a window on a screen that nobody sees (Xvfb). Its driver tells
nothing of a page's faults; watched_pages.py has the pages keep them.
"""

import os
import shutil
import subprocess
import time
from types import SimpleNamespace

import pytest
from selenium import webdriver
from selenium.webdriver import ActionChains, Keys
from test_live import DIGITS, DONE, SMALL, alert, drawn, same_digits, sample
from test_pages import UNREADABLE, address, browser, missing, served, visit  # noqa: F401
from test_search import RESULT
from watched_pages import Watched

CHAPTER_5 = "book/05_fast_sampling.html"


@pytest.fixture(scope="module")
def site():
    with served(Watched) as site:
        yield site


@pytest.fixture(scope="module")
def webkit(site):
    driver, screen = map(shutil.which, ["WebKitWebDriver", "Xvfb"])
    if not (driver and screen):
        missing("there is no WebKit to drive: `apt install webkit2gtk-driver xvfb`")
    # It chooses a number for the screen that is free, and writes it.
    with subprocess.Popen([screen, "-displayfd", "1", "-nolisten", "tcp"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as shown:
        try:
            where = {"DISPLAY": f":{shown.stdout.readline().strip()}", "GDK_BACKEND": "x11"}
            service = webdriver.WebKitGTKService(driver, env=os.environ | where)
            with webdriver.WebKitGTK(service=service) as webkit:
                webkit.set_script_timeout(90)
                yield webkit
        finally:
            shown.terminate()


def until(done, seconds=90) -> None:
    """Whether it is done then, the test asks again."""
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        time.sleep(0.1)


@pytest.fixture
def opened(webkit, site):
    """Open a page and wait until it is done; gives a function that tells what went wrong."""
    def open_page(name):
        Watched.refused.clear()
        webkit.get(f"{site}/{name}")
        until(lambda: time.monotonic() - Watched.asked > 0.5)
        webkit.execute_script("return window.MathJax?.startup?.promise.then(() => true)")
        return lambda: webkit.execute_script("return faults") + Watched.refused

    return open_page


def count(webkit, selector: str) -> int:
    return webkit.execute_script("return document.querySelectorAll(arguments[0]).length", selector)


def press(webkit, keys: str) -> None:
    ActionChains(webkit).send_keys(keys).perform()


@pytest.mark.parametrize("name", ["book/index.html", "book/01_noising.html", CHAPTER_5])
def test_a_page_opens_without_a_fault(webkit, opened, name):
    webkit.set_window_size(1, 800)  # as narrow as its window gets
    faults = opened(name)
    engine = webkit.execute_script("return navigator.userAgent")
    assert "AppleWebKit" in engine and "Chrom" not in engine
    assert count(webkit, UNREADABLE) == 0
    formulas = count(webkit, "article .math")
    assert count(webkit, "article mjx-container") >= formulas
    assert formulas > 0 or name == "book/index.html"
    wide, screen = webkit.execute_script("""return [document.scrollingElement.scrollWidth,
        document.scrollingElement.clientWidth]""")
    assert wide <= screen < 500
    assert faults() == []


def test_a_fault_is_noticed(webkit, opened):
    faults = opened("book/notation.html")
    assert faults() == []
    webkit.execute_script("""setTimeout(() => {
        console.error("told");
        setTimeout(() => { throw new Error("thrown") });
        Promise.reject(new Error("turned down"));
        fetch("no-such-file");
        fetch("http://elsewhere.invalid/").catch(() => {});
        document.body.append(Object.assign(new Image(), { src: "data:none" })); })""")
    planted = ("console: told", "error: Error: thrown", "error: Error: turned down",
               "404: /book/no-such-file", "outside: http://elsewhere.invalid/", "failed: data:none")
    until(lambda: set(planted) <= set(faults()), 30)
    assert sorted(faults()) == sorted(planted)


def test_a_player_moves_under_the_keyboard(webkit, opened):
    faults = opened("book/01_noising.html")
    webkit.execute_script("document.querySelector('ddim-player [type=range]').focus()")
    seen = []
    for key in (Keys.HOME, Keys.ARROW_RIGHT, Keys.END, Keys.ARROW_LEFT):
        press(webkit, key)
        seen.append(webkit.execute_script("""return ["img", "output"].map(part =>
            document.querySelector("ddim-player " + part)).map(e => e.src ?? e.innerText)"""))
    assert [len(set(values)) for values in zip(*seen, strict=True)] == [4, 4]
    assert faults() == []


def test_search_finds_a_chapter(webkit, opened):
    faults = opened("search.html?q=slerp")
    found = f"{RESULT} a[href*='08_latent_space.html']"
    until(lambda: count(webkit, found))
    assert count(webkit, found) > 0
    assert faults() == []


# Every change of the bar: where it stands, None where it moves without an end.
BAR = """const bar = document.querySelector(".ddim-live progress");
    window.bar = [];
    new MutationObserver(() => window.bar.push(bar.hidden ? "gone" : bar.getAttribute("value")))
        .observe(bar, { attributeFilter: ["hidden", "value"] })"""


def test_the_live_sampler_draws_the_library_s_digits_and_chromium_s_pixels(
        webkit, opened, visit):  # noqa: F811
    def evaluate(script):
        return webkit.execute_script(f"return ({script})()")

    faults = opened(CHAPTER_5)
    webkit.execute_script(BAR)
    for name, value in SMALL.items():
        webkit.execute_script("""const field = document.querySelector(arguments[0]);
            field.focus(); field.select()""", f".ddim-live [name={name}]")
        press(webkit, str(value))
    press(webkit, Keys.ENTER)
    until(lambda: evaluate(f"() => !!({DONE})()"), 180)
    assert webkit.find_element("css selector", ".ddim-live [role=alert]").text == ""
    bar = webkit.execute_script("return window.bar")
    # WebAssembly compiles for seconds; a full bar would promise that all is done.
    assert bar[bar.index("gone") - 1] is None, bar
    other, _ = visit(CHAPTER_5)
    sample(other, wait=180_000, **SMALL)
    assert alert(other) == ""
    same_digits(evaluate(DIGITS), other.evaluate(DIGITS),
                drawn(SimpleNamespace(evaluate=evaluate)))
    assert faults() == []
