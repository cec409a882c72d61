"""From noise to pictures: DDIM's family of samplers, and the way back.

Equation numbers are those of the DDIM paper (arXiv 2010.02502); those of this book's
chapters stand in the lines that begin with "Book:".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ddim_lib.runtime import accelerator, arguments, precision
from ddim_lib.runtime.networks import asked, check_schedule, device_of, evaluating, shape_of
from ddim_lib.schedule import Schedule, pairs, timesteps

#: What a sampler calls, ``model(x, t) -> eps``, x of shape (N, C, H, W), t int64 of shape (N,). One
#: with labels has an attribute ``classes``, their number, and is called ``model(x, t, y)`` too, y
#: int64 of shape (N,) in 0..classes, of which ``classes`` is "no label".
Model = Callable[..., Tensor]

_NOT_FINITE = ("model must return finite noise, got NaN or infinity (of weights that hold some, of "
               "numbers too large for their type, or of too large a guidance)")


def predict_x0(x_t: Tensor, eps: Tensor, alpha_t: float) -> Tensor:
    """The picture that x_t would come from, were eps its noise (eq. 9).

    Book: equation (3).

    Args:
        x_t: shape (N, C, H, W).
        eps: the same shape.
        alpha_t: of the level of x_t, in (0, 1].

    Raises:
        TypeError: x_t or eps is not in floating point.
        ValueError: their shapes differ, or alpha_t lies outside.
    """
    arguments.images(numbers=True, x_t=x_t, eps=eps)
    alpha_t, = _rising(alpha_t=alpha_t)
    return (x_t - math.sqrt(1 - alpha_t) * eps) / math.sqrt(alpha_t)


def sigma(alpha_t: float, alpha_s: float, eta: float) -> float:
    """How much fresh noise the step t -> s adds (eq. 16): its standard deviation.

    Book: equation (9).

    Args:
        alpha_t: where the step starts, in (0, 1).
        alpha_s: where it ends, in [alpha_t, 1].
        eta: 0 is DDIM, 1 is DDPM.

    Raises:
        ValueError: the two alphas lie outside, or eta is no number of at least 0.
    """
    alpha_t, alpha_s = _rising(alpha_t=alpha_t, alpha_s=alpha_s)
    _rising(clean=False, alpha_t=alpha_t)
    eta = _check_eta(eta, hat=False)
    return eta * math.sqrt((1 - alpha_s) / (1 - alpha_t)) * math.sqrt(1 - alpha_t / alpha_s)


def step(x0: Tensor, eps: Tensor, alpha_t: float, alpha_s: float,
         eta: float | str = 0.0, z: Tensor | None = None) -> Tensor:
    """One transition from level t to any s < t (eq. 12)::

        x_s = sqrt(alpha_s) x_0 + sqrt(1 - alpha_s - sigma^2) eps + sigma z

    With eta = 0 it is DDIM's, with the true x_0 the oracle's, with eta = 1 over one level DDPM's.

    Book: equations (2), (6), (4.3), (7), (8), (10), (6.3), (11.1) and (11.2).

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
        TypeError: x0, eps or z is not in floating point.
        ValueError: 1 - alpha_s - sigma^2 < 0 (eta too large for these two levels), or
            z is missing, or the shapes differ.
    """
    arguments.images(numbers=True, x0=x0, eps=eps, **({} if z is None else {"z": z}))
    alpha_t, alpha_s = _rising(alpha_t=alpha_t, alpha_s=alpha_s)
    inside, outside = _sigmas(alpha_t, alpha_s, eta)  # both are sigma, but for "hat"
    if outside == 0:
        z = 0.0
    elif z is None:
        raise ValueError(f"z must be given where eta is not 0, got None with eta = {eta}")
    return math.sqrt(alpha_s) * x0 + _root(1 - alpha_s - inside**2) * eps + outside * z


def coefficients(alpha_t: float, alpha_s: float, eta: float | str) -> tuple[float, float]:
    """What multiplies eps and z in eq. 12: sqrt(1 - alpha_s - sigma^2), and sigma.

    Book: equation (8).

    Args:
        alpha_t, alpha_s, eta: as in :func:`step`.

    Raises:
        ValueError: eta is no number of at least 0 and not "hat", or 1 - alpha_s - sigma^2
            is negative.
    """
    alpha_t, alpha_s = _rising(alpha_t=alpha_t, alpha_s=alpha_s)
    inside, outside = _sigmas(alpha_t, alpha_s, eta)
    return _root(1 - alpha_s - inside**2), outside


def _sigmas(alpha_t: float, alpha_s: float, eta: float | str) -> tuple[float, float]:
    """The sigma under the root of eq. 12 and that before z, where eta is possible."""
    eta = _check_eta(eta)
    inside = sigma(alpha_t, alpha_s, 1.0 if eta == "hat" else eta)
    outside = math.sqrt(1 - alpha_t / alpha_s) if eta == "hat" else inside
    variance = 1 - alpha_s - inside**2
    if variance < -1e-12:
        raise ValueError(f"eta must be smaller here, got {eta}: 1 - alpha_s - sigma^2 = "
                         f"{variance:.3g} is negative for alpha_t = {alpha_t:.4g}, "
                         f"alpha_s = {alpha_s:.4g}")
    # The last transition ends at the picture: sigma-hat would leave noise in it.
    return inside, 0.0 if alpha_s == 1 else outside


def _check_eta(eta: float | str, hat: bool = True) -> float | str:
    if hat and isinstance(eta, str) and eta == "hat":
        return eta
    wanted = "a number of at least 0" + ', or "hat"' * hat
    found = arguments.number("eta", eta, wanted)
    if not 0 <= found < 1e100:  # its square is a number
        raise ValueError(f"eta must be {wanted}, got {eta!r}")
    return found


def _rising(clean: bool = True, **alphas: float) -> list[float]:
    """Alphas of levels with ever less noise, as numbers: above 0, at most 1, none below the last.

    Where not ``clean``, none is 1 and no two are equal.
    """
    found, before, last = [], 0.0, "0"
    for name, given in alphas.items():
        value = arguments.number(name, given)
        if not (before < value < 1 or clean and 0 < value <= 1 and before <= value):
            raise ValueError(f"{name} must be above 0, {'at most' if clean else 'below'} 1 and "
                             f"{'not below' if clean else 'above'} {last}, got {value}")
        found.append(value)
        before, last = value, f"{name} = {value}"
    return found


def _root(variance: float) -> float:
    return math.sqrt(max(variance, 0.0))  # rounding leaves -1e-17 where the exact value is 0


def noise_in(x_t: Tensor, x0: Tensor, alpha_t: float) -> Tensor:
    """The noise of x_t, were x0 its picture: eq. 4, or :func:`predict_x0`, solved for eps.

    Args:
        x_t, x0: the same shape (N, C, H, W).
        alpha_t: of the level of x_t, in (0, 1).

    Raises:
        TypeError: x_t or x0 is not in floating point.
        ValueError: their shapes differ, or alpha_t lies outside.
    """
    arguments.images(numbers=True, x_t=x_t, x0=x0)
    alpha_t, = _rising(clean=False, alpha_t=alpha_t)
    return (x_t - math.sqrt(alpha_t) * x0) / math.sqrt(1 - alpha_t)


def extrapolate_x0(x0: Tensor, x0_before: Tensor, alpha_before: float, alpha_t: float,
                   alpha_s: float) -> Tensor:
    """The prediction of x_0 halfway through the step t -> s, from two calls: DPM-Solver++(2M)'s::

        x_0 + h / (2 h_before) (x_0 - x_0_before)

    h is the step's length, and h_before that of the step before it, both in half the logarithm
    of the signal-to-noise ratio, ln(sqrt(alpha / (1 - alpha))) (arXiv 2211.01095, algorithm 2).

    Book: equation (11.7).

    Args:
        x0: the prediction at t, shape (N, C, H, W).
        x0_before: the one at the level before it, the same shape.
        alpha_before, alpha_t, alpha_s: 0 < alpha_before < alpha_t < alpha_s < 1.

    Raises:
        TypeError: x0 or x0_before is not in floating point.
        ValueError: their shapes differ, or the alphas are not so.
    """
    arguments.images(numbers=True, x0=x0, x0_before=x0_before)
    alphas = _rising(clean=False, alpha_before=alpha_before, alpha_t=alpha_t, alpha_s=alpha_s)
    before, now, after = (math.log(alpha / (1 - alpha)) / 2 for alpha in alphas)
    return x0 + (after - now) / (2 * (now - before)) * (x0 - x0_before)


def guide(eps_uncond: Tensor, eps_cond: Tensor, guidance: float) -> Tensor:
    """Classifier-free guidance: the noise without a label, and on along the way to that with it::

        eps = eps(x_t, t) + w (eps(x_t, t, y) - eps(x_t, t))

    w = 0 is the network without labels, w = 1 the one with them; beyond 1 the pictures of a label
    become less like those of other labels, and more like one another. Ho and Salimans (arXiv
    2207.12598, eq. 6) count from the one with labels: their w is this one less 1.

    Book: equation (12.2).

    Args:
        eps_uncond: eps(x_t, t), shape (N, C, H, W).
        eps_cond: eps(x_t, t, y), the same shape.
        guidance: w.

    Raises:
        TypeError: the one or the other noise is not in floating point.
        ValueError: their shapes differ, or w is no number.
    """
    arguments.images(numbers=True, eps_uncond=eps_uncond, eps_cond=eps_cond)
    guidance = float(arguments.number("guidance", guidance))  # torch's whole numbers have 64 bits
    return eps_uncond + guidance * (eps_cond - eps_uncond)


class Step(NamedTuple):
    """What the sampler knows at level t.

    Attributes:
        t: the level; 0 at the end.
        x: x_t, as the network saw it; at t = 0 the result.
        x0: the network's prediction of x_0; at t = 0 the result again.
        eps: the network's noise, guided where labels are; None at t = 0.
    """

    t: int
    x: Tensor
    x0: Tensor
    eps: Tensor | None


def sample_iter(model: Model, schedule: Schedule, *, steps: int | Sequence[int] = 50,
                seeds: Sequence[int] | None = None, x_T: Tensor | None = None,
                shape: tuple[int, int, int] | None = None, spacing: str = "trailing",
                eta: float | str = 0.0, order: int = 1, clip: bool = False,
                labels: int | Sequence[int | None] | Tensor | None = None,
                guidance: float = 1.0, autocast: str = "fp32",
                device: str | torch.device | None = None) -> Iterator[Step]:
    """Walk from noise to pictures, one :class:`Step` at a time.

    Yields S + 1 steps: one for each visited t, from the largest down, with the x_t that
    the network saw, its prediction of x_0 (eq. 9) and its eps; at last t = 0 with the
    result. Trajectories, progress bars and early stops are loops over this.

    Book: equations (6), (7) and (8).

    Args:
        model: ``model(x, t) -> eps``, t an int64 tensor of shape (N,) in 1..T; one with labels has
            an attribute ``classes``, see :data:`Model`.
        schedule: the one that the model was trained with.
        steps, spacing: which t to visit, see :func:`~ddim_lib.schedule.timesteps`.
        seeds: one an image, whole numbers in 0..2^32-1. A seed means the same start and
            the same noise along the way in every batch size and on every device.
        x_T: start points, shape (N, C, H, W), instead of those of the seeds. The seeds
            are still needed where eta is not 0.
        shape: (C, H, W); where left out, the model's own ``image_shape``.
        eta: a number of at least 0, or ``"hat"``, see :func:`step`.
        order: 1 is DDIM's step, 2 is DPM-Solver++(2M)'s, which has eta = 0: the same step with
            the prediction of :func:`extrapolate_x0`. The first and the last transition are of
            order 1: there is no call before the one, and the log-SNR has no end for the other.
        clip: hold the prediction of x_0 in [-1, 1] and derive eps from it again. Off by
            default: it is not the same ODE any more.
        labels: what each image shall show, whole numbers in 0..classes - 1, one an image, or one
            for all; None for an image is anything, and None alone asks without labels.
        guidance: w of :func:`guide`, a finite number of at least 0. At 0 and 1 the network is
            asked once a step, else for both noises at once, in a batch of 2 N.
        autocast: the type that the network computes in: ``"fp32"``, which gives every machine the
            same pictures but for rounding; ``"bf16"`` or ``"fp16"`` (CUDA alone), faster where
            the hardware has it, and pictures that differ a little; ``"auto"``, what the device
            is good at. The walk itself is in float32, or in the type of x_T.
        device: where to compute; where left out, the model's device, or that of x_T for a model
            without parameters.
    """
    _, _, walk = _walks(
        model, schedule, steps=steps, seeds=seeds, x_T=x_T, shape=shape, spacing=spacing, eta=eta,
        order=order, clip=clip, labels=labels, guidance=guidance, autocast=autocast, device=device)
    return walk(slice(None))


def _walks(model, schedule, *, steps, spacing, seeds, x_T, labels, guidance, shape=None, eta=0.0,
           order=1, clip=False, autocast="fp32", device=None,
           ) -> tuple[int, list[tuple[int, int]], Callable[[slice], Iterator[Step]]]:
    """How many images, the transitions, and the walk of a part of the images; all is checked here.

    The arguments are those of :func:`sample_iter`.
    """
    check_schedule(model, schedule)
    transitions = pairs(timesteps(schedule, steps, spacing))
    eta = _check_eta(eta)
    for t, s in transitions:  # an impossible eta is told before the first network call
        coefficients(schedule.at(t), schedule.at(s), eta)
    order, clip = arguments.plain(order), arguments.flag("clip", clip)
    if not isinstance(order, int | float) or order not in (1, 2):
        raise ValueError(f"order must be 1 or 2, got {arguments.shown(order)}")
    if order == 2 and eta != 0:
        raise ValueError(f"eta must be 0 where order is 2, got {eta!r}")
    seeds = _check_start(seeds, x_T)
    device = _device(model, device, x_T)
    n = len(seeds) if x_T is None else len(x_T)
    labels, guidance = _check_labels(model, labels, n, guidance)
    chosen = precision.resolve(autocast, device)
    if seeds is None and eta != 0:
        raise ValueError("seeds must be given where eta is not 0, got None")
    shape = shape_of(model, shape) if x_T is None else tuple(x_T.shape[1:])

    def walk(part: slice) -> Iterator[Step]:
        own = None if seeds is None else seeds[part]
        x = noise_from_seeds(own, shape) if x_T is None else x_T[part]
        network = _network(model, chosen, device, None if labels is None else labels[part],
                           guidance)
        noise = _step_noise(own, shape) if eta != 0 else None
        return _walk(network, schedule, x.to(device), transitions, eta, noise, order, clip)

    return n, transitions, walk


def _walk(network: Callable[[Tensor, int], Tensor], schedule: Schedule, x: Tensor,
          transitions: list[tuple[int, int]], eta: float | str,
          noise: Callable[[], Tensor] | None, order: int, clip: bool) -> Iterator[Step]:
    """The sampler itself; its arguments are checked. Equation numbers are the paper's."""
    before = None
    for t, s in transitions:
        alpha_t, alpha_s = schedule.at(t), schedule.at(s)
        eps = network(x, t)
        x0 = predict_x0(x, eps, alpha_t)  # eq. 9
        if clip:
            x0 = x0.clamp(-1, 1)
            eps = noise_in(x, x0, alpha_t)
        yield Step(t, x, x0, eps)
        guess = x0
        # At s = 0 the log-SNR is infinite, and the prediction itself is the result.
        if order == 2 and before is not None and s > 0:
            guess = extrapolate_x0(x0, *before, alpha_t, alpha_s)
            eps = noise_in(x, guess, alpha_t)
        before = x0, alpha_t
        z = noise().to(x) if noise is not None and s > 0 else None
        x = step(guess, eps, alpha_t, alpha_s, eta, z)  # eq. 12
    yield Step(0, x, x, None)


