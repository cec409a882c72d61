"""The live sampler draws in the reader's browser what the library draws.

Over the built site, served below a sub-path as a plain host of files would; the server counts
what it is asked for.
"""

import gzip
import io
import re
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import test_pages
import torch
from PIL import Image
from test_accessibility import axe, violations  # noqa: F401
from test_pages import SHIFTS, Quiet, browser, missing  # noqa: F401
from test_pages import visit as opened  # noqa: F401

import ddim_lib
from ddim_lib.metrics import confidence
from ddim_lib.sampling import (
    _step_noise,
    extrapolate_x0,
    guide,
    noise_from_seeds,
    noise_in,
    slerp,
    step,
)
from ddim_lib.schedule import pairs, timesteps
from scripts.notebooks.normal_form import read

PREFIX = "/some/where"
PAGE = "book/index.html"
# The chapters that have one view of it.
VIEWS = {"prediction": "book/04_sampling.html", "family": "book/06_ddim_and_ddpm.html",
         "walk": "book/08_latent_space.html", "fill": "book/09_inversion.html"}
DRAWN = ".ddim-live-grids canvas"
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
DIGITS = f"() => [...document.querySelectorAll('.ddim-live canvas')].map({PIXELS})"
SMALL = {"S": 5, "n": 3, "seed": 2}


class Below(Quiet):
    """The site below PREFIX and nothing elsewhere; remembers what went out."""

    sent: list[str] = []
    unpacks = False
    together: threading.Barrier | None = None

    def translate_path(self, path):
        name = urlsplit(path).path
        if not name.startswith(PREFIX + "/"):
            return "/nowhere"
        return super().translate_path(name.removeprefix(PREFIX))

    def send_head(self):
        path = self.translate_path(self.path)
        self.sent.append(path)
        if not (self.unpacks and path.endswith(".bin")):
            return super().send_head()
        content = gzip.decompress(Path(path).read_bytes())
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return io.BytesIO(content)

    def copyfile(self, source, outputfile):
        """Two files that are unpacked begin `together`, if that is set, and come in pieces."""
        if self.together is None or not self.path.endswith(".bin"):
            return super().copyfile(source, outputfile)
        self.together.wait(60)
        while piece := source.read(400_000):
            outputfile.write(piece)
            time.sleep(.05)


@pytest.fixture(scope="module")
def address():
    with test_pages.served(Below) as root:
        yield root + PREFIX


@pytest.fixture
def visit(opened):  # noqa: F811
    """Open a page below the sub-path; what it asks for is counted from then on."""
    def open_page(name=PAGE, **settings):
        Below.sent.clear()
        return opened(name, **settings)

    return open_page


@pytest.fixture(scope="module")
def network():
    return ddim_lib.load_pretrained("mnist")


@pytest.fixture(scope="module")
def labelled():
    return ddim_lib.load_pretrained("mnist-labels")


def sent() -> dict[str, int]:
    """Bytes of each file that was asked for since the page was opened."""
    found = map(Path, Below.sent)
    return {path.name: path.stat().st_size for path in found if path.is_file()}


def button(page, name):
    return page.locator(".ddim-live").get_by_role("button", name=name)


def field(page, name):
    return page.locator(f'.ddim-live [name="{name}"]')


def sample(page, *, wait=60_000, **fields):
    """Set the form and press the button; `wait`, in ms, for the end, not at all if it is 0."""
    for name, value in fields.items():
        if isinstance(value, bool):
            field(page, name).set_checked(value)
        elif name == "way":
            page.locator(f'.ddim-live [value="{value}"]').check()
        elif name in ("beside", "digit"):
            field(page, name).select_option(str(value))
        else:
            field(page, name).fill(str(value))
    button(page, "Sample").click()
    if wait:
        page.wait_for_function(DONE, timeout=wait)


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


def same(run: dict, network, **walk) -> None:
    """The run is the library's, step by step."""
    assert max(differences(run, ddim_lib.sample_iter(*network, **walk))) <= 1e-3


def same_digits(mine: list, its: list, runs: list[dict]) -> None:
    """What one browser drew of SMALL is what another one drew, and the library."""
    mine, its = np.array(mine), np.array(its)
    assert mine.shape[0] == 2 and mine.std() > 10, "there are digits, DDIM's and DDPM's"
    assert np.array_equal(mine, its), f"{(mine != its).sum()} pixels differ"
    for run in runs:
        same(run, ddim_lib.load_pretrained("mnist"), steps=5, seeds=range(2, 5), eta=run["eta"])


def between(a: int, b: int, n: int, way=slerp) -> torch.Tensor:
    """Start points on the way from one seed to another."""
    x, y = noise_from_seeds([a, b], SHAPE).split(1)
    return torch.cat([way(x, y, i / max(n - 1, 1)) for i in range(n)])


def alert(page) -> str:
    box = page.locator(".ddim-live [role=alert]")
    return box.inner_text() if box.is_visible() else ""


# What a screen reader hears of: each text of a live region, when it changes.
HEARD = """window.heard = []; addEventListener("DOMContentLoaded", () => {
    const region = node => {
        for (let e = node.nodeType === 1 ? node : node.parentElement; e; e = e.parentElement) {
            const live = e.getAttribute("aria-live");
            if (live) return live === "off" ? null : e;
            if (/^(status|alert|log)$/.test(e.getAttribute("role")) || e.tagName === "OUTPUT")
                return e;
        }
    };
    new MutationObserver(changes => { for (const { target } of changes) {
        const text = region(target)?.textContent;
        if (text && text !== heard.at(-1)) heard.push(text);
    } }).observe(document.body, { subtree: true, childList: true, characterData: true }) })"""


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
    draw = _step_noise(SEEDS, SHAPE)
    expected = torch.cat([draw() for _ in range(3)])
    assert np.abs(np.array(z) - expected.numpy().ravel()).max() <= 1e-5


