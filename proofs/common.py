"""What proofs and benchmarks share: how they are run, and their records in data/results."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import torch

import ddim_lib
from ddim_lib.runtime.provenance import commit, hardware
from ddim_lib.storage.files import replacing

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "data" / "results"


class Failed(Exception):
    """The proof found what it was looking for: a fault; the message says which."""


def record(name: str, what: str, *, kind: str = "proof", device: str = "cpu", **facts) -> Path:
    """Write what a proof has shown to ``proof-NAME.json``; only after it has succeeded.

    Args:
        name: of the proof: its module in this folder.
        what: one sentence that says what was shown.
        kind: "proof", or "bench" for what a benchmark has measured.
        device: where it computed.
        facts: anything JSON can hold: seed, sizes, seconds, numbers.

    Returns:
        the file.
    """
    told = {kind: name, "what": what, **facts, "hardware": hardware(torch.device(device)),
            "torch": torch.__version__, "library": ddim_lib.__version__, "commit": commit(),
            "date": datetime.now(UTC).date().isoformat()}
    path = RESULTS / f"{kind}-{name}.json"
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(told, indent=1) + "\n")
    return path


def run(folder: str, every: list[str], names: list[str], good: str, bad: str) -> int:
    """Run modules of a folder (all, where none is named), each in a process of its own.

    Args:
        folder: proofs or benchmarks.
        every: its modules.
        names: those that are asked for.
        good: what is said of one that ended with code 0.
        bad: what is said of another one.

    Returns:
        the exit code.
    """
    for name in names:
        if name not in every:
            sys.exit(f"ONLY must be one of {', '.join(every)}, got {name!r}")
    exit_code = 0
    for name in names or every:
        begin = time.perf_counter()
        code = subprocess.run([sys.executable, "-m", f"{folder}.{name}"], cwd=ROOT).returncode
        print(f"{name}: {bad if code else good}, {time.perf_counter() - begin:.0f} s", flush=True)
        exit_code |= code != 0
    return exit_code
