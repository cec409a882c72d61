"""Grade all submissions of a folder. Whatever one of them does, the next one gets its turn."""

import hashlib
import json
import os
import re
import traceback
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbgrader.preprocessors import LimitOutput
from nbgrader.utils import determine_grade

from course import assignments
from course.assignments import Assignment, marks
from course.grader import files
from course.grader.intake import intake, naming, reading, repair
from course.grader.sandbox import cage, work
from course.grader.sandbox.kernel import Limits
from scripts.notebooks import normal_form

STORE = "grades.json"  # in the folder of results: all that is known of each submission's grade
WORK = "work"  # there too: the notebooks as they ran, and what the grader needs
EVERY = 10  # submissions after which the tables are written
MOST_FAULTS = 5  # files that a note names
SAID = 200  # letters of an error that a note quotes
FORM = {"digest": str, "points": dict, "notes": dict, "missing": list, "blank": list,
        "by_hand": dict}  # of each entry of the store


class Damaged(ValueError):
    """The store of grades cannot be read; the message says which file it is, and how to go on."""


@dataclass
class Job:
    """One notebook to grade, or the reason why there is none."""

    student: str
    assignment: str = ""
    cells: list = field(default_factory=list)
    digest: str = ""  # of the file, the source and the limits
    file: str = ""  # of the file alone
    why: str = ""
    note: str = ""

    @property
    def id(self) -> str:
        """The student's name as the name of a file."""
        return naming.as_file(self.student)


