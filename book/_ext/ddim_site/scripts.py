"""Scripts and styles, only on the pages that use them."""

import re

from sphinx.application import Sphinx

LIVE = re.compile(r'class="[^"]*\bddim-live\b')
WIDGET = re.compile(r'<script type="application/vnd\.jupyter\.widget-view\+json">')
NO_SCRIPT = "<noscript><p>The widget that belongs here needs JavaScript.</p></noscript>"


def add_script(app: Sphinx, name: str, template: str, context: dict, doctree) -> None:
    body = context.get("body") or ""
    if LIVE.search(body):
        app.add_js_file("live/live.js", loading_method="defer")
    if WIDGET.search(body):
        context["body"] = WIDGET.sub(lambda view: NO_SCRIPT + view[0], body)


def add_sheet(app: Sphinx, name: str, template: str, context: dict, doctree) -> None:
    if LIVE.search(context.get("body") or ""):
        app.add_css_file("live/live.css")
        sheet = app.builder._css_files[-1]
        if sheet not in context["css_files"]:
            context["css_files"] = [*context["css_files"], sheet]


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", add_script)
    # After the extension that gathers the sheets of all pages in one: this is none of those.
    app.connect("html-page-context", add_sheet, priority=950)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
