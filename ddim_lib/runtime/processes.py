"""Several processes, one run: torchrun starts them, here they find each other.

The engine is PyTorch's own launcher, torchrun: it needs no further package, and its command is
the same on one machine and on a cluster. A process is known by its *rank*, 0 to the number of
processes less 1; the first one, rank 0, prints, draws bars and writes files. Without torchrun there
is one process, and nothing here does anything.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# A process that ends is noticed at once; this is for a machine that falls silent.
TIMEOUT = timedelta(minutes=30)


class LostProcess(RuntimeError):
    """Another process of the run has ended, or does not answer."""


def rank() -> int:
    """The number of this process, from 0; 0 where there is one alone."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world_size() -> int:
    """How many processes there are; 1 without torchrun."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this process is the one that prints, draws bars and writes files."""
    return rank() == 0


def local_rank() -> int:
    """The number of this process on its machine, from 0: that of its GPU."""
    return int(os.environ["LOCAL_RANK"]) if world_size() > 1 else 0


@contextmanager
def joined() -> Iterator[Callable[[], bool]]:
    """Among the processes that torchrun has started, for as long as this lasts.

    Tensors on the CPU travel through gloo, those on a GPU through NCCL; this process's GPU becomes
    the current one. Nothing happens without torchrun, and with one process.

    Yields:
        A function that is true for one process alone, the first that calls it: what went wrong
        in all of them is told once.

    Raises:
        ValueError: some of torchrun's variables are missing, or are no numbers.
        LostProcess: the processes do not find each other.
    """
    if _announced() == 1:
        yield lambda: True
        return
    gpu = torch.cuda.is_available() and dist.is_nccl_available()
    with talking():
        store, number, total = next(dist.rendezvous("env://", timeout=TIMEOUT))
        dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", store=store, rank=number,
                                world_size=total, timeout=TIMEOUT)
    if gpu and local_rank() < torch.cuda.device_count():
        torch.cuda.set_device(local_rank())

    def tells() -> bool:
        try:
            return store.add("told", 1) == 1  # not a collective: the others may hang in another
        except RuntimeError:
            return True

    whole = False
    try:
        yield tells
        whole = True
    finally:
        # After an error NCCL would wait for what the others never send; the process's end ends it.
        if whole or not gpu:
            dist.destroy_process_group()


def _announced() -> int:
    """The number of processes that torchrun's variables speak of."""
    missing = [name for name in VARIABLES if not os.environ.get(name)]
    if missing and missing[:3] == list(VARIABLES[:3]):
        return 1
    if not dist.is_available():
        raise ValueError("torchrun must not start this PyTorch, which was built without "
                         "torch.distributed")
    if missing:
        raise ValueError(f"torchrun sets {', '.join(VARIABLES)}; missing here: "
                         f"{', '.join(missing)}. Start with torchrun, or unset the others")
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT"):
        if not os.environ[name].isdecimal():
            raise ValueError(f"{name} must be a whole number, got {os.environ[name]!r}")
    number, total = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if number >= total:
        raise ValueError(f"RANK must be below WORLD_SIZE, {total}, got {number}")
    return total


@contextmanager
def talking() -> Iterator[None]:
    """What PyTorch raises where a call is not answered, as one kind of error."""
    try:
        yield
    except RuntimeError as error:
        # Of gloo's words the fact alone: no place in its sources, no advice.
        fact = re.sub(r"^\[.*?\]\s*", "", str(error)).strip().splitlines()[0].split(". ")[0]
        raise LostProcess("another process of this run has ended or does not answer "
                          f"({fact})") from error
