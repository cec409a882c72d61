"""Plain text in a parsed page: where it is, and whether it may be touched."""

from __future__ import annotations

from docutils import nodes
from sphinx import addnodes

# Elements in which a text stays as it is.
UNTOUCHED = (nodes.title, nodes.reference, nodes.FixedTextElement, nodes.literal, nodes.math,
             nodes.math_block, nodes.raw, nodes.caption, addnodes.pending_xref, addnodes.toctree)


def texts(tree: nodes.Element, untouched: tuple[type, ...]) -> list[nodes.Text]:
    """The texts outside of elements of these kinds, each as long as it can be.

    A line's end is a text of its own to the parser, and would cut "network call" in two.
    """
    for element in list(tree.findall(nodes.TextElement)):
        merged: list[nodes.Node] = []
        for child in element.children:
            if merged and isinstance(child, nodes.Text) and isinstance(merged[-1], nodes.Text):
                merged[-1] = nodes.Text(str(merged[-1]) + str(child))
            else:
                merged.append(child)
        if len(merged) < len(element.children):
            element.children = []
            element.extend(merged)
    return [text for text in tree.findall(nodes.Text) if not inside(text, untouched)]


def cut(text: str, links: list[tuple[int, int, nodes.Node]]) -> list[nodes.Node]:
    """A text with nodes in it: from where to where each stands, and itself, in order."""
    parts, end = [], 0
    for start, stop, link in links:
        parts += [nodes.Text(text[end:start]), link]
        end = stop
    return [part for part in [*parts, nodes.Text(text[end:])] if part.astext()]


def inside(node: nodes.Node, kinds: tuple[type, ...]) -> bool:
    """Whether one of the elements around a node is of these kinds."""
    node = node.parent
    while node is not None and not isinstance(node, kinds):
        node = node.parent
    return node is not None
