"""Training does what its six steps say, and a run that is stopped continues as if it were not."""

import math
import os
import signal
from dataclasses import replace

import pytest
import torch
from torch import nn

from ddim_lib.datasets import load_uint8
from ddim_lib.pixels import to_float
from ddim_lib.runtime import precision
from ddim_lib.runtime.precision import best_precision
from ddim_lib.schedule import cosine, linear
from ddim_lib.training import (
    Progress,
    Trainer,
    TrainingConfig,
    learning_rate,
    noise_prediction_loss,
)
from ddim_lib.unet import UNet, UNetConfig

NETWORK = UNetConfig(8, 1, 16, (1, 2), 1, (4,), dropout=0.3, groups=8)
CONFIG = TrainingConfig(steps=12, batch_size=4, lr=1e-2, warmup=3, ema_decay=0.9,
                        autocast="fp32", flip=True, seed=7)


def images(n=18, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 1, 8, 8), generator=generator, dtype=torch.uint8)


def trainer(config=CONFIG, network=NETWORK, data=None, seed=0):
    torch.manual_seed(seed)
    return Trainer(UNet(network), linear(), images() if data is None else data, config, "cpu")


def run(t, until=None):
    return [now.loss.item() for now in t.train(until)]


def everything(t):
    """All that a run is made of, as flat tensors."""
    state = {f"model.{k}": v for k, v in t.model.state_dict().items()}
    state |= {f"ema.{k}": v for k, v in t.ema.state_dict().items()}
    for i, moments in t.optimizer.state_dict()["state"].items():
        state |= {f"adam.{i}.{k}": torch.as_tensor(v) for k, v in moments.items()}
    state["lr"] = torch.tensor([g["lr"] for g in t.optimizer.param_groups], dtype=torch.float64)
    state["generator"], state["step"] = t.generator.get_state(), torch.tensor(t.step)
    return {k: v.clone() for k, v in state.items()}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        assert torch.equal(a[key], b[key]), key


# The loss ---------------------------------------------------------------------------------------

class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))
        self.seen = []

    def forward(self, x, t):
        self.seen.append((x.detach(), t))
        return self.weight * x + t.view(-1, 1, 1, 1) / 1000


@pytest.mark.equation("5")
def test_the_loss_is_the_noises_squared_error():
    """DDPM eq. 14, DDIM eq. 5 with gamma = 1: the same numbers drawn again and put together."""
    schedule, model = linear(), Linear()
    x0 = to_float(images(6))
    loss = noise_prediction_loss(model, schedule, x0, torch.Generator().manual_seed(3))

    generator = torch.Generator().manual_seed(3)
    t = torch.randint(1, 1001, (6,), generator=generator)
    eps = torch.randn(x0.shape, generator=generator)
    total = 0.0
    for i in range(6):
        alpha = schedule.at(t[i].item())
        x_t = math.sqrt(alpha) * x0[i] + math.sqrt(1 - alpha) * eps[i]
        torch.testing.assert_close(model.seen[0][0][i], x_t)
        total += ((0.5 * x_t + t[i] / 1000 - eps[i]) ** 2).sum().item()
    assert torch.equal(model.seen[0][1], t)
    assert loss.ndim == 0 and loss.item() == pytest.approx(total / x0.numel(), rel=1e-5)


@pytest.mark.equation("5")
def test_the_loss_is_0_for_an_oracle_and_asks_for_every_t_from_1_to_T():
    schedule, x0 = linear(20, 0.01, 0.3), torch.full((4000, 1, 1, 1), 0.5)
    asked = []

    def oracle(x, t):
        asked.append(t)
        a = schedule.alpha[t].float().view(-1, 1, 1, 1)
        return (x - a.sqrt() * x0) / (1 - a).sqrt()

    assert noise_prediction_loss(oracle, schedule, x0).item() < 1e-9
    counts = torch.bincount(asked[0], minlength=22)
    assert counts[0] == 0 and counts[21] == 0
    assert counts[1:21].min() > 130  # 200 of each, five deviations of 14


