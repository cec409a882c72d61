"""The zips for Gradescope, in a stand-in for its container: setup.sh, run_autograder, results.json.

Root grades twice: where bubblewrap works, and where it may create no namespaces, as in most
containers; another user grades where it works. torch and the other packages come from this
environment, the library from the zip.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import course_sample
import nbformat
import pytest
import submissions
from click.testing import CliRunner
from test_planted import submission as reference

from course import assignments
from course.grader import points
from course.grader.gradescope import run
from course.grader.gradescope.__main__ import main, write
from course.grader.sandbox import cage
from proofs.odd_submissions import table

ROOT = Path(__file__).resolve().parents[2]
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
PACKAGES = [path for path in sys.path if path.endswith("-packages")]
BWRAP = shutil.which("bwrap")  # another one may stand before it in the stand-in's PATH
LEFT = "ddim-gradescope-test-left-running"
LIMITS = {"cell": 5, "total": 60, "memory": 2**30}
FORBIDDEN = "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n"
pytestmark = pytest.mark.slow

# What it could read and do comes back in the message of the failed test.
HOSTILE = '''# question: cube
def cube(x):
    import json, os, subprocess, sys
    def tried(what):
        try:
            return bool(what() or True)
        except (OSError, ValueError):
            return False
    got = {{
        "source": tried(lambda: os.listdir("{place}/source")),
        "tests": tried(lambda: open("{place}/source/course/source/sample/sample.ipynb").read()),
        "result": tried(lambda: open("{place}/results/results.json", "w").write("{{}}")),
        "link": tried(lambda: os.symlink("/etc/passwd", "{place}/results/results.json.new")),
        "earlier": tried(lambda: open("{place}/submission_metadata.json").read()),
        "root": os.getuid() == 0,
        "grader": any(tried(lambda: open(f"/proc/{{p}}/environ").read().index("AUTOGRADER"))
                      for p in os.listdir("/proc") if p.isdigit()),
    }}
    if os.fork() == 0:  # a process whose parent ends at once belongs to nobody
        os.setsid()
        subprocess.Popen([sys.executable, "-c", {forger!r}, "{left}"])
        os._exit(0)
    raise ValueError(json.dumps(got))
'''

FORGER = """
import time
while True:
    time.sleep(0.05)
    try:
        open("{place}/results/results.json", "w").write('{{"score": 99}}')
    except OSError:
        pass
"""


def closed(path: str) -> Path | None:
    """The outermost folder on the way to `path` that only its owner may enter."""
    way = [*reversed(Path(path).resolve().parents), Path(path).resolve()]
    return next((folder for folder in way if not folder.stat().st_mode & 0o001), None)


class StandIn:
    """A folder like /autograder, from an assignment's zip; where `forbid`, bwrap fails in it."""

    def __init__(self, archive: Path, forbid: bool = False):
        # Not below pytest's folder, which no other user may enter.
        self.place = Path(tempfile.mkdtemp(prefix="gs-"))
        self.place.chmod(0o755)
        self.forbid = forbid
        for name in ("bin", "forbidden"):
            (self.place / name).mkdir()
        (self.place / "forbidden" / "bwrap").write_text(FORBIDDEN)
        (self.place / "forbidden" / "bwrap").chmod(0o755)
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(self.place / "source")
        shutil.copy(self.place / "source" / "run_autograder", self.place / "run_autograder")
        (self.place / "run_autograder").chmod(0o755)
        (self.place / "results").mkdir(mode=0o777)
        (self.place / "results").chmod(0o777)
        (self.place / "submission").mkdir()
        users = [{"email": "ada@example.org", "id": 7, "name": "Ada"}]
        (self.place / "submission_metadata.json").write_text(json.dumps({"id": 1, "users": users}))

    def command(self, *command: str) -> subprocess.CompletedProcess:
        first = [self.place / "forbidden"] * self.forbid + [self.place / "bin"]
        environment = os.environ | {
            "AUTOGRADER": str(self.place), "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0",
            "PATH": os.pathsep.join([*map(str, first), os.environ["PATH"]]),
        }
        if AS_ROOT:  # the other user can reach Python and its packages, as in an image
            around = []
            for path in (sys.base_prefix, sys.prefix, *PACKAGES):
                if place := closed(path):
                    between = [p for p in Path(path).parents if p.is_relative_to(place)]
                    around += ["--tmpfs", place] if place not in around else []
                    around += [x for p in reversed(between) for x in ("--dir", p)]
                    around += ["--bind", path, path]
            command = (BWRAP, "--dev-bind", "/", "/", *map(str, around), "--", *command)
        return subprocess.run(
            command, cwd=self.place, env=environment, capture_output=True, text=True, timeout=300
        )

    def setup(self) -> None:
        """Run setup.sh; the environment that it makes sees this one's packages."""
        stub = self.place / "bin" / "python3"
        packages = "\\n".join(PACKAGES)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        stub.write_text(
            f'#!/bin/sh\nif [ "$1 $2" = "-m venv" ]; then {sys.executable} -m venv --without-pip '
            f'"$3"\nprintf "{packages}\\n" > "$3"/lib/{version}/site-packages/stand-in.pth\n'
            f'else exec {sys.executable} "$@"; fi\n'
        )
        stub.chmod(0o755)
        done = self.command("bash", "source/setup.sh")
        assert done.returncode == 0, done.stdout + done.stderr

    def grade(self, **files: bytes) -> tuple[dict, str]:
        """results.json, and what only the instructor sees."""
        shutil.rmtree(self.place / "submission", ignore_errors=True)
        for name, data in files.items():
            path = self.place / "submission" / f"{name.replace('__in__', '/')}.ipynb"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        done = self.command("./run_autograder")
        content = json.loads((self.place / "results" / "results.json").read_text())
        return content, done.stdout + done.stderr


