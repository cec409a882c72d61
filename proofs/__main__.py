"""Run the proofs one after the other: python -m proofs [NAME ...]. Fails if one of them does."""

from __future__ import annotations

import subprocess
import sys
import time

from proofs.common import ROOT

# Each is a module of this folder that runs by itself (python -m proofs.NAME), ends with code 0
# where it holds, and then has written data/results/proof-NAME.json.
PROOFS = ["colab", "device", "kill", "mutants", "odd", "order", "planted"]


def main(names: list[str]) -> int:
    """How many of these proofs (all, where none is named) failed."""
    for name in names:
        if name not in PROOFS:
            sys.exit(f"ONLY must be one of {', '.join(PROOFS)}, got {name!r}")
    failed = []
    for name in names or PROOFS:
        begin = time.perf_counter()
        code = subprocess.run([sys.executable, "-m", f"proofs.{name}"], cwd=ROOT).returncode
        print(f"{name}: {'holds' if code == 0 else 'FAILS'}, {time.perf_counter() - begin:.0f} s",
              flush=True)
        failed += [name] * (code != 0)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) > 0)