class Batch:
    """Results go to `out`. Its grades.json is the one store of grades, so that a second call grades
    what is new; the tables and the pages are written from it."""

    def __init__(self, course: Path, out: Path, limits: Limits, shut_in: cage.Cage | None,
                 say=print, user: int | None = None, aside: Iterable[Path] = ()):
        self.course, self.out, self.limits, self.say = course, out, limits, say
        self.root = out / WORK
        self.root.mkdir(parents=True, exist_ok=True)
        self.store = out / STORE
        self.state = stored(self.store)
        self.shut_in, self.user = shut_in, user
        self.aside = {placed(path) for path in (out, *aside)}
        self.known: dict[str, Assignment] = {}

    def assignment(self, name: str) -> Assignment:
        if name not in self.known:
            self.known[name] = assignments.load(name, self.root, self.course)
        return self.known[name]

    def jobs(self, place: Path, only: str | None) -> list[Job]:
        """One job for each student and assignment, and one for each file without any."""
        found = []
        names = assignments.names(self.course)
        for student in intake.collect(place, names, self.no_work):
            try:
                found += self.jobs_of(student, only)
            except Exception as error:  # one submission never stops the others
                found.append(Job(student.name, only or "", why=self.failed(error)))
        return found

    def no_work(self, path: Path) -> bool:
        """Whether a path is this batch's results, another's, or a table that it shall merge."""
        if placed(path) in self.aside:
            return True
        # os.path, which takes a folder that may not be read for one without these.
        others = os.path.isdir(path / WORK) and all(
            os.path.isfile(path / name) for name in (STORE, "points.csv"))
        if others:
            self.say(f"{path.name}: results of grading, passed over")
        return others

    def jobs_of(self, student: intake.Student, only: str | None) -> list[Job]:
        names = [only] if only else assignments.names(self.course)
        found, faults = [], []
        read: dict[str, list] = {}
        for file in student.notebooks:
            try:
                if file.fault:
                    raise reading.Unreadable(file.fault)
                cells, odd = reading.parse(file.data)
                notes = filter(None, [file.note, odd])
                read.setdefault(self.which(cells, names), []).append((file, cells, [*notes]))
            except reading.Unreadable as error:
                why = file.reason if file.fault else f"{file.path.name}: {error}"
                faults.append(Job(student.name, only or "", why=why))
        for name, versions in read.items():
            file, cells, notes = versions[-1]
            digest = hashlib.sha256(file.data + self.sources(name)).hexdigest()
            own = hashlib.sha256(file.data).hexdigest()
            if len(versions) > 1:
                notes.insert(0, f"{len(versions)} notebooks; {file.path} counts")
            if intake.late(file.path):
                notes.append("late, by the name that Canvas gave the file")
            found.append(Job(student.name, name, cells, digest, own, note="; ".join(notes)))
        if read:  # what else the student handed in is no submission of its own
            others = [job.why for job in faults[:MOST_FAULTS]]
            if len(faults) > MOST_FAULTS:
                others.append(f"and {len(faults) - MOST_FAULTS} more files that could not be read")
            found[-1].note = "; ".join([*filter(None, [found[-1].note]), *others])
        else:
            found += faults[:1]
        if not read and not faults:
            there = ", ".join(student.others[:5]) or "no file"
            found.append(Job(student.name, only or "", why=f"no notebook, but {there}"))
        return found

    def which(self, cells: list[dict], names: list[str]) -> str:
        """The assignment that a notebook answers: that of which it holds most questions."""
        every = {n: repair.known(cells, self.assignment(n))
                 for n in assignments.names(self.course)}
        best = max(every, key=every.get)
        if not every[best]:
            raise reading.Unreadable("no question of any assignment is in the notebook")
        if best not in names:
            raise reading.Unreadable(f"this is the assignment {best!r}, not {names[0]!r}")
        return best

    def sources(self, name: str) -> bytes:
        return normal_form.text(self.assignment(name).source).encode() + repr(self.limits).encode()

    def grade(self, place: Path, only: str | None, workers: int, again: bool,
              between=lambda jobs: None) -> list[Job]:
        """Grade what is new in `place`; returns all jobs. What fails is noted, never raised.

        `between` is called now and then, and after Ctrl-C, with the jobs that are done.
        """
        return self.grade_jobs(self.jobs(place, only), workers, again, between)

    def grade_jobs(self, every: list[Job], workers: int = 1, again: bool = False,
                   between=lambda jobs: None) -> list[Job]:
        for job in every:
            if job.note:
                self.say(f"{job.student} {job.assignment}: {job.note}")
        new = [
            job for job in every
            if not job.why and (again or not self.graded(job))
        ]
        cache = work.matplotlib_cache(self.root / "matplotlib") if new else None
        with ThreadPoolExecutor(workers) as pool:
            running = {pool.submit(self.run, job, cache): job for job in new}
            try:
                for done, future in enumerate(as_completed(running), 1):
                    job = running[future]
                    try:
                        repaired, ran = future.result()
                        self.enter(job, repaired, ran)
                    except Exception as error:  # one submission never stops the others
                        job.why = self.failed(error)
                    self.say(f"{done}/{len(new)} {job.student} {job.assignment} {job.why}".rstrip())
                    if done % EVERY == 0:
                        between(self.done(every))
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                between(self.done(every))
                raise
        return every

    def failed(self, error: BaseException) -> str:
        """Why a student's work was not graded; the log has all of it."""
        log = self.root / "errors.log"
        with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(traceback.format_exception(error))
        return f"the grader failed: {type(error).__name__}: {error}"[:SAID]

    def done(self, every: list[Job]) -> list[Job]:
        return [job for job in every if job.why or self.graded(job)]

    def graded(self, job: Job) -> bool:
        if self.kept(job).get("digest") != job.digest:
            return False
        try:  # one that was cut off has no end
            return self.notebook(job).read_bytes().rstrip().endswith(b"}")
        except OSError:
            return False

    def kept(self, job: Job) -> dict:
        return self.state.get(f"{job.assignment}/{job.student}", {})

    def run(self, job: Job, cache):
        assignment = self.assignment(job.assignment)
        repaired = repair.repair(job.cells, assignment)
        tests = {
            marks(c)["grade_id"] for c in assignment.source.cells
            if marks(c).get("grade") and not marks(c).get("solution")
        }
        ran = work.execute(repaired.notebook, tests, self.limits, self.shut_in, self.user, cache)
        end = ran.pop(-1, None)
        if end and (end.status == "failed" or not ran):
            raise RuntimeError(end.why)
        if end:
            repaired.note("", end.why)
        return repaired, ran

    def enter(self, job: Job, repaired, ran: dict) -> None:
        """Put a run submission into the store, and its notebook beside it."""
        assignment = self.assignment(job.assignment)
        show(repaired, ran)
        known, by_hand = self.kept(job), self.standing(job)
        again = known.get("file", job.file) != job.file or known.get("again", False)
        for question in sorted(set(known.get("by_hand", {})) - set(by_hand)):
            repaired.note(question, "changed after it was graded by hand")
        explain(assignment, repaired, ran)
        if job.note:
            repaired.note("", job.note)
        blank = {
            q.name for q in assignment.questions
            if q.written and q.name not in repaired.missing and any(
                marks(c).get("grade_id") == q.name
                and c.source == assignment.cell(q.name, "release").source
                for c in repaired.notebook.cells
            )
        }
        lost = dict.fromkeys([*blank, *repaired.missing], 0)
        files.write(self.notebook(job), nbformat.writes(repaired.notebook) + "\n")
        self.state[f"{job.assignment}/{job.student}"] = {
            "digest": job.digest,
            # By cell; None is for a person to give.
            "points": {
                mark["grade_id"]: lost.get(mark["grade_id"]) if mark.get("solution")
                else determine_grade(cell)[0]
                for cell in repaired.notebook.cells if (mark := marks(cell)).get("grade")
            },
            "notes": repaired.notes,
            "missing": sorted(repaired.missing),
            "blank": sorted(blank),
            "file": job.file,
            "again": again,  # whether another version was graded before
            # What a person gave stands until the student hands in another version.
            "by_hand": by_hand,
        }
        self.save()

    def standing(self, job: Job) -> dict:
        """What a person gave for this very file, and for as many points as there are now."""
        kept, assignment = self.kept(job), self.assignment(job.assignment)
        most = {q.name: q.points for q in assignment.questions}
        if kept.get("file") != job.file:
            return {}
        return {q: hand for q, hand in kept["by_hand"].items() if most.get(q) == hand["max"]}

    def notebook(self, job: Job) -> Path:
        return self.root / "graded" / job.assignment / f"{job.id}.ipynb"

    def save(self) -> None:
        files.write(self.store, json.dumps(self.state, indent=1))


