"""The tests of the assignments, tested: planted mistakes lose the points that they should lose.

course/planted/ASSIGNMENT.toml holds wrong answers of the kind that students give, and right ones
that are written otherwise. Each is put into a repaired submission and run by the grader's kernels;
to keep this short, the kernel stays, and only the answer and the tests that use it run again. Then
whole submissions go through `make grade`: the reference, the blank release, and a notebook with a
wrong answer to every question.
"""

import copy
import os
import re
import subprocess
import textwrap
import time
import tomllib
from pathlib import Path

import nbformat
import psutil
import pytest
import submissions
from nbgrader.utils import determine_grade

from course import assignments
from course.assignments import marks
from course.grader.intake import repair
from course.grader.sandbox import cage, kernel, work
from proofs.odd_submissions import table

ROOT = Path(__file__).resolve().parents[2]
NAMES = assignments.names()


def planted(name: str) -> list[dict]:
    path = ROOT / "course" / "planted" / f"{name}.toml"
    return tomllib.loads(path.read_text("utf-8"))["planted"] if path.exists() else []


PLANTED = {name: planted(name) for name in NAMES}
EVERY = [(name, plant) for name in NAMES for plant in PLANTED[name]]
TITLES = [f"{name}-{plant['question']}-{plant['name']}" for name, plant in EVERY]
LIMITS = kernel.Limits()
FEWEST = 3  # wrong answers to each question
pytestmark = [pytest.mark.slow, submissions.NEEDS_CAGE]


def put(source: str, code: str) -> str:
    """A source's cell with another answer between BEGIN and END SOLUTION, without these lines."""
    def answer(found: re.Match) -> str:
        return textwrap.indent(textwrap.dedent(code).strip("\n"), found["indent"]) + "\n"

    pattern = r"^(?P<indent>[ \t]*)#+ BEGIN SOLUTION.*?^[^\n]*END SOLUTION[^\n]*\n?"
    made, count = re.subn(pattern, answer, source, flags=re.DOTALL | re.MULTILINE)
    assert count == 1, source
    return made.rstrip("\n")


def submission(assignment, answers: dict[str, str]) -> nbformat.NotebookNode:
    """What a student hands in who knows the reference, except for `answers`."""
    notebook = copy.deepcopy(assignment.release)
    for cell in notebook.cells:
        name = marks(cell).get("grade_id")
        if not marks(cell).get("solution"):
            continue
        source = assignment.cell(name).source
        code = answers.get(name, "".join(assignments.regions(source, "SOLUTION")))
        cell.source = put(source, code)
    return notebook


class Grader:
    """A kernel in which the reference has run; it grades answers one at a time."""

    def __init__(self, name: str, folder: Path):
        self.assignment = assignments.load(name, folder / "release")
        self.folder, self.kernel, self.count = folder, None, 0
        self.cage = cage.build([])
        self.most = {marks(c)["grade_id"]: marks(c)["points"] for c in self.assignment.source.cells
                     if marks(c).get("grade") and not marks(c).get("solution")}
        self.start()

    def start(self) -> None:
        self.count += 1
        place = self.folder / str(self.count)
        place.mkdir()
        self.kernel = kernel.Kernel(place, LIMITS, self.cage)
        self.got = {}
        for cell in self.repaired({}).cells:
            if cell.cell_type == "code" and marks(cell):
                self.run(cell)

    def repaired(self, answers: dict[str, str]):
        handed_in = submission(self.assignment, answers)
        # Cells for looking at results are nobody's test, and draw pictures.
        cells = [{"cell_type": c.cell_type, "source": c.source, "outputs": [],
                  "grade_id": marks(c).get("grade_id")} for c in handed_in.cells if marks(c)]
        return repair.repair(cells, self.assignment).notebook

    def run(self, cell) -> None:
        """Run a cell; points of a test as nbgrader reads them from its outputs."""
        test = marks(cell)["grade_id"] in self.most
        run = work.run_test if test else kernel.Kernel.run
        ran = run(self.kernel, cell.source, LIMITS.cell)
        if test:
            cell.outputs = [nbformat.from_dict(output) for output in ran.outputs]
            self.got[marks(cell)["grade_id"]] = determine_grade(cell)[0]

    def lost(self, question: str, code: str) -> dict[str, float]:
        """The points that an answer loses, by test; the reference is put back."""
        if self.kernel.process.poll() is not None:
            self.start()
        function = re.search(r"^(?:def|class) (\w+)", self.assignment.cell(question).source, re.M)
        wanted = [rf"\b{function[1]}\b"] if function else ["."]
        self.got = dict(self.most)
        for cell in self.repaired({question: code}).cells:
            name = marks(cell).get("grade_id")
            uses = cell.cell_type == "code" and any(re.search(w, cell.source) for w in wanted)
            again = name in self.most and (uses or self.assignment.question_of(name) == question)
            if (name == question or again) and self.kernel.process.poll() is None:
                self.run(cell)
        if self.kernel.process.poll() is None:
            self.run(next(c for c in self.repaired({}).cells
                          if marks(c).get("grade_id") == question))
        return {n: most - self.got[n] for n, most in self.most.items() if self.got[n] != most}


