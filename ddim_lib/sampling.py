"""From noise to pictures: DDIM's family of samplers, and the way back.

Equation numbers are those of the DDIM paper (arXiv 2010.02502); those of this book's
chapters stand in the lines that begin with "Book:".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ddim_lib import precision
from ddim_lib.schedule import Schedule, pairs, timesteps

#: What a sampler calls, ``model(x, t) -> eps``, x of shape (N, C, H, W), t int64 of shape (N,).
Model = Callable[[Tensor, Tensor], Tensor]


def predict_x0(x_t: Tensor, eps: Tensor, alpha_t: float) -> Tensor:
    """The picture that x_t would come from, were eps its noise (eq. 9).

    Book: equation (3).

    Args:
        x_t: shape (N, C, H, W).
        eps: the same shape.
        alpha_t: of the level of x_t, in (0, 1].
    """
    return (x_t - math.sqrt(1 - alpha_t) * eps) / math.sqrt(alpha_t)


def sigma(alpha_t: float, alpha_s: float, eta: float) -> float:
    """How much fresh noise the step t -> s adds (eq. 16): its standard deviation.

    Book: equation (9).

    Args:
        alpha_t: where the step starts, in (0, 1).
        alpha_s: where it ends, in (alpha_t, 1].
        eta: 0 is DDIM, 1 is DDPM.
    """
    return eta * math.sqrt((1 - alpha_s) / (1 - alpha_t)) * math.sqrt(1 - alpha_t / alpha_s)


def step(x0: Tensor, eps: Tensor, alpha_t: float, alpha_s: float,
         eta: float | str = 0.0, z: Tensor | None = None) -> Tensor:
    """One transition from level t to any s < t (eq. 12)::

        x_s = sqrt(alpha_s) x_0 + sqrt(1 - alpha_s - sigma^2) eps + sigma z

    With eta = 0 it is DDIM's, with the true x_0 the oracle's, with eta = 1 over one level DDPM's.

    Book: equations (2), (6), (4.3), (7), (8), (10), (6.3), (9.1) and (9.2).

    Args:
        x0: the prediction of eq. 9, shape (N, C, H, W).
        eps: the network's noise, the same shape.
        alpha_t, alpha_s: where the step starts and ends, 0 < alpha_t < alpha_s <= 1.
        eta: 0 is DDIM, 1 is DDPM with its small variance; ``"hat"`` is DDPM with
            the large one: sigma(1) under the root, sqrt(1 - alpha_t/alpha_s) before
            z (appendix D.3).
        z: standard normal, the shape of x0. Needed where eta is not 0, but never
            used where alpha_s = 1: the last transition adds no noise.

    Raises:
        ValueError: 1 - alpha_s - sigma^2 < 0 (eta too large for these two levels), or
            z is missing.
    """
    for_eps, for_z = coefficients(alpha_t, alpha_s, eta)
    x_s = math.sqrt(alpha_s) * x0 + for_eps * eps
    if for_z == 0:
        return x_s
    if z is None:
        raise ValueError(f"z must be given where eta is not 0, got None with eta = {eta}")
    return x_s + for_z * z


def coefficients(alpha_t: float, alpha_s: float, eta: float | str) -> tuple[float, float]:
    """What multiplies eps and z in eq. 12: sqrt(1 - alpha_s - sigma^2), and sigma.

    Book: equation (8).

    Args:
        alpha_t, alpha_s, eta: as in :func:`step`.

    Raises:
        ValueError: eta is no number of at least 0 and not "hat", or 1 - alpha_s - sigma^2
            is negative.
    """
    if eta != "hat" and (isinstance(eta, str) or not (math.isfinite(eta) and eta >= 0)):
        raise ValueError(f'eta must be a number of at least 0, or "hat", got {eta!r}')
    inside = sigma(alpha_t, alpha_s, 1.0 if eta == "hat" else eta)
    outside = math.sqrt(1 - alpha_t / alpha_s) if eta == "hat" else inside
    variance = 1 - alpha_s - inside**2
    if variance < -1e-12:  # rounding leaves -1e-17 where the exact value is 0
        raise ValueError(f"eta must be smaller here, got {eta}: 1 - alpha_s - sigma^2 = "
                         f"{variance:.3g} is negative for alpha_t = {alpha_t:.4g}, "
                         f"alpha_s = {alpha_s:.4g}")
    # The last transition ends at the picture: sigma-hat would leave noise in it.
    return math.sqrt(max(variance, 0.0)), 0.0 if alpha_s == 1 else outside


class Step(NamedTuple):
    """What the sampler knows at level t.

    Attributes:
        t: the level; 0 at the end.
        x: x_t, as the network saw it; at t = 0 the result.
        x0: the network's prediction of x_0; at t = 0 the result again.
        eps: the network's noise; None at t = 0.
    """

    t: int
    x: Tensor
    x0: Tensor
    eps: Tensor | None


def sample_iter(model: Model, schedule: Schedule, *, steps: int | Sequence[int] = 50,
                seeds: Sequence[int] | None = None, x_T: Tensor | None = None,
                shape: tuple[int, int, int] | None = None, spacing: str = "trailing",
                eta: float | str = 0.0, clip: bool = False, autocast: str = "fp32",
                device: str | torch.device | None = None) -> Iterator[Step]:
    """Walk from noise to pictures, one :class:`Step` at a time.

    Yields S + 1 steps: one for each visited t, from the largest down, with the x_t that
    the network saw, its prediction of x_0 (eq. 9) and its eps; at last t = 0 with the
    result. Trajectories, progress bars and early stops are loops over this.

    Book: equations (6), (7) and (8).

    Args:
        model: ``model(x, t) -> eps``, t an int64 tensor of shape (N,) in 1..T.
        schedule: the one that the model was trained with.
        steps, spacing: which t to visit, see :func:`~ddim_lib.schedule.timesteps`.
        seeds: one an image, whole numbers in 0..2^32-1. A seed means the same start and
            the same noise along the way in every batch size and on every device.
        x_T: start points, shape (N, C, H, W), instead of those of the seeds. The seeds
            are still needed where eta is not 0.
        shape: (C, H, W); where left out, the model's own ``image_shape``.
        eta: a number of at least 0, or ``"hat"``, see :func:`step`.
        clip: hold the prediction of x_0 in [-1, 1] and derive eps from it again. Off by
            default: it is not the same ODE any more.
        autocast: the type that the network computes in: ``"fp32"``, which gives every machine the
            same pictures but for rounding; ``"bf16"`` or ``"fp16"`` (CUDA alone), faster where
            the hardware has it, and pictures that differ a little; ``"auto"``, what the device
            is good at. The walk itself stays in float32.
        device: where to compute; where left out, the model's device.
    """
    transitions = pairs(timesteps(schedule.T, steps, spacing))
    for t, s in transitions:  # an impossible eta is told before the first network call
        coefficients(schedule.at(t), schedule.at(s), eta)
    device = _device(model, device)
    network = _network(model, autocast, device)
    seeds = _check_start(seeds, x_T)
    if x_T is None:
        x_T = noise_from_seeds(seeds, _shape(model, shape))
    noise = _step_noise(seeds, x_T) if eta != 0 else None
    return _walk(network, schedule, x_T.to(device), transitions, eta, noise, clip)


def _walk(network, schedule, x, transitions, eta, noise, clip) -> Iterator[Step]:
    for t, s in transitions:
        alpha_t, alpha_s = schedule.at(t), schedule.at(s)
        eps = network(x, t)
        x0 = predict_x0(x, eps, alpha_t)
        if clip:
            x0 = x0.clamp(-1, 1)
            eps = (x - math.sqrt(alpha_t) * x0) / math.sqrt(1 - alpha_t)
        yield Step(t, x, x0, eps)
        z = noise().to(x) if noise is not None and s > 0 else None
        x = step(x0, eps, alpha_t, alpha_s, eta, z)
    yield Step(0, x, x, None)


def sample(model: Model, schedule: Schedule, *, steps: int | Sequence[int] = 50,
           seeds: Sequence[int] | None = None, x_T: Tensor | None = None,
           spacing: str = "trailing", batch_size: int = 64, progress: bool = True,
           **options) -> Tensor:
    """Run :func:`sample_iter` to its end: pictures of shape (N, C, H, W), on the CPU.

    Book: equations (6), (7) and (8).

    Args:
        model, schedule, steps, seeds, x_T, spacing: as in :func:`sample_iter`.
        batch_size: how many pictures the network sees at once; it changes the speed and
            the memory, not the pictures.
        progress: a bar over all network calls.
        options: ``shape``, ``eta``, ``clip``, ``autocast``, ``device``, as in
            :func:`sample_iter`.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    seeds = _check_start(seeds, x_T)
    n = len(seeds) if x_T is None else len(x_T)
    calls = len(timesteps(schedule.T, steps, spacing))
    done = []
    with _bar(calls * math.ceil(n / batch_size), progress) as bar:
        for i in range(0, n, batch_size):
            part = slice(i, i + batch_size)
            for last in sample_iter(model, schedule, steps=steps, spacing=spacing,
                                    seeds=None if seeds is None else seeds[part],
                                    x_T=None if x_T is None else x_T[part], **options):
                bar.update(last.t > 0)
            done.append(last.x.cpu())
    return torch.cat(done)


