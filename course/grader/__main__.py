"""Grade a folder of submissions: make grade SUBMISSIONS=folder, or python -m course.grader folder

Writes points.csv, totals.csv and a feedback page for each student; see book/for_instructors.md.
"""

import sys
from pathlib import Path

import click

from course import assignments
from course.grader import points
from course.grader.batch import Batch
from course.grader.report import Report
from course.grader.sandbox import cage
from course.grader.sandbox.kernel import Limits

GB = 2**30


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("submissions", type=click.Path(exists=True, path_type=Path))
@click.option("--assignment", metavar="NAME", help="Grade this one alone; default: all.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("grades"),
              show_default=True, help="Folder for the results.")
@click.option("--manual", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A points.csv in which the written answers are graded; it is merged.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True,
              help="Submissions that run at the same time.")
@click.option("--cell-seconds", type=click.FloatRange(1), default=Limits.cell, show_default=True,
              help="Time limit of a cell.")
@click.option("--total-seconds", type=click.FloatRange(1), default=Limits.total, show_default=True,
              help="Time limit of a submission.")
@click.option("--memory", type=click.FloatRange(0.5), default=Limits.memory / GB, show_default=True,
              help="Memory limit of a submission, in GB.")
@click.option("--again", is_flag=True, help="Grade anew what was graded before.")
@click.option("--submissions-may-read-my-files", "uncaged", is_flag=True,
              help="Grade without bubblewrap. Dangerous: each submission's code can do whatever "
                   "you can, within limits on time, memory and file size.")
@click.option("--course", type=click.Path(exists=True, file_okay=False, path_type=Path),
              default=assignments.COURSE, help="The folder with source/; default: the book's own.")
def main(submissions, assignment, out, manual, jobs, cell_seconds, total_seconds, memory, again,
         uncaged, course):
    """Grade every submission in SUBMISSIONS, a folder or a zip file.

    A second call grades what is new or changed. Exit code 0 means that every submission has its
    rows, also those that could not be graded; 1 that the grader failed at one.
    """
    names = assignments.names(course)
    if assignment and assignment not in names:
        raise click.BadParameter(f"{assignment!r}; there are {', '.join(names)}",
                                 param_hint="--assignment")
    if out.resolve() == submissions.resolve():
        raise click.BadParameter("must be another folder than SUBMISSIONS", param_hint="--out")
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a name that the terminal cannot show stops nobody
    limits = Limits(cell=cell_seconds, total=total_seconds, memory=int(memory * GB))
    out.mkdir(parents=True, exist_ok=True)
    hidden = [course, out, submissions if submissions.is_dir() else submissions.resolve().parent]
    hidden += [manual.resolve().parent] if manual else []
    try:
        shut_in = None if uncaged else cage.build(hidden)
    except cage.NoCage as error:
        click.echo(f"Nothing was graded: {error}. The option --submissions-may-read-my-files "
                   "grades without a cage", err=True)
        sys.exit(2)
    click.echo(cage.CAGED if shut_in else cage.OPEN)
    try:
        batch = Batch(course, out.resolve(), limits, shut_in, say=click.echo,
                      aside=[manual] if manual else [])
        report = Report(batch)
        every = batch.grade(submissions, assignment, jobs, again, between=report.tables)
        if not every:
            raise ValueError(f"there is no file of a student in {submissions}")
        if manual:
            click.echo(f"{report.merge(manual, every)} written answers graded by {manual.name}")
        totals = report.write(every)
    except (points.Wrong, assignments.Malformed, ValueError, OSError) as error:
        click.echo(error, err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        click.echo(f"Stopped. {out / 'points.csv'} has what was graded; the same command goes on.",
                   err=True)
        sys.exit(130)
    show(totals, out)
    sys.exit(any(job.why.startswith("the grader failed") for job in every))


def show(totals: list[dict], out: Path) -> None:
    width = min(40, max([7, *(len(total["student"]) for total in totals)]))
    for total in totals:
        still = f"{total['open']} open" if total["open"] else total["status"]
        score = f"{total['points']:>5} / {total['max'] or '?'}"
        click.echo(f"{total['student']:<{width}}  {total['assignment']:<20} {score:<12} {still}")
    click.echo(f"{out / 'points.csv'}, {out / 'totals.csv'}, {out / 'feedback'}")


if __name__ == "__main__":
    main()
