"""The check that no test file leaves anything to the next notices what could be left."""

import os
import subprocess
import sys
from pathlib import Path

import process_state
import pytest
import torch

TESTS = Path(__file__).resolve().parent

LEAKS = {
    "environment": 'os.environ["DDIM_LEFT"] = "1"',
    "default dtype": "torch.set_default_dtype(torch.float64)",
    "default device": 'torch.set_default_device("meta")',
    "threads": "torch.set_num_threads(torch.get_num_threads() + 1)",
    "gradients": "torch.set_grad_enabled(False)",
    "working folder": "os.chdir(os.sep)",
    "sys.path": 'sys.path.append("elsewhere")',
    "open figures": "plt.figure()",
    "matplotlib settings": 'plt.rcParams["font.size"] = 33',
    "docutils' directives": 'directives.register_directive("left", object)',
    "docutils' nodes": "register_node(Left)",
    "modules of another copy": 'sys.modules["matplotlib.left"] = sys',
}
HEAD = """import os, sys
import torch
import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import register_node

class Left(nodes.Element):
    pass

def test_it():
    {}
"""


@pytest.mark.parametrize("what", LEAKS)
def test_what_a_file_leaves_is_its_own_failure(tmp_path, what):
    leak = LEAKS[what]
    (tmp_path / "test_leaks.py").write_text(HEAD.format(leak))
    (tmp_path / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:nbval",
         "-p", "no:xdist", "--rootdir", tmp_path, tmp_path], cwd=tmp_path, text=True,
        capture_output=True, env={**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"})
    assert done.returncode == 1, done.stdout
    assert f"test_leaks.py leaves to the next file: {what}" in done.stdout
    assert "1 passed, 1 error" in done.stdout


def test_a_snapshot_equals_the_next_one():
    first = process_state.snapshot()
    torch.zeros(2).sum()
    assert process_state.changed(first, process_state.snapshot()) == []
