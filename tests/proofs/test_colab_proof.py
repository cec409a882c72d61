"""The proof of the notebooks on Colab's packages: its judgement, and small notebooks run by it.

`make proof ONLY=colab` runs every notebook of the book; what is broken here on purpose must fail.
"""

import copy
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import nbformat
import pytest

from proofs import colab, colab_compare, colab_notebooks, colab_runtime
from proofs.colab_notebooks import Task
from proofs.colab_runtime import Listed, Reader
from proofs.common import Failed
from scripts import address
from scripts.notebooks.normal_form import STATE, VIEW

ROOT = Path(__file__).resolve().parents[2]
WHO = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
REPOSITORY = f"https://github.com/{address.configured(ROOT)}"
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="environments as on Linux")


# The proof's judgement ---------------------------------------------------------------------------

HAD = {"numpy": "2.0.2", "parso": "0.8.5"}
SOURCE = {"url": REPOSITORY, "commit": "a" * 40}
SMALL = Listed("2026.08", "3.13.15", "2026-11-28", "", "", {**HAD, "tqdm": "4.67.1"})


def judged(before=HAD, added=(), library=SOURCE, hosts=(), commit="a" * 40) -> dict:
    after = {**HAD, "ddim-lib": "0.1.0", **dict(added)}
    return colab.judge(before, after, library, list(hosts), SMALL, commit)


def test_an_install_that_only_adds_is_let_pass():
    done = judged(added={"torchmetrics": "1.9.0"})
    assert done["added"] == {"ddim-lib": "0.1.0", "torchmetrics": "1.9.0"}


@pytest.mark.parametrize(("said", "settings"), [
    ("numpy.*2.0.2 to 2.4.0", {"added": {"numpy": "2.4.0"}}),
    ("parso.*0.8.5 to 0.8.7", {"added": {"jedi": "0.20.0", "parso": "0.8.7"}}),
    ("was there before", {"before": {**HAD, "ddim-lib": "0.1.0"}}),
    ("Colab has tqdm", {"added": {"tqdm": "4.67.1"}}),
    ("not " + "a" * 40, {"library": {**SOURCE, "commit": "b" * 40}}),
    ("asked for example.org", {"hosts": ["example.org"]}),
])
def test_what_would_hurt_a_reader_fails(said, settings):
    with pytest.raises(Failed, match=said):
        judged(**settings)


def test_an_assignment_stops_at_its_first_question_and_nowhere_else():
    def cells(*failed):
        made = [nbformat.v4.new_code_cell() for _ in range(5)]
        made[2].metadata["nbgrader"] = {"solution": True, "grade_id": "first"}
        for i in failed:
            made[i].outputs = [nbformat.v4.new_output("error", ename="E", evalue="")]
        return made

    blank = "NotImplementedError: your answer here"
    assert colab_notebooks.stops(cells(3), blank) == "first"
    for made, fault in [(cells(1), blank), (cells(4), blank), (cells(3), "KeyError: 3"),
                        (cells(), None)]:
        with pytest.raises(Failed, match="first question"):
            colab_notebooks.stops(made, fault)


def test_every_notebook_of_the_book_is_run():
    found = colab_notebooks.tasks(ROOT)
    stems = {path.stem for path in (ROOT / "book").rglob("*.ipynb")}
    assert {task.name.split(",")[0] for task in found} == stems
    assert sum(task.opened for task in found) == 4 == sum("answered" in t.name for t in found)
    for task in found:
        sources = [c.source for c in task.notebook.cells if c.cell_type == "code"]
        assert f'"{address.requirement(ROOT)}"' in sources[0]
        if not task.chapter:
            blank = any("raise NotImplementedError" in source for source in sources)
            assert blank == task.opened
            assert not any("SOLUTION" in source for source in sources)


# What differs from what is committed -------------------------------------------------------------

@pytest.mark.parametrize(("new", "old", "said"), [
    ("loss 0.12", "loss 0.12", None),
    ("3.1 s (measured now)", "12 s (measured now)", None),
    ("a  1.0\nb 10.0", "a 1.0\nb  10.0", None),
    ("loss 0.12, 1,000 steps", "loss 0.15, 1,000 steps", "1 of 2 numbers, most of all 0.12"),
    ("-0.5 and 3e-7", "0.5 and 4e-7", "2 of 2 numbers, most of all -0.5; committed 0.5"),
    ("equal", "not equal", "other words"),
])
def test_texts_are_compared_by_their_numbers(new, old, said):
    told = colab_compare.text_difference(new, old)
    assert told is None if said is None else said in told


