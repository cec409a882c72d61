"""What the pages fold away, on paper: a solution under its heading, a quiz as a list of choices."""

import re
from html.parser import HTMLParser
from string import ascii_uppercase

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

MARK = re.compile(
    r"<details\b[^>]*>\s*<summary\b[^>]*>(?P<summary>.*?)</summary>|(?P<close></details\s*>)",
    re.DOTALL | re.IGNORECASE,
)


class Fold(SphinxPostTransform):
    """Raw HTML does not reach the paper, so each `<details>` is rebuilt of nodes.

    One alone becomes its summary as a heading, and what it holds. Several in a row are the
    choices of a question: first all choices, then what each of them holds.
    """

    formats = ("latex",)
    default_priority = 10

    def run(self, **kwargs) -> None:
        parents = {id(raw.parent): raw.parent for raw in self.document.findall(is_fold)}
        for parent in parents.values():
            parent.children, found = [], group(events(list(parent.children)), parent)
            parent.extend(printed(found))


def is_fold(node: nodes.Node) -> bool:
    return (
        isinstance(node, nodes.raw)
        and "html" in node.get("format", "").split()
        and MARK.search(node.astext()) is not None
    )


def events(children: list[nodes.Node]):
    """The children in a row: ("open", summary), ("close", None) or ("node", node)."""
    for child in children:
        if not is_fold(child):
            yield "node", child
            continue
        text, end = child.astext(), 0
        for mark in MARK.finditer(text):
            yield from between(text[end : mark.start()])
            yield ("close", None) if mark["close"] else ("open", mark["summary"])
            end = mark.end()
        yield from between(text[end:])


def between(html: str):
    if html.strip():
        yield "node", nodes.paragraph("", "", *inline(html))


def group(stream, parent: nodes.Element) -> list:
    """Nodes, and a pair (summary, its list) for each fold."""
    found = [[]]
    summaries = []
    for kind, value in stream:
        if kind == "node":
            found[-1].append(value)
        elif kind == "open":
            summaries.append(value)
            found.append([])
        elif not summaries:
            raise ValueError(f"</details> without <details>: {parent.astext()[:200]!r}")
        else:
            inside = found.pop()
            found[-1].append((summaries.pop(), inside))
    if summaries:
        raise ValueError(f"<details> is never closed; its summary: {summaries[-1]!r}")
    return found[0]


def printed(found: list) -> list[nodes.Node]:
    done, row = [], []
    for item in [*found, None]:
        if isinstance(item, tuple):
            row.append(item)
            continue
        if row:
            done += [folded(*row[0])] if len(row) == 1 else quiz(row)
            row = []
        if item is not None:
            done.append(item)
    return done


def folded(summary: str, inside: list) -> nodes.Node:
    heading = nodes.paragraph("", "", nodes.strong("", "", *inline(summary)))
    return nodes.container("", heading, *printed(inside), classes=["ddimfold"])


def quiz(row: list[tuple[str, list]]) -> list[nodes.Node]:
    choices, told = letters(), letters()
    for letter, (summary, inside) in zip(ascii_uppercase, row, strict=False):
        # The list has letters of its own.
        summary = summary.strip().removeprefix(f"{letter}. ")
        choices += nodes.list_item("", nodes.paragraph("", "", *inline(summary)))
        told += nodes.list_item("", *printed(inside))
    return [choices, nodes.container("", told, classes=["ddimfold"])]


def letters() -> nodes.enumerated_list:
    return nodes.enumerated_list(enumtype="upperalpha", prefix="", suffix=".")


def inline(html: str) -> list[nodes.Node]:
    reader = Inline()
    reader.feed(html.strip())
    reader.close()
    return reader.found[0]


class Inline(HTMLParser):
    """A line of HTML as nodes: emphasis, code, formulas between dollars, text."""

    KINDS = {"b": nodes.strong, "strong": nodes.strong, "em": nodes.emphasis, "i": nodes.emphasis}
    KINDS |= {"code": nodes.literal, "sub": nodes.subscript, "sup": nodes.superscript}

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.found = [[]]

    def handle_starttag(self, tag, attributes):
        if tag in self.KINDS:
            self.found.append([])

    def handle_endtag(self, tag):
        if tag in self.KINDS and len(self.found) > 1:
            inside = self.found.pop()
            self.found[-1].append(self.KINDS[tag]("", "", *inside))

    def handle_data(self, text):
        for part in re.split(r"(\$[^$]+\$|\\\(.+?\\\))", text):
            formula = re.fullmatch(r"\$(.+)\$|\\\((.+)\\\)", part)
            if formula:
                tex = formula[1] or formula[2]
                self.found[-1].append(nodes.math("", tex))
            elif part:
                self.found[-1].append(nodes.Text(part))
