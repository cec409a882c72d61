"""Scripts and styles, only on the pages that use them."""

import re

from sphinx.application import Sphinx

LIVE = re.compile(r'class="[^"]*\bddim-live\b')
WIDGET = re.compile(r'<script type="application/vnd\.jupyter\.widget-view\+json">')
NO_SCRIPT = "<noscript><p>The widget that belongs here needs JavaScript.</p></noscript>"


def add(app: Sphinx, name: str, template: str, context: dict, doctree) -> None:
    body = context.get("body") or ""
    if LIVE.search(body):
        app.add_js_file("live/live.js", loading_method="defer")
        app.add_css_file("live/live.css")
    if WIDGET.search(body):
        context["body"] = WIDGET.sub(lambda view: NO_SCRIPT + view[0], body)


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", add)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
