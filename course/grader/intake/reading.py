"""Read what was handed in: any file, and no trust in it."""

import json

import nbformat

MOST_SHOWN = 5_000_000  # letters of a cell's outputs that are kept as they were handed in


class Unreadable(ValueError):
    """The file holds no notebook that could be graded; the message is for the instructor."""


def parse(data: bytes) -> list[dict]:
    """The cells of a notebook file as dicts with cell_type, source, grade_id. Raises Unreadable."""
    if not data.strip():
        raise Unreadable("the file is empty")
    try:
        notebook = json.loads(data.decode("utf-8-sig", errors="replace"))
    except (ValueError, RecursionError):
        raise Unreadable("not a notebook: the file is no JSON, or it is cut off") from None
    if not isinstance(notebook, dict):
        raise Unreadable("not a notebook: JSON without cells")
    cells = notebook.get("cells")
    if cells is None and isinstance(notebook.get("worksheets"), list):  # the format before 2015
        cells = [c for sheet in notebook["worksheets"] if isinstance(sheet, dict)
                 for c in sheet.get("cells", [])]
    if not isinstance(cells, list):
        raise Unreadable("not a notebook: JSON without cells")
    found = [clean(cell) for cell in cells if isinstance(cell, dict)]
    if not any(cell["source"].strip() for cell in found):
        raise Unreadable("the notebook is empty")
    return found


def clean(cell: dict) -> dict:
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    if not isinstance(source, str):
        source = ""
    # No lone surrogate: nothing could write it to a file.
    source = source.replace("\r\n", "\n").encode("utf-8", errors="replace").decode("utf-8")
    kind = cell.get("cell_type")
    metadata = cell.get("metadata")
    metadata = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    grade_id = metadata.get("grade_id") if isinstance(metadata, dict) else None
    return {
        "cell_type": kind if kind in {"code", "markdown", "raw"} else "markdown",
        "source": source,
        "grade_id": grade_id if isinstance(grade_id, str) else None,
        "outputs": cell.get("outputs"),
    }


def outputs(handed_in) -> list:
    """The outputs of a cell, as far as they are any."""
    found = []
    for output in handed_in if isinstance(handed_in, list) else []:
        try:
            output = nbformat.from_dict(output)
            kind = output.output_type
            if kind == "stream":
                text = joined(output.text)
                made = nbformat.v4.new_output("stream", name="stdout", text=text)
            elif kind in {"display_data", "execute_result"}:
                # A progress bar's widget has no picture of itself, and no page can draw it.
                data = {str(k): joined(v) for k, v in output.data.items()
                        if str(k).startswith(("text/", "image/"))}
                made = nbformat.v4.new_output("display_data", data=data)
            else:
                text = f"{output.ename}: {output.evalue}"
                made = nbformat.v4.new_output("stream", name="stdout", text=text)
        except (AttributeError, TypeError, ValueError):
            continue
        if len(json.dumps(made)) <= MOST_SHOWN:
            found.append(made)
    return found


def joined(text) -> str:
    text = "".join(text) if isinstance(text, list) else text
    return text if isinstance(text, str) else json.dumps(text)
