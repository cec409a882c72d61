"""What a training run says, stores and asks of others, word for word and call for call.

A second process is played by replacing what asks for it; test_processes.py starts real ones.
"""

import math
import os
import signal
import zlib
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import tqdm.auto
from test_training import CONFIG, NETWORK, images, run, trainer
from torch import nn

from ddim_lib import training
from ddim_lib.pixels import to_float
from ddim_lib.runtime import accelerator
from ddim_lib.schedule import cosine, linear
from ddim_lib.training import STATE, Trainer, TrainingConfig, noise_prediction_loss
from ddim_lib.unet import UNet

SURE = replace(NETWORK, dropout=0.0)
IDENTITY = (f"{NETWORK}, schedule linear {{'T': 1000, 'beta_start': 0.0001, 'beta_end': 0.02}} "
            "with T = 1000, images (18, 1, 8, 8) with the CRC-32 "
            f"{zlib.crc32(images().numpy()):08x}, in fp32")


def test_the_default_configuration():
    assert TrainingConfig() == TrainingConfig(
        steps=1000, batch_size=64, lr=1e-3, warmup=100, betas=(0.9, 0.99), grad_clip=1.0,
        ema_decay=0.999, autocast="auto", flip=False, compile=False, seed=0)
    assert TrainingConfig(betas=[0.5, 0.6]).betas == (0.5, 0.6)
    assert TrainingConfig(steps=1, batch_size=1, warmup=0, ema_decay=0.0).steps == 1


def test_what_a_trainer_is_made_of(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    config = replace(CONFIG, betas=(0.8, 0.95), lr=3e-3)
    t = Trainer(UNet(NETWORK), linear(), images(), config)
    assert t.device == torch.device("cpu")
    assert t.model.training and not t.ema.training and t.step == 0
    assert t.optimizer.defaults["betas"] == (0.8, 0.95)
    assert t.optimizer.defaults["lr"] == 3e-3 and t.optimizer.defaults["fused"] is True
    assert not t.scaler.is_enabled() and t.scaler._device == "cpu"
    assert t.generator.initial_seed() == torch.initial_seed() == CONFIG.seed
    assert t._identity() == IDENTITY


def test_a_network_without_a_configuration_is_known_by_its_class():
    t = Trainer(nn.Conv2d(1, 1, 3), linear(), images(), CONFIG, "cpu")
    assert t._identity().startswith("Conv2d, schedule linear {")


def test_as_many_images_as_a_batch_are_enough():
    assert trainer(data=images(4)).batch().shape == (4, 1, 8, 8)


@pytest.mark.parametrize("device, mode", [("cpu", "default"), ("cuda", "reduce-overhead")])
def test_the_network_is_compiled_for_one_shape(device, mode, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda model, **options: (asked.append(options),
                                                                    model)[1])
    t = trainer(replace(CONFIG, compile=True))
    assert asked.pop() == {"dynamic": False, "mode": "default"} and t._run is t.model
    t.device = SimpleNamespace(type=device)
    t._compiled()
    assert asked == [{"dynamic": False, "mode": mode}]


class Stopped(Exception):
    pass


@pytest.mark.parametrize("given, expected", [(None, "cuda"), ("cpu", "cpu")])
def test_a_gpu_is_taken_where_there_is_one_and_nothing_is_said(given, expected, monkeypatch):
    class Model(nn.Conv2d):
        def to(self, device):
            raise Stopped(device)

    monkeypatch.setattr(accelerator, "device", lambda: torch.device("cuda"))
    with pytest.raises(Stopped) as caught:
        Trainer(Model(1, 1, 3), linear(), images(), CONFIG, given)
    assert caught.value.args == (torch.device(expected),)


class Noted:
    """torch, as the module calls it, with a note of the devices."""

    def __init__(self):
        self.made = []

    def __getattr__(self, name):
        return getattr(torch, name)

    def rand(self, *arguments, **options):
        self.made.append(options["device"])
        return torch.rand(*arguments, **options)

    def Generator(self, *device):
        self.made.append(device)
        return torch.Generator(*device)


def test_whatever_is_drawn_and_kept_is_on_the_runs_device(monkeypatch):
    moved, noted, cpu, to = [], Noted(), torch.device("cpu"), torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "to", lambda x, *a, **k: (moved.append((x.dtype, a)),
                                                                to(x, *a, **k))[1])
    monkeypatch.setattr(training, "torch", noted)
    t = trainer()
    assert (torch.uint8, (cpu,)) in moved and noted.made == [(cpu,)]
    t.batch()
    assert (torch.int64, (cpu,)) in moved and noted.made[1:] == [("cpu",), cpu]