def sample(model: Model, schedule: Schedule, *, steps: int | Sequence[int] = 50,
           seeds: Sequence[int] | None = None, x_T: Tensor | None = None,
           spacing: str = "trailing",
           labels: int | Sequence[int | None] | Tensor | None = None, guidance: float = 1.0,
           batch_size: int = 64, progress: bool = True, **options) -> Tensor:
    """Run :func:`sample_iter` to its end: pictures of shape (N, C, H, W), on the CPU.

    Book: equations (6), (7) and (8).

    Args:
        model, schedule, steps, seeds, x_T, spacing, labels, guidance: as in :func:`sample_iter`.
        batch_size: how many pictures the network sees at once, each twice where it is asked for
            both noises; it changes the speed and the memory, not the pictures.
        progress: a bar over all network calls.
        options: ``shape``, ``eta``, ``order``, ``clip``, ``autocast``, ``device``, as in
            :func:`sample_iter`.
    """
    batch_size = arguments.whole("batch_size", batch_size, 1)
    n, transitions, walk = _walks(model, schedule, steps=steps, seeds=seeds, x_T=x_T,
                                  spacing=spacing, labels=labels, guidance=guidance, **options)
    done = []
    with _bar(len(transitions) * math.ceil(n / batch_size), progress) as bar:
        for i in range(0, n, batch_size):
            for last in walk(slice(i, i + batch_size)):
                bar.update(last.t > 0)
            if last.x.is_meta:
                raise ValueError("x_T and the model must hold numbers, got the device meta")
            done.append(last.x.cpu())
    pictures = torch.cat(done)
    if not pictures.isfinite().all():  # of other devices, whose every answer would be waited for
        raise ValueError(_NOT_FINITE)
    return pictures


