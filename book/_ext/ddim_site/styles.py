"""One style sheet for all pages, _static/site.css: the theme's and the extensions', trimmed."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from sphinx.application import Sphinx

from ddim_site import icons, stylesheet

SHEET = "site.css"
# The theme's template names these two itself.
THEME = ["styles/theme.css", "styles/pydata-sphinx-theme.css"]
# Classes that the theme's scripts set. These scripts are not read for words: they know the names
# of many components that the pages do not have.
LIVE = {"show", "collapsing", "collapsed", "fade", "active", "disabled", "scrolled", "hide",
        "noprint", "pst-squeeze", "pst-sidebar-hidden"}
LIVE_PREFIXES = ("tooltip", "bs-tooltip", "dropdown")
BLIND = re.compile(r"(vendor|live|scripts)/")
FONT_AWESOME = "fa[bsr]?|fa-[a-z0-9-]+"


def own_folders(app: Sphinx) -> list[Path]:
    """The book's folders of static files; those that extensions add are named in full."""
    folders = map(Path, app.config.html_static_path)
    return [Path(app.confdir) / folder for folder in folders if not folder.is_absolute()]


def bundled(app: Sphinx) -> list[str]:
    """The sheets below _static that every page has, in order, without the book's own."""
    sheets = sorted(app.builder._css_files, key=lambda sheet: sheet.priority)
    paths = [str(sheet.filename).removeprefix("_static/") for sheet in sheets]
    return [path for path in paths
            if "//" not in path and not any((own / path).is_file() for own in own_folders(app))]


def collect(app: Sphinx, name: str, template: str, context: dict, doctree) -> None:
    """Take the sheets that site.css holds out of a page's list."""
    if app.builder.name == "html":
        held = set(bundled(app))
        context["css_files"] = [
            sheet for sheet in context["css_files"]
            if str(sheet.filename).removeprefix("_static/") not in held
        ]


def words(pages: Iterable[str], static: Path) -> set[str]:
    """Whatever may be a class or an id: of the pages, and in the scripts that they load."""
    found = set(LIVE)
    for text in pages:
        for value in re.findall(r'\b(?:class|id)="([^"]*)"', text):
            found.update(value.split())
        for script in re.findall(r"<script(?![^>]*json)[^>]*>(.*?)</script>", text, re.DOTALL):
            found.update(re.findall(r"[A-Za-z_][\w-]*", script))
    for script in static.rglob("*.js"):
        if not BLIND.search(script.relative_to(static).as_posix()):
            found.update(re.findall(r"[A-Za-z_][\w-]*", script.read_text("utf-8")))
    return found


def imported(folder: Path, path: str) -> str:
    """The sheet's text with what it imports in place."""
    text = (folder / path).read_text("utf-8")

    def fetch(found: re.Match) -> str:
        return imported(folder, (Path(path).parent / found[1]).as_posix().replace("styles/../", ""))

    text = re.sub(r'@import (?:url\()?["\']?([^"\')]+)["\']?\)?;', fetch, text)
    # From the folder of the sheet to _static, where site.css lies.
    return text.replace("url(../", "url(") if Path(path).parent.name == "styles" else text


def write(app: Sphinx, exception: Exception | None) -> None:
    if exception or app.builder.name != "html":
        return
    site = Path(app.outdir)
    static = site / "_static"
    pages = {page: page.read_text("utf-8") for page in sorted(site.rglob("*.html"))}
    known = words(pages.values(), static)
    classes = re.findall(r"[.]([\w-]+)", (static / THEME[1]).read_text("utf-8"))
    known |= {name for name in classes if name.startswith(LIVE_PREFIXES)}
    sheets = THEME + bundled(app)
    text = "".join(imported(static, path) for path in sheets)
    elsewhere = "".join([*pages.values(), *readers(app, static)])
    read = set(re.findall(r"--[\w-]+", elsewhere))
    text = stylesheet.trim(text, known, read, FONT_AWESOME)
    script = (static / "scripts/fontawesome.js").read_text("utf-8")
    text += icons.sheet(icons.used(list(pages.values())), script)
    text = f"/* From {', '.join(sheets)} */\n{text}"
    (static / SHEET).write_text(text, "utf-8")
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    for page, before in pages.items():
        after = re.sub(rf"(_static/{SHEET})(\?v=\w+)?\"", rf'\1?v={digest}"', before)
        # The colours hang on this, and no rule knows "auto". A script in the head sets it at once;
        # without scripts the page is light.
        after = re.sub(r'(<html\b[^>]*\bdata-theme=)"auto"', r'\1"light"', after, count=1)
        if after != before:
            page.write_text(after, "utf-8")


def readers(app: Sphinx, static: Path) -> list[str]:
    """The scripts and the book's own sheets, which may read a custom property."""
    scripts = [file for file in static.rglob("*.js") if "vendor" not in file.parts]
    own = [file for folder in own_folders(app)
           for file in folder.rglob("*.css") if "vendor" not in file.parts]
    return [file.read_text("utf-8") for file in scripts + own]


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", collect, priority=900)
    app.connect("build-finished", write, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
