"""Arguments: Python's numbers and lists out of every kind of them, or an error with their name.

A number may come as numpy's or as an array or tensor without dimensions, a list as anything that
can be read once. What leaves here is plain, so that nothing else is stored, compared and printed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Set
from dataclasses import fields
from itertools import islice
from numbers import Integral, Real

import numpy as np
import torch
from torch import Tensor

#: What has more entries than this is taken for an iterable without an end.
LONGEST = 1 << 20


def plain(value: object) -> object:
    """The Python number in numpy's, or in an array or tensor without dimensions; else the value.

    Args:
        value: anything.
    """
    one = isinstance(value, (np.generic, np.ndarray, Tensor)) and value.ndim == 0
    return value.item() if one and not getattr(value, "is_meta", False) else value


def shown(value: object) -> str:
    """A value as an error shows it: tensors and arrays by type and shape, all else cut short.

    Args:
        value: anything.
    """
    if isinstance(value, (np.ndarray, Tensor)) and value.ndim:
        return f"{value.dtype} of shape {tuple(value.shape)}"
    text = repr(plain(value))
    return text if len(text) <= 200 else f"{text[:197]}..."


def whole(name: str, value: object, lowest: int | None = None, highest: int | None = None,
          instead: str = "") -> int:
    """A whole number as an int.

    Args:
        name: of the argument, for the error.
        value: what was given.
        lowest, highest: the range, both ends in it; None where there is no end.
        instead: what the argument may be besides, for the error.

    Raises:
        ValueError: it is none, lies outside, or has more than 64 bits, which no tensor holds; True
            and False are none.
    """
    found = plain(value)
    if isinstance(found, Integral) and not -2**63 <= found < 2**63:
        instead = f" of 64 bits{instead}"
    elif isinstance(found, Integral) and not isinstance(found, bool) \
            and (lowest is None or found >= lowest) and (highest is None or found <= highest):
        return int(found)
    within = "" if lowest is None else f" of at least {lowest}" if highest is None else \
        f" in {lowest}..{highest}"
    raise ValueError(f"{name} must be a whole number{within}{instead}, got {shown(value)}")


def number(name: str, value: object, wanted: str = "a number") -> float:
    """A real number as a float, or as an int where it is whole by type; not NaN.

    Args:
        name: of the argument, for the error.
        value: what was given.
        wanted: what it must be, for the error.

    Raises:
        ValueError: it is none, or beyond what a float can hold; True and False are none.
    """
    found = plain(value)
    if isinstance(found, Real) and not isinstance(found, bool):
        try:
            as_float = float(found)
        except OverflowError:
            as_float = float("nan")
        if as_float == as_float:
            return int(found) if isinstance(found, Integral) else as_float
    raise ValueError(f"{name} must be {wanted}, got {shown(value)}")


def flag(name: str, value: object) -> bool:
    """True or False.

    Args:
        name: of the argument, for the error.
        value: what was given, numpy's too.

    Raises:
        ValueError: it is neither.
    """
    found = plain(value)
    if not isinstance(found, bool):
        raise ValueError(f"{name} must be True or False, got {shown(value)}")
    return found


def choice(name: str, value: object, choices: Iterable[str]) -> str:
    """One of several words.

    Args:
        name: of the argument, for the error.
        value: what was given.
        choices: the words.

    Raises:
        ValueError: it is none of them.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {shown(value)}")
    return str(value)


def items(name: str, value: object, wanted: str = "a list") -> list:
    """What can be read once as a list, its numbers plain.

    Args:
        name: of the argument, for the error.
        value: what was given: a list, an array or tensor of numbers, a generator.
        wanted: what it must be, for the error.

    Raises:
        ValueError: it is no iterable, has no order, is text, or has more than :data:`LONGEST`
            entries.
    """
    found = plain(value)
    # A tensor without dimensions on "meta" is no number and yet nothing to iterate over.
    if isinstance(found, Iterable) and getattr(found, "ndim", 1) \
            and not isinstance(found, (str, bytes, Set, Mapping)):
        found = list(islice(found, LONGEST + 1))
        if len(found) <= LONGEST:
            return [plain(one) for one in found]
    raise ValueError(f"{name} must be {wanted}, got {shown(value)}")


def wholes(name: str, value: object, lowest: int | None = None, highest: int | None = None
           ) -> list[int]:
    """A list of whole numbers, each an int.

    Args:
        name, lowest, highest: as in :func:`whole`.
        value: as in :func:`items`.

    Raises:
        ValueError: it is no list, or an entry is no whole number in the range.
    """
    return [whole(f"every entry of {name}", one, lowest, highest)
            for one in items(name, value, "a list of whole numbers")]