@pytest.mark.parametrize("way", [slerp, torch.lerp])
@pytest.mark.parametrize(("a", "b", "n"), [(3, 8, 5), (6, 6, 3), (0, 1, 2), (4, 5, 1)])
def test_walks_are_the_library_s_slerp_and_torch_s_lerp(visit, address, a, b, n, way):
    page, _ = visit()
    points = module(page, address, "noise", "return [...m.walkPoints(...argument)]",
                    [a, b, n, 784, way.__name__])
    assert np.abs(np.array(points) - between(a, b, n, way).numpy().ravel()).max() <= 1e-5


def test_levels_and_steps_are_the_library_s(visit, address, network):
    page, _ = visit()
    for steps in (1, 2, 3, 7, 10, 64, 100):
        levels = module(page, address, "sampler", "return m.pairs(1000, argument)", steps)
        assert [tuple(pair) for pair in levels] == pairs(timesteps(1000, steps))
    generator = torch.Generator().manual_seed(0)
    x0, eps, z = torch.randn(3, 50, dtype=torch.float64, generator=generator)
    for t, s in [(1000, 900), (500, 1), (3, 2), (100, 0)]:
        before = 0.3 * network[1].at(t)
        if s:
            mine = module(page, address, "sampler", "return m.extrapolateX0(...argument)",
                          [x0.tolist(), eps.tolist(), before, network[1].at(t), network[1].at(s)])
            assert np.allclose(mine, extrapolate_x0(x0, eps, before, network[1].at(t),
                                                    network[1].at(s)), rtol=1e-12)
        mine = module(page, address, "sampler", "return m.noiseIn(...argument)",
                      [x0.tolist(), eps.tolist(), network[1].at(t)])
        assert np.allclose(mine, noise_in(x0, eps, network[1].at(t)), rtol=1e-12)
        for w in (0, 1, 2.5):
            mine = module(page, address, "sampler", "return m.guide(...argument)",
                          [eps.tolist(), z.tolist(), w])
            assert np.allclose(mine, guide(eps, z, w), rtol=0, atol=1e-12)
        for eta in (0, 0.3, 1, "hat"):
            alphas = network[1].at(t), network[1].at(s)
            mine = module(page, address, "sampler", "return m.step(...argument)",
                          [x0.tolist(), eps.tolist(), *alphas, eta, z.tolist()])
            assert np.allclose(mine, step(x0, eps, *alphas, eta, z).numpy(), rtol=0, atol=1e-12)


# The page


@pytest.mark.parametrize("name", [PAGE, *VIEWS.values()])
def test_nothing_is_loaded_or_computed_before_the_click(visit, name):
    page, faults = visit(name)
    page.wait_for_timeout(500)
    before = sent()
    assert "live.js" in before
    assert not {"session.js", "worker.js", "ort.js"} & before.keys()
    assert not any(name.endswith(".bin") for name in before)
    assert before["live.js"] < 13_500
    still = page.locator(".ddim-live :is(img, .ddim-live-empty)")
    assert still.is_visible()
    assert page.locator(DRAWN).count() == 0
    sample(page, S=1)
    assert "mnist.bin" in sent() and "mnist-labels.bin" not in sent()
    loaded = sum(size for name, size in sent().items() if name not in before)
    assert 5.5e6 < loaded < 6.5e6  # the page says 6 MB
    assert not still.is_visible()
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
        same(run, network, steps=10, seeds=range(16), eta=run["eta"])
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
    assert figures.first.get_attribute("aria-label") == "DDIM, η = 0: 16 digits, seeds 0 to 15"
    assert figures.locator("canvas").first.get_attribute("aria-label") == "x at level 0"
    assert faults == []


@pytest.mark.parametrize(("eta", "beside", "seed", "names"), [
    (0.5, "ddpm", 2**32 - 3, ["Between, η = 0.5", "DDPM, η = 1"]),
    (1, "ddpm", 2**32 - 3, ["DDPM, η = 1"]),
    (0, "order2", 0, ["DDIM, η = 0", "Order 2, η = 0"]),
    (1, "order2", 0, ["DDPM, η = 1", "Order 2, η = 0"])])
def test_other_etas_seeds_and_order_2(visit, network, eta, beside, seed, names):
    page, faults = visit()
    sample(page, S=7, n=3, seed=seed, eta=eta, beside=beside)
    runs = drawn(page)
    assert [(run["name"], run["calls"]) for run in runs] == [(name, 7) for name in names]
    assert [run["eta"] for run in runs] == [float(name.split("= ")[1]) for name in names]
    for run in runs:
        same(run, network, steps=7, seeds=range(seed, seed + 3), eta=run["eta"],
             order=1 + run["name"].startswith("Order 2"))
    assert faults == []


@pytest.mark.parametrize(("digit", "w", "eta", "beside"), [
    (7, 1, 0, "ddpm"), (3, 2, 0, "order2"), (0, 4, 1, "order2"), (8, 2, 1, ""), (5, 0, 0, "order2"),
    (9, 4, 0, "ddpm")])
def test_a_digit_is_the_library_s_with_its_label_and_guidance(visit, labelled, digit, w, eta,
                                                              beside):
    page, faults = visit()
    sample(page, S=6, n=3, seed=20, digit=digit, w=w, eta=eta, beside=beside)
    runs = drawn(page)
    calls = 6 if w in (0, 1) else 12
    assert [run["calls"] for run in runs] == [calls] * (1 + bool(beside))
    for run in runs:
        same(run, labelled, steps=6, seeds=range(20, 23), eta=run["eta"], order=run["order"],
             labels=digit, guidance=w)
    assert {run["order"] for run in runs} == ({1, 2} if beside == "order2" else {1})
    status = page.locator(".ddim-live [role=status]").inner_text()
    assert f" {calls * len(runs)} network calls in " in status
    assert f"label {digit} with guidance scale {w}" in page.locator(
        ".ddim-live figure").first.get_attribute("aria-label")
    assert faults == []


