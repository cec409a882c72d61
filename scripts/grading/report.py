"""What comes out of a batch: points.csv, totals.csv, the feedback pages; and what goes back in."""

import re
from pathlib import Path

from . import gradebook, points
from .batch import Batch, Job, line

AGAIN = ", and it was handed in again: begin with the newest points.csv"


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
        scores = gradebook.scores(self.batch.root, assignment, job.id)
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
        every = [self.rows(job) for job in jobs]
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
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{job.id}.html").write_text(self.page(job, rows), encoding="utf-8")
        return totals

    def page(self, job: Job, rows: list[dict]) -> str:
        if job.why:
            return gradebook.refused(job.student, job.assignment, job.why)
        assignment = self.batch.assignment(job.assignment)
        notes = self.batch.kept(job)["notes"].get("", [])
        table = ["| question | points | |", "|---|---|---|"]
        for row in rows:
            got = row["points"] or "*graded by hand, still open*"
            table.append(f"| {row['question']} | {got} / {row['max']} | {escaped(row['note'])} |")
        summary = "\n".join([f"# {job.assignment}: {escaped(job.student)}", "", *table, ""])
        summary += "\n" + "".join(f"- {escaped(note)}\n" for note in notes)
        still = [row["question"] for row in rows if row["status"] == points.OPEN]
        place = self.batch.root, self.batch.course
        return gradebook.feedback(*place, assignment, job.id, job.student, summary, still)

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
                entries.append((job, question.name, got, row))
        if wrong:
            raise points.Wrong("\n".join(wrong))
        for job, question, got, row in entries:
            said = "\n\n".join(text for text in (row["rubric"], row["note"]) if text)
            assignment = self.batch.assignment(job.assignment)
            gradebook.set_by_hand(self.batch.root, assignment, job.id, question, got, escaped(said))
            most = next(q.points for q in assignment.questions if q.name == question)
            hand = {"rubric": row["rubric"], "note": row["note"], "max": most}
            self.batch.kept(job)["by_hand"][question] = hand
        self.batch.save()
        return len(entries)


def same(row: dict, before: dict, got: float) -> bool:
    old = float(before["points"]) if before["points"] else None
    return old == got and all(row[k] == before[k] for k in ("rubric", "note"))


def escaped(text: str) -> str:
    """Text that Markdown and HTML show as it is."""
    return re.sub(r"([\\`*_\[\]|#$])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))
