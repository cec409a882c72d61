"""A network as anyone may have built it: where it computes, in what type, what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ddim_lib.runtime import arguments


def device_of(model: Callable, otherwise: torch.device) -> torch.device:
    """Where the weights of a network lie.

    Args:
        model: a module, or any function.
        otherwise: for a function, and for a module without weights.
    """
    first = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    return otherwise if first is None else first.device


def type_of(model: Callable, otherwise: torch.dtype) -> torch.dtype:
    """The floating-point type of a network's weights, the first one's.

    Args:
        model: a module, or any function.
        otherwise: for a function, and for a module without such weights.
    """
    weights = model.parameters() if isinstance(model, nn.Module) else ()
    return next((w.dtype for w in weights if w.is_floating_point()), otherwise)


def shape_of(model: Callable, shape: Sequence[int] | None) -> tuple[int, ...]:
    """(C, H, W) of the images that a network takes.

    Args:
        model: a module, or any function.
        shape: what was given; where None, the model's own ``image_shape``.

    Raises:
        ValueError: there is none, or it holds no whole numbers of at least 1.
    """
    shape = getattr(model, "image_shape", None) if shape is None else shape
    if shape is None:
        raise ValueError("shape must be given as (C, H, W): this model has no image_shape")
    return tuple(arguments.wholes("shape", shape, 1))


@contextmanager
def evaluating(model: Callable) -> Iterator[None]:
    """Dropout and running means off while a network is asked, and its mode restored after.

    Args:
        model: a module, or any function.
    """
    # Each part's own mode: some may have been frozen on purpose.
    training = [m for m in model.modules() if m.training] if isinstance(model, nn.Module) else []
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def check_schedule(model: Callable, schedule: object) -> None:
    """An error where a network computes with a schedule of its own, and it is another one.

    Args:
        model: a module, or any function; asked is its own ``check_schedule``, if it has one.
        schedule: the one that it shall be used with.

    Raises:
        ValueError: they differ.
    """
    own = getattr(model, "check_schedule", None)
    if own is not None:
        own(schedule)


def asked(model: Callable, x: Tensor, t: Tensor, *y: Tensor) -> Tensor:
    """``model(x, t, *y)``, the noise that it sees in x, with x in the number type of its weights.

    Args:
        model: ``model(x, t) -> eps``.
        x: shape (N, C, H, W), any floating-point type.
        t: int64, shape (N,).
        y: labels, int64, shape (N,), for a network that takes them.

    Raises:
        TypeError: it answers with something else than a floating-point tensor.
        ValueError: the answer has not the shape of x.
    """
    answer = model(x.to(type_of(model, x.dtype)), t, *y)
    wanted = f"model must return noise of the shape of x, {tuple(x.shape)}, in floating point"
    if not isinstance(answer, Tensor):
        hint = ": give a function that returns model(x, t).sample" \
            if isinstance(getattr(answer, "sample", None), Tensor) else ""
        raise TypeError(f"{wanted}, got the type {type(answer).__name__}{hint}")
    if not answer.is_floating_point():
        raise TypeError(f"{wanted}, got {answer.dtype}")
    if answer.shape != x.shape:
        twice = x.ndim > 1 and answer.shape == (len(x), 2 * x.shape[1], *x.shape[2:])
        hint = ": the second half of its channels is a learned variance, which no sampler here " \
               "uses; give a function that returns model(x, t).chunk(2, dim=1)[0]" if twice else ""
        raise ValueError(f"{wanted}, got shape {tuple(answer.shape)}{hint}")
    return answer