def where(control) -> list[float]:
    """Its place on the page, however far that is scrolled."""
    return control.evaluate("""e => { const box = e.getBoundingClientRect();
        return [box.x + scrollX, box.y + scrollY, box.width, box.height] }""")


def test_the_guidance_scale_is_there_where_a_digit_is_and_nothing_moves(visit):
    page, faults = visit()
    digit, w = field(page, "digit"), field(page, "w")
    assert digit.input_value() == "" and not w.is_visible()
    place = where(button(page, "Sample"))
    digit.focus()
    page.keyboard.press("5")
    assert digit.input_value() == "5" and w.is_visible() and w.input_value() == "1"
    assert where(button(page, "Sample")) == place
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "w"
    page.keyboard.press("ArrowRight")
    assert field(page, "wShown").inner_text() == "1.5" == w.input_value()
    page.keyboard.press("End")
    assert w.input_value() == "8"
    digit.select_option("")
    assert not w.is_visible() and where(button(page, "Sample")) == place
    digit.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "show", "what is hidden is passed over"
    assert faults == []


def test_the_network_with_labels_comes_with_the_first_digit(visit):
    page, faults = visit(script=HEARD)
    sample(page, S=1, n=1)
    field(page, "digit").select_option("4")
    page.wait_for_timeout(300)
    assert "mnist-labels.bin" not in sent()
    before = sent()
    sample(page)
    assert sent().keys() - before.keys() == {"mnist-labels.bin", "mnist-labels.json"}
    said = page.evaluate("heard")
    assert "Loading the network and its runtime, 6 MB, once for this visit; then sampling." in said
    assert "Loading the network with labels, 2.3 MB, once for this visit; then sampling." in said
    assert 2.25e6 < sent()["mnist-labels.bin"] < 2.35e6
    asked = len(Below.sent)
    sample(page, digit="")
    sample(page, digit=6)
    assert len(Below.sent) == asked and faults == []


# The bar as it is when the worker speaks, before the page has heard it.
BAR = """window.bars = []; window.Worker = class extends Worker {
    constructor(...all) { super(...all);
        this.addEventListener("message", ({ data }) => {
            const bar = document.querySelector(".ddim-live progress");
            bars.push([data.type, bar.hidden, bar.getAttribute("value")]); }); } }"""


def test_the_bar_fills_and_is_not_full_while_webassembly_compiles(visit, monkeypatch):
    monkeypatch.setattr(Below, "together", threading.Barrier(2))
    page, faults = visit(script=BAR)
    sample(page, S=1, n=1)
    bars = page.evaluate("bars")
    values = [float(value) for kind, _, value in bars if kind == "loading" and value]
    assert values == sorted(values) and len(values) > 3 and 0 < values[0] and values[-1] < 1
    assert [bar for bar in bars if bar[0] == "ready"] == [["ready", False, None]]
    assert faults == []


@pytest.mark.parametrize("first", [True, False])
def test_any_digit_goes_on_where_the_network_with_labels_does_not_come(visit, network, first):
    page, _ = visit()
    page.route("**/mnist-labels.bin", lambda route: route.fulfill(status=404, body=""))
    if not first:
        sample(page, S=2, n=2)
        asked = len(Below.sent)
    sample(page, S=2, n=2, digit=3)
    assert "mnist-labels.bin: the server answered 404" in alert(page)
    sample(page, digit="")
    assert alert(page) == ""
    same(drawn(page)[0], network, steps=2, seeds=[0, 1])
    if not first:
        assert "mnist.bin" not in [Path(path).name for path in Below.sent[asked:]]
    page.unroute("**/mnist-labels.bin")
    sample(page, digit=3)
    assert alert(page) == "" and len(drawn(page)) == 2


@pytest.mark.parametrize("digit", [{}, {"digit": 2, "w": 2.5}])
def test_a_walk_between_two_seeds_may_have_a_digit(visit, network, labelled, digit):
    page, faults = visit()
    field(page, "walk").check()
    assert not field(page, "eta").is_visible() and not field(page, "beside").is_visible()
    sample(page, S=5, n=4, seed=3, to=8, **digit)
    (run,) = drawn(page)
    same(run, labelled if digit else network, steps=5, x_T=between(3, 8, 4),
         labels=digit.get("digit"), guidance=digit.get("w", 1))
    label = page.locator(".ddim-live figure").get_attribute("aria-label")
    assert "4 digits on the way from seed 3 to seed 8, by slerp" in label
    assert faults == []


def grey(x: torch.Tensor) -> np.ndarray:
    return np.clip(np.round((x.squeeze(1).numpy() + 1) * 127.5), 0, 255)


