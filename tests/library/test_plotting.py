"""Pictures are laid out as they were asked for, and importing the library stays light."""

import importlib
import io
import pkgutil
import subprocess
import sys

import ipywidgets as widgets
import numpy as np
import pytest
import torch
from PIL import Image

import ddim_lib
from ddim_lib.pixels import to_float
from ddim_lib.plotting import COLOURS, curves, show, tile
from ddim_lib.widgets import frames_slider


def flat(levels):
    """One picture of 3x4 pixels for each grey level."""
    return to_float(torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 3, 4))


# Tiles -------------------------------------------------------------------------------------------

def test_tiles_lie_row_after_row_with_white_gaps():
    sheet = tile(flat([0, 50, 100, 150, 200]), columns=2, gap=2)
    assert sheet.dtype == np.uint8 and sheet.shape == (3 * 3 + 2 * 2, 2 * 4 + 2)
    expected = np.full((13, 10), 255, np.uint8)
    for i, level in enumerate([0, 50, 100, 150, 200]):
        y, x = i // 2 * 5, i % 2 * 6
        expected[y:y + 3, x:x + 4] = level
    assert np.array_equal(sheet, expected)


@pytest.mark.parametrize("gap", [0, 1, 5])
@pytest.mark.parametrize("columns", [1, 3, 8])
def test_a_sheet_has_the_size_of_its_tiles(gap, columns):
    sheet = tile(flat([10] * 7), columns, gap)
    rows = -(-7 // columns)
    assert sheet.shape == (rows * 3 + (rows - 1) * gap, columns * 4 + (columns - 1) * gap)
    assert (sheet == 10).sum() == 7 * 12


def test_colours_and_orientation_are_kept():
    image = torch.arange(3 * 2 * 5, dtype=torch.uint8).view(1, 3, 2, 5) * 8
    sheet = tile(to_float(image), 1)
    assert sheet.shape == (2, 5, 3)
    assert np.array_equal(sheet, image[0].permute(1, 2, 0).numpy())


def test_what_lies_outside_is_clipped():
    sheet = tile(torch.tensor([-3.0, 0.0, 3.0]).view(3, 1, 1, 1).requires_grad_(), 3, gap=0)
    assert sheet.tolist() == [[0, 128, 255]]


@pytest.mark.parametrize("shape", [(3, 4), (1, 3, 4), (1, 2, 3, 4), (1, 4, 3, 4)])
def test_other_shapes_are_errors(shape):
    with pytest.raises(ValueError, match=r"images must have shape \(N, 1 or 3, H, W\) .*, got \("):
        tile(torch.zeros(shape), 1)


@pytest.mark.parametrize("columns", [0, -1])
def test_no_columns_are_an_error(columns):
    with pytest.raises(ValueError, match=f"columns must be .* of at least 1, got {columns}"):
        tile(flat([1]), columns)


# Figures -----------------------------------------------------------------------------------------

@pytest.fixture
def plt():
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.close("all")
    yield plt
    plt.close("all")


def test_show_draws_one_figure_with_its_names(plt):
    images = flat(list(range(60, 240, 30)))
    assert show(images, 3, title="noise", rows=["a", "b"], heads=["1", "2", "3"]) is None
    assert len(plt.get_fignums()) == 1
    (ax,) = plt.gcf().axes
    assert ax.get_title() == "noise"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2", "3"]
    assert np.array_equal(ax.images[0].get_array(), tile(images, 3))
    assert ax.images[0].get_clim() == (0, 255)  # a dark sheet is not stretched to white
    # Each name stands at the middle of its row or column.
    for ticks, size, gap in ((ax.get_xticks(), 4, 2), (ax.get_yticks(), 3, 2)):
        for i, tick in enumerate(ticks):
            assert i * (size + gap) <= tick <= i * (size + gap) + size


def test_show_without_names_draws_none(plt):
    show(flat([0, 1, 2]), 2)
    (ax,) = plt.gcf().axes
    assert len(ax.get_xticks()) == len(ax.get_yticks()) == 0 and ax.get_title() == ""


@pytest.mark.parametrize("options, message", [({"rows": ["a"]}, "rows must hold 2 names, got 1"),
                                              ({"heads": ["a"] * 3},
                                               "heads must hold 2 names, got 3")])
def test_names_that_do_not_fit_are_errors(options, message, plt):
    with pytest.raises(ValueError, match=message):
        show(flat([0, 1, 2]), 2, **options)
    assert plt.get_fignums() == []


def test_curves_are_drawn_over_one_axis(plt):
    assert curves([1, 10, 100], {"a": [3, 2, 1], "b": [1, 2, 3]}, xlabel="S", ylabel="distance",
                  log_x=True, log_y=True, marks=True, level=("floor", 0.5)) is None
    assert len(plt.get_fignums()) == 1
    (ax,) = plt.gcf().axes
    first, second, level = ax.lines
    assert first.get_xydata().tolist() == [[1, 3], [10, 2], [100, 1]]
    assert second.get_ydata().tolist() == [1, 2, 3] and set(level.get_ydata()) == {0.5}
    # Told apart by colour, by dash and by marker: not by colour alone.
    assert first.get_color() == COLOURS[0] != second.get_color()
    assert first.get_linestyle() != second.get_linestyle()
    assert first.get_marker() != second.get_marker()
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("S", "distance")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b", "floor"]


def test_a_single_curve_has_no_legend_and_no_logarithm(plt):
    curves([1, 2], {"loss": [1, 0.5]}, xlabel="step", ylabel="loss")
    (ax,) = plt.gcf().axes
    assert ax.get_legend() is None and (ax.get_xscale(), ax.get_yscale()) == ("linear", "linear")
    assert ax.lines[0].get_marker() in ("None", None)


# The slider --------------------------------------------------------------------------------------

def test_the_slider_chooses_pictures_in_the_browser():
    frames = [np.full((3, 4), level, np.uint8) for level in (0, 100, 200)]
    instances = widgets.widgets.widget._instances
    before = set(instances)
    slider, stack = frames_slider(frames, [1000, 500, 0], "t", scale=5).children
    assert slider.description == "t"
    assert [name for name, _ in slider.options] == ["1000", "500", "0"] and slider.index == 0
    for picture, frame in zip(stack.children, frames, strict=True):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(picture.value))), frame)
        assert picture.format == "png"
        assert (int(picture.width), int(picture.height)) == (20, 15)
    links = [w for key, w in instances.items() if key not in before
             and isinstance(w, widgets.widgets.widget_link.Link)]
    assert len(links) == 1
    assert links[0].source == (slider, "index") and links[0].target == (stack, "selected_index")
    assert stack.selected_index == 0


