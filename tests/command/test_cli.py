"""ddim sample, interpolate, encode, evaluate, weights: they write what the library gives."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from test_cli_train import assert_error, files
from test_datasets import numbers, packed, png, write_mnist
from test_training import assert_same
from test_unet import perturbed

import ddim_lib
from ddim_lib.cli import evaluate as cli_evaluate
from ddim_lib.cli import main, output, together
from ddim_lib.cli.sample import moment
from ddim_lib.datasets import load, load_folder
from ddim_lib.metrics import SPACES, FrechetDistance
from ddim_lib.pixels import to_float, to_uint8
from ddim_lib.plotting import tile
from ddim_lib.responses import amplitude_response, exact_mean_response, mean_response
from ddim_lib.sampling import Step
from ddim_lib.storage.folders import data_folder
from ddim_lib.weights import available, read_facts, save_weights

SHIPPED = data_folder() / "weights" / "mnist.safetensors"


def tiny(channels=1, classes=0):
    return perturbed(ddim_lib.UNetConfig(8, channels, 16, (1, 2), 1, (4,), groups=8,
                                         classes=classes))


@pytest.fixture
def ddim(run_ddim, monkeypatch, tmp_path):
    """Runs a command in a fresh folder with three tiny networks: (code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DDIM_DATA", str(tmp_path / "data"))
    save_weights("tiny.safetensors", tiny(), ddim_lib.linear(), seed=4)
    save_weights("labelled.safetensors", tiny(classes=3), ddim_lib.linear())
    save_weights("colour.safetensors", tiny(3), ddim_lib.linear(20, 0.01, 0.3), seed=5)
    return run_ddim


def pixels(path):
    with Image.open(path) as picture:
        return np.array(picture)


# sample -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("options, same", [
    (("--steps", 2), {"seeds": range(32), "steps": 2}),
    (("--n", 1), {"seeds": [0], "steps": 50}),
    (("--n", 3), {"seeds": range(3)}),
    (("--seeds", "5,0-2,7", "--steps", 4, "--eta", 0.5), {"seeds": [5, 0, 1, 2, 7], "steps": 4,
                                                         "eta": 0.5}),
    (("--seeds", "4294967295", "--spacing", "quadratic", "--eta", "hat"),
     {"seeds": [2**32 - 1], "spacing": "quadratic", "eta": "hat"}),
    (("--n", 2, "--steps", 3, "--spacing", "leading", "--clip"),
     {"seeds": [0, 1], "steps": 3, "spacing": "leading", "clip": True}),
    (("--n", 2, "--steps", 5, "--order", 2), {"seeds": [0, 1], "steps": 5, "order": 2}),
    (("--n", 2, "--steps", 4, "--spacing", "log-snr"),
     {"seeds": [0, 1], "steps": 4, "spacing": "log-snr"}),
])
def test_samples_are_the_librarys(options, same, ddim, tmp_path):
    code, out, err = ddim("sample", "--weights", "tiny.safetensors", *options, "--out", "a.npy",
                          "--out", "new/folder/a.safetensors", "--out", "a.png", "--device", "cpu")
    assert (code, err) == (0, "") and "a.npy, new/folder/a.safetensors, a.png" in out
    expected = ddim_lib.sample(tiny(), ddim_lib.linear(), **same)
    array = np.load("a.npy")
    assert array.dtype == np.float32 and np.array_equal(array, expected.numpy())
    stored = load_file("new/folder/a.safetensors")
    assert torch.equal(stored["images"], expected) and len(stored) == 1
    facts = read_facts("new/folder/a.safetensors")
    assert facts["weights"] == "tiny" and facts["seeds"] == list(same["seeds"])
    assert facts["order"] == same.get("order", 1)
    assert facts["eta"] == same.get("eta", 0) and facts["clip"] == same.get("clip", False)
    sheet = tile(expected, min(8, len(expected)))
    assert np.array_equal(pixels("a.png"), sheet.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("options, same", [
    (("--labels", 2), {"seeds": range(32), "labels": 2}),
    (("--labels", "0-2", "--guidance", 2.5), {"seeds": range(3), "labels": [0, 1, 2],
                                              "guidance": 2.5}),
    (("--labels", "2,0,0,1", "--seeds", "5-8", "--eta", 1, "--batch-size", 3),
     {"seeds": [5, 6, 7, 8], "labels": [2, 0, 0, 1], "eta": 1, "batch_size": 3}),
    (("--labels", 1, "--n", 2, "--order", 2, "--guidance", 0),
     {"seeds": [0, 1], "labels": 1, "order": 2, "guidance": 0}),
])
def test_pictures_by_their_labels_are_the_librarys(options, same, ddim):
    code, out, err = ddim("sample", "--weights", "labelled.safetensors", "--steps", 3, *options,
                          "--out", "a.safetensors", "--device", "cpu")
    assert (code, err) == (0, "") and f"guidance {same.get('guidance', 1):g} (trailing)" in out
    expected = ddim_lib.sample(tiny(classes=3), ddim_lib.linear(), steps=3, **same)
    assert torch.equal(load_file("a.safetensors")["images"], expected)
    facts, labels = read_facts("a.safetensors"), same["labels"]
    wanted = [labels] * len(expected) if isinstance(labels, int) else labels
    assert (facts["labels"], facts["guidance"]) == (wanted, same.get("guidance", 1))


def test_the_batch_size_changes_no_picture(ddim, tmp_path):
    for size in (2, 64):
        ddim("sample", "--weights", "colour.safetensors", "--n", 5, "--steps", 4, "--eta", 1,
             "--batch-size", size, "--out", f"{size}.npy", "--out", f"{size}.gif")
    assert np.load("2.npy").shape == (5, 3, 8, 8)
    np.testing.assert_allclose(np.load("2.npy"), np.load("64.npy"), atol=1e-4)
    assert len(gif_frames("2.gif", 100)) == len(gif_frames("64.gif", 100)) == 5 + 20


@pytest.mark.parametrize("show", ["both", "x", "x0"])
def test_a_film_shows_the_walk(show, ddim):
    ddim("sample", "--weights", "tiny.safetensors", "--n", 3, "--steps", 6, "--columns", 2,
         "--scale", 1, "--show", show, "--fps", 5, "--out", "way.gif", "--out", "way.mp4")
    walk = list(ddim_lib.sample_iter(tiny(), ddim_lib.linear(), seeds=range(3), steps=6))
    shown = gif_frames("way.gif")
    assert len(shown) == 7 + 10  # two seconds more of the last
    for i, now in enumerate(walk):
        x, x0 = tile(now.x, 2), tile(now.x0, 2)
        wanted = {"x": x, "x0": x0,
                  "both": np.hstack([x, np.full((18, 8), 255, np.uint8), x0])}[show]
        assert np.array_equal(shown[i], wanted), i
    assert np.array_equal(shown[-1], wanted)
    frames = film_frames("way.mp4")
    assert len(frames) == 7 + 10
    assert frames[0].shape[:2] == (18, 44 if show == "both" else 18)
    assert np.abs(frames[-1][..., 0].astype(int) - wanted).mean() < 16
    assert np.array_equal(frames[-1], frames[7])


def gif_frames(path, milliseconds=200):
    """One frame for each such time: Pillow joins equal ones."""
    with Image.open(path) as film:
        assert film.info["loop"] == 0  # for ever
        frames = []
        for i in range(film.n_frames):
            film.seek(i)
            frame = np.array(film.convert("L"))
            frames += [frame] * round(film.info["duration"] / milliseconds)
    return frames


def film_frames(path):
    import imageio_ffmpeg

    reader = imageio_ffmpeg.read_frames(str(path))
    width, height = next(reader)["size"]
    return [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader]


@pytest.mark.parametrize("spoilt_by", [float("nan"), float("inf")])
def test_pictures_that_are_not_finite_are_not_written(spoilt_by, ddim, tmp_path, monkeypatch):
    """As they come from a GPU, where no step is looked at."""
    def spoilt(*_, seeds, **__):
        x = torch.zeros(len(seeds), 1, 8, 8)
        yield Step(1, x, x, x)
        x = x.clone()
        x[-1, 0, 2, 3] = spoilt_by
        yield Step(0, x, x, None)

    monkeypatch.setattr(ddim_lib, "sample_iter", spoilt)
    before = files(tmp_path)
    assert_error(ddim("sample", "--weights", "tiny.safetensors", "--n", 2, "--steps", 1, "--out",
                      "x.npy", "--out", "x.png"),
                 "must be finite, got NaN or infinity 1 times, first at (1, 0, 2, 3)")
    assert files(tmp_path) == before


def test_a_long_walk_makes_a_short_film_with_both_its_ends(ddim):
    ddim("sample", "--weights", "tiny.safetensors", "--n", 1, "--steps", 40, "--frames", 5,
         "--show", "x", "--scale", 1, "--out", "way.gif")
    walk = list(ddim_lib.sample_iter(tiny(), ddim_lib.linear(), seeds=[0], steps=40))
    shown = gif_frames("way.gif", 100)
    assert len(shown) == 5 + 20
    for frame, step in enumerate((0, 10, 20, 30, 40)):
        assert np.array_equal(shown[frame], tile(walk[step].x, 1)), frame


def test_colours_stay_colours():
    """256 colours a frame are a GIF's limit, not the frames' own."""
    x = to_uint8(torch.rand(2, 3, 8, 8) * 2 - 1)
    frame = moment((x, x), "both", 2, 1)
    assert frame.shape == (8, 18 + 8 + 18, 3)
    assert np.array_equal(frame[:, :18], tile(to_float(x), 2))


# interpolate --------------------------------------------------------------------------------------

@pytest.mark.equation("8.1", "8.2")
@pytest.mark.parametrize("option", ["--slerp", "--lerp"])
def test_an_interpolation_goes_from_one_seeds_picture_to_the_others(option, ddim):
    code, _, err = ddim("interpolate", "--weights", "tiny.safetensors", "--seeds", "3,8", option,
                        "--frames", 5, "--steps", 4, "--out", "a.npy", "--out", "a.png",
                        "--out", "a.gif", "--scale", 1)
    assert (code, err) == (0, "")
    a, b = ddim_lib.noise_from_seeds([3, 8], (1, 8, 8)).split(1)
    between = ddim_lib.slerp if option == "--slerp" else torch.lerp
    start = torch.cat([between(a, b, u) for u in (0, 0.25, 0.5, 0.75, 1)])
    expected = ddim_lib.sample(tiny(), ddim_lib.linear(), x_T=start, steps=4)
    assert np.array_equal(np.load("a.npy"), expected.numpy())
    ends = ddim_lib.sample(tiny(), ddim_lib.linear(), seeds=[3, 8], steps=4)
    torch.testing.assert_close(expected[[0, -1]], ends, rtol=0, atol=1e-3)
    assert np.array_equal(pixels("a.png"), tile(expected, 5))
    shown = gif_frames("a.gif", 100)
    assert len(shown) == 5 + 20
    assert np.array_equal(shown[3], tile(expected[3:4], 1))


def test_a_grid_has_its_four_seeds_in_its_corners(ddim):
    code, out, _ = ddim("interpolate", "--weights", "tiny.safetensors", "--grid", "--seeds",
                        "3,8,5,7", "--frames", 3, "--steps", 4, "--out", "a.npy", "--out", "a.png")
    assert code == 0 and "9 pictures between seeds 3, 8, 5, 7" in out
    images = torch.from_numpy(np.load("a.npy"))
    corners = ddim_lib.sample(tiny(), ddim_lib.linear(), seeds=[3, 8, 5, 7], steps=4)
    torch.testing.assert_close(images[[0, 2, 6, 8]], corners, rtol=0, atol=1e-3)
    a, b, c, d = ddim_lib.noise_from_seeds([3, 8, 5, 7], (1, 8, 8)).split(1)
    middle = ddim_lib.slerp(ddim_lib.slerp(a, c, 0.5), ddim_lib.slerp(b, d, 0.5), 0.5)
    expected = ddim_lib.sample(tiny(), ddim_lib.linear(), x_T=middle, steps=4)
    torch.testing.assert_close(images[4:5], expected, rtol=0, atol=1e-3)
    assert pixels("a.png").shape == (56, 56)


# encode -------------------------------------------------------------------------------------------

@pytest.fixture
def ten(tmp_path):
    """Ten grey pictures of 8x8 in pictures/, and what is in them."""
    images = numbers(10, 8, 8, seed=1)
    packed(tmp_path / "pictures", {f"{i}.png": png(image) for i, image in enumerate(images)})
    return to_float(torch.from_numpy(images)[:, None])


@pytest.mark.parametrize("convention", ["source", "destination"])
def test_pictures_are_encoded_and_decoded_as_by_the_library(convention, ddim, ten):
    code, out, err = ddim("encode", "pictures", "--weights", "tiny.safetensors", "--steps", 5,
                          "--convention", convention, "--batch-size", 3, "--scale", 1,
                          "--out", "noise.safetensors", "--decode", "both.png")
    assert (code, err) == (0, "")
    model, schedule = tiny(), ddim_lib.linear()
    latents = ddim_lib.encode(model, schedule, ten, steps=5, convention=convention)
    stored = load_file("noise.safetensors")["latents"]
    torch.testing.assert_close(stored, latents, rtol=1e-4, atol=1e-4)
    facts = read_facts("noise.safetensors")
    assert facts["convention"] == convention and facts["pictures"][:2] == ["0.png", "1.png"]
    back = ddim_lib.sample(model, schedule, x_T=stored, steps=5)
    error = ((back - ten) / 2).square().mean().item()
    assert f"mean squared error {error:.3g} (pixels in [0, 1])" in out
    white = torch.ones(6, 1, 8, 8)
    rows = torch.cat([ten[:8], back[:8], ten[8:], white, back[8:], white])
    assert np.abs(pixels("both.png").astype(int) - tile(rows, 8)).max() <= 1


@pytest.mark.parametrize("place", ["strange", "strange.zip", "strange.tar"])
def test_of_a_folder_or_an_archive_is_read_what_training_reads(place, ddim, tmp_path):
    """What a program left beside the pictures is none; a folder may be called as a picture is."""
    pictures = {name: png(numbers(8, 8, seed=i)) for i, name in enumerate(
        ("b.png", "sub/A.PNG", "x.png/c.png"))}
    left = ("._b.png", "__MACOSX/._b.png", "__MACOSX/d.png", ".cache/e.png", "notes.txt")
    packed(tmp_path / place, pictures | dict.fromkeys(left, b"no picture"))
    assert ddim("encode", place, "--weights", "tiny.safetensors", "--steps", 2, "--out",
                "a.safetensors")[0] == 0
    assert read_facts("a.safetensors")["pictures"] == sorted(pictures)
    x0 = to_float(load_folder(place, 8, 1))
    latents = ddim_lib.encode(tiny(), ddim_lib.linear(), x0, steps=2)
    assert torch.equal(load_file("a.safetensors")["latents"], latents)


def test_files_may_be_named_singly(ddim, ten):
    for out in ("a.npy", "a.safetensors"):
        assert ddim("encode", "pictures/3.png", "pictures/1.png", "--weights", "tiny.safetensors",
                    "--steps", 2, "--out", out)[0] == 0
    latents = ddim_lib.encode(tiny(), ddim_lib.linear(), ten[[3, 1]], steps=2)
    assert np.array_equal(np.load("a.npy"), latents.numpy())
    assert torch.equal(load_file("a.safetensors")["latents"], latents)


def test_a_picture_is_changed_only_when_that_is_asked(ddim):
    grey = numbers(64, 64)
    Image.fromarray(grey).save("large.png")
    Image.fromarray(np.stack([grey, grey, 255 - grey], 2)[:8, :8]).save("coloured.png")
    Image.fromarray(np.stack([grey] * 3, 2)[:8, :8]).save("grey in colours.png")
    command = ("encode", "--weights", "tiny.safetensors", "--steps", 2, "--out", "noise.npy")
    assert_error(ddim(*command, "large.png"), "must be 8x8 grey for this network",
                 "large.png is 64x64 grey", "--resize makes it fit")
    assert_error(ddim(*command, "coloured.png"), "8x8 grey", "coloured.png is 8x8 colour")
    assert_error(ddim("encode", "--steps", 2, "--out", "noise.npy", "large.png"), "28x28 grey",
                 "is 64x64")
    assert ddim(*command, "large.png", "coloured.png", "--resize")[0] == 0
    assert np.load("noise.npy").shape == (2, 1, 8, 8)
    assert ddim(*command, "grey in colours.png")[0] == 0
    x0 = to_float(torch.from_numpy(grey[:8, :8].copy())[None, None])
    expected = ddim_lib.encode(tiny(), ddim_lib.linear(), x0, steps=2)
    assert np.array_equal(np.load("noise.npy"), expected.numpy())
    assert ddim("encode", "--weights", "colour.safetensors", "--steps", 2, "--out", "c.npy",
                "grey in colours.png")[0] == 0
    assert np.load("c.npy").shape == (1, 3, 8, 8)


# evaluate -----------------------------------------------------------------------------------------

def test_a_distance_stands_beside_its_floor(ddim, tmp_path):
    command = ("evaluate", "--seeds", "3-6", "--steps", 2, "--eta", 1, "--device", "cpu",
               "--out", "new/q.json")
    code, out, err = ddim(*command)
    assert (code, err) == (0, "")
    found = json.loads((tmp_path / "new" / "q.json").read_text())
    model, schedule = ddim_lib.load_pretrained("mnist")
    digits = ddim_lib.sample(model, schedule, seeds=range(3, 7), steps=2, eta=1)
    embedded, _ = load("digits")
    order = torch.randperm(5000, generator=torch.Generator().manual_seed(0))[:4]
    for space in SPACES:
        distance = FrechetDistance(space=space)
        told = found[space]
        assert told["distance"] == pytest.approx(distance(digits), abs=2e-3)
        assert told["floor"] == pytest.approx(distance(embedded[order]), abs=2e-3)
        assert told["floor"] < told["distance"] or space != "classifier"  # four say little
        assert 0 <= told["precision"] <= 1 and 0 <= told["recall"] <= 1
        assert f"{space:10} distance {told['distance']}, floor {told['floor']}, " in out
    assert found["floor_of"].startswith("4 of 5,000 embedded digits")
    assert (found["n"], found["seeds"], found["steps"], found["eta"]) == (4, "3-6", 2, 1)
    assert found["reference"] == "60,000 MNIST training digits" and found["weights"] == "mnist"
    assert {"hardware", "seconds", "torch", "library", "date"} <= found.keys()
    for value in found.values():
        assert isinstance(value, dict) or f" {value}\n" in out


def test_every_command_notes_the_steps_that_were_asked_for(ddim, ten, monkeypatch):
    """Of 100 quadratic ones some fall on one level, so that there are 96 calls."""
    monkeypatch.setattr(cli_evaluate, "sample_together",
                        lambda *_, seeds, **__: torch.zeros(len(seeds), 1, 28, 28))
    monkeypatch.setattr("ddim_lib.metrics.judge", lambda *_: {})
    walk = ("--steps", 100, "--spacing", "quadratic")
    assert ddim("evaluate", *walk, "--n", 4, "--out", "a.json")[0] == 0
    found = json.loads(Path("a.json").read_text())
    assert (found["steps"], found["calls"]) == (100, 96)
    for command, options in (("sample", ("--n", 1)), ("interpolate", ("--frames", 2)),
                             ("encode", ("pictures/1.png",))):
        assert ddim(command, *options, *walk, "--weights", "tiny.safetensors", "--out",
                    f"{command}.safetensors")[0] == 0
        assert read_facts(f"{command}.safetensors")["steps"] == 100


def test_the_floor_is_of_mnist_where_it_is_there(ddim, tmp_path):
    images, _ = write_mnist(tmp_path / "data", "MNIST")["train"]
    real, of = cli_evaluate.real_digits(4)
    assert of == "4 of 7 MNIST training digits, seed 0"
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))[:4]
    assert torch.equal(real, to_float(torch.from_numpy(images)[order]))
    assert cli_evaluate.real_digits(8) == (
        None, "none: there are 7 MNIST training digits, fewer than n = 8")


