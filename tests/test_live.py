"""The live sampler draws in the reader's browser what the library draws.

Over the built site, served below a sub-path as a plain host of files would; the server counts
what it is asked for.
"""

import functools
import http.server
import re
import threading
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import test_pages
import torch
from test_pages import Quiet, browser, missing  # noqa: F401

import ddim_lib
from ddim_lib.sampling import _step_noise, noise_from_seeds, slerp, step
from ddim_lib.schedule import pairs, timesteps

PREFIX = "/some/where"
PAGE = "book/index.html"
SHAPE = (1, 28, 28)
SEEDS = [0, 1, 7, 2**31, 2**32 - 1]
DONE = """() => { const live = document.querySelector(".ddim-live");
    return live.ddimResult || !live.querySelector("[role=alert]").hidden }"""
# Arrays travel to Python as lists.
RESULT = """() => { const { runs, ...rest } = document.querySelector(".ddim-live").ddimResult;
    const lists = ({ t, x, x0 }) => ({ t, x: [...x], x0: [...x0] });
    return { ...rest, runs: runs.map(run =>
        ({ ...run, x: [...run.x], steps: run.steps.map(lists) })) } }"""
PIXELS = """canvas => [...canvas.getContext("2d").getImageData(0, 0, canvas.width,
    canvas.height).data].filter((_, i) => i % 4 === 0)"""


class Below(Quiet):
    """The site below PREFIX and nothing elsewhere; remembers what went out."""

    sent: list[str] = []

    def translate_path(self, path):
        name = urlsplit(path).path
        if not name.startswith(PREFIX + "/"):
            return "/nowhere"
        return super().translate_path(name.removeprefix(PREFIX))

    def send_head(self):
        self.sent.append(self.translate_path(self.path))
        return super().send_head()


@pytest.fixture(scope="module")
def address():
    if not test_pages.PAGES:
        missing("there is no built book: run `make book` first")
    handler = functools.partial(Below, directory=test_pages.SITE)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}{PREFIX}"
    server.shutdown()


@pytest.fixture
def visit(browser, address):  # noqa: F811
    """Open a page; gives it and what went wrong meanwhile, other hosts and console included."""
    contexts = []

    def open_page(name=PAGE, script=None, **settings):
        context = browser.new_context(**settings)
        contexts.append(context)
        page, faults = context.new_page(), []
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("console", lambda m: m.type == "error" and faults.append(f"console: {m.text}"))
        page.on("request", lambda r: r.url.startswith((address, "data:", "blob:"))
                or faults.append(f"outside: {r.url}"))
        page.on("response", lambda r: r.status >= 400 and faults.append(f"{r.status}: {r.url}"))
        if script:
            page.add_init_script(script)
        Below.sent.clear()
        page.goto(f"{address}/{name}", wait_until="networkidle")
        return page, faults

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def network():
    return ddim_lib.load_pretrained("mnist")


def sent() -> dict[str, int]:
    """Bytes of each file that was asked for since the page was opened."""
    found = map(Path, Below.sent)
    return {path.name: path.stat().st_size for path in found if path.is_file()}


def button(page, name):
    return page.locator(".ddim-live").get_by_role("button", name=name)


def field(page, name):
    return page.locator(f'.ddim-live [name="{name}"]')


def sample(page, *, wait=True, **fields):
    for name, value in fields.items():
        if isinstance(value, bool):
            field(page, name).set_checked(value)
        elif name == "eta":
            field(page, name).evaluate(
                "(range, to) => { range.value = to; range.dispatchEvent(new Event('input')) }",
                str(value))
        else:
            field(page, name).fill(str(value))
    button(page, "Sample").click()
    if wait:
        page.wait_for_function(DONE, timeout=60_000)


def drawn(page) -> list[dict]:
    """The runs, with x of every step as a tensor."""
    result = page.evaluate(RESULT)
    n = result["n"]
    assert result["shape"] == [n, *SHAPE]
    for run in result["runs"]:
        for state in run["steps"]:
            state["x"], state["x0"] = (torch.tensor(state[key]).view(n, *SHAPE)
                                       for key in ("x", "x0"))
        assert torch.equal(torch.tensor(run["x"]).view(n, *SHAPE), run["steps"][-1]["x"])
    return result["runs"]


