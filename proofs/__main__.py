"""Run the proofs one after the other: python -m proofs [NAME ...]. Fails if one of them does."""

from __future__ import annotations

import subprocess
import sys
import time

from proofs.common import ROOT

# Each is a module of this folder that runs by itself (python -m proofs.NAME), ends with code 0
# where it holds, and then has written data/results/proof-NAME.json.
PROOFS = ["colab", "device", "kill", "mutants", "odd", "order", "planted"]


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


if __name__ == "__main__":
    sys.exit(run("proofs", PROOFS, sys.argv[1:], "holds", "FAILS"))
