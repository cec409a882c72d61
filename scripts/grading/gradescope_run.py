"""Grade the one submission in a container of Gradescope: python -m grading.gradescope_run PLACE

PLACE is laid out as /autograder: source/, submission/, submission_metadata.json, results/. This
writes results/results.json. The source for its form is the page "Autograder Specifications" of
Gradescope's autograder documentation; for the metadata, public programs that read them.

The submission's code runs as a user of its own, who owns nothing and may not read source/, and in
namespaces where the container allows them. The result is written when all that it started is dead.
"""

import json
import os
import sys
import tempfile
import traceback
from pathlib import Path

import assignments
from assignments import ROOT

from . import intake, isolation, points, sandbox
from .batch import Batch, line
from .kernel import Limits
from .report import Report

USER = 60999  # from a range that neither distributions nor systemd give to anybody
HIDDEN = {"stdout_visibility": "hidden"}
FAILED = "The grader failed; this says nothing of your work. Please tell your instructor."


class Unsafe(RuntimeError):
    """Nothing would keep the submission's code from the tests and from the result."""


def may_run(settings: dict) -> None:
    """Raises Unsafe where the tests would be open to the submission's code."""
    if settings["user"] is None and "files" not in settings["measures"]:
        raise Unsafe(
            "this container runs the grader neither as root nor lets it create namespaces:"
            " the submission's code could read the tests and write its own result"
        )


def grade(place: Path) -> dict:
    """The content of results.json for the notebook in place/submission."""
    settings = json.loads((ROOT / "gradescope.json").read_text(encoding="utf-8"))
    name, user = settings["assignment"], USER if os.geteuid() == 0 else None
    student = intake.of_one(place / "submission", "submission")
    with tempfile.TemporaryDirectory() as out:  # for its owner alone
        hidden = [place / "submission", place / "results"]
        limits = Limits(**settings.get("limits", {}))
        batch = Batch(assignments.COURSE, Path(out), limits, hidden, user=user)
        print(isolation.described(batch.settings))
        may_run(batch.settings)
        jobs = batch.grade_jobs(batch.jobs_of(student, name))
        (job,) = jobs[:1]
        if job.why.startswith("the grader failed"):
            raise RuntimeError(job.why)
        rows = Report(batch).rows(job)
        notes = [] if job.why else batch.kept(job)["notes"].get("", [])
        return result(rows, notes, settings["visibility"])


def result(rows: list[dict], notes: list[str], visibility: str) -> dict:
    """The rows of points.csv as results.json has them. Gradescope adds the tests' points up."""
    if rows[0]["status"] == points.REFUSED:
        return HIDDEN | {"score": 0, "output": f"Not graded: {rows[0]['note']}.", "tests": []}
    said, tests = [], []
    for row in rows:
        if row["status"] in {points.OPEN, points.BLANK} or not row["points"]:
            what = "you left it blank" if row["status"] == points.BLANK else "graded by hand"
            said.append(f"{row['question']} ({row['max']} points): {what}; no part of this score")
            continue
        tests.append({
            "name": row["question"],
            "score": float(row["points"]),
            "max_score": float(row["max"]),
            "output": row["note"],
            "output_format": "text",
            "visibility": visibility,
        })
    text = "\n".join([*said, *(f"note: {line(note)}" for note in notes)])
    return HIDDEN | {"output": text, "output_format": "text", "tests": tests}


def failed(error: BaseException) -> dict:
    """The content of results.json when there are no points; the reason is for the instructor."""
    why = {"name": "grader", "score": 0, "max_score": 0, "output_format": "text",
           "output": f"{type(error).__name__}: {error}", "visibility": "hidden"}
    return HIDDEN | {"score": 0, "output": FAILED, "output_format": "text", "tests": [why]}


def handed_in_by(place: Path) -> str:
    """Who handed it in, for the instructor's log; empty if the metadata do not say."""
    try:
        found = json.loads((place / "submission_metadata.json").read_text(encoding="utf-8"))
        return ", ".join(f"{user['name']} ({user['email']})" for user in found["users"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def own(place: Path) -> None:
    """Root's alone: the tests, and the right to write a result."""
    os.umask(0o077)
    for folder, mode in ((place / "source", 0o700), (place / "results", 0o755)):
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)
    metadata = place / "submission_metadata.json"
    if metadata.exists():  # it holds the results of earlier submissions
        metadata.chmod(0o600)


def write(place: Path, content: dict) -> None:
    target = place / "results" / "results.json"
    fresh = target.with_name("results.new")
    fresh.unlink(missing_ok=True)
    fresh.write_text(json.dumps(content, indent=1), encoding="utf-8")
    os.replace(fresh, target)


def main(place: Path) -> int:
    """Exit code 0: results.json is there, also when it says that the grader failed."""
    try:
        own(place)
        print(f"Handed in by {handed_in_by(place) or 'nobody known'}")
        content = grade(place)
    except Exception as error:
        traceback.print_exc(file=sys.stdout)
        content = failed(error)
    if os.geteuid() == 0:
        sandbox.end_all_of(USER)
    write(place, content)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
