"""Where a submission's code may look and write, and the process that runs it."""

import importlib.util
import json
import os
import site
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from assignments import ROOT

from . import sandbox
from .kernel import Limits, Ran

SCRIPTS = Path(__file__).resolve().parent.parent
GRACE = 60  # seconds beyond the limit for all cells, for starting and ending kernels


def places(hidden: list[Path], user: int | None = None) -> dict:
    """The sandbox's settings: nothing of the home folder, the checkout and the folders `hidden`,
    but Python, its packages and the library with its data. `user`: the number of a user who runs
    nothing else, if root grades."""
    # Not imported: that takes seconds.
    library = Path(importlib.util.find_spec("ddim_lib").origin).resolve().parent
    shown = [sys.prefix, sys.base_prefix, library, library.parent / "data"]
    shown += [*site.getsitepackages(), site.getusersitepackages()]
    # A .pth file may add another environment's packages; the grader's own folders stay hidden.
    shown += [path for path in map(Path, sys.path) if path.name.endswith("-packages")]
    folders = [Path.home(), ROOT, *hidden]
    settings = {
        "hidden": sorted({str(path.resolve()) for path in folders}),
        "shown": sorted({str(path) for path in shown}),
        "user": user,
    }
    with tempfile.TemporaryDirectory() as work:
        probe = settings | {"work": work, "folder": work}
        return settings | {"measures": sandbox.measures(probe)}


def described(settings: dict) -> str:
    """One line for the grader's user."""
    there = [said for name, said in sandbox.NAMES.items() if name in settings["measures"]]
    there += [sandbox.OWN_USER] if settings.get("user") is not None else []
    lacking = [said for name, said in sandbox.NAMES.items() if name not in settings["measures"]]
    line = "Isolation: " + ("; ".join(there) or "none")
    return line + ("" if not lacking else f". NOT on this system: {'; '.join(lacking)}")


def matplotlib_cache(folder: Path) -> Path:
    """A folder with matplotlib's list of fonts, which otherwise takes each kernel seconds."""
    if not folder.exists():
        folder.mkdir(parents=True)
        command = [sys.executable, "-c", "import matplotlib.font_manager"]
        settings = os.environ | {"MPLCONFIGDIR": str(folder)}
        subprocess.run(command, env=settings, check=False, capture_output=True, timeout=120)
    return folder


def execute(notebook, tests: set[str], limits: Limits, settings: dict, cache: Path | None):
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
    job = {"cells": cells, "limits": asdict(limits), "sandbox": settings}
    job["matplotlib"] = str(cache) if cache else None
    why, what = "", "failed"
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        worker = subprocess.Popen(
            [sys.executable, "-m", "grading.work", str(result)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=SCRIPTS,
            env=os.environ | {"PYTHONPATH": str(SCRIPTS)},
            start_new_session=True,
        )
        try:
            _, said = worker.communicate(json.dumps(job).encode(), limits.total + GRACE)
            if worker.returncode:
                why = f"the grader's process ended with {worker.returncode}: {tail(said)}"
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


def tail(said: bytes) -> str:
    return said.decode(errors="replace").strip()[-300:]