def scores(content: dict) -> dict[str, float]:
    return {test["name"]: test["score"] for test in content["tests"]}


@pytest.fixture(scope="module")
def zips(tmp_path_factory):
    """The zips of the small course and of the book's own, by name."""
    folder = tmp_path_factory.mktemp("zips")
    course = course_sample.course(folder)
    for place, options in ((folder / "a", ["--course", str(course)]), (folder / "b", [])):
        done = CliRunner().invoke(main, ["--out", str(place), *options])
        assert done.exit_code == 0, done.output
    return {path.stem: path for path in folder.glob("*/*.zip")} | {"course": course}


@pytest.fixture(scope="module")
def maker(zips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return submissions.Maker(assignments.load("sample", folder, zips["course"]))


@pytest.fixture(scope="module")
def container(zips):
    """A stand-in in which setup.sh has run, and bwrap works."""
    if submissions.WITHOUT:
        pytest.skip(submissions.WITHOUT)
    made = StandIn(zips["sample"])
    try:
        made.setup()
        settings = made.place / "source" / "gradescope.json"
        settings.write_text(json.dumps(json.loads(settings.read_text()) | {"limits": LIMITS}))
        yield made
    finally:
        shutil.rmtree(made.place)


@pytest.fixture(params=[False, True], ids=["cage", "own user"])
def stand_in(container, request, monkeypatch):
    if request.param and not AS_ROOT:
        pytest.skip("only root has another user run submissions")
    monkeypatch.setattr(container, "forbid", request.param)
    return container


def text(notebook) -> bytes:
    return nbformat.writes(notebook).encode()


def test_the_zips_have_the_documented_files_in_their_root(zips):
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    torch = next(line for line in lock if line.startswith("torch=="))
    for name in assignments.names():
        with zipfile.ZipFile(zips[name]) as archive:
            assert {"setup.sh", "run_autograder"} <= set(archive.namelist())
            assert archive.read("run_autograder").startswith(b"#!")
            assert archive.getinfo("run_autograder").external_attr >> 16 == 0o100755
            assert f"course/source/{name}/{name}.ipynb" in archive.namelist()
            sources = [n for n in archive.namelist() if n.startswith("course/source/")]
            assert len(sources) == 1  # and no other assignment's
            pinned = archive.read("setup.sh").decode()
        assert f'"{torch}"' in pinned and "{" + "torch}" not in pinned


def test_the_same_files_give_the_same_zip(zips, tmp_path):
    again = write("noise", tmp_path, assignments.COURSE, "after_due_date")
    assert again.read_bytes() == zips["noise"].read_bytes()


@pytest.fixture(scope="module")
def graded(zips, maker, tmp_path_factory):
    """Four submissions by name, and what `make grade` says of them."""
    folder, every = tmp_path_factory.mktemp("graded"), maker.broken() | maker.hostile()
    found = {name: every[name] for name in ("right", "blank", "raises", "answer deleted")}
    for name, notebook in found.items():
        submissions.write(notebook, folder / "inbox" / name / "sample.ipynb")
    done = submissions.command(folder / "inbox", "--out", folder / "out", "--course",
                               zips["course"])
    assert done.exit_code == 0, done.output
    return found, table(folder / "out" / "points.csv")


def test_results_are_those_of_make_grade(stand_in, graded):
    found, rows = graded
    for name, notebook in found.items():
        content, said = stand_in.grade(my__in__work=text(notebook))
        own = [row for row in rows if row["student"] == name]
        tested = {row["question"]: float(row["points"]) for row in own
                  if row["status"] in {points.TESTED, points.MISSING}}
        assert len(tested) == 3 and scores(content) == tested
        assert [t["max_score"] for t in content["tests"]] == [2, 3, 2]
        by_name = {row["question"]: row["note"] for row in own}
        assert all(test["output"] == by_name[test["name"]] for test in content["tests"])
        assert {test["visibility"] for test in content["tests"]} == {"after_due_date"}
        assert content["stdout_visibility"] == "hidden" and "score" not in content
        written = "you left it blank" if name == "blank" else "graded by hand"
        assert f"words (3 points): {written}; no part of this score" in content["output"]
        assert "Handed in by Ada (ada@example.org)" in said
        assert (run.OWN_USER if stand_in.forbid else cage.CAGED) in said


def test_a_hostile_submission_reads_no_test_and_writes_no_result(stand_in, maker):
    source = HOSTILE.format(
        place=stand_in.place, left=LEFT, forger=FORGER.format(place=stand_in.place)
    )
    content, _ = stand_in.grade(cube=text(maker.answered(cube=source)))
    (cube,) = [test for test in content["tests"] if test["name"] == "cube"]
    assert cube["output"].startswith("ValueError: {"), cube["output"]
    got = cube["output"].split("ValueError: ")[1].split("}")[0] + "}"
    assert set(json.loads(got).values()) == {False}
    assert scores(content) == {"square": 2, "cube": 0, "total": 2}
    time.sleep(0.3)
    assert submissions.running(LEFT) == []
    assert json.loads((stand_in.place / "results" / "results.json").read_text()) == content


def test_what_is_no_notebook_is_named(container):
    for files, why in (({"a": b"{"}, "not a notebook"), ({}, "no notebook"),
                       ({"a": text(nbformat.v4.new_notebook(cells=[
                           nbformat.v4.new_markdown_cell("hello")]))}, "no question")):
        content, _ = container.grade(**files)
        assert content["score"] == 0 and why in content["output"]
        assert content["output"].startswith("Not graded: ")


def test_a_grader_that_fails_says_so(container, maker):
    source = container.place / "source" / "course" / "source" / "sample" / "sample.ipynb"
    kept = source.read_bytes()
    try:
        source.write_bytes(b"{}")
        content, said = container.grade(a=text(maker.answered()))
    finally:
        source.write_bytes(kept)
    assert content["score"] == 0 and content["output"] == run.FAILED
    (why,) = content["tests"]
    assert (why["visibility"], why["score"]) == ("hidden", 0) and "Traceback" in said
    python = container.place / "venv" / "bin" / "python"
    python.rename(python.with_name("away"))
    try:
        content, said = container.grade(a=text(maker.answered()))
    finally:
        python.with_name("away").rename(python)
    assert content["score"] == 0 and content["output"] == run.FAILED
    assert "Did setup.sh run to its end" in said


def test_nothing_is_graded_where_the_tests_would_be_open(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run.protection(tmp_path, root=True) == (None, run.USER)
    with pytest.raises(run.Unsafe, match="could read the tests.*there is no bwrap"):
        run.protection(tmp_path, root=False)


def test_a_reference_of_the_book_gets_all_points_there(zips, tmp_path):
    if submissions.WITHOUT:
        pytest.skip(submissions.WITHOUT)
    made = StandIn(zips["noise"], forbid=AS_ROOT)
    try:
        made.setup()
        noise = assignments.load("noise", tmp_path)
        content, _ = made.grade(noise__ada=text(reference(noise, {})))
        found = subprocess.run([made.place / "venv/bin/python", "-c",
                                "import ddim_lib; print(ddim_lib.__file__)"],
                               capture_output=True, text=True, cwd=made.place)
    finally:
        shutil.rmtree(made.place)
    assert sum(scores(content).values()) == 26 == sum(t["max_score"] for t in content["tests"])
    assert str(made.place / "venv") in found.stdout  # the zip's library, not this checkout's
