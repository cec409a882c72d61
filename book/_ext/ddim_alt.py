"""Alt text on every picture, or the build says so.

What the pictures of a page are is known when the page is written out: notebooks' outputs become
images only then. HTML that an output brings along is looked through, too.
"""

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
IMG = re.compile(r"<img\b[^>]*>", re.IGNORECASE)
ALT = re.compile(r"""\balt=("[^"]*"|'[^']*')""", re.IGNORECASE)
FILE = re.compile(r"\.(png|jpe?g|svg|gif|webp)$", re.IGNORECASE)
WORDS = 3


def fault(alt: str | None) -> str | None:
    """What is wrong with an alt text."""
    if alt is None or not alt.strip():
        return "has no alt text"
    if FILE.search(alt.strip()):
        return f"has a file's name for alt text: {alt!r}"
    return None


def too_short(alt: str) -> str | None:
    return None if len(alt.split()) >= WORDS else f"has an alt text of {alt!r}, too short to see by"


def look(app: Sphinx, doctree: nodes.document, name: str) -> None:
    for image in doctree.findall(nodes.image):
        alt = image.get("alt")
        what = fault(alt) or too_short(alt)
        if what:
            warn(f"picture {image.get('uri')!r} {what}", image, name)
    for raw in doctree.findall(nodes.raw):
        if "html" not in raw.get("format", ""):
            continue
        for tag in IMG.findall(raw.astext()):
            found = ALT.search(tag)
            what = fault(found and found[1][1:-1])
            if what:
                warn(f"picture in HTML {tag[:60]!r} {what}", raw, name)


def warn(message: str, node: nodes.Node, name: str) -> None:
    place = (name, node.line) if node.line else name
    LOGGER.warning(message, location=place, type="ddim", subtype="alt")


def setup(app: Sphinx) -> dict:
    # After the transforms that choose which of an output's forms is shown.
    app.connect("doctree-resolved", look, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