class Tiny(nn.Module):
    """One weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))

    def forward(self, x, t):
        return self.weight * x


def test_a_run_counts_its_steps_and_ends():
    """The quickest of the tests of the loop, and one that ends even where the loop does not."""
    t = Trainer(Tiny(), linear(), images(4), CONFIG, "cpu")
    assert [now.step for now in islice(t.train(2), 5)] == [1, 2]
    assert [now.step for now in islice(t.train(), 20)] == [*range(3, 13)]


def test_levels_and_noise_are_drawn_on_the_pictures_device():
    """Shown on the device "meta", which holds no numbers and which every machine has."""
    t, eps = training._drawn(linear(), torch.zeros(3, 1, 2, 2, device="meta"), None)
    assert t.device.type == eps.device.type == "meta"
    assert t.shape == (3,) and eps.shape == (3, 1, 2, 2)


def test_gradients_are_unscaled_before_they_are_clipped(monkeypatch):
    calls, clip = [], nn.utils.clip_grad_norm_

    class Scaler:
        def scale(self, loss):
            calls.append("scale")
            return loss

        def unscale_(self, optimizer):
            calls.append(("unscale", optimizer))

        def step(self, optimizer):
            calls.append(("step", optimizer))

        def update(self):
            calls.append("update")

    monkeypatch.setattr(nn.utils, "clip_grad_norm_",
                        lambda *a: (calls.append("clip"), clip(*a))[1])
    t = trainer()
    t.scaler = Scaler()
    next(t.train())
    assert calls == ["scale", ("unscale", t.optimizer), "clip", ("step", t.optimizer), "update"]


# A run's bar, record and checkpoints ------------------------------------------------------------

class Bar:
    """In place of tqdm's."""

    made = []

    def __init__(self, **options):
        self.options, self.updates, self.shown = options, 0, []
        Bar.made.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self):
        self.updates += 1

    def set_postfix(self, **shown):
        self.shown.append(shown)


@pytest.fixture
def bars(monkeypatch):
    Bar.made = []
    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    return Bar.made


def test_the_bar_says_precision_steps_and_loss(bars):
    t = trainer()
    record = t.run(4, log_every=2)
    record += t.run(7, log_every=2, progress=False)
    told = {"desc": "training in fp32"}
    assert [bar.options for bar in bars] == [{"total": 4, "initial": 0, **told},
                                             {"total": 7, "initial": 4, "disable": True, **told}]
    assert [bar.updates for bar in bars] == [4, 3]
    shown = [said for bar in bars for said in bar.shown]
    assert shown == [{"loss": f"{entry['loss']:.4f}"} for entry in record]
    assert [entry["step"] for entry in record] == [2, 4, 6, 7]


def test_the_first_process_alone_shows_a_bar(bars, monkeypatch):
    monkeypatch.setattr(training, "is_first", lambda: False)
    trainer().run(1)
    assert bars[0].options["disable"] is True