def differences(run: dict, walk) -> list[float]:
    """Mean absolute difference from the library's walk, step by step, x_t and prediction."""
    walk = list(walk)
    assert [state["t"] for state in run["steps"]] == [state.t for state in walk]
    return [max((mine["x"] - its.x).abs().mean().item(), (mine["x0"] - its.x0).abs().mean().item())
            for mine, its in zip(run["steps"], walk, strict=True)]


def alert(page) -> str:
    box = page.locator(".ddim-live [role=alert]")
    return box.inner_text() if box.is_visible() else ""


# The parts, against torch, numpy and the library


def module(page, address, name, body, argument=None):
    return page.evaluate(f"async argument => {{ const m = await import('{address}/_static/live/"
                         f"{name}.js'); {body} }}", argument)


def test_noise_is_torch_s_and_numpy_s(visit, address):
    page, _ = visit()
    start = module(page, address, "noise", "return [...m.startPoints(argument, 784)]", SEEDS)
    expected = noise_from_seeds(SEEDS, SHAPE)
    assert np.abs(np.array(start) - expected.numpy().ravel()).max() <= 1e-5
    streams = module(page, address, "noise", "return argument.map(m.stepSeed)", SEEDS)
    assert streams == [int(np.random.SeedSequence([seed, 1]).generate_state(1)[0])
                       for seed in SEEDS]
    z = module(page, address, "noise", """const draw = m.stepNoise(argument, 784);
        return [...draw(), ...draw(), ...draw()]""", SEEDS)
    draw = _step_noise(SEEDS, expected)
    expected = torch.cat([draw() for _ in range(3)])
    assert np.abs(np.array(z) - expected.numpy().ravel()).max() <= 1e-5


@pytest.mark.parametrize(("a", "b", "n"), [(3, 8, 5), (6, 6, 3), (0, 1, 2), (4, 5, 1)])
def test_walks_are_the_library_s_slerp(visit, address, a, b, n):
    page, _ = visit()
    points = module(page, address, "noise", "return [...m.walkPoints(...argument, 784)]", [a, b, n])
    x, y = noise_from_seeds([a, b], SHAPE).split(1)
    expected = torch.cat([slerp(x, y, i / max(n - 1, 1)) for i in range(n)])
    assert np.abs(np.array(points) - expected.numpy().ravel()).max() <= 1e-5


def test_levels_and_steps_are_the_library_s(visit, address, network):
    page, _ = visit()
    for steps in (1, 2, 3, 7, 10, 64, 100):
        levels = module(page, address, "sampler", "return m.pairs(1000, argument)", steps)
        assert [tuple(pair) for pair in levels] == pairs(timesteps(1000, steps))
    generator = torch.Generator().manual_seed(0)
    x0, eps, z = torch.randn(3, 50, dtype=torch.float64, generator=generator)
    for t, s in [(1000, 900), (500, 1), (3, 2), (100, 0)]:
        for eta in (0, 0.3, 1):
            alphas = network[1].at(t), network[1].at(s)
            mine = module(page, address, "sampler", "return m.step(...argument)",
                          [x0.tolist(), eps.tolist(), *alphas, eta, z.tolist()])
            assert np.allclose(mine, step(x0, eps, *alphas, eta, z).numpy(), rtol=0, atol=1e-12)


# The page


def test_nothing_is_loaded_or_computed_before_the_click(visit):
    page, faults = visit()
    page.wait_for_timeout(500)
    before = sent()
    assert "live.js" in before
    assert not {"session.js", "worker.js", "ort.js", "ort.wasm.bin", "model.bin"} & before.keys()
    assert before["live.js"] < 10_000
    assert page.locator(".ddim-live img").is_visible()
    assert page.locator(".ddim-live canvas").count() == 0
    sample(page, S=1, n=1)
    loaded = sum(size for name, size in sent().items() if name not in before)
    assert 5.5e6 < loaded < 6.5e6  # the page says 6 MB
    assert not page.locator(".ddim-live img").is_visible()
    asked = len(Below.sent)
    sample(page, seed=5)
    assert len(Below.sent) == asked, "the second run loads nothing"
    assert faults == []


