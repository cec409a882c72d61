"""Run one submission's cells; a process of its own, which the grader stops if it takes too long.

    python -m course.grader.sandbox.work RESULT < JOB

Both are JSON. JOB holds cells, limits and the cage; RESULT gets, for every cell that
ran, what became of it. It is written anew after each kernel, so that a stop loses little.
"""

import ast
import builtins
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from course.grader.sandbox.cage import Cage
from course.grader.sandbox.kernel import Kernel, KernelFailed, Limits, Ran

BEGIN = "import _grading; _grading.begin(); del _grading"
END = "__import__('_grading').end()"
# Not course.assignments': it imports nbgrader, which takes each submission two seconds.
ROOT = Path(__file__).resolve().parents[3]
PR_SET_PDEATHSIG = 1
GRACE = 60  # seconds beyond the limit for all cells, for starting and ending kernels


def matplotlib_cache(folder: Path) -> Path:
    """A folder with matplotlib's list of fonts, which otherwise takes each kernel seconds."""
    if not folder.exists():
        folder.mkdir(parents=True)
        command = [sys.executable, "-c", "import matplotlib.font_manager"]
        settings = os.environ | {"MPLCONFIGDIR": str(folder)}
        subprocess.run(command, env=settings, check=False, capture_output=True, timeout=120)
    return folder


def execute(notebook, tests: set[str], limits: Limits, cage: Cage | None, user: int | None,
            cache: Path) -> dict[int, Ran]:
    """Run a notebook's cells in a process of their own. Returns {place: Ran}; never raises.

    The key -1 tells of no cell: that the grader failed, or that all had to be stopped.
    """
    cells = [
        {
            "cell_type": cell.cell_type,
            "source": cell.source,
            "test": cell.metadata.get("nbgrader", {}).get("grade_id") in tests,
        }
        for cell in notebook.cells
    ]
    job = {"cells": cells, "limits": asdict(limits), "cage": cage and asdict(cage), "user": user,
           "matplotlib": str(cache)}
    why, what = "", "failed"
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        worker = subprocess.Popen(
            [sys.executable, "-m", "course.grader.sandbox.work", str(result)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )
        try:
            _, said = worker.communicate(json.dumps(job).encode(), limits.total + GRACE)
            if worker.returncode:
                last = said.decode(errors="replace").strip()[-300:]
                why = f"the grader's process ended with {worker.returncode}: {last}"
        except subprocess.TimeoutExpired:
            why, what = "it had to be stopped from outside", "stopped"
            worker.kill()  # its kernel dies with it
            worker.wait()
        results = {}
        if result.exists():
            found = json.loads(result.read_text(encoding="utf-8"))
            results = {int(place): Ran(**ran) for place, ran in found.items()}
    if why:
        results[-1] = Ran(what, why=why)
    return results


class _Builtins(ast.NodeTransformer):
    """Looks the names of Python itself up where a student's `abs = 3` does not reach."""

    # Without the bare name in sight, Python gives super() no class to look at.
    NAMES = {name for name in dir(builtins) if not name.startswith("_")} - {"super"}

    def __init__(self, own: set[str]):
        self.own = own

    def visit_Name(self, node):
        if node.id not in self.NAMES - self.own:
            return node
        return ast.Attribute(ast.Name("_builtins", ast.Load()), node.id, node.ctx)


def unshadowed(source: str) -> str:
    """A test cell that means print, abs, len, whatever the notebook has called so."""
    tree = ast.parse(source)
    own = {node.id for node in ast.walk(tree)
           if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    own |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    own |= {node.name for node in ast.walk(tree)
            if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    own |= {alias.asname or alias.name for node in ast.walk(tree)
            if isinstance(node, (ast.Import, ast.ImportFrom)) for alias in node.names}
    changed = ast.fix_missing_locations(_Builtins(own).visit(tree))
    return "import builtins as _builtins\n" + ast.unparse(changed)


def run_test(kernel: Kernel, source: str, seconds: float) -> Ran:
    """Run a test cell, of which neither the history nor a later error shows the text."""
    kernel.run(BEGIN, 5, quiet=True)
    ran = kernel.run(unshadowed(source), seconds, test=True)
    if ran.status != "died":
        where = kernel.ask(END)
        if ran.status == "error" and len(where) > 2:
            ran.why = where[1:-1]
    for output in ran.outputs:
        # Anything on stderr would cost all points in nbgrader, a library's warning included.
        if output["output_type"] == "stream":
            output["name"] = "stdout"
    return ran


def run_cells(cells: list[dict], limits: Limits, start_kernel, report) -> dict[int, Ran]:
    """Run all cells; after a kernel's death the others in a fresh one. Keys are the cells' places.

    `report` is called with what is known when a kernel has ended.
    """
    results: dict[int, Ran] = {}
    left_out: set[int] = set()
    deadline = time.monotonic() + limits.total
    while True:
        try:
            kernel = start_kernel()
        except KernelFailed as error:
            # Not the submission's fault, so it is no zero: the grader stops at it.
            return results | {-1: Ran("failed", why=str(error))}
        died = False
        for place, cell in enumerate(cells):
            # What was said of a cell in the first kernel stands, also of a test that passed.
            before = results.get(place)
            failed_test = before and cell["test"] and before.status != "ok"
            if cell["cell_type"] != "code" or place in left_out or failed_test:
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                results.setdefault(
                    place, Ran("time", why=f"not run: {limits.total:.0f} s for all cells are over")
                )
                continue
            run = run_test if cell["test"] else Kernel.run
            ran = run(kernel, cell["source"], min(limits.cell, left))
            results.setdefault(place, ran)
            if ran.status not in {"ok", "error"}:
                left_out.add(place)
            if ran.status == "died":
                died = True
                break
        kernel.close()
        report(results)
        if not died:
            return results


def main() -> None:
    if sys.platform == "linux":
        # With the grader, that is; the cage then ends with this process.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    job = json.load(sys.stdin)
    result, limits = Path(sys.argv[1]), Limits(**job["limits"])
    cage = job["cage"] and Cage(**job["cage"])
    # A socket's path has at most about 100 letters.
    place = None if len(tempfile.gettempdir()) < 70 else "/tmp"
    base = Path(tempfile.mkdtemp(prefix="grade-", dir=place))
    started = []

    def start_kernel() -> Kernel:
        work = base / str(len(started))
        work.mkdir()
        started.append(work)
        shutil.copytree(job["matplotlib"], work / "matplotlib")
        return Kernel(work, limits, cage, job["user"])

    def report(results: dict) -> None:
        fresh = result.with_suffix(".new")
        fresh.write_text(json.dumps({str(k): asdict(v) for k, v in results.items()}))
        os.replace(fresh, result)

    try:
        report(run_cells(job["cells"], limits, start_kernel, report))
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
