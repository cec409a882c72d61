"""Chapter 1 in JupyterLab, as `make lab` opens it: before anything was run, and after all of it."""

import json
import os
import re
import shutil
import subprocess
import sys
import time

import pytest
from test_pages import ROOT, browser, watched  # noqa: F401

NAME = "01_noising.ipynb"
CHAPTER = (ROOT / "book" / NAME).read_text(encoding="utf-8")
CELLS = [cell for cell in json.loads(CHAPTER)["cells"] if cell["cell_type"] == "code"]
SENTENCE = "Run this cell to move the slider."
WAIT = 120_000  # ms; a quiet machine needs seconds
PROMPTS = """[...document.querySelectorAll(".jp-CodeCell .jp-InputPrompt")]
    .map(prompt => prompt.textContent.trim())"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The server's address. Nothing of the reader's own settings, and no trust from before."""
    folder = tmp_path_factory.mktemp("lab")
    for name in [NAME, *re.findall(r"_assets/\w+\.svg", CHAPTER)]:
        (folder / "book" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "book" / name, folder / "book" / name)
    env = os.environ | {f"JUPYTER_{name}_DIR": str(folder / name)
                        for name in ("CONFIG", "DATA", "RUNTIME")} | {"IPYTHONDIR": str(folder)}
    # Nothing is asked of Jupyter's hosts.
    settings = folder / "CONFIG/lab/user-settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(
        '{"checkForUpdates": false, "fetchNews": "false"}')
    with open(folder / "log", "w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", f"--notebook-dir={folder / 'book'}", "--port=0",
             "--no-browser", "--allow-root", "--IdentityProvider.token="],
            env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        end = time.monotonic() + WAIT / 1000
        while not (found := re.search(r"(http://\S+)/lab\s", (folder / "log").read_text())):
            assert server.poll() is None and time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.1)
        yield found[1]
    finally:
        server.terminate()  # with its kernels
        server.wait(timeout=60)


@pytest.fixture
def chapter(browser, lab):  # noqa: F811
    """The opened chapter with every cell on the page, and the errors."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(WAIT)
    page = context.new_page()
    faults = watched(page, lab)
    page.goto(f"{lab}/lab/tree/{NAME}?reset")
    page.wait_for_function(f"{PROMPTS}.length === {len(CELLS)}")
    yield page, faults
    context.close()


def output(page, call):
    """What the code cell with this call shows."""
    (number,) = [cell["execution_count"] for cell in CELLS if call in "".join(cell["source"])]
    cell = page.locator(".jp-CodeCell").filter(has=page.get_by_text(f"[{number}]:", exact=True))
    shown = cell.locator(".jp-OutputArea-output")
    shown.first.scroll_into_view_if_needed()
    return shown


def test_before_anything_is_run_a_sentence_says_what_moves_the_sliders(chapter):
    page, faults = chapter
    player, widget = output(page, "player.play("), output(page, "frames_slider(")
    assert player.get_by_text(SENTENCE).is_visible()
    # Whole: the curves' labels, whose places are in the style that Lab takes away, are gone too.
    assert " ".join(player.inner_text().split()) == (
        f"Play level t t = 300, αt = 0.39642, SNR = 0.66 {SENTENCE}")
    assert player.locator("img").is_visible() and player.get_by_role("slider").is_disabled()
    assert widget.inner_text().strip() == SENTENCE
    assert faults == []


def test_after_running_all_cells_the_sliders_move_by_keyboard(chapter):
    page, faults = chapter
    page.locator(".lm-MenuBar-item").get_by_text("Run", exact=True).click()
    page.locator(".lm-Menu-item").get_by_text("Run All Cells", exact=True).click()
    page.wait_for_function(f"{PROMPTS}.includes('[*]:')")
    page.wait_for_function(f"{PROMPTS}.every(prompt => /^\\[\\d+\\]:$/.test(prompt))")
    assert page.locator("[data-mime-type$='stderr'], [data-mime-type$='error']").count() == 0

    player = page.locator("ddim-player")
    slider, picture = player.get_by_role("slider"), player.locator("img")
    slider.scroll_into_view_if_needed()
    assert not page.get_by_text(SENTENCE).locator("visible=true").count()
    assert "1.0e4" in player.locator(".curve").nth(1).evaluate(
        "e => getComputedStyle(e.querySelector('.high span'), '::before').content")
    slider.focus()
    seen = set()
    for key, place in [("Home", 0), ("ArrowRight", 1), ("ArrowUp", 2), ("ArrowLeft", 1),
                       ("ArrowDown", 0), ("End", 20)]:
        page.keyboard.press(key)
        assert slider.input_value() == str(place)
        seen.add((place, picture.get_attribute("src"), player.locator("output").inner_text()))
    assert len(seen) == 4

    widget = page.locator(".jp-OutputArea-output .widget-slider")
    frame = page.locator(".ddim-frame:visible")
    widget.scroll_into_view_if_needed()
    first = frame.get_attribute("src")
    widget.get_by_role("slider").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "[...document.querySelectorAll('.widget-readout')].some(e => e.textContent === '50')")
    page.wait_for_function("src => document.querySelector('.ddim-frame').src !== src", arg=first)
    assert frame.count() == 1
    assert faults == []
