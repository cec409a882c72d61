"""The course edition: no page leads to the full one. Only course/edition/build.py uses this.

Links to the project's public address become plain text, and what search engines read says nothing
of where the full edition is.
"""

import re
from pathlib import Path

from ddim_shared import repository
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

ADDRESS = re.compile(r'\s*<link rel="canonical"[^>]*>')
CARD = re.compile(r'<meta (?:property|name)="(?:og|twitter):[^>]*>\s*')


def own(uri: str) -> bool:
    """Whether a link leads to the project, its repository or its pages."""
    owner, name = repository.configured().split("/")
    return f"{owner}/{name}" in uri or f"{owner}.github.io/{name}" in uri


class Unlinked(SphinxPostTransform):
    default_priority = 900

    def run(self, **kwargs) -> None:
        for link in list(self.document.findall(nodes.reference)):
            if own(link.get("refuri", "")):
                unlink(link)


def unlink(link: nodes.reference) -> None:
    if link.astext() in {"[source]", ""}:
        link.parent.remove(link)
    else:
        link.replace_self(link.children)


def head(app: Sphinx, name: str, template: str, context: dict, doctree) -> None:
    context["pageurl"] = None
    context["metatags"] = CARD.sub("", context.get("metatags", ""))
    context["metatags"] += '<meta name="robots" content="noindex" />'


def standalone(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        index = Path(app.outdir) / "index.html"
        index.write_text(ADDRESS.sub("", index.read_text(encoding="utf-8")), encoding="utf-8")


def setup(app: Sphinx) -> dict:
    app.add_post_transform(Unlinked)
    app.connect("html-page-context", head, priority=900)
    app.connect("build-finished", standalone, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