def test_the_slider_takes_colours_and_equal_names():
    frames = [np.full((2, 2, 3), (9, level, 9), np.uint8) for level in (0, 100)]
    _, stack = frames_slider(frames, ["a", "a"], "S").children
    for picture, frame in zip(stack.children, frames, strict=True):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(picture.value))), frame)


@pytest.mark.parametrize("frames, names", [([], []), ([0], []), ([0, 1], ["a"]), ([0], ["a", "b"])])
def test_frames_without_their_names_are_errors(frames, names):
    frames = [np.zeros((2, 2), np.uint8) for _ in frames]
    with pytest.raises(ValueError, match=rf"names must be one a frame, {len(frames)} \(at least "
                                         rf"1\), got {len(names)}"):
        frames_slider(frames, names, "t")


# The package -------------------------------------------------------------------------------------

MODULES = [importlib.import_module(m.name)
           for m in pkgutil.walk_packages(ddim_lib.__path__, "ddim_lib.")
           if not m.name.endswith("__main__")]


def test_importing_the_library_needs_torch_and_numpy_alone():
    code = ("import sys, numpy, torch; before = set(sys.modules)\n"  # torch brings tqdm itself
            "import ddim_lib; brought = {m.split('.')[0] for m in set(sys.modules) - before}\n"
            "print(*sorted(brought - set(sys.stdlib_module_names)))")
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True,
                          text=True, check=True)
    assert (done.stdout, done.stderr) == ("ddim_lib\n", "")


def test_every_file_of_the_library_imports_without_its_extras():
    """Each says what it needs where it needs it, not on import."""
    code = ("import sys\n"
            "for name in ('matplotlib', 'torchvision', 'ipywidgets', 'mlxtend', 'torchmetrics',\n"
            "             'safetensors', 'PIL', 'scipy', 'pooch'):\n"
            "    sys.modules[name] = None\n"
            f"for name in {[m.__name__ for m in MODULES]!r}:\n"
            "    __import__(name)\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == done.stderr == "", done.stderr


def test_what_the_package_offers_is_in_order():
    """That all of it is there and documented shows tests/book/test_reference_pages.py."""
    assert sorted(ddim_lib.__all__) == ddim_lib.__all__
    assert [module.__name__ for module in MODULES if not module.__doc__] == []


def test_without_a_stack_the_kernel_moves_the_pictures(monkeypatch):
    """ipywidgets 7, which some hosts still have, knows no Stack."""
    monkeypatch.delattr(widgets, "Stack")
    frames = [np.full((4, 4), level, np.uint8) for level in (0, 255)]
    slider, picture = frames_slider(frames, [0, 1], "t").children
    first = picture.value
    slider.index = 1
    assert picture.value != first
