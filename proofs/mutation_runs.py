"""The mutants of one module: a copy of it, mutmut's run, each mutant's verdict and its words."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from proofs.common import ROOT, Failed
from proofs.copies import export

# The tests that are asked about each module: all that test it in this process, in seconds.
TESTS = {"schedule": ["schedule", "properties"],
         "metrics": ["metrics", "properties"],
         "precision": ["precision", "precision_details", "training"],
         "sampling": ["sampling", "ode", "precision", "properties"],
         "training": ["training", "training_details", "precision", "properties"]}
# Left out: whole commands and long walks, which would take minutes for each mutant that survives.
SLOW = "bf16_draws or takes_it or a_command_computes or tiny_run"
NOTICED = {"killed", "timeout", "segfault"}  # mutmut's words for a mutant that a test noticed
CONFIGURATION = """
[tool.mutmut]
source_paths = ["ddim_lib"]
only_mutate = ["ddim_lib/{module}.py"]
pytest_add_cli_args_test_selection = {tests}
pytest_add_cli_args = [
  "-p", "no:cacheprovider", "-p", "no:nbval", "-p", "no:xdist", "-k", "not ({slow})"]
timeout_multiplier = 5.0
timeout_constant = 5.0
use_git_change_detection = false

[tool.pytest.ini_options]
filterwarnings = ["ignore::pytest.PytestUnknownMarkWarning"]
"""


def undecorated(source: str) -> str:
    """The same module with ``name = decorator(name)`` after a function in place of ``@decorator``.

    mutmut leaves functions with decorators alone; those without, it changes.
    """
    lines = source.splitlines()
    found = [node for node in ast.walk(ast.parse(source))
             if isinstance(node, ast.FunctionDef) and node.decorator_list]
    for node in sorted(found, key=lambda node: node.lineno, reverse=True):
        indent = " " * node.col_offset
        for decorator in node.decorator_list:  # the lowest is applied first
            lines.insert(node.end_lineno, f"{indent}{node.name} = {ast.unparse(decorator)}"
                                          f"({node.name})")
        del lines[node.decorator_list[0].lineno - 1:node.lineno - 1]
    return "\n".join(lines) + "\n"


def committed(path: str) -> bytes:
    """A file as it is in the last commit."""
    return subprocess.run(["git", "-C", str(ROOT), "show", f"HEAD:{path}"], check=True,
                          capture_output=True).stdout


def source_hash(module: str) -> str:
    """Of a module as it is in the last commit."""
    return hashlib.sha256(committed(f"ddim_lib/{module}.py")).hexdigest()


def tests_of(module: str) -> list[str]:
    """The files of a module's tests."""
    return [f"tests/test_{name}.py" for name in TESTS[module]]


def fingerprint(module: str) -> str:
    """Of what a verdict depends on: module, tests, tool and how it is run."""
    told = [version("mutmut"), CONFIGURATION, SLOW, inspect.getsource(undecorated),
            *(committed(path).decode() for path in (f"ddim_lib/{module}.py", *tests_of(module)))]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


class Mutants:
    """The mutants of a module as it is in the last commit, in a folder of their own.

    Args:
        module: a key of TESTS.
        folder: where the copy lies, and stays: a run that was interrupted goes on there.
    """

    def __init__(self, module: str, folder: Path):
        self.module, self.folder = module, folder / module

    def prepare(self) -> None:
        """Make the copy; a new one where module or tests are no longer those of the last run."""
        if self.current():
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        export(self.folder, "ddim_lib", "tests")
        export(self.folder / "mutants", "data")
        path = self.folder / "ddim_lib" / f"{self.module}.py"
        path.write_text(undecorated(path.read_text()))
        (self.folder / "pyproject.toml").write_text(CONFIGURATION.format(
            module=self.module, tests=json.dumps(tests_of(self.module)), slow=SLOW))
        (self.folder / "fingerprint").write_text(fingerprint(self.module))

    def current(self) -> bool:
        """Whether the copy is of what the last commit holds."""
        mark = self.folder / "fingerprint"
        return mark.is_file() and mark.read_text() == fingerprint(self.module)

    def mutmut(self, *arguments: str, quiet: bool = True) -> str:
        """Run the tool in the copy; what it printed where quiet.

        Raises:
            Failed: it ended with an error.
        """
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
        for name in ("DDIM_DATA", "PYTHONPATH"):
            environment.pop(name, None)
        done = subprocess.run([sys.executable, "-m", "mutmut", *arguments], cwd=self.folder,
                              env=environment, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE if quiet else None,
                              stderr=subprocess.STDOUT if quiet else None)
        if done.returncode:
            raise Failed(f"mutmut {arguments[0]} of {self.module} ended with code "
                         f"{done.returncode}: {(done.stdout or '')[-800:]}")
        return done.stdout or ""

    def run(self) -> None:
        """Test every mutant that has no verdict yet; those that took too long a second time."""
        self.mutmut("run", "--max-children", "1", quiet=False)
        # A machine that stood still for a while makes any mutant look as if it hung.
        doubtful = [name for name, what in self.verdicts().items()
                    if what not in ("killed", "survived", "no tests")]
        if doubtful:
            self.mutmut("run", "--max-children", "1", *doubtful, quiet=False)

    def verdicts(self) -> dict[str, str]:
        """Of each mutant, by mutmut's name for it: killed, survived, timeout, .."""
        return dict(line.strip().rsplit(": ", 1) for line in
                    self.mutmut("results", "--all", "true").splitlines() if ": " in line)

    def seconds(self) -> float:
        """How long the tests of all mutants took, by mutmut's clock, interrupted runs included."""
        meta = self.folder / "mutants" / "ddim_lib" / f"{self.module}.py.meta"
        return sum(json.loads(meta.read_text())["durations_by_key"].values())

    def change(self, name: str) -> tuple[str, str, str]:
        """The function that a mutant is in, its lines that change, and what they become."""
        lines = self.mutmut("show", name).splitlines()
        body = lines[next(i for i, line in enumerate(lines) if line.startswith("@@")):]
        was, became = (" ".join(line[1:].strip() for line in body if line.startswith(sign))
                       for sign in "-+")
        function = re.sub(r"__mutmut_\d+$", "", name).rsplit(".", 1)[1]
        return function.removeprefix("x_").removeprefix("xǁ").replace("ǁ", "."), was, became