def images(*, numbers: bool = False, **named: Tensor | float) -> None:
    """Whether these arguments are floating-point tensors, all of the first one's shape.

    Args:
        numbers: whether one of Python's numbers may stand for a tensor that is the same everywhere.
        named: the arguments by their names.

    Raises:
        TypeError: one is no tensor, or of whole numbers, which uint8 pictures are.
        ValueError: one has another shape.
    """
    first = None
    for name, value in named.items():
        # Python's alone: numpy's would make arrays of tensors, and torch counts to 2^63.
        if numbers and (type(value) is float or type(value) is int and abs(value) < 2**63):
            continue
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise TypeError(f"{name} must be a floating-point tensor, got {shown(value)}; uint8 "
                            "pictures are made one by ddim_lib.pixels.to_float")
        first = first or name
        if value.shape != named[first].shape:
            raise ValueError(f"{name} must have the shape of {first}, {tuple(named[first].shape)}, "
                             f"got {tuple(value.shape)}")


def batch(name: str, value: Tensor, wait: bool = True, meta: bool = False, dims: int = 1
          ) -> None:
    """Whether an argument is at least one image in floating point, every number finite.

    What goes to an eigenvalue solver must be: some of them end the process at a NaN.

    Args:
        name: of the argument, for the error.
        value: what was given, shape (N, ..).
        wait: look at the numbers on other devices than the CPU, too, which waits for them.
        meta: whether it may lie on the device "meta": a walk may go without numbers.
        dims: how many dimensions it has at least.

    Raises:
        TypeError: it is no tensor, or one of whole numbers.
        ValueError: N or a dimension is missing, N is 0, or it holds NaN, infinity or no numbers.
    """
    images(**{name: value})
    if value.ndim < dims:
        raise ValueError(f"{name} must have at least {dims} dimensions, got shape "
                         f"{tuple(value.shape)}")
    if not len(value):
        raise ValueError(f"{name} must hold at least one image, got shape {tuple(value.shape)}")
    if value.device.type == "cpu" or wait and not (meta and value.is_meta):
        finite(name, value)


def finite(name: str, value: Tensor) -> None:
    """Whether all of a tensor is finite.

    Args:
        name: of the argument, for the error.
        value: the tensor.

    Raises:
        ValueError: it holds NaN or infinity; the message says how many, and where the first is. Or
            it is on the device "meta" and holds nothing.
    """
    if value.is_meta:
        raise ValueError(f"{name} must hold numbers, got a tensor on the device meta")
    fine = value.isfinite()
    if not fine.all():
        where = (~fine).nonzero()
        raise ValueError(f"{name} must be finite, got NaN or infinity {len(where)} times, first "
                         f"at {tuple(where[0].tolist())}")


def levels(name: str, value: object, n: int, highest: int | None) -> Tensor:
    """One level an image, as int64: uint8 would be taken for a mask where it is an index.

    Args:
        name: of the argument, for the error.
        value: what was given: a tensor, an array or a list of n whole numbers.
        n: how many images there are.
        highest: the largest level; None where none is looked up: then values are not looked at.

    Raises:
        ValueError: it is none of these, or outside 0..highest. Values on a GPU are not looked at,
            which would wait for it.
    """
    found = value
    if not isinstance(found, Tensor):
        try:
            found = torch.as_tensor(np.asarray(items(name, value)), device="cpu")
        except (TypeError, ValueError, OverflowError):
            found = None
    if found is None or found.shape != (n,) or found.is_floating_point() or found.is_complex() \
            or found.dtype == torch.bool:
        raise ValueError(f"{name} must be a whole number or have shape ({n},), one whole number an "
                         f"image, got {shown(value)}")
    found = found.long()
    if highest is not None and found.device.type == "cpu" \
            and not ((found >= 0) & (found <= highest)).all():
        raise ValueError(f"{name} must be a whole number in 0..{highest}, got "
                         f"{found.min().item()}..{found.max().item()}")
    return found


def json_text(name: str, value: object) -> str:
    """A fact as JSON: numpy's numbers, arrays and tensors in it as plain numbers and lists.

    Args:
        name: of the fact, for the error.
        value: the fact.

    Raises:
        TypeError: JSON cannot hold it, as it holds no NaN and no infinity.
    """
    def smaller(part: object) -> object:
        if isinstance(part, (np.generic, np.ndarray, Tensor)):
            return part.tolist()
        raise TypeError(f"JSON has no {type(part).__name__}")

    try:
        return json.dumps(value, default=smaller, allow_nan=False)
    except (TypeError, ValueError, RecursionError, NotImplementedError) as error:
        raise TypeError(f"{name} must be what JSON can hold, got {shown(value)} ({error})"
                        ) from error


def _numbers(name: str, value: object) -> tuple[float, ...]:
    return tuple(number(name, one, "a list of numbers") for one in items(name, value))


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text, got {shown(value)}")
    return str(value)


_READ = {"int": whole, "float": number, "bool": flag, "str": _text,
         "tuple[int, ...]": lambda name, value: tuple(wholes(name, value)),
         "tuple[float, float]": _numbers}


def plain_fields(config: object) -> None:
    """Replace the fields of a frozen dataclass by plain values of their declared types.

    Args:
        config: an instance, whose annotations are strings.

    Raises:
        ValueError: a field holds nothing of its type; the message names it.
    """
    for field in fields(config):
        value = _READ[field.type](field.name, getattr(config, field.name))
        object.__setattr__(config, field.name, value)
