"""Weights are files that say what they are."""

import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_unet import perturbed

from ddim_lib.schedule import cosine, linear
from ddim_lib.storage.tensors import save_tensors
from ddim_lib.unet import UNetConfig
from ddim_lib.weights import load_weights, read_facts, save_weights
from ddim_lib.weights.checkpoints import read_published

NETWORK = UNetConfig(8, 1, 16, (1, 2), 1, (4,), dropout=0.2, groups=8)


def network():
    return perturbed(NETWORK)


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


@pytest.mark.skipif(os.name != "posix", reason="rights of files as on Linux")
@pytest.mark.parametrize("mask, rights", [(0o022, 0o644), (0o077, 0o600)])
def test_a_file_has_the_rights_of_any_new_one(mask, rights, tmp_path):
    before = os.umask(mask)
    try:
        save_weights(tmp_path / "net.safetensors", network(), linear())
    finally:
        os.umask(before)
    assert (tmp_path / "net.safetensors").stat().st_mode & 0o777 == rights


@pytest.mark.parametrize("device", ["nodevice", "cuda:99"])
def test_a_device_that_is_not_there_is_told(device, tmp_path):
    save_weights(tmp_path / "net.safetensors", network(), linear())
    with pytest.raises(ValueError, match="device must be"):
        load_weights(tmp_path / "net.safetensors", device)
    with pytest.raises(ValueError, match="device must be"):
        read_published(tmp_path, device=device)


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


# Files that are none ------------------------------------------------------------------------------

def test_a_missing_file_is_an_error(tmp_path):
    for read in (load_weights, read_facts):
        for path in (tmp_path / "none.safetensors", tmp_path):
            with pytest.raises(FileNotFoundError, match="path must be a weights file; there is no"):
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


def test_a_fact_cannot_overwrite_what_the_file_says_itself(tmp_path):
    with pytest.raises(ValueError, match="facts must not be named .'unet'"):
        save_weights(tmp_path / "w.safetensors", network(), linear(), unet="mine")
    assert list(tmp_path.iterdir()) == []
