"""Weights are files that say what they are; the shipped ones are as small as promised."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from ddim_lib.schedule import cosine, linear
from ddim_lib.storage.folders import data_folder
from ddim_lib.storage.tensors import save_tensors
from ddim_lib.training import TrainingConfig
from ddim_lib.unet import UNet, UNetConfig
from ddim_lib.weights import (
    available,
    load_pretrained,
    load_weights,
    read_facts,
    save_weights,
)

NETWORK = UNetConfig(8, 1, 16, (1, 2), 1, (4,), dropout=0.2, groups=8)
MNIST = data_folder() / "weights" / "mnist.safetensors"
BOTH = ["mnist", "mnist-eps"]


def facts_of(name):
    return read_facts(data_folder() / "weights" / f"{name}.safetensors")


def network(config=NETWORK, seed=0):
    torch.manual_seed(seed)
    model = UNet(config)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn(p.shape)
    return model


@pytest.mark.parametrize("schedule", [linear(), cosine(50)], ids=["linear", "cosine"])
def test_what_is_saved_comes_back(schedule, tmp_path):
    model, path = network().train(), tmp_path / "deep" / "down" / "net.safetensors"
    facts = {"steps": 12, "data": "digits", "quality": {"n": 5, "distance": 1.25}, "ema": True}
    save_weights(path, model, schedule, **facts)
    again, its_schedule = load_weights(str(path))
    assert again.config == model.config and not again.training
    assert its_schedule.to_dict() == schedule.to_dict()
    assert torch.equal(its_schedule.alpha, schedule.alpha)
    assert again.state_dict().keys() == model.state_dict().keys()
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
    found = read_facts(path)
    assert {key: found[key] for key in facts} == facts
    assert found["format"] == "ddim_lib 1" and found["unet"]["ch_mult"] == [1, 2]
    assert found["schedule"] == schedule.to_dict()
    assert [p.name for p in path.parent.iterdir()] == ["net.safetensors"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_half_precision_halves_the_file_and_computes_in_float32(tmp_path):
    model = network()
    for dtype in (torch.float32, torch.float16):
        save_weights(tmp_path / str(dtype), model, linear(), dtype=dtype)
    full, half = (tmp_path / str(dtype) for dtype in (torch.float32, torch.float16))
    bytes_of = {path: sum(v.nbytes for v in load_file(path).values()) for path in (full, half)}
    assert bytes_of[full] == 2 * bytes_of[half]
    again, _ = load_weights(half)
    for key, value in model.state_dict().items():
        assert again.state_dict()[key].dtype == torch.float32
        assert torch.equal(again.state_dict()[key], value.half().float()), key


def test_saving_over_a_file_replaces_it_whole(tmp_path, monkeypatch):
    import safetensors.torch

    path, old, new = tmp_path / "net.safetensors", network(), network(seed=1)
    save_weights(path, old, linear())
    before = path.read_bytes()

    def full(tensors, target, header):
        target.write_bytes(b"half a file")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save_file", full)
        with pytest.raises(OSError, match="No space"):
            save_weights(path, new, linear())
    assert path.read_bytes() == before
    save_weights(path, new, linear())
    assert torch.equal(load_weights(path)[0].conv_in.weight, new.conv_in.weight)


# Files that are none ------------------------------------------------------------------------------

def test_a_missing_file_is_an_error(tmp_path):
    for read in (load_weights, read_facts):
        for path in (tmp_path / "none.safetensors", tmp_path):
            with pytest.raises(FileNotFoundError, match="path must be a weights file; there is no"):
                read(path)


@pytest.mark.parametrize("kind", ["text", "empty", "cut", "pickle"])
def test_a_damaged_file_is_an_error(kind, tmp_path):
    path = tmp_path / "net.safetensors"
    save_weights(path, network(), linear())
    if kind == "pickle":
        torch.save(network().state_dict(), path)
    else:
        path.write_bytes({"text": b"not weights at all", "empty": b"",
                          "cut": path.read_bytes()[:-1000]}[kind])
    for read in (load_weights, read_facts):
        with pytest.raises(ValueError, match="net.safetensors is not a safetensors file, or is"):
            read(path)


@pytest.mark.parametrize("header, found", [
    (None, "None"), ({"format": "pt"}, "'pt'"), ({"format": "ddim_lib 1"}, "'ddim_lib 1'"),
    ({"format": "ddim_lib classifier 1"}, "'ddim_lib classifier 1'"),
    ({"format": "ddim_lib 2", "unet": "{}"}, "'ddim_lib 2'"),
])
def test_a_foreign_file_is_an_error(header, found, tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors", header)
    with pytest.raises(ValueError, match=f"holds no network of this library: its format is {found}"
                                         ", expected 'ddim_lib 1' with an entry 'unet'"):
        load_weights(tmp_path / "x.safetensors")


@pytest.mark.parametrize("change", [{"ch": 32}, {"ch_mult": [1, 1, 2]}, {"attn_resolutions": []}])
def test_tensors_that_do_not_fit_their_description_are_an_error(change, tmp_path):
    header = {"format": "ddim_lib 1", "schedule": json.dumps(linear().to_dict()),
              "unet": json.dumps({**NETWORK.to_dict(), **change})}
    save_tensors(tmp_path / "x.safetensors", network().state_dict(), header)
    with pytest.raises(ValueError, match="the tensors of .*x.safetensors do not fit its own desc"):
        load_weights(tmp_path / "x.safetensors")


# What ships ---------------------------------------------------------------------------------------

def test_the_shipped_networks_are_named():
    assert {"mnist", "cifar10-small"} <= set(available())
    assert not any("classifier" in name for name in available())


@pytest.mark.parametrize("name", ["mnist-classifier", "mnist.safetensors", "", "../mnist"])
def test_another_name_is_an_error(name):
    """The error names both kinds: what ships, and what is published and must be fetched."""
    with pytest.raises(ValueError, match=r"name must be one of .*mnist.* .shipped. or cifar10 "
                                         rf".published, to be fetched., got '{name}'"):
        load_pretrained(name)


def test_the_shipped_network_is_ready_to_sample():
    model, schedule = load_pretrained("mnist")
    assert not model.training and model.image_shape == (1, 28, 28)
    assert schedule.T == 1000 and schedule.to_dict() == linear().to_dict()
    assert model.config.label_offset == 1
    assert all(v.dtype == torch.float32 and v.isfinite().all() for v in model.state_dict().values())


def test_the_shipped_network_is_small():
    """At most 5 MB, about a million parameters, at most 0.3 GFLOP an image."""
    from torch.utils.flop_counter import FlopCounterMode

    model, _ = load_pretrained("mnist")
    assert MNIST.stat().st_size <= 5e6
    assert 0.5e6 < sum(p.numel() for p in model.parameters()) < 1.2e6
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 1, 28, 28), 500)
    assert 0.1e9 < counter.get_total_flops() <= 0.3e9


@pytest.mark.parametrize("name", BOTH)
def test_the_shipped_network_predicts_the_noise_of_real_digits(name):
    """Noise that it has not seen, in digits: a mean error like that of its training."""
    from ddim_lib.datasets import load
    from ddim_lib.training import noise_prediction_loss

    model, schedule = load_pretrained(name)
    facts = facts_of(name)
    with torch.no_grad():
        loss = noise_prediction_loss(model, schedule, load("digits")[0][::20],
                                     torch.Generator().manual_seed(0),
                                     facts["training"].get("loss_weight", "1"))
    assert loss.item() == pytest.approx(facts["final_loss"], rel=0.25)


@pytest.mark.parametrize("name", BOTH)
def test_the_shipped_network_tells_its_history(name):
    facts = facts_of(name)
    wanted = {"format", "unet", "schedule", "data", "images", "weights", "training", "precision",
              "epochs", "seconds", "final_loss", "hardware", "torch", "date", "commit", "library",
              "preset", "quality"}
    assert wanted <= facts.keys() and facts["preset"] == name
    assert facts["weights"] == "EMA" and facts["images"] == 60_000
    assert {"steps", "batch_size", "lr", "ema_decay", "seed"} <= facts["training"].keys()
    judged = {"mnist": {"classifier", "plain", "pixels"},
              "mnist-eps": {"distance", "floor_train", "floor_test", "noise", "share_above_0.9"}}
    assert {"n", "S", "eta", "spacing", *judged[name]} <= facts["quality"].keys()
    run = facts["training"]
    assert facts["epochs"] == pytest.approx(run["steps"] * run["batch_size"] / 60_000, rel=0.01)


@pytest.mark.parametrize("name", BOTH)
def test_the_shipped_network_is_its_presets(name):
    from ddim_lib.presets import PRESETS

    facts, preset = facts_of(name), PRESETS[name]
    assert load_pretrained(name)[0].config == preset.unet
    ran = {**vars(TrainingConfig(**facts["training"])), "compile": None}
    wanted = {**vars(preset.training), "compile": None}  # compiled or not: the machine's choice
    if "start" in facts:  # begun from another network's weights: a shorter run, smaller batches
        for key in ("steps", "batch_size", "lr", "ema_decay"):
            ran.pop(key), wanted.pop(key)
        assert facts["start"] == "mnist-eps.safetensors"
    assert ran == wanted


def test_no_pickle_ships():
    """safetensors run no code when they are read."""
    for folder in ("weights", "stats"):
        files = [p for p in (data_folder() / folder).rglob("*") if p.is_file()]
        assert files
        assert {p.suffix for p in files} <= {".safetensors", ".md"}
        for path in files:
            if path.suffix == ".safetensors":
                assert read_facts(path)


def test_a_fact_cannot_overwrite_what_the_file_says_itself(tmp_path):
    network = UNet(UNetConfig(8, 1, 16, (1, 2), 1, (4,), groups=8))
    with pytest.raises(ValueError, match="facts must not be named .'unet'"):
        save_weights(tmp_path / "w.safetensors", network, linear(), unet="mine")
    assert list(tmp_path.iterdir()) == []