def test_without_mnist_there_is_no_floor_beyond_the_embedded_digits(ddim):
    real, of = cli_evaluate.real_digits(5001)
    assert real is None and of.startswith("none: there are 5,000 embedded digits")


# weights ------------------------------------------------------------------------------------------

def test_the_weights_are_listed_and_described(ddim):
    code, out, _ = ddim("weights", "list")
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert code == 0 and set(available()) < lines.keys()
    assert "1x28x28" in lines["mnist"] and "0.81 M" in lines["mnist"] and "3.3 MB" in lines["mnist"]
    assert "3x64x64" in lines["anime-faces"] and "cifar10" in out.splitlines()[-1]
    code, out, _ = ddim("weights", "info", "mnist", "--json")
    facts = json.loads(out)
    assert facts == {"file": "mnist.safetensors", "parameters": 810_817, **read_facts(SHIPPED)}
    code, out, _ = ddim("weights", "info", "tiny.safetensors")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert lines["seed"] == "4" and "resolution 8" in lines["unet"]
    assert int(lines["parameters"]) == sum(p.numel() for p in tiny().parameters())


def test_the_responses_of_a_network_are_printed(ddim, tmp_path):
    model, schedule = ddim_lib.load_weights("tiny.safetensors")
    save_weights(tmp_path / "spread.safetensors", model, schedule, spread=0.2)
    code, out, _ = ddim("weights", "info", "spread.safetensors", "--json", "--responses")
    found = json.loads(out)["responses"]
    T = schedule.T
    wanted = {}
    for t in (T, round(0.9 * T)):
        wanted |= {f"amplitude at t = {t}": amplitude_response(model, t),
                   f"mean at t = {t}": mean_response(model, t),
                   f"right mean at t = {t}": exact_mean_response(schedule.at(t), 0.2, 64)}
    assert code == 0 and found == pytest.approx(wanted, abs=1e-3)
    code, out, _ = ddim("weights", "info", "tiny.safetensors", "--responses")
    assert code == 0 and f"amplitude at t = {T} " in out and "right mean" not in out


