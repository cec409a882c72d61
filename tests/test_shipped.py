"""What ships is small and says what it is: each weights file has a card, each result an origin."""

import json
import math
import re
from pathlib import Path

import pytest
import torch

import ddim_lib
from ddim_lib.datasets import load
from ddim_lib.presets import PRESETS
from ddim_lib.responses import amplitude_response, exact_mean_response, mean_response
from ddim_lib.storage.folders import data_folder
from ddim_lib.training import TrainingConfig, noise_prediction_loss
from ddim_lib.unet import UNetConfig
from ddim_lib.weights import read_facts

WEIGHTS = sorted((data_folder() / "weights").glob("*.safetensors"))
RESULTS = sorted((data_folder() / "results").glob("*.json"))
NETWORKS = ddim_lib.available()
LARGEST = 20_000_000  # bytes a file
SHORTER = {"steps", "batch_size", "lr", "warmup", "ema_decay", "mean_weight", "seed"}
JUDGED = {"mnist": {"classifier", "plain", "pixels"},
          "mnist-eps": {"distance", "floor_train", "floor_test", "noise", "share_above_0.9"}}
ORIGIN = {"hardware", "torch", "commit", "date"}
# What else a record says that holds such a key, somewhere.
NEEDS = {"distance": {"n", "seeds", "weights", "extractor", "reference"},
         "classifier": {"n", "seeds", "weights", "extractor", "reference", "precision"},
         "check": {"precision", "floor_train", "floor_test"},
         "share_above_0.9": {"floor_train"},
         "half_way": {"n", "seeds", "weights", "extractor", "S"},
         "rms": {"n", "seeds", "weights", "extractor", "against"},
         "mse": {"n", "weights", "precision"},
         "grain": {"seeds", "weights"},
         "error_of_the_mean_picture": {"n", "seeds", "weights", "images", "levels"}}


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def card_of(name: str) -> str:
    """A network's card, its lines joined."""
    return re.sub(r"\s+", " ", (data_folder() / "weights" / f"{name}.md").read_text())


def keys(found) -> set[str]:
    """Every key of a record, at any depth."""
    if isinstance(found, dict):
        return set(found).union(*map(keys, found.values()))
    return set().union(*map(keys, found)) if isinstance(found, list) else set()


def test_the_networks_that_chapters_use_are_there():
    assert NETWORKS == ["anime-faces", "cifar10-small", "kkanji", "mnist-eps", "mnist-labels",
                        "mnist"]


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.stem)
def test_weights_are_small_enough_to_ship_and_have_a_card(path):
    assert path.stat().st_size <= LARGEST
    assert path.with_suffix(".md").read_text().startswith(f"# {path.stem}\n")


def test_the_default_network_is_small():
    """At most 5 MB, below a million parameters, at most 0.3 GFLOP an image."""
    from torch.utils.flop_counter import FlopCounterMode

    model, _ = ddim_lib.load_pretrained("mnist")
    assert (data_folder() / "weights" / "mnist.safetensors").stat().st_size <= 5e6
    assert 0.5e6 < sum(p.numel() for p in model.parameters()) < 1e6
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 1, 28, 28), 500)
    assert 0.1e9 < counter.get_total_flops() <= 0.3e9


def test_no_pickle_ships():
    """safetensors run no code when they are read."""
    for folder in ("weights", "stats"):
        files = [p for p in (data_folder() / folder).rglob("*") if p.is_file()]
        assert files
        assert {p.suffix for p in files} <= {".safetensors", ".md"}
        for path in files:
            if path.suffix == ".safetensors":
                assert read_facts(path)


