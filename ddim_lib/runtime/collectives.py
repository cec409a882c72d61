"""What several processes do together: wait, compare, broadcast, average, stop.

Every function here is called by all processes in the same order, and does next to nothing where
there is one alone. If another process ends, it raises
:class:`~ddim_lib.runtime.processes.LostProcess`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from ddim_lib.runtime.interrupts import stop_signals
from ddim_lib.runtime.processes import talking, world_size


def wait() -> None:
    """Until every process has come here."""
    if world_size() > 1:
        any_of(False)


def any_of(flag: bool) -> bool:
    """Whether the flag is true in any process; all get the same answer.

    It travels from CPU to CPU, so that a GPU's queue of work is not waited for.

    Args:
        flag: this process's.
    """
    if world_size() == 1:
        return flag
    found = torch.tensor([int(flag)])
    with talking():
        dist.all_reduce(found, dist.ReduceOp.MAX)
    return bool(found)


@contextmanager
def stop_requests(numbers: Sequence[int] = (signal.SIGINT,)) -> Iterator[Callable[[], bool]]:
    """:func:`~ddim_lib.runtime.interrupts.stop_signals` for all processes, after the same step.

    With several, a second signal changes nothing: torchrun hands on what it gets, and a
    cluster sends it to every process besides.

    Args:
        numbers: the signals to note.

    Yields:
        A function to be called by every process between two steps: whether any of them was asked
        to stop.
    """
    with stop_signals(numbers) as asked:
        if world_size() > 1 and threading.current_thread() is threading.main_thread():
            for number in numbers:
                signal.signal(number, lambda number, frame: asked.append(number))
        yield lambda: any_of(bool(asked))


def check_same(name: str, value: object) -> None:
    """Whether a value is the same in every process.

    Args:
        name: what it is, for the error.
        value: what pickle can carry, and == compare.

    Raises:
        ValueError: it is not; every process raises it.
    """
    if world_size() == 1:
        return
    found: list = [None] * world_size()
    with talking():
        dist.all_gather_object(found, value)
    for number, other in enumerate(found):
        if other != found[0]:
            raise ValueError(f"{name} must be the same in every process, got {found[0]} in process "
                             f"0 and {other} in process {number}")


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Give every process the first one's values, in place.

    Args:
        tensors: of the same shapes everywhere.
    """
    if world_size() == 1:
        return
    for tensor in tensors:
        value = tensor.detach().contiguous()
        with talking():
            dist.broadcast(value, 0)
        tensor.detach().copy_(value)


def average(tensors: Sequence[Tensor]) -> None:
    """Replace every tensor by its mean over the processes, in place.

    Args:
        tensors: of the same shapes everywhere, on one device; they travel as one.
    """
    if world_size() == 1:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    with talking():
        dist.all_reduce(flat)
    flat /= world_size()
    for tensor, mean in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))
