"""The mutants of one module: a copy of it, mutmut's run, each mutant's verdict and its words."""

from __future__ import annotations

import ast
import hashlib
import json
import operator
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from proofs.common import ROOT, Failed
from proofs.copies import export

# The tests that are asked about each module: all that test it in this process, in seconds.
TESTS = {"schedule": ["schedule", "properties"],
         "metrics": ["metrics", "properties"],
         "precision": ["precision", "precision_details", "training"],
         "sampling": ["sampling", "labels", "ode", "precision", "properties"],
         "training": ["training", "training_details", "labels", "precision", "properties"]}
# The folder of a module that does not lie in the library's own.
FOLDERS = {"precision": "runtime/"}
# Left out: whole commands and long walks, which would take minutes for each mutant that survives.
SLOW = "bf16_draws or takes_it or a_command_computes or tiny_run"
NOTICED = {"killed", "timeout", "segfault"}  # mutmut's words for a mutant that a test noticed
CONFIGURATION = """
[tool.mutmut]
source_paths = ["ddim_lib"]
only_mutate = ["{source}"]
pytest_add_cli_args_test_selection = {tests}
pytest_add_cli_args = [
  "-p", "no:cacheprovider", "-p", "no:nbval", "-p", "no:xdist", "-k", "not ({slow})"]
timeout_multiplier = 5.0
timeout_constant = 5.0
use_git_change_detection = false

[tool.pytest.ini_options]
filterwarnings = ["ignore::pytest.PytestUnknownMarkWarning"]
pythonpath = ["tests", "tests/library", "tests/command"]
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


def committed(path: str) -> str:
    """A file as it is in the last commit."""
    return subprocess.run(["git", "-C", str(ROOT), "show", f"HEAD:{path}"], check=True,
                          capture_output=True).stdout.decode()


def source_of(module: str) -> str:
    """The file of a module, from the root of the repository."""
    return f"ddim_lib/{FOLDERS.get(module, '')}{module}.py"


def source_hash(module: str) -> str:
    """Of a module as it is in the last commit."""
    return hashlib.sha256(committed(source_of(module)).encode()).hexdigest()


def tests_of(module: str) -> list[str]:
    """The files of a module's tests."""
    return [f"tests/library/test_{name}.py" for name in TESTS[module]]


def grown(old: str, new: str) -> bool:
    """Whether a file of tests has all that it had before, statement by statement."""
    before, after = (Counter(ast.dump(node) for node in ast.parse(text).body)
                     for text in (old, new))
    return before <= after


class Mutants:
    """The mutants of a module as it is in the last commit, in a folder of their own.

    Args:
        module: a key of TESTS.
        folder: where the copy lies, and stays: a run that was interrupted goes on there.
    """

    def __init__(self, module: str, folder: Path):
        self.module, self.folder = module, folder / module
        self.meta = self.folder / "mutants" / f"{source_of(module)}.meta"  # mutmut's notes

    def prepare(self) -> None:
        """Make the copy, or a new one where it is no longer of what the last commit holds.

        Where tests were only added, mutants that were noticed stay so, and the others are
        tested again.
        """
        if self.current():
            return
        if self.current(grown):
            export(self.folder, *tests_of(self.module))
            self.forget_survivors()
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        export(self.folder, "ddim_lib", "tests")
        export(self.folder / "mutants", "data")
        for path, text in self.wanted().items():
            (self.folder / path).write_text(text)

    def wanted(self) -> dict[str, str]:
        """What a verdict depends on: module, tests, tool and how it is run."""
        path, tests = source_of(self.module), tests_of(self.module)
        return {path: undecorated(committed(path)), "tool": version("mutmut"),
                "pyproject.toml": CONFIGURATION.format(source=path, slow=SLOW,
                                                       tests=json.dumps(tests)),
                **{path: committed(path) for path in tests}}

    def current(self, same=operator.eq) -> bool:
        """Whether the copy is of what the last commit holds; tests compared by ``same``."""
        return all((self.folder / path).is_file()
                   and (same if path.startswith("tests/") else operator.eq)(
                       (self.folder / path).read_text(), text)
                   for path, text in self.wanted().items())

    def forget_survivors(self) -> None:
        """Take back what mutmut has noted of the mutants that no test noticed."""
        told = json.loads(self.meta.read_text())
        told["exit_code_by_key"] |= {name: None for name, what in self.verdicts().items()
                                     if what not in NOTICED}
        self.meta.write_text(json.dumps(told))

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
        return sum(json.loads(self.meta.read_text())["durations_by_key"].values())

    def change(self, name: str) -> tuple[str, str, str]:
        """The function that a mutant is in, its lines that change, and what they become."""
        lines = self.mutmut("show", name).splitlines()
        body = lines[next(i for i, line in enumerate(lines) if line.startswith("@@")):]
        was, became = (" ".join(line[1:].strip() for line in body if line.startswith(sign))
                       for sign in "-+")
        function = re.sub(r"__mutmut_\d+$", "", name).rsplit(".", 1)[1]
        return function.removeprefix("x_").removeprefix("xǁ").replace("ǁ", "."), was, became