def noise_from_seeds(seeds: Sequence[int], shape: tuple[int, ...]) -> Tensor:
    """Start points x_T: standard normal, float32, on the CPU, one for each seed.

    Image i is ``torch.randn(shape, generator=torch.Generator().manual_seed(seeds[i]))``.

    Args:
        seeds: whole numbers in 0..2^32-1.
        shape: of one image, (C, H, W).
    """
    seeds = _check_seeds(seeds)
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed))
                        for seed in seeds])


def _step_noise(seeds: list[int] | None, x_T: Tensor) -> Callable[[], Tensor]:
    """A source of z: each call draws the next one, image by image, from its own seed."""
    if seeds is None:
        raise ValueError("seeds must be given where eta is not 0, got None")
    # A stream of its own for each seed: with the seed itself the first z would be x_T.
    streams = [int(np.random.SeedSequence([seed, 1]).generate_state(1)[0]) for seed in seeds]
    generators = [torch.Generator().manual_seed(seed) for seed in streams]
    return lambda: torch.stack([torch.randn(x_T.shape[1:], generator=g) for g in generators])


def encode(model: Model, schedule: Schedule, x0: Tensor, *, steps: int | Sequence[int] = 100,
           spacing: str = "trailing", convention: str = "source", autocast: str = "fp32",
           device: str | torch.device | None = None) -> Tensor:
    """From pictures to the noise that DDIM would draw them from (eq. 13, backwards).

    Book: equation (7.3).

    Args:
        model, schedule: as in :func:`sample_iter`.
        x0: images in [-1, 1], shape (N, C, H, W).
        steps, spacing: the levels to pass through, as in :func:`sample_iter`; decode
            with the same ones.
        convention: the label at which the network is asked on the way from s up to t:
            ``"source"`` s, as eq. 13 is written (1 for s = 0, which no network has seen),
            or ``"destination"`` t, as diffusers does.
        autocast, device: as in :func:`sample_iter`.

    Returns:
        x at the last level of the subsequence, shape (N, C, H, W), on x0's device.
    """
    if convention not in ("source", "destination"):
        raise ValueError(f"convention must be source or destination, got {convention!r}")
    taus = timesteps(schedule.T, steps, spacing)
    device = _device(model, device)
    network = _network(model, autocast, device)
    x = x0.to(device)
    for t, s in reversed(pairs(taus)):
        alpha_s, alpha_t = schedule.at(s), schedule.at(t)
        eps = network(x, t if convention == "destination" else max(s, 1))
        x = math.sqrt(alpha_t) * predict_x0(x, eps, alpha_s) + math.sqrt(1 - alpha_t) * eps
    return x.to(x0.device)