def test_a_run_without_numbers_saves_every_thousand_steps_and_tells_every_fifty(monkeypatch):
    t, saved = trainer(replace(CONFIG, steps=2040)), []
    monkeypatch.setattr(t, "save", lambda path: saved.append(t.step))

    def steps(until):
        while t.step < until:
            t.step += 1
            yield training.Progress(t.step, torch.tensor(1.0))

    monkeypatch.setattr(t, "train", steps)
    record = t.run(checkpoint="run.pt", progress=False)
    assert saved == [1000, 2000, 2040]
    assert [entry["step"] for entry in record] == [*range(50, 2040, 50), 2040]
    assert {entry["loss"] for entry in record} == {1.0}


def test_a_loss_that_is_not_finite_says_so_in_full():
    t = trainer()
    said = ("^the loss is {} at step 0; a smaller lr than 0.01 or fp32 may help. The last "
            "checkpoint is untouched.$")
    assert t._finite(torch.tensor(0.25)) == 0.25
    for value in (math.inf, math.nan):
        with pytest.raises(FloatingPointError, match=said.format(value)):
            t._finite(torch.tensor(value))
    with torch.no_grad():
        t.model.conv_in.bias[0] = math.inf
    with pytest.raises(FloatingPointError, match=said.format("nan")):
        t._finite(torch.tensor(0.25))


def test_a_checkpoint_holds_all_of_its_parts(tmp_path):
    t = trainer()
    run(t, 2)
    t.save(tmp_path / "a" / "b" / "run.pt")
    t.save(str(tmp_path / "a" / "b" / "run.pt"))  # again: the folders are there
    state = torch.load(tmp_path / "a" / "b" / "run.pt", weights_only=True)
    assert state.keys() == STATE
    assert state["run"] == IDENTITY and state["step"] == 2 and state["device_rng"] is None
    assert TrainingConfig(**state["config"]) == CONFIG


def test_a_gpus_random_state_is_stored_and_taken_up_on_a_gpu_alone(tmp_path, monkeypatch):
    path, taken = tmp_path / "run.pt", []
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: torch.tensor([5], dtype=torch.uint8))
    monkeypatch.setattr(torch.cuda, "set_rng_state", taken.append)
    t = trainer()
    t.save(path)
    t.device = SimpleNamespace(type="cuda")
    t.load(path)  # of a CPU
    assert taken == []
    t.save(path)
    trainer().load(path)  # of a GPU, on a CPU
    assert taken == []
    t.load(path)
    assert [state.tolist() for state in taken] == [[5]]


def test_every_part_of_a_checkpoint_is_taken_up(tmp_path):
    path = tmp_path / "run.pt"
    donor = trainer()
    run(donor, 3)
    donor.scaler = SimpleNamespace(state_dict=lambda: {"scale": 4.0})
    donor.record, donor.seconds, donor._pending = [{"step": 2, "loss": 0.5}], 1.5, (0.25, 1)
    donor.save(path)
    t, scales = trainer(seed=5), []
    t.scaler = SimpleNamespace(load_state_dict=scales.append)
    t.load(path)
    assert scales == [{"scale": 4.0}] and t.step == 3
    assert (t.record, t.seconds, t._pending) == (donor.record, 1.5, (0.25, 1))
    assert torch.equal(torch.get_rng_state(), torch.load(path, weights_only=True)["global_rng"])


def test_a_checkpoint_is_read_onto_the_cpu_first(tmp_path, monkeypatch):
    path, asked, real = tmp_path / "run.pt", [], torch.load
    t = trainer()
    t.save(path)
    monkeypatch.setattr(torch, "load", lambda p, **options: (asked.append(options),
                                                             real(p, **options))[1])
    t.load(str(path))
    assert asked == [{"map_location": "cpu", "weights_only": True}]