def on(canvas) -> np.ndarray:
    """The digits on a canvas, row after row; nothing stands between two."""
    high, wide = canvas.evaluate("c => [c.height, c.width]")
    rows = np.array(canvas.evaluate(PIXELS)).reshape(high, wide)
    assert not rows[28::30].any() and not rows[29::30].any()
    assert not rows[:, 28::30].any() and not rows[:, 29::30].any()
    rows = np.pad(rows, [(0, 2), (0, 2)]).reshape((high + 2) // 30, 30, (wide + 2) // 30, 30)
    return rows[:, :28, :, :28].transpose(0, 2, 1, 3).reshape(-1, 28, 28)


def library_walks(network, view: str, fields: dict) -> list:
    """The library's walks of what a chapter's view draws, set as the page sets it at first."""
    first = {"prediction": {"S": 20, "seed": 0}, "family": {"S": 10, "seed": 0},
             "walk": {"S": 20, "seed": 5, "to": 1, "way": "slerp"}}[view] | fields
    if view == "walk":
        way = {"slerp": slerp, "lerp": torch.lerp}[first["way"]]
        starts = [{"x_T": between(first["seed"], first["to"], 15, way)}]
    elif view == "family":
        starts = [{"seeds": [first["seed"]], "eta": eta} for eta in (0, 0.2, 0.5, 1, "hat")]
    else:
        starts = [{"seeds": [first["seed"] + i for i in range(4)]}]
    return [list(ddim_lib.sample_iter(*network, steps=first["S"], **start)) for start in starts]


@pytest.mark.parametrize(("view", "fields"), [
    ("prediction", {}), ("prediction", {"S": 3, "seed": 2**32 - 4}),
    ("family", {}), ("family", {"S": 4, "seed": 2**32 - 1}),
    ("walk", {}), ("walk", {"S": 3, "seed": 3, "to": 8, "way": "lerp"})])
def test_what_a_chapter_s_view_draws_is_the_library_s(visit, network, view, fields):
    """At first and as set, at the end and a step before it, in numbers and on the canvas."""
    page, faults = visit(VIEWS[view])
    sample(page, **fields)
    walks = library_walks(network, view, fields)
    for run, walk in zip(drawn(page), walks, strict=True):
        assert max(differences(run, walk)) <= 1e-3
    if view == "prediction":
        pictures = [(walks[0], "x"), (walks[0], "x0")]
    else:
        pictures = [(walk, "x") for walk in walks]
    canvases = page.locator(".ddim-live canvas").all()
    for last in (-1, -2):
        for canvas, (walk, what) in zip(canvases, pictures, strict=True):
            off = np.abs(on(canvas) - grey(getattr(walk[last], what)))
            assert off.mean() < 0.1 and off.max() <= 8
        page.locator(".ddim-live-back input").focus()
        page.keyboard.press("ArrowLeft")
    assert faults == []


NAMES = {
    "prediction": [("The walk: 4 digits, seeds 0 to 3", "xt, the walk"),
                   ("The prediction: 4 digits, seeds 0 to 3", "fθ(xt), predicted")],
    "family": [(f"{name}: 1 digit, seed 0", title) for name, title in [
        ("DDIM, η = 0", "η = 0"), ("Between, η = 0.2", "η = 0.2"), ("Between, η = 0.5", "η = 0.5"),
        ("DDPM, η = 1", "η = 1"), ("DDPM, sigma-hat", "σ̂")]],
    "walk": [("slerp: 15 digits on the way from seed 5 to seed 1, by slerp", "slerp")],
    "fill": [("Completed: 8 digits, seeds 8 to 15", "Completed, η = 1")],
}
FIELDS = {"prediction": ["Steps S", "First seed"], "family": ["Steps S", "Seed"],
          "walk": ["From seed", "to seed", "Steps S"], "fill": ["Steps S", "First seed"]}


@pytest.mark.parametrize("view", VIEWS)
def test_a_chapter_s_view_works_by_keyboard_and_says_its_names(visit, view):
    page, faults = visit(VIEWS[view], script=HEARD)
    live = page.locator(".ddim-live")
    labels = live.locator("input:visible").evaluate_all(
        "all => all.filter(e => e.type !== 'radio').map(e => e.labels[0].textContent)")
    assert [" ".join(label.split()) for label in labels] == FIELDS[view]
    live.get_by_role("textbox", name="Steps S").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("2")
    page.keyboard.press("Enter")
    page.wait_for_function(DONE, timeout=60_000)
    figures = live.get_by_role("figure").all()
    assert [(figure.get_attribute("aria-label"), figure.locator("figcaption").inner_text())
            for figure in figures] == NAMES[view]
    assert [canvas.get_attribute("aria-label") for canvas in page.locator(DRAWN).all()] == [
        "The predicted picture at level 0" if "prediction" in name else "x at level 0"
        for name, _ in NAMES[view]]
    # Back from the first field: the slider.
    live.locator("form :is(input, canvas):visible").first.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Home")
    slider = live.get_by_role("slider", name="Step", exact=True)
    assert slider.get_attribute("aria-valuetext") == "0 of 2, t = 1000"
    begin, end = page.evaluate("heard")
    assert begin.startswith("Loading the network and its runtime, 6 MB")
    digits = {"prediction": 4, "family": 5, "walk": 15, "fill": 8}[view]
    calls = 10 if view == "family" else 2
    assert end.startswith(f"Done: {digits} digits, S = 2, {calls} network calls in ")
    if view == "walk":
        live.get_by_role("radiogroup", name="Which way").get_by_role("radio").first.focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        by_lerp = "document.querySelector('.ddim-live').ddimResult?.walk.way === 'lerp'"
        page.wait_for_function(by_lerp, timeout=60_000)
    assert faults == []


@pytest.mark.parametrize("view", VIEWS)
def test_a_chapter_s_view_has_no_serious_violation_when_it_has_drawn(axe, visit, view):  # noqa: F811
    page, _ = visit(VIEWS[view], color_scheme="light")
    sample(page, S=1)
    page.locator(".ddim-live-python summary").click()
    page.evaluate(axe)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert violations(page, scheme) == []


def chapter_9(network) -> dict:
    """What its reader has who has run the cell of `fill_in`, and the half that is known."""
    cells = read(test_pages.ROOT / "book" / "09_inversion.ipynb").cells
    code = next(cell.source for cell in cells if cell.source.startswith("def fill_in("))
    known = torch.zeros(1, *SHAPE)
    known[..., :14, :] = 1
    space = {"torch": torch, "ddim_lib": ddim_lib, "pairs": pairs, "timesteps": timesteps,
             "device": torch.device("cpu"), "model": network[0], "schedule": network[1],
             "known": known}
    exec(code, space)
    return space


PEN = ".ddim-live-pen canvas"


def line(page, *points):
    """A stroke of the mouse through points, in pixels of the digit."""
    pen = page.locator(PEN)
    pen.scroll_into_view_if_needed()
    box = pen.bounding_box()
    for i, (x, y) in enumerate(points):
        page.mouse.move(box["x"] + x * box["width"] / 28, box["y"] + y * box["width"] / 28)
        if i == 0:
            page.mouse.down()
    page.mouse.up()


def half(page) -> np.ndarray:
    return np.array(page.locator(PEN).evaluate(PIXELS)).reshape(14, 28)


@pytest.mark.parametrize(("clean", "seed"), [(False, 3), (True, 2**32 - 8)])
def test_a_half_that_is_drawn_is_completed_as_by_chapter_9(visit, network, clean, seed):
    page, faults = visit(VIEWS["fill"])
    button(page, "Clear").click()
    assert half(page).max() == 0
    line(page, (9, 6), (18, 6), (14, 13))
    mine = half(page)
    assert mine[6, 10:18].min() > 200 and mine[:4].max() == 0, "there is a stroke, where it was"
    page.locator(f'.ddim-live [value="{"clean" if clean else "noised"}"]').check()
    sample(page, S=4, seed=seed)
    (run,) = drawn(page)
    space = chapter_9(network)
    x0 = torch.zeros(8, *SHAPE)
    x0[..., :14, :] = torch.tensor(mine / 127.5 - 1)
    expected = space["fill_in"](x0, space["known"], range(seed, seed + 8), steps=4,
                                noised=not clean)
    x = run["steps"][-1]["x"]
    assert (x - expected).abs().mean() <= 1e-3 and x[..., 14:, :].std() > 0.3
    on_page = on(page.locator(DRAWN))
    assert np.abs(on_page - grey(expected)).mean() < 0.1
    assert (on_page[:, :14] == mine).all()
    page.locator(DRAWN).click()
    code = page.locator(".ddim-live-python code").inner_text()
    exec(code, space)
    digit = int(re.search(r"\[(\d):", code)[1])
    assert (space["x"][0] - x[digit]).abs().mean() <= 1e-3
    assert faults == []


def test_the_arch_becomes_what_chapter_9_says(visit, network):
    """By the classifier: zeros, eights and others; put back clean more zeros, smaller seams."""
    page, _ = visit(VIEWS["fill"])
    space = chapter_9(network)
    x0 = torch.zeros(8, *SHAPE)
    x0[..., :14, :] = torch.tensor(half(page) / 127.5 - 1)
    noised, clean = (space["fill_in"](x0, space["known"], range(8, 16), noised=noised)
                     for noised in (True, False))
    first, second = (confidence(x)[0].tolist() for x in (noised, clean))
    assert {0, 8} < set(first)
    assert second.count(0) > first.count(0)
    seam = [(x[:, :, 14] - x[:, :, 13]).abs().mean() for x in (noised, clean)]
    assert seam[1] < seam[0]


def test_keyboard_and_finger_draw_too(visit):
    page, faults = visit(VIEWS["fill"], has_touch=True, viewport={"width": 390, "height": 844})
    button(page, "Clear").click()
    page.locator(PEN).focus()
    page.keyboard.press("ArrowLeft")
    assert half(page).max() == 0, "the pen moves without drawing"
    for _ in range(4):
        page.keyboard.press("Shift+ArrowRight")
    assert half(page)[7, 13:17].min() > 200
    button(page, "Clear").click()
    page.locator(PEN).scroll_into_view_if_needed()
    box, top = page.locator(PEN).bounding_box(), page.evaluate("scrollY")
    finger = page.context.new_cdp_session(page)
    for kind, down in [("Start", 20), ("Move", 60), ("Move", 100), ("End", None)]:
        points = [] if down is None else [{"x": box["x"] + 112, "y": box["y"] + down}]
        finger.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})
    assert half(page)[4:11, 13:15].min() > 200, "downwards, which would scroll elsewhere"
    assert page.evaluate("scrollY") == top and faults == []


