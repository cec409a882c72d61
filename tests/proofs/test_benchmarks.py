"""The benchmarks measure the same computation in every library, and their records hold."""

import json
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import ddim_lib
from benchmarks import common, contestants, profile, quality
from benchmarks.__main__ import BENCHMARKS
from ddim_lib.presets import PRESETS
from ddim_lib.storage.folders import data_folder
from ddim_lib.training import Trainer, TrainingConfig

RESULTS = data_folder() / "results"


@pytest.fixture(scope="module")
def shipped():
    return ddim_lib.load_pretrained("mnist-eps")


@pytest.fixture(scope="module")
def x_T(shipped):
    return ddim_lib.noise_from_seeds(range(3), shipped[0].image_shape)


# The contestants ----------------------------------------------------------------------------------

def test_diffusers_computes_the_same_pictures(shipped, x_T):
    ours, theirs = contestants.ours(*shipped), contestants.diffusers_loop(
        *contestants.theirs(*shipped))
    assert (ours(x_T, 5) - theirs(x_T, 5)).abs().max() < 1e-3


def test_lucidrains_computes_the_same_pictures(shipped, x_T):
    """On its own levels, with its own start points, clipped as it clips."""
    model, schedule = shipped
    torch.manual_seed(0)
    theirs = contestants.lucidrains_loop(model)(x_T, 5)
    torch.manual_seed(0)
    start = torch.randn(x_T.shape)
    taus = [t + 1 for t in torch.linspace(-1, 999, 6).int().tolist()[1:]]
    ours = contestants.ours(model, schedule, clip=True)(start, taus)
    assert (ours - theirs).abs().max() < 1e-3


def test_both_compute_in_half_precision_where_asked(shipped, x_T):
    whole = contestants.ours(*shipped)(x_T, 2)
    for draw in (contestants.ours(*shipped, "bf16"),
                 contestants.diffusers_loop(*contestants.theirs(*shipped), "bf16")):
        assert 0.01 < contestants.grey_levels(draw(x_T, 2), whole) < 5


def test_grey_levels_are_those_of_a_picture():
    one = torch.tensor([-1.0, 0.0, 3.0])
    assert contestants.grey_levels(one, torch.tensor([1.0, 0.0, 1.0])) == pytest.approx(85)


# The clock ----------------------------------------------------------------------------------------

def test_a_race_turns_and_leaves_the_first_call_out(monkeypatch):
    calls = []
    monkeypatch.setattr(common, "seconds", lambda work: (work(), len(calls))[1])
    times = common.race({name: partial(calls.append, name) for name in "abc"}, 3)
    assert "".join(calls) == "abc" "abc" "bca" "cab"
    assert times == {"a": [4, 9, 11], "b": [5, 7, 12], "c": [6, 8, 10]}


def test_rates_are_of_the_median_round():
    assert common.rates({"a": [2.0, 1.0, 4.0]}, 12) == {"a": {"median": 6, "least": 3, "most": 12}}


@pytest.mark.parametrize("reached, holds", [(2, True), (1.99, False)])
def test_a_target_holds_from_its_number_on(reached, holds):
    told = common.target("x", 2, reached)
    assert told == {"what": "x", "wanted": 2, "reached": reached, "holds": holds}


def test_the_fewest_steps_within_ten_percent():
    rows = [{"S": s, "eta": eta, "spacing": spacing, "distance": d} for s, eta, spacing, d in [
        (10, 0.0, "trailing", 1.11), (20, 0.0, "trailing", 1.1), (50, 0.0, "trailing", 1.0),
        (1000, 0.0, "trailing", 1.0), (10, 0.0, "leading", 1.0), (10, 1.0, "trailing", 1.0),
        (1000, 1.0, "trailing", 0.5)]]
    assert quality.fewest(rows, 0.0)[1]["S"] == 20
    assert quality.fewest(rows, 1.0)[1]["S"] == 1000


def test_operations_are_told_apart():
    for name, kind in [("aten::mkldnn_convolution", "convolution"), ("aten::silu_", "SiLU"),
                       ("aten::native_group_norm", "group normalisation"),
                       ("aten::addmm", "linear layers"), ("aten::bmm", "attention"),
                       ("aten::add_", "sums"), ("aten::cat", "copies and joins"),
                       ("aten::empty", "the rest")]:
        assert profile.kind(name) == kind, name


# No step waits for the device ---------------------------------------------------------------------

class Reads(TorchDispatchMode):
    """Counts how often a value of a tensor on the device is asked for."""

    def __init__(self, device):
        super().__init__()
        self.device, self.count = device, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._local_scalar_dense.default:
            self.count += args[0].device.type == self.device
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("eta", [0, 1])
def test_a_walk_reads_nothing_back(eta):
    """On the device "meta" tensors have no values: whatever asks for one fails."""
    with torch.device("meta"):
        model = ddim_lib.UNet(PRESETS["digits"].unet)
    walk = ddim_lib.sample_iter(model, ddim_lib.linear(), seeds=[0, 1], steps=3, eta=eta)
    assert [now.x.device.type for now in walk] == ["meta"] * 4


def test_meta_tensors_would_notice():
    class Peeks(nn.Module):
        image_shape = (1, 4, 4)

        def forward(self, x, t):
            return x * float(x.mean())

    with pytest.raises(RuntimeError, match="meta"):
        list(ddim_lib.sample_iter(Peeks(), ddim_lib.linear(), seeds=[0], steps=2, device="meta"))


def test_a_training_step_reads_no_value():
    """On the CPU every tensor is on the device; the loss of each step stays a tensor.

    The one value that a step reads is add_noise's check of t, which it leaves out on a GPU.
    """
    images = torch.zeros(8, 1, 8, 8, dtype=torch.uint8)
    model = ddim_lib.UNet(ddim_lib.UNetConfig(8, 1, 16, (1, 2), 1, (4,), groups=8))
    trainer = Trainer(model, ddim_lib.linear(), images,
                      TrainingConfig(steps=3, batch_size=4, autocast="fp32"), "cpu")
    with Reads("cpu") as reads:
        steps = list(trainer.train(2))
    before = reads.count
    with reads:
        steps[-1].loss.item()
    assert (before, reads.count) == (2, 3)


# The records --------------------------------------------------------------------------------------

RECORDS = sorted(RESULTS.glob("bench-*.json"))


def test_every_benchmark_has_its_record():
    assert [path.stem for path in RECORDS] == sorted(f"bench-{name}" for name in BENCHMARKS)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_says_where_it_comes_from(path):
    told = json.loads(path.read_text())
    assert {"bench", "what", "hardware", "processor", "torch", "diffusers", "library", "commit",
            "date", "seconds"} <= told.keys()


def test_a_target_says_what_was_measured():
    """The number that a target names is the quotient of the medians in its record."""
    told = json.loads((RESULTS / "bench-sampling.json").read_text())
    worst = min(row["image_steps_per_second"]["ddim_lib fp32"]["median"]
                / row["image_steps_per_second"]["diffusers fp32"]["median"]
                for row in told["rows"])
    assert told["targets"][0]["reached"] == common.three(worst)
