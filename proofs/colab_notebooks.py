"""The notebooks that Colab's readers open, and a run of one of them.

Chapters; assignments as a student opens them, without answers; assignments with the answers of
their sources.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from nbclient.exceptions import CellExecutionError, DeadKernelError

from proofs import colab_compare
from proofs.colab_runtime import Reader
from proofs.common import Failed
from scripts.notebooks import execution

ASSIGNMENTS = Path("book") / "assignments"
# pip's and git's own; pip colours the word.
COMPLAINT = re.compile(r"(?:ERROR|error|fatal):[^\n]*")
COLOUR = re.compile(r"\x1b\[[\d;]*m")
# A slider whose pictures the kernel moves, as with the ipywidgets of Colab.
SLIDERS = """\
for _box in [w for w in list(Out.values()) if "VBox" in [c.__name__ for c in type(w).__mro__]]:
    _slider, _shown = _box.children[:2]
    if hasattr(_shown, "value"):
        _seen = set()
        for _i in range(len(_slider.options)):
            _slider.index = _i
            _seen.add(bytes(_shown.value))
        assert len(_seen) == len(_slider.options) > 1, (len(_seen), len(_slider.options))
        print("moved", len(_seen))
"""


@dataclass
class Task:
    """One notebook to run. `opened`: an assignment without answers, which stops at the first."""

    name: str
    notebook: nbformat.NotebookNode
    opened: bool = False
    chapter: bool = False


class Kernel(execution.Client):
    """Runs a notebook in a reader's kernel; nothing is cut short, however long it takes."""

    def __init__(self, notebook, reader: Reader):
        self.reader = reader
        super().__init__(notebook, timeout=None, startup_timeout=3600, kernel_name="colab",
                         resources={"metadata": {"path": str(reader.content)}})

    def create_kernel_manager(self):
        manager = super().create_kernel_manager()
        places = [str(self.reader.folder / "kernels")]
        manager.kernel_spec_manager = KernelSpecManager(kernel_dirs=places)
        return manager


def answered(released, source):
    """A released assignment with the answers of its source."""
    made, marks = nbformat.from_dict(dict(released)), {}
    for cell in source.cells:
        marks[cell.metadata.get("nbgrader", {}).get("grade_id")] = cell.source
    for cell in made.cells:
        mark = cell.metadata.get("nbgrader", {})
        if mark.get("solution"):
            text = marks[mark["grade_id"]]
            cell.source = re.sub(r"^[^\n]*(?:BEGIN|END) SOLUTION[^\n]*\n?", "", text, flags=re.M)
    return made


def tasks(root: Path) -> list[Task]:
    """What is to be run: the chapters, the assignments as they are opened, and answered."""
    found = [Task(path.stem, execution.read(path), chapter=True)
             for path in sorted((root / "book").glob("*.ipynb"))]
    for path in sorted((root / ASSIGNMENTS).glob("*.ipynb")):
        source = root / "course" / "source" / path.stem / path.name
        found.append(Task(f"{path.stem}, as opened", execution.read(path), opened=True))
        found.append(Task(f"{path.stem}, answered", answered(execution.read(path),
                                                             execution.read(source))))
    return found


def execute(task: Task, reader: Reader) -> dict:
    """Run a notebook; what it took and showed. Raises Failed."""
    notebook = nbformat.from_dict(dict(task.notebook))
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    slider = task.chapter and bool(colab_compare.widgets(task.notebook))
    if slider:
        notebook.cells.append(nbformat.v4.new_code_cell(SLIDERS))
    client, begin, fault = Kernel(notebook, reader), time.perf_counter(), None
    try:
        client.execute(env=reader.environment)
    except CellExecutionError as error:
        fault = f"{error.ename}: {error.evalue}"
    except DeadKernelError:
        fault = "the kernel died"
    facts = {"seconds": round(time.perf_counter() - begin, 1),
             "peak_memory_gb": client.peak and round(client.peak / 1e9, 2)}
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    said = [o.get("text", "") for o in cells[0].outputs]
    if complaint := COMPLAINT.search("".join(said)):
        raise Failed(f"installing: {COLOUR.sub('', complaint[0]).strip()}")
    if task.opened:
        facts["stops_at"] = stops(cells, fault)
    elif fault:
        raise Failed(fault)
    if slider:
        moved = "".join(o.get("text", "") for o in notebook.cells.pop().outputs)
        if "moved" not in moved:
            raise Failed("a slider is shown, and none could be moved by the kernel")
        facts["slider_pictures"] = int(moved.split()[-1])
    errors = "".join(o.text for c in cells for o in c.outputs if o.get("name") == "stderr")
    if errors.strip():
        facts["stderr"] = errors.strip()[-500:]
    # A busy machine may send a line in two parts.
    facts["ok"] = sum("".join(o.get("text", "") for o in c.outputs).count("ok: ") for c in cells)
    if task.chapter:
        facts.pop("ok")
        facts |= colab_compare.differences(notebook, task.notebook)
    return facts


def stops(cells: list, fault: str | None) -> str:
    """The question at which an assignment without answers stops, as it should. Raises Failed."""
    questions = [i for i, c in enumerate(cells) if c.metadata.get("nbgrader", {}).get("solution")]
    failed = [i for i, c in enumerate(cells) if any(o.output_type == "error" for o in c.outputs)]
    # At the first answer, or where that is first used.
    if not (fault or "").startswith("NotImplementedError") or not questions or \
            failed[0] - questions[0] not in (0, 1):
        raise Failed(f"it should stop at its first question, and ended with {fault!r}")
    return cells[questions[0]].metadata["nbgrader"]["grade_id"]