def view(key: str):
    data = {VIEW: {"model_id": key}, "text/plain": "..."}
    return nbformat.v4.new_output("display_data", data=data)


def test_bars_are_left_out_and_the_rest_is_compared():
    first = nbformat.v4.new_code_cell("%pip install x")
    cell = nbformat.v4.new_code_cell("f()", outputs=[
        view("box"), nbformat.v4.new_output("stream", name="stderr", text="warning"),
        nbformat.v4.new_output("stream", name="stdout", text="loss 0.12\n")])
    notebook = nbformat.v4.new_notebook(cells=[first, cell])
    notebook.metadata.widgets = {STATE: {"state": {
        "box": {"model_name": "HBoxModel", "state": {"children": ["IPY_MODEL_bar"]}},
        "bar": {"model_name": "FloatProgressModel", "state": {}},
        "slider": {"model_name": "VBoxModel", "state": {"children": []}}}}}
    plain = copy.deepcopy(notebook)
    plain.cells[1].outputs = plain.cells[1].outputs[2:]
    assert colab_compare.differences(notebook, plain) == {"compared": 1, "differ": []}
    plain.cells[1].outputs[0].text = "loss 0.13\n"
    (other,) = colab_compare.differences(notebook, plain)["differ"]
    assert other["cell"] == 2 and "0.12; committed 0.13" in other["what"]
    notebook.cells[1].outputs.append(view("slider"))
    assert colab_compare.widgets(notebook) == ["VBoxModel"]
    assert "other kinds" in colab_compare.differences(notebook, plain)["differ"][0]["what"]


# The proof itself, on small notebooks ------------------------------------------------------------

LIBRARY = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "ddim-lib"
version = "0.1.0"
[tool.hatch.build.targets.wheel]
only-include = ["ddim_lib.py"]
"""
INSTALL = f"""\
try:
    import ddim_lib
except ModuleNotFoundError:
    %pip install -q "ddim-lib @ git+{REPOSITORY}"
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A runtime with one package of Colab's, and a clone that holds a small library."""
    folder = tmp_path_factory.mktemp("colab")
    venv.create(folder / "runtime", with_pip=False, symlinks=True)
    runtime = folder / "runtime" / "bin" / "python"
    (site,) = (folder / "runtime" / "lib").glob("python*/site-packages")
    for path in Path(nbformat.__file__).resolve().parent.parent.iterdir():
        if not path.name.lower().startswith(("ddim_lib", "_ddim_lib", "_editable")):
            (site / path.name).symlink_to(path)
    metadata = "Metadata-Version: 2.1\nName: colabs-own\nVersion: {}\n"
    here, newer = (f"colabs_own-{version}.dist-info" for version in ("1.0", "2.0"))
    (site / here).mkdir()
    (site / here / "METADATA").write_text(metadata.format("1.0"))
    with zipfile.ZipFile(folder / "colabs_own-2.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{newer}/METADATA", metadata.format("2.0"))
        wheel.writestr(f"{newer}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"
                       "Tag: py3-none-any\n")
        wheel.writestr(f"{newer}/RECORD", "")
    clone = folder / "clone"
    clone.mkdir()
    (clone / "pyproject.toml").write_text(LIBRARY)
    (clone / "ddim_lib.py").write_text("SQUARE = 49\n")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        subprocess.run(["git", *WHO, *command], cwd=clone, check=True, capture_output=True)
    return runtime, clone


@pytest.fixture
def reader(small, tmp_path):
    runtime, clone = small
    made = Reader(runtime, tmp_path / "reader", tmp_path, (REPOSITORY, clone))
    # No network here: the wheel is built with the packages that are there.
    made.environment |= {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "false",
                         "PIP_FIND_LINKS": str(clone.parent)}
    return made


def run(reader, small, *sources: str) -> dict:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    commit = colab.git("rev-parse", "HEAD", folder=small[1])
    task = Task("small", nbformat.v4.new_notebook(cells=cells))
    return colab.prove_one(task, reader, SMALL, commit)


