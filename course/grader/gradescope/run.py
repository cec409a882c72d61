"""Grade the one submission in a container of Gradescope.

    python -m course.grader.gradescope.run PLACE

PLACE is laid out as /autograder: source/, submission/, submission_metadata.json, results/. This
writes results/results.json. The source for its form is the page "Autograder Specifications" of
Gradescope's autograder documentation; for the metadata, public programs that read them.

The submission's code runs in the cage if the container lets bubblewrap make one. If not, and root
grades, it runs as a user of its own, who owns nothing and may not read source/; the result is
written when all that this user started is dead.
"""

import json
import os
import sys
import tempfile
import traceback
from pathlib import Path

from course import assignments
from course.assignments import ROOT
from course.grader import files, points
from course.grader.batch import Batch, line
from course.grader.intake import intake
from course.grader.report import Report
from course.grader.sandbox import cage
from course.grader.sandbox.kernel import Limits, end_all_of

USER = 60999  # from a range that neither distributions nor systemd give to anybody
HIDDEN = {"stdout_visibility": "hidden"}
FAILED = "The grader failed; this says nothing of your work. Please tell your instructor."
OWN_USER = f"No cage: a user of its own, who may read no test; {cage.LIMITS}"


class Unsafe(RuntimeError):
    """Nothing would keep the submission's code from the tests and from the result."""


def protection(place: Path, root: bool) -> tuple[cage.Cage | None, int | None]:
    """The cage, or else the user for the submission's code. Raises Unsafe if there is neither."""
    try:
        return cage.build([place]), None
    except cage.NoCage as error:
        if root:
            return None, USER
        raise Unsafe(
            "the submission's code could read the tests and write its own result: this container"
            f" does not run the grader as root, and {error}"
        ) from None


def grade(place: Path) -> dict:
    """The content of results.json for the notebook in place/submission."""
    settings = json.loads((ROOT / "gradescope.json").read_text(encoding="utf-8"))
    name = settings["assignment"]
    student = intake.of_one(place / "submission", "submission")
    with tempfile.TemporaryDirectory() as out:  # for its owner alone
        shut_in, user = protection(place, os.geteuid() == 0)
        print(cage.CAGED if shut_in else OWN_USER)
        limits = Limits(**settings.get("limits", {}))
        batch = Batch(assignments.COURSE, Path(out), limits, shut_in, user=user)
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
        end_all_of(USER)
    files.write(place / "results" / "results.json", json.dumps(content, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
