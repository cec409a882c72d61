"""What every benchmark shares: the clock, the machine, the record."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from ddim_lib.runtime.precision import best_precision
from proofs.common import record
from scripts.notebooks import chapter_times

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
#: The half type that this device is good at; None where it has none.
HALF = None if best_precision(DEVICE) == "fp32" else best_precision(DEVICE)
PRECISIONS = ("fp32", HALF) if HALF else ("fp32",)


def finish() -> None:
    """Wait until the device has done what it was told."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    finish()
    begin = time.perf_counter()
    work()
    finish()
    return time.perf_counter() - begin


def race(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contestant in each round.

    All run once unmeasured, then in every round one after the other, each time beginning with
    the next one: a machine that slows down for a while slows all of them down.

    Args:
        contestants: what to call, by name.
        rounds: how often each is measured.
    """
    for work in contestants.values():
        work()
    names, times = list(contestants), {name: [] for name in contestants}
    for i in range(rounds):
        turn = i % len(names)
        for name in names[turn:] + names[:turn]:
            times[name].append(seconds(contestants[name]))
    return times


def rates(times: dict[str, list[float]], amount: float) -> dict[str, dict[str, float]]:
    """For each contestant the amount a second: the median of its rounds, the least, the most."""
    return {name: {"median": three(amount / statistics.median(of)),
                   "least": three(amount / max(of)), "most": three(amount / min(of))}
            for name, of in times.items()}


def three(value: float) -> float:
    """Three digits: more would be noise."""
    return float(f"{value:.3g}")


def target(what: str, wanted: float, reached: float) -> dict:
    """One of the project's targets and whether it is reached.

    Args:
        what: in words.
        wanted: the least that reaches it.
        reached: what was measured.
    """
    return {"what": what, "wanted": wanted, "reached": three(reached), "holds": reached >= wanted}


def processor() -> str:
    """What the operating system calls the processor, and its instructions for half precision."""
    info = Path("/proc/cpuinfo")
    words = info.read_text().split() if info.is_file() else []
    has = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in words]
    return f"{chapter_times.processor()} ({', '.join(has)})" if has else chapter_times.processor()


def gflop(model: torch.nn.Module) -> float:
    """What one call of a network takes for one picture, in 10^9 operations."""
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        model(torch.zeros(1, *model.image_shape, device=DEVICE), 1)
    return flops.get_total_flops() / 1e9


def peak(size: int = 2048) -> dict[str, float]:
    """The matrix product's rate on this device in GFLOP/s, for fp32 and the half type."""
    found = {}
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    for name in PRECISIONS:
        a, b = (torch.randn(size, size, device=DEVICE).to(kinds[name]) for _ in range(2))
        times = race({name: lambda a=a, b=b: a @ b}, 9)[name]
        found[name] = three(2 * size**3 / min(times) / 1e9)
    return found


def write(name: str, what: str, begin: float, **facts) -> Path:
    """data/results/bench-NAME.json, with the versions and the machine.

    Args:
        name: of the benchmark: its module in this folder.
        what: one sentence that says what was measured.
        begin: ``time.perf_counter()`` at its start.
        facts: anything JSON can hold.
    """
    import diffusers

    path = record(name, what, kind="bench", device=DEVICE.type, **facts,
                  processor=processor(), diffusers=diffusers.__version__,
                  seconds=round(time.perf_counter() - begin),
                  measured=datetime.now(UTC).isoformat(timespec="minutes"))
    print(f"{path.name} written", flush=True)
    return path
