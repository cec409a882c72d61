"""Put a submitted notebook back into the form of its source, whatever an editor made of it.

The first line of a cell names it. Tests and read-only cells are always the source's own; answers
are the student's; cells that the student added stay where they were, after the cell before them.
"""

import ast
import re
from dataclasses import dataclass, field

import nbformat

from course.assignments import FIRST_LINE, Assignment, marks, named, squeezed
from course.grader.intake.reading import Unreadable, outputs

START = ""  # what a cell before all named ones follows


@dataclass
class Repaired:
    """The notebook to grade; notes by question (the key "" is for the whole); missing answers;
    outputs that are shown as they were handed in."""

    notebook: nbformat.NotebookNode
    notes: dict[str, list[str]] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    handed_in: dict[str, list] = field(default_factory=dict)

    def note(self, question: str, said: str) -> None:
        if said not in self.notes.setdefault(question, []):
            self.notes[question].append(said)


def known(cells: list[dict], assignment: Assignment) -> int:
    """How many of the assignment's graded cells and answers a notebook holds."""
    ids = {marks(c)["grade_id"] for c in assignment.source.cells
           if marks(c).get("grade") or marks(c).get("solution")}
    there = {named(cell["source"]) for cell in cells} | {cell["grade_id"] for cell in cells}
    return len(ids & there)


def split(cell: dict, assignment: Assignment) -> list[dict]:
    """The parts of a cell into which several were merged; each part begins with its name."""
    ids = {marks(c)["grade_id"] for c in assignment.source.cells if marks(c)}
    lines, parts = cell["source"].split("\n"), [[]]
    for line in lines:
        if FIRST_LINE.match(line) and named(line) in ids and any(x.strip() for x in parts[-1]):
            parts.append([])
        parts[-1].append(line)
    if len(parts) == 1:
        return [cell]
    made = [cell | {"source": "\n".join(part).strip("\n"), "grade_id": None} for part in parts]
    names = [named(part["source"]) for part in made]
    if cell["grade_id"] and cell["grade_id"] not in names:
        made[0]["grade_id"] = cell["grade_id"]
    return made


def identify(cells: list[dict], assignment: Assignment) -> list[str | None]:
    """The grade_id of every cell: by its first line, its metadata, or the text of a read-only one.

    Where line and metadata disagree (one answer begun as a copy of another), the cell is the one
    that no other cell is.
    """
    ids = {marks(cell)["grade_id"] for cell in assignment.source.cells if marks(cell)}
    fixed = {
        squeezed(cell.source): marks(cell)["grade_id"]
        for cell in assignment.release.cells
        if marks(cell).get("locked") and not marks(cell).get("grade")
    }
    lines = [named(c["source"]) if named(c["source"]) in ids else None for c in cells]
    tags = [c["grade_id"] if c["grade_id"] in ids else None for c in cells]
    sure = {
        line or tag
        for line, tag in zip(lines, tags, strict=True)
        if (line or tag) and (line is None or tag is None or line == tag)
    }
    found = []
    for cell, line, tag in zip(cells, lines, tags, strict=True):
        if line and tag and line != tag:
            found.append(tag if line in sure else line)
        else:
            found.append(line or tag or fixed.get(squeezed(cell["source"])))
    return found


def answered(cell: dict, assignment: Assignment, grade_id: str) -> bool:
    """Whether a cell holds more than what students were given."""
    given = assignment.cell(grade_id, "release").source
    body = squeezed(cell["source"])
    first = squeezed(given.split("\n")[0])
    return body not in {squeezed(given), "", first}


def defined(source: str) -> set[str]:
    """The functions and classes that a cell defines at its top; nothing if it has an error."""
    try:
        body = ast.parse(re.sub(r"^([ \t]*)[%!].*$", r"\1pass", source, flags=re.M)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    kinds = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)
    return {node.name for node in body if isinstance(node, kinds)}


def adopt(cells: list[dict], ids: list, assignment: Assignment, repaired: Repaired) -> None:
    """An answer without name and metadata is known by the function that it defines."""
    for question in assignment.questions:
        if question.name in ids or question.written:
            continue
        wanted = defined(assignment.cell(question.name).source)
        for place in reversed(range(len(cells))):
            if ids[place] is None and wanted and wanted <= defined(cells[place]["source"]):
                ids[place] = question.name
                repaired.note(question.name, "the cell had lost its name; known by its function")
                break


