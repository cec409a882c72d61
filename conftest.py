"""How every test runs: few threads, no progress bars, and notebooks under the guard."""

import os

import guard
from notebooks import NO_BARS

# Kernels inherit these. Two workers share the cores, so each computes with one thread.
os.environ.update(NO_BARS)
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

# The assignments have no outputs and raise NotImplementedError; tests/test_release.py runs them.
collect_ignore = ["book/assignments"]

guard.install()
