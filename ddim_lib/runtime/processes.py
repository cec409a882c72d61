"""Several processes, one run: a launcher starts them, accelerate brings them together.

torchrun and `accelerate launch` start the same command on one machine and on a cluster. A process
is known by its *rank*, 0 to the number of processes less 1; the first one, rank 0, prints, draws
bars and writes files. What waits, compares, broadcasts and averages is called by all processes in
the same order, and raises :class:`LostProcess` where another one has ended. In one process nothing
here does anything, and accelerate is not imported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from ddim_lib.runtime.extras import extra

# What torchrun sets, and accelerate where it starts several processes.
VARIABLES = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
# A process that ends is noticed at once; this is for a machine that falls silent.
TIMEOUT = timedelta(minutes=30)

_state = None  # accelerate's PartialState, among several processes


class LostProcess(RuntimeError):
    """Another process of the run has ended, or does not answer."""


def rank() -> int:
    """The number of this process, from 0; 0 where there is one alone."""
    return _state.process_index if _state else 0


def world_size() -> int:
    """How many processes there are; 1 without a launcher."""
    return _state.num_processes if _state else 1


def is_first() -> bool:
    """Whether this process is the one that prints, draws bars and writes files."""
    return rank() == 0


def local_rank() -> int:
    """The number of this process on its machine, from 0: that of its GPU."""
    return _state.local_process_index if _state else 0


@contextmanager
def joined() -> Iterator[None]:
    """Among the processes that a launcher has started, for as long as this lasts.

    Tensors on the CPU travel through gloo, those on a GPU through NCCL; this process's GPU becomes
    the current one. Nothing happens without a launcher, and with one process.

    Raises:
        ValueError: some of the launcher's variables are missing, or say what cannot be.
        ImportError: accelerate is not installed.
        LostProcess: the processes do not find each other.
    """
    global _state
    if not _announced():
        yield
        return
    with extra("several processes need accelerate"):
        from accelerate import PartialState
    gpu = torch.cuda.is_available()
    with talking():
        # With a GPU, too, flags and objects travel from CPU to CPU.
        _state = PartialState(cpu=not gpu, backend="cpu:gloo,cuda:nccl" if gpu else "gloo",
                              timeout=TIMEOUT)
    yield
    # Not after an error: NCCL would wait for what the others never send, and the process ends.
    _state.destroy_process_group()
    _state = None


def _announced() -> bool:
    """Whether a launcher speaks of several processes."""
    missing = [name for name in VARIABLES if not os.environ.get(name)]
    if missing[:1] == ["WORLD_SIZE"]:
        if "MASTER_ADDR" not in missing and "ACCELERATE_MIXED_PRECISION" in os.environ:
            raise ValueError("accelerate launch has started one process alone, as always with "
                             "--cpu: give it --multi_gpu instead, on CPUs too")
        return False
    if os.environ["WORLD_SIZE"] == "1":
        return False
    if missing:
        raise ValueError(f"a launcher of several processes sets {', '.join(VARIABLES)}; missing "
                         f"here: {', '.join(missing)}. Start with torchrun, or unset the others")
    return True


def tells() -> bool:
    """True in one process alone, the first that asks: what goes wrong in all is told once."""
    if world_size() == 1:
        return True
    try:  # not a collective: the others may hang in another
        return dist.distributed_c10d._get_default_store().add("told", 1) == 1
    except RuntimeError:
        return True


@contextmanager
def talking() -> Iterator:
    """accelerate.utils, and what its calls raise that are not answered as one kind of error."""
    from accelerate import utils

    try:
        yield utils
    except NotImplementedError as error:  # accelerate's, of cards with an old driver
        raise ValueError(str(error)) from error
    except RuntimeError as error:
        # Of gloo's words the fact alone: no place in its sources, no advice.
        fact = re.sub(r"^\[.*?\]\s*", "", str(error)).strip().splitlines()[0].split(". ")[0]
        raise LostProcess("another process of this run has ended or does not answer "
                          f"({fact})") from error


def wait() -> None:
    """Until every process has come here."""
    any_of(False)


def any_of(flag: bool) -> bool:
    """Whether the flag is true in any process; all get the same answer.

    It travels from CPU to CPU, so that a GPU's queue of work is not waited for.

    Args:
        flag: this process's.
    """
    if world_size() == 1:
        return flag
    with talking() as accelerate:
        return bool(accelerate.reduce(torch.tensor(int(flag)), "sum"))


def gathered(items: list) -> list:
    """The items of all processes, in the order of the ranks.

    Args:
        items: what pickle can carry; the number may differ and be 0.
    """
    if world_size() == 1:
        return items
    with talking() as accelerate:
        return accelerate.gather_object(items)


def check_same(name: str, value: object) -> None:
    """Whether a value is the same in every process.

    Args:
        name: what it is, for the error.
        value: what pickle can carry, and == compare.

    Raises:
        ValueError: it is not; every process raises it.
    """
    found = gathered([value])
    for number, other in enumerate(found):
        if other != found[0]:
            raise ValueError(f"{name} must be the same in every process, got {found[0]} in process "
                             f"0 and {other} in process {number}")


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Give every process the first one's values, in place.

    Args:
        tensors: of the same shapes everywhere.
    """
    for tensor in tensors if world_size() > 1 else ():
        with talking() as accelerate:
            tensor.detach().copy_(accelerate.broadcast(tensor.detach().contiguous()))


def average(tensors: Sequence[Tensor]) -> None:
    """Replace every tensor by its mean over the processes, in place.

    Args:
        tensors: of the same shapes everywhere, on one device; they travel as one.
    """
    if world_size() == 1:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    with talking() as accelerate:
        flat = accelerate.reduce(flat, "mean")
    for tensor, mean in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))
