"""The test files, notebooks aside, in three random orders, each in one process: all must pass.

What one file leaves to the next shows here; tests/conftest.py names the file that left it.

python -m proofs.order [SEED ..]    with seeds, what the record has of the others stays
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time

from ddim_lib.runtime.provenance import commit
from proofs.common import RESULTS, ROOT, Failed, record

SEEDS = (1, 2, 3)


def files() -> list[str]:
    """Every file of tests, by its path."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py"))


def run(seed: int) -> dict:
    """One order, in one process, slow tests left out; how many passed."""
    order = files()
    random.Random(seed).shuffle(order)
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-m", "not slow", *order],
        cwd=ROOT, text=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|errors?)", done.stdout)}
    if done.returncode or not counts.get("passed"):
        raise Failed(f"seed {seed}, order {' '.join(order)}:\n{done.stdout[-3000:]}")
    return {"first": order[0], "last": order[-1], "passed": counts["passed"],
            "seconds": round(time.perf_counter() - begin)}


def main() -> None:
    path = RESULTS / "proof-order.json"
    only = [int(text) for text in sys.argv[1:]]
    runs = json.loads(path.read_text())["orders"] if only and path.exists() else {}
    for seed in only or SEEDS:
        try:
            runs[f"seed {seed}"] = {**run(seed), "commit": commit()}
        except Failed as error:
            sys.exit(f"order: {error}")
        record("order", f"Every test file passes in {len(runs)} random orders, each in one "
               "process, notebooks and tests marked slow aside.", files=len(files()), orders=runs)


if __name__ == "__main__":
    main()