def placed(path: Path) -> Path:
    """Where a path lies; a link is itself, wherever it leads."""
    return Path(os.path.realpath(path.parent), path.name)


def stored(path: Path) -> dict:
    """What the store of grades holds; nothing where there is none yet. Raises Damaged."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        for entry in state.values():
            if not all(isinstance(entry[key], kind) for key, kind in FORM.items()):
                raise TypeError("an entry of another form")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError, AttributeError, KeyError, TypeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is cut off or damaged"
        raise Damaged(
            f"{path} cannot be read: {why}. Put a copy of it back, or move it away: then the same"
            " command grades all anew, and MANUAL=points.csv, with a copy of the last one, brings"
            " back the points that you gave"
        ) from None
    return state


def show(repaired, ran: dict) -> None:
    """Give the notebook's cells the outputs that they had when they ran.

    nbgrader's own Execute would run them in this process's reach, and leave a notebook without any
    points when a kernel dies.
    """
    for index, cell in enumerate(repaired.notebook.cells):
        if cell.cell_type != "code":
            continue
        outputs = repaired.handed_in.get(marks(cell).get("grade_id"))
        if outputs is None:
            outputs = ran[index].outputs if index in ran else []
        if marks(cell).get("grade") and not marks(cell).get("solution") and index not in ran:
            # Without any output nbgrader would give all points.
            said = "the test did not run"
            outputs = [nbformat.v4.new_output("error", ename="NotRun", evalue=said, traceback=[])]
        cell.outputs = [nbformat.from_dict(output) for output in outputs]
    LimitOutput().preprocess(repaired.notebook, {})


def explain(assignment: Assignment, repaired, ran: dict) -> None:
    """Why points are lost, in the notes of the questions."""
    for index, cell in enumerate(repaired.notebook.cells):
        mark, result = marks(cell), ran.get(index)
        if not mark.get("grade_id") or result is None or result.status == "ok":
            continue
        graded = mark.get("grade") or mark.get("solution")
        question = assignment.question_of(mark["grade_id"]) if graded else ""
        if result.status == "error":
            error = next((o for o in result.outputs if o["output_type"] == "error"), {})
            said = f"{error.get('ename', '')}: {error.get('evalue', '')}"
            blank = error.get("ename") == "NotImplementedError"
            said = line(said)[:SAID] + (f" ({result.why})" if result.why and not blank else "")
        else:
            said = result.why
        what = "" if mark.get("grade") else "the answer's cell: " if graded else "a given cell: "
        repaired.note(question, f"{what}{said}")
    for index, cell in enumerate(repaired.notebook.cells):
        if not marks(cell) and index in ran and ran[index].status not in {"ok", "error"}:
            repaired.note("", f"a cell of your own: {ran[index].why}")


def line(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"\x1b\[[\d;]*m", "", text)).strip()
