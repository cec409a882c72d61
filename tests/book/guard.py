"""What nbval leaves unseen in a notebook, seen: pictures, widgets, order, cells that never ran.

nbval runs each cell and compares text. `install` makes it compare, besides:
- pictures, within a tolerance (`difference`);
- the kinds of a cell's outputs and their order;
- widgets: their state, and what they show, pictures included;
and makes it refuse cells without an execution count and every mark that switches a check off.
"""

import base64
import io
import re

import numpy as np
from nbval.plugin import IPyNbCell, IPyNbFile
from PIL import Image

from scripts.notebooks.normal_form import VIEW, merged, widget_states

PICTURES = ("image/png", "image/jpeg")
# Pictures inside HTML, a player's frames. sanitize.cfg hides them from nbval's own comparison.
INLINE = re.compile(r"data:image/(?:png|jpeg);base64,([A-Za-z0-9+/=]+)")

# What the reader's own training draws: another machine's pictures are other ones.
OWN_TRAINING = "own-training"

# Grey levels of 255. Rounding on another processor changes samples from fixed weights by less
# than one level; another curve, sample or seed moves whole tiles by tens of levels. How this was
# measured: CONTRIBUTING.md, "Pictures".
MEAN_LEVELS = 1.0
TILE = 8
TILE_LEVELS = 16.0


def pixels(data: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(data)).convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    return np.asarray(Image.alpha_composite(ground, picture).convert("RGB"), dtype=np.float32)


def difference(new: bytes, old: bytes) -> str | None:
    """What makes two pictures differ beyond the tolerance, or None."""
    if new == old:
        return None
    if fault := other_size(new, old):
        return fault
    levels = np.abs(pixels(new) - pixels(old)).mean(axis=2)
    # Small pictures and edges: a partial tile counts as if the rest of it agreed.
    padded = np.pad(levels, [(0, -side % TILE) for side in levels.shape])
    rows, columns = padded.shape[0] // TILE, padded.shape[1] // TILE
    tiles = padded.reshape(rows, TILE, columns, TILE).mean(axis=(1, 3))
    mean, worst = levels.mean(), tiles.max()
    if mean <= MEAN_LEVELS and worst <= TILE_LEVELS:
        return None
    row, column = np.unravel_index(tiles.argmax(), tiles.shape)
    return (
        f"a picture that differs by {mean:.2f} grey levels on average (at most {MEAN_LEVELS}) and"
        f" by {worst:.1f} in the {TILE}x{TILE} pixels at x={column * TILE}, y={row * TILE}"
        f" (at most {TILE_LEVELS})"
    )


def other_size(new: bytes, old: bytes) -> str | None:
    """What makes two pictures differ in size, or None."""
    a, b = (Image.open(io.BytesIO(data)).size for data in (new, old))
    return None if a == b else f"a picture of {a[0]}x{a[1]} pixels; committed {b[0]}x{b[1]}"


def kind(output) -> tuple:
    """What an output is, without what it says."""
    if output["output_type"] == "stream":
        return ("stream", output["name"])
    return (output["output_type"], *sorted(output.get("data", {})))


def picture_faults(new: list, old: list, compare=difference) -> list[str]:
    """Compare the kinds of two lists of outputs, and their pictures."""
    kinds, committed = [kind(o) for o in new], [kind(o) for o in old]
    if kinds != committed:
        return [f"outputs of the kinds {kinds}; committed {committed}"]
    faults = []
    for ours, theirs in zip(new, old, strict=True):
        for mime in set(PICTURES) & set(ours.get("data", {})):
            data = [base64.b64decode(o["data"][mime]) for o in (ours, theirs)]
            faults.append(compare(*data))
        faults.append(inline_faults(ours, theirs))
    return [fault for fault in faults if fault]


def inline_faults(new: dict, old: dict) -> str | None:
    """Compare the pictures inside two HTML outputs."""
    ours, theirs = (INLINE.findall(o.get("data", {}).get("text/html", "")) for o in (new, old))
    if len(ours) != len(theirs):
        return f"HTML with {len(ours)} pictures; committed {len(theirs)}"
    for i, pair in enumerate(zip(ours, theirs, strict=True)):
        if fault := difference(*map(base64.b64decode, pair)):
            return f"in HTML, at picture {i} of {len(ours)}: {fault}"
    return None


class Widgets:
    """The widgets that a running notebook makes, from the messages of its kernel."""

    def __init__(self):
        self.models = {}  # id: state, with bytes where the state holds a picture
        self.captured = {}  # id of an Output widget: what was shown inside it
        self.capturing = {}  # id of a cell's execution: the Output widget that takes its outputs

    def takes(self, message: dict) -> bool:
        """Learn from a message; true if it went into an Output widget instead of the cell."""
        content, kind_of = message["content"], message["msg_type"]
        if kind_of in ("comm_open", "comm_msg"):
            self.update(content.get("comm_id"), content.get("data", {}), message)
            return False
        inside = self.capturing.get(message["parent_header"].get("msg_id"))
        if inside is None:
            return False
        if kind_of == "clear_output":
            self.captured[inside] = []
        elif kind_of in ("stream", "display_data", "execute_result"):
            self.captured[inside].append({"output_type": kind_of, **content})
        else:
            return False
        return True

    def update(self, key: str, data: dict, message: dict) -> None:
        if data.get("method", "update") != "update" or "state" not in data:
            return
        state = data["state"]
        for path, buffer in zip(
            data.get("buffer_paths", []), message.get("buffers", []), strict=False
        ):
            place = state
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = bytes(buffer)
        self.models.setdefault(key, {}).update(state)
        if "msg_id" in state:
            self.captured.setdefault(key, [])
            self.capturing = {m: k for m, k in self.capturing.items() if k != key}
            if state["msg_id"]:
                self.capturing[state["msg_id"]] = key


