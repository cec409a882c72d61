"""points.csv: what is in it, and what a person writes into it."""

import csv
import io
import re
from pathlib import Path

from course.grader import files

COLUMNS = ["student", "assignment", "question", "points", "max", "status", "rubric", "note"]
KEYS, REMARKS = COLUMNS[:6], COLUMNS[6:]
TOTALS = ["student", "assignment", "points", "max", "open", "status", "note"]
OPEN, BY_HAND, TESTED, MISSING, BLANK, REFUSED = (
    "open", "by hand", "tested", "missing", "blank", "not graded",
)
FORMULA = re.compile(r"'*[=+@\t\r\n\uff0b\uff0d\uff1d\uff20-]")  # the last four are wide + - = @
ITEM = re.compile(
    r"(?P<given>_+|-?\d+(?:[.,]\d+)?)\s*/\s*(?P<worth>\d+(?:\.\d+)?)\s+(?P<said>[^;]+)"
)


class Wrong(ValueError):
    """points.csv cannot be merged; the message names every row and what is wrong with it."""


def number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def template(question) -> str:
    """The rubric as a person fills it in: "_/2 names the cube; _/1 says where"."""
    return "; ".join(f"_/{worth:g} {said.replace(';', ',')}" for worth, said in question.rubric)


def safe(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: with an apostrophe, which meant() removes."""
    return f"'{text}" if FORMULA.match(text) else text


def meant(cell: str) -> str:
    """What safe() got, or a person typed: an apostrophe before a word is that person's."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def write(path: Path, columns: list[str], rows: list[dict]) -> None:
    made = io.StringIO()
    # With another end of lines the writer leaves a "\r" inside a cell unquoted.
    writer = csv.DictWriter(made, columns, lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        texts = {k: safe(v) if isinstance(v, str) else v for k, v in row.items()}
        writer.writerow({k: texts.get(k, "") for k in columns})
    files.write(path, made.getvalue())


def read(path: Path) -> list[dict]:
    """The rows of a points.csv that a spreadsheet may have saved, in order; what write() got.

    Raises Wrong if it is no such table, or cut off.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Wrong(
            f"{path.name} is not in UTF-8: save it again, in Excel as 'CSV UTF-8'"
        ) from None
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise Wrong(f"{path.name} is no table: {error}") from None
    lacking = [name for name in COLUMNS if not rows or name not in rows[0]]
    if lacking:
        raise Wrong(f"{path.name} has no column {', '.join(lacking)}")
    for number, row in enumerate(rows, 2):
        if None in row:
            raise Wrong(f"{path.name}, row {number} has more cells than the first row: a text with"
                        f" {delimiter!r} in it must stand between quotes")
        if any(row[k] is None for k in KEYS):
            raise Wrong(f"{path.name}, row {number} is cut off: save the table again")
    return [{k: meant(row[k] or "") if k in REMARKS else meant((row[k] or "").strip())
             for k in COLUMNS} for row in rows]


def given(row: dict, most: float) -> float | None:
    """The points that a person wrote into a row, as a number or item by item; None if nothing.

    Raises Wrong, without the row's name.
    """
    items = list(ITEM.finditer(row["rubric"]))
    filled = [item for item in items if not item["given"].startswith("_")]
    total = None
    if filled:
        if len(filled) < len(items):
            raise Wrong("some items of the rubric are still open")
        for item in filled:
            value = float(item["given"].replace(",", "."))
            if not 0 <= value <= float(item["worth"]):
                raise Wrong(f"{item[0].strip()!r}: an item gives 0 to {item['worth']}")
        total = sum(float(item["given"].replace(",", ".")) for item in filled)
    if row["points"]:
        try:
            points = float(row["points"].replace(",", "."))
        except ValueError:
            raise Wrong(f"points is {row['points']!r}, and must be a number") from None
        if total is not None and points != total:
            raise Wrong(f"points is {points:g}, and the rubric's items add up to {total:g}")
        total = points
    if total is not None and not 0 <= total <= most:
        raise Wrong(f"points is {total:g}, and may be 0 to {most:g}")
    return total