def test_ddim_and_ddpm_are_the_library_s(visit, network):
    """The defaults: S = 10, seeds 0 to 15, DDIM and DDPM from the same noise."""
    page, faults = visit()
    sample(page)
    runs = drawn(page)
    assert [(run["eta"], run["calls"]) for run in runs] == [(0, 10), (1, 10)]
    for run in runs:
        walk = ddim_lib.sample_iter(*network, steps=10, seeds=range(16), eta=run["eta"])
        assert max(differences(run, walk)) <= 1e-3
    # Each picture says what it is and what it cost.
    figures = page.locator(".ddim-live figure")
    assert figures.locator("figcaption").all_inner_texts() == ["DDIM, η = 0", "DDPM, η = 1"]
    total = 0
    for run, note in zip(runs, figures.locator("p").all_inner_texts(), strict=True):
        seconds, calls, each = re.fullmatch(
            r"([\d.]+) s, (\d+) network calls, ([\d.]+) ms a call", note).groups()
        assert int(calls) == 10 and abs(float(seconds) - run["seconds"]) < 0.01
        assert abs(float(each) - 100 * run["seconds"]) <= 1
        total += run["seconds"]
    status = page.locator(".ddim-live [role=status]").inner_text()
    found = re.fullmatch(r"Done: 16 digits, S = 10, 20 network calls in ([\d.]+) s\.", status)
    assert found and abs(float(found[1]) - total) < 0.01
    labels = [c.get_attribute("aria-label") for c in page.locator(".ddim-live canvas").all()]
    assert labels[0] == "DDIM, η = 0: 16 digits, seeds 0 to 15, step 10 of 10, t = 0: x_t"
    assert faults == []


@pytest.mark.parametrize(("eta", "names"), [(0.5, ["Between, η = 0.5", "DDPM, η = 1"]),
                                            (1, ["DDPM, η = 1"])])
def test_other_etas_and_seeds(visit, network, eta, names):
    page, faults = visit()
    sample(page, S=7, n=3, seed=2**32 - 3, eta=eta)
    runs = drawn(page)
    assert [run["name"] for run in runs] == names
    seeds = [2**32 - 3, 2**32 - 2, 2**32 - 1]
    for run in runs:
        walk = ddim_lib.sample_iter(*network, steps=7, seeds=seeds, eta=run["eta"])
        assert max(differences(run, walk)) <= 1e-3
    assert faults == []


def test_a_walk_between_two_seeds(visit, network):
    page, faults = visit()
    field(page, "walk").check()
    assert not field(page, "eta").is_visible() and not field(page, "beside").is_visible()
    sample(page, S=5, n=4, seed=3, to=8)
    (run,) = drawn(page)
    x, y = noise_from_seeds([3, 8], SHAPE).split(1)
    start = torch.cat([slerp(x, y, i / 3) for i in range(4)])
    assert max(differences(run, ddim_lib.sample_iter(*network, steps=5, x_T=start))) <= 1e-3
    label = page.locator(".ddim-live canvas").get_attribute("aria-label")
    assert "4 digits on the way from seed 3 to seed 8" in label
    assert faults == []


def grey(x: torch.Tensor) -> np.ndarray:
    return np.clip(np.round((x.squeeze(1).numpy() + 1) * 127.5), 0, 255)


