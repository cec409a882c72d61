"""What search engines, browsers and social networks read: addresses, description, card, icons.

Everything follows from html_baseurl, which `make address` keeps equal to the address in
pyproject.toml. Absolute addresses stand in <meta> and <link rel="canonical"> alone: nothing here
makes a page ask another host for anything.
"""

import html
import re
from pathlib import Path
from urllib.parse import urlsplit

from ddim_shared.greek import GREEK
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ConfigError

CARD = "social_card.png"  # in book/_assets, drawn by scripts/assets/social_card.py
CARD_ALT = "Denoising Diffusion Implicit Models, an executable book: digits emerge from noise."
LONGEST = 300  # a description, in characters; search engines show half of it or more
NOINDEX = '<meta name="robots" content="noindex" />'
BADGE = re.compile(r"(?:Open in (?:Colab|Kaggle)\s*)+\Z")


def addresses(app: Sphinx, config: Config) -> None:
    """The card's settings for sphinxext.opengraph, from the one address."""
    base = config.html_baseurl
    if not re.fullmatch(r"https://\S+/", base or ""):
        raise ConfigError(f"html_baseurl must be https://.../ with a slash at its end: {base!r}")
    config.ogp_site_url = base
    config.ogp_site_name = config.html_title
    config.ogp_image = f"{base}_static/{CARD}"
    config.ogp_image_alt = CARD_ALT
    config.ogp_custom_meta_tags = (
        '<meta property="og:image:width" content="1200" />',
        '<meta property="og:image:height" content="630" />',
        '<meta name="twitter:card" content="summary_large_image" />',
    )


def plain(paragraph: nodes.Element) -> str:
    """The paragraph's words; what of a formula is not plain text keeps its backslash."""
    words = []
    for node in paragraph.findall(nodes.Text):
        text = node.astext()
        if isinstance(node.parent, nodes.math):
            text = re.sub(r"\\([A-Za-z]+)", lambda m: GREEK.get(m[1], m[0]), text)
            text = re.sub(r"[{}$]", "", text)
        words.append(text)
    return " ".join("".join(words).split())


def describe(doctree: nodes.document) -> str | None:
    """The page in one or two sentences: the beginning of its first paragraph of running text.

    The badges of hosts, the box under the title, captions and tables are no running text.
    """
    for paragraph in doctree.findall(nodes.paragraph):
        if not isinstance(paragraph.parent, nodes.section | nodes.document):
            continue
        text = plain(paragraph)
        if BADGE.match(text) or len(text.split()) < 5:
            continue
        kept = ""
        for sentence in re.split(r"(?<=[.!?]) (?=[A-Z])", text):
            # A colon leads to something that is not in the paragraph.
            if "\\" in sentence or sentence[-1] == ":" or len(kept) + len(sentence) > LONGEST:
                break
            kept = f"{kept} {sentence}".strip()
        if kept:
            return kept
    return None


def head(app: Sphinx, name: str, template: str, context: dict, doctree) -> None:
    """Before sphinxext.opengraph, which takes what stands here already."""
    context["is_landing"] = name == app.config.root_doc
    if doctree is None:
        context["metatags"] = context.get("metatags", "") + NOINDEX
        return
    description = describe(doctree)
    if description is None:
        return
    # sphinxext.opengraph writes its overrides as they are.
    safe = html.escape(description)
    context["meta"] = {**(context["meta"] or {}), "og:description": safe}
    context["metatags"] += f'<meta name="description" content="{safe}" />\n'


def whole_sitemap(app: Sphinx, exception: Exception | None) -> None:
    """sphinx-sitemap knows the pages that this build wrote; the map is of all pages, in order."""
    links = getattr(app, "sitemap_links", None)
    if exception or links is None:
        return
    while not links.empty():
        links.get()
    for name in sorted(app.env.found_docs):
        links.put((app.builder.get_target_uri(name), None))


STANDALONE = """\
<!DOCTYPE html>
<html lang="{language}">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>{title}</title>
    {head}
    <style>
      :root {{ --ground: #fff; --text: #14181e; --link: #0b5cad; }}
      @media (prefers-color-scheme: dark) {{
        :root {{ --ground: #121212; --text: #ced6dd; --link: #82b1ff; }}
      }}
      body {{ background: var(--ground); color: var(--text); font-family: system-ui, sans-serif; }}
      a {{ color: var(--link); }}
      main {{ max-width: 36rem; margin: 15vh auto 0; padding: 0 1.5rem; line-height: 1.5; }}
    </style>
  </head>
  <body>
    <main>
{body}
    </main>
  </body>
</html>
"""

NO_ICON = '<link rel="icon" href="data:," />'  # or a browser asks for /favicon.ico

# The page is served at whatever address was asked for, so no relative link would be right. The
# script finds the folder of the book in that address; without it the published folder is meant.
LOST = """\
      <h1>There is no such page</h1>
      <p>It may have moved. Begin again at <a id="home" href="{home}">the first page</a>, or
        <a id="find" href="{find}">search the book</a>.</p>
    <script>
      const folder = location.pathname.match(/^(.*?\\/)(?:book|_static|_images)\\//);
      if (folder) {{
        document.getElementById("home").href = folder[1] + "{first}";
        document.getElementById("find").href = folder[1] + "search.html";
      }}
    </script>"""


def standalone_pages(app: Sphinx, exception: Exception | None) -> None:
    """index.html, which leads to the first page, and 404.html, which hosts show for lost ones."""
    if exception or app.builder.name != "html":
        return
    config, out = app.config, Path(app.outdir)
    title = html.escape(config.html_title)
    first = app.builder.get_target_uri(config.root_doc)
    root = urlsplit(config.html_baseurl).path

    def write(name: str, **parts: str) -> None:
        text = STANDALONE.format(language=config.language or "en", **parts)
        (out / name).write_text(text, "utf-8")

    write(
        "index.html",
        title=title,
        head=f'<meta http-equiv="refresh" content="0; url={first}" />\n'
        f'    <link rel="canonical" href="{config.html_baseurl}{first}" />\n    {NO_ICON}',
        body=f'      <h1>{title}</h1>\n      <p><a href="{first}">To the first page</a></p>',
    )
    write(
        "404.html",
        title=f"There is no such page — {title}",
        head='<meta name="robots" content="noindex" />\n    ' + NO_ICON,
        body=LOST.format(home=root + first, find=root + "search.html", first=first),
    )


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", addresses)
    app.connect("html-page-context", head, priority=400)
    # Before sphinx-sitemap's own, at 500.
    app.connect("build-finished", whole_sitemap, priority=400)
    app.connect("build-finished", standalone_pages)
    for part in ("pages", "scripts", "search", "set_up", "sources", "styles"):
        app.setup_extension(f"ddim_site.{part}")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
