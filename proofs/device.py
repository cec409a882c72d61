"""Every chapter on a GPU that is not there (elsewhere.py): no tensor stays behind on the CPU.

Its cells run in order in this process, and print what the committed chapter prints; where they
train, in the type that such a device would choose.

python -m proofs.device [--only NAME ..]    with names, what the record has of the others stays
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from pathlib import Path

import matplotlib
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from proofs import elsewhere
from proofs.common import RESULTS, Failed, record
from scripts.notebooks.execution import chapters
from scripts.notebooks.normal_form import read

# Cells that print what no other device prints: the reader's own training; and those whose pictures
# are too many for a CPU, which tests/library/test_device.py runs with few.
OWN, GPU = "own-training", "gpu"


def cells(path: Path) -> list[dict]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def wants_gpu(cell: dict) -> bool:
    return GPU in cell.metadata.get("tags", [])


def digest(path: Path) -> str:
    """Of the code that is walked: what a chapter says does not matter here."""
    code = "\0".join(cell.source for cell in cells(path) if not wants_gpu(cell))
    return hashlib.sha256(code.encode()).hexdigest()


def printed(outputs: list[dict]) -> str:
    return "".join(output["text"] for output in outputs
                   if output["output_type"] == "stream" and output["name"] == "stdout")


def walk(path: Path) -> dict:
    """Run a chapter there; facts for the record.

    Raises:
        Failed: a cell raises, or prints something else.
    """
    begin, shell, there = time.perf_counter(), InteractiveShell.instance(), 0
    shell.reset()
    shell.ast_node_interactivity = "none"  # nothing shown where no page is
    with pytest.MonkeyPatch.context() as patch, elsewhere.gpu(patch):
        for number, cell in enumerate(cells(path), 1):
            if wants_gpu(cell):
                continue
            with capture_output() as said:
                done = shell.run_cell(cell.source)
            where = f"{path.stem}, code cell {number}"
            if error := done.error_before_exec or done.error_in_exec:
                raise Failed(f"{where}: {type(error).__name__}: {error}")
            committed = printed(cell["outputs"])
            if said.stdout != committed and OWN not in cell.metadata.get("tags", []):
                raise Failed(f"{where} prints\n{said.stdout}committed is\n{committed}")
        there = sum(isinstance(value, elsewhere.Elsewhere) for value in shell.user_ns.values())
    return {"cells": number, "tensors_there": there, "code": digest(path),
            "seconds": round(time.perf_counter() - begin)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="chapters that begin so")
    asked = parser.parse_args().only
    os.environ |= {"TQDM_DISABLE": "1"}
    matplotlib.use("module://matplotlib_inline.backend_inline")
    walked, wrong = {}, []
    for path in chapters():
        if asked and not path.name.startswith(tuple(asked)):
            continue
        try:
            walked[path.stem] = walk(path)
            print(path.stem, walked[path.stem], flush=True)
        except Failed as error:
            wrong.append(str(error))
            print(f"FAILS: {error}", flush=True)
    if wrong or not walked:
        sys.exit("device: " + ("\n".join(wrong) or f"no chapter begins with {asked}"))
    file = RESULTS / "proof-device.json"
    if asked and file.is_file():
        walked = json.loads(file.read_text())["chapters"] | walked
    record("device", "Every chapter runs on a stand-in for a GPU, which refuses tensors of two "
           "devices in one operation, and prints what it prints on the CPU.",
           chapters=dict(sorted(walked.items())))


if __name__ == "__main__":
    main()
