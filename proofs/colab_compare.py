"""What a notebook shows on Colab, beside what is committed. A difference is told, not judged.

Other versions of PyTorch and Matplotlib compute and draw it; so text is split into numbers and the
rest, and pictures are compared as the guard does.

python -m proofs.colab_compare RAN.ipynb COMMITTED.ipynb    a line for each cell that differs
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from proofs.common import ROOT

if str(ROOT / "tests" / "book") not in sys.path:
    sys.path.append(str(ROOT / "tests" / "book"))

import guard

from scripts.notebooks.normal_form import VIEW, merged, read, views, widget_states

NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?", re.IGNORECASE)
SANITIZE = ROOT / "tests" / "book" / "sanitize.cfg"
LONGEST = 60


def measured() -> list[tuple[re.Pattern, str]]:
    """The rules of sanitize.cfg: what may differ from run to run."""
    rules = re.findall(r"^regex: (.*)\nreplace: (.*)$", SANITIZE.read_text(), re.MULTILINE)
    return [(re.compile(pattern), put) for pattern, put in rules]


def is_bar(output: dict, states: dict) -> bool:
    """Whether an output is a progress bar; committed notebooks have none."""
    if VIEW not in output.get("data", {}):
        return False
    model = states.get(output["data"][VIEW]["model_id"], {})
    inside = str(model.get("state", {}).get("children", []))
    return model.get("model_name") == "FloatProgressModel" or any(
        states[key]["model_name"] == "FloatProgressModel"
        for key in re.findall(r"IPY_MODEL_(\w+)", inside) if key in states)


def shown(notebook, cell) -> list[dict]:
    """A cell's outputs without progress bars and what went to stderr."""
    states = widget_states(notebook)
    kept = merged([o for o in cell.outputs if o.get("name") != "stderr" and not is_bar(o, states)])
    # Old widgets display themselves, new ones are a result; a reader sees no difference.
    return [o | {"output_type": "display_data"} if "data" in o else o for o in kept]


def text_difference(new: str, old: str) -> str | None:
    """How two texts differ: by how much in their numbers, or in words."""
    for pattern, put in measured():
        new, old = pattern.sub(put, new), pattern.sub(put, old)
    if new == old:
        return None
    if NUMBER.sub("#", new).split() != NUMBER.sub("#", old).split():
        at = next((i for i, (a, b) in enumerate(zip(new, old, strict=False)) if a != b), 0)
        a, b = (said[max(0, at - 20):at + LONGEST] for said in (new, old))
        return f"other words: {a!r}; committed {b!r}"
    pairs = [(float(a.replace(",", "")), float(b.replace(",", ""))) for a, b in
             zip(NUMBER.findall(new), NUMBER.findall(old), strict=True)]
    other = [(a, b) for a, b in pairs if a != b]
    if not other:
        return None  # the same numbers, set in other columns
    a, b = max(other, key=lambda pair: abs(pair[0] - pair[1]) / max(map(abs, pair)))
    return f"{len(other)} of {len(pairs)} numbers, most of all {a:g}; committed {b:g}"


def cell_differences(new: list[dict], old: list[dict]) -> list[str]:
    """How two lists of outputs differ, in words."""
    kinds = [[guard.kind(o) for o in outputs] for outputs in (new, old)]
    if kinds[0] != kinds[1]:
        return [f"outputs of other kinds: {kinds[0]}; committed {kinds[1]}"]
    found = guard.picture_faults(new, old)
    for ours, theirs in zip(new, old, strict=True):
        pairs = [(ours.get("text", ""), theirs.get("text", ""))]
        if VIEW not in theirs.get("data", {}):  # of a widget it is Python's, and no reader sees it
            pairs += [(text, theirs["data"][mime]) for mime, text in ours.get("data", {}).items()
                      if mime.startswith("text/")]
        found += [text_difference(*pair) for pair in pairs]
    return [fault for fault in found if fault]


def differences(new, old) -> dict:
    """How a run differs from what is committed: the cells compared, and those that differ."""
    told, compared = [], 0
    cells = [[c for c in nb.cells if c.cell_type == "code"] for nb in (new, old)]
    # The first installs, which is silent elsewhere.
    for number, (ours, theirs) in list(enumerate(zip(*cells, strict=True), 1))[1:]:
        if "gpu" in theirs.metadata.get("tags", []):
            continue  # it says on a CPU what it would do
        outputs = shown(new, ours), shown(old, theirs)
        compared += bool(outputs[1])
        told += [{"cell": number, "what": what} for what in cell_differences(*outputs)]
    return {"compared": compared, "differ": told}


def summary(told: list[dict]) -> dict:
    """Differences for the record: the cells whose pictures alone differ, and the rest in words."""
    rest = [d for d in told if "picture" not in d["what"]]
    cells = sorted({d["cell"] for d in told} - {d["cell"] for d in rest})
    return {"pictures_differ_in_cells": cells, "differ": rest}


def widgets(notebook) -> list[str]:
    """The models of the widgets that its cells show, bars aside."""
    states = widget_states(notebook)
    bars = {o["data"][VIEW]["model_id"] for c in notebook.cells for o in c.get("outputs", [])
            if is_bar(o, states)}
    return [states[key]["model_name"] for key in views(notebook) if key not in bars]


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    found = differences(*(read(Path(name)) for name in sys.argv[1:]))
    for told in found["differ"]:
        print(f"code cell {told['cell']}: {told['what']}")
    print(f"{found['compared']} cells with outputs compared, {len(found['differ'])} differences")


if __name__ == "__main__":
    main()
