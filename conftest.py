"""How every test runs: few threads, no progress bars, and notebooks under the guard."""

import os
import signal

import guard

from scripts.notebooks.execution import NO_BARS

# Kernels inherit these. Two workers share the cores, so each computes with one thread.
os.environ.update(NO_BARS)
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

# A shell starts a job in the background with Ctrl-C ignored; the tests run as in the foreground.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The assignments have no outputs and raise NotImplementedError; test_release.py runs them.
collect_ignore = ["book/assignments"]

guard.install()