def test_weights_go_to_diffusers_and_back(ddim, tmp_path):
    assert ddim("weights", "convert", "colour.safetensors", "new/there")[0] == 0
    assert {"config.json", "diffusion_pytorch_model.safetensors"} <= set(
        path.name for path in (tmp_path / "new" / "there").iterdir())
    assert ddim("weights", "convert", "new/there", "back.safetensors")[0] == 0
    assert ddim("weights", "convert", "colour.safetensors", "half.safetensors", "--half")[0] == 0
    facts = read_facts("half.safetensors")
    assert facts["seed"] == 5 and facts["converted_from"] == "colour.safetensors"
    x, model = torch.randn(2, 3, 8, 8), tiny(3)
    for name, tolerance in (("back", 0), ("half", 0.05)):
        again, schedule = ddim_lib.load_weights(f"{name}.safetensors")
        assert schedule.to_dict() == ddim_lib.linear(20, 0.01, 0.3).to_dict()
        torch.testing.assert_close(again(x, 7), model(x, 7), rtol=0, atol=tolerance)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * (
        tmp_path / "back.safetensors").stat().st_size


@pytest.mark.slow
def test_a_folder_for_a_hub_for_each_network(ddim):
    code, out, err = ddim("weights", "hub", "models")
    assert code == 0, err
    assert sorted(out.split()) == sorted(str(Path("models") / name) for name in available())
    assert_error(ddim("weights", "hub", "models"), "OUT", "must be new or empty")
    for name in available():
        _, facts, text = card_of(name).split("---\n", 2)
        facts = yaml.safe_load(facts)
        ours = name == "mnist-labels"
        assert facts["library_name"] == ("ddim-lib" if ours else "diffusers")
        assert facts["license"] == "mit" and f"# {name}\n" in text
        assert (Path("models") / name / f"{name}.safetensors").is_file() == ours
    code = re.search("```python\n(.*?)```", card_of("mnist"), re.S)[1]
    space = {}
    exec(code.replace('"mnist"', '"models/mnist"').replace("steps=20", "steps=2"), space)
    assert space["pipeline"].unet.config.sample_size == 28
    code = re.search("```python\n(.*?)```", card_of("mnist-labels"), re.S)[1]
    exec(code.replace("mnist-labels.s", "models/mnist-labels/mnist-labels.s")
         .replace("steps=20", "steps=2"), space)
    assert space["x"].shape == (10, 1, 28, 28)


