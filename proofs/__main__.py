"""Run the proofs one after the other: python -m proofs [NAME ...]. Fails if one of them does."""

from __future__ import annotations

import sys

from proofs.common import run

# Each is a module of this folder that runs by itself (python -m proofs.NAME), ends with code 0
# where it holds, and then has written data/results/proof-NAME.json.
PROOFS = ["colab", "device", "kill", "mutants", "odd", "order", "planted"]

if __name__ == "__main__":
    sys.exit(run("proofs", PROOFS, sys.argv[1:], "holds", "FAILS"))