def slerp(x: Tensor, y: Tensor, weight: float) -> Tensor:
    """Spherical interpolation from x (weight 0) to y (weight 1), image by image (D.5).

    Book: equation (7.2).

    Args:
        x, y: the same shape (N, ...); each image is one vector.
        weight: a number in [0, 1].
    """
    if x.shape != y.shape:
        raise ValueError(f"y must have the shape of x, {tuple(x.shape)}, got {tuple(y.shape)}")
    if not 0 <= weight <= 1:
        raise ValueError(f"weight must be in [0, 1], got {weight}")
    a, b = x.flatten(1).double(), y.flatten(1).double()
    cosine = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    theta = torch.acos(cosine.clamp(-1, 1)).unsqueeze(1)
    sin = torch.sin(theta)
    # Parallel vectors, and one of length 0: the formula is 0/0 and the line does instead.
    near = ~(sin >= 1e-6)
    safe = torch.where(near, torch.ones_like(sin), sin)
    wa = torch.where(near, torch.full_like(sin, 1 - weight), torch.sin((1 - weight) * theta) / safe)
    wb = torch.where(near, torch.full_like(sin, weight), torch.sin(weight * theta) / safe)
    return (wa * a + wb * b).view_as(x).to(x.dtype)


def _check_start(seeds: Sequence[int] | None, x_T: Tensor | None) -> list[int] | None:
    """What a walk starts from: seeds, x_T, or both of one length."""
    if seeds is None:
        if x_T is None:
            raise ValueError("seeds or x_T must be given, got neither")
        return None
    seeds = _check_seeds(seeds)
    if x_T is not None and len(seeds) != len(x_T):
        raise ValueError(f"seeds must be one an image of x_T, {len(x_T)}, got {len(seeds)}")
    return seeds


