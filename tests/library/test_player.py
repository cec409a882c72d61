"""A player shows the right frame and value at each position, in a browser, from a plain file."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from test_pages import CHROMIUM, FLAGS, missing

from ddim_lib.player import Curve, play, symbols
from ddim_lib.widgets import frames_slider

ALT = "A square that grows lighter from left to right"
VALUES = [1, 50, 100, 200, 400, 1000]


def frame(i: int, shape=(4, 6)) -> np.ndarray:
    return np.full(shape, 40 * i, np.uint8)


def frames(n: int = 6, shape=(4, 6)) -> list[np.ndarray]:
    return [frame(i, shape) for i in range(n)]


def data(player) -> dict:
    return json.loads(re.search(r'application/json">(.*)</script>', player.html)[1])


def decoded(source: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))))


# What the cell holds -----------------------------------------------------------------------------

def test_every_frame_is_kept_to_the_pixel():
    held = data(play({"x_t": frames(), "f_theta(x_t)": frames()[::-1]}, VALUES, "t", alt=ALT))
    for i in range(6):
        assert np.array_equal(decoded(held["frames"][0][i]), frame(i))
        assert np.array_equal(decoded(held["frames"][1][i]), frame(5 - i))


def test_colour_and_lossy_frames():
    noise = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    exact = data(play(list(noise), [0, 1], "t", alt=ALT))["frames"][0]
    lossy = data(play(list(noise), [0, 1], "t", alt=ALT, quality=60))["frames"][0]
    assert np.array_equal(decoded(exact[1]), noise[1])
    assert lossy[1].startswith("data:image/jpeg") and len(lossy[1]) < len(exact[1]) / 2
    bundle = play(list(noise), [0, 1], "t", alt=ALT, quality=60)._repr_mimebundle_()
    assert set(bundle) == {"text/html", "image/jpeg", "text/plain"}
    assert Image.open(io.BytesIO(base64.b64decode(bundle["image/jpeg"]))).format == "JPEG"
    smooth = np.repeat(np.arange(64, dtype=np.uint8)[:, None] * 3, 64, 1)
    kept = decoded(data(play([smooth, smooth], [0, 1], "t", alt=ALT, quality=90))["frames"][0][0])
    assert np.abs(kept.astype(int) - smooth).mean() < 3


def test_values_are_told_in_words_and_in_symbols():
    held = data(play(frames(3), [0.0, 0.1, 1.0], "fresh noise eta", alt=ALT,
                     readout={"sigma": ["0", "<.1", 1e-7]}))
    assert held["plain"] == ["eta = 0, sigma = 0", "eta = 0.1, sigma = <.1",
                             "eta = 1, sigma = 1e-07"]
    assert held["shown"][1] == "<i>η</i> = 0.1, <i>σ</i> = &lt;.1"


def test_marks_lie_on_the_curve():
    held = data(play(frames(3), [0, 5, 10], "t", alt=ALT,
                     curves=[Curve("alpha_t", [1, 0.5, 0]), Curve("SNR", [100, 1, 0.01], True)]))
    straight, log = held["marks"]
    assert straight == log  # powers of ten, evenly spaced, fall on a line
    (x0, y0), (x1, y1), (x2, y2) = straight
    assert x0 < x1 < x2 and y0 < y1 < y2  # upwards is less in SVG
    assert x1 == pytest.approx((x0 + x2) / 2, abs=0.06)
    assert y1 == pytest.approx((y0 + y2) / 2, abs=0.06)


def test_a_flat_curve_is_drawn():
    held = data(play(frames(2), [0, 1], "t", alt=ALT, curves=[Curve("alpha", [0.5, 0.5])]))
    assert held["marks"][0][0][1] == held["marks"][0][1][1]


def test_the_bundle_has_a_page_a_still_and_words():
    player = play(frames(), VALUES, "level t", alt=ALT)
    bundle = player._repr_mimebundle_()
    assert set(bundle) == {"text/html", "image/png", "text/plain"}
    assert repr(player) == bundle["text/plain"] == "6 pictures over level t, 1 to 1000"
    still = np.asarray(Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))).convert("L"))
    seen = set(np.unique(still))
    assert {0, 40, 120, 160, 200} <= seen or {0, 40, 80, 160, 200} <= seen  # five of six
    assert play(frames(), VALUES, "level t", alt=ALT).html == player.html


def test_the_still_of_two_panels_shows_both():
    some = frames(shape=(28, 100))
    one = Image.open(io.BytesIO(play(some, VALUES, "t", alt=ALT).still))
    two = Image.open(io.BytesIO(play({"a": some, "b": some}, VALUES, "t", alt=ALT).still))
    assert two.width > 1.5 * one.width


def test_alt_texts_are_escaped_and_name_their_panel():
    page = play({"x_t": frames(2)}, [0, 1], "t", alt='A "square" that is <small> & grey').html
    assert 'alt="x_t: A &quot;square&quot; that is &lt;small&gt; &amp; grey"' in page


@pytest.mark.parametrize(("change", "message"), [
    ({"frames": []}, "frames must be one a value, 6, got 0"),
    ({"frames": frames(5)}, "frames must be one a value, 6, got 5"),
    ({"frames": {"x_t": frames(), "y": frames(2)}}, "frames must be one a value, 6, got 2 of 'y'"),
    ({"frames": [*frames(5), frame(0, (5, 5))]}, r"one shape, .* got uint8 \(5, 5\)"),
    ({"frames": [f / 255 for f in frames()]}, "uint8 arrays of one shape, .* got float64"),
    ({"frames": frames(shape=(4, 6, 2))}, r"got uint8 \(4, 6, 2\)"),
    ({"frames": [[[0]]] * 6}, "got list"),
    ({"values": [1]}, "values must hold at least 2 positions, got 1"),
    ({"alt": "A square"}, "alt must say in words what is to be seen, got 'A square'"),
    ({"readout": {"alpha_t": [1, 2]}}, "'alpha_t' must hold one value a frame, 6, got 2"),
    ({"curves": [Curve("SNR", [1, 2])]}, "'SNR' must hold one value a frame, 6, got 2"),
    ({"curves": [Curve("SNR", range(6), True)]}, "finite and positive, got 0"),
    ({"curves": [Curve("SNR", [1, 2, 3, 4, 5, float("inf")])]}, "finite, got inf"),
    ({"curves": [Curve("a", range(6))] * 4}, "curves must be at most 3, got 4"),
    ({"label": ""}, "label must name what the slider stands at, got ''"),
    ({"readout": {"t": range(6)}}, "readout must not be named as the label, 't'"),
    ({"values": [1] * 6, "curves": [Curve("a", range(6))]}, "values must differ where there are"),
    ({"values": list("abcdef"), "curves": [Curve("a", range(6))]}, "values must be numbers"),
    ({"scale": 0}, r"scale must be in \(0, 20\], got 0"),
    ({"start": 6}, "start must be in 0..5, got 6"),
    ({"start": -1}, "start must be in 0..5, got -1"),
    ({"wait": 20}, "wait must be at least 100 milliseconds, got 20"),
    ({"quality": 0}, "quality must be in 1..100 or None, got 0"),
])
def test_errors_name_the_argument(change, message):
    settings = {"frames": frames(), "values": VALUES, "label": "t", "alt": ALT, **change}
    with pytest.raises(ValueError, match=message):
        play(settings.pop("frames"), settings.pop("values"), settings.pop("label"), **settings)


def test_a_value_does_not_end_the_data():
    page = play(frames(2, shape=(28, 28)), ["</script><b>x", "y"], "kind", alt=ALT).html
    data = re.search(r'<script type="application/json">(.*?)</script>', page)[1]
    assert json.loads(data)["plain"][0] == "kind = </script><b>x"


@pytest.mark.parametrize(("text", "page", "tex"), [
    ("level t", "level <i>t</i>", "level $t$"),
    ("alpha_t", "<i>α<sub>t</sub></i>", r"$\alpha_{t}$"),
    ("f_theta(x_t)", "<i>f<sub>θ</sub></i>(<i>x<sub>t</sub></i>)", r"$f_{\theta}$($x_{t}$)"),
    ("SNR, eta < 1", "SNR, <i>η</i> &lt; 1", r"SNR, $\eta$ < 1"),
    ("steps S", "steps <i>S</i>", "steps $S$"),
    ("kappa_phi", "<i>κ<sub>φ</sub></i>", r"$\kappa_{\phi}$"),
    ("alphabet of levels", "alphabet of levels", "alphabet of levels"),
])
def test_symbols(text, page, tex):
    assert symbols.page(text) == page and symbols.mathtext(text) == tex


# In a browser ------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        missing("there is no Chromium: install it, or name it in the variable CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def shown(browser, tmp_path):
    """Open a page that holds players, from a file. Afterwards nothing may have gone wrong."""
    contexts, faults = [], []

    def show(*players, **settings):
        file = tmp_path / "page.html"
        body = "\n".join(getattr(player, "html", player) for player in players)
        file.write_text(f"<!doctype html><html lang=en><title>p</title><meta charset=utf-8>{body}",
                        encoding="utf-8")
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda m: m.type == "error" and faults.append(m.text))
        page.goto(file.as_uri())
        return page

    yield show
    for context in contexts:
        context.close()
    assert faults == []


def level(page, k: int = 0) -> int:
    """The grey level of what a picture shows, read back from the screen."""
    page.wait_for_function("k => document.images[k].complete", arg=k)
    return page.evaluate(
        """k => { const c = document.createElement("canvas").getContext("2d");
        c.drawImage(document.images[k], 0, 0, 1, 1);
        return c.getImageData(0, 0, 1, 1).data[0] / 40 }""", k)


def test_every_key_moves_picture_value_and_mark(shown):
    alpha = [1.0, 0.9, 0.7, 0.4, 0.2, 0.0]
    page = shown(play({"x_t": frames(), "y": frames()[::-1]}, VALUES, "level t", alt=ALT, start=2,
                      curves=[Curve("alpha_t", alpha)]))
    slider = page.get_by_role("slider", name="level t")
    assert (level(page, 0), level(page, 1)) == (2, 3)
    slider.focus()
    for key, i in [("ArrowRight", 3), ("ArrowUp", 4), ("ArrowLeft", 3), ("End", 5), ("Home", 0),
                   ("ArrowLeft", 0), ("ArrowDown", 0), ("ArrowRight", 1)]:
        page.keyboard.press(key)
        assert (level(page, 0), level(page, 1)) == (i, 5 - i), key
        assert slider.get_attribute("aria-valuetext") == f"t = {VALUES[i]}"
        assert page.locator("output").inner_text() == f"t = {VALUES[i]}"
        x = float(page.locator("circle").get_attribute("cx"))
        assert x == pytest.approx(34 + 190 * (VALUES[i] - 1) / 999, abs=0.06)


def held(page) -> None:
    """From here on time passes as ``page.clock.run_for`` says, however busy the machine is."""
    page.clock.install(time=0)
    page.clock.pause_at(3600)


def test_play_stops_at_the_end_and_starts_again(shown):
    page = shown(play(frames(4), VALUES[:4], "level t", alt=ALT, wait=100))
    held(page)
    page.clock.run_for(400)
    assert level(page) == 0  # nothing starts by itself
    button = page.get_by_role("button", name="Play")
    button.press("Enter")
    for seen in (0, 1, 2):
        assert level(page) == seen and page.get_by_role("button", name="Pause").count() == 1
        page.clock.run_for(100)
    assert level(page) == 3
    page.clock.run_for(100)
    assert level(page) == 3 and button.count() == 1
    button.click()
    page.clock.run_for(100)
    assert level(page) == 1
    page.get_by_role("slider").press("ArrowRight")  # the reader takes over
    page.clock.run_for(300)
    assert level(page) == 2 and button.count() == 1


def test_less_motion_plays_slowly(shown):
    page = shown(play(frames(4), VALUES[:4], "t", alt=ALT, wait=100), reduced_motion="reduce")
    held(page)
    page.get_by_role("button").click()
    page.clock.run_for(999)
    assert level(page) == 0
    page.clock.run_for(1)
    assert level(page) == 1


def test_two_players_move_apart(shown):
    page = shown(play(frames(), VALUES, "t", alt=ALT), play(frames(3), [1, 2, 3], "S", alt=ALT))
    page.get_by_role("slider", name="S").press("End")
    assert (level(page, 0), level(page, 1)) == (0, 2)


def test_a_player_put_into_a_page_later_works(shown):
    """As notebooks do it: the HTML first, then the scripts as elements of their own."""
    page = shown()
    page.evaluate(
        """html => { document.body.innerHTML = html;
        document.querySelectorAll("script:not([type])").forEach(old => {
            const made = document.createElement("script");
            made.textContent = old.textContent; old.replaceWith(made); }) }""",
        play(frames(), VALUES, "t", alt=ALT).html)
    page.get_by_role("slider").press("End")
    assert level(page) == 5


def test_without_scripts_one_frame_and_its_value_stay(shown):
    page = shown(play(frames(), VALUES, "t", alt=ALT, start=3), java_script_enabled=False)
    assert page.get_by_role("img", name=ALT).is_visible()
    assert page.locator("output").inner_text() == "t = 200"
    assert page.get_by_role("slider").is_disabled() and page.get_by_role("button").is_disabled()


def sanitised(page: str) -> str:
    """What JupyterLab leaves of an output that is not trusted: no style, no script, no drawing."""
    page = re.sub(r"<(style|script)\b.*?</\1>", "", page, flags=re.DOTALL)
    page = re.sub(r"</?(svg|path|polyline|circle|text|ddim-player)\b[^>]*>", "", page)
    return re.sub(r' style="[^"]*"', "", page)


def test_where_styles_are_stripped_a_sentence_says_what_to_do(shown):
    player = play(frames(), VALUES, "level t", alt=ALT, start=3,
                  curves=[Curve("alpha_t", [1, 0.9, 0.7, 0.4, 0.2, 0.1]),
                          Curve('"SNR"', [9, 8, 4, 2, 1, 0.1], log=True)])
    page = shown(player)
    assert not page.get_by_text("Run this cell").is_visible()
    drawn = """() => [...document.querySelectorAll("[data-text]")]
        .map(e => getComputedStyle(e, "::before").content)"""
    assert {'"1"', '"0.1"', '"1000"', '"α"', '"\\"SNR\\", logarithmic axis"'} <= set(
        page.evaluate(drawn))
    page = shown(sanitised(player.html))
    # No word of a drawing that is not there, nothing that runs together.
    assert page.locator("body").inner_text().split("\n\n") == [
        "Play level t t = 200", "Run this cell to move the slider."]


def test_a_widget_that_is_not_trusted_says_the_same():
    shown = frames_slider(frames(2), [1, 2], "t")._repr_mimebundle_()
    assert shown["text/plain"] == "Run this cell to move the slider."


@pytest.mark.parametrize("name", ["button", "slider"])
def test_a_shortcut_of_the_notebook_takes_no_key(shown, name):
    """Lumino asks the element that has the focus for this attribute, not the ones around it."""
    page = shown(play(frames(), VALUES, "t", alt=ALT))
    assert page.get_by_role(name).get_attribute("data-lm-suppress-shortcuts") == "true"


def test_the_ring_of_the_focus_is_whole_where_the_output_clips(shown):
    html = play(frames(), VALUES, "t", alt=ALT).html
    page = shown(f'<div id="clip" style="overflow: hidden; width: 600px">{html}</div>')
    page.keyboard.press("Tab")
    cut = page.evaluate("""() => {
        const [b, c] = [document.activeElement, document.getElementById("clip")];
        const [inner, outer] = [b, c].map(e => e.getBoundingClientRect()), s = getComputedStyle(b);
        const ring = parseFloat(s.outlineWidth) + parseFloat(s.outlineOffset);
        return [b.tagName, s.outlineStyle, ring, inner.left - outer.left,
            outer.bottom - inner.bottom]
    }""")
    assert cut[:3] == ["BUTTON", "solid", 4]
    assert min(cut[3:]) >= 4


@pytest.mark.parametrize(("width", "rows"), [(1000, 1), (720, 2), (390, 3)])
def test_curves_stand_beside_one_another_or_below(shown, width, rows):
    page = shown(play(frames(shape=(28, 140)), VALUES, "t", alt=ALT,
                      curves=[Curve("alpha_t", range(6)), Curve("SNR", range(1, 7), True)]),
                 viewport={"width": width, "height": 700})
    bottoms = page.evaluate("""() => [...document.querySelectorAll("figure")]
        .map(f => Math.round(f.getBoundingClientRect().bottom))""")
    assert len(set(bottoms)) == rows and (rows == 3 or bottoms[1] == bottoms[2])


def test_on_paper_the_picture_stays_and_the_controls_go(shown):
    page = shown(play(frames(), VALUES, "t", alt=ALT, start=3))
    page.emulate_media(media="print")
    assert page.get_by_role("img", name=ALT).is_visible()
    assert page.locator("output").is_visible()
    assert not page.get_by_role("slider").is_visible()
    assert not page.get_by_role("button").is_visible()


def test_a_wide_player_fits_a_narrow_screen(shown):
    page = shown(play({"a": frames(shape=(30, 230)), "b": frames(shape=(30, 230))}, VALUES, "t",
                      alt=ALT, curves=[Curve("alpha_t", range(6))]),
                 viewport={"width": 400, "height": 700})
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 400
