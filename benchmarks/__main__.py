"""Run the benchmarks one after the other: python -m benchmarks [NAME ...].

On a machine that does nothing else. Each is a module of this folder, runs in a process of its
own and writes data/results/bench-NAME.json, also where a target is missed: the record says so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from proofs.common import ROOT

BENCHMARKS = ["sampling", "training", "growth", "memory", "quality", "profile"]


def main(names: list[str]) -> int:
    """How many of these benchmarks (all, where none is named) failed to run."""
    for name in names:
        if name not in BENCHMARKS:
            sys.exit(f"ONLY must be one of {', '.join(BENCHMARKS)}, got {name!r}")
    failed = 0
    for name in names or BENCHMARKS:
        begin = time.perf_counter()
        code = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=ROOT,
                              env={**os.environ, "TQDM_DISABLE": "1"}).returncode
        print(f"{name}: {'done' if code == 0 else 'FAILED'}, {time.perf_counter() - begin:.0f} s",
              flush=True)
        failed += code != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) > 0)
