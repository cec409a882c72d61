"""nbgrader's part: its gradebook, its reading of points from outputs, its feedback pages."""

import html
import re
from pathlib import Path

import nbformat
from assignments import Assignment, directory, marks, regions, run
from nbconvert.preprocessors import ClearMetadataPreprocessor
from nbgrader.api import Gradebook
from nbgrader.converters import Autograde, GenerateFeedback
from nbgrader.preprocessors import CheckCellMetadata, LimitOutput, SaveAutoGrades

from . import formulas

POLICY = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    "img-src data:; style-src 'unsafe-inline'\">"
)
STYLE = """<style>
table td, table th { padding: 0.2em 1em 0.2em 0; vertical-align: top; }
math[display=block], .highlight pre, .output_area pre { max-width: 100%; }
math[display=block], .highlight pre, .output_area pre { overflow-x: auto !important; }
math[display=block] { overflow-y: hidden; }
.input_area, .output_area, .inner_cell { min-width: 0; max-width: 100%; }
@media (max-width: 40em) {
  .rendered_html li { list-style-position: inside; overflow-x: auto; overflow-y: hidden; }
  #notebook-container { padding: 0.5em; }
}
</style>"""
# Its picture is not in the page.
BADGE = re.compile(r"\[!\[Open in Colab\]\([^)]*\)\]\([^)]*\)\n*")
HIDDEN = "# Further tests ran here."


def grade(root: Path, course: Path, assignment: Assignment, student: str, repaired, ran: dict):
    """Put a run submission into the gradebook below `root`, by nbgrader's own autograding.

    Its Execute is replaced by what the kernels said: it would run the cells in this process's
    reach, and leave a notebook without any points when a kernel dies.
    """
    place = root / "submitted" / student / assignment.name
    place.mkdir(parents=True, exist_ok=True)
    nbformat.write(repaired.notebook, place / f"{assignment.name}.ipynb")
    folder = directory(root, assignment.name, course, student_id=student)
    converter = Autograde(coursedir=folder, config=folder.config, force=True)

    def fill(notebook, resources):
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type != "code":
                continue
            grade_id = marks(cell).get("grade_id")
            outputs = repaired.handed_in.get(grade_id)
            if outputs is None:
                outputs = ran[index].outputs if index in ran else []
            cell.outputs = [nbformat.from_dict(output) for output in outputs]
            if marks(cell).get("grade") and not marks(cell).get("solution"):
                never_run(cell, index in ran)
        return notebook, resources

    converter.autograde_preprocessors = [
        fill, ClearMetadataPreprocessor, LimitOutput, SaveAutoGrades, CheckCellMetadata,
    ]
    run(converter)


def never_run(cell, ran: bool) -> None:
    """A test that did not run gives no points; without any output nbgrader would give all."""
    if not ran:
        said = "the test did not run"
        cell.outputs = [nbformat.v4.new_output("error", ename="NotRun", evalue=said, traceback=[])]


def feedback(
    root: Path, course: Path, assignment: Assignment, student: str, name: str, summary: str,
    still_open: list[str],
) -> str:
    """The feedback page of a graded submission, as HTML that loads and runs nothing.

    `student` is the id in the gradebook, `name` what the page says; the questions `still_open`
    have no points yet, not 0.
    """
    folder = directory(root, assignment.name, course, student_id=student)
    folder.config.HTMLExporter.mathjax_url = ""
    folder.config.HTMLExporter.sanitize_html = True
    converter = GenerateFeedback(coursedir=folder, config=folder.config, force=True)

    def shown(notebook, resources):
        for cell in notebook.cells:
            told_to_students(cell, assignment)
        notebook.cells.insert(0, nbformat.v4.new_markdown_cell(summary))
        return notebook, resources

    converter.preprocessors = [*converter.preprocessors[:1], shown, *converter.preprocessors[1:]]
    run(converter)
    path = root / "feedback" / student / assignment.name / f"{assignment.name}.html"
    title = html.escape(f"{assignment.name}: {name}")
    page = titled(harmless(path.read_text(encoding="utf-8")), title)
    return told_by_name(formulas.shown(page), still_open)


