"""Grade all submissions of a folder. Whatever one of them does, the next one gets its turn."""

import hashlib
import json
import re
import traceback
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import assignments
import normal_form
from assignments import Assignment, marks

from . import gradebook, intake, isolation, points, reading, repair
from .kernel import Limits

WORK = "nbgrader"  # in the folder of results: nbgrader's own files
SAID = 200  # letters of an error that a note quotes


@dataclass
class Job:
    """One notebook to grade, or the reason why there is none."""

    student: str
    assignment: str = ""
    cells: list = field(default_factory=list)
    digest: str = ""
    why: str = ""
    note: str = ""

    @property
    def id(self) -> str:
        """The student's name as nbgrader can have it: the name of a folder, without wildcards."""
        plain = re.sub(r"[^\w .@-]", "_", self.student).strip(" .") or "_"
        if plain == self.student:
            return plain
        return f"{plain}-{hashlib.sha256(self.student.encode()).hexdigest()[:8]}"


class Batch:
    """Results go to `out`; it keeps what is graded, so that a second call grades what is new."""

    def __init__(self, course: Path, out: Path, limits: Limits, hidden: list[Path], say=print):
        self.course, self.out, self.limits, self.say = course, out, limits, say
        self.root = out / WORK
        self.root.mkdir(parents=True, exist_ok=True)
        self.state_file = self.root / "state.json"
        self.state = {}
        if self.state_file.exists():
            self.state = json.loads(self.state_file.read_text(encoding="utf-8"))
        self.settings = isolation.places([course, out, *hidden])
        self.known: dict[str, Assignment] = {}

    def assignment(self, name: str) -> Assignment:
        if name not in self.known:
            self.known[name] = assignments.load(name, self.root, self.course, gradebook=True)
        return self.known[name]

    def jobs(self, place: Path, only: str | None) -> list[Job]:
        """One job for each student and assignment, and one for each file without any."""
        names = [only] if only else assignments.names(self.course)
        found = []
        for student in intake.collect(place, assignments.names(self.course)):
            read: dict[str, list] = {}
            faults = []
            for file in student.notebooks:
                try:
                    if file.fault:
                        raise reading.Unreadable(file.fault)
                    cells = reading.parse(file.data)
                    read.setdefault(self.which(cells, names), []).append((file, cells))
                except reading.Unreadable as error:
                    faults.append(Job(student.name, only or "", why=f"{file.path.name}: {error}"))
            for name, files in read.items():
                file, cells = files[-1]
                digest = hashlib.sha256(file.data + self.sources(name)).hexdigest()
                note = "" if len(files) == 1 else f"{len(files)} notebooks; {file.path.name} counts"
                found.append(Job(student.name, name, cells, digest, note=note))
            found += faults
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

    def grade(self, place: Path, only: str | None, workers: int, again: bool) -> list[Job]:
        """Grade what is new in `place`; returns all jobs. What fails is noted, never raised."""
        every = self.jobs(place, only)
        new = [
            job for job in every
            if not job.why and (again or self.kept(job).get("digest") != job.digest)
        ]
        cache = isolation.matplotlib_cache(self.root / "matplotlib") if new else None
        with ThreadPoolExecutor(workers) as pool:
            running = {pool.submit(self.run, job, cache): job for job in new}
            for done, future in enumerate(as_completed(running), 1):
                job = running[future]
                try:
                    repaired, ran = future.result()
                    self.enter(job, repaired, ran)
                except Exception as error:  # one submission never stops the others
                    job.why = f"the grader failed: {error}".strip()[:SAID]
                    (self.root / "errors.log").open("a").write(traceback.format_exc())
                self.say(f"{done}/{len(new)} {job.student} {job.assignment} {job.why}".rstrip())
        return every

    def kept(self, job: Job) -> dict:
        return self.state.get(f"{job.assignment}/{job.student}", {})

    def run(self, job: Job, cache):
        assignment = self.assignment(job.assignment)
        repaired = repair.repair(job.cells, assignment)
        tests = {
            marks(c)["grade_id"] for c in assignment.source.cells
            if marks(c).get("grade") and not marks(c).get("solution")
        }
        ran = isolation.execute(repaired.notebook, tests, self.limits, self.settings, cache)
        if -1 in ran:
            raise RuntimeError(ran[-1].why)
        return repaired, ran

    def enter(self, job: Job, repaired, ran: dict) -> None:
        """Put a run submission into the gradebook and the state."""
        assignment = self.assignment(job.assignment)
        gradebook.grade(self.root, self.course, assignment, job.id, repaired, ran)
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
        self.state[f"{job.assignment}/{job.student}"] = {
            "digest": job.digest,
            "notes": repaired.notes,
            "missing": sorted(repaired.missing),
            "blank": sorted(blank),
            # What a person gave stands until the answer changes.
            "by_hand": {},
        }
        self.save()

    def save(self) -> None:
        self.state_file.write_text(json.dumps(self.state, indent=1), encoding="utf-8")

    def rows(self, job: Job) -> list[dict]:
        """The rows of points.csv for a job."""
        who = {"student": job.student, "assignment": job.assignment}
        if job.why:
            most = self.assignment(job.assignment).points if job.assignment else None
            return [who | {"points": "0", "max": points.number(most),
                           "status": points.REFUSED, "note": line(job.why)}]
        assignment, kept, rows = self.assignment(job.assignment), self.kept(job), []
        scores = gradebook.scores(self.root, assignment, job.id)
        for question in assignment.questions:
            score, notes = scores[question.name], kept["notes"].get(question.name, [])
            hand = kept["by_hand"].get(question.name)
            status = points.TESTED
            if question.name in kept["missing"]:
                status = points.MISSING
            elif hand:
                status = points.BY_HAND
            elif question.name in kept["blank"]:
                status = points.BLANK
            elif score["points"] is None:
                status = points.OPEN
            rubric = points.template(question) if status == points.OPEN else ""
            rows.append(who | {
                "question": question.name,
                "points": points.number(score["points"]),
                "max": points.number(question.points),
                "status": status,
                "rubric": hand["rubric"] if hand else rubric,
                "note": line("; ".join(notes)) if not (hand and hand["note"]) else hand["note"],
            })
        return rows

    def total(self, job: Job, rows: list[dict]) -> dict:
        still = sum(row["status"] == points.OPEN for row in rows)
        notes = [row["note"] for row in rows] if job.why else self.kept(job)["notes"].get("", [])
        return {
            "student": job.student,
            "assignment": job.assignment,
            "points": points.number(sum(float(row["points"] or 0) for row in rows)),
            "max": points.number(sum(float(row["max"] or 0) for row in rows)) if rows else "",
            "open": still,
            "status": points.REFUSED if job.why else points.OPEN if still else "graded",
            "note": line("; ".join(notes)),
        }

    def write(self, jobs: list[Job]) -> list[dict]:
        """points.csv, totals.csv and the feedback pages; returns the totals."""
        every, totals = [], []
        for job in jobs:
            rows = self.rows(job)
            every += rows
            totals.append(self.total(job, rows))
            place = self.out / "feedback" / (job.assignment or "unknown")
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{job.id}.html").write_text(self.page(job, rows), encoding="utf-8")
        points.write(self.out / "points.csv", points.COLUMNS, every)
        points.write(self.out / "totals.csv", points.TOTALS, totals)
        return totals

    def page(self, job: Job, rows: list[dict]) -> str:
        if job.why:
            return gradebook.refused(job.student, job.assignment, job.why)
        assignment, notes = self.assignment(job.assignment), self.kept(job)["notes"].get("", [])
        table = ["| question | points | |", "|---|---|---|"]
        for row in rows:
            got = row["points"] or "*graded by hand, still open*"
            table.append(f"| {row['question']} | {got} / {row['max']} | {escaped(row['note'])} |")
        summary = "\n".join([f"# {job.assignment}: {escaped(job.student)}", "", *table, ""])
        summary += "\n" + "".join(f"- {escaped(note)}\n" for note in notes)
        who = job.id, job.student
        return gradebook.feedback(self.root, self.course, assignment, *who, summary)

    def merge(self, path: Path, jobs: list[Job]) -> int:
        """Enter what a person wrote into a points.csv; returns how many answers it grades.

        Raises points.Wrong with all that is wrong, and then enters nothing.
        """
        by_key = {(job.student, job.assignment): job for job in jobs if not job.why}
        wrong, entries = [], []
        for number, row in enumerate(points.read(path), 2):
            where = f"row {number} ({row['student']}, {row['question']})"
            job = by_key.get((row["student"], row["assignment"]))
            if not row["question"]:
                continue
            if job is None:
                wrong.append(f"{where}: no such submission")
                continue
            question = next(
                (q for q in self.assignment(job.assignment).questions if q.name == row["question"]),
                None,
            )
            if question is None:
                wrong.append(f"{where}: {job.assignment} has no such question")
                continue
            before = next(r for r in self.rows(job) if r["question"] == question.name)
            if not question.written:
                if row["points"] != before["points"]:
                    wrong.append(f"{where}: this question is graded by its tests")
                continue
            try:
                got = points.given(row, question.points)
            except points.Wrong as error:
                wrong.append(f"{where}: {error}")
                continue
            if got is not None and not same(row, before, got):
                entries.append((job, question.name, got, row))
        if wrong:
            raise points.Wrong("\n".join(wrong))
        for job, question, got, row in entries:
            said = "\n\n".join(text for text in (row["rubric"], row["note"]) if text)
            assignment = self.assignment(job.assignment)
            gradebook.set_by_hand(self.root, assignment, job.id, question, got, escaped(said))
            hand = {"rubric": row["rubric"], "note": row["note"]}
            self.kept(job)["by_hand"][question] = hand
        self.save()
        return len(entries)


def same(row: dict, before: dict, got: float) -> bool:
    old = float(before["points"]) if before["points"] else None
    return old == got and all(row[k] == before[k] for k in ("rubric", "note"))


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


def escaped(text: str) -> str:
    """Text that Markdown and HTML show as it is."""
    return re.sub(r"([\\`*_\[\]|#$])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))
