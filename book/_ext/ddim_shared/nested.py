"""A directive whose content is Markdown that is made while the book is built."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective


def generated(make: Callable[[], str], sources: Callable[[], Iterable[Path]]) -> type:
    """A directive that puts ``make()`` in its place, sections included.

    Args:
        make: gives the Markdown.
        sources: the files that it is made of; the page is built again when one changes.
    """
    class Generated(SphinxDirective):
        def run(self) -> list[nodes.Node]:
            for path in sources():
                self.env.note_dependency(str(path))
            holder = nodes.Element()
            lines = StringList(make().splitlines(), source=self.env.docname)
            self.state.nested_parse(lines, self.content_offset, holder, match_titles=True)
            return holder.children

    return Generated
