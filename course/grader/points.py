"""points.csv: what is in it, and what a person writes into it."""

import csv
import re
from pathlib import Path

COLUMNS = ["student", "assignment", "question", "points", "max", "status", "rubric", "note"]
TOTALS = ["student", "assignment", "points", "max", "open", "status", "note"]
OPEN, BY_HAND, TESTED, MISSING, BLANK, REFUSED = (
    "open", "by hand", "tested", "missing", "blank", "not graded",
)
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
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in {"=", "+", "@", "-", "\t", "\r"} else text


def write(path: Path, columns: list[str], rows: list[dict]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            texts = {k: safe(v) if isinstance(v, str) else v for k, v in row.items()}
            writer.writerow({k: texts.get(k, "") for k in columns})


def read(path: Path) -> list[dict]:
    """The rows of a points.csv that a spreadsheet may have saved, in order."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise Wrong(
            f"{path.name} is not in UTF-8: save it again, in Excel as 'CSV UTF-8'"
        ) from None
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    rows = list(csv.DictReader(text.splitlines(keepends=True), delimiter=delimiter))
    lacking = [name for name in COLUMNS if not rows or name not in rows[0]]
    if lacking:
        raise Wrong(f"{path.name} has no column {', '.join(lacking)}")
    return [{k: (row[k] or "").strip().removeprefix("'") for k in COLUMNS} for row in rows]


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
