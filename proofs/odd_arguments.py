"""Arguments as strangers give them, for the library's functions: types, shapes, number types.

A value in other clothes (numpy's, a tensor without dimensions, what can be read once) must give
what the plain one gives. Anything else must give a result, or a ValueError or TypeError with the
argument's name in it; never another exception, and an answer within seconds. Not asked is what
needs more memory than there is.
"""

from __future__ import annotations

import itertools
import re
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import hypothesis
import numpy as np
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from torch import nn

from ddim_lib import pixels, sampling, schedule, training, unet
from ddim_lib.metrics import PixelComponents, precision_recall
from ddim_lib.plotting import tile
from ddim_lib.responses import amplitude_response, exact_mean_response
from ddim_lib.runtime.arguments import shown
from proofs.common import Failed

SECONDS = 20  # an answer takes milliseconds
SIZES = {"T", "shape", "columns", "gap"}  # large ones only ask for memory
LARGE = (10**400, 2**63, -2**70)


class Call(NamedTuple):
    """A function, and arguments by name that it takes."""

    function: Callable
    plain: dict[str, object]


def calls() -> dict[str, Call]:
    """What is called, by name; every argument in turn is given in odd forms."""
    table = schedule.linear(20)
    x = torch.linspace(-1, 1, 32).view(2, 1, 4, 4)
    eps = x.flip(0)

    def model(x, t, *y):
        return 0.1 * x

    labelled = SimpleNamespace(classes=3)

    class Labelled(nn.Module):
        classes = labelled.classes

        def forward(self, x, t, y=None):
            return 0.1 * x

    config = unet.UNetConfig(4, 1, 8, (1, 1), 1, (4,), 0.0, groups=4)
    network = unet.UNet(config, table).eval()
    sample = partial(sampling.sample, model, table, progress=False)
    alphas = {"alpha_t": 0.3, "alpha_s": 0.6}

    def loss(**given):
        return training.noise_prediction_loss(
            model, table, generator=torch.Generator("cpu").manual_seed(0), **given)

    return {
        "at": Call(table.at, {"t": 5}),
        "add_noise": Call(table.add_noise, {"x0": x, "t": 5, "noise": eps}),
        "add_noise, a t an image": Call(table.add_noise, {"x0": x, "t": [3, 7], "noise": eps}),
        "linear": Call(schedule.linear, {"T": 20, "beta_start": 1e-4, "beta_end": 0.02}),
        "cosine": Call(schedule.cosine, {"T": 20, "offset": 0.01, "max_beta": 0.99}),
        "timesteps": Call(schedule.timesteps, {"T": 20, "steps": 5, "spacing": "leading"}),
        "timesteps, a list": Call(schedule.timesteps, {"T": 20, "steps": [1, 7, 20]}),
        "pairs": Call(schedule.pairs, {"taus": [1, 7, 20]}),
        "predict_x0": Call(sampling.predict_x0, {"x_t": x, "eps": eps, "alpha_t": 0.3}),
        "noise_in": Call(sampling.noise_in, {"x_t": x, "x0": eps, "alpha_t": 0.3}),
        "sigma": Call(sampling.sigma, {**alphas, "eta": 0.5}),
        "coefficients": Call(sampling.coefficients, {**alphas, "eta": 0.5}),
        "step": Call(sampling.step, {"x0": x, "eps": eps, **alphas, "eta": 0.5, "z": x}),
        "extrapolate_x0": Call(sampling.extrapolate_x0, {
            "x0": x, "x0_before": eps, "alpha_before": 0.2, **alphas}),
        "guide": Call(sampling.guide, {"eps_uncond": x, "eps_cond": eps, "guidance": 2.0}),
        "slerp": Call(sampling.slerp, {"x": x, "y": eps, "weight": 0.25}),
        "noise_from_seeds": Call(sampling.noise_from_seeds, {"seeds": [3, 4], "shape": [1, 2, 2]}),
        "sample": Call(sample, {
            "steps": 3, "seeds": [1, 2], "shape": [1, 2, 2], "spacing": "leading", "eta": 0.5,
            "order": 1, "clip": False, "guidance": 1.0, "batch_size": 2, "autocast": "fp32",
            "device": "cpu"}),
        "sample, x_T": Call(partial(sample, shape=[1, 4, 4]), {
            "steps": [2, 9], "x_T": x, "seeds": [1, 2], "order": 1}),
        "sample, labels": Call(
            partial(sampling.sample, Labelled(), table, progress=False, steps=2, x_T=x),
            {"labels": [0, 2], "guidance": 2.0}),
        "encode": Call(partial(sampling.encode, model, table), {
            "x0": x, "steps": 3, "spacing": "leading", "convention": "source", "guidance": 1.0}),
        "noise_prediction_loss": Call(loss, {"x0": x, "weight": "1", "mean_weight": 0.5}),
        "UNet": Call(torch.no_grad()(network.forward), {"x": x, "t": 5}),
        "UNet, a t an image": Call(torch.no_grad()(network.forward), {"x": x, "t": [3, 7]}),
        "UNetConfig": Call(unet.UNetConfig, {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in config.to_dict().items()}),
        "TrainingConfig": Call(training.TrainingConfig, {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in vars(training.TrainingConfig()).items()}),
        "amplitude_response": Call(partial(amplitude_response, model), {
            "t": 5, "seeds": [1, 2], "shape": [1, 2, 2]}),
        "exact_mean_response": Call(exact_mean_response, {
            "alpha_t": 0.1, "spread": 0.2, "pixels": 16}),
        "precision_recall": Call(precision_recall, {
            "real": x.view(8, 4), "generated": eps.view(8, 4), "k": 3}),
        "PixelComponents.fit": Call(lambda **given: PixelComponents.fit(**given).components, {
            "images": x.view(8, 1, 2, 2), "k": 2}),
        "to_uint8": Call(pixels.to_uint8, {"images": x}),
        "tile": Call(tile, {"images": x, "columns": 2, "gap": 1}),
    }


