"""The pages in Firefox: what test_pages.py and test_live.py ask of Chromium, in short.

Playwright speaks WebDriver BiDi with the Firefox that is installed; firefox_relay.py stands between
the two.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_live import DIGITS, SMALL, alert, drawn, same_digits, sample
from test_pages import UNREADABLE, address, missing, visit  # noqa: F401
from test_pages import browser as chromium  # noqa: F401
from test_search import RESULT

FIREFOX = os.environ.get("FIREFOX") or next(
    filter(None, map(shutil.which, ["firefox-esr", "firefox"])), None)
# Firefox asks its maker for settings by itself; this leaves the pages' own requests.
SETTINGS = {"services.settings.server": "data:,#no-server"}
OLDEST = 153  # 140 lacks a command that Playwright cannot do without
CHAPTER_5 = "book/05_fast_sampling.html"


@pytest.fixture(scope="module")
def browser(playwright, tmp_path_factory):
    if FIREFOX is None:
        missing("there is no Firefox: install it, or name it in the variable FIREFOX")
    told = subprocess.run([FIREFOX, "--version"], capture_output=True, text=True).stdout
    if int(re.search(r"(\d+)\.", told)[1]) < OLDEST:
        missing(f"{told.strip()} is too old for Playwright: {OLDEST} is the oldest that was tried")
    start = tmp_path_factory.mktemp("firefox") / "start"
    relay = Path(__file__).with_name("firefox_relay.py")
    command = shlex.join([sys.executable, str(relay), FIREFOX])
    start.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    start.chmod(0o700)
    browser = playwright.firefox.launch(
        channel="moz-firefox", executable_path=start, firefox_user_prefs=SETTINGS, timeout=120_000)
    yield browser
    browser.close()


@pytest.mark.parametrize("name", ["book/index.html", "book/01_noising.html", CHAPTER_5])
def test_a_page_opens_without_a_fault(visit, name):  # noqa: F811
    page, faults = visit(name, viewport={"width": 400, "height": 800})
    assert "Firefox" in page.evaluate("navigator.userAgent")
    assert faults == []
    assert page.locator(UNREADABLE).count() == 0
    formulas = page.locator("article .math").count()
    assert page.locator("article mjx-container").count() >= formulas
    assert formulas > 0 or name == "book/index.html"
    # Beside a scroll bar, which takes a part of the 400 pixels.
    wide, screen = page.evaluate("""() => [document.scrollingElement.scrollWidth,
        document.scrollingElement.clientWidth]""")
    assert wide <= screen <= 400


def test_a_fault_is_noticed(visit):  # noqa: F811
    page, faults = visit("book/notation.html")
    assert faults == []
    page.evaluate("""async () => {
        console.error("told");
        setTimeout(() => { throw new Error("thrown") });
        await fetch("no-such-file").catch(() => {});
        await fetch("http://elsewhere.invalid/").catch(() => {}); }""")
    told = "\n".join(faults)
    for fault in ("console: told", "error: thrown", "404: ", "outside: http://elsewhere.invalid/"):
        assert fault in told, told


def test_a_player_moves_under_the_keyboard(visit):  # noqa: F811
    page, faults = visit("book/01_noising.html")
    player = page.locator("ddim-player").first
    player.get_by_role("slider").focus()
    seen = []
    for key in ("Home", "ArrowRight", "End", "ArrowLeft"):
        page.keyboard.press(key)
        seen.append((player.locator("img").first.get_attribute("src"),
                     player.locator("output").inner_text()))
    assert len(set(seen)) == 4
    assert faults == []


def test_search_finds_a_chapter(visit):  # noqa: F811
    page, faults = visit("search.html?q=slerp")
    page.locator(RESULT).first.wait_for(timeout=60_000)
    assert page.locator(f"{RESULT} a[href*='08_latent_space.html']").count() > 0
    assert faults == []


def test_the_live_sampler_draws_the_library_s_digits_and_chromium_s_pixels(
        visit, chromium, address):  # noqa: F811
    page, faults = visit(CHAPTER_5)
    other = chromium.new_page()
    other.goto(f"{address}/{CHAPTER_5}", wait_until="networkidle")
    pictures = []
    for each in (page, other):
        sample(each, wait=180_000, **SMALL)
        assert alert(each) == ""
        pictures.append(each.evaluate(DIGITS))
    same_digits(*pictures, drawn(page))
    assert faults == []
