"""What computed a result, and which code: facts that every record carries."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import torch

from ddim_lib.runtime import accelerator
from ddim_lib.runtime.processes import world_size


def hardware(device: torch.device | str | None = None) -> str:
    """What computes: the GPU's name, or the processor and its threads; the processes, if several.

    Args:
        device: where the work is done; where left out,
            :func:`~ddim_lib.runtime.accelerator.device`.
    """
    device = torch.device(device or accelerator.device())
    each = f", {world_size()} processes" if world_size() > 1 else ""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device) + each
    if device.type != "cpu":
        return f"{platform.machine()} {device.type}{each}"
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads{each}"


def commit() -> str:
    """The code version, where the library runs from a checkout; else why there is none."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return "none (installed)"
    try:
        done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=root, text=True,
                              capture_output=True)
    except FileNotFoundError:
        return "unknown (no git)"
    return done.stdout.strip() or "unknown"