def test_what_a_checkpoint_lacks_or_has_otherwise_is_told_in_full(tmp_path):
    path, t = tmp_path / "run.pt", trainer()
    t.save(path)
    whole = torch.load(path, weights_only=True)

    def error(**changes):
        torch.save({k: v for k, v in {**whole, **changes}.items() if v != "nothing"}, path)
        with pytest.raises(ValueError) as caught:
            t.load(path)
        return str(caught.value)

    assert error(scaler="nothing", ema="nothing") == (
        f"the checkpoint {path} is incomplete: it lacks ['ema', 'scaler']")
    assert error(config=whole["config"] | {"lr": 0.5}) == (
        f"the checkpoint {path} was made with another configuration (its value, this run's): "
        "{'lr': (0.5, 0.01)}")
    assert error(run="another") == (
        f"the checkpoint {path} is of another run: it says another, this run is {IDENTITY}")
    fewer = {k: v for k, v in whole["ema"].items() if not k.startswith("conv_in.")}
    assert error(ema=fewer) == (f"the checkpoint {path} is of another network: 2 tensors differ, "
                                "the first is conv_in.bias")
    longer = whole["model"] | {"conv_in.bias": torch.zeros(3), "another": torch.zeros(1)}
    assert error(model=longer) == (f"the checkpoint {path} is of another network: 2 tensors "
                                   "differ, the first is another")
    said = error(config={"steps": 0})
    assert said == (f"{path} is not a checkpoint of this library, or is damaged: steps must be a "
                    "whole number of at least 1, got 0")


# As one of several processes --------------------------------------------------------------------

@pytest.fixture
def told(monkeypatch):
    """What a trainer tells the other one of two processes; rank may be changed."""
    told = SimpleNamespace(checked=[], sent=[], averaged=[], waited=0, rank=1)

    def waited():
        told.waited += 1

    for name, stand_in in {
            "world_size": lambda: 2, "rank": lambda: told.rank, "wait": waited,
            "check_same": lambda what, value: told.checked.append((what, value)),
            "broadcast": lambda tensors: told.sent.append(list(tensors)),
            "average": lambda tensors: told.averaged.append(list(tensors))}.items():
        monkeypatch.setattr(training, name, stand_in)
    return told


def test_several_processes_make_sure_that_they_do_the_same(told):
    t = trainer()
    assert told.checked == [("config", CONFIG), ("the run", IDENTITY)]
    for sent, network in zip(told.sent, (t.model, t.ema), strict=True):
        assert all(a is b or torch.equal(a, b)
                   for a, b in zip(sent, network.state_dict().values(), strict=True))
    assert t._part == slice(2, 4)
    told.rank = 0
    assert trainer()._part == slice(0, 2)


def test_one_process_tells_nobody(told, monkeypatch, tmp_path):
    monkeypatch.setattr(training, "world_size", lambda: 1)
    monkeypatch.setattr(training, "rank", lambda: 0)
    t = trainer()
    assert t._part == slice(0, 4)
    t.save(tmp_path / "run.pt")
    t.load(tmp_path / "run.pt")
    assert told.checked == told.sent == []


def test_a_batch_that_cannot_be_cut_is_an_error(monkeypatch):
    monkeypatch.setattr(training, "world_size", lambda: 3)
    with pytest.raises(ValueError, match="^batch_size must be divisible by the number of "
                                         "processes, 3, got 4$"):
        trainer()


@pytest.mark.parametrize("rank", [0, 1])
def test_each_process_computes_its_part_of_what_all_have_drawn(rank, told):
    told.rank = rank
    t = trainer(network=SURE)
    t.step = 5
    x0 = to_float(images(4))
    before = t.generator.get_state()
    loss = t._loss(x0)
    seed = np.random.SeedSequence([CONFIG.seed, 5, rank]).generate_state(1)[0]
    assert torch.initial_seed() == seed  # of the masks of dropout
    t.generator.set_state(before)
    levels, eps = training._drawn(linear(), x0, t.generator)
    part = slice(2 * rank, 2 * rank + 2)
    x_t = linear().add_noise(x0[part], levels[part], eps[part])
    expected = (t.model(x_t, levels[part]) - eps[part]).square().mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_loss_and_every_gradient_are_averaged(told):
    t = trainer()
    t.model.conv_in.requires_grad_(False)
    loss = next(t.train()).loss
    (sent,) = told.averaged
    assert sent[0] is loss and sent[0].ndim == 0 and not sent[0].requires_grad
    expected = [p.grad for p in t.model.parameters() if p.requires_grad]
    assert len(sent) == 1 + len(expected)
    assert all(a is b for a, b in zip(sent[1:], expected, strict=True))


