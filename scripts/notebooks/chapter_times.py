"""What running a chapter takes, kept in data/results/chapter-times.json.

One entry a chapter, each with the machine that it ran on, since chapters may be run one by one.
"""

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "data" / "results" / "chapter-times.json"
STATUS = Path("/proc/{}/status")


def peak_memory(pid: int) -> int | None:
    """The most memory that a process has had, in bytes; None where /proc does not tell."""
    try:
        lines = Path(str(STATUS).format(pid)).read_text().splitlines()
    except OSError:
        return None
    (said,) = [line for line in lines if line.startswith("VmHWM:")] or [None]
    return int(said.split()[1]) * 1024 if said else None


def processor(info: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name as the system gives it, or its kind."""
    if info.is_file():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        if names:
            return " ".join(names[0].partition(":")[2].split())
    return platform.processor() or platform.machine()


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def entry(seconds: float, memory: int | None) -> dict:
    """What one run took, and where."""
    return {
        "seconds": round(seconds, 1),
        "peak_memory_gb": None if memory is None else round(memory / 1e9, 2),
        "cores": cores(),
        "threads": int(os.environ.get("OMP_NUM_THREADS") or cores()),
        "processor": processor(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "date": datetime.now(UTC).date().isoformat(),
    }


def record(chapter: str, seconds: float, memory: int | None, file: Path = FILE) -> None:
    """Put a chapter's run into the file; the other chapters keep theirs."""
    from ddim_lib.storage.files import replacing  # with it comes torch, which takes seconds

    kept = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    kept[chapter] = entry(seconds, memory)
    text = json.dumps(dict(sorted(kept.items())), indent=1) + "\n"
    with replacing(file) as part:
        part.write_text(text, encoding="utf-8")
