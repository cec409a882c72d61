"""The chapters on a device that is not there: the record of the whole walk, and how it finds what
stays behind; the cells that want a GPU, with few pictures."""

import json
import subprocess
import sys
from dataclasses import replace

import nbformat
import pytest
import torch
from test_notebooks import plain_code

from ddim_lib import datasets, metrics, plotting
from ddim_lib.presets import PRESETS
from proofs import device, elsewhere
from proofs.common import RESULTS, ROOT
from scripts.notebooks import execution
from scripts.notebooks.normal_form import read

CHAPTERS = {path.stem[:2]: path for path in execution.chapters()}


def test_every_chapter_was_walked_as_it_is():
    told = json.loads((RESULTS / "proof-device.json").read_text())
    assert {name: facts["code"] for name, facts in told["chapters"].items()} == {
        path.stem: device.digest(path) for path in CHAPTERS.values()}
    used = {name for name, facts in told["chapters"].items() if facts["tensors_there"]}
    # In the others all that is there is the network.
    assert used >= {CHAPTERS[number].stem for number in ("03", "04", "05", "07", "11")}


MOVED = "x = torch.ones(2, device=ddim_lib.device()) + 1\nprint('sum', x.sum().item())"
FAULTS = {
    MOVED: None,
    MOVED.replace("+ 1", "+ torch.ones(2)"): "code cell 2: Refused",
    MOVED.replace("+ 1", "+ 2"): "prints\nsum 6.0\ncommitted is\nsum 4.0",
    MOVED + "\nprint(": "code cell 2: ",
}


@pytest.mark.parametrize("code", FAULTS)
def test_a_chapter_that_leaves_a_tensor_behind_is_found(code, tmp_path):
    cell = nbformat.v4.new_code_cell(
        code, outputs=[nbformat.v4.new_output("stream", name="stdout", text="sum 4.0\n")])
    setup = nbformat.v4.new_code_cell("import torch\n\nimport ddim_lib")
    path = tmp_path / "01_small.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[setup, cell]), path)
    # IPython's shell is one for the whole process, and changes it.
    walk = ("import sys; from pathlib import Path; from proofs import device\n"
            "try: print(device.walk(Path(sys.argv[1]))['tensors_there'])\n"
            "except device.Failed as error: print(error)")
    done = subprocess.run([sys.executable, "-c", walk, path], cwd=ROOT, text=True,
                          capture_output=True, check=True)
    assert (FAULTS[code] or "1\n") in done.stdout


# Cells that want a GPU ----------------------------------------------------------------------------

# What stands before them that they use, beside the chapter's first cell.
BEFORE = {"03": [], "05": ["distance = FrechetDistance("], "06": ["etas = ["],
          "07": ["networks = {", "def line("], "10": []}


def wanting(chapter):
    return [cell for cell in device.cells(CHAPTERS[chapter]) if device.wants_gpu(cell)]


def test_these_are_all():
    assert {chapter: len(wanting(chapter)) for chapter in CHAPTERS if wanting(chapter)} == \
        dict.fromkeys(BEFORE, 1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
@pytest.mark.parametrize("chapter", BEFORE)
def test_a_cell_that_wants_a_gpu_says_so_and_runs_there(chapter, monkeypatch, capsys):
    small = PRESETS["mnist-paper"]
    small = replace(small, unet=PRESETS["digits"].unet,
                    training=replace(small.training, steps=2, batch_size=2))
    monkeypatch.setitem(PRESETS, "mnist-paper", small)
    pictures = datasets.load_uint8("digits")
    monkeypatch.setattr(datasets, "load_uint8", lambda *name, **options: pictures)
    drawn = []
    monkeypatch.setattr(plotting, "show", lambda x, **options: drawn.append(len(x)))
    monkeypatch.setattr(plotting, "curves", lambda *lines, **options: None)
    judged = []
    distance, judge = metrics.FrechetDistance.__call__, metrics.judge
    monkeypatch.setattr(metrics.FrechetDistance, "__call__",
                        lambda self, x: judged.append(len(x)) or distance(self, x))
    monkeypatch.setattr(metrics, "judge", lambda x, *rest: judged.append(len(x)) or judge(x, *rest))
    code = [cell.source for cell in device.cells(CHAPTERS[chapter])]
    before = [code[1], *(c for begin in BEFORE[chapter] for c in code if begin in c)]
    assert len(before) == 1 + len(BEFORE[chapter])
    cell, = wanting(chapter)
    source = cell.source
    few = source.replace("range(5000)", "range(3)").replace("range(256)", "range(2)") \
        .replace("steps=50", "steps=2")
    with elsewhere.gpu(monkeypatch) as there:
        space = {"device": there}
        for part in before:
            exec(plain_code(part), space)
        capsys.readouterr()
        judged.clear()
        drawn.clear()
        exec(few, space)
        assert "no GPU here" not in capsys.readouterr().out
    space["device"] = torch.device("cpu")
    exec(source, space)
    assert capsys.readouterr().out == device.printed(cell["outputs"]) != ""
    wanted = {"03": ([16], []), "05": ([], [3] * 4), "06": ([], [3] * 5 + [3] * 15),
              "07": ([], [3] * 4 + [3] * 12), "10": ([2, 2], [])}[chapter]
    assert drawn == wanted[0] and sorted(judged) == sorted(wanted[1])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "there"), [("learning_the_noise", {"model", "average"}),
                                             ("ddim_against_ddpm", {"model", "artist"})])
def test_an_assignment_s_own_runs_follow_the_device_and_colab_is_asked_for_one(name, there,
                                                                               monkeypatch):
    """With the solutions, as a grader runs them: each cell, those that check answers too."""
    monkeypatch.setenv("DDIM_GRADING", "1")
    monkeypatch.setattr(plotting, "show", lambda x, **options: None)
    monkeypatch.setattr(plotting, "curves", lambda *lines, **options: None)
    source = ROOT / "course" / "source" / name / f"{name}.ipynb"
    space = {}
    with elsewhere.gpu(monkeypatch):
        for cell in device.cells(source):
            if "%pip" not in cell.source and "checks.pack(" not in cell.source:
                exec(cell.source, space)
    networks = {name: value for name, value in space.items()
                if isinstance(value, torch.nn.Module) and not name.startswith("_")}
    assert there <= {name for name, network in networks.items()
                     if all(isinstance(p, elsewhere.Elsewhere) for p in network.parameters())}
    released = read(ROOT / "book" / "assignments" / source.name)
    assert released.metadata.accelerator == "GPU" and released.metadata.colab.gpuType == "T4"
