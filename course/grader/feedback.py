"""The feedback page of a submission: nbgrader's, made harmless and told by questions' names."""

import html
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import nbformat
import nbgrader
from jinja2 import pass_context
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from course.assignments import Assignment, marks, regions
from course.grader import formulas

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
PASTED = re.compile(r"<img\b[^>]*?\bsrc=[\"']attachment:([^\"'>\s]+)[\"'][^>]*>")
HIDDEN = "# Further tests ran here."
STYLES = ("node_modules", "bootstrap", "dist", "css")
THEIRS = Path(nbgrader.__file__).parent / "server_extensions" / "formgrader"


class Renderer(IPythonRenderer):
    """Names a pasted picture that is not in the file; nbconvert would make no page."""

    def image(self, text: str, url: str, title: str | None = None) -> str:
        if url.startswith("attachment:"):
            url = unquote(url)
            name = url.removeprefix("attachment:")
            if name not in self.attachments:
                return f"[the picture {html.escape(name)} is not in the notebook]"
        return super().image(text, url, title)


class Exporter(HTMLExporter):
    @pass_context
    def markdown2html(self, context, source):
        pictures = context.get("cell", {}).get("attachments", {})
        renderer = Renderer(escape=False, attachments=pictures)
        return MarkdownWithMath(renderer=renderer).render(source)


@cache
def exporter() -> HTMLExporter:
    return Exporter(
        template_name="feedback", extra_template_basedirs=[str(THEIRS / "templates")],
        extra_template_paths=[str(THEIRS.joinpath("static", *STYLES))],
        mathjax_url="", sanitize_html=True,
    )


def page(assignment: Assignment, notebook: nbformat.NotebookNode, title: str, summary: str,
         scores: dict[str, float | None], comments: dict[str, str]) -> str:
    """The page of a graded notebook, as HTML that loads and runs nothing.

    `scores` has the points of each cell that gives any, None where a person has yet to give them;
    `comments` the words of a person on a question.
    """
    for cell in notebook.cells:
        mark = marks(cell)
        if mark.get("grade"):
            mark["score"] = scores[mark["grade_id"]] or 0
        if mark.get("solution"):
            blank = cell.source == assignment.cell(mark["grade_id"], "release").source
            mark["comment"] = comments.get(mark["grade_id"]) or ("No response." if blank else None)
        told_to_students(cell, assignment)
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell(summary))
    every = {"notebook": assignment.name, "max_score": assignment.points, "late_penalty": 0,
             "score": sum(score or 0 for score in scores.values())}
    made, _ = exporter().from_notebook_node(notebook, {"nbgrader": every})
    still_open = [name for name, score in scores.items() if score is None]
    return told_by_name(formulas.shown(titled(harmless(made), html.escape(title))), still_open)


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
        # So JupyterLab writes a pasted picture that was made smaller.
        cell.source = PASTED.sub(r"![\1](attachment:\1)", cell.source)
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
    return bare(student, assignment, f"<p>Not graded: {html.escape(why)}.</p>")


def plain(student: str, assignment: str, rows: list[dict], answers: dict[str, str]) -> str:
    """The page of a notebook that cannot be drawn: points, notes, and the answers as typed."""
    parts = ["<p>Your answers stand here as you typed them: the notebook cannot be drawn.</p>"]
    for row in rows:
        name, got = row["question"], f"{row['points'] or 'open'} / {row['max']}"
        parts.append(f"<h2>{html.escape(f'{name}: {got}')}</h2>")
        parts.append(f"<p>{html.escape(row['note'])}</p>")
        parts.append(f"<pre>{html.escape(answers.get(name, ''))}</pre>")
    return bare(student, assignment, "\n".join(parts))


def bare(student: str, assignment: str, body: str) -> str:
    title = html.escape(f"{assignment or 'Submission'}: {student}")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{POLICY}<meta charset="utf-8">'
        f"<title>{title}</title></head>\n<body><h1>{title}</h1>\n{body}</body></html>\n"
    )


def escaped(text: str) -> str:
    """Text that Markdown and HTML show as it is."""
    text = re.sub(r"([\\`*_\[\]|#$~])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))
    return re.sub(r"^(\s*)([-+=>])", r"\1\\\2", text, flags=re.MULTILINE)
