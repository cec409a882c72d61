"""One walk in several processes: each draws a share of the pictures, the first gathers them.

Every function here is called by all processes in the same order, and does next to nothing where
there is one alone. If another process ends, it raises
:class:`~ddim_lib.runtime.processes.LostProcess`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from ddim_lib.runtime.processes import gathered, is_first, rank, wait, world_size
from ddim_lib.sampling import sample


@contextmanager
def first_goes_ahead() -> Iterator[None]:
    """The first process goes through this block before the others: it alone downloads."""
    if not is_first():
        wait()
    yield
    if is_first():
        wait()


def share(items):
    """This process's part of a sequence or tensor: pieces in the order of the ranks, none lost.

    Args:
        items: the same everywhere. With fewer items than processes the last ones get none.
    """
    n, total = len(items), world_size()
    first, end = (-(-n * i // total) for i in (rank(), rank() + 1))  # rounded up
    return items[first:end]


def gather(batches: list[Tensor]) -> Tensor | None:
    """The rows of all processes on the CPU, in the order of the ranks; None but on the first.

    Args:
        batches: this process's, each of shape (n, ...); none where it has no share.
    """
    rows = gathered([batch.cpu() for batch in batches])
    return torch.cat(rows) if is_first() else None


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
    if starts is not None and len(starts):  # without any it is an error, and the same everywhere
        progress = progress and is_first()
        seeds = None if seeds is None else share(seeds)
        x_T = None if x_T is None else share(x_T)
        if not len(share(starts)):
            return gather([])
    return gather([sample(model, schedule, seeds=seeds, x_T=x_T, progress=progress, **options)])
