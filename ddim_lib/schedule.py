"""The noise schedule alpha_t, and which t a sampler visits.

alpha_t is the DDIM paper's: the cumulative product that DDPM writes with a
bar. alpha_0 = 1 (no noise) and t = 1..T wherever a reader looks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ddim_lib.runtime import arguments

SPACINGS = ("leading", "trailing", "quadratic", "log-snr")


@dataclass(frozen=True, eq=False)
class Schedule:
    """How much of the picture is left at each t.

    Args:
        alpha: float64, shape (T+1,), alpha[0] = 1, strictly decreasing, all
            in (0, 1]. The table is float64 because 1 - alpha_1 in float32 is
            wrong by 2e-4 of its value.
        name: what produced the table; stored with trained weights.
        parameters: the numbers that the name needs to be rebuilt.

    Raises:
        TypeError: alpha is not a float64 tensor.
        ValueError: alpha is not such a table.
    """

    alpha: Tensor
    name: str = "custom"
    parameters: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        a = self.alpha
        if not isinstance(a, Tensor) or a.dtype != torch.float64:
            found = getattr(a, "dtype", type(a).__name__)
            raise TypeError(f"alpha must be a float64 tensor, got {found}")
        if a.ndim != 1 or len(a) < 2:
            raise ValueError(f"alpha must have shape (T+1,) with T >= 1, got {tuple(a.shape)}")
        if a.is_meta:
            raise ValueError("alpha must hold numbers, got a tensor on the device meta")
        if not torch.isfinite(a).all():
            raise ValueError("alpha must be finite everywhere; it holds NaN or infinity")
        if a[0] != 1:
            raise ValueError(f"alpha[0] must be 1 (t = 0 is the clean picture), got {a[0].item()}")
        if not (a[1:] < a[:-1]).all():
            at = int((a[1:] >= a[:-1]).nonzero()[0]) + 1
            raise ValueError(f"alpha must decrease strictly; it does not at t = {at}")
        if a[-1] <= 0:
            raise ValueError(f"alpha must stay above 0 (eq. 9 divides by it), got {a[-1].item()}")

    @property
    def T(self) -> int:
        """The number of noise levels; x_T is the noisiest."""
        return len(self.alpha) - 1

    @property
    def beta(self) -> Tensor:
        """1 - alpha_t / alpha_{t-1} for t = 1..T, which DDPM calls beta; float64, shape (T,)."""
        return 1 - self.alpha[1:] / self.alpha[:-1]

    def snr(self) -> Tensor:
        """Signal-to-noise ratio alpha_t / (1 - alpha_t) for t = 1..T, float64, shape (T,)."""
        return self.alpha[1:] / (1 - self.alpha[1:])

    def half_log_snr(self) -> Tensor:
        """ln(sqrt(alpha_t / (1 - alpha_t))) for t = 1..T, float64, shape (T,), decreasing.

        DPM-Solver's lambda. At t = 0 it has no value: there is no noise.
        """
        return self.snr().log() / 2

    def at(self, t: int) -> float:
        """alpha_t as a Python float, for t in 0..T."""
        return self.alpha[arguments.whole("t", t, 0, self.T)].item()

    def add_noise(self, x0: Tensor, t: int | Tensor, noise: Tensor) -> Tensor:
        """Noise pictures to their levels (DDIM eq. 4)::

            x_t = sqrt(alpha_t) x_0 + sqrt(1 - alpha_t) noise

        Book: equation (1).

        Args:
            x0: images, shape (N, C, H, W), in [-1, 1].
            t: one level for all (int) or one an image (whole numbers, shape (N,)), in 0..T.
            noise: standard normal, the shape of x0.

        Raises:
            TypeError: x0 or noise is not in floating point.
            ValueError: noise has another shape, or t is not such a level.
        """
        arguments.images(x0=x0, noise=noise)
        t = arguments.plain(t)
        if not isinstance(t, Iterable):
            a = self.at(t)
            return math.sqrt(a) * x0 + math.sqrt(1 - a) * noise
        t = arguments.levels("t", t, len(x0), self.T).to(x0.device)
        a, b = self.roots(t, x0.ndim, x0.dtype)
        return a * x0 + b * noise

    def roots(self, t: Tensor, ndim: int,
              dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
        """sqrt(alpha_t) and sqrt(1 - alpha_t) of each image, of shape (N, 1, .., 1).

        Args:
            t: int64, shape (N,), in 0..T.
            ndim: of the images that they shall broadcast with.
            dtype: of the results.
        """
        # The device's own copies of the tables; an index out of range fails there by itself.
        signal, noise = (root[t].view(-1, *[1] * (ndim - 1))
                         for root in self._roots(t.device, dtype))
        return signal, noise

    def _roots(self, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """sqrt(alpha) and sqrt(1 - alpha), the device's own copies."""
        tables = self.__dict__.setdefault("_tables", {})
        if (device, dtype) not in tables:
            # Rounded before they go: Apple's GPUs have no float64.
            tables[device, dtype] = tuple(root.to(dtype).to(device) for root in (
                self.alpha.sqrt(), (1 - self.alpha).sqrt()))
        return tables[device, dtype]

    def to_dict(self) -> dict:
        """What weights store, so that :func:`from_dict` rebuilds the table.

        Raises:
            ValueError: it is a table of one's own, or its name does not rebuild it.
        """
        if self.name not in ("linear", "cosine"):
            raise ValueError(f"only linear and cosine schedules can be stored, this is "
                             f"{self.name!r}")
        stored = {"name": self.name, **dict(self.parameters)}
        if not torch.equal(from_dict(stored).alpha, self.alpha.cpu()):
            raise ValueError(f"only linear and cosine schedules can be stored, this is called "
                             f"{self.name!r} and has another table than {stored}")
        return stored