@pytest.fixture(scope="module")
def graders(tmp_path_factory):
    made: dict[str, Grader] = {}

    def grader(name: str) -> Grader:
        if name not in made:
            made[name] = Grader(name, tmp_path_factory.mktemp(name[:8]))
        return made[name]

    yield grader
    for one in made.values():
        one.kernel.close()


@pytest.mark.parametrize("name", NAMES)
def test_every_question_has_planted_mistakes(name):
    tested = {q.name for q in assignments.source(name).questions if not q.written}
    wrong = [p["question"] for p in PLANTED[name] if p["kind"] == "wrong"]
    assert {p["question"] for p in PLANTED[name]} <= tested
    assert {q: wrong.count(q) for q in tested if wrong.count(q) < FEWEST} == {}
    for plant in PLANTED[name]:
        assert plant["kind"] in {"wrong", "right"}
        assert bool(plant["loses"]) == (plant["kind"] == "wrong"), plant["name"]
    titles = [plant["name"] for plant in PLANTED[name]]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_gets_all_points(name, graders):
    grader = graders(name)
    assert grader.got == grader.most and grader.most


@pytest.mark.parametrize("name,plant", EVERY, ids=TITLES)
def test_a_planted_answer_loses_exactly_its_points(name, plant, graders):
    assert graders(name).lost(plant["question"], plant["code"]) == plant["loses"], plant["why"]


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """make grade, on three students who hand in all assignments; its rows, and what is lost."""
    folder = tmp_path_factory.mktemp("whole")
    lost, seconds = {}, {}
    command = ["make", "-s", "-o", ".venv/.ready", "grade", f"SUBMISSIONS={folder / 'inbox'}",
               f"OUT={folder / 'out'}"]
    for name in NAMES:
        assignment = assignments.load(name, folder / "release")
        first = {p["question"]: p for p in reversed(PLANTED[name]) if p["kind"] == "wrong"}
        lost[name] = {question: sum(p["loses"].values()) for question, p in first.items()}
        handed_in = {
            "reference": submission(assignment, {}),
            "blank": assignment.release,
            "wrong": submission(assignment, {q: p["code"] for q, p in first.items()}),
        }
        place = folder / "inbox"
        submissions.write(handed_in.pop("reference"), place / "reference" / f"{name}.ipynb")
        seconds[name] = processor_time([*command, f"ASSIGNMENT={name}"])
        for student, notebook in handed_in.items():
            submissions.write(notebook, folder / "later" / student / f"{name}.ipynb")
    for student in (folder / "later").iterdir():
        student.rename(folder / "inbox" / student.name)
    done = subprocess.run([*command, "JOBS=2"], cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"},
                          capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return table(folder / "out" / "points.csv"), lost, seconds


def processor_time(command: list[str]) -> float:
    """The seconds of processor time that a command and all that it starts take: unlike the time on
    the clock they do not grow when the machine has other work. Kernels are killed in the end, so
    they are asked while they live."""
    seen: dict[int, float] = {}
    running = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"},
                               stdout=subprocess.DEVNULL)
    first = psutil.Process(running.pid)
    while running.poll() is None:
        try:
            for process in [first, *first.children(recursive=True)]:
                times = process.cpu_times()
                seen[process.pid] = times.user + times.system
        except psutil.Error:  # it ended meanwhile
            continue
        time.sleep(0.1)
    assert running.returncode == 0
    return sum(seen.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_reference_submission_is_graded_within_a_minute(graded, name):
    _, _, seconds = graded
    assert 1 < seconds[name] < 60


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("student", ["reference", "wrong", "blank"])
def test_whole_submissions_get_their_points(graded, name, student):
    rows, lost, _ = graded
    mine = [r for r in rows if (r["student"], r["assignment"]) == (student, name)]
    assert mine
    for row in mine:
        if row["status"] != "tested":
            assert row["status"] == ("blank" if student == "blank" else "open")
            continue
        most, got = float(row["max"]), float(row["points"])
        away = lost[name][row["question"]] if student == "wrong" else 0
        assert got == (0 if student == "blank" else most - away), row
        if student == "blank":
            assert row["note"].startswith("NotImplementedError: your answer here"), row