def test_a_link_has_the_half_that_was_drawn(visit, address):
    page, faults = visit(VIEWS["fill"])
    arch = half(page)
    line(page, (5, 5), (9, 9))
    sample(page, S=1)
    mine, link = half(page), page.url
    assert (mine != arch).any()
    other, _ = visit(link.removeprefix(f"{address}/"))
    other.wait_for_function("scrollY > 0")
    assert (half(other) == mine).all()
    for odd in ("AAAA", "%25", "A" * 5, "A" * 525):
        other.evaluate(f"location.hash = '#sampler:half={odd}'")
        other.wait_for_function("!document.querySelector('.ddim-live [role=alert]').hidden")
        assert "the drawn half must have 28 times 14 grey levels" in alert(other), odd
        other.evaluate("location.hash = '#sampler:S=3'")
        other.wait_for_function("document.querySelector('.ddim-live [role=alert]').hidden")
        assert (half(other) == arch).all(), "as it is at first"
    assert faults == []


def test_without_its_pen_the_form_says_so(visit):
    page, _ = visit("book/notation.html")
    page.route("**/pen.js", lambda route: route.fulfill(status=404, body=""))
    page.goto(page.url.replace("notation", "09_inversion"), wait_until="networkidle")
    sample(page)
    assert alert(page) == "The pen did not load. Load the page again."