# Resume -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_halves_equal_the_whole_bit_for_bit(precision, tmp_path):
    """With dropout, mirrored images and three epoch borders (18 images in batches of 4)."""
    config = replace(CONFIG, autocast=precision)
    whole = trainer(config)
    losses = run(whole)

    first = trainer(config)
    half = run(first, 6)
    first.save(tmp_path / "half.pt")
    del first
    torch.manual_seed(12345)
    torch.rand(17)  # another process: nothing of the first run is left
    second = trainer(config, seed=99)
    torch.rand(5)
    second.load(tmp_path / "half.pt")
    assert second.step == 6
    half += run(second)
    assert half == losses
    assert_same(everything(second), everything(whole))


def test_stopping_without_saving_changes_nothing():
    # Without dropout: it draws from the global generator, which a second run in this process moves.
    network = replace(NETWORK, dropout=0.0)
    whole, parts = trainer(network=network), trainer(network=network)
    losses = [run(parts, until) for until in (5, 5, 12)]
    assert [len(part) for part in losses] == [5, 0, 7]
    assert sum(losses, []) == run(whole)
    assert_same(everything(parts), everything(whole))


def test_the_seed_decides_and_nothing_else():
    a, b, other = trainer(), trainer(), trainer(replace(CONFIG, seed=8))
    for t in (a, b, other):
        torch.manual_seed(CONFIG.seed)  # of dropout: three trainers in one process
        t.losses = run(t, 4)
    assert a.losses == b.losses and a.losses != other.losses


def test_sampling_in_between_does_not_disturb_a_run():
    from ddim_lib.sampling import sample

    quiet = trainer()
    run(quiet)
    curious = trainer()
    for now in curious.train():
        if now.step % 4 == 0:
            for network in (curious.ema, curious.model):
                sample(network, linear(), seeds=[1], steps=2, eta=1.0, progress=False)
    assert_same(everything(curious), everything(quiet))


def test_a_failing_save_leaves_the_old_checkpoint_and_nothing_else(tmp_path, monkeypatch):
    t, path = trainer(), tmp_path / "run.pt"
    t.save(path)
    before = path.read_bytes()
    run(t, 2)

    def full(state, file):
        file.write(b"half a checkpoint")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        t.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_is_read_without_running_code(tmp_path):
    t = trainer()
    t.save(tmp_path / "new" / "run.pt")
    assert torch.load(tmp_path / "new" / "run.pt", weights_only=True)["step"] == 0


class Evil:
    """Read without care, this pickle runs a command: it makes a folder."""

    def __reduce__(self):
        return os.mkdir, ("evil",)


def damage(path, kind):
    if kind == "text":
        path.write_text("not a checkpoint")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "cut":
        path.write_bytes(path.read_bytes()[:-2000])
    elif kind == "foreign":
        torch.save({"state_dict": {}}, path)
    elif kind == "code":
        torch.save(Evil(), path)


@pytest.mark.parametrize("kind", ["text", "empty", "cut", "foreign", "code"])
def test_a_damaged_checkpoint_is_an_error_and_changes_nothing(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "run.pt"
    trainer().save(path)
    damage(path, kind)
    t = trainer()
    run(t, 2)
    before = everything(t)
    with pytest.raises(ValueError, match="run.pt is not a checkpoint of this library, or is dam"):
        t.load(path)
    assert_same(everything(t), before)
    assert not (tmp_path / "evil").exists()


def test_a_missing_checkpoint_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="path must be a checkpoint; there is no .*none.pt"):
        trainer().load(tmp_path / "none.pt")


def test_another_configuration_is_an_error_that_names_the_difference(tmp_path):
    trainer().save(tmp_path / "run.pt")
    t = trainer(replace(CONFIG, lr=3e-4, batch_size=2))
    run(t, 1)
    before = everything(t)
    with pytest.raises(ValueError, match=r"another configuration .*: \{'batch_size': \(4, 2\), "
                                         r"'lr': \(0\.01, 0\.0003\)\}"):
        t.load(tmp_path / "run.pt")
    assert_same(everything(t), before)


@pytest.mark.parametrize("other", [replace(NETWORK, ch=32), replace(NETWORK, num_res_blocks=2),
                                   replace(NETWORK, attn_resolutions=())])
def test_another_network_is_an_error(other, tmp_path):
    donor = trainer(network=other)
    run(donor, 2)
    donor.save(tmp_path / "run.pt")
    with pytest.raises(ValueError, match="run.pt is of another network"):
        trainer().load(tmp_path / "run.pt")