@pytest.mark.parametrize("first", [True, False])
def test_the_first_process_writes_and_all_wait(first, told, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "is_first", lambda: first)
    trainer().save(tmp_path / "run.pt")
    assert (tmp_path / "run.pt").exists() is first
    assert told.waited == 1


def test_all_processes_read_the_same_checkpoint(told, tmp_path):
    t, path = trainer(), tmp_path / "run.pt"
    t.save(path)
    told.checked.clear()
    t.load(path)
    assert told.checked == [(f"the checkpoint {path} (its CRC-32)", zlib.crc32(path.read_bytes()))]


# What of a run is decided by seed and step ------------------------------------------------------

def test_each_epoch_has_the_order_of_its_number_drawn_once():
    data = torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1).expand(8, 1, 8, 8).contiguous()
    t = trainer(replace(CONFIG, flip=False), data=data)
    for epoch in (0, 1, 2):
        drawn = torch.Generator().manual_seed(CONFIG.seed * 1_000_003 + epoch)
        expected, orders = torch.randperm(8, generator=drawn), []
        for half in (0, 1):
            t.step = 2 * epoch + half
            seen = ((t.batch()[:, 0, 0, 0] + 1) * 127.5).round().int()
            assert seen.tolist() == expected[4 * half:4 * half + 4].tolist()
            orders.append(t._order)
        assert orders[0] is orders[1]


def test_a_configuration_does_not_change():
    with pytest.raises(AttributeError, match="cannot assign to field 'lr'"):
        CONFIG.lr = 1.0


@pytest.mark.parametrize("chosen", ["fp16", "bf16", "fp32"])
def test_the_loss_is_scaled_in_fp16_alone(chosen, monkeypatch):
    asked = []
    monkeypatch.setattr(training.precision, "resolve", lambda *_: chosen)
    monkeypatch.setattr(torch.amp, "GradScaler", lambda *a, **k: asked.append((a, k)))
    assert trainer().precision == chosen
    assert asked == [(("cpu",), {"enabled": chosen == "fp16"})]


def test_an_image_is_mirrored_below_one_half_not_at_it(monkeypatch):
    class Half(Noted):
        def rand(self, n, **options):
            return torch.full((n,), 0.5)

    expected = trainer(replace(CONFIG, flip=False)).batch()
    monkeypatch.setattr(training, "torch", Half())
    assert torch.equal(trainer(CONFIG).batch(), expected)


class Told(Tiny):
    """One weight, and three labels."""

    classes = 3

    def forward(self, x, t, y):
        return super().forward(x, t) + y.view(-1, 1, 1, 1)


def test_a_label_is_left_out_below_its_probability_not_at_it(monkeypatch):
    class Half(Noted):
        def rand(self, n, **options):
            return torch.full((n,), 0.5)

    labels = torch.arange(18) % 3
    for probability, kept in ((0.5, True), (0.51, False)):
        config = replace(CONFIG, label_dropout=probability, flip=False)
        t = Trainer(Told(), linear(), images(), config, "cpu", labels)
        drawn = labels[t._positions()]
        monkeypatch.setattr(training, "torch", Half())
        assert torch.equal(t._some_labels(), drawn if kept else torch.full((4,), 3))


def test_the_loss_has_the_weights_and_labels_that_are_given():
    x0, y, schedule = to_float(images(5)), torch.tensor([0, 1, 2, 0, 1]), linear()
    found = noise_prediction_loss(Told(), schedule, x0, torch.Generator().manual_seed(3),
                                  "1/alpha", 2.0, y)
    generator = torch.Generator().manual_seed(3)
    t = torch.randint(1, 1001, (5,), generator=generator)
    eps = torch.randn(x0.shape, generator=generator)
    error = Told()(schedule.add_noise(x0, t, eps), t, y) - eps
    error = error / torch.tensor([schedule.at(level) ** 0.5 for level in t.tolist()]
                                 ).view(-1, 1, 1, 1)
    expected = error.square().mean() + 2 * error.mean(dim=(2, 3)).square().mean()
    torch.testing.assert_close(found, expected)