def dressed(value: object) -> list[tuple[Callable, object]]:
    """The same value in other clothes: what makes it, and the plain value that it must equal."""
    if isinstance(value, bool):
        return [(lambda: np.bool_(value), value), (lambda: torch.tensor(value), value)]
    if isinstance(value, int):
        kinds = [np.int64, np.uint16, np.array, torch.tensor]
        return [(lambda kind=kind: kind(value), value) for kind in kinds]
    if isinstance(value, float):
        narrow = float(np.float32(value))
        return [(lambda: np.float64(value), value), (lambda: np.array(value), value),
                (lambda: torch.tensor(value, dtype=torch.float64), value),
                (lambda: Fraction(value), value), (lambda: np.float32(value), narrow),
                (lambda: torch.tensor(value, dtype=torch.float32), narrow)]
    if isinstance(value, str):
        return [(lambda: np.str_(value), value)]
    if isinstance(value, list):
        kinds = [tuple, iter, np.array, torch.tensor, lambda v: (one for one in v),
                 lambda v: [np.array(one) for one in v]]
        if not all(isinstance(one, int) for one in value):
            kinds.remove(torch.tensor)  # whose floats are narrower
        return [(lambda kind=kind: kind(value), value) for kind in kinds]
    return [(lambda: nn.Parameter(value), value),
            (lambda: torch.stack([value, value], -1)[..., 0], value)]


def _tensor(kind: torch.dtype, shape: tuple[int, ...], value: float) -> torch.Tensor:
    filled = torch.zeros(shape, dtype=kind)
    return filled + value if kind.is_floating_point else filled


FRESH = [  # what must be made anew for each call
    lambda: itertools.count(), lambda: iter([]), lambda: (one for one in "ab"), lambda: object(),
    lambda: torch.zeros((), device="meta"), lambda: torch.zeros(2, device="meta"),
    lambda: SimpleNamespace(sample=torch.zeros(2)), lambda: np.array("x"), lambda: np.zeros((2, 3)),
    lambda: np.datetime64("2020-01-01"), lambda: np.array([None, 1]), lambda: {1, 2}, lambda: {},
    lambda: None, lambda: 1j, lambda: b"1", lambda: float("nan"), lambda: float("-inf"),
    lambda: True, lambda: [], lambda: [[1], [2, 3]], lambda: ["1", None], lambda: type,
    *(lambda large=large: large for large in LARGE)]