def test_the_keyboard_steps_back(visit):
    page, faults = visit()
    field(page, "beside").uncheck()
    field(page, "S").fill("4")
    field(page, "n").fill("6")
    button(page, "Sample").focus()
    page.keyboard.press("Enter")
    page.wait_for_function(DONE, timeout=60_000)
    assert page.evaluate("document.activeElement.name") == "sample"
    (run,) = drawn(page)
    canvas = page.locator(".ddim-live canvas")

    def shown():
        """Four in a row, two rows, the last two places empty."""
        rows = np.array(canvas.evaluate(PIXELS)).reshape(2, 28, 4, 28).transpose(0, 2, 1, 3)
        return rows.reshape(8, 28, 28)[:6]

    slider = page.locator(".ddim-live-back input")
    slider.focus()
    for index in (4, 3, 2, 1, 0):
        assert np.abs(shown() - grey(run["steps"][index]["x"])).max() <= 1
        where = f"{index} of 4, t = {run['steps'][index]['t']}"
        assert slider.get_attribute("aria-valuetext") == where
        assert where in canvas.get_attribute("aria-label")
        page.keyboard.press("ArrowLeft")
    # The other thing to look at, at the step that is shown.
    field(page, "show").nth(1).check()
    assert np.abs(shown() - grey(run["steps"][0]["x0"])).max() <= 1
    assert "f_θ(x_t)" in canvas.get_attribute("aria-label")
    assert faults == []


BAD = [
    ("seed", "-1", 'First seed must be a whole number from 0 to 4294967280, not "-1".'),
    ("seed", "4294967281", "from 0 to 4294967280"),
    ("seed", "1.5", 'not "1.5"'),
    ("seed", "", 'not ""'),
    ("S", "0", 'Steps S must be a whole number from 1 to 100, not "0".'),
    ("S", "101", "from 1 to 100"),
    ("n", "17", "Images must be a whole number from 1 to 16"),
    ("n", "many", 'not "many"'),
]


def test_bad_input_is_a_sentence(visit):
    page, faults = visit()
    good = {"S": 1, "n": 16, "seed": 0}
    for name, value, sentence in BAD:
        sample(page, **good | {name: value})
        assert sentence in alert(page), (name, value)
        wrong = [key for key in good if field(page, key).get_attribute("aria-invalid") == "true"]
        assert wrong == [name] == [page.evaluate("document.activeElement.name")], value
    assert "worker.js" not in sent() and faults == []
    sample(page, **good)
    assert alert(page) == "" and len(drawn(page)) == 2
    assert all(field(page, key).get_attribute("aria-invalid") == "false" for key in good)


HEAR = """window.heard = 0; window.Worker = class extends Worker {
    constructor(...all) { super(...all);
        this.addEventListener("message", () => { window.heard += 1; }); } }"""


def test_stop(visit):
    page, faults = visit(script=HEAR)
    sample(page, S=100, n=1, wait=False)
    page.wait_for_function("document.querySelector('.ddim-live-back output')?.textContent > '2'")
    button(page, "Stop").click()
    status = page.locator(".ddim-live [role=status]").inner_text()
    done = int(re.fullmatch(r"Stopped after (\d+) of 100 steps\.", status)[1])
    assert 1 <= done < 100
    slider = page.locator(".ddim-live-back input")
    assert slider.is_enabled() and slider.get_attribute("max") == str(done - 1)
    page.wait_for_timeout(1000)
    heard = page.evaluate("window.heard")
    page.wait_for_timeout(1000)
    assert page.evaluate("window.heard") == heard > done, "the network has stopped too"
    assert page.evaluate("document.querySelector('.ddim-live').ddimResult") is None
    assert slider.input_value() == str(done - 1)
    sample(page, S=2)
    assert [len(run["steps"]) for run in drawn(page)] == [3, 3]
    assert faults == []


def test_no_javascript_leaves_a_still_and_a_sentence(visit):
    page, _ = visit(java_script_enabled=False)
    live = page.locator(".ddim-live")
    assert live.locator("img").is_visible() and len(live.locator("img").get_attribute("alt")) > 20
    assert "in your browser" in live.locator("p").inner_text()
    assert live.locator("button, input").count() == 0


