"""Learning the noise: the loss, the loop, and everything a resume needs.

Training is the same for DDPM and DDIM (DDPM algorithm 1; DDIM section 3 and
theorem 1): the loss below, whatever sampler comes after.
"""

from __future__ import annotations

import math
import signal
import sys
import time
import zlib
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ddim_lib.pixels import to_float
from ddim_lib.posterior import posterior_mean
from ddim_lib.runtime import accelerator, arguments, precision
from ddim_lib.runtime.interrupts import stop_requests
from ddim_lib.runtime.networks import asked, check_schedule
from ddim_lib.runtime.processes import (
    average,
    broadcast,
    check_same,
    is_first,
    rank,
    wait,
    world_size,
)
from ddim_lib.schedule import Schedule
from ddim_lib.storage.files import check_zip, replacing

# What a checkpoint holds: all of it, or the run would go on differently.
STATE = {"config", "run", "step", "record", "pending", "seconds", "model", "ema", "optimizer",
         "scaler", "generator", "global_rng", "device_rng"}

LOSS_WEIGHTS = ("1", "1/alpha")

# What asks a run to stop: Ctrl-C, a cluster or the system, a terminal that closes (not on Windows).
STOP = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def noise_prediction_loss(model: nn.Module, schedule: Schedule, x0: Tensor,
                          generator: torch.Generator | None = None,
                          weight: str = "1", mean_weight: float = 0.0,
                          y: Tensor | None = None, images: Tensor | None = None) -> Tensor:
    """Steps 2 to 5 of training: the mean squared error of the noise over the batch and pixels.

    Book: equations (5), (7.3) and (12.1).

    Args:
        model: ``model(x, t) -> eps``.
        schedule: the noise levels.
        x0: images in [-1, 1], shape (N, C, H, W); step 1 has drawn them.
        generator: of t and eps, on x0's device.
        weight: of each image's squared error: ``"1"``, as in the papers, or ``"1/alpha"``,
            which makes it the squared error of the velocity, (v - F)^2.
        mean_weight: how many times the squared error of each channel's mean is added, which is
            otherwise one of the H*W directions of a channel. The least of the sum is where it was,
            at the posterior mean.
        y: labels, int64, shape (N,), for ``model(x, t, y)``; those that shall be left out are "no
            label" in it already.
        images: all pictures that x0 was drawn from, float, shape (M, C, H, W), for a stable target
            (Xu and others, arXiv 2302.00670). x_t is made of x0 and eps as ever, but the network is
            compared with the noise in it that goes with the mean of x_0 given x_t over all of them
            (:func:`~ddim_lib.posterior.posterior_mean`). The least of the loss is where it was,
            and the scatter of single pictures about that mean is gone. Not with y.

    Returns:
        A scalar; with weight "1" and mean_weight 0 it is 1.0 for a network that predicts no
        noise at all. (The sum over pixels of the papers is this times C*H*W, which only scales
        the learning rate.)

    Raises:
        TypeError: x0 is not in floating point, or the network answers with no tensor.
        ValueError: another weight, or mean_weight is below 0; no image; the network's answer has
            not the shape of x0; images are of another shape, or stand beside y.
    """
    arguments.batch("x0", x0, wait=False, dims=4)
    mean_weight = _check_mean_weight(mean_weight)
    arguments.choice("weight", weight, LOSS_WEIGHTS)
    if images is not None and y is not None:
        raise ValueError("images must be None beside y: their mean is over pictures of any label")
    return _squared_error(model, schedule, x0, *_drawn(schedule, x0, generator), weight,
                          mean_weight, y, images)


def _check_mean_weight(mean_weight: float) -> float:
    found = arguments.number("mean_weight", mean_weight, "at least 0")
    if not 0 <= found < math.inf:
        raise ValueError(f"mean_weight must be at least 0, got {found}")
    return found


def _drawn(schedule: Schedule, x0: Tensor, generator: torch.Generator | None):
    t = torch.randint(1, schedule.T + 1, (len(x0),), device=x0.device, generator=generator)
    return t, torch.randn(x0.shape, dtype=torch.float32, device=x0.device, generator=generator)