def test_the_keyboard_steps_back(visit):
    page, faults = visit()
    field(page, "beside").select_option("")
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
        assert canvas.evaluate("c => [c.height, c.width]") == [58, 118]
        return on(canvas)[:6]

    slider = page.locator(".ddim-live-back input")
    slider.focus()
    for index in (4, 3, 2, 1, 0):
        assert np.abs(shown() - grey(run["steps"][index]["x"])).max() <= 1
        where = f"{index} of 4, t = {run['steps'][index]['t']}"
        assert slider.get_attribute("aria-valuetext") == where
        t = run["steps"][index]["t"]
        assert canvas.get_attribute("aria-label") == f"x at level {t}"
        page.keyboard.press("ArrowLeft")
    # The other thing to look at, at the step that is shown.
    field(page, "show").nth(1).check()
    assert np.abs(shown() - grey(run["steps"][0]["x0"])).max() <= 1
    assert canvas.get_attribute("aria-label") == "The predicted picture at level 1000"
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


def test_a_mended_field_loses_its_mark_at_once(visit):
    page, _ = visit()
    sample(page, n=64, wait=False)
    assert field(page, "n").get_attribute("aria-invalid") == "true" and "Images" in alert(page)
    field(page, "n").fill("16")
    assert field(page, "n").get_attribute("aria-invalid") == "false" and alert(page) == ""
    # A seed that was wrong with the old number of images, with another field wrong now.
    sample(page, seed=2**32 - 1, wait=False)
    assert field(page, "seed").get_attribute("aria-invalid") == "true"
    sample(page, n=1, S=-1, wait=False)
    assert field(page, "seed").get_attribute("aria-invalid") == "false"
    assert field(page, "S").get_attribute("aria-invalid") == "true"


def test_stop(visit):
    page, faults = visit(script=BAR)
    sample(page, S=100, n=1, wait=False)
    page.wait_for_function("document.querySelector('.ddim-live-back output')?.textContent > '2'")
    button(page, "Stop").click()
    status = page.locator(".ddim-live [role=status]").inner_text()
    done = int(re.fullmatch(r"Stopped after (\d+) of 100 steps\.", status)[1])
    assert 1 <= done < 100
    slider = page.locator(".ddim-live-back input")
    assert slider.is_enabled() and slider.get_attribute("max") == str(done)
    assert slider.get_attribute("aria-valuetext").startswith(f"{done} of 100, ")
    page.wait_for_timeout(1000)
    heard = page.evaluate("bars.length")
    page.wait_for_timeout(1000)
    assert page.evaluate("bars.length") == heard > done, "the network has stopped too"
    assert page.evaluate("document.querySelector('.ddim-live').ddimResult") is None
    assert slider.input_value() == str(done)
    sample(page, S=2)
    assert [len(run["steps"]) for run in drawn(page)] == [3, 3]
    assert faults == []


def settings(page) -> dict:
    return page.evaluate("""() => Object.fromEntries(
        new FormData(document.querySelector(".ddim-live form")))""")


LINKS = [(PAGE, "S=3&n=2&seed=5&eta=0.5&beside=order2&digit=7&w=4&show=x0"),
         (PAGE, "S=2&n=3&seed=1&to=9&walk=on&show=x"),
         (VIEWS["prediction"], "S=3&seed=7"), (VIEWS["family"], "S=2&seed=9"),
         (VIEWS["walk"], "seed=4&to=6&S=2&way=lerp")]
SET = "steps => document.querySelector('.ddim-live [name=S]').value === steps"


@pytest.mark.parametrize(("name", "link"), LINKS)
def test_a_link_brings_the_settings_and_a_click_the_same_digits(visit, name, link):
    page, faults = visit(f"{name}#sampler:{link}")
    asked = dict(part.split("=") for part in link.split("&"))
    page.wait_for_function(SET, arg=asked["S"])
    assert settings(page).items() >= asked.items()
    if name == PAGE:
        assert field(page, "w").is_visible() == ("digit" in asked)
        assert field(page, "to").is_visible() == ("walk" in asked)
    assert "session.js" not in sent() and not any(name.endswith(".bin") for name in sent())
    sample(page)
    first = drawn(page)
    # The address says what was drawn, also to somebody who opens it.
    assert page.url.endswith(f"{name}#sampler:{link}")
    other, more = visit(name + page.url[page.url.index("#"):])
    other.wait_for_function(SET, arg=asked["S"])
    assert settings(other).items() >= asked.items()
    sample(other)
    assert [run["x"] for run in drawn(other)] == [run["x"] for run in first]
    assert faults == [] == more


def test_the_address_follows_what_is_drawn_and_an_odd_one_is_told(visit):
    page, faults = visit()
    assert "#" not in page.url
    sample(page, S=1, n=1, seed=3)
    assert page.url.endswith("#sampler:S=1&n=1&seed=3&eta=0&beside=ddpm&show=x")
    for odd in ("digit=12", "eta=7", "beside=heun", "Steps=3", "length=1"):
        page.evaluate("odd => { location.hash = '#sampler:n=2&' + odd }", odd)
        page.wait_for_function("!document.querySelector('.ddim-live [role=alert]').hidden")
        name, value = odd.split("=")
        assert alert(page) == (f'The address asks for {name} = "{value}", which this form does '
                               "not have.")
        assert settings(page)["n"] == "2" and settings(page)["digit"] == ""
        page.evaluate("location.hash = '#sampler:n=3'")
        page.wait_for_function("document.querySelector('.ddim-live [role=alert]').hidden")
        assert settings(page)["n"] == "3"
    assert faults == []


def test_a_view_s_address_has_no_setting_of_another(visit):
    page, faults = visit(f"{VIEWS['prediction']}#sampler:walk=on")
    page.wait_for_function("!document.querySelector('.ddim-live [role=alert]').hidden")
    assert alert(page) == 'The address asks for walk = "on", which this form does not have.'
    assert faults == []


