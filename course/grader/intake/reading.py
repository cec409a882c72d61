"""Read what was handed in: any file, and no trust in it."""

import json
import re

import nbformat

MOST_SHOWN = 5_000_000  # letters of an output or a picture that are kept as they were handed in
HEAD = 100  # bytes that tell whether a file may be a notebook
BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*")


class Unreadable(ValueError):
    """The file holds no notebook that could be graded; the message is for the instructor."""


def decoded(data: bytes) -> tuple[str, str]:
    """The text of a file in any encoding that an editor saves, and a note if it is not UTF-8."""
    encoding = json.detect_encoding(data)
    text = data.decode(encoding, errors="replace")
    if not encoding.startswith("utf-8"):
        return text.removeprefix("\ufeff"), f"the file is in {encoding.upper()}"
    try:
        return data.decode(encoding), ""
    except UnicodeDecodeError:
        odd = text.count("\ufffd")
        if odd < sum(letter > "\x7f" for letter in text) - odd:
            return text, f"{odd} bytes that are no UTF-8 were replaced"
        return data.decode("cp1252", errors="replace"), "not in UTF-8, read as Windows-1252"


def may_be_notebook(head: bytes) -> bool:
    return decoded(head)[0].lstrip().startswith("{")


def is_notebook(data: bytes) -> bool:
    """Whether a file holds a notebook, whatever it is called."""
    if not may_be_notebook(data[:HEAD]):
        return False
    text = decoded(data)[0]
    return '"nbformat"' in text and ('"cells"' in text or '"worksheets"' in text)


def parse(data: bytes) -> tuple[list[dict], str]:
    """The cells of a notebook file as dicts with cell_type, source, grade_id, outputs, attachments;
    and a note if something was odd. Raises Unreadable."""
    if not data.strip(b"\0 \t\r\n"):
        raise Unreadable("the file is empty")
    text, note = decoded(data)
    try:
        notebook = json.loads(text)
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
    return found, note


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
        "attachments": pictures(cell.get("attachments")),
    }


def pictures(attachments) -> dict[str, dict[str, str]]:
    """The pictures that were pasted into a cell, as far as they are any."""
    found: dict[str, dict[str, str]] = {}
    for name, forms in attachments.items() if isinstance(attachments, dict) else ():
        for kind, data in forms.items() if isinstance(forms, dict) else ():
            data = "".join(map(str, data)) if isinstance(data, list) else data
            shown = re.fullmatch(r"image/[\w.+-]+", kind) and isinstance(data, str)
            if shown and len(data) <= MOST_SHOWN and BASE64.fullmatch(data):
                found.setdefault(name, {})[kind] = data
    return found


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
            if len(json.dumps(made)) <= MOST_SHOWN:
                found.append(made)
        except (AttributeError, TypeError, ValueError, RecursionError):
            continue
    return found


def joined(text) -> str:
    text = "".join(text) if isinstance(text, list) else text
    return text if isinstance(text, str) else json.dumps(text)
