"""Tables on paper: columns as wide as their text needs, so that none runs off the page."""

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform

LINE = 84  # letters of a table's text that fit side by side
GAP = 2  # the space between two columns, in letters
LONG = 28  # rows; a longer table may break over pages


class Tables(SphinxPostTransform):
    """Gives a wide or a long table the widths of its columns; others are left to LaTeX."""

    formats = ("latex",)
    default_priority = 30

    def run(self, **kwargs) -> None:
        for table in list(self.document.findall(nodes.table)):
            for paragraph in list(table.findall(nodes.paragraph)):
                # LaTeX would give it a line of its own.
                if not paragraph.children:
                    paragraph.parent.remove(paragraph)
            rows = [list(row.findall(nodes.entry)) for row in table.findall(nodes.row)]
            before = table.parent[max(0, table.parent.index(table) - 1)]
            merged = any({"morecols", "morerows"} & set(e.attributes) for row in rows for e in row)
            if merged or isinstance(before, addnodes.tabular_col_spec):
                continue
            cells = [[size(entry) for entry in column] for column in zip(*rows, strict=True)]
            natural = [max(whole for whole, _ in column) for column in cells]
            needed = [max(word for _, word in column) for column in cells]
            long = len(rows) > LONG
            if long:
                table["classes"].append("longtable")
            if long or sum(natural) + GAP * len(natural) > LINE:
                spec = addnodes.tabular_col_spec(spec=specification(widths(natural, needed)))
                table.parent.insert(table.parent.index(table), spec)


def size(entry: nodes.Element) -> tuple[int, int]:
    """Letters of a cell: in its longest line, and in what cannot be broken."""
    lines, words = [0], [0]
    for paragraph in entry.findall(nodes.paragraph):
        parts = [printed(leaf) for leaf in paragraph.findall(is_leaf)]
        lines.append(len("".join(parts)))
        words += [len(word) for word in "".join(parts).split()]
    # A bold heading is wider than its letters.
    return max(lines) + 1, max(words) + 1


def is_leaf(node: nodes.Node) -> bool:
    within = isinstance(node.parent, nodes.math)
    return isinstance(node, nodes.math) or (isinstance(node, nodes.Text) and not within)


def printed(leaf: nodes.Node) -> str:
    """What a reader sees of it, letter for letter. A formula is not broken."""
    if not isinstance(leaf, nodes.math):
        return leaf.astext()
    text = re.sub(r"\\(frac|sqrt|bar|hat|tilde|left|right|[,;:! ])", "", leaf.astext())
    return re.sub(r"[{}_^\s]", "", re.sub(r"\\[a-zA-Z]+", "m", text))


def widths(natural: list[int], needed: list[int]) -> list[int]:
    """Widths of the columns, in letters, with their sum at most LINE if the words allow it.

    A column that needs less than its share gets what it needs; the others share the rest, by the
    length of their text.
    """
    room = LINE - GAP * len(natural)
    if sum(natural) <= room:
        return natural
    given = {}
    while True:
        left = room - sum(given.values())
        wide = [i for i in range(len(natural)) if i not in given]
        total = sum(natural[i] for i in wide)
        share = {i: left * natural[i] / total for i in wide}
        fair = left / len(wide)
        settled = {i: natural[i] for i in wide if natural[i] <= fair}
        settled |= {i: needed[i] for i in wide if i not in settled and share[i] < needed[i]}
        if not settled or len(settled) == len(wide):
            share |= settled
            return [given.get(i) or max(needed[i], int(share[i])) for i in range(len(natural))]
        given |= settled


def specification(columns: list[int]) -> str:
    """The columns for LaTeX: ragged on the right, as parts of the line."""
    whole = max(LINE, sum(columns) + GAP * len(columns))
    return "".join(
        rf">{{\raggedright\arraybackslash}}\X{{{width + GAP}}}{{{whole}}}" for width in columns
    )