def _check_seeds(seeds: Sequence[int]) -> list[int]:
    seeds = [seed.item() if isinstance(seed, Tensor) else seed for seed in seeds]
    if not seeds:
        raise ValueError("seeds must name at least one image, got an empty list")
    for seed in seeds:
        # torch's generator on the CPU looks at the low 32 bits alone.
        if not isinstance(seed, Integral) or not 0 <= seed < 2**32:
            raise ValueError(f"every seed must be a whole number in 0..2^32-1, got {seed!r}")
    return [int(seed) for seed in seeds]


def _shape(model: Model, shape: tuple[int, int, int] | None) -> tuple[int, int, int]:
    shape = shape or getattr(model, "image_shape", None)
    if shape is None:
        raise ValueError("shape must be given as (C, H, W): this model has no image_shape")
    return tuple(shape)


def _device(model: Model, device: str | torch.device | None) -> torch.device:
    if device is not None:
        return torch.device(device)
    if isinstance(model, nn.Module):
        for parameter in model.parameters():
            return parameter.device
    return torch.device("cpu")


def _network(model: Model, autocast: str, device: torch.device) -> Callable[[Tensor, int], Tensor]:
    """The model as a walk asks it: without gradients or dropout, one t for all, eps as x is."""
    chosen = precision.resolve(autocast, device)

    def network(x: Tensor, t: int) -> Tensor:
        with _evaluating(model), torch.no_grad(), precision.computing_in(chosen, device):
            return model(x, torch.full((len(x),), t, device=x.device)).to(x.dtype)

    return network


@contextmanager
def _evaluating(model: Model):
    """Dropout off while the sampler asks, and the mode restored after."""
    # Each part's own mode: some may have been frozen on purpose.
    training = [m for m in model.modules() if m.training] if isinstance(model, nn.Module) else []
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _bar(total: int, progress: bool):
    from tqdm.auto import tqdm

    # An explicit disable=False would overrule the reader's TQDM_DISABLE.
    return tqdm(total=total, desc="network calls", **({} if progress else {"disable": True}))