def noise_from_seeds(seeds: Sequence[int], shape: tuple[int, ...]) -> Tensor:
    """Start points x_T: standard normal, float32, on the CPU, one for each seed.

    Image i is ``torch.randn(shape, generator=torch.Generator().manual_seed(seeds[i]))``.

    Args:
        seeds: whole numbers in 0..2^32-1.
        shape: of one image, (C, H, W).

    Raises:
        ValueError: no seed, or one that is no such number; a shape that is none.
    """
    seeds, shape = _check_seeds(seeds), arguments.wholes("shape", shape, 1)
    return torch.stack([_normal(shape, torch.Generator("cpu").manual_seed(seed))
                        for seed in seeds])


def _normal(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    # Type and place are named: torch's defaults may be others, and then the bits would be.
    return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")


def _step_noise(seeds: list[int], shape: tuple[int, ...]) -> Callable[[], Tensor]:
    """A source of z: each call draws the next one, image by image, from its own seed."""
    # A stream of its own for each seed: with the seed itself the first z would be x_T.
    streams = [int(np.random.SeedSequence([seed, 1]).generate_state(1)[0]) for seed in seeds]
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in streams]
    return lambda: torch.stack([_normal(shape, g) for g in generators])


def encode(model: Model, schedule: Schedule, x0: Tensor, *, steps: int | Sequence[int] = 100,
           spacing: str = "trailing", convention: str = "source",
           labels: int | Sequence[int | None] | Tensor | None = None, guidance: float = 1.0,
           autocast: str = "fp32",
           device: str | torch.device | None = None) -> Tensor:
    """From pictures to the noise that DDIM would draw them from (eq. 13, backwards).

    Book: equation (9.1).

    Args:
        model, schedule: as in :func:`sample_iter`.
        x0: images in [-1, 1], shape (N, C, H, W).
        steps, spacing: the levels to pass through, as in :func:`sample_iter`; decode
            with the same ones.
        convention: the label at which the network is asked on the way from s up to t:
            ``"source"`` s, as eq. 13 is written (1 for s = 0, which no network has seen),
            or ``"destination"`` t, as diffusers does.
        labels, guidance: as in :func:`sample_iter`: what the images show. Decoded with another
            label, the start point gives another picture.
        autocast, device: as in :func:`sample_iter`.

    Returns:
        x at the last level of the subsequence, shape (N, C, H, W), on x0's device.
    """
    arguments.choice("convention", convention, ("source", "destination"))
    arguments.batch("x0", x0, meta=True)
    check_schedule(model, schedule)
    taus = timesteps(schedule, steps, spacing)
    device = _device(model, device, x0)
    network = _network(model, precision.resolve(autocast, device), device,
                       *_check_labels(model, labels, len(x0), guidance))
    x = x0.to(device)
    for t, s in reversed(pairs(taus)):
        alpha_s, alpha_t = schedule.at(s), schedule.at(t)
        eps = network(x, t if convention == "destination" else max(s, 1))
        x = math.sqrt(alpha_t) * predict_x0(x, eps, alpha_s) + math.sqrt(1 - alpha_t) * eps
    if not x.is_meta and not x.isfinite().all():  # of other devices, as in sample
        raise ValueError(_NOT_FINITE)
    return x.to(x0.device)