@pytest.mark.parametrize(("name", "fields", "picture", "digit", "columns", "file"), [
    (PAGE, {"n": 5, "eta": 0.5, "beside": "order2"}, 0, 4, 4, "seed-4"),
    (PAGE, {"n": 5, "digit": 8, "w": 2.5, "beside": "order2"}, 1, 2, 4, "seed-2"),
    (PAGE, {"n": 5, "digit": 6, "seed": 9}, 1, 0, 4, "seed-9"),
    (PAGE, {"n": 5, "walk": True, "seed": 3, "to": 8}, 0, 3, 4, "4-of-5"),
    (VIEWS["prediction"], {"seed": 6}, 1, 2, 2, "seed-8"),
    (VIEWS["family"], {"seed": 3}, 4, 0, 1, "seed-3"),
    (VIEWS["walk"], {}, 0, 3, 5, "4-of-15"),
    (VIEWS["walk"], {"way": "lerp"}, 0, 8, 5, "9-of-15")])
def test_a_click_on_a_digit_gives_the_python_that_draws_it(visit, name, fields, picture, digit,
                                                           columns, file):
    page, faults = visit(name)
    sample(page, S=3, **fields)
    runs = drawn(page)
    code = page.locator(".ddim-live-python code")
    assert not code.is_visible()
    row, column = divmod(digit, columns)
    canvas = page.locator(DRAWN).nth(picture)
    side = canvas.bounding_box()["width"] / canvas.evaluate("c => c.width")
    canvas.click(position={"x": (30 * column + 14) * side, "y": (30 * row + 14) * side})
    assert code.is_visible()
    space = {"ddim_lib": ddim_lib}
    exec(code.inner_text(), space)
    mine = torch.tensor(runs[min(picture, len(runs) - 1)]["x"]).view(-1, *SHAPE)[digit]
    assert (space["x"][0] - mine).abs().mean() <= 1e-3
    with page.expect_download() as saved:
        button(page, "Save as PNG").click()
    assert saved.value.suggested_filename == f"{file}.png"
    pixels = np.array(Image.open(saved.value.path()).convert("L"))
    assert np.abs(pixels - grey(mine[None])).max() <= 1
    assert faults == []