def test_a_step_takes_the_weights_of_its_configuration():
    config = replace(CONFIG, flip=False, loss_weight="1/alpha", mean_weight=2.0)
    t = Trainer(Tiny(), linear(), images(), config, "cpu")
    expected = noise_prediction_loss(Tiny(), linear(), t.batch(),
                                     torch.Generator().manual_seed(CONFIG.seed), "1/alpha", 2.0)
    assert next(t.train()).loss == expected.detach()


def test_buffers_are_followed_not_averaged():
    class Counting(Tiny):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(()))

        def forward(self, x, t):
            self.count += 1
            return super().forward(x, t)

    t = Trainer(Counting(), linear(), images(), CONFIG, "cpu")
    for now in t.train(3):
        assert t.ema.count == t.model.count == now.step


def test_one_process_draws_no_seed_of_dropout():
    t = trainer(network=SURE)
    before = torch.get_rng_state()
    run(t, 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_drawn_does_not_depend_on_torchs_defaults():
    t = trainer()
    try:
        torch.set_default_dtype(torch.float64)
        assert t._uniform(3).dtype == torch.float32
        assert training._drawn(linear(), X0, None)[1].dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.device("meta"):
        assert t._positions().device.type == "cpu"


def test_labels_go_to_the_runs_device(monkeypatch):
    moved, cpu, to = [], torch.device("cpu"), torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "to", lambda x, *a, **k: (moved.append((x.dtype, a)),
                                                                to(x, *a, **k))[1])
    labels = (torch.arange(18) % 3).to(torch.uint8)
    t = Trainer(Told(), linear(), images(), CONFIG, "cpu", labels)
    assert (torch.uint8, (cpu, torch.int64)) in moved and t.labels.dtype == torch.int64
    assert t.seconds == 0
    known = {Trainer(Told(), linear(), images(seed=seed), CONFIG, "cpu", y)._identity()
             for seed in (0, 1) for y in (labels, labels.flip(0))}
    assert len(known) == 4, "pictures and labels both are known by their checksum"


def test_a_network_of_another_schedule_or_in_half_is_not_trained():
    v_form = UNet(replace(NETWORK, prediction_type="v_prediction"), linear())
    assert Trainer(v_form, linear(), images(), CONFIG, "cpu").step == 0
    with pytest.raises(ValueError, match="schedule"):
        Trainer(v_form, cosine(), images(), CONFIG, "cpu")
    with pytest.raises(ValueError, match=r"^model must have float32 or float64 weights to be "
                                         r"trained, got torch.bfloat16 in weight; autocast "
                                         r"computes in half of that$"):
        Trainer(Tiny().bfloat16(), linear(), images(), CONFIG, "cpu")


def test_a_loss_on_a_device_that_holds_no_numbers_waits_for_none():
    x0 = torch.zeros(2, 1, 8, 8, device="meta")
    assert noise_prediction_loss(Tiny().to("meta"), linear(), x0).device.type == "meta"


X0 = torch.zeros(2, 1, 8, 8)


