"""The normal form of a notebook: what two runs of the same chapter have in common, byte for byte.

No dates, no random identifiers, no program names inside pictures; metadata that readers and tools
need, and nothing else.
"""

import base64
import copy
import hashlib
import json
import re
from pathlib import Path

import nbformat

from scripts.notebooks import png

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
# Without the lexer's name the page's highlighter trips over %pip.
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}
NOTEBOOK_METADATA = {"accelerator", "colab", "mystnb"}
CELL_METADATA = {"editable", "mystnb", "slideshow", "tags"}
VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
LINKS = {"LinkModel", "DirectionalLinkModel"}


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.v4.reads_json(path.read_text(encoding="utf-8"))


def text(notebook: nbformat.NotebookNode) -> str:
    return nbformat.v4.writes_json(notebook) + "\n"


def normalise(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """A copy of the notebook in normal form. `name` seeds the identifiers that it needs."""
    notebook = nbformat.v4.reads_json(nbformat.v4.writes_json(notebook))
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    widgets = notebook.metadata.get("widgets")
    notebook.metadata = nbformat.from_dict(
        {k: v for k, v in notebook.metadata.items() if k in NOTEBOOK_METADATA}
        | {"kernelspec": KERNEL, "language_info": LANGUAGE}
    )
    if widgets:
        notebook.metadata.widgets = widgets
    for index, cell in enumerate(notebook.cells):
        cell.metadata = nbformat.from_dict(
            {k: v for k, v in cell.metadata.items() if k in CELL_METADATA}
        )
        cell.setdefault("id", identifier(name, "cell", index)[:8])
        if cell.cell_type == "code":
            cell.outputs = outputs_in_form(cell.outputs, cell.execution_count)
    return widgets_in_form(notebook, name)


def identifier(*parts) -> str:
    return hashlib.sha256(":".join(map(str, parts)).encode()).hexdigest()[:32]


def merged(outputs: list) -> list:
    """Outputs with each stream's parts joined, where its first one stands."""
    kept, streams = [], {}
    for output in outputs:
        if output["output_type"] == "stream":
            if output["name"] in streams:
                streams[output["name"]]["text"] += output["text"]
                continue
            output = streams[output["name"]] = copy.copy(output)
        kept.append(output)
    return kept


def outputs_in_form(outputs: list, count: int | None) -> list:
    kept = merged(outputs)
    for output in kept:
        output.pop("transient", None)
        if output.output_type == "execute_result":
            output.execution_count = count
        data = output.get("data", {})
        if "image/png" in data:
            data["image/png"] = clean_base64(data["image/png"])
    return kept


def clean_base64(data: str) -> str:
    return base64.b64encode(png.clean(base64.b64decode(data))).decode()


def widgets_in_form(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """Keep the widgets that an output shows, and name them by the order in which they appear."""
    states = widget_states(notebook)
    for widget in states.values():
        if widget.get("model_name") == "OutputModel":
            widget.state.msg_id = ""
            widget.state.outputs = outputs_in_form(widget.state.get("outputs", []), None)
        for buffer in widget.get("buffers", []):
            if buffer.encoding == "base64":
                buffer.data = clean_base64(buffer.data)
    shown = reachable(views(notebook), states)
    # A link is shown by no output, yet the page's slider is dead without it.
    links = [
        key
        for key, widget in states.items()
        if widget.get("model_name") in LINKS and set(references(widget.state)) <= set(shown)
    ]
    names = {old: identifier(name, "widget", i) for i, old in enumerate(shown)}
    links.sort(key=lambda key: rename(json.dumps(states[key].state, sort_keys=True), names))
    names |= {old: identifier(name, "link", i) for i, old in enumerate(links)}
    if not names:
        notebook.metadata.pop("widgets", None)
        return notebook
    notebook.metadata.widgets[STATE].state = {key: states[key] for key in names}
    return nbformat.from_dict(json.loads(rename(json.dumps(notebook), names)))


def widget_states(notebook: nbformat.NotebookNode) -> dict:
    """What is stored of its widgets, by model."""
    return notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})


def views(notebook: nbformat.NotebookNode) -> list[str]:
    """The model of every widget that an output shows, in the order of the page."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [o.data[VIEW]["model_id"] for o in outputs if VIEW in o.get("data", {})]


def reachable(start: list[str], states: dict) -> list[str]:
    found, todo = [], list(reversed(start))
    while todo:
        key = todo.pop()
        if key in found or key not in states:
            continue
        found.append(key)
        todo.extend(reversed(references(states[key])))
    return found


def references(value) -> list[str]:
    """The models that a widget's state names, in a fixed order."""
    if isinstance(value, str):
        return [value.removeprefix("IPY_MODEL_")] if value.startswith("IPY_MODEL_") else []
    if isinstance(value, dict):
        shown = [value[VIEW]["model_id"]] if VIEW in value else []
        return shown + [r for key in sorted(value) for r in references(value[key])]
    return [r for item in value for r in references(item)] if isinstance(value, list) else []


def rename(source: str, names: dict[str, str]) -> str:
    # In one pass: a new name may be another widget's old one.
    pattern = "|".join(map(re.escape, names)) or "(?!)"
    return re.sub(pattern, lambda match: names[match[0]], source)