@on_linux
@pytest.mark.slow
def test_a_notebook_installs_the_library_from_the_public_address(reader, small):
    facts = run(reader, small, INSTALL, "import os, ddim_lib\nassert os.listdir() == []\n"
                "print('ok: ', ddim_lib.SQUARE, open('left', 'w').write('x'))")
    assert facts["added"] == {"ddim-lib": "0.1.0"}
    assert facts["library"]["url"] == REPOSITORY
    assert facts["files"] == ["left"] and facts["ok"] == 1 and "stderr" not in facts


@on_linux
@pytest.mark.slow
@pytest.mark.parametrize(("said", "sources"), [
    ("ZeroDivisionError", [INSTALL, "import ddim_lib", "1 / 0"]),
    ("installing: ERROR", [INSTALL.replace("@ git", "[") + "\n", "print('on')"]),
    ("colabs-own': '1.0 to 2.0", [INSTALL + "%pip install -q colabs-own==2.0", "1"]),
    ("did not install", ["print('nothing is installed')", "2"]),
])
def test_the_proof_fails_where_a_reader_would(reader, small, said, sources):
    with pytest.raises(Failed, match=said):
        run(reader, small, *sources)


@on_linux
def test_another_interpreter_can_stand_in_for_colabs(small, tmp_path, monkeypatch):
    """Where a GPU is and no network, say."""
    listed = colab_runtime.as_it_is(small[0])
    assert listed.packages["colabs-own"] == "1.0" and "nbformat" in listed.packages
    facts = {"python": listed.python, "packages": {"torch": listed.packages["torch"]}}
    assert "Colab's packages: these are another interpreter's." in colab.unproven(
        listed, facts, None, True)
    with pytest.raises(Failed, match="without the library"):
        colab_runtime.as_it_is(Path(sys.executable))
    (tmp_path / "torch.py").write_text("class cuda:\n    is_available = lambda: False\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(Failed, match="PyTorch sees none"):
        colab_runtime.gpu(small[0])


@on_linux
def test_no_process_but_pip_reaches_the_network(reader):
    def ask(host: str, *flags: str) -> str:
        code = f"import socket\nsocket.create_connection(({host!r}, 9), timeout=0.1)"
        return subprocess.run([reader.python, *flags, "-c", code], env=reader.environment,
                              capture_output=True, text=True).stderr

    assert "no network here: this process asked for 192.0.2.1" in ask("192.0.2.1")
    assert "no network" not in ask("127.0.0.1")
    assert reader.hosts() == ["192.0.2.1"]
    pip = [reader.python, "-m", "pip", "download", "-q", "--retries", "0", "--index-url",
           "http://127.0.0.1:9/", "--isolated", "nothing-by-that-name"]
    done = subprocess.run(pip, env=reader.environment, capture_output=True, text=True)
    assert done.returncode and "no network" not in done.stderr


def test_a_shallow_checkout_is_refused(tmp_path, monkeypatch):
    """git would call itself without end."""
    place = tmp_path / "checkout"
    place.mkdir()
    monkeypatch.setattr(colab, "ROOT", place)
    monkeypatch.setattr(colab.git, "__kwdefaults__", {"folder": place})
    colab.git("init", "-q")
    colab.git(*WHO, "commit", "-q", "--allow-empty", "-m", "one")
    commit = colab.git("rev-parse", "HEAD")
    made = colab.clone(tmp_path / "clone", None)
    assert colab.git("rev-parse", "HEAD", folder=made) == commit
    with pytest.raises(Failed, match="nothing is released"):
        colab.clone(tmp_path / "tagged", "latest")
    for tag in ("v0.9.0", "v0.10.0", "draft"):
        colab.git(*WHO, "commit", "-q", "--allow-empty", "-m", tag)
        colab.git("tag", tag)
    made = colab.clone(tmp_path / "tagged", "latest")
    assert colab.git("log", "-1", "--format=%s", folder=made) == "v0.10.0"
    (place / ".git" / "shallow").write_text(f"{commit}\n")
    with pytest.raises(Failed, match="whole history"):
        colab.clone(tmp_path / "other", None)
