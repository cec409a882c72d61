"""The guard over the notebooks notices what it is there to notice.

One small notebook is run and committed, then spoiled in many ways: some copies as a whole, and in
one copy a cell for each way in which a cell can be spoiled. One pytest run judges them all.
"""

import base64
import copy
import io
import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import guard
import nbformat
import numpy as np
import pytest
from PIL import Image

from proofs.planted import options
from scripts.notebooks import execution
from scripts.notebooks.normal_form import widget_states

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = "def heights():\n    return [0, 1, 4, 9, 16]\n"
CELLS = [
    "import matplotlib.pyplot as plt\nimport tiny\nimport ipywidgets\nprint(sum(tiny.heights()))",
    "plt.figure(figsize=(4, 3))\nplt.plot([0, 1, 4, 9, 16])\nplt.show()\nprint('drawn')",
    "@ipywidgets.interact(k=(0, 4))\ndef show(k=2):\n"
    "    plt.figure(figsize=(2, 2))\n    plt.plot([0, k])\n    plt.show()",
    "import numpy as np\nfrom ddim_lib import player\n"
    "frames = [np.full((8, 8), 80 * i, np.uint8) for i in range(3)]\n"
    "player.play(frames, [1, 2, 3], 'level t', alt='Three grey squares, each lighter')",
]
TEXT, FIGURE, SLIDER, PLAYER = range(4)


def file_of(levels, kind="PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(levels.astype("uint8")).save(stream, kind, quality=60)
    return stream.getvalue()


def redrawn(picture: str, change) -> str:
    return base64.b64encode(file_of(change(guard.pixels(base64.b64decode(picture))))).decode()


def redraw(output, change):
    """Change the grey levels of an output's picture."""
    output.data["image/png"] = redrawn(output.data["image/png"], change)


def picture(change):
    """A cell whose first picture has other grey levels."""
    return lambda cell: redraw(cell.outputs[0], change)


def player(change):
    """A player with other HTML, made of its own and of its last picture, in base64."""
    def spoil(cell):
        data = cell.outputs[0].data
        data["text/html"] = change(data["text/html"], guard.INLINE.findall(data["text/html"])[-1])

    return spoil


def last_frame(change):
    """A player whose last picture has other grey levels."""
    return player(lambda html, last: html.replace(last, redrawn(last, change)))


def tagged(tag, change=lambda cell: None):
    """A cell with this tag, and changed."""
    def spoil(cell):
        change(cell)
        cell.metadata.tags = [tag]

    return spoil


def darker(levels):
    """By one level, as another processor may give."""
    return np.maximum(levels - 1, 0)


def mirrored(levels):
    """A picture of the same size that shows other data."""
    return levels[:, ::-1]


def one_wrong_tile(levels):
    levels[16:24, 16:24] -= 40
    return levels


def smaller(levels):
    return levels[:-2]


def without_run(cell):
    """No count and no output: nbval alone lets this pass."""
    cell.update(execution_count=None, outputs=[])


def stripped(notebook):
    for cell in notebook.cells:
        without_run(cell)
    del notebook.metadata["widgets"]


def model(notebook, name):
    return next(w for w in widget_states(notebook).values() if w.model_name == name)


# Each with the cell that it spoils, or None for the whole notebook.
PASSING = {
    "unchanged": (None, lambda notebook: None),
    "one_level": (FIGURE, picture(darker)),
    # Another picture, where the page says that it is of the reader's own training.
    "own_training": (FIGURE, tagged(guard.OWN_TRAINING, picture(mirrored))),
    "frame_one_level": (PLAYER, last_frame(darker)),
}
FAILING = {
    "other_curve": (FIGURE, picture(mirrored)),
    "small_change": (FIGURE, picture(one_wrong_tile)),
    "other_size": (FIGURE, picture(smaller)),
    "own_training_of_other_size": (FIGURE, tagged(guard.OWN_TRAINING, picture(smaller))),
    "missing_picture": (FIGURE, lambda cell: cell.outputs.pop(0)),
    # The output is there, its picture is not.
    "picture_without_pixels": (FIGURE, lambda cell: cell.outputs[0].data.pop("image/png")),
    "extra_picture": (FIGURE, lambda cell: cell.outputs.insert(1, copy.deepcopy(cell.outputs[0]))),
    "other_order": (FIGURE, lambda cell: cell.outputs.reverse()),
    "other_text": (TEXT, lambda cell: cell.outputs[0].update(text="31\n")),
    "stripped": (None, stripped),
    "never_run": (TEXT, without_run),
    "skipped": (FIGURE, tagged("nbval-skip")),
    "output_ignored": (FIGURE, lambda cell: cell.update(
        source="# NBVAL_IGNORE_OUTPUT\n" + cell.source)),
    # What an `interact` shows is another picture.
    "widget_picture": (None, lambda notebook: redraw(
        model(notebook, "OutputModel").state.outputs[0], mirrored)),
    "widget_setting": (None, lambda notebook: model(
        notebook, "IntSliderModel").state.update(max=5)),
    "widget_without_state": (None, lambda notebook: notebook.metadata.pop("widgets")),
    "other_frame": (PLAYER, last_frame(lambda levels: levels - 40)),
    "missing_frame": (PLAYER, player(
        lambda html, last: html.replace(f', "data:image/png;base64,{last}"', ""))),
    "other_value_in_a_player": (PLAYER, player(
        lambda html, last: html.replace('"t = 3"', '"t = 4"'))),
    "other_still": (PLAYER, picture(lambda levels: 255 - levels)),
}


def written(folder, notebook, library=LIBRARY) -> Path:
    """A notebook in a folder of its own, beside the module that it imports."""
    folder.mkdir(parents=True)
    (folder / "tiny.py").write_text(library)
    nbformat.write(notebook, folder / "page.ipynb")
    return folder / "page.ipynb"


def ran(folder) -> Path:
    """The small notebook, run."""
    cells = [nbformat.v4.new_code_cell(source, id=f"cell{i}") for i, source in enumerate(CELLS)]
    page = written(folder, nbformat.v4.new_notebook(cells=cells))
    assert execution.run(page, limit=None) is None
    return page


@pytest.fixture(scope="module")
def committed(tmp_path_factory) -> Path:
    return ran(tmp_path_factory.mktemp("committed") / "page")


@pytest.fixture(scope="module")
def failures(committed, tmp_path_factory) -> dict[str, bool]:
    """Whether a cell fails in each notebook, and whether each cell does that is spoiled alone."""
    folder = tmp_path_factory.mktemp("guarded")
    for part in ["pyproject.toml", "conftest.py", "scripts", "tests"]:
        copier = shutil.copytree if (ROOT / part).is_dir() else shutil.copyfile
        copier(ROOT / part, folder / part)
    cells = nbformat.read(committed, as_version=4)
    del cells.metadata["widgets"], cells.cells[1:]  # the first imports, and is not spoiled
    alone = []
    for name, (number, spoil) in (PASSING | FAILING).items():
        page = nbformat.read(committed, as_version=4)
        if number is None:
            if name in FAILING:
                del page.cells[PLAYER]  # none of these spoils it, and its library loads for seconds
            spoil(page)
            written(folder / "book" / name, page)
        else:
            cell = page.cells[number]
            cell.id = name
            spoil(cell)
            cells.cells.append(cell)
            alone.append(name)
    written(folder / "book" / "cells", cells)
    written(folder / "book" / "changed_library", nbformat.read(committed, as_version=4),
            LIBRARY.replace("16", "17"))
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "book", *options(), f"--junitxml={report}"]
    subprocess.run(command, cwd=folder, capture_output=True, timeout=600)
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        bad = case.find("failure") is not None or case.find("error") is not None
        found.setdefault(case.get("classname").split(".")[1], []).append(bad)
    first, *single = found.pop("cells")
    assert not first
    counts = {page: any(bad) for page, bad in found.items()} | dict(zip(alone, single, strict=True))
    assert counts.keys() == {*PASSING, *FAILING, "changed_library"}
    return counts


