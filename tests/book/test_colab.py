"""Colab: its list of packages, the notebooks that it and GitHub open, and what is proven there."""

import json
import sys
import warnings
from datetime import date
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from proofs import colab_compare, colab_notebooks, colab_runtime
from proofs.colab_runtime import public
from proofs.common import RESULTS, Failed
from scripts.notebooks.normal_form import STATE

ROOT = Path(__file__).resolve().parents[2]
LISTED = colab_runtime.read_list()
LARGEST = 10_000_000  # bytes; GitHub shows no larger file

# The list of packages ----------------------------------------------------------------------------

def test_the_list_says_where_it_comes_from():
    assert LISTED.source == ("https://github.com/googlecolab/backend-info/blob/"
                             f"{LISTED.commit}/pip-freeze.txt")
    year, month = map(int, LISTED.runtime.split("."))
    assert date(year, month, 1) <= date.fromisoformat(LISTED.read) <= date.today()
    assert colab_runtime.LIST.name == f"colab-{LISTED.runtime}.txt"
    assert LISTED.python.startswith("3.13.") and len(LISTED.packages) == 636
    old = {"ipython": "7.34.0", "ipywidgets": "7.7.1", "ipykernel": "6.17.1"}
    assert old.items() <= LISTED.packages.items()
    assert not {"jedi", "torchmetrics", "ddim-lib"} & set(LISTED.packages)


@pytest.mark.parametrize(("old", "new", "said"), [
    ("numpy==2.1.3", "numpy>=2.1.3", "numpy>=2.1.3"),
    ("numpy==2.1.3", "numpy==2.1.3\nNumPy==2.0.3", "twice: 'NumPy==2.0.3'"),
    ("# Read: 2026-11-28", "# Read: in autumn", "does not say read"),
    ("# Commit: a72", "# Commit: ad2", "not of commit ad2"),
])
def test_a_list_that_is_not_in_form_is_refused(tmp_path, old, new, said):
    text = colab_runtime.LIST.read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "list.txt").write_text(text.replace(old, new, 1))
    with pytest.raises(Failed, match=said):
        colab_runtime.read_list(tmp_path / "list.txt")


def refused(requirements: list[Requirement]) -> list[str]:
    """The requirements that a package of Colab's does not meet."""
    versions = LISTED.packages
    return [str(r) for r in requirements
            if r.name in versions and not r.specifier.contains(public(versions[r.name]))]


def test_the_library_accepts_what_colab_has():
    """A bound above one of these versions would replace the package in the reader's session."""
    requirements = colab_runtime.requirements()
    assert refused(requirements) == []
    assert refused([*requirements, Requirement("numpy>=2.2")]) == ["numpy>=2.2"]
    # ipywidgets asks for IPython, and that for jedi, which Colab leaves out: pip would add it and
    # replace parso.
    assert "ipywidgets" not in {r.name for r in requirements}
    # What a reader's first cell has to fetch: little, and nothing large.
    assert {r.name for r in requirements} - set(LISTED.packages) == {"torchmetrics"}
    project = colab_runtime.tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert SpecifierSet(project["requires-python"]).contains(LISTED.python)


def test_the_runtime_holds_what_the_notebooks_ask_for():
    assert {"torch", "ipywidgets", "matplotlib", "ipykernel", "pip"} <= set(
        colab_runtime.wanted(LISTED))


# What GitHub shows -------------------------------------------------------------------------------

def invalid(text: str) -> str:
    """Why GitHub would show "Invalid Notebook" in place of a notebook; empty if it shows it."""
    def no_constant(name):
        raise ValueError(f"{name} is no JSON")

    if len(text.encode()) > LARGEST:
        return "too large"
    try:
        notebook = json.loads(text, parse_constant=no_constant)
        for mime, widgets in notebook["metadata"].get("widgets", {}).items():
            if not isinstance(widgets.get("state"), dict):
                return f"metadata.widgets[{mime!r}] has no state"
        if not notebook["metadata"].get("kernelspec", {}).get("name"):
            return "metadata.kernelspec has no name"
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a missing id is no error to nbformat, to GitHub it is
            nbformat.validate(notebook)
    except (ValueError, KeyError, Warning, nbformat.ValidationError) as error:
        return str(error).splitlines()[0] or type(error).__name__
    return ""