def test_no_webassembly_is_a_sentence(visit):
    page, faults = visit(script="delete window.WebAssembly")
    sample(page)
    assert "WebAssembly, which this browser lacks" in alert(page)
    assert page.locator(".ddim-live img").is_visible() and faults == []


@pytest.mark.parametrize("name", ["model.bin", "ort.wasm.bin", "ort.js", "session.js", "worker.js"])
def test_what_does_not_load_is_a_sentence_and_can_be_tried_again(visit, name):
    page, _ = visit()
    page.route(f"**/{name}", lambda route: route.fulfill(status=404, body=""))
    sample(page, S=1, n=1)
    assert "did not load" in alert(page) or "could not go on" in alert(page)
    assert "Press Sample to try again" in alert(page)
    page.unroute(f"**/{name}")
    sample(page)
    if name == "session.js":  # a browser remembers a module that failed until the next visit
        return
    assert alert(page) == "" and len(drawn(page)) == 2


def test_from_a_file_it_says_what_it_needs(browser):  # noqa: F811
    page = browser.new_page()
    page.goto((test_pages.SITE / PAGE).as_uri())
    sample(page)
    assert "needs a server" in alert(page) and "make serve" in alert(page)
    assert page.locator(".ddim-live img").is_visible()
    page.close()


COUNT = """window.puts = 0; const put = CanvasRenderingContext2D.prototype.putImageData;
    CanvasRenderingContext2D.prototype.putImageData = function (...all) {
        window.puts += 1; return put.apply(this, all); }"""


@pytest.mark.parametrize(("motion", "pictures"), [("reduce", 1), ("no-preference", 5)])
def test_reduced_motion_draws_the_end_alone(visit, motion, pictures):
    page, _ = visit(script=COUNT, reduced_motion=motion)
    sample(page, S=3, n=1, beside=False)
    assert page.evaluate("window.puts") == pictures  # with motion: 4 states and the end
    assert page.locator(".ddim-live-back input").input_value() == "3"


def test_it_fits_a_narrow_screen(visit):
    page, _ = visit(viewport={"width": 400, "height": 800})
    sample(page, S=1)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 400
    widths = page.locator(".ddim-live canvas").evaluate_all("all => all.map(c => c.clientWidth)")
    assert widths == [336, 336], "three screen pixels a pixel"


def test_require_js_on_the_page_does_no_harm(visit, address):
    page, faults = visit()
    page.add_script_tag(url=f"{address}/_static/vendor/requirejs/require.js")
    sample(page, S=1, n=1)
    assert len(drawn(page)) == 2 and faults == []


WIDGETS = [name for name in test_pages.PAGES
           if "jupyter.widget-view" in (test_pages.SITE / name).read_text("utf-8")]


@pytest.mark.parametrize("name", WIDGETS)
def test_widgets_come_when_they_are_asked_for(visit, name):
    page, faults = visit(name)
    places = page.locator(".ddim-widget-place")
    assert places.count() == page.locator("script[type$='widget-view+json']").count()
    assert not {"require.js", "embed-amd.js"} & sent().keys()
    folded = page.locator("details:not([open])").filter(has=places)
    if folded.count():
        folded.first.locator("summary").first.click()
    else:
        places.first.get_by_role("button", name="Show the ipywidgets version (3.6 MB)").click()
    page.locator(".jupyter-widgets").first.wait_for(timeout=30_000)
    page.wait_for_load_state("networkidle")
    assert "embed-amd.js" in sent() and places.count() == 0
    assert faults == []


def test_the_licences_are_there():
    folder = test_pages.SITE / "_static" / "vendor"
    if not folder.is_dir():
        missing("there is no built book: run `make book` first")
    named = (folder / "LICENSES.txt").read_text()
    assert "onnxruntime-web 1.30.0: MIT License" in named
    assert "Permission is hereby granted" in (folder / "onnxruntime" / "LICENSE").read_text()
    notices = (folder / "onnxruntime" / "ThirdPartyNotices.txt").read_text()
    assert all(part in notices for part in ("abseil", "Eigen", "flatbuffers", "protobuf", "RE2"))
