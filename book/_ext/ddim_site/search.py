"""Search that finds what a reader types: names of symbols, words without their accents.

The index of a page holds its words. To these come, as keywords: sigma_hat for what the page sets as
a sigma with a hat, and frechet for Fréchet. Chapters stand before the reference in the results, and
the excerpt below a result comes from the article alone (search_page.js).
"""

import re
import unicodedata

from ddim_shared.greek import GREEK
from docutils import nodes
from sphinx.application import Sphinx

ACCENTED = re.compile(r"\\(hat|bar|tilde)\s*\{?\s*\\?([A-Za-z]+)\}?")
WORD = re.compile(r"[^\W\d_]+")
# Sphinx 7 has no hook in its search page's script; this becomes part of language_data.js.
SCORER = "book/_ext/ddim_site/scorer.js"


def keywords(text: str, formulas: list[str]) -> list[str]:
    """Words that a reader may type for what the page holds, and does not hold as such."""
    pairs = [pair for formula in formulas for pair in ACCENTED.findall(formula)]
    found = {f"{letter}_{mark}" for mark, letter in pairs}
    for word in WORD.findall(text):
        if not word.isascii():
            parts = unicodedata.normalize("NFKD", word)
            bare = "".join(sign for sign in parts if not unicodedata.combining(sign))
            if bare.isascii() and bare.isalpha():
                found.add(bare.lower())
    present = {word.lower() for word in re.findall(r"\w+", text)}
    return sorted(found - present)


def add(app: Sphinx, doctree: nodes.document) -> None:
    formulas = [node.astext() for kind in (nodes.math, nodes.math_block)
                for node in doctree.findall(kind)]
    words = keywords(doctree.astext(), formulas)
    if words:
        doctree.append(nodes.meta(name="keywords", content=", ".join(words)))


def letters(app: Sphinx, name: str, template: str, context: dict, doctree) -> None:
    """For search_page.js, by way of the page's template."""
    context["greek"] = GREEK


def setup(app: Sphinx) -> dict:
    app.connect("doctree-read", add)
    app.connect("html-page-context", letters)
    app.config.html_search_scorer = SCORER
    return {"parallel_read_safe": True, "parallel_write_safe": True, "version": "1"}
