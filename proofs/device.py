"""Every chapter on a GPU that is not there (elsewhere.py): no tensor stays behind on the CPU.

Its cells run in order in this process, and print what the committed chapter prints; where they
train, in the type that such a device would choose.

python -m proofs.device [--only NAME ..]
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
from proofs.common import ROOT, Failed, record

# Cells that print what no other device prints: the reader's own training; and those whose pictures
# are too many for a CPU, which tests/test_device.py runs with few.
OWN, GPU = "own-training", "gpu"


def chapters() -> list[Path]:
    return sorted((ROOT / "book").glob("[0-9]*.ipynb"))


def cells(path: Path) -> list[dict]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def digest(path: Path) -> str:
    """Of the code alone: what a chapter says does not matter here."""
    code = "\0".join("".join(cell["source"]) for cell in cells(path))
    return hashlib.sha256(code.encode()).hexdigest()


def printed(outputs: list[dict]) -> str:
    return "".join("".join(output["text"]) for output in outputs
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
            tags = cell["metadata"].get("tags", [])
            if GPU in tags:
                continue
            with capture_output() as said:
                done = shell.run_cell("".join(cell["source"]))
            where = f"{path.stem}, code cell {number}"
            if error := done.error_before_exec or done.error_in_exec:
                raise Failed(f"{where}: {type(error).__name__}: {error}")
            committed = printed(cell["outputs"])
            if said.stdout != committed and OWN not in tags:
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
    if not asked:
        record("device", "Every chapter runs on a stand-in for a GPU, which refuses tensors of two "
               "devices in one operation, and prints what it prints on the CPU.", chapters=walked)


if __name__ == "__main__":
    main()
