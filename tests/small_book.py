"""A few pages built by Sphinx inside a test, leaving nothing to the next one."""

from collections.abc import Iterable
from io import StringIO
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace


def build(folder: Path, extensions: Iterable[str], **settings) -> str:
    """Build folder/source into folder/out as plain HTML, and give the warnings.

    Args:
        folder: holds ``source`` with the pages.
        extensions: beside myst_parser.
        settings: of conf.py; they come before these defaults.
    """
    told = StringIO()
    # docutils keeps nodes, directives and roles for the whole process: outside of the namespace
    # the next Sphinx of the same process would find them "already registered".
    with docutils_namespace():
        Sphinx(folder / "source", None, folder / "out", folder / "trees", "html",
               {"extensions": ["myst_parser", *extensions], "html_theme": "basic",
                "myst_enable_extensions": ["dollarmath", "deflist"], **settings},
               status=None, warning=told).build()
    return told.getvalue()
