"""Numbers and tables of the measured records in data/results, so that no page holds a typed one.

The role `ddim-fact` puts in a number, as `mnist-quality.json distance`. The directive `record`
shows a table, and below it where its records come from:

    ```{record} training-speed.json
    :rows: rows
    :where: precision=bf16

    preset | preset | `{}`
    gflop | GFLOP a picture
    images_per_second | pictures a second | {:.1f}
    ```

Each line is a column: where its value stands in a row, its head, and a format of Python's if it
needs one; of a truth the format is the two words "yes/no". Where it begins with a record's name
the value stands there, and {key} is the row's own: `mnist-speed.json rows[S={S},eta=0.0].seconds`.
` * ` and ` / ` compute: `seconds / 3600`.

The rows are those at the path `rows` of the record. Of a dict each entry is one, with its key as
`name`, and with `value` if it is no dict. Several records are a row each. `where` chooses among
them; `turned` makes a line of each column. A row that has nothing but its first column is left
out, what it alone lacks is a dash, and what every row lacks stops the build.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ddim_shared.repository import ROOT
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from ddim_records import fields
from ddim_records.fields import Missing

logger = logging.getLogger(__name__)
DASH = "–"


@dataclass(frozen=True)
class Column:
    """Where the values stand, the head, and how a value is written."""

    path: str
    head: str
    form: str = ""

    def value(self, row: dict, root: Path) -> object:
        """The row's value, computed where the path has ` * ` or ` / `."""
        first, *rest = re.split(r" ([*/]) ", self.path)
        value = term(first, row, root)
        for sign, text in zip(rest[::2], rest[1::2], strict=True):
            other = term(text, row, root)
            try:
                value = value * other if sign == "*" else value / other
            except (TypeError, ZeroDivisionError) as error:
                raise ValueError(f"{self.path} cannot be computed: {error}") from None
        return value

    def written(self, value: object) -> str:
        if isinstance(value, bool) and self.form.count("/") == 1:
            return self.form.split("/")[not value]
        try:
            text = self.form.format(value) if self.form else fields.shown(value)
        except (ValueError, TypeError, LookupError) as error:
            raise ValueError(f"{self.path}: the format {self.form!r} does not fit {value!r}: "
                             f"{error}") from None
        return text.replace("|", r"\|")


def column(line: str) -> Column:
    parts = [part.strip() for part in line.split("|")]
    if len(parts) not in (2, 3) or not parts[0]:
        raise ValueError("a column must read 'path | head' or 'path | head | format', and is "
                         f"{line!r}")
    return Column(*parts)


def term(text: str, row: dict, root: Path) -> object:
    """A number, a value of the row, or one of another record."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if ".json " in text:
        try:
            return fields.fact(text.format_map(row), root)[0]
        except KeyError as error:
            raise Missing(f"the row has no {error} for {text!r}") from None
    return fields.field(row, text)


def rows_of(names: list[str], path: str, where: str, root: Path = ROOT) -> list[dict]:
    """The rows of a table: several records, or what lies at a path of one."""
    found = [fields.load(name, root) for name in names]
    if len(names) == 1:
        found = fields.field(found[0], path)
    if isinstance(found, dict):
        found = [{"name": key} | (value if isinstance(value, dict) else {"value": value})
                 for key, value in found.items()]
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ValueError(f"{names[0]} {path} must be a list or a dict of rows, and is "
                         f"{found!r:.60}")
    found = fields.chosen(found, where) if where else found
    if not found:
        raise Missing(f"no row of {', '.join(names)} has {where or path}")
    return found


def table(rows: list[dict], columns: list[Column], turned: bool = False, root: Path = ROOT) -> str:
    """Markdown of the columns' values; the first column is text, the others are numbers."""
    cells, lacks = [], [""] * len(columns)
    for row in rows:
        cells.append([])
        for i, one in enumerate(columns):
            try:
                value = one.value(row, root)
            except Missing as error:
                value, lacks[i] = None, str(error)
            cells[-1].append(DASH if value is None else one.written(value))
    for i, one in enumerate(columns):
        if all(line[i] == DASH for line in cells):
            raise Missing(f"no row has {one.path}: {lacks[i] or 'all are empty'}")
    cells = [line for line in cells if set(line[1:]) != {DASH}]
    lines = [[one.head for one in columns], *cells]
    lines = [list(line) for line in zip(*lines, strict=True)] if turned else lines
    lines.insert(1, ["---"] + ["---:"] * (len(lines[0]) - 1))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def named(names: list[str], columns: list[Column]) -> list[str]:
    """The records of a table and those that its columns name, but for names with a {key}."""
    others = re.findall(r"(\S+\.json) ", " ".join(one.path for one in columns))
    return list(dict.fromkeys([*names, *(name for name in others if "{" not in name)]))


def origins(names: list[str], told: list[str], root: Path = ROOT) -> str:
    """A line that says where records come from; of those that were told before the names alone."""
    files: dict[str, list[str]] = {}
    for name in names:
        said = "as above" if name in told else fields.origin(fields.load(name, root))
        files.setdefault(said, []).append(f"`{fields.RESULTS}/{name}`")
    return " ".join(f"{', '.join(some)}: {said}." for said, some in files.items()) + "\n"


class Record(SphinxDirective):
    """A table of records, and where they come from."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec = {"rows": directives.unchanged, "where": directives.unchanged,
                   "turned": directives.flag}

    def run(self) -> list[nodes.Node]:
        names, holder = self.arguments[0].split(), nodes.Element()
        told = self.env.temp_data.setdefault("ddim_records", [])
        try:
            columns = [column(line) for line in self.content if line.strip()]
            rows = rows_of(names, self.options.get("rows", ""), self.options.get("where", ""))
            used = named(names, columns)
            text = f"{table(rows, columns, 'turned' in self.options)}\n{origins(used, told)}"
        except ValueError as error:
            logger.warning("%s", error, location=self.get_location(), type="ddim",
                           subtype="records")
            return []
        told += used
        for name in used:
            self.env.note_dependency(str(ROOT / fields.RESULTS / name))
        lines = StringList(text.splitlines(), source=self.env.docname)
        self.state.nested_parse(lines, self.content_offset, holder)
        return holder.children


class Fact(SphinxRole):
    """A number or a word from a record."""

    def run(self):
        node = nodes.inline("", classes=["ddim-fact"])
        try:
            value, node["record"] = fields.fact(self.text)
            parts = fields.shown(value).split("$")
            node += [nodes.math("", part) if i % 2 else nodes.Text(part)
                     for i, part in enumerate(parts) if part]
            self.env.note_dependency(str(ROOT / fields.RESULTS / node["record"]))
        except ValueError as error:
            logger.warning("%s", error, location=self.get_location(), type="ddim",
                           subtype="records")
        return [node], []


def setup(app: Sphinx) -> dict:
    app.add_role("ddim-fact", Fact())
    app.add_directive("record", Record)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
