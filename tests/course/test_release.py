"""What students get: the sources without solutions, and nothing of them anywhere."""

import re
import shutil
import subprocess
import venv
import zipfile
from pathlib import Path

import course_sample
import nbformat
import pytest

from course import assignments, release
from course.assignments import marks
from course.edition import leaks
from proofs.colab_notebooks import Task, execute
from proofs.colab_runtime import Reader
from scripts import address
from scripts.notebooks.normal_form import read

ROOT = Path(__file__).resolve().parents[2]
NAMES = assignments.names()
PUBLIC = f"https://github.com/{address.configured(ROOT)}"
# What pip needs to build the library's wheel; a clone of the repository has it.
CLONED = ["ddim_lib", "data", "pyproject.toml", "README.md", "LICENSE"]

every_assignment = pytest.mark.parametrize("name", NAMES)


def released(name: str) -> Path:
    return ROOT / release.PLACE / f"{name}.ipynb"


def test_there_are_four_assignments():
    assert len(NAMES) == 4


def test_the_committed_notebooks_are_the_release():
    assert release.stale(release.make(), ROOT) == [], "run `make release`"


@every_assignment
def test_no_line_of_a_solution_or_hidden_test_is_in_a_release(name):
    source = read(ROOT / "course" / "source" / name / f"{name}.ipynb")
    hidden = [r for c in source.cells for r in assignments.regions(c.source, "HIDDEN TESTS")]
    solutions = [r for c in source.cells for r in assignments.regions(c.source, "SOLUTION")]
    assert solutions and hidden
    source = assignments.Assignment(name, source, source)
    told = release.telling(source)
    assert len(told[0]) >= len(solutions) / 2 and len(told[1]) >= len(hidden) / 2
    assert release.told(source, leaks.text_of(released(name))) == []


@every_assignment
def test_a_release_has_no_outputs_and_every_answer_is_open(name):
    for cell in read(released(name)).cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None
        mark = marks(cell)
        if mark.get("solution"):
            stub = "raise NotImplementedError" if cell.cell_type == "code" else "YOUR ANSWER HERE"
            assert stub in cell.source
            assert cell.metadata["deletable"] is False
        elif mark.get("locked"):
            assert (cell.metadata["deletable"], cell.metadata["editable"]) == (False, False)


@every_assignment
def test_every_graded_cell_names_itself_in_its_first_line(name):
    for cell in read(released(name)).cells:
        if marks(cell).get("grade") or marks(cell).get("solution"):
            assert assignments.named(cell.source) == marks(cell)["grade_id"]


def test_the_published_site_knows_nothing_of_the_sources():
    config = (ROOT / "_config.yml").read_text()
    assert "only_build_toc_files: true" in config
    assert not re.search(r"file: .*(course/|assignments/)", (ROOT / "_toc.yml").read_text())
    for path in (ROOT / "book" / "_assets").rglob("*"):
        assert path.suffix != ".ipynb"


@pytest.fixture
def course(tmp_path):
    return course_sample.course(tmp_path)


def test_the_same_source_gives_the_same_bytes(course, tmp_path):
    first, second = release.make(course), release.make(course)
    assert first == second
    paths = release.write(first, tmp_path / "one") + release.write(second, tmp_path / "two")
    half = len(paths) // 2
    for one, two in zip(paths[:half], paths[half:], strict=True):
        assert one.read_bytes() == two.read_bytes()
    with zipfile.ZipFile(tmp_path / "one" / release.ZIP) as archive:
        assert archive.namelist() == ["sample.ipynb"]


def test_a_release_that_is_not_written_anew_is_noticed(course, tmp_path):
    made = release.make(course)
    release.write(made, tmp_path)
    assert release.stale(made, tmp_path) == []
    path = tmp_path / release.PLACE / "sample.ipynb"
    path.write_text(path.read_text().replace("A sample", "The sample"))
    (tmp_path / release.PLACE / "old.ipynb").write_text("{}")
    assert release.stale(made, tmp_path) == ["old", "sample"]
    release.write(made, tmp_path)
    assert release.stale(made, tmp_path) == []