def _squared_error(model: nn.Module, schedule: Schedule, x0: Tensor, t: Tensor, eps: Tensor,
                   weight: str, mean_weight: float, y: Tensor | None,
                   images: Tensor | None) -> Tensor:
    x_t = schedule.add_noise(x0, t, eps)
    signal, noise = schedule.roots(t, x_t.ndim, torch.float32)
    if images is not None:
        with torch.autocast(x_t.device.type, enabled=False):  # it divides by next to nothing
            mean = posterior_mean(x_t, signal.flatten().square(), images)
        eps = (x_t - signal * mean) / noise
    error = asked(model, x_t, t, *(() if y is None else (y,))).float() - eps
    if weight == "1/alpha":
        # The same picture seen as noise or as velocity: eps - eps_theta = sqrt(alpha) (v - F).
        # The root divides before the square, which would lose digits where alpha is small.
        error = error / signal
    loss = error.square().mean()
    if mean_weight:
        loss = loss + mean_weight * error.mean(dim=(2, 3)).square().mean()
    return loss


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides what a run computes; stored with its checkpoints.

    Args:
        steps: gradient steps of the whole run; the learning rate ends at 0 there.
        batch_size: images a step, of all processes together.
        lr: the learning rate after its warm-up.
        warmup: steps over which the rate rises from 0.
        betas: of Adam.
        grad_clip: the largest gradient norm; larger ones are scaled down to it.
        ema_decay: of the weights' exponential moving average, warmed up as
            min(ema_decay, (1 + step) / (10 + step)).
        autocast: ``"auto"`` (what the device is good at), ``"bf16"``, ``"fp16"`` (with loss
            scaling, CUDA alone) or ``"fp32"``.
        flip: mirror half of the images, left to right.
        compile: run the network through torch.compile.
        loss_weight: ``"1"`` or ``"1/alpha"``, see :func:`noise_prediction_loss`.
        mean_weight: at least 0, see there too.
        stable_targets: compare with the mean over all images, see there too; a mirrored picture
            counts as one more where half are mirrored.
        label_dropout: with which probability a picture's label is left out of a step, in [0, 1),
            so that the network learns to do without (p_uncond of Ho and Salimans, arXiv
            2207.12598, algorithm 1). Without labels it does nothing.
        seed: of the order of the data, t, noise, left out labels and dropout.
    """

    steps: int = 1000
    batch_size: int = 64
    lr: float = 1e-3
    warmup: int = 100
    betas: tuple[float, float] = (0.9, 0.99)
    grad_clip: float = 1.0
    ema_decay: float = 0.999
    autocast: str = "auto"
    flip: bool = False
    compile: bool = False
    loss_weight: str = "1"
    mean_weight: float = 0.0
    stable_targets: bool = False
    label_dropout: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        arguments.plain_fields(self)
        for name, lowest in (("steps", 1), ("batch_size", 1), ("warmup", 0)):
            arguments.whole(name, getattr(self, name), lowest)
        arguments.whole("seed", self.seed, 0, 2**32 - 1)
        for name, most in (("lr", sys.float_info.max), ("grad_clip", math.inf)):
            if not 0 < getattr(self, name) <= most:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("ema_decay", "label_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be two numbers in [0, 1), got {self.betas}")
        arguments.choice("loss_weight", self.loss_weight, LOSS_WEIGHTS)
        _check_mean_weight(self.mean_weight)
        precision.check(self.autocast)


def _check_labels(labels: Tensor | None, n: int, classes: int) -> None:
    if labels is None:
        if classes:
            raise ValueError(f"labels must be given for a network with {classes} of them, got None")
        return
    if not classes:
        raise ValueError("labels must be None for a network without labels, got "
                         f"{arguments.shown(labels)}")
    if not isinstance(labels, Tensor) or labels.dtype not in (torch.int64, torch.uint8) \
            or labels.shape != (n,):
        raise ValueError(f"labels must be int64 or uint8 of shape ({n},), one an image, got "
                         f"{arguments.shown(labels)}")
    for value in (labels.min().item(), labels.max().item()):
        if not 0 <= value < classes:
            raise ValueError(f"labels must be in 0..{classes - 1} for this network, got {value}")


class Progress(NamedTuple):
    """One step's report.

    Attributes:
        step: the number of gradient steps done.
        loss: a scalar, left on the device: reading it every step would stall. The mean over
            the whole batch, in every process.
    """

    step: int
    loss: Tensor


class Stopped(KeyboardInterrupt):
    """A run was asked to stop, and has ended after a whole step and its checkpoint."""


class Trainer:
    """A training run that can be stopped, saved and continued as if nothing had happened.

    In several processes (:mod:`~ddim_lib.runtime.processes`) each computes its part of the same
    batches: images, t, noise and left out labels are those of a run in one process, gradients are
    averaged before they are clipped, and weights and averages stay equal everywhere. Only the masks
    of dropout differ from one process's: they are drawn anew from (seed, step, rank) at each step.

    PyTorch's global generator, from which dropout draws, is set to the seed when it is made.

    Args:
        model: the network; moved to the device.
        schedule: the noise levels.
        images: uint8, shape (N, C, H, W), kept on the device; made float batch by batch.
        config: see :class:`TrainingConfig`.
        device: where left out, :func:`~ddim_lib.runtime.accelerator.device`.
        labels: one an image for a network with labels, 0..classes - 1, int64 or uint8, shape (N,);
            kept on the device.

    Raises:
        TypeError: images are not such a tensor.
        ValueError: the weights are in half precision, the network computes with another schedule,
            has labels and gets none or the other way round, or has them and shall have stable
            targets, batch_size is not divisible by the
            number of processes, or the processes differ in configuration, network, schedule,
            images or labels. (Weights may differ: the first one's are taken.)

    Attributes:
        ema: a copy of the network with the averaged weights: the one to sample with.
        step: gradient steps done.
        record: [{"step", "loss"}, ..], what :meth:`run` has recorded, before a resume too.
        seconds: how long :meth:`run` has taken so far, likewise.
        precision: the type that autocast computes in: "bf16", "fp16" or "fp32".
    """

    def __init__(self, model: nn.Module, schedule: Schedule, images: Tensor,
                 config: TrainingConfig, device: str | torch.device | None = None,
                 labels: Tensor | None = None):
        if not isinstance(images, Tensor) or images.dtype != torch.uint8 or images.ndim != 4:
            raise TypeError(f"images must be a uint8 tensor of shape (N, C, H, W), got "
                            f"{arguments.shown(images)}")
        if len(images) < config.batch_size:
            raise ValueError(f"batch_size must be at most the number of images, {len(images)}, "
                             f"got {config.batch_size}")
        check_schedule(model, schedule)
        for name, weight in model.named_parameters():
            # Steps of a small rate round to nothing there, in the weights and in their average.
            if weight.dtype in (torch.float16, torch.bfloat16):
                raise ValueError(f"model must have float32 or float64 weights to be trained, got "
                                 f"{weight.dtype} in {name}; autocast computes in half of that")
        _check_labels(labels, len(images), getattr(model, "classes", 0))
        self.device = accelerator.named(accelerator.device() if device is None else device)
        self.config, self.schedule, self.step = config, schedule, 0
        self.record, self.seconds = [], 0.0
        self._pending = (0.0, 0)  # sum and number of the losses since the last entry
        self.model = model.to(self.device).train()
        self.ema = deepcopy(self.model).eval().requires_grad_(False)
        self.images = images.to(self.device)
        self.labels = None if labels is None else labels.to(self.device, torch.int64)
        self._all = self._all_images() if config.stable_targets else None
        self._crc32 = zlib.crc32(images.cpu().contiguous().numpy())
        if labels is not None:
            self._crc32 = zlib.crc32(self.labels.cpu().contiguous().numpy(), self._crc32)
        self.precision = precision.resolve(config.autocast, self.device)
        # Without loss scaling, gradients below 6e-8 vanish in fp16.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.lr,
                                          betas=config.betas, fused=True)
        self.generator = torch.Generator(self.device).manual_seed(config.seed)
        self._run = self._compiled() if config.compile else self.model
        self._epoch, self._order = -1, None
        self._part = self._own_part()
        torch.manual_seed(config.seed)  # dropout draws from the global generator

    def _own_part(self) -> slice:
        """What this process computes of a batch, once all are known to do the same run."""
        size, n = self.config.batch_size, world_size()
        if size % n:
            raise ValueError(f"batch_size must be divisible by the number of processes, {n}, "
                             f"got {size}")
        if n > 1:
            check_same("config", self.config)
            check_same("the run", self._identity())
            for network in (self.model, self.ema):
                broadcast(network.state_dict().values())
        return slice(rank() * size // n, (rank() + 1) * size // n)

    def batch(self) -> Tensor:
        """The images of the present step, of all processes, float in [-1, 1].

        Seed and step decide which; looking at them changes nothing.
        """
        before = self.generator.get_state()
        try:
            return self._batch()
        finally:
            self.generator.set_state(before)

    def _batch(self) -> Tensor:
        """Of :meth:`batch`; which are mirrored is drawn by the run's generator."""
        x0 = to_float(self.images[self._positions()])
        if self.config.flip:
            mirror = self._uniform(len(x0)) < 0.5
            x0 = torch.where(mirror[:, None, None, None], x0.flip(3), x0)
        return x0

    def _all_images(self) -> Tensor:
        """All that a batch may hold, float in [-1, 1]."""
        if self.labels is not None:
            raise ValueError("stable_targets must be False for a network with labels: the mean is "
                             "over pictures of any label")
        every = to_float(self.images)
        return torch.cat([every, every.flip(3)]) if self.config.flip else every

    def _positions(self) -> Tensor:
        """Where the images of the present step stand among all."""
        size = self.config.batch_size
        per_epoch = len(self.images) // size
        epoch, position = divmod(self.step, per_epoch)
        if epoch != self._epoch:
            order = torch.Generator("cpu").manual_seed(self.config.seed * 1_000_003 + epoch)
            self._order = torch.randperm(len(self.images), generator=order,
                                         device="cpu").to(self.device)
            self._epoch = epoch
        return self._order[position * size:(position + 1) * size]

    def _uniform(self, n: int) -> Tensor:
        return torch.rand(n, dtype=torch.float32, device=self.device, generator=self.generator)

    def train(self, until: int | None = None) -> Iterator[Progress]:
        """Gradient steps up to number ``until`` (the end where left out), one yield each."""
        until = self._until(until)
        parameters = list(self.model.parameters())
        averages = list(self.ema.parameters())
        self.model.train()
        while self.step < until:
            x0 = self._batch()                                         # 1. draw images
            with precision.computing_in(self.precision, self.device):  # 2.-5. draw t and noise,
                loss = self._loss(x0)                                  # make x_t, predict, compare
            self.optimizer.zero_grad()                                 # 6. a step downhill
            self.scaler.scale(loss).backward()
            loss = self._averaged(loss.detach())
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(parameters, self.config.grad_clip)
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.config, self.step)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.step += 1
            decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(averages, [p.detach() for p in parameters], 1 - decay)
            for kept, own in zip(self.ema.buffers(), self.model.buffers(), strict=True):
                kept.copy_(own.detach())  # a running mean or a counter is followed, not averaged
            yield Progress(self.step, loss)

    def _until(self, until: int | None) -> int:
        steps = self.config.steps
        return steps if until is None else arguments.whole(
            "until", until, 0, steps, instead=f", the run's {steps} steps")

    def _loss(self, x0: Tensor) -> Tensor:
        """Of this process's part; what is random is drawn for the whole batch, then cut."""
        if world_size() > 1:
            of_dropout = np.random.SeedSequence([self.config.seed, self.step, rank()])
            torch.manual_seed(int(of_dropout.generate_state(1)[0]))
        t, eps = _drawn(self.schedule, x0, self.generator)
        part = self._part
        y = None if self.labels is None else self._some_labels()[part]
        return _squared_error(self._run, self.schedule, x0[part], t[part], eps[part],
                              self.config.loss_weight, self.config.mean_weight, y, self._all)

    def _some_labels(self) -> Tensor:
        """The labels of the present step's images, some of them left out."""
        y = self.labels[self._positions()]
        left_out = self._uniform(len(y)) < self.config.label_dropout
        return torch.where(left_out, self.model.classes, y)

    def _averaged(self, loss: Tensor) -> Tensor:
        """Loss and gradients, each the mean over the processes: that of the whole batch.

        One message between the backward pass and everything that reads gradients, rather than
        DistributedDataParallel, which would send while the backward pass still runs: faster for
        networks far larger than these, but a wrapper around model, torch.compile and checkpoints.
        """
        average([loss, *(p.grad for p in self.model.parameters() if p.grad is not None)])
        return loss

    def run(self, until: int | None = None, *, checkpoint: str | Path | None = None,
            every: int = 1000, log_every: int = 50, progress: bool = True) -> list[dict]:
        """Train with a progress bar, checkpoints and a record of the loss.

        Args:
            until: the step to stop at; the run's end where left out.
            checkpoint: a file, written each ``every`` steps, at the end, and on Ctrl-C, SIGTERM or
                SIGHUP (a closed terminal), which wait for the end of their step.
            every: steps between checkpoints.
            log_every: steps over which the recorded loss is a mean.
            progress: show the bar.

        Returns:
            [{"step", "loss"}, ..], what this call has added to ``record``: one entry at each step
            that ``log_every`` divides and one at its end, each a mean since the one before.

        Raises:
            Stopped: on Ctrl-C, SIGTERM or SIGHUP.
            ValueError: until, every or log_every is no such number.
            FloatingPointError: the loss is not finite. The last checkpoint stays as it was.
        """
        from tqdm.auto import tqdm

        until = self._until(until)
        every, log_every = (arguments.whole(name, value, 1) for name, value in
                            (("every", every), ("log_every", log_every)))
        first, before, begin = len(self.record), self.seconds, time.perf_counter()
        total = torch.tensor(self._pending[0], dtype=torch.float32, device=self.device)
        count = self._pending[1]
        quiet = {} if progress and is_first() else {"disable": True}
        with stop_requests(STOP) as asked, \
                tqdm(total=until, initial=self.step, **quiet,
                     desc=f"training in {self.precision}") as bar:
            for now in self.train(until):
                total, count = total + now.loss, count + 1
                bar.update()
                if now.step % log_every == 0 or now.step == until:
                    mean = self._finite(total) / count
                    self.record.append({"step": now.step, "loss": mean})
                    bar.set_postfix(loss=f"{mean:.4f}")
                    total, count = torch.zeros_like(total), 0
                stop = asked() and now.step < until
                if stop or now.step == until or (checkpoint and now.step % every == 0):
                    self._pending = (self._finite(total), count)
                    self.seconds = before + time.perf_counter() - begin
                    if checkpoint:
                        self.save(checkpoint)
                if stop:
                    where = f", saved in {checkpoint}" if checkpoint else ""
                    raise Stopped(f"Stopped at step {now.step:,} of {until:,}{where}")
        return self.record[first:]

    def _identity(self) -> str:
        """What beside the configuration must be the same for a resume to be the same run."""
        network = getattr(self.model, "config", type(self.model).__name__)
        schedule = self.schedule
        return (f"{network}, schedule {schedule.name} {dict(schedule.parameters)} with "
                f"T = {schedule.T}, images {tuple(self.images.shape)} with the CRC-32 "
                f"{self._crc32:08x}, in {self.precision}")

    def _finite(self, loss: Tensor) -> float:
        """A sum of losses as a number; an error before anything good is overwritten."""
        value = loss.item()
        if not all(torch.isfinite(p).all() for p in self.model.parameters()):
            value = math.nan  # the step after a finite loss can still have spoiled the weights
        if not math.isfinite(value):
            raise FloatingPointError(
                f"the loss is {value} at step {self.step}; a smaller lr than {self.config.lr} or "
                "fp32 may help. The last checkpoint is untouched.")
        return value

    def save(self, path: str | Path) -> None:
        """Write a checkpoint: to a file beside it first, then renamed, so never half a one.

        The first process writes, the others wait until it has; any number of processes may
        go on from it.

        Args:
            path: the file; missing folders are made.
        """
        if is_first():
            self._write(Path(path))
        wait()

    def _write(self, path: Path) -> None:
        state = {
            "config": asdict(self.config), "run": self._identity(), "step": self.step,
            "record": self.record, "pending": self._pending, "seconds": self.seconds,
            "model": self.model.state_dict(), "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict(),
            "generator": self.generator.get_state(), "global_rng": torch.get_rng_state(),
            "device_rng": None if self.device.type == "cpu" else
            torch.get_device_module(self.device.type).get_rng_state(),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        # Through a Python file: torch's own writer hides why a full disk refused it.
        with replacing(path) as temporary, open(temporary, "wb") as file:
            torch.save(state, file)

    def load(self, path: str | Path) -> None:
        """Continue from a checkpoint of the same run.

        Args:
            path: what :meth:`save` has written.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is no checkpoint, or one of another network, configuration, number
                type (where autocast is "auto", each device has its own) or kind of device, or not
                the same file in every process.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"path must be a checkpoint; there is no {path}")
        if world_size() > 1:
            check_same(f"the checkpoint {path} (its CRC-32)", zlib.crc32(path.read_bytes()))
        try:
            check_zip(path)
            state = torch.load(path, map_location="cpu", weights_only=True)
            missing = STATE - state.keys()
            stored = TrainingConfig(**state["config"])
        except Exception as error:
            raise ValueError(f"{path} is not a checkpoint of this library, or is damaged: "
                             f"{error}") from error
        # All checks come before the first change, so that a bad file leaves the run as it was.
        if missing:
            raise ValueError(f"the checkpoint {path} is incomplete: it lacks {sorted(missing)}")
        if stored != self.config:
            ours, theirs = asdict(self.config), asdict(stored)
            other = {k: (theirs[k], ours[k]) for k in ours if theirs[k] != ours[k]}
            raise ValueError(f"the checkpoint {path} was made with another configuration "
                             f"(its value, this run's): {other}")
        for part in ("model", "ema"):
            ours = {k: v.shape for k, v in self.model.state_dict().items()}
            theirs = {k: v.shape for k, v in state[part].items()}
            if ours != theirs:
                other = sorted(k for k in {*ours, *theirs} if ours.get(k) != theirs.get(k))
                raise ValueError(f"the checkpoint {path} is of another network: {len(other)} "
                                 f"tensors differ, the first is {other[0]}")
        if state["run"] != self._identity():
            raise ValueError(f"the checkpoint {path} is of another run: it says {state['run']}, "
                             f"this run is {self._identity()}")
        if len(state["generator"]) != len(self.generator.get_state()):
            raise ValueError(f"the checkpoint {path} was made on another kind of device than "
                             f"{self.device.type}, whose random numbers do not go on from it")
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["global_rng"])
        if state["device_rng"] is not None and self.device.type != "cpu":
            torch.get_device_module(self.device.type).set_rng_state(state["device_rng"])
        self.step, self.record = state["step"], state["record"]
        self._pending, self.seconds = tuple(state["pending"]), state["seconds"]

    def _compiled(self):
        # One batch shape, so nothing dynamic; on a GPU the launches of a small network cost
        # more than its arithmetic, and a recorded graph launches once.
        mode = "reduce-overhead" if self.device.type == "cuda" else "default"
        return torch.compile(self.model, dynamic=False, mode=mode)


def learning_rate(config: TrainingConfig, step: int) -> float:
    """The learning rate of one step: a linear rise, then a cosine down to 0.

    Args:
        config: its lr, warmup and steps.
        step: the gradient step, counted from 0.
    """
    rise = min(1.0, (step + 1) / max(config.warmup, 1))
    return config.lr * rise * 0.5 * (1 + math.cos(math.pi * step / config.steps))