def committed() -> list[Path]:
    """Every notebook of the checkout."""
    paths = [*(ROOT / "book").rglob("*.ipynb"), *(ROOT / "course").rglob("*.ipynb")]
    return sorted(path for path in paths if ".ipynb_checkpoints" not in path.parts)


def test_github_shows_every_notebook():
    paths = committed()
    assert len(paths) >= 17
    assert {str(p.relative_to(ROOT)): invalid(p.read_text("utf-8")) for p in paths
            if invalid(p.read_text("utf-8"))} == {}


SPOILED = {
    # As Colab saves it: the models stand where their state should.
    "no state": lambda nb: nb["metadata"].update(
        widgets={STATE: nb["metadata"]["widgets"][STATE]["state"]}),
    "no kernel": lambda nb: nb["metadata"].pop("kernelspec"),
    "no id": lambda nb: nb["cells"][1].pop("id"),
    "an id twice": lambda nb: nb["cells"][1].update(id=nb["cells"][0]["id"]),
    "ids in an old form": lambda nb: nb.update(nbformat_minor=4),
    "outputs of a text": lambda nb: nb["cells"][0].update(outputs=[]),
    "no count": lambda nb: nb["cells"][1].pop("execution_count"),
    "no JSON": lambda nb: nb["metadata"].update(seconds=float("nan")),
}


@pytest.mark.parametrize("fault", SPOILED)
def test_what_github_refuses_is_noticed(fault):
    notebook = json.loads((ROOT / "book" / "01_noising.ipynb").read_text(encoding="utf-8"))
    assert notebook["cells"][0]["cell_type"] == "markdown" and "widgets" in notebook["metadata"]
    SPOILED[fault](notebook)
    assert invalid(json.dumps(notebook))


# What is committed of it -------------------------------------------------------------------------

def test_the_record_is_of_every_notebook():
    path = RESULTS / "proof-colab.json"
    if not path.exists():
        pytest.skip("make proof ONLY=colab has not run here")
    told = json.loads(path.read_text(encoding="utf-8"))
    assert set(told["notebooks"]) == {task.name for task in colab_notebooks.tasks(ROOT)}
    assert told["runtime"]["name"] == LISTED.runtime
    assert told["runtime"]["packages"]["ipython"] == "7.34.0"
    assert {facts["library"]["commit"] for facts in told["notebooks"].values()} == {
        told["notebooks_of"]}
    passed = {task.name: sum(c.source.count("checks.ok(") for c in task.notebook.cells)
              for task in colab_notebooks.tasks(ROOT)}
    for name, facts in told["notebooks"].items():
        assert "answered" not in name or facts["ok"] == passed[name] > 0  # every check said so
        assert "torchmetrics" in facts["added"] and "changed" not in facts
        assert ("stops_at" in facts) == name.endswith("opened")
    assert len(told["unproven"]) >= 5


def test_a_workflow_runs_the_proof_against_the_published_tag():
    path = ROOT / ".github" / "workflows" / "colab.yml"
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    # YAML reads the key "on" as the boolean true.
    assert set(workflow[True]) == {"schedule", "workflow_dispatch"}
    job = workflow["jobs"]["list"]
    checkout, python, *_, last = job["steps"]
    # All of the history, since git fails on a part of it, and the tags.
    assert checkout["with"] == {"fetch-depth": 0}
    assert python["with"]["python-version"] == ".".join(LISTED.python.split(".")[:2])
    assert last["run"] == "make proof ONLY=colab" and last["env"] == {"COLAB_TAG": "latest"}


def test_a_notebook_brought_from_colab_is_compared(tmp_path, monkeypatch, capsys):
    chapter = committed()[0]
    mine = tmp_path / "run.ipynb"
    mine.write_text(chapter.read_text("utf-8").replace("from -1.0 to 1.0", "from -1.0 to 3.0"))
    monkeypatch.setattr(sys, "argv", ["colab_compare", str(mine), str(chapter)])
    colab_compare.main()
    assert "1 of 6 numbers, most of all 3; committed 1\n" in (said := capsys.readouterr().out)
    assert said.endswith(" cells with outputs compared, 1 differences\n")
