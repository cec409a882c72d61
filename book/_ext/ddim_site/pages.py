"""What a page loads: pictures with their sizes, when they are needed; scripts that it uses.

And small repairs of the HTML that docutils and the theme write.
"""

import functools
import re
from pathlib import Path
from urllib.parse import unquote

from PIL import Image, ImageStat
from sphinx.application import Sphinx

PICTURE = re.compile(
    r'<img\b[^>]*?\bsrc="(?:\.\./)*_images/([^"]+\.(?:png|jpe?g|gif|webp))"[^>]*>'
)
NEVER = re.compile(r"(?!)")
# A script and what the body of a page holds when it uses it. The inline scripts are the settings
# of togglebutton.js.
USES = {
    "togglebutton": re.compile(r'class="[^"]*\b(toggle|dropdown)\b'),
    "toggleHint": re.compile(r'class="[^"]*\b(toggle|dropdown)\b'),
    "toggleOpenOnPrint": re.compile(r'class="[^"]*\b(toggle|dropdown)\b'),
    "design-tabs": re.compile(r'class="[^"]*\bsd-tab'),
    # site.js fetches them later, on pages with code.
    "copybutton": NEVER,
    "clipboard": NEVER,
}


# Roles that docutils writes where they do not belong.
ROLES = {'<div role="list" class="citation': '<div class="citation', ' role="doc-biblioentry"': ""}


# The size of a figure of twice the pixels. As attributes, width and height shrink together.
SIZE = re.compile(r' style="width: (\d+)px; height: (\d+)px;"')
PAPER = 225  # mean grey level; curves on white lie above 235, pictures below 190


@functools.cache
def seen(path: Path) -> tuple[int, int, bool]:
    """Width, height, and whether it is lines on white paper."""
    with Image.open(path) as picture:
        return *picture.size, ImageStat.Stat(picture.convert("L")).mean[0] > PAPER


def sized(body: str, sources: dict[str, Path]) -> str:
    """Pictures with width and height, so that nothing jumps; all but the first load when near."""
    count = 0

    def complete(found: re.Match) -> str:
        nonlocal count
        tag, name = SIZE.sub(r' width="\1" height="\2"', found[0]), unquote(found[1])
        extra = ""
        if name in sources:
            width, height, paper = seen(sources[name])
            if not re.search(r"\b(width|height)=", tag):
                extra += f' width="{width}" height="{height}"'
            extra += " data-paper" * paper
        count += 1
        if count > 1 and "loading=" not in tag:
            extra += ' loading="lazy" decoding="async"'
        return f"<img{extra}{tag[4:]}"

    return PICTURE.sub(complete, body)


# A choice of a quiz and the first word of its answer.
CHOICE = re.compile(
    r'<details class="choice">(\s*<summary>(?:(?!</summary>).)*</summary>\s*<p><strong>(Yes|No)\.)',
    re.DOTALL,
)


def judged(body: str) -> str:
    """The choices with what they are as a class: once open, right and wrong look different."""
    kinds = {"Yes": "right", "No": "wrong"}
    return CHOICE.sub(lambda m: f'<details class="choice {kinds[m[2]]}">{m[1]}', body)


def needed(script, body: str) -> bool:
    text = f"{script.filename or ''} {script.attributes.get('body') or ''}"
    return all(mark.search(body) for word, mark in USES.items() if word in text)


def named(tree: str) -> str:
    """The arrows that fold the sidebar's lists, with a name for those who do not see them."""
    return str(tree).replace("<summary>", '<summary aria-label="Pages of this part">')


def lighten(app: Sphinx, name: str, template: str, context: dict, doctree) -> None:
    if app.builder.name != "html":
        return
    body = context.get("body") or ""
    sources = {target: Path(app.srcdir) / source for source, target in app.builder.images.items()}
    if "generate_toctree_html" in context:
        draw = context["generate_toctree_html"]
        context["generate_toctree_html"] = lambda *args, **kwargs: named(draw(*args, **kwargs))
    context["script_files"] = [s for s in context["script_files"] if needed(s, body)]
    if body:
        for wrong, right in ROLES.items():
            body = body.replace(wrong, right)
        context["body"] = sized(judged(body), sources)


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", lighten, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