def test_the_keyboard_finds_the_python_too(visit):
    page, _ = visit()
    sample(page, S=1, n=2, beside="")
    page.locator(".ddim-live-python summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    code = page.locator(".ddim-live-python code").inner_text()
    assert code.splitlines() == [
        'model, schedule = ddim_lib.load_pretrained("mnist")',
        "x = ddim_lib.sample(model, schedule, seeds=[1], steps=1)"]


def test_no_javascript_leaves_a_still_and_a_sentence(visit):
    page, _ = visit(java_script_enabled=False)
    live = page.locator(".ddim-live")
    assert live.locator("img").is_visible() and len(live.locator("img").get_attribute("alt")) > 20
    assert "in your browser" in live.locator("p").inner_text()
    assert live.locator("button, input").count() == 0


@pytest.mark.parametrize("name", VIEWS.values())
def test_no_javascript_leaves_a_sentence_in_a_chapter(visit, name):
    page, _ = visit(name, java_script_enabled=False)
    live = page.locator(".ddim-live")
    assert live.get_by_text("the network draws here").is_visible()
    link = live.get_by_role("link", name="the chapter").get_attribute("href")
    assert link.endswith(f"/{name}#draw-your-own")
    assert page.locator("#draw-your-own").count() == 1
    assert live.locator("button, input").count() == 0


def told_before_the_download(page, sentence):
    sample(page)
    assert sentence in alert(page) and "try again" not in alert(page)
    assert not [name for name in sent() if name in ("session.js", "worker.js") or ".bin" in name]
    assert page.locator(".ddim-live img").is_visible()


@pytest.mark.parametrize(("lacks", "sentence"), [
    ("delete window.WebAssembly", "WebAssembly, which this browser lacks"),
    ("WebAssembly.validate = () => false", "WebAssembly with SIMD, which this browser lacks"),
    ("delete window.DecompressionStream", "Chrome 91, Firefox 114 or Safari 16.4."),
    ("delete window.Worker", "a newer browser")])
def test_what_a_browser_lacks_is_told_before_the_download(visit, lacks, sentence):
    page, faults = visit(script=lacks)
    told_before_the_download(page, sentence)
    assert faults == []


def test_a_processor_without_simd(browser, address):  # noqa: F811
    """A browser that really has none: V8 needs SSE 4.1 for it."""
    other = browser.browser_type.launch(executable_path=test_pages.CHROMIUM, args=[
        *test_pages.FLAGS, "--js-flags=--no-enable-sse4-1 --no-enable-ssse3"])
    try:
        page = other.new_page()
        page.goto(f"{address}/{PAGE}", wait_until="networkidle")
        told_before_the_download(page, "Chrome 91, Firefox 114 and Safari 16.4 have it.")
    finally:
        other.close()


def test_a_runtime_that_cannot_run_gives_no_advice_to_try_again(visit):
    page, _ = visit()
    page.route("**/ort.wasm.bin", lambda route: route.fulfill(body=gzip.compress(b"no wasm")))
    sample(page, S=1, n=1)
    assert "could not go on (no available backend" in alert(page)
    assert "try again" not in alert(page)


def test_a_host_may_unpack_the_files(visit, network, monkeypatch):
    monkeypatch.setattr(Below, "unpacks", True)
    page, faults = visit()
    sample(page, S=2, n=2, beside="")
    assert alert(page) == "" and faults == []
    same(drawn(page)[0], network, steps=2, seeds=[0, 1])


@pytest.mark.parametrize("name", ["mnist.bin", "ort.wasm.bin", "ort.js", "session.js", "worker.js"])
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


def test_from_a_file_it_says_what_it_needs(address, browser):  # noqa: F811
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
    sample(page, S=3, n=1, beside="")
    assert page.evaluate("window.puts") == pictures  # with motion: 4 states and the end
    assert page.locator(".ddim-live-back input").input_value() == "3"


# On the landing page, on screens of these widths, two pictures are as wide as this.
LEAST = {360: 125, 390: 135, 1280: 2 * 118}


@pytest.mark.parametrize("width", LEAST)
@pytest.mark.parametrize("name", [PAGE, *VIEWS.values()])
def test_the_pictures_fit_beside_each_other(visit, name, width):
    page, _ = visit(name, viewport={"width": width, "height": 800})
    sample(page, S=1)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    box = page.locator(".ddim-live-place").bounding_box()
    all_ = [canvas.bounding_box() for canvas in page.locator(DRAWN).all()]
    assert len({canvas["y"] for canvas in all_}) == len({canvas["width"] for canvas in all_}) == 1
    for left, right in zip(all_, all_[1:], strict=False):
        assert left["x"] + left["width"] < right["x"]
    assert all_[-1]["x"] + all_[-1]["width"] <= box["x"] + box["width"]
    back = page.locator(".ddim-live-back").bounding_box()
    assert back["y"] + back["height"] <= box["y"] + box["height"]
    titles = page.locator(".ddim-live figcaption").evaluate_all(
        "all => all.map(e => e.scrollWidth - e.clientWidth)")
    assert max(titles) <= 0
    if name == PAGE:
        assert len(all_) == 2 and all_[0]["width"] >= LEAST[width]
        assert width < 1280 or all_[0]["width"] % 118 == 0, "whole screen pixels"


@pytest.mark.parametrize("name", [PAGE, "book/05_fast_sampling.html", *VIEWS.values()])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_jumps(visit, name, width):
    """Layout shift once the page stands, formulas and all; what follows a click included."""
    page, faults = visit(name, script=SHIFTS, viewport={"width": width, "height": 844})
    button(page, "Sample").scroll_into_view_if_needed()
    page.wait_for_timeout(200)
    page.evaluate("window.shifts = 0")
    place = where(button(page, "Sample"))
    sample(page, S=2)
    assert where(button(page, "Sample")) == place
    if name in VIEWS.values():
        sample(page, seed=3)
    else:
        sample(page, n=3, beside="", digit=4, w=2)
    assert where(button(page, "Sample")) == place
    page.wait_for_timeout(200)
    assert page.evaluate("shifts") < 0.1
    # The measure sees a jump, where the browser does not scroll along with it.
    page.evaluate("document.documentElement.style.overflowAnchor = 'none'")
    page.evaluate("document.querySelector('.ddim-live-place').style.minHeight = '2000px'")
    page.wait_for_timeout(600)
    assert page.evaluate("shifts") > 0.1 and faults == []


def test_it_says_what_begins_and_what_has_ended_and_no_more(visit):
    page, faults = visit(script=HEARD)
    assert page.locator(".ddim-live [role=status]").is_visible(), "before it has a sentence"
    field(page, "eta").focus()
    page.keyboard.press("ArrowRight")
    sample(page, S=5, n=2)
    page.locator(".ddim-live-back input").focus()
    page.keyboard.press("ArrowLeft")
    begin, end = page.evaluate("heard")
    assert begin == "Loading the network and its runtime, 6 MB, once for this visit; then sampling."
    assert end.startswith("Done: 2 digits, S = 5, 10 network calls")
    sample(page)
    assert page.evaluate("heard")[2:3] == ["Sampling."] and len(page.evaluate("heard")) == 4
    field(page, "digit").select_option("1")
    # A slider's number is in its value, and not a second time in its name.
    for name in ("η", "Guidance scale w", "Step"):
        assert page.locator(".ddim-live").get_by_role("slider", name=name, exact=True).is_visible()
    assert faults == []


def test_coming_back_the_form_shows_what_will_run(visit):
    page, faults = visit()
    field(page, "walk").check()
    field(page, "digit").select_option("3")
    field(page, "n").fill("4")
    page.goto(page.url.replace("index.html", "notation.html"), wait_until="networkidle")
    page.go_back(wait_until="networkidle")
    assert page.evaluate("performance.getEntriesByType('navigation')[0].type") == "back_forward"
    assert field(page, "walk").is_checked() != field(page, "eta").is_visible()
    assert bool(field(page, "digit").input_value()) == field(page, "w").is_visible()
    walking, n = field(page, "walk").is_checked(), int(field(page, "n").input_value())
    sample(page, S=1)
    assert len(drawn(page)) == (1 if walking else 2)
    assert page.evaluate("document.querySelector('.ddim-live').ddimResult.n") == n
    assert faults == []


def test_require_js_on_the_page_does_no_harm(visit, address):
    page, faults = visit()
    page.add_script_tag(url=f"{address}/_static/vendor/requirejs/require.js")
    sample(page, S=1, n=1)
    assert len(drawn(page)) == 2 and faults == []


WIDGETS = [name for name in test_pages.PAGES
           if "jupyter.widget-view" in (test_pages.SITE / name).read_text("utf-8")]


@pytest.mark.parametrize("name", WIDGETS)
def test_widgets_come_when_they_are_asked_for_and_have_names(visit, name):
    page, faults = visit(name)
    places = page.locator(".ddim-widget-place")
    assert places.count() == page.locator("script[type$='widget-view+json']").count()
    assert not {"require.js", "embed-amd.js"} & sent().keys()
    folded = page.locator("details:not([open])").filter(has=places)
    if folded.count():
        folded.first.locator("summary").first.click()
    else:
        places.first.get_by_role("button", name="Show the ipywidgets version (3.6 MB)").click()
    labels = page.locator(".jupyter-widgets .widget-label:visible")
    labels.first.wait_for(timeout=30_000)
    for label in labels.all_inner_texts():
        page.get_by_role("slider", name=label, exact=True).wait_for(timeout=30_000)
    assert page.locator("[title=null]").count() == 0
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
