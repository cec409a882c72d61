"""What several processes do together: share, gather, average, stop.

Every function here is called by all processes in the same order, and does next to nothing where
there is one alone. If another process ends, it raises
:class:`~ddim_lib.processes.LostProcess`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

import ddim_lib
from ddim_lib.interrupts import stop_signals
from ddim_lib.processes import is_first, rank, talking, world_size


def wait() -> None:
    """Until every process has come here."""
    if world_size() > 1:
        any_of(False)


@contextmanager
def first_goes_ahead() -> Iterator[None]:
    """The first process goes through this block before the others: it alone downloads."""
    if not is_first():
        wait()
    yield
    if is_first():
        wait()


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
    """:func:`~ddim_lib.interrupts.stop_signals` for all processes: they stop after the same step.

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


def share(items):
    """This process's part of a sequence or tensor: pieces in the order of the ranks, none lost.

    Args:
        items: the same everywhere. With fewer items than processes the last ones get none.
    """
    n, total = len(items), world_size()
    first, end = (-(-n * i // total) for i in (rank(), rank() + 1))  # rounded up
    return items[first:end]


def gather(rows: Tensor) -> Tensor | None:
    """The rows of all processes on the CPU, in the order of the ranks; None but on the first.

    Args:
        rows: shape (n, ...); n may differ and be 0, the rest and the type may not.
    """
    if world_size() == 1:
        return rows
    rows = rows.cpu().contiguous()
    counts: list = [None] * world_size()
    with talking():
        dist.all_gather_object(counts, len(rows))
        if not is_first():
            if len(rows):
                dist.send(rows, 0)
            return None
        parts = [rows]
        for number, count in enumerate(counts[1:], start=1):
            parts.append(rows.new_empty(count, *rows.shape[1:]))
            if count:
                dist.recv(parts[-1], number)
    return torch.cat(parts)


def sample_together(model, schedule, *, seeds: Sequence[int] | None = None,
                    x_T: Tensor | None = None, progress: bool = True,
                    **options) -> Tensor | None:
    """:func:`ddim_lib.sampling.sample`, each process a share of the pictures.

    Args:
        model, schedule, seeds, x_T, progress, options: as in :func:`ddim_lib.sampling.sample`, the
            same in every process; the bar is the first one's.

    Returns:
        All pictures in the order of the seeds on the first process, None on the others.
    """
    starts = x_T if seeds is None else seeds
    if world_size() > 1 and starts is not None and len(starts):
        progress = progress and is_first()
        seeds = None if seeds is None else share(seeds)
        x_T = None if x_T is None else share(x_T)
    if starts is None or not len(starts) or len(share(starts)):
        rows = ddim_lib.sample(model, schedule, seeds=seeds, x_T=x_T, progress=progress, **options)
    else:
        shape = x_T.shape[1:] if x_T is not None else options.get("shape") or model.image_shape
        rows = torch.empty(0, *shape)
    return gather(rows)