def slerp(x: Tensor, y: Tensor, weight: float) -> Tensor:
    """Spherical interpolation from x (weight 0) to y (weight 1), image by image (D.5).

    Book: equation (8.2).

    Args:
        x, y: the same shape (N, C, H, W); each image is one vector. From one to its opposite there
            is no shortest arc, and the straight line through 0 is taken.
        weight: a number in [0, 1].

    Raises:
        TypeError: x or y is not in floating point.
        ValueError: their shapes differ, or weight lies outside.
    """
    arguments.images(x=x, y=y)
    weight = arguments.number("weight", weight)
    if not 0 <= weight <= 1:
        raise ValueError(f"weight must be in [0, 1], got {weight}")
    # In float64, which Apple's GPUs lack, and so on the CPU.
    a, b = x.cpu().flatten(1).double(), y.cpu().flatten(1).double()
    cosine = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    omega = torch.acos(cosine).unsqueeze(1)
    sin = torch.sin(omega)
    # Parallel or opposite vectors, whose cosine rounding may leave beyond 1, and one of length 0:
    # the formula is 0/0 or NaN, and the line does instead.
    near = ~(sin >= 1e-6)
    safe = torch.where(near, torch.ones_like(sin), sin)
    wa = torch.where(near, torch.full_like(sin, 1 - weight), torch.sin((1 - weight) * omega) / safe)
    wb = torch.where(near, torch.full_like(sin, weight), torch.sin(weight * omega) / safe)
    return (wa * a + wb * b).view(x.shape).to(x.dtype).to(x.device)


