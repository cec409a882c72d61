"""What every proof shares: its record in data/results, and the machine that it ran on."""

from __future__ import annotations

import json
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
