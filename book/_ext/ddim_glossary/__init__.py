"""Glossary terms, linked where a chapter uses them first.

The chapters stay plain notebooks; the links are made while the book is built, with the meaning as a
tooltip. Headings, code, formulas, tables, captions, the box under the title and links are left
alone.
"""

from __future__ import annotations

import re

from ddim_shared import text_nodes
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

from ddim_glossary import terms as glossary_terms

logger = logging.getLogger(__name__)
GLOSSARY = "book/glossary"
UNTOUCHED = (*text_nodes.UNTOUCHED, nodes.table, nodes.legend, nodes.block_quote)


def anchor(app: Sphinx, doctree: nodes.document) -> None:
    """On the glossary's page: an id for each entry, and its name without its other forms."""
    if app.env.docname != GLOSSARY:
        return
    terms = glossary_terms.terms()
    entries = list(doctree.findall(nodes.term))
    if len(entries) != len(terms):
        logger.warning("the glossary has %d entries and %d are read from it", len(entries),
                       len(terms), type="ddim", subtype="glossary")
    for entry, term in zip(entries, terms, strict=False):
        entry["ids"].append(term.anchor)
        entry.children = []
        entry += nodes.Text(term.name)


def chapter_of(docname: str) -> str | None:
    """13_where_this_leads for a chapter, None for another page."""
    match = re.fullmatch(r"book/(\d\d_\w+)", docname)
    return match and match[1]


def link(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """The first use of each term, in each chapter (on paper all chapters are one document)."""
    files = list(doctree.findall(addnodes.start_of_file)) or [doctree]
    for part in files:
        page = part.get("docname", docname) if part is not doctree else docname
        if chapter_of(page):
            link_chapter(app, part, page, docname)


def link_chapter(app: Sphinx, part: nodes.Element, page: str, docname: str) -> None:
    left = glossary_terms.terms()
    for text in text_nodes.texts(part, UNTOUCHED):
        if text_nodes.inside(text, (nodes.paragraph,)):
            uses = glossary_terms.first_uses(str(text), left, chapter_of(page))
            if uses:
                links = [(start, stop, reference(app, docname, str(text)[start:stop], term))
                         for start, stop, term in uses]
                text.parent.replace(text, text_nodes.cut(str(text), links))
                left = [term for term in left if term not in [use[2] for use in uses]]


def reference(app: Sphinx, docname: str, said: str,
              term: glossary_terms.Term) -> nodes.reference:
    link = make_refnode(app.builder, docname, GLOSSARY, term.anchor, nodes.Text(said),
                        glossary_terms.plain(term.meaning))
    link["classes"].append("ddim-term")
    return link


def setup(app: Sphinx) -> dict:
    app.connect("doctree-read", anchor)
    # After the links to equations, which are more exact.
    app.connect("doctree-resolved", link, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
