r"""Numbered equations as places: an id for each, links to it, and the page that lists them.

The chapters stay plain notebooks, which Colab shows too: an equation has \tag{7} and nothing else,
and the text says "equation (7)". The ids and the links are made here, while the book is built.
"""

from __future__ import annotations

import re

from ddim_shared import text_nodes
from ddim_shared.nested import generated
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

from ddim_equations import page, sources

logger = logging.getLogger(__name__)
ONE = rf"\(({sources.NUMBER})\)"
# "equation (7)", "equations (6), (7) and (8)"; the papers' numbers have no brackets.
NAMED = re.compile(rf"\b(?:[Ee]quations?|[Ee]qs?\.)\s+{ONE}(?:(?:,\s+and|,|\s+and|\s+or|\s+to)\s+"
                   rf"{ONE})*")
# "(11.2)" alone, and what this book says of a whole number alone.
BARE = re.compile(r"(?<!\S)\((\d+\.\d+)\)|\b(?:[Ll]oss|chain|in|where)\s+\((\d+)\)")
UNTOUCHED = (*text_nodes.UNTOUCHED, nodes.term, addnodes.desc_signature)


def load(app: Sphinx) -> None:
    """Read the equations, and say what does not fit together."""
    app.ddim_equations = {equation.number: equation for equation in sources.equations()}
    for problem in sources.problems():
        logger.warning(problem, type="ddim", subtype="equations")


def anchor(app: Sphinx, doctree: nodes.document) -> None:
    """The id of each numbered equation of a chapter."""
    for block in doctree.findall(nodes.math_block):
        tag = re.search(rf"\\tag\{{({sources.NUMBER})\}}", block.astext())
        equation = tag and app.ddim_equations.get(tag[1])
        if equation and equation.chapter == app.env.docname:
            block["ids"].append(equation.anchor)


def link(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Make mentions links; on paper, also mark the places that they lead to."""
    for text in text_nodes.texts(doctree, UNTOUCHED):
        if links := linked(app, docname, text):
            text.parent.replace(text, text_nodes.cut(str(text), links))
    if app.builder.format == "latex":
        for block in list(doctree.findall(nodes.math_block)):
            if block["ids"]:
                place = nodes.target("", "", ids=list(block["ids"]))
                block.parent.insert(block.parent.index(block), place)


def linked(app: Sphinx, docname: str, text: nodes.Text) -> list[tuple[int, int, nodes.Node]]:
    """Where a text mentions equations, from where to where, each with its link."""
    said, links = str(text), []
    for start, stop, number, named in mentions(said):
        equation = app.ddim_equations.get(number)
        if equation is None:
            if named:
                logger.warning("a mention of equation (%s), and no chapter has it", number,
                               type="ddim", subtype="equations", location=docname)
            continue
        links.append((start, stop, make_refnode(
            app.builder, docname, equation.chapter, equation.anchor,
            nodes.inline("", said[start:stop]))))
    return links


def mentions(said: str) -> list[tuple[int, int, str, bool]]:
    """What becomes a link: (start, end, number, whether it is called an equation).

    A single mention is linked with its word, several each with their number.
    """
    found = []
    for match in NAMED.finditer(said):
        numbers = list(re.finditer(ONE, match[0]))
        if len(numbers) == 1:
            found.append((match.start(), match.end(), numbers[0][1], True))
        else:
            found += [(match.start() + n.start(), match.start() + n.end(), n[1], True)
                      for n in numbers]
    taken = [range(start, stop) for start, stop, *_ in found]
    for match in BARE.finditer(said):
        group = 1 if match[1] else 2
        start, stop = match.start(group) - 1, match.end(group) + 1
        if not any(start in span for span in taken):
            found.append((start, stop, match[group], False))
    return sorted(found)


def setup(app: Sphinx) -> dict:
    app.add_directive("ddim-equations", generated(page.markdown, page.files))
    app.connect("builder-inited", load)
    app.connect("doctree-read", anchor)
    app.connect("doctree-resolved", link, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