def _check_start(seeds: Sequence[int] | None, x_T: Tensor | None) -> list[int] | None:
    """What a walk starts from: seeds, x_T, or both of one length."""
    if x_T is not None:
        arguments.batch("x_T", x_T, meta=True)
    if seeds is None:
        if x_T is None:
            raise ValueError("seeds or x_T must be given, got neither")
        return None
    seeds = _check_seeds(seeds)
    if x_T is not None and len(seeds) != len(x_T):
        raise ValueError(f"seeds must be one an image of x_T, {len(x_T)}, got {len(seeds)}")
    return seeds


def _check_seeds(seeds: Sequence[int]) -> list[int]:
    # torch's generator on the CPU looks at the low 32 bits alone.
    seeds = arguments.wholes("seeds", seeds, 0, 2**32 - 1)
    if not seeds:
        raise ValueError("seeds must name at least one image, got an empty list")
    return seeds


def _device(model: Model, device: str | torch.device | None, x: Tensor | None) -> torch.device:
    if device is not None:
        return accelerator.named(device)
    return device_of(model, torch.device("cpu") if x is None else x.device)


def _check_labels(model: Model, labels: int | Sequence[int | None] | Tensor | None, n: int,
                  guidance: float) -> tuple[list[int | None] | None, float]:
    """One label an image, None where none are asked for; and w as a plain number."""
    guidance = arguments.number("guidance", guidance, "a finite number of at least 0")
    if not 0 <= guidance < math.inf:
        raise ValueError(f"guidance must be a finite number of at least 0, got {guidance!r}")
    if labels is None:
        if guidance != 1:
            raise ValueError(f"labels must be given where guidance is not 1, got None with "
                             f"guidance = {guidance}")
        return None, guidance
    classes = getattr(model, "classes", 0)
    if not classes:
        raise ValueError(f"labels must be None for a model without labels, one that has no "
                         f"attribute classes above 0, got {arguments.shown(labels)}")
    labels = arguments.plain(labels)
    labels = [labels] * n if not isinstance(labels, Iterable) else arguments.items("labels", labels)
    if len(labels) != n:
        raise ValueError(f"labels must be one an image, {n}, got {len(labels)}")
    return [None if label is None else arguments.whole("every entry of labels", label, 0,
                                                       classes - 1, instead=", or None")
            for label in labels], guidance


def _network(model: Model, chosen: str, device: torch.device, labels: list[int | None] | None,
             guidance: float) -> Callable[[Tensor, int], Tensor]:
    """The model as a walk asks it: without gradients or dropout, one t for all, eps as x is."""
    y, copies = (), 1
    if labels is not None and guidance != 0:
        known = [model.classes if label is None else label for label in labels]
        if guidance != 1:
            known, copies = [model.classes] * len(known) + known, 2
        y = (torch.tensor(known, device=device),)

    def network(x: Tensor, t: int) -> Tensor:
        both = torch.cat([x, x]) if copies == 2 else x
        levels = torch.full((len(both),), t, device=x.device)
        with evaluating(model), torch.no_grad(), precision.computing_in(chosen, device):
            eps = asked(model, both, levels, *y).to(x.dtype)
        if x.device.type == "cpu" and not eps.isfinite().all():
            raise ValueError(f"{_NOT_FINITE} at t = {t}")
        return guide(*eps.chunk(2), guidance) if copies == 2 else eps

    return network


def _bar(total: int, progress: bool):
    from tqdm.auto import tqdm

    # An explicit disable=False would overrule the reader's TQDM_DISABLE.
    return tqdm(total=total, desc="network calls", **({} if progress else {"disable": True}))