@pytest.mark.parametrize("spoil", PASSING)
def test_passes(failures, spoil):
    assert not failures[spoil]


@pytest.mark.parametrize("spoil", FAILING)
def test_fails(failures, spoil):
    assert failures[spoil]


def test_changed_library_fails(failures):
    assert failures["changed_library"]


def test_run_and_normal_form_are_repeatable(committed, tmp_path):
    """Two runs of one notebook give one file, byte for byte."""
    assert execution.in_normal_form(committed)
    assert ran(tmp_path / "page").read_bytes() == committed.read_bytes()


def test_what_an_editor_adds_is_taken_out_without_a_run(committed, tmp_path, monkeypatch):
    """JupyterLab writes its kernel's facts as it saves."""
    page = tmp_path / committed.name
    nb = json.loads(committed.read_text(encoding="utf-8"))
    nb["metadata"]["language_info"] = {"name": "python", "version": "3.12.1"}
    nb["cells"][0]["metadata"]["trusted"] = True
    page.write_text(json.dumps(nb), encoding="utf-8")
    assert not execution.in_normal_form(page)
    monkeypatch.setattr(execution, "run", lambda *_: pytest.fail("it was run"))
    monkeypatch.setattr("sys.argv", ["notebooks", "--form", str(page)])
    assert execution.main() == 0
    assert page.read_bytes() == committed.read_bytes()


def test_stderr_keeps_a_notebook_as_it_was(tmp_path):
    page = tmp_path / "page.ipynb"
    cell = nbformat.v4.new_code_cell("import sys\nprint('careful', file=sys.stderr)")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), page)
    before = page.read_bytes()
    assert "stderr" in execution.run(page, limit=None)
    assert page.read_bytes() == before


def test_a_rounding_stays_small_in_lossy_frames():
    """One pixel in five hundred is another level: in WebP that can change the whole frame."""
    random = np.random.default_rng(0)
    levels = np.clip(random.normal(128, 60, (40, 130, 130)), 1, 254).round()
    rounded = levels + random.choice([-1, 1], levels.shape) * (random.random(levels.shape) < 0.002)

    def apart(kind):
        return max(np.abs(guard.pixels(file_of(a, kind)) - guard.pixels(file_of(b, kind))).mean()
                   for a, b in zip(levels, rounded, strict=True))

    assert apart("JPEG") < guard.MEAN_LEVELS / 3 < guard.MEAN_LEVELS < apart("WEBP")
    assert all(guard.difference(file_of(a, "JPEG"), file_of(b, "JPEG")) is None
               for a, b in zip(levels, rounded, strict=True))
    assert guard.difference(file_of(levels[0], "JPEG"), file_of(levels[1], "JPEG"))
    assert guard.difference(file_of(levels[0], "JPEG"), file_of(levels[0] + 6, "JPEG"))
