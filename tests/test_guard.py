"""The guard over the notebooks notices what it is there to notice.

One small notebook is run and committed, then spoiled in many ways. Every spoiled copy lies in a
folder of its own, beside the module that it imports, and one pytest run judges them all.
"""

import base64
import copy
import io
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

from scripts.notebooks import execution

ROOT = Path(__file__).resolve().parent.parent
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
NBVAL = [
    "--nbval",
    "--nbval-current-env",
    "--nbval-sanitize-with=tests/sanitize.cfg",
    "--nbval-cell-timeout=60",
]


def outputs(notebook, cell):
    return notebook.cells[cell].outputs


def unchanged(notebook):
    """The notebook as it was committed."""


def one_level(notebook):
    """A picture whose grey levels differ by one, as another processor may give."""
    data = outputs(notebook, 1)[0].data
    levels = guard.pixels(base64.b64decode(data["image/png"]))
    data["image/png"] = encoded(np.where(levels > 0, levels - 1, levels))


def other_curve(notebook):
    """A picture of the same size that shows other data."""
    data = outputs(notebook, 1)[0].data
    levels = guard.pixels(base64.b64decode(data["image/png"]))
    data["image/png"] = encoded(levels[:, ::-1])


def small_change(notebook):
    """A picture with one wrong tile."""
    data = outputs(notebook, 1)[0].data
    levels = guard.pixels(base64.b64decode(data["image/png"]))
    levels[16:24, 16:24] -= 40
    data["image/png"] = encoded(levels)


def other_size(notebook):
    data = outputs(notebook, 1)[0].data
    data["image/png"] = encoded(guard.pixels(base64.b64decode(data["image/png"]))[:-2])


def own_training(notebook):
    """Another picture, where the page says that it is of the reader's own training."""
    other_curve(notebook)
    notebook.cells[1].metadata.tags = [guard.OWN_TRAINING]


def own_training_of_other_size(notebook):
    other_size(notebook)
    notebook.cells[1].metadata.tags = [guard.OWN_TRAINING]


def spoil_frame(notebook, change):
    """The last picture of a player, changed."""
    data = outputs(notebook, 3)[0].data
    old = guard.INLINE.findall(data["text/html"])[-1]
    new = encoded(change(guard.pixels(base64.b64decode(old))))
    data["text/html"] = data["text/html"].replace(old, new)


def frame_one_level(notebook):
    spoil_frame(notebook, lambda levels: levels - 1)


def other_frame(notebook):
    spoil_frame(notebook, lambda levels: levels - 40)


def missing_frame(notebook):
    data = outputs(notebook, 3)[0].data
    last = guard.INLINE.findall(data["text/html"])[-1]
    data["text/html"] = data["text/html"].replace(f', "data:image/png;base64,{last}"', "")


def other_value_in_a_player(notebook):
    data = outputs(notebook, 3)[0].data
    data["text/html"] = data["text/html"].replace('"t = 3"', '"t = 4"')


def other_still(notebook):
    data = outputs(notebook, 3)[0].data
    data["image/png"] = encoded(255 - guard.pixels(base64.b64decode(data["image/png"])))


def missing_picture(notebook):
    del outputs(notebook, 1)[0]


def picture_without_pixels(notebook):
    """The output is there, its picture is not."""
    del outputs(notebook, 1)[0].data["image/png"]


def extra_picture(notebook):
    outputs(notebook, 1).insert(1, copy.deepcopy(outputs(notebook, 1)[0]))


def other_order(notebook):
    outputs(notebook, 1).reverse()


def other_text(notebook):
    outputs(notebook, 0)[0].text = "31\n"


def stripped(notebook):
    for cell in notebook.cells:
        cell.outputs, cell.execution_count = [], None
    del notebook.metadata["widgets"]


def never_run(notebook):
    """No count and no output: nbval alone lets this pass."""
    notebook.cells[0].execution_count, notebook.cells[0].outputs = None, []


def skipped(notebook):
    notebook.cells[1].metadata.tags = ["nbval-skip"]


def output_ignored(notebook):
    notebook.cells[1].source = "# NBVAL_IGNORE_OUTPUT\n" + notebook.cells[1].source


def models(notebook, name):
    states = notebook.metadata.widgets[guard.STATE].state.values()
    return [widget for widget in states if widget.model_name == name]


def widget_picture(notebook):
    """What an `interact` shows is another picture."""
    data = models(notebook, "OutputModel")[0].state.outputs[0].data
    data["image/png"] = encoded(guard.pixels(base64.b64decode(data["image/png"]))[:, ::-1])


def widget_setting(notebook):
    models(notebook, "IntSliderModel")[0].state.max = 5


def widget_without_state(notebook):
    del notebook.metadata["widgets"]


