"""What the assignments' visible checks say: ok, or what is wrong, in words.

Each check returns in silence or raises :class:`CheckFailed`. None of them knows a formula: the
expected numbers come from the notebook that asks.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

# The notebooks say checks.pack.
from ddim_lib.checks.handing_in import grading, pack  # noqa: F401


class CheckFailed(AssertionError):
    """An answer is wrong; the message says in which way."""


def ok(words: str) -> None:
    """Say that a question's visible checks are passed.

    Args:
        words: what is right, in a few words.
    """
    print("ok:", words)


def tensor(what: str, got, shape: Sequence[int], dtype: torch.dtype | None = None) -> None:
    """Is it a tensor of this shape and type, and finite everywhere?

    Args:
        what: what the reader calls it, "your x_t".
        got: the answer.
        shape: the one expected.
        dtype: the one expected; where left out, any.

    Raises:
        CheckFailed: it is not.
    """
    if got is None:
        raise CheckFailed(f"{what} is None: does your function end in return?")
    if not isinstance(got, Tensor):
        raise CheckFailed(f"{what} is of type {type(got).__name__}, expected a tensor")
    if tuple(got.shape) != tuple(shape):
        raise CheckFailed(f"{what} has shape {tuple(got.shape)}, expected {tuple(shape)}")
    if dtype is not None and got.dtype != dtype:
        raise CheckFailed(f"{what} is {_short(got.dtype)}, expected {_short(dtype)}")
    if got.is_floating_point() and not torch.isfinite(got).all():
        raise CheckFailed(f"{what} holds NaN or infinity: a division by zero, or the root of a "
                          "negative number?")


def close(what: str, got, want, *, atol: float = 1e-6, rtol: float = 1e-5,
          dtype: torch.dtype | None = None,
          suspects: Iterable[tuple[object, str]] = ()) -> None:
    """Is a number, or a tensor, the expected one to within rounding?

    Args:
        what: what the reader calls it.
        got: the answer.
        want: what is expected: a number, or a tensor (then got must be one of its shape).
        atol, rtol: ``|got - want|`` may be ``atol + rtol |want|``.
        dtype: as in :func:`tensor`.
        suspects: pairs of a wrong result and a question about how one gets it; the question is
            added to the message where got is that result.

    Raises:
        CheckFailed: it is not.
    """
    if isinstance(want, Tensor):
        tensor(what, got, want.shape, dtype)
        a, b = _double(got.detach()), _double(want)
    else:
        a, b = torch.tensor(_number(what, got), dtype=torch.float64), _double(want)
    if _same(a, b, atol, rtol):
        return
    words = next((f" {text}" for wrong, text in suspects
                  if _same(a, _double(wrong), atol, max(rtol, 1e-4))), "")
    if _variance(a) + _variance(b) < 1e-12:  # a number, or the same number everywhere
        found, wanted = a.mean().item(), b.mean().item()
        digits = next((d for d in (5, 9) if f"{found:.{d}g}" != f"{wanted:.{d}g}"), 17)
        raise CheckFailed(f"{what} is {found:.{digits}g}, expected {wanted:.{digits}g}.{words}")
    off = (a - b).abs().max().item()
    raise CheckFailed(f"{what}: the values are wrong, the worst by {off:.3g}. Yours have the mean "
                      f"{a.mean().item():.4g} and the variance {_variance(a):.4g}, expected are "
                      f"{b.mean().item():.4g} and {_variance(b):.4g}.{words}")


def same_list(what: str, got, want: list, suspects: Iterable[tuple[list, str]] = ()) -> None:
    """Is it this list, entry by entry?

    Args:
        what: what the reader calls it.
        got: the answer; any sequence, its numbers of any whole type.
        want: the list expected, of numbers or of tuples of numbers.
        suspects: as in :func:`close`.

    Raises:
        CheckFailed: it is not.
    """
    try:
        found = _plain(got)
    except TypeError:
        raise CheckFailed(f"{what} is of type {type(got).__name__}, expected a list") from None
    want = _plain(want)
    if found == want:
        return
    words = next((f" {text}" for wrong, text in suspects if found == _plain(wrong)), "")
    if len(found) != len(want):
        raise CheckFailed(f"{what} has {len(found)} entries, expected {len(want)}: "
                          f"{_cut(found)}.{words}")
    at = next(i for i, (a, b) in enumerate(zip(found, want, strict=True)) if a != b)
    raise CheckFailed(f"{what}: entry {at} is {found[at]}, expected {want[at]}.{words}")


def raises(what: str, call: Callable[[], object], error: type[Exception] = ValueError) -> None:
    """Does the call raise this error?

    Args:
        what: the case, "more steps than T".
        call: a function without arguments.
        error: the one expected.

    Raises:
        CheckFailed: it returns, or raises another one. (A question that is still open raises its
            NotImplementedError as ever.)
    """
    try:
        result = call()
    except error:
        return
    except (NotImplementedError, CheckFailed):
        raise
    except Exception as other:
        raise CheckFailed(f"{what}: expected {error.__name__}, your function raises "
                          f"{type(other).__name__}: {other}") from other
    shown = f"a tensor of shape {tuple(result.shape)}" if isinstance(result, Tensor) \
        else _cut(result)
    raise CheckFailed(f"{what}: expected {error.__name__}, your function returns {shown}")


@contextmanager
def without(*functions: Callable):
    """Watch that the answer is written out, not asked of the library.

    Args:
        functions: those that the answer must not call.

    Raises:
        CheckFailed: at the end, if one of them was called.
    """
    names = {f.__code__: f.__qualname__ for f in functions}
    called = []

    def watch(frame, event, _):
        if event == "call" and frame.f_code in names:
            called.append(names[frame.f_code])

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        yield
    finally:
        sys.setprofile(before)
    if called:
        raise CheckFailed(f"your function calls the library's {called[0]}; write the formula out "
                          "yourself")


@contextmanager
def standing_in(names: dict, **functions: Callable):
    """Put right functions in the place of earlier answers, so that a mistake there costs nothing
    here; afterwards the earlier answers are back.

    Args:
        names: the notebook's ``globals()``.
        functions: by the names of the answers.
    """
    before = {name: names[name] for name in functions if name in names}
    names.update(functions)
    try:
        yield
    finally:
        for name in functions:
            names.pop(name, None)
        names.update(before)


@contextmanager
def own_generator():
    """Watch that random numbers come from the generator that was given.

    Raises:
        CheckFailed: at the end, if torch's global generator was used.
    """
    before = torch.get_rng_state()
    yield
    if not torch.equal(before, torch.get_rng_state()):
        raise CheckFailed("your function draws from torch's global generator; pass generator= on "
                          "to every draw (and see that it is not None), so that the same seed "
                          "gives the same numbers")


def _number(what: str, got) -> float:
    if isinstance(got, Tensor) and got.numel() == 1:
        got = got.item()
    if got is None:
        raise CheckFailed(f"{what} is None: does your function end in return?")
    try:
        value = float(got)
    except (TypeError, ValueError):
        kind = f"a tensor of shape {tuple(got.shape)}" if isinstance(got, Tensor) \
            else f"of type {type(got).__name__}"
        raise CheckFailed(f"{what} is {kind}, expected a number") from None
    if not math.isfinite(value):
        raise CheckFailed(f"{what} is {value}, expected a finite number")
    return value


def _plain(value):
    if isinstance(value, Tensor):
        value = value.tolist()
    if isinstance(value, (int, float)):
        return value
    if hasattr(value, "item"):
        return value.item()
    if isinstance(value, (str, dict)):
        raise TypeError
    return [tuple(_plain(e)) if isinstance(e, (tuple, list)) else _plain(e) for e in value]


def _double(value) -> Tensor:
    return value.cpu().double() if isinstance(value, Tensor) else \
        torch.as_tensor(value, dtype=torch.float64)


def _same(a: Tensor, b: Tensor, atol: float, rtol: float) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, atol=atol, rtol=rtol)


def _variance(values: Tensor) -> float:
    return values.var(correction=0).item()


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _cut(value) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