ANYTHING = st.one_of(
    st.sampled_from(FRESH),
    st.one_of(st.integers(-3, 40), st.floats(), st.text(max_size=3),
              st.lists(st.integers(-1, 30), max_size=3)).map(lambda value: lambda: value),
    st.builds(lambda *given: lambda: _tensor(*given),
              st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64,
                               torch.uint8, torch.int16, torch.int64, torch.bool, torch.complex64]),
              st.lists(st.integers(0, 3), max_size=5).map(tuple) | st.just((2, 1, 4, 4)),
              st.sampled_from([0.0, 0.5, float("nan"), float("inf")])))


@contextmanager
def in_time():
    """Failed after SECONDS, in the main thread of a system that has alarms."""
    def stop(number, frame):
        raise Failed(f"no answer in {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def names(call: Call, argument: str, message: str) -> bool:
    """Whether an error speaks of an argument, or says what another one must be beside it."""
    others = "|".join(map(re.escape, call.plain))
    return re.search(rf"\b{argument}\b|^(every entry of )?({others}) must", message) is not None


def answer(call: Call, argument: str, value: object) -> tuple[str, object]:
    """("value", the result) or ("named", the message).

    Raises:
        Failed: another exception, an error without the argument's name, or no answer.
    """
    try:
        with in_time():
            return "value", call.function(**{**call.plain, argument: value})
    except (ValueError, TypeError) as error:
        if not names(call, argument, str(error)):
            raise Failed(f"{argument} = {shown(value)}: the error does not name it: {error}"
                         ) from error
        return "named", str(error)
    except Failed as error:
        raise Failed(f"{argument} = {shown(value)}: {error}") from error
    except Exception as error:
        raise Failed(f"{argument} = {shown(value)}: {type(error).__name__}: {error}") from error


def same(one: object, other: object) -> bool:
    """Whether two results are equal, and of one type."""
    if isinstance(one, schedule.Schedule):
        return torch.equal(one.alpha, other.alpha) and one.to_dict() == other.to_dict()
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    return type(one) is type(other) and one == other and repr(one) == repr(other)


def counted(seed: int, examples: int, attempt: Callable[[st.DataObject], str]) -> Counter:
    """What came out of so many attempts, each with other draws."""
    counts = Counter()

    @hypothesis.seed(seed)
    @settings(max_examples=examples, database=None, deadline=None, report_multiple_bugs=False,
              suppress_health_check=list(HealthCheck))
    @hypothesis.given(st.data())
    def one(data):
        counts[attempt(data)] += 1

    one()
    return counts


def tried(seed: int, examples: int) -> Counter:
    """Draw so many inputs and try them.

    Returns:
        how many gave the value of the plain argument ("dressed"), a value, a named error.

    Raises:
        Failed: one did not.
    """
    table = calls()

    def attempt(data):
        name = data.draw(st.sampled_from(sorted(table)))
        argument = data.draw(st.sampled_from(sorted(table[name].plain)))
        try:
            return _try(data, table[name], argument)
        except Failed as error:
            raise Failed(f"{name}: {error}") from error

    return counted(seed, examples, attempt)


def _try(data, call: Call, argument: str) -> str:
    plain = call.plain[argument]
    if data.draw(st.booleans()):
        make, equal = data.draw(st.sampled_from(dressed(plain)))
        kind, found = answer(call, argument, make())
        if kind == "named":
            raise Failed(f"{argument} = {make()!r} is refused: {found}")
        if not same(found, answer(call, argument, equal)[1]):
            raise Failed(f"{argument} = {make()!r} gives another value than {equal!r}")
        return "dressed"
    value = data.draw(ANYTHING)()
    if argument in SIZES and isinstance(value, int) and abs(value) > 40:
        value = -1
    return answer(call, argument, value)[0]