def encoded(levels) -> str:
    stream = io.BytesIO()
    Image.fromarray(levels.astype("uint8")).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


PASSING = [unchanged, one_level, own_training, frame_one_level]
FAILING = [
    other_curve,
    small_change,
    other_size,
    own_training_of_other_size,
    missing_picture,
    picture_without_pixels,
    extra_picture,
    other_order,
    other_text,
    stripped,
    never_run,
    skipped,
    output_ignored,
    widget_picture,
    widget_setting,
    widget_without_state,
    other_frame,
    missing_frame,
    other_value_in_a_player,
    other_still,
]


@pytest.fixture(scope="module")
def failures(tmp_path_factory) -> dict[str, int]:
    """How many cells fail in each notebook."""
    folder = tmp_path_factory.mktemp("guarded")
    for part in ["pyproject.toml", "conftest.py", "scripts", "tests"]:
        copier = shutil.copytree if (ROOT / part).is_dir() else shutil.copyfile
        copier(ROOT / part, folder / part)
    committed = folder / "book" / "unchanged" / "page.ipynb"
    committed.parent.mkdir(parents=True)
    (committed.parent / "tiny.py").write_text(LIBRARY)
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), committed)
    assert execution.run(committed, limit=60) is None
    for spoil in PASSING[1:] + FAILING:
        page = nbformat.read(committed, as_version=4)
        spoil(page)
        place = folder / "book" / spoil.__name__
        place.mkdir()
        nbformat.write(page, place / "page.ipynb")
        (place / "tiny.py").write_text(LIBRARY)
    changed = folder / "book" / "changed_library"
    changed.mkdir()
    shutil.copyfile(committed, changed / "page.ipynb")
    (changed / "tiny.py").write_text(LIBRARY.replace("16", "17"))
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "book", *NBVAL, f"--junitxml={report}"]
    subprocess.run(command, cwd=folder, capture_output=True, timeout=600)
    counts = {}
    for case in ElementTree.parse(report).iter("testcase"):
        page = case.get("classname").split(".")[1]
        bad = case.find("failure") is not None or case.find("error") is not None
        counts[page] = counts.get(page, 0) + bad
    assert len(counts) == len(PASSING) + len(FAILING) + 1
    return counts


@pytest.mark.parametrize("spoil", PASSING, ids=lambda f: f.__name__)
def test_passes(failures, spoil):
    assert failures[spoil.__name__] == 0


@pytest.mark.parametrize("spoil", FAILING, ids=lambda f: f.__name__)
def test_fails(failures, spoil):
    assert failures[spoil.__name__] > 0


def test_changed_library_fails(failures):
    assert failures["changed_library"] > 0


def test_run_and_normal_form_are_repeatable(failures, tmp_path):
    """Two runs of one notebook give one file, byte for byte."""
    pages = []
    for _ in range(2):
        page = tmp_path / "page.ipynb"
        (tmp_path / "tiny.py").write_text(LIBRARY)
        cells = [nbformat.v4.new_code_cell(source, id=f"cell{i}") for i, source in enumerate(CELLS)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), page)
        assert execution.run(page, limit=60) is None
        assert execution.in_normal_form(page)
        pages.append(page.read_bytes())
    assert pages[0] == pages[1]


def test_stderr_keeps_a_notebook_as_it_was(tmp_path):
    page = tmp_path / "page.ipynb"
    cell = nbformat.v4.new_code_cell("import sys\nprint('careful', file=sys.stderr)")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), page)
    before = page.read_bytes()
    assert "stderr" in execution.run(page, limit=60)
    assert page.read_bytes() == before


def lossy(levels, kind="JPEG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(levels.astype("uint8")).save(stream, kind, quality=60)
    return stream.getvalue()


def test_a_rounding_stays_small_in_lossy_frames():
    """One pixel in five hundred is another level: in WebP that can change the whole frame."""
    random = np.random.default_rng(0)
    levels = np.clip(random.normal(128, 60, (40, 130, 130)), 1, 254).round()
    rounded = levels + random.choice([-1, 1], levels.shape) * (random.random(levels.shape) < 0.002)

    def apart(kind):
        return max(np.abs(guard.pixels(lossy(a, kind)) - guard.pixels(lossy(b, kind))).mean()
                   for a, b in zip(levels, rounded, strict=True))

    assert apart("JPEG") < guard.MEAN_LEVELS / 3 < guard.MEAN_LEVELS < apart("WEBP")
    assert all(guard.difference(lossy(a), lossy(b)) is None
               for a, b in zip(levels, rounded, strict=True))
    assert guard.difference(lossy(levels[0]), lossy(levels[1]))
    assert guard.difference(lossy(levels[0]), lossy(levels[0] + 6))