def linear(T: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> Schedule:
    """beta rising linearly, alpha_t the product of 1 - beta (DDPM section 4; DDIM D.2).

    Args:
        T: number of noise levels, at least 1.
        beta_start: beta_1, in (0, 1).
        beta_end: beta_T, in (0, 1), at least beta_start.
    """
    T = arguments.whole("T", T, 1)
    beta_start = arguments.number("beta_start", beta_start)
    beta_end = arguments.number("beta_end", beta_end)
    if not 0 < beta_start <= beta_end < 1:
        raise ValueError(f"betas must satisfy 0 < beta_start <= beta_end < 1, "
                         f"got {beta_start} and {beta_end}")
    beta = torch.linspace(beta_start, beta_end, T, dtype=torch.float64, device="cpu")
    return _from_beta(beta, "linear", {"T": T, "beta_start": beta_start, "beta_end": beta_end})


def cosine(T: int = 1000, offset: float = 0.008, max_beta: float = 0.999) -> Schedule:
    """Nichol and Dhariwal's schedule (arXiv 2102.09672, eq. 17).

    alpha_t = f(t) / f(0), where f(t) is the square of cos((t/T + offset) / (1 + offset) pi/2).

    Args:
        T: number of noise levels, at least 1.
        offset: at least 0; it keeps the first beta from being tiny.
        max_beta: in (0, 1); no beta is larger, or the last alpha would be zero.
    """
    T = arguments.whole("T", T, 1)
    offset = arguments.number("offset", offset)
    max_beta = arguments.number("max_beta", max_beta)
    if not (0 <= offset < math.inf and 0 < max_beta < 1):
        raise ValueError(f"offset must be at least 0 and max_beta in (0, 1), "
                         f"got {offset} and {max_beta}")
    t = torch.arange(T + 1, dtype=torch.float64, device="cpu") / T
    f = torch.cos((t + offset) / (1 + offset) * math.pi / 2) ** 2
    beta = (1 - f[1:] / f[:-1]).clamp(max=max_beta)
    return _from_beta(beta, "cosine", {"T": T, "offset": offset, "max_beta": max_beta})


def from_dict(stored: dict) -> Schedule:
    """The schedule that :meth:`Schedule.to_dict` described.

    Args:
        stored: that dictionary: ``name``, and the arguments of the function of that name.

    Raises:
        ValueError: the name is neither linear nor cosine, or the function has another argument.
    """
    makers = {"linear": linear, "cosine": cosine}
    parameters = dict(stored)
    name = parameters.pop("name", None)
    if name not in makers:
        raise ValueError(f"schedule name must be one of {sorted(makers)}, got {name!r}")
    try:
        return makers[name](**parameters)
    except TypeError as error:
        raise ValueError(f"schedule {name} has no such argument: {error}") from error


def _from_beta(beta: Tensor, name: str, parameters: dict) -> Schedule:
    one = torch.ones(1, dtype=torch.float64, device="cpu")
    alpha = torch.cat([one, torch.cumprod(1 - beta, 0)])
    try:
        return Schedule(alpha, name, tuple(parameters.items()))
    except ValueError as error:  # a beta that float64 cannot tell from 0 or 1, or too many of them
        told = ", ".join(f"{key} = {value}" for key, value in parameters.items())
        raise ValueError(f"no schedule has {told}: {error}") from error


def timesteps(T: int | Schedule, steps: int | Sequence[int],
              spacing: str = "trailing") -> list[int]:
    """The levels tau_1 < .. < tau_S that a sampler visits, out of 1..T (DDIM section 4.2, D.2).

    Args:
        T: the schedule's number of levels, or the schedule.
        steps: how many levels (1..T), or the levels themselves, strictly
            increasing, each in 1..T.
        spacing: where ``steps`` is a number S, one of

            - ``"trailing"``: floor(T i / S), i = 1..S, ends at T (the paper's linear);
            - ``"leading"``: 1 + floor(T i / S), i = 0..S-1, starts at 1 (the official code's
              uniform, where S divides T);
            - ``"quadratic"``: the official code's, dense near 0 and ending at 1 + 0.8 T, repeats
              removed: from S = 30 of 1000 on it is shorter than asked, and a single step is from
              1, where hardly any noise is;
            - ``"log-snr"``: T, 1 and what is nearest to even steps of the schedule's
              :meth:`~Schedule.half_log_snr` between them, repeats removed (DPM-Solver, arXiv
              2206.00927); a single step is from T. It needs the schedule in place of T.

    Raises:
        ValueError: more steps than T, fewer than 1, a list that does not increase
            strictly inside 1..T, an unknown spacing, ``"log-snr"`` without the schedule.
    """
    schedule, T = (T, T.T) if isinstance(T, Schedule) else (None, arguments.whole("T", T, 1))
    arguments.choice("spacing", spacing, SPACINGS)
    steps = arguments.plain(steps)
    if isinstance(steps, Iterable) and not isinstance(steps, str):
        return _increasing("steps", steps, T)
    steps = arguments.whole("steps", steps, 1, T, instead=f" (the schedule has T = {T}), or a list "
                                                          "of timesteps")
    if spacing == "trailing":
        return [T * i // steps for i in range(1, steps + 1)]
    if spacing == "leading":
        return [1 + T * i // steps for i in range(steps)]
    if spacing == "log-snr":
        if schedule is None:
            raise ValueError(f"T must be the schedule where spacing is log-snr, got {T}")
        table = schedule.half_log_snr()
        wanted = torch.linspace(table[-1].item(), table[0].item(), steps, dtype=torch.float64,
                                device=table.device)
        return sorted({int((table - value).abs().argmin()) + 1 for value in wanted})
    root = torch.linspace(0, math.sqrt(0.8 * T), steps, dtype=torch.float64, device="cpu")
    # The small addition keeps floor() from turning an exact 800 into 799.
    labels = (root**2 + 1e-9).floor().long().tolist()
    return sorted({label + 1 for label in labels})


def _increasing(name: str, taus: Sequence[int], T: int | None = None) -> list[int]:
    taus = [int(t) if isinstance(t, float) and t.is_integer() else t  # linspace gives such
            for t in arguments.items(name, taus, "a list of timesteps")]
    if not taus:
        raise ValueError(f"{name} must name at least one timestep, got an empty list")
    taus = arguments.wholes(name, taus, 1, T)
    for a, b in zip(taus, taus[1:], strict=False):
        if b <= a:
            raise ValueError(f"{name} must increase strictly, got {a} before {b}")
    return taus


def pairs(taus: Sequence[int]) -> list[tuple[int, int]]:
    """The transitions (t, s), s < t, from the last tau down to s = 0.

    An explicit list, because "t minus the stride" is wrong wherever the spacing
    is uneven.

    Args:
        taus: the levels of :func:`timesteps`, strictly increasing.

    Raises:
        ValueError: they are none, or do not increase.
    """
    ends = [0, *_increasing("taus", taus)]
    return [(ends[i], ends[i - 1]) for i in range(len(ends) - 1, 0, -1)]
