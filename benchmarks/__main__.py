"""Run the benchmarks one after the other: python -m benchmarks [NAME ...].

On a machine that does nothing else. Each is a module of this folder, runs in a process of its
own and writes data/results/bench-NAME.json, also where a target is missed: the record says so.
"""

from __future__ import annotations

import os
import sys

from proofs.common import run

BENCHMARKS = ["sampling", "training", "growth", "memory", "quality", "profile"]

if __name__ == "__main__":
    os.environ["TQDM_DISABLE"] = "1"
    sys.exit(run("benchmarks", BENCHMARKS, sys.argv[1:], "done", "FAILED"))