def choose(cells: list[dict], ids: list, assignment: Assignment, repaired: Repaired) -> list:
    """Of several cells with one name the last that holds an answer keeps it.

    The others are earlier versions and go, if they and it begin with the name (written ones stay,
    as text). A cell that has the name in its metadata alone is half of one that was split; then
    both halves stay.
    """
    kept = list(ids)
    for question in assignment.questions:
        places = [place for place, grade_id in enumerate(ids) if grade_id == question.name]
        if len(places) < 2:
            continue
        full = [p for p in places if answered(cells[p], assignment, question.name)]
        chosen = (full or places)[-1]
        complete = named(cells[chosen]["source"]) == question.name
        for place in places:
            if place != chosen:
                whole = complete and named(cells[place]["source"]) == question.name
                kept[place] = "drop" if whole and not question.written else None
        repaired.note(question.name, f"{len(places)} cells with this name; the last answer counts")
    return kept


def repair(cells: list[dict], assignment: Assignment) -> Repaired:
    """The notebook to grade. Raises Unreadable if nothing in it belongs to the assignment."""
    if not known(cells, assignment):
        raise Unreadable(f"no question of the assignment {assignment.name!r} is in the notebook")
    cells = [part for cell in cells for part in split(cell, assignment)]
    repaired = Repaired(nbformat.v4.new_notebook(metadata=assignment.release.metadata))
    ids = identify(cells, assignment)
    adopt(cells, ids, assignment, repaired)
    lost = sum(1 for cell, i in zip(cells, ids, strict=True) if i and cell["grade_id"] != i)
    if lost:
        repaired.note("", f"{lost} cells had lost their metadata")
    ids = choose(cells, ids, assignment, repaired)
    answers, extras, last = {}, {START: []}, START
    free = {
        squeezed(cell.source)
        for cell in assignment.release.cells
        if cell.cell_type == "markdown" and not marks(cell)
    }
    for cell, grade_id in zip(cells, ids, strict=True):
        if grade_id is None:
            if squeezed(cell["source"]) not in free and cell["source"].strip():
                extras[last].append(extra(cell))
        elif grade_id != "drop":
            if grade_id in answers:  # a test or read-only cell that was doubled
                continue
            answers[grade_id], last = cell, grade_id
            extras[last] = []
    order = list(answers)
    repaired.notebook.cells = list(extras[START])
    for cell in assignment.source.cells:
        grade_id = marks(cell).get("grade_id")
        if grade_id:
            made = restored(cell, answers.get(grade_id), assignment, repaired)
            repaired.notebook.cells += [made, *extras.get(grade_id, [])]
        elif cell.cell_type == "markdown":  # code for looking at results is the student's
            repaired.notebook.cells.append(nbformat.from_dict(dict(cell)))
    for number, cell in enumerate(repaired.notebook.cells):
        cell.id = f"cell-{number}"  # the same page from the same file
    expected = [marks(c)["grade_id"] for c in assignment.source.cells if marks(c)]
    if order != [i for i in expected if i in answers]:
        repaired.note("", "the cells were in another order")
    return repaired


def extra(cell: dict):
    if cell["cell_type"] == "code":
        return nbformat.v4.new_code_cell(cell["source"])
    return with_pictures(nbformat.v4.new_markdown_cell(cell["source"]), cell)


def with_pictures(made, cell: dict):
    if made.cell_type == "markdown" and cell.get("attachments"):
        made.attachments = nbformat.from_dict(cell["attachments"])
    return made


def restored(cell, submitted: dict | None, assignment: Assignment, repaired: Repaired):
    """A source's cell as it is graded: with the student's answer if it is one."""
    mark = marks(cell)
    grade_id = mark["grade_id"]
    if not mark.get("solution"):
        cell = nbformat.from_dict(dict(cell))
        ours = {squeezed(assignment.cell(grade_id, form).source) for form in ("source", "release")}
        changed = submitted is not None and squeezed(submitted["source"]) not in ours
        if mark.get("grade"):
            question = assignment.question_of(grade_id)
            if submitted is None:
                repaired.note(question, "the test cell was deleted; put back")
            elif changed:
                repaired.note(question, "the test cell was changed; the source's own counts")
        elif submitted is None:
            repaired.note("", f"the read-only cell {grade_id!r} was deleted; put back")
        elif changed:
            repaired.note("", f"the read-only cell {grade_id!r} was changed; put back")
        return cell
    made = nbformat.from_dict(dict(assignment.cell(grade_id, "release")))
    if submitted is None:
        repaired.missing.add(grade_id)
        repaired.note(grade_id, "the answer cell was deleted")
        return made
    if submitted["cell_type"] != cell.cell_type:
        repaired.note(grade_id, f"it was a cell of type {submitted['cell_type']}; set right")
    made.source = submitted["source"]
    if mark.get("grade") and cell.cell_type == "code":
        # Graded by eye: what the student saw counts, not a shortened run.
        repaired.handed_in[grade_id] = outputs(submitted["outputs"])
    return with_pictures(made, submitted)
