"""What the network computes in: asked for by name, around the network alone, and told."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from test_cli import ddim  # noqa: F401
from test_cli_train import assert_error

import ddim_lib
from ddim_lib.cli import evaluate as cli_evaluate
from ddim_lib.pixels import to_uint8
from ddim_lib.runtime import precision

CPU = torch.device("cpu")


class Asked(torch.nn.Module):
    """A model that notes what it was asked in, and answers in what autocast makes of it."""

    image_shape = (1, 4, 4)

    def __init__(self):
        super().__init__()
        self.linear, self.seen = torch.nn.Linear(4, 4), []

    def forward(self, x, t):
        out = self.linear(x)
        self.seen.append((x.dtype, out.dtype))
        return out


@pytest.fixture
def asked():
    torch.manual_seed(0)
    return Asked()


def walk(model, **options):
    return list(ddim_lib.sample_iter(model, ddim_lib.linear(), steps=3, seeds=[0, 1], **options))


@pytest.mark.parametrize("options, inside", [
    ({}, torch.float32), ({"autocast": "fp32"}, torch.float32), ({"autocast": "bf16"},
                                                                 torch.bfloat16)])
def test_the_walk_stays_in_float32(asked, options, inside):
    for now in walk(asked, **options):
        assert now.x.dtype == now.x0.dtype == torch.float32
        assert now.eps is None or now.eps.dtype == torch.float32
    assert asked.seen == [(torch.float32, inside)] * 3
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("options, inside", [({}, torch.float32), ({"autocast": "bf16"},
                                                                   torch.bfloat16)])
def test_the_way_back_too(asked, options, inside):
    x = ddim_lib.encode(asked, ddim_lib.linear(), torch.zeros(2, 1, 4, 4), steps=3, **options)
    assert x.dtype == torch.float32
    assert asked.seen == [(torch.float32, inside)] * 3


@pytest.mark.parametrize("best", ["bf16", "fp32"])
def test_auto_is_what_the_device_is_good_at(asked, best, monkeypatch):
    monkeypatch.setattr(precision, "best_precision", lambda device: best)
    walk(asked, autocast="auto")
    assert asked.seen[0][1] == {"bf16": torch.bfloat16, "fp32": torch.float32}[best]


def test_fp16_is_for_gpus():
    assert precision.resolve("fp16", torch.device("cuda")) == "fp16"
    with pytest.raises(ValueError, match="must be auto, bf16 or fp32 on a CPU, got fp16"):
        precision.resolve("fp16", CPU)


@pytest.mark.parametrize("bad", ["half", "", None, True, torch.bfloat16])
def test_anything_else_is_an_error_before_the_first_call(asked, bad):
    for call in (lambda: ddim_lib.sample_iter(asked, ddim_lib.linear(), seeds=[0], autocast=bad),
                 lambda: ddim_lib.encode(asked, ddim_lib.linear(), torch.zeros(1, 1, 4, 4),
                                         autocast=bad)):
        with pytest.raises(ValueError, match="autocast must be one of auto, bf16, fp16, fp32, got"):
            call()
    assert asked.seen == []


def test_bf16_draws_the_same_digits_within_a_grey_level():
    """In the mean over all pixels; the benchmarks' speed in bf16 counts because of it."""
    model, schedule = ddim_lib.load_pretrained("mnist")
    one, other = (ddim_lib.sample(model, schedule, steps=10, seeds=range(16), autocast=autocast,
                                  progress=False) for autocast in ("fp32", "bf16"))
    difference = (to_uint8(one).double() - to_uint8(other).double()).abs().mean().item()
    assert 0 < difference < 1


# On the command line ------------------------------------------------------------------------------

def assert_near(half, whole):
    """The same numbers, computed otherwise."""
    assert 0 < np.abs(half - whole).max() < 0.05 * np.abs(whole).max()


def drawn(ddim, *options):  # noqa: F811
    """What `ddim sample` has drawn, and what it wrote beside it."""
    code, _, err = ddim("sample", "--weights", "tiny.safetensors", "--n", 2, "--steps", 3,
                        "--out", "x.safetensors", *options)
    assert code == 0, err
    with safe_open("x.safetensors", "np") as file:
        return file.get_tensor("images"), file.metadata()


def test_a_command_computes_in_it_and_says_so(ddim):  # noqa: F811
    plain, facts = drawn(ddim)
    assert "fp32" in json.dumps(facts)
    half, facts = drawn(ddim, "--autocast", "bf16")
    assert "bf16" in json.dumps(facts)
    assert half.dtype == np.float32
    assert_near(half, plain)


@pytest.mark.parametrize("command", [
    ("interpolate", "--weights", "tiny.safetensors", "--frames", 3, "--steps", 2, "--out", "x.npy"),
    ("encode", "--weights", "tiny.safetensors", "--steps", 2, "--out", "x.npy", "a.png")],
    ids=lambda command: command[0])
def test_every_walk_takes_it(ddim, command):  # noqa: F811
    Image.fromarray(np.full((8, 8), 90, np.uint8)).save("a.png")
    found = {}
    for autocast in ("fp32", "bf16"):
        code, _, err = ddim(*command, "--autocast", autocast)
        assert code == 0, err
        found[autocast] = np.load("x.npy")
    assert_near(found["bf16"], found["fp32"])


def test_evaluate_takes_it(ddim, monkeypatch):  # noqa: F811
    told = {}
    monkeypatch.setattr(cli_evaluate, "sample_together", lambda *a, **options: told.update(options))
    ddim("evaluate", "--n", 129, "--steps", 2, "--autocast", "bf16")
    assert told["autocast"] == "bf16"


def test_what_cannot_be_names_the_option(ddim):  # noqa: F811
    sample = ("sample", "--weights", "tiny.safetensors", "--out", "x.png", "--device", "cpu")
    assert_error(ddim(*sample, "--autocast", "fp16"), "'--autocast'", "auto, bf16 or fp32")
    assert_error(ddim(*sample, "--autocast", "half"), "'--autocast'", "auto, bf16, fp16, fp32")