def test_nothing_is_left_to_be_filled_in():
    """A line of capitals alone, or capitals where a number belongs, is a note to oneself."""
    root = Path(__file__).resolve().parent.parent
    pages = [*root.glob("*.md"), *root.glob("data/**/*.md"), *root.glob("book/*.md")]
    chapters = {path: "\n".join("".join(c["source"]) for c in read(path)["cells"])
                + json.dumps([c["metadata"] for c in read(path)["cells"]])
                for path in root.glob("book/*.ipynb")}
    texts = {path: path.read_text() for path in pages} | chapters
    # The glossary's terms stand alone on their lines.
    note = re.compile(r"^(P\d*|(?!DDIM|DDPM|MNIST)[A-Z]{4,})$|\bALT\d"
                      r"|\b(SECONDS|TODO|FIXME|XXX|TBD|QUALITY)\b", re.MULTILINE)
    found = {path.name: note.search(text)[0] for path, text in texts.items() if note.search(text)}
    assert found == {}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_card_says_what_the_file_says(name):
    path = data_folder() / "weights" / f"{name}.safetensors"
    facts = read_facts(path)
    model, schedule = ddim_lib.load_pretrained(name)
    told = [f"{sum(p.numel() for p in model.parameters()):,} parameters",
            f"{facts['training']['steps']:,} steps of {facts['training']['batch_size']} "
            f"({facts['epochs']:.1f} epochs)",
            f"{facts['seconds']:,} s on one "
            f"{'NVIDIA H100' if 'H100' in facts['hardware'] else 'CPU core'}",
            facts["commit"], facts["date"],
            f"{facts['final_loss']:.4f}", f"EMA {facts['training']['ema_decay']}",
            f"{path.stat().st_size / 1e6:.1f} MB", f"seed {facts['training']['seed']}"]
    card = card_of(name)
    assert [phrase for phrase in told if phrase not in card] == []
    assert (schedule.name, schedule.T, model.config.label_offset) == ("linear", 1000, 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_tells_its_history_and_is_its_preset(name):
    facts, preset = read_facts(data_folder() / "weights" / f"{name}.safetensors"), PRESETS[name]
    run = facts["training"]
    assert {"data", "precision", "torch", "library"} <= facts.keys()
    assert facts["weights"] == "EMA" and facts["preset"] == name
    epochs = run["steps"] * run["batch_size"] / facts["images"]
    assert facts["epochs"] == pytest.approx(epochs, rel=0.01)
    assert UNetConfig(**facts["unet"]) == preset.unet
    # Compiled or not is a machine's choice; what began with another's weights ran shorter.
    free = {"compile"} | (SHORTER if "start" in facts else set())
    ran = vars(TrainingConfig(**run))
    assert {key for key in ran if ran[key] != vars(preset.training)[key]} <= free
    assert {"n", "S", "eta", "spacing", *JUDGED[name]} <= facts["quality"].keys() \
        if name in JUDGED else "quality" not in facts


@pytest.mark.parametrize("name", JUDGED)
def test_a_network_predicts_the_noise_of_real_digits(name):
    """Noise that it has not seen, in digits: a mean error like that of its training."""
    model, schedule = ddim_lib.load_pretrained(name)
    facts = read_facts(data_folder() / "weights" / f"{name}.safetensors")
    with torch.no_grad():
        loss = noise_prediction_loss(model, schedule, load("digits")[0][::20],
                                     torch.Generator().manual_seed(0),
                                     facts["training"].get("loss_weight", "1"))
    assert loss.item() == pytest.approx(facts["final_loss"], rel=0.25)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_names_most_of_the_noise(name):
    """At t = 500 of a constant grey picture: far better than the 1.0 of a network that says 0."""
    model, schedule = ddim_lib.load_pretrained(name)
    noise = torch.randn(2, *model.image_shape, generator=torch.Generator().manual_seed(0))
    x_t = schedule.add_noise(torch.full_like(noise, -1.0 if model.config.in_channels == 1 else 0.0),
                             500, noise)
    with torch.no_grad():
        error = (model(x_t, 500) - noise).square().mean().item()
    assert error < 0.1


@pytest.mark.parametrize("name", [n for n in NETWORKS if ddim_lib.load_pretrained(n)[0]
                                  .config.prediction_type == "v_prediction"])
@pytest.mark.parametrize("t", [1000, 900])
def test_a_network_in_the_v_form_follows_amplitude_and_mean_of_the_noise(name, t):
    """The two numbers of its card: 1 within 2 %, and the exact slope within 5 %."""
    model, schedule = ddim_lib.load_pretrained(name)
    path = data_folder() / "weights" / f"{name}.safetensors"
    amplitude, mean = amplitude_response(model, t), mean_response(model, t)
    exact = exact_mean_response(schedule.at(t), read_facts(path)["spread"],
                                model.config.resolution**2)
    assert amplitude == pytest.approx(1, abs=0.02)
    assert mean == pytest.approx(exact, rel=0.05)
    assert f"| {t} | {amplitude:.3f} | {mean:.3f} | {exact:.3f} |" in card_of(name)


@pytest.mark.parametrize("t", [1000, 900])
def test_the_network_by_the_plain_recipe_does_not_follow(t):
    """What chapter 7 shows of mnist-eps, and its card says."""
    model, schedule = ddim_lib.load_pretrained("mnist-eps")
    spread = read_facts(data_folder() / "weights" / "mnist.safetensors")["spread"]  # same data
    amplitude, mean = amplitude_response(model, t), mean_response(model, t)
    assert amplitude < 0.97
    exact = exact_mean_response(schedule.at(t), spread, model.config.resolution**2)
    assert f"| {t} | {amplitude:.3f} | {mean:.3f} | {exact:.3f} |" in card_of("mnist-eps")


def test_at_high_levels_a_network_in_the_v_form_is_better_than_the_mean_picture():
    """Its x_0-prediction, by over twice the standard error; that of the plain recipe is not."""
    result = read(data_folder() / "results" / "high-levels.json")
    assert {row["weights"] for row in result["rows"]} == set(NETWORKS) - {"mnist-labels"}
    for row in result["rows"]:
        better = row["difference"] > 2 * row["standard_error"]
        assert better == (row["weights"] != "mnist-eps")
        errors = f"{row['error']:.4f}", f"{row['error_of_the_mean_picture']:.4f}"
        assert set(errors) <= set(re.findall(r"\d\.\d{4}", card_of(row["weights"])))


@pytest.mark.parametrize("name", ["kkanji", "anime-faces", "cifar10-small"])
def test_grain_and_spread_are_near_those_of_the_training_pictures(name):
    """With eta 0 and 50 steps, within 15 %, at 48 or at 192 samples; the card has both."""
    result, card = read(data_folder() / "results" / f"{name}-texture.json"), card_of(name)
    real, *samples = result["rows"]
    few, many = (next(row for row in samples if (row["n"], row["eta"]) == (n, 0)
                      and "order" not in row) for n in (48, 192))
    assert any(all(row[number] == pytest.approx(real[number], rel=0.15)
                   for number in ("grain", "spread")) for row in (few, many))
    assert (f"the grain is {many['grain']:.4f} and the spread {many['spread']:.4f}; training "
            f"pictures have {real['grain']:.4f} and {real['spread']:.4f}") in card
    told = {"training pictures": real} | {f"{name}, eta {row['eta']:g}": row for row in samples
                                          if row["n"] == 48}
    assert len(told) == 4
    for called, row in told.items():
        assert f"| {called} | {row['spread']:.3f} | {row['grain']:.3f} |" in card
    none, fresh = read(data_folder() / "results" / f"{name}-pixels.json")["rows"]
    for text in (f"{none['distance']:.1f} with eta 0 and {fresh['distance']:.1f} with eta 1",
                 f"Precision is {none['precision']:.2f} and {fresh['precision']:.2f}, recall "
                 f"{none['recall']:.2f} and {fresh['recall']:.2f}"):
        assert text in card


@pytest.mark.parametrize("name, record", [("mnist-eps", "mnist-eps-judges-5000"),
                                          ("mnist", "mnist-table"), ("mnist", "mnist-judges")])
def test_a_card_s_table_of_judges_is_its_record(name, record):
    result, card = read(data_folder() / "results" / f"{record}.json"), card_of(name)
    rows = {f"S = {row['S']}, eta {row['eta']:g}": row for row in result["rows"]
            if row.get("order", 1) == 1 and row["eta"] in (0, 1)}
    assert rows
    rows[f"{result['n']:,} other training digits"] = result["real"]["training digits"]
    for called, row in rows.items():
        judged = " | ".join("{distance:.2f}, {precision:.2f}, {recall:.2f}".format(**row[space])
                            for space in ("classifier", "plain", "pixels"))
        assert f"{called} | {judged} |" in card


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_result_says_where_it_comes_from(path):
    result = read(path)
    if path.stem == "chapter-times":  # each chapter on a machine and a day of its own
        for run in result.values():
            assert {"processor", "cores", "threads", "date", "torch", "python"} <= run.keys()
            assert not {"unknown", "", "x", None} & set(map(str, run.values()))
        return
    # A benchmark that quotes distances names their record, which says the rest.
    told = read(path.with_name(result["distances"])) if "distances" in result else result
    for key in keys(result) & NEEDS.keys():
        assert NEEDS[key] - told.keys() == set(), key
    assert ORIGIN - result.keys() == set()
    assert not {"unknown", "", "x", None} & {str(result[key]) for key in ORIGIN}
    assert "/" not in result["hardware"]


def test_the_table_has_every_cell():
    result = read(data_folder() / "results" / "mnist-eps-table.json")
    assert 0 < min(result["floor_train"], result["floor_test"])
    cells = {(row["S"], row["eta"]): row["distance"] for row in result["rows"]
             if row["spacing"] == "trailing"}
    etas = [0.0, 0.2, 0.5, 1.0, "hat"]
    assert set(cells) == {(S, eta) for S in (10, 20, 50, 100, 1000) for eta in etas}
    assert result["n"] == 10_000
    assert all(math.isfinite(d) and d > result["floor_train"] for d in cells.values())
    check = result["check"]
    # float16 on a GPU and float32 on a CPU: the same pictures, as far as the distance can tell.
    assert check["precision"] == "float32" and check["n"] == result["n"]
    assert cells[check["S"], check["eta"]] == pytest.approx(check["distance"], rel=0.01)


@pytest.mark.parametrize("name, counts", [("mnist", (10, 20, 50, 100)),
                                          ("mnist-eps", (10, 20, 50, 100, 200, 500, 1000))])
def test_the_encoding_error_is_there_for_both_conventions(name, counts):
    result = read(data_folder() / "results" / f"{name}-encode.json")
    assert result["weights"] == name
    errors = {(row["S"], row["convention"]): row["mse"] for row in result["rows"]}
    assert set(errors) == {(S, c) for S in counts for c in ("source", "destination")}
    for convention in ("source", "destination"):
        falling = [errors[S, convention] for S in counts]
        assert falling == sorted(falling, reverse=True)


def test_what_the_card_of_mnist_says_of_levels_and_targets_is_its_record():
    card = card_of("mnist")
    rows = {(row["above"], row["below"]): f"{row['classifier']['distance']:.2f}"
            for row in read(data_folder() / "results" / "mnist-levels.json")["rows"]}
    net, best = "network", "best guess"
    assert (f"the distance is {rows[net, net]}, and {rows[best, net]} with the best guess" in card
            and f"best guess everywhere it is {rows[best, best]}." in card)
    result = read(data_folder() / "results" / "mnist-stable-targets.json")
    single, mean, single_1, mean_1 = (
        f"{row['classifier']['distance']:.2f}"
        for eta in (0, 1) for row in result["rows"] if row["eta"] == eta)
    assert (f"had {single} with single digits as targets and {mean} with the mean" in card
            and f"with eta 1, {single_1} and {mean_1} (" in card)
    for row, other in zip(*[[r for r in result["rows"] if r["target"].startswith(name)]
                            for name in ("single", "the mean")], strict=True):
        assert all(other[space]["distance"] < row[space]["distance"]
                   for space in ("classifier", "plain", "pixels"))
    root = Path(__file__).resolve().parent.parent
    chapter = (root / "book" / "07_what_the_loss_does_not_see.ipynb").read_text(encoding="utf-8")
    for told in (f"classifier says {rows[net, net]}. ", f"training leave {single} (",
                 f"they leave {mean}."):
        assert told in chapter


def test_what_the_card_of_mnist_says_of_size_is_its_record():
    rows = read(data_folder() / "results" / "mnist-size.json")["rows"]
    now, deeper, now_1, deeper_1 = (f"{row['classifier']['distance']:.2f}"
                                    for eta in (0, 1) for row in rows if row["eta"] == eta)
    parameters = max(row["parameters"] for row in rows)
    card = " ".join(card_of("mnist").split())
    assert (f"as it is had {now} and one with two blocks a level {deeper}; with eta 1, {now_1} and "
            f"{deeper_1} (" in card and f"has {parameters:,} parameters" in card)
    before, = (row["classifier"]["distance"]
               for row in read(data_folder() / "results" / "mnist-targets-judges.json")["rows"]
               if row["training"].startswith("instead 1,000") and row["eta"] == 1)
    assert f"with eta 1 the unfinished weights have {before:.2f}." in card


def test_half_way_along_a_line_a_network_is_as_near_as_the_best_guess():
    """From a short start even an answer without errors comes to no better pictures (chapter 8)."""
    result = read(data_folder() / "results" / "mnist-halfway.json")
    means = {}
    for by in ("network", "best guess"):
        for key in ("start", "half_way"):
            values = [row[key] for row in result["rows"] if row["by"] == by]
            assert len(values) == result["n"] / result["pairs"] == 6
            means[by, key] = sum(values) / 6
    assert means["network", "half_way"] <= means["best guess", "half_way"]
    root = Path(__file__).resolve().parent.parent
    chapter = (root / "book" / "08_latent_space.ipynb").read_text(encoding="utf-8")
    told = chapter[chapter.index("so six lots"):chapter.index("is as near half way")]
    assert re.findall(r"\d+\.\d", told) == [f"{value:.1f}" for value in means.values()]


def test_a_round_trip_in_ten_steps_comes_back():
    """The goal: a mean squared error of at most .02, at the paper's label, pixels in [0, 1]."""
    result = read(data_folder() / "results" / "mnist-encode.json")
    error = {(row["S"], row["convention"]): row["mse"] for row in result["rows"]}
    assert result["n"] >= 200 and error[10, "source"] <= 0.02