@pytest.mark.parametrize("kind", ["network", "part"])
def test_a_checkpoint_that_does_not_fit_changes_nothing(kind, tmp_path):
    path = tmp_path / "run.pt"
    donor = trainer(network=replace(NETWORK, attn_resolutions=()) if kind == "network" else NETWORK)
    run(donor, 2)
    donor.save(path)
    if kind == "part":
        state = torch.load(path, weights_only=True)
        del state["optimizer"]
        torch.save(state, path)
    t = trainer()
    before = everything(t)
    with pytest.raises(ValueError, match="run.pt"):
        t.load(path)
    assert_same(everything(t), before)


# The loop ---------------------------------------------------------------------------------------

def test_the_average_is_the_recursion_with_its_warm_up():
    """ema <- d ema + (1 - d) weights, d = min(ema_decay, (1 + n) / (10 + n)), n = 1, 2, .."""
    t = trainer(replace(CONFIG, ema_decay=0.3))
    expected = {k: v.clone().double() for k, v in t.model.state_dict().items()}
    for n, _ in enumerate(t.train(), start=1):
        decay = min(0.3, (1 + n) / (10 + n))
        assert (decay < 0.3) is (n < 3)  # both branches
        for key, value in t.model.state_dict().items():
            expected[key] = decay * expected[key] + (1 - decay) * value.double()
            found = t.ema.state_dict()[key].double()
            torch.testing.assert_close(found, expected[key], rtol=1e-5, atol=1e-7, msg=f"{n} {key}")
    assert not torch.allclose(t.ema.conv_out.weight, t.model.conv_out.weight)
    assert not t.ema.training and not any(p.requires_grad for p in t.ema.parameters())


@pytest.mark.parametrize("clip", [0.01, 1e9])
def test_gradients_are_clipped_to_their_norm(clip):
    t, norms = trainer(replace(CONFIG, grad_clip=clip, lr=1e-6)), []
    for _ in t.train(4):
        norms.append(torch.stack([p.grad.norm() for p in t.model.parameters()]).norm().item())
    if clip == 0.01:
        assert norms == pytest.approx([0.01] * 4, rel=1e-3)
    else:
        assert min(norms) > 0.05


def test_the_rate_rises_and_falls_to_nothing():
    config = TrainingConfig(steps=1000, lr=2e-3, warmup=100)
    rates = [learning_rate(config, step) for step in range(1000)]
    assert rates[0] == pytest.approx(2e-5)
    assert rates[49] == pytest.approx(1e-3, rel=0.01)
    assert rates[99] == pytest.approx(2e-3 * 0.5 * (1 + math.cos(math.pi * 0.099)))
    assert rates[500] == pytest.approx(1e-3)
    assert 0 < rates[999] < 1e-8 and learning_rate(config, 1000) == 0
    assert all(a < b for a, b in zip(rates[:90], rates[1:90], strict=False))
    assert all(a > b for a, b in zip(rates[100:], rates[101:], strict=False))
    assert learning_rate(replace(config, warmup=0), 0) == pytest.approx(2e-3)


def test_the_rate_reaches_the_optimiser():
    t = trainer()
    for now in t.train():
        assert t.optimizer.param_groups[0]["lr"] == learning_rate(CONFIG, now.step - 1)