def card_of(name):
    return (Path("models") / name / "README.md").read_text("utf-8")


def test_a_checkpoint_in_the_original_names_becomes_ours(ddim, tmp_path):
    model = ddim_lib.UNet(ddim_lib.UNetConfig(16, 1, 32, (1, 2), 1, (8,)))
    torch.save(model.state_dict(), "model.ckpt")
    (tmp_path / "net.json").write_text(json.dumps(model.config.to_dict()))
    command = ("weights", "convert", "model.ckpt", "model.safetensors")
    assert_error(ddim(*command), "'IN'", "config must be given for model.ckpt",
                 "(--config: cifar10, or a JSON file)")
    assert_error(ddim(*command, "--config", "cifar10"), "does not fit", "it lacks", "tensors")
    assert ddim(*command, "--config", "net.json")[0] == 0
    again, _ = ddim_lib.load_weights("model.safetensors")
    assert again.config == model.config
    assert_same(again.state_dict(), model.state_dict())
    assert read_facts("model.safetensors")["converted_from"] == "model.ckpt"


def test_of_averaged_and_raw_weights_the_averaged_are_taken(ddim, tmp_path):
    (tmp_path / "net.json").write_text(json.dumps(tiny().config.to_dict()))
    raw, ema = (ddim_lib.UNet(tiny().config).state_dict() for _ in range(2))
    torch.save([raw, {}, 0, 0, ema], "both.pth")
    torch.save([raw, {}, 0, 0], "raw.pth")
    for file, options, wanted in (("both", (), ema), ("both", ("--raw",), raw),
                                  ("raw", ("--raw",), raw)):
        assert ddim("weights", "convert", f"{file}.pth", "x.safetensors", "--config", "net.json",
                    *options)[0] == 0
        assert_same(ddim_lib.load_weights("x.safetensors")[0].state_dict(), wanted)
    assert_error(ddim("weights", "convert", "raw.pth", "y.safetensors"), "'IN'", "holds no EMA",
                 "(--raw) takes the raw weights")