def told_to_students(cell, assignment: Assignment) -> None:
    """Hidden tests go from a cell, and text that a student wrote becomes text."""
    mark = marks(cell)
    if mark.get("grade") and not mark.get("solution"):
        for region in regions(cell.source, "HIDDEN TESTS"):
            cell.source = cell.source.replace(region, "")
        cell.source = re.sub(r"^[^\n]*BEGIN HIDDEN TESTS.*\n", "", cell.source, flags=re.M)
        cell.source = re.sub(r"^[^\n]*END HIDDEN TESTS.*$", HIDDEN, cell.source, flags=re.M)
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                output.traceback = [f"{output.ename}: {output.evalue}"]
    elif cell.cell_type == "markdown":
        cell.source = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", BADGE.sub("", cell.source))


def harmless(page: str) -> str:
    """The page without scripts; what a student's output brings may load and run nothing either."""
    page = re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL | re.IGNORECASE)
    page = re.sub(r"<link\b[^>]*>", "", page, flags=re.IGNORECASE)
    return re.sub(r"<head>", f"<head>{POLICY}{STYLE}", page, count=1)


def titled(page: str, title: str) -> str:
    page = page.replace("<html>", '<html lang="en">', 1)
    return re.sub(r"<title>.*?</title>", lambda _: f"<title>{title}</title>", page, count=1)


def told_by_name(page: str, still_open: list[str]) -> str:
    """nbgrader's list says "Test cell" of each, and "0.0" of what nobody has graded yet."""
    kinds = "Test cell|Written response|Coding free-response"
    link = rf'<a href="#((?:test-)?([\w-]+))">(?:{kinds})</a>'
    page = re.sub(link, r'<a href="#\1">\2</a>', page)
    for name in still_open:
        for before in (rf'<a href="#{name}">{name}</a> \(', rf'<a name="{name}"></a>.*?'):
            page = re.sub(rf"({before}Score: )0\.0 /", r"\1open /", page, count=1, flags=re.DOTALL)
    return page


def refused(student: str, assignment: str, why: str) -> str:
    """The feedback page of a file that could not be graded."""
    title = html.escape(f"{assignment or 'Submission'}: {student}")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{POLICY}<meta charset="utf-8">'
        f"<title>{title}</title></head>\n<body><h1>{title}</h1>\n"
        f"<p>Not graded: {html.escape(why)}.</p></body></html>\n"
    )


def scores(root: Path, assignment: Assignment, student: str) -> dict[str, dict]:
    """By question: points (None while a person has to grade it), and whether a person did."""
    found = {}
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as book:
        for question in assignment.questions:
            grades = [
                book.find_grade(cell, assignment.name, assignment.name, student)
                for cell in question.cells
            ]
            known = [g.manual_score if g.manual_score is not None else g.auto_score for g in grades]
            by_hand = any(g.manual_score is not None for g in grades)
            points = None if None in known else sum(known)
            found[question.name] = {"points": points, "by_hand": by_hand}
    return found


def forget_by_hand(root: Path, assignment: Assignment, student: str, but: set[str]) -> None:
    """Make the written answers open again, `but` these; nbgrader itself keeps all their points,
    whatever the student hands in next."""
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as book:
        name = assignment.name
        for question in assignment.questions:
            if question.written and question.name not in but:
                grade = book.find_grade(question.name, name, name, student)
                comment = book.find_comment(question.name, name, name, student)
                grade.manual_score, comment.manual_comment = None, None
        book.db.commit()


def set_by_hand(
    root: Path, assignment: Assignment, student: str, question: str, points: float, said: str
) -> None:
    """Enter what a person gave for a written answer, with the words that go to the student."""
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as book:
        name = assignment.name
        grade = book.find_grade(question, name, name, student)
        grade.manual_score, grade.needs_manual_grade = points, False
        comment = book.find_comment(question, name, name, student)
        comment.manual_comment = said or None
        book.db.commit()
