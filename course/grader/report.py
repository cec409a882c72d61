"""What comes out of a batch: points.csv, totals.csv, the feedback pages; and what goes back in."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat

from course.assignments import Question, marks
from course.grader import feedback, files, points
from course.grader.batch import Batch, Job, line
from course.grader.feedback import escaped

PAGE_SECONDS = 30  # of the processor for a page: converters can be made to take hours
AGAIN = ", and it was handed in again: begin with the newest points.csv"


class TooLong(BaseException):
    """A page takes too long. No Exception, which a converter might take for a fault of its own."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TooLong after so much processor time; not on Windows, and in the main thread alone."""
    if not hasattr(signal, "setitimer") or \
            threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_):
        raise TooLong(f"it takes more than {seconds:g} s")

    before = signal.signal(signal.SIGVTALRM, stop)
    # Again and again: Python drops what is raised while it collects garbage or calls __del__.
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, seconds / 10)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


class Report:
    """The results of a batch, in its folder."""

    def __init__(self, batch: Batch):
        self.batch = batch

    def rows(self, job: Job) -> list[dict]:
        """The rows of points.csv for a job."""
        who = {"student": job.student, "assignment": job.assignment}
        if job.why:
            most = self.batch.assignment(job.assignment).points if job.assignment else None
            return [who | {"points": "0", "max": points.number(most),
                           "status": points.REFUSED, "note": line(job.why)}]
        assignment, kept = self.batch.assignment(job.assignment), self.batch.kept(job)
        rows = []
        for question in assignment.questions:
            got, notes = score(question, kept), kept["notes"].get(question.name, [])
            hand = kept["by_hand"].get(question.name)
            status = points.TESTED
            if question.name in kept["missing"]:
                status = points.MISSING
            elif hand:
                status = points.BY_HAND
            elif question.name in kept["blank"]:
                status = points.BLANK
            elif got is None:
                status = points.OPEN
            rubric = points.template(question) if status == points.OPEN else ""
            rows.append(who | {
                "question": question.name,
                "points": points.number(got),
                "max": points.number(question.points),
                "status": status,
                "rubric": hand["rubric"] if hand else rubric,
                "note": line("; ".join(notes)) if not (hand and hand["note"]) else hand["note"],
            })
        return rows

    def rows_of(self, job: Job) -> list[dict]:
        """The same, whatever is the matter with it."""
        try:
            return self.rows(job)
        except Exception as error:  # one submission never stops the others
            job.why = self.batch.failed(error)
            return self.rows(job)

    def total(self, job: Job, rows: list[dict]) -> dict:
        still = sum(row["status"] == points.OPEN for row in rows)
        notes = [job.why] if job.why else self.batch.kept(job)["notes"].get("", [])
        return {
            "student": job.student,
            "assignment": job.assignment,
            "points": points.number(sum(float(row["points"] or 0) for row in rows)),
            "max": points.number(sum(float(row["max"] or 0) for row in rows)) if rows else "",
            "open": still,
            "status": points.REFUSED if job.why else points.OPEN if still else "graded",
            "note": line("; ".join(notes)),
        }

    def tables(self, jobs: list[Job]) -> tuple[list[list[dict]], list[dict]]:
        """Write points.csv and totals.csv; returns each job's rows, and the totals."""
        every = [self.rows_of(job) for job in jobs]
        totals = [self.total(job, rows) for job, rows in zip(jobs, every, strict=True)]
        points.write(self.batch.out / "points.csv", points.COLUMNS, sum(every, []))
        points.write(self.batch.out / "totals.csv", points.TOTALS, totals)
        return every, totals

    def write(self, jobs: list[Job]) -> list[dict]:
        """points.csv, totals.csv and the feedback pages; returns the totals."""
        # First: a page that cannot be made takes no points with it.
        every, totals = self.tables(jobs)
        for job, rows in zip(jobs, every, strict=True):
            place = self.batch.out / "feedback" / (job.assignment or "unknown")
            try:
                files.write(place / f"{job.id}.html", self.page_of(job, rows))
            except OSError as error:
                self.batch.say(f"{job.student}: the page cannot be written: {error.strerror}")
        return totals

    def page_of(self, job: Job, rows: list[dict]) -> str:
        """A page for everyone: the plain one, if the other cannot be made."""
        try:
            with limited(PAGE_SECONDS):
                return self.page(job, rows)
        except (Exception, TooLong) as error:  # one submission never stops the others
            why = line(self.batch.failed(error).removeprefix("the grader failed: "))
            self.batch.say(f"{job.student} {job.assignment}: a plain page, {why}")
            return feedback.plain(job.student, job.assignment, rows, self.answers(job))

    def answers(self, job: Job) -> dict[str, str]:
        """The text of each answer by its question, as far as the notebook can be read."""
        try:
            cells = nbformat.read(self.batch.notebook(job), 4).cells
        except Exception:
            return {}
        return {marks(c)["grade_id"]: c.source for c in cells if marks(c).get("solution")}

    def page(self, job: Job, rows: list[dict]) -> str:
        if job.why:
            return feedback.refused(job.student, job.assignment, job.why)
        assignment = self.batch.assignment(job.assignment)
        kept = self.batch.kept(job)
        table = ["| question | points | |", "|---|---|---|"]
        for row in rows:
            got = row["points"] or "*graded by hand, still open*"
            table.append(f"| {row['question']} | {got} / {row['max']} | {escaped(row['note'])} |")
        summary = "\n".join([f"# {job.assignment}: {escaped(job.student)}", "", *table, ""])
        summary += "\n" + "".join(f"- {escaped(note)}\n" for note in kept["notes"].get("", []))
        by_hand = kept["by_hand"]
        scores = kept["points"] | {name: hand["points"] for name, hand in by_hand.items()}
        comments = {name: escaped("\n\n".join(filter(None, (hand["rubric"], hand["note"]))))
                    for name, hand in by_hand.items()}
        notebook = nbformat.read(self.batch.notebook(job), 4)
        title = f"{job.assignment}: {job.student}"
        return feedback.page(assignment, notebook, title, summary, scores, comments)

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
            assignment = self.batch.assignment(job.assignment)
            question = next(
                (q for q in assignment.questions if q.name == row["question"]), None
            )
            if question is None:
                wrong.append(f"{where}: {job.assignment} has no such question")
                continue
            before = next(r for r in self.rows(job) if r["question"] == question.name)
            if not question.written:
                if row["points"] != before["points"]:
                    wrong.append(f"{where}: this question is graded by its tests"
                                 + (AGAIN if self.batch.kept(job).get("again") else ""))
                continue
            try:
                got = points.given(row, question.points)
            except points.Wrong as error:
                wrong.append(f"{where}: {error}")
                continue
            if got is not None and not same(row, before, got):
                entries.append((job, question, got, row))
        if wrong:
            raise points.Wrong("\n".join(wrong))
        for job, question, got, row in entries:
            self.batch.kept(job)["by_hand"][question.name] = {
                "points": got, "rubric": row["rubric"], "note": row["note"], "max": question.points,
            }
        self.batch.save()
        return len(entries)


def score(question: Question, kept: dict) -> float | None:
    """The points of a question; None while a person has to grade it."""
    if question.name in kept["by_hand"]:
        return kept["by_hand"][question.name]["points"]
    known = [kept["points"][cell] for cell in question.cells]
    return None if None in known else sum(known)


def same(row: dict, before: dict, got: float) -> bool:
    old = float(before["points"]) if before["points"] else None
    return old == got and all(row[k] == before[k] for k in ("rubric", "note"))
