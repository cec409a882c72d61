"""No part of the library imports one that stands above it: the contracts in pyproject.toml."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint(folder):
    """Exit code and words of import-linter about the library in this folder."""
    done = subprocess.run([sys.executable, "-c", LINT, "--no-cache"], cwd=folder, text=True,
                          capture_output=True, timeout=120, env=os.environ | {"COLUMNS": "200"})
    return done.returncode, done.stdout + done.stderr


def test_imports_lead_downwards():
    code, words = lint(ROOT)
    assert code == 0 and "Contracts: 2 kept, 0 broken." in words, words


@pytest.mark.parametrize("lower, line, chain", [
    ("sampling.py", "def f():\n    import ddim_lib.weights", "sampling -> ddim_lib.weights"),
    ("runtime/processes.py", "import ddim_lib", "runtime.processes -> ddim_lib (l."),
    ("player/symbols.py", "import ddim_lib.plotting", "player.symbols -> ddim_lib.plotting"),
    ("cli/errors.py", "import ddim_lib.cli.output", ".output -> .errors"),
    ("new.py", "", "ddim_lib.new"),
], ids=lambda part: part.split(" ")[0])
def test_an_import_that_leads_upwards_is_found(lower, line, chain, tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "ddim_lib", tmp_path / "ddim_lib",
                    ignore=lambda _, names: {n for n in names if n == "__pycache__"})
    with open(tmp_path / "ddim_lib" / lower, "a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    code, words = lint(tmp_path)
    assert code == 1 and chain in words, words