def test_long_work_shows_a_bar_unless_the_reader_forbids_it(ddim):
    command = [sys.executable, "-m", "ddim_lib", "sample", "--weights", "tiny.safetensors", "--n",
               "1", "--steps", "2", "--out", "x.png"]
    environment = {k: v for k, v in os.environ.items() if k != "TQDM_DISABLE"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "network calls: 100%" in done.stderr and "2/2" in done.stderr
    assert "network calls" not in done.stdout


# The program --------------------------------------------------------------------------------------

def test_the_program_itself(ddim):
    code, out, err = ddim()
    assert (code, err) == (0, "") and "Usage: ddim" in out
    assert ddim("--version")[1] == f"ddim {ddim_lib.__version__}\n"
    assert "Usage: ddim weights" in ddim("weights")[1]
    result = ddim("sample", "--weights", "none.safetensors", "--out", "x.png")
    assert_error(result)
    done = subprocess.run([sys.executable, "-m", "ddim_lib", "sample", "--weights",
                           "none.safetensors", "--out", "x.png"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", result[2])


def raises(error):
    raise error


@pytest.mark.parametrize("error", [KeyError("a bug"), ImportError("cannot import name 'x'")])
def test_a_bug_of_ours_keeps_its_traceback(error, monkeypatch, ddim):
    monkeypatch.setattr(ddim_lib, "noise_from_seeds", lambda *_, **__: raises(error))
    with pytest.raises(type(error)) as found:
        main(["interpolate", "--weights", "tiny.safetensors", "--out", "x.png"])
    assert found.value is error


def test_a_traceback_can_be_asked_for(monkeypatch, ddim):
    monkeypatch.setattr(ddim_lib, "noise_from_seeds",
                        lambda *_, **__: raises(ValueError("what it says")))
    command = ("interpolate", "--weights", "tiny.safetensors", "--out", "x.png")
    assert ddim(*command) == (2, "", "Error: what it says\n")
    with pytest.raises(ValueError, match="what it says"):
        main(["--traceback", *command])


@pytest.mark.parametrize("full", [
    lambda: raises(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\n many lines")),
    lambda: torch.empty(1 << 50), lambda: torch.empty(1 << 62), lambda: np.empty(1 << 50),
    lambda: raises(RuntimeError("MPS backend out of memory (MPS allocated: 4 GB ..)")),
    lambda: raises(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `..`"))],
    ids=["cuda", "cpu", "cpu overflow", "numpy", "mps", "cublas"])
def test_out_of_memory_names_the_way_out(full, monkeypatch, ddim):
    monkeypatch.setattr(together, "sample", lambda *_, **__: full())
    assert_error(ddim("interpolate", "--weights", "tiny.safetensors", "--out", "x.png"),
                 "a smaller --batch-size may help")


def test_ctrl_c_leaves_no_file(monkeypatch, ddim, tmp_path):
    before = files(tmp_path)
    monkeypatch.setattr(together, "sample", lambda *_, **__: raises(KeyboardInterrupt))
    code, out, err = ddim("interpolate", "--weights", "tiny.safetensors", "--out", "x.png")
    assert (code, out, err.strip()) == (130, "", "Stopped.")
    assert files(tmp_path) == before


def test_a_file_is_replaced_by_the_new_one(ddim):
    for n, width in ((1, 16), (2, 36)):
        assert ddim("sample", "--weights", "tiny.safetensors", "--steps", 2, "--n", n,
                    "--out", "x.png")[0] == 0
        assert pixels("x.png").shape == (16, width)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_json_cannot_hold_is_not_written(number, tmp_path):
    path = tmp_path / "old"
    path.write_text("older numbers")
    with pytest.raises(ValueError, match="JSON"):
        output.write_json("--out", path, {"distance": number})
    with pytest.raises(TypeError, match="eta must be what JSON can hold, .*JSON"):
        output.write_tensor("--out", path, "x", torch.zeros(1), eta=number)
    assert files(tmp_path) == {"old": b"older numbers"}


def test_a_missing_extra_is_named_before_the_work(monkeypatch, ddim):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setattr(ddim_lib, "sample_iter", None)
    assert_error(ddim("sample", "--weights", "tiny.safetensors", "--out", "x.mp4"),
                 ".mp4 needs imageio-ffmpeg", 'pip install "ddim-lib[video]"', ".gif does not")


def test_published_weights_are_fetched_only_when_asked(monkeypatch, ddim):
    asked = []

    def load(name, device, variant, path, download):
        asked.append((name, download))
        return tiny(), ddim_lib.linear()

    monkeypatch.setattr("ddim_lib.weights.published.load", load)
    for weights, *extra in [("cifar10",), ("mnist", "--download"), ("cifar10", "--download")]:
        assert ddim("sample", "--weights", weights, *extra, "--n", 1, "--steps", 1,
                    "--out", "x.png")[0] == 0
    assert asked == [("cifar10", False), ("cifar10", True)]