def committed_widgets(notebook) -> dict:
    """The stored state of each widget, with bytes where it holds a picture."""
    models = {}
    for key, widget in widget_states(notebook).items():
        models[key] = state = dict(widget["state"])
        for buffer in widget.get("buffers", []):
            place = state
            for step in buffer["path"][:-1]:
                place = place[step]
            place[buffer["path"][-1]] = base64.b64decode(buffer["data"])
    return models


class WidgetComparison:
    """Follows a widget and all that it holds, in a run and in the committed notebook."""

    # Kept by whoever shows the widget, not by the chapter.
    IGNORED = {"msg_id", "outputs", "_view_count"}

    def __init__(self, running: Widgets, committed: dict):
        self.running, self.committed = running, committed
        self.seen = set()
        self.faults = []

    def models(self, new: str, old: str) -> None:
        if (new, old) in self.seen:
            return
        self.seen.add((new, old))
        if new not in self.running.models or old not in self.committed:
            self.faults.append("a widget without its state")
            return
        ours, theirs = self.running.models[new], self.committed[old]
        name = theirs.get("_model_name", "a widget")
        for field in sorted((set(ours) | set(theirs)) - self.IGNORED):
            self.values(ours.get(field), theirs.get(field), f"{name}.{field}")
        if new in self.running.captured:
            self.outputs(self.running.captured[new], theirs.get("outputs", []))

    def outputs(self, new: list, old: list) -> None:
        new, old = merged(new), merged(old)
        faults = picture_faults(new, old)
        self.faults += [f"inside an Output widget: {fault}" for fault in faults]
        if faults:
            return
        for ours, theirs in zip(new, old, strict=True):
            self.values(ours.get("text"), theirs.get("text"), "text inside an Output widget")
            for mime in set(ours.get("data", {})) - set(PICTURES) - {VIEW}:
                place = f"{mime} inside an Output widget"
                self.values(ours["data"][mime], theirs["data"][mime], place)
            if VIEW in ours.get("data", {}):
                self.models(*(o["data"][VIEW]["model_id"] for o in (ours, theirs)))

    def values(self, new, old, place: str) -> None:
        if isinstance(new, dict) and isinstance(old, dict) and set(new) == set(old):
            for key in sorted(new):
                self.values(new[key], old[key], f"{place}.{key}")
        elif isinstance(new, list | tuple) and isinstance(old, list) and len(new) == len(old):
            for ours, theirs in zip(new, old, strict=True):
                self.values(ours, theirs, place)
        elif all(isinstance(v, str) and v.startswith("IPY_MODEL_") for v in (new, old)):
            self.models(new.removeprefix("IPY_MODEL_"), old.removeprefix("IPY_MODEL_"))
        elif isinstance(new, bytes) and isinstance(old, bytes) and old[1:4] == b"PNG":
            fault = difference(new, old)
            self.faults += [f"{place}: {fault}"] if fault else []
        elif new != old:
            self.faults.append(f"{place} is {new!r:.200}; committed {old!r:.200}")


def install() -> None:
    """Put the guard into nbval."""
    compare, run, listen = (
        IPyNbCell.compare_outputs,
        IPyNbCell.runtest,
        IPyNbFile.get_kernel_message,
    )

    def get_kernel_message(self, *args, **kwargs):
        widgets = self.__dict__.setdefault("widgets", Widgets())
        while True:
            message = listen(self, *args, **kwargs)
            if not widgets.takes(message):
                return message

    def runtest(self):
        if self.options["skip"] or self.options["check_exception"] or not self.options["check"]:
            self.raise_cell_error("This cell carries a mark that switches a check off")
        if self.cell.source.strip() and self.cell.execution_count is None:
            self.raise_cell_error("This cell was committed without having been run")
        run(self)

    def compare_outputs(self, test, ref, skip_compare=None):
        if not compare(self, test, ref, skip_compare):
            return False
        own = OWN_TRAINING in self.cell.metadata.get("tags", [])
        faults = picture_faults(test, ref, other_size if own else difference)
        if not faults:
            shown = [o["data"][VIEW]["model_id"] for o in test if VIEW in o.get("data", {})]
            stored = [o["data"][VIEW]["model_id"] for o in ref if VIEW in o.get("data", {})]
            if shown:
                comparison = WidgetComparison(
                    self.parent.widgets, committed_widgets(self.parent.nb)
                )
                for pair in zip(shown, stored, strict=True):
                    comparison.models(*pair)
                faults = comparison.faults
        self.comparison_traceback.extend(faults)
        return not faults

    IPyNbFile.get_kernel_message = get_kernel_message
    IPyNbCell.runtest = runtest
    IPyNbCell.compare_outputs = compare_outputs