@pytest.mark.parametrize("call, message", [
    (lambda: noise_prediction_loss(Tiny(), linear(), X0[0]), "x0 must have at least 4 dimensions"),
    (lambda: noise_prediction_loss(Tiny(), linear(), X0[:0]), "x0 must hold at least one image"),
    (lambda: noise_prediction_loss(Tiny(), linear(), X0, weight="2"),
     "weight must be one of 1, 1/alpha, got '2'"),
    (lambda: noise_prediction_loss(Tiny(), linear(), X0, mean_weight=-1),
     "mean_weight must be at least 0, got -1"),
    (lambda: noise_prediction_loss(Tiny(), linear(), X0, mean_weight="x"),
     "mean_weight must be at least 0, got 'x'"),
    (lambda: trainer().run(every=0), "every must be a whole number of at least 1, got 0"),
    (lambda: trainer().run(log_every=0), "log_every must be a whole number of at least 1, got 0"),
])
def test_an_error_begins_with_the_argument(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


def test_the_ends_of_the_ranges_are_in_them():
    config = replace(CONFIG, seed=2**32 - 1, betas=(0, 0.5), grad_clip=math.inf, mean_weight=0)
    assert (config.seed, config.betas, config.grad_clip) == (2**32 - 1, (0, 0.5), math.inf)


def test_random_numbers_of_another_kind_of_device_do_not_go_on(tmp_path):
    path, t = tmp_path / "run.pt", trainer()
    t.save(path)
    t.generator = SimpleNamespace(get_state=lambda: torch.zeros(3))
    with pytest.raises(ValueError, match=r"^the checkpoint .*run.pt was made on another kind of "
                                         r"device than cpu, whose random numbers do not go on "
                                         r"from it$"):
        t.load(path)


def test_the_random_state_is_that_of_the_runs_kind_of_device(tmp_path, monkeypatch):
    asked = []

    def module(kind):
        asked.append(kind)
        return SimpleNamespace(get_rng_state=lambda: torch.zeros(1), set_rng_state=lambda _: None)

    t = trainer()
    t.device = SimpleNamespace(type="npu")
    monkeypatch.setattr(torch, "get_device_module", module)
    t.save(tmp_path / "run.pt")
    t.load(tmp_path / "run.pt")
    assert asked == ["npu", "npu"]


def test_one_step_between_checkpoints_and_entries_is_enough(tmp_path):
    record = trainer().run(2, checkpoint=tmp_path / "run.pt", every=1, log_every=1, progress=False)
    assert [entry["step"] for entry in record] == [1, 2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_record_begins_with_what_was_pending_in_float32(dtype, monkeypatch):
    t = trainer()
    t.step, t._pending = 1, (0.25, 1)

    def steps(until):
        for t.step in (2, 3, 4, 5, 6):
            yield training.Progress(t.step, torch.tensor(0.1, dtype=torch.float32))

    monkeypatch.setattr(t, "train", steps)
    try:
        torch.set_default_dtype(dtype)
        record = t.run(6, log_every=3, progress=False)
    finally:
        torch.set_default_dtype(torch.float32)
    tenth = np.float32(0.1)
    sums = {3: np.float32(0.25) + tenth + tenth, 6: tenth + tenth + tenth}
    assert record == [{"step": step, "loss": float(total) / 3} for step, total in sums.items()]


def test_the_seconds_of_a_run_go_on_from_those_before():
    t = trainer()
    t.seconds = 100.0
    t.run(2, progress=False)
    assert 100 < t.seconds < 160
    first = t.seconds
    t.run(4, progress=False)
    assert first < t.seconds < 160


@pytest.mark.parametrize("checkpoint, said", [("run.pt", ", saved in run.pt"), (None, "")])
def test_a_run_that_stops_says_where(checkpoint, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    t = trainer(replace(CONFIG, steps=2000))
    t.step = 1000
    t.model.register_forward_pre_hook(lambda *_: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(training.Stopped, match=f"^Stopped at step 1,001 of 2,000{said}$"):
        t.run(checkpoint=checkpoint, progress=False)


def test_a_run_that_is_asked_to_stop_in_its_last_step_has_ended():
    t = trainer()
    t.model.register_forward_pre_hook(
        lambda *_: os.kill(os.getpid(), signal.SIGINT) if t.step == 1 else None)
    assert [entry["step"] for entry in t.run(2, progress=False)] == [2]


def test_nothing_is_compiled_unasked():
    t = Trainer(Tiny(), linear(), images(4), CONFIG, "cpu")
    assert t._run is t.model