def test_the_first_steps_are_adams(tmp_path):
    """Written again with a plain Adam: loss, clip, rate, step."""
    config = replace(CONFIG, grad_clip=0.05)
    network = replace(NETWORK, dropout=0.0)
    t = trainer(config, network)
    torch.manual_seed(0)
    model = UNet(network).train()
    adam = torch.optim.Adam(model.parameters(), betas=(0.9, 0.99))
    generator = torch.Generator().manual_seed(config.seed)
    order = torch.randperm(18, generator=torch.Generator().manual_seed(config.seed * 1_000_003))
    for i, now in enumerate(t.train(3)):
        x0 = to_float(images()[order[4 * i:4 * i + 4]])
        mirror = torch.rand(4, generator=generator) < 0.5
        x0 = torch.where(mirror[:, None, None, None], x0.flip(3), x0)
        loss = noise_prediction_loss(model, linear(), x0, generator)
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        adam.param_groups[0]["lr"] = learning_rate(config, i)
        adam.step()
        assert isinstance(now, Progress) and now.step == i + 1
        assert now.loss.item() == pytest.approx(loss.item(), rel=1e-5)
    for ours, theirs in zip(t.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("n, batch_size", [(18, 4), (16, 4), (5, 5)])
def test_every_image_is_seen_at_most_once_an_epoch_in_a_new_order(n, batch_size):
    data = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, 1, 8, 8).contiguous()
    t = trainer(replace(CONFIG, batch_size=batch_size, flip=False), data=data)
    per_epoch, epochs = n // batch_size, []
    for epoch in range(3):
        seen = []
        for position in range(per_epoch):
            t.step = epoch * per_epoch + position
            batch = t.batch()
            assert batch.dtype == torch.float32 and batch.shape == (batch_size, 1, 8, 8)
            assert -1 <= batch.min() and batch.max() <= 1
            seen += ((batch[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()
        assert len(set(seen)) == len(seen) == per_epoch * batch_size
        if n % batch_size == 0:
            assert sorted(seen) == list(range(n))
        epochs.append(seen)
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_look_at_the_images_changes_nothing():
    t, other = trainer(), trainer()
    assert CONFIG.flip and torch.equal(t.batch(), t.batch())
    assert next(t.train()).loss == next(other.train()).loss


@pytest.mark.parametrize("flip", [True, False])
def test_half_of_the_images_are_mirrored_where_asked(flip):
    data = torch.zeros(400, 1, 8, 8, dtype=torch.uint8)
    data[..., :4] = 255  # bright on the left
    t = trainer(replace(CONFIG, batch_size=400, flip=flip), data=data)
    batch = t.batch()
    mirrored = (batch[:, 0, 0, 7] == 1).sum().item()
    assert set(batch.sum(dim=3).flatten().tolist()) == {0.0}  # whole rows, nothing else moved
    assert (150 < mirrored < 250) if flip else mirrored == 0


def test_the_network_trains_in_training_mode_even_after_sampling():
    t = trainer()
    t.model.eval()
    for _ in t.train(2):
        assert t.model.training
    assert not t.ema.training


# Precision --------------------------------------------------------------------------------------

@pytest.mark.parametrize("capability, expected", [((7, 5), "fp16"), ((7, 0), "fp16"),
                                                  ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_a_gpu_computes_in_what_it_is_good_at(capability, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    assert best_precision(torch.device("cuda")) == expected


@pytest.mark.parametrize("avx, amx, expected", [(True, False, "bf16"), (False, True, "bf16"),
                                                (False, False, "fp32"), (None, None, "fp32")])
def test_a_cpu_computes_in_what_it_is_good_at(avx, amx, expected, monkeypatch):
    for name, answer in (("avx512_bf16", avx), ("amx_tile", amx)):
        name = f"_is_{name}_supported"
        if answer is None:  # an older release, which cannot say
            monkeypatch.delattr(torch.cpu, name, raising=False)
        else:
            monkeypatch.setattr(torch.cpu, name, lambda answer=answer: answer, raising=False)
    assert best_precision(torch.device("cpu")) == expected
    t = trainer(replace(CONFIG, autocast="auto"))
    assert t.precision == expected


def test_fp16_on_a_cpu_is_an_error():
    with pytest.raises(ValueError, match="autocast must be auto, bf16 or fp32 on a CPU, got fp16"):
        trainer(replace(CONFIG, autocast="fp16"))


@pytest.mark.parametrize("precision, inside", [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast_is_around_the_network_alone(precision, inside):
    t, seen = trainer(replace(CONFIG, autocast=precision)), []
    t.model.conv_out.register_forward_hook(lambda m, i, out: seen.append(out.dtype))
    for now in t.train(1):
        assert now.loss.dtype == torch.float32
    assert seen == [inside]
    assert all(p.dtype == torch.float32 for p in (*t.model.parameters(), *t.ema.parameters()))


# Runs -------------------------------------------------------------------------------------------

def test_the_record_is_the_mean_of_the_losses():
    t, again = trainer(), trainer(replace(CONFIG))
    torch.manual_seed(CONFIG.seed)
    record = t.run(10, log_every=4, progress=False)
    torch.manual_seed(CONFIG.seed)
    losses = run(again, 10)
    assert [entry["step"] for entry in record] == [4, 8, 10]
    means = [sum(losses[a:b]) / (b - a) for a, b in ((0, 4), (4, 8), (8, 10))]
    assert [entry["loss"] for entry in record] == pytest.approx(means, rel=1e-5)
    assert [entry["step"] for entry in t.run(log_every=4, progress=False)] == [12]


def test_checkpoints_are_written_on_the_way_and_at_the_end(tmp_path, monkeypatch):
    t, path, saved = trainer(), tmp_path / "run.pt", []
    real = Trainer.save
    monkeypatch.setattr(Trainer, "save", lambda self, p: (saved.append(self.step), real(self, p)))
    t.run(10, checkpoint=path, every=4, progress=False)
    assert saved == [4, 8, 10]
    assert torch.load(path, weights_only=True)["step"] == 10


# Wherever in its step Ctrl-C comes: in the forward pass, or between the two updates.
@pytest.mark.parametrize("where", ["forward", "optimizer"])
def test_an_interrupted_run_is_saved_after_a_whole_step(tmp_path, where):
    # One after the other: dropout draws from the global generator.
    trainer().run(4, checkpoint=tmp_path / "whole.pt", progress=False)
    t, path, calls = trainer(), tmp_path / "run.pt", []

    def interrupt(*_):
        calls.append(1)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGINT)

    if where == "forward":
        t.model.register_forward_pre_hook(interrupt)
    else:
        t.optimizer.register_step_post_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        t.run(checkpoint=path, progress=False)
    stopped, undisturbed = (torch.load(p, weights_only=True) for p in (path, tmp_path / "whole.pt"))
    assert stopped["step"] == 4
    assert torch.equal(stopped["generator"], undisturbed["generator"])
    for part in ("model", "ema"):
        for key, value in undisturbed[part].items():
            assert torch.equal(stopped[part][key], value), (part, key)


def test_a_second_interrupt_does_not_wait(tmp_path):
    t = trainer()
    t.model.register_forward_pre_hook(
        lambda *_: [os.kill(os.getpid(), signal.SIGINT) for _ in range(2)])
    with pytest.raises(KeyboardInterrupt):
        t.run(checkpoint=tmp_path / "run.pt", progress=False)
    assert t.step == 0 and not (tmp_path / "run.pt").exists()


# Looked at every second step and where a checkpoint is due: at step 6, and already at step 5
# where the checkpoints come more often than the looks.
@pytest.mark.parametrize(("every", "log_every", "step"), [(2, 2, 6), (1, 8, 5)])
def test_a_loss_that_is_not_finite_stops_the_run_and_spares_the_checkpoint(
        every, log_every, step, tmp_path):
    t, path = trainer(), tmp_path / "run.pt"
    t.run(4, checkpoint=path, log_every=2, progress=False)
    before = path.read_bytes()
    with torch.no_grad():
        t.model.conv_out.bias.fill_(math.nan)
    with pytest.raises(FloatingPointError, match=rf"the loss is nan at step {step}; a smaller lr "
                                                 r"than 0\.01 or fp32 may help"):
        t.run(checkpoint=path, every=every, log_every=log_every, progress=False)
    assert path.read_bytes() == before


def test_a_tiny_run_learns():
    """On the embedded digits, shrunk to 14 pixels: from 1 to below 0.35."""
    digits, _ = load_uint8("digits")
    digits = nn.functional.avg_pool2d(digits.float(), 2).to(torch.uint8)
    torch.manual_seed(0)
    model = UNet(UNetConfig(14, 1, 16, (1, 2), 1, (), dropout=0.0, groups=8))
    config = TrainingConfig(steps=80, batch_size=16, lr=4e-3, warmup=10, ema_decay=0.98,
                            autocast="fp32")
    t = Trainer(model, linear(), digits, config, "cpu")
    record = t.run(log_every=10, progress=False)
    assert record[0]["loss"] > 0.7
    assert record[-1]["loss"] < 0.35
    batch = to_float(digits[:256])
    with torch.no_grad():
        average = noise_prediction_loss(t.ema, linear(), batch, torch.Generator().manual_seed(0))
    assert average.item() < 0.35


# Errors -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("change, message", [
    ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
    ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
    ({"lr": 0.0}, r"lr must be above 0, got 0\.0"),
    ({"lr": math.nan}, "lr must be a number, got nan"),
    ({"grad_clip": -1.0}, r"grad_clip must be above 0, got -1\.0"),
    ({"warmup": -1}, "warmup must be a whole number of at least 0, got -1"),
    ({"ema_decay": 1.0}, r"ema_decay must be in \[0, 1\), got 1\.0"),
    ({"ema_decay": -0.1}, r"ema_decay must be in \[0, 1\), got -0\.1"),
    ({"autocast": "int8"}, "autocast must be one of auto, bf16, fp16, fp32, got 'int8'"),
    ({"seed": "x"}, "seed must be a whole number, got 'x'"),
    ({"seed": -1}, r"seed must be a whole number in 0\.\.4294967295, got -1"),
    ({"seed": 2**32}, r"seed must be a whole number in 0\.\.4294967295, got 4294967296"),
    ({"betas": (0.9,)}, r"betas must be two numbers in \[0, 1\), got \(0.9,\)"),
    ({"betas": (0.9, 1.0)}, r"betas must be two numbers in \[0, 1\), got \(0.9, 1.0\)"),
    ({"betas": (-0.1, 0.9)}, r"betas must be two numbers in \[0, 1\), got \(-0.1, 0.9\)"),
    ({"loss_weight": "2"}, "loss_weight must be one of 1, 1/alpha, got '2'"),
    ({"mean_weight": -1}, "mean_weight must be at least 0, got -1"),
    ({"mean_weight": math.inf}, "mean_weight must be at least 0, got inf"),
])
def test_a_configuration_that_cannot_be_is_an_error(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        replace(CONFIG, **change)


def test_images_that_do_not_fit_are_errors():
    with pytest.raises(TypeError, match=r"images must be a uint8 tensor .*\(N, C, H, W\), got "
                                        r"torch.float32"):
        trainer(data=to_float(images()))
    with pytest.raises(TypeError, match=r"got torch.uint8 of shape \(18, 8, 8\)"):
        trainer(data=images()[:, 0])
    with pytest.raises(ValueError, match="batch_size must be at most the number of images, 3, "
                                         "got 4"):
        trainer(data=images(3))


def test_a_step_beyond_the_run_is_an_error():
    with pytest.raises(ValueError, match="until must be .* 0..12, the run's 12 steps, got 13"):
        next(trainer().train(13))


def test_another_schedule_or_other_images_are_an_error(tmp_path):
    """They change what a run computes, and neither the configuration nor a tensor tells."""
    path = tmp_path / "run.pt"
    donor = trainer()
    run(donor, 2)
    donor.save(path)
    other = trainer()
    other.schedule = cosine()
    fewer = trainer()
    fewer.images = fewer.images[:-1]
    for t in (other, fewer):
        with pytest.raises(ValueError, match="run.pt is of another run"):
            t.load(path)
        assert t.step == 0


def test_a_run_does_not_go_on_in_another_number_type(tmp_path, monkeypatch):
    """Where autocast is "auto", another device may choose another one; nothing is touched then."""
    path, config = tmp_path / "run.pt", replace(CONFIG, autocast="auto")
    monkeypatch.setattr(precision, "best_precision", lambda device: "bf16")
    donor = trainer(config)
    run(donor, 2)
    donor.save(path)
    monkeypatch.setattr(precision, "best_precision", lambda device: "fp32")
    other = trainer(config)
    before = {key: value.clone() for key, value in other.model.state_dict().items()}
    with pytest.raises(ValueError, match="another run: .* in bf16, this run is .* in fp32"):
        other.load(path)
    assert other.step == 0
    assert all(torch.equal(value, before[key]) for key, value in other.model.state_dict().items())


def test_a_frozen_weight_stays_and_so_does_its_average():
    t = trainer()
    t.model.conv_in.requires_grad_(False)
    before = t.model.conv_in.weight.clone()
    run(t, 2)
    assert torch.equal(t.model.conv_in.weight, before)
    assert torch.equal(t.ema.conv_in.weight, before)
    assert not torch.equal(t.ema.conv_out.weight, torch.zeros_like(t.ema.conv_out.weight))
