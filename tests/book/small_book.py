"""A few pages built by Sphinx inside a test, leaving nothing to the next one."""

from collections.abc import Iterable
from io import StringIO
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace


def build(folder: Path, extensions: Iterable[str], markdown: str = "myst_parser",
          **settings) -> str:
    """Build folder/source into folder/out as plain HTML, and give the warnings.

    Args:
        folder: holds ``source`` with the pages.
        extensions: beside the next one.
        markdown: the extension that reads Markdown; myst_nb reads notebooks, too.
        settings: of conf.py; they come before these defaults.
    """
    told = StringIO()
    # docutils keeps nodes, directives and roles for the whole process: outside of the namespace
    # the next Sphinx of the same process would find them "already registered".
    with docutils_namespace():
        Sphinx(folder / "source", None, folder / "out", folder / "trees", "html",
               # Sphinx's own source_suffix is one dictionary for the whole process, which grows.
               {"extensions": [markdown, *extensions], "html_theme": "basic", "source_suffix": {},
                "myst_enable_extensions": ["dollarmath", "deflist"], **settings},
               status=None, warning=told).build()
    return told.getvalue()


def page(folder: Path, text: str, extensions: Iterable[str]) -> tuple[str, str]:
    """Build one page of this text below the folder: the warnings, and the HTML."""
    (folder / "source").mkdir(exist_ok=True)
    (folder / "source/index.md").write_text(text, encoding="utf-8")
    return build(folder, extensions), (folder / "out/index.html").read_text(encoding="utf-8")
