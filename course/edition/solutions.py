"""Cut the folded solutions out of the sources, or say why that cannot be done for certain.

A solution is written in one way only, in a text cell under a heading "Exercises":

    <details>
    <summary>Solution</summary>

    ...

    </details>

Whatever looks like a solution and is written otherwise is an error, since it would go out.
"""

import json
import re
from dataclasses import dataclass, field

IN_ITS_PLACE = "*(Solution in the full edition.)*"
TAG = re.compile(r"</?\s*(?:details|summary)\b[^>]*>", re.IGNORECASE)
OPENING = "<details>\n<summary>Solution</summary>\n"
# What else may be folded among the exercises; it stays.
STAYS = {"Hint"}
HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*$", re.MULTILINE)
EXERCISE = re.compile(r"^\*\*(\d+\.\d+)\*\*", re.MULTILINE)
SUSPECT = [
    # The word as a label: "**Solution.**", "### Solution", "<!-- solution -->", "# Solution:".
    re.compile(r"^\W*(?:the\s+)?solutions?(?:\s+(?:to|of|for)\b[a-z\s]*)?(?:\s*\d[\d.]*)?\s*"
               r"(?:[.:*_#>-]|$)", re.I | re.M),
    re.compile(r"^\W*\{(?:dropdown|admonition|solution)[^}]*\}[^\n]*solution", re.I | re.M),
    re.compile(r"\{solution\b", re.I),
    re.compile(r"\b(?:BEGIN|END) SOLUTION\b"),
]


class Unclear(ValueError):
    """A solution may stand where this script cannot cut it."""


@dataclass
class Cutter:
    """Cuts the parts of one source, in order; it remembers whether the exercises have begun."""

    name: str
    exercises: list[str] = field(default_factory=list)
    solutions: list[str] = field(default_factory=list)
    level: int = 0  # of the heading "Exercises" while under it, else 0

    def text(self, source: str, place: str) -> str:
        """The text without its solutions."""
        kept, end = [], 0
        for start, stop, summary in self.folds(source, place):
            self.walk(source[end:start], place)
            kept.append(source[end:start])
            if summary == "Solution":
                self.solutions.append(self.body(source[start:stop], place))
                kept.append(IN_ITS_PLACE)
            else:
                self.check_summary(summary, place)
                kept.append(source[start:stop])
            end = stop
        self.walk(source[end:], place)
        kept.append(source[end:])
        return self.unsuspicious("".join(kept), place)

    def folds(self, source: str, place: str):
        """Begin, end and summary of each outermost <details>."""
        depth, begin, summary, inside = 0, 0, None, False
        for tag in TAG.finditer(source):
            name = re.sub(r"[<>\s]", "", tag[0].lower())
            if name.startswith("details"):
                if depth == 0:
                    begin, summary = tag.start(), None
                elif summary == "Solution":
                    raise self.unclear(place, "a solution holds another <details>")
                depth += 1
            elif name.startswith("summary"):
                inside, opened = True, tag.end()
            elif name == "/summary" and inside and depth:
                said = source[opened : tag.start()]
                if depth > 1 and "solution" in said.lower():
                    raise self.unclear(place, f"the summary {said!r} is inside another <details>")
                summary, inside = (said if depth == 1 else summary), False
            elif name == "/details" and depth and not inside and summary is not None:
                depth -= 1
                if depth == 0:
                    yield begin, tag.end(), summary
            else:
                raise self.unclear(place, f"{tag[0]} has no partner")
        if depth or inside:
            raise self.unclear(place, "a <details> is never closed")

    def body(self, fold: str, place: str) -> str:
        if not fold.startswith(OPENING) or not fold.endswith("\n</details>"):
            said = fold[: len(OPENING) + 20]
            raise self.unclear(place, f"a solution begins {said!r}, and must begin {OPENING!r}")
        if not self.level:
            raise self.unclear(place, 'a solution stands outside of the section "Exercises"')
        return fold[len(OPENING) : -len("</details>")].strip()

    def check_summary(self, summary: str, place: str) -> None:
        if re.search("solution", summary, re.IGNORECASE):
            raise self.unclear(place, f'the summary is {summary!r}, and must be "Solution"')
        if self.level and summary not in STAYS:
            allowed = " or ".join(f'"{name}"' for name in ["Solution", *sorted(STAYS)])
            raise self.unclear(
                place, f"among the exercises a summary is {summary!r}, and may be {allowed}"
            )

    def walk(self, source: str, place: str) -> None:
        """Follow headings and exercises."""
        for line in source.split("\n"):
            if heading := HEADING.match(line):
                depth = len(heading[1])
                if re.match(r"exercises?\b", heading[2], re.IGNORECASE):
                    self.level = depth
                elif self.level and depth <= self.level:
                    self.level = 0
            if self.level and (exercise := EXERCISE.match(line)):
                if len(self.exercises) != len(self.solutions):
                    raise self.unclear(place, f"exercise {self.exercises[-1]} has no solution")
                self.exercises.append(exercise[1])

    def code(self, source: str, place: str) -> str:
        if TAG.search(source) and re.search("solution", source, re.IGNORECASE):
            raise self.unclear(place, "code holds a folded solution")
        return self.unsuspicious(source, place)

    def unsuspicious(self, text: str, place: str) -> str:
        rest = text.replace(IN_ITS_PLACE, "")
        for pattern in SUSPECT:
            if found := pattern.search(rest):
                raise self.unclear(place, f"{found[0].strip()!r} looks like a solution")
        return text

    def metadata(self, cell: dict, place: str) -> None:
        # What a grading tool notes of a cell says where students write theirs.
        noted = {key: value for key, value in cell["metadata"].items() if key != "nbgrader"}
        if "solution" in json.dumps([noted, cell.get("attachments")]).lower():
            raise self.unclear(place, "the cell's metadata speak of a solution")

    def done(self) -> None:
        if len(self.exercises) != len(self.solutions):
            raise self.unclear("at its end", f"{len(self.exercises)} exercises have"
                               f" {len(self.solutions)} solutions, and must have one each")

    def unclear(self, place: str, why: str) -> Unclear:
        return Unclear(f"{self.name}, {place}: {why}")


def cut_notebook(notebook: dict, name: str) -> tuple[dict, list[str]]:
    """The notebook without solutions, and the solutions. Raises Unclear."""
    cutter, cells = Cutter(name), []
    for index, cell in enumerate(notebook["cells"]):
        place = f"cell {index}"
        cutter.metadata(cell, place)
        source = "".join(cell["source"])
        cut = cutter.code if cell["cell_type"] == "code" else cutter.text
        cells.append(cell | {"source": cut(source, place)})
    cutter.done()
    return notebook | {"cells": cells}, cutter.solutions


def cut_page(text: str, name: str) -> tuple[str, list[str]]:
    """The same for a page of text."""
    cutter = Cutter(name)
    text = cutter.text(text, "the page")
    cutter.done()
    return text, cutter.solutions