def spoiled(tmp_path, change) -> str:
    """What the release says of the sample after `change`."""
    notebook = course_sample.source()
    change({marks(c).get("grade_id", i): c for i, c in enumerate(notebook.cells)})
    with pytest.raises(assignments.Malformed) as error:
        release.make(course_sample.course(tmp_path, notebook))
    return str(error.value)


def replace(name, old, new):
    def change(cells):
        assert old in cells[name].source
        cells[name].source = cells[name].source.replace(old, new)

    return change


SPOILED = {
    "a solution in a comment of a given cell": (
        replace("setup", "import math", "import math  # return square(x) * x + 0"),
        "a solution's line: returnsquare(x)*x+0",
    ),
    "a hidden test's message in a text": (
        replace(3, "## Squares", '## Squares\nassert square(-3) == 9, "a negative number has a'
                ' positive square"'),
        "a hidden test's line: assertsquare(-3)==9",
    ),
    "no badge": (replace(0, "colab.research", "lab.research"), "has no badge"),
    "another install cell": (replace(1, "ddim-lib[train]", "ddim-lib"), "installs the library"),
    "a name that is not the cell's": (
        replace("cube", "# question: cube", "# question: cubes"), "its first line names 'cubes'"
    ),
    "a test without question": (
        lambda cells: cells["test-cube"].metadata.nbgrader.update(grade_id="test-x") or
        replace("test-cube", "# test: cube", "# test: x")(cells), "'test-x' tests no question"
    ),
    "a rubric with too few points": (
        replace("words", "RUBRIC 2", "RUBRIC 1"), "adds up to 2 points, and the cell has 3"
    ),
    "no solution": (
        replace("total", "### BEGIN SOLUTION", ""), "nothing stands between BEGIN and END"
    ),
    "a name twice": (
        lambda cells: cells["pack"].metadata.nbgrader.update(grade_id="setup"),
        "another cell has this grade_id",
    ),
}


@pytest.mark.parametrize("fault", SPOILED)
def test_a_source_that_would_tell_or_could_not_be_graded_is_refused(tmp_path, fault):
    change, said = SPOILED[fault]
    assert said in spoiled(tmp_path, change)


def large(folder: str, names: list[str]) -> set[str]:
    """Weights of 13 to 18 MB, which take seconds to pack; no assignment's first cells need them."""
    sizes = {name: (Path(folder) / name).stat().st_size for name in names}
    return {name for name, size in sizes.items() if size > 5_000_000} | {"__pycache__"}


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """As on Colab: Python and its packages, and no library until a notebook's first cell; at the
    public address git finds what the library is built from."""
    folder = tmp_path_factory.mktemp("colab")
    repository = folder / "clone"
    repository.mkdir()
    for name in CLONED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, repository / name, ignore=large)
        else:
            shutil.copyfile(ROOT / name, repository / name)
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        who = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", *who, *command], cwd=repository, check=True, capture_output=True)
    venv.create(folder / "runtime", with_pip=False, symlinks=True)
    (site,) = (folder / "runtime" / "lib").glob("python*/site-packages")
    for path in Path(nbformat.__file__).resolve().parent.parent.iterdir():
        if not path.name.lower().startswith(("ddim_lib", "_ddim_lib", "_editable")):
            (site / path.name).symlink_to(path)
    made = Reader(folder / "runtime" / "bin" / "python", folder / "reader", folder,
                  (PUBLIC, repository))
    # No network: what builds the wheel is taken from the packages that are there.
    made.environment |= {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "false",
                         "OMP_NUM_THREADS": "1"}
    return made


def test_every_assignment_begins_with_the_same_installing_cell():
    """So that the reader above, whose runtime the first of them fills, shows it for all."""
    first = [next(c for c in read(released(n)).cells if c.cell_type == "code") for n in NAMES]
    assert len({cell.source for cell in first}) == 1 and "%pip install" in first[0].source


@pytest.mark.slow
@pytest.mark.parametrize("name", ["noise", "ddim_against_ddpm"])  # the smallest, and the largest
def test_a_release_alone_in_a_folder_installs_and_runs_to_the_first_answer(name, reader):
    notebook = read(released(name))
    facts = execute(Task(name, notebook, opened=True), reader)
    answers = [marks(c)["grade_id"] for c in notebook.cells if marks(c).get("solution")]
    assert facts["stops_at"] == answers[0]
    assert reader.library()["url"] == PUBLIC
