"""The book on paper: what LaTeX needs that the pages do not, and the page's link to the PDF.

`make pdf` runs the LaTeX builder with this extension; `make book` copies a finished PDF into the
pages. The directive `ddim-pdf` links it, or says how it is made.
"""

import shutil
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

from ddim_pdf.fold import Fold
from ddim_pdf.tables import Tables

NAME = "ddim-book.pdf"
PAPER = {
    "papersize": "a4paper",
    "pointsize": "11pt",
    # A figure stays under the cell that draws it.
    "figure_align": "H",
    # No empty pages before a chapter.
    "extraclassoptions": "openany,oneside",
    "fncychap": "",
    "fontpkg": (Path(__file__).parent / "fonts.tex").read_text(encoding="utf-8"),
    "preamble": (Path(__file__).parent / "preamble.tex").read_text(encoding="utf-8"),
    "sphinxsetup": (
        "hmargin={2.4cm,2.4cm}, vmargin={2.4cm,2.6cm}, verbatimwrapslines=true,"
        " verbatimforcewraps=false, InnerLinkColor={rgb}{0.1,0.25,0.5},"
        " OuterLinkColor={rgb}{0.1,0.25,0.5}, TitleColor={rgb}{0,0,0}"
    ),
    "maketitle": r"\ddimtitlepage",
    # The search of a PDF viewer finds more than an index of function names would.
    "makeindex": "",
    "printindex": "",
    "fvset": r"\fvset{fontsize=\footnotesize}",
}
WIDGET = "application/vnd.jupyter.widget-view+json"


class pdf_link(nodes.General, nodes.Element):
    """Stands for the link until it is known whether there is a PDF."""


class PdfLink(SphinxDirective):
    """The link to the book on paper, or the command that makes it."""

    def run(self) -> list[nodes.Node]:
        return [pdf_link()]


def pdf_of(confdir: str | Path) -> Path:
    """Where `make pdf` leaves the book on paper."""
    return Path(confdir) / "_build" / "pdf" / NAME


def outdated(app: Sphinx, env: BuildEnvironment, *changes: set[str]) -> list[str]:
    """The landing page is written anew, since the PDF may have come or gone."""
    return [app.config.root_doc]


def resolve(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    for node in list(doctree.findall(pdf_link)):
        pdf = pdf_of(app.confdir)
        if app.builder.format != "html":
            node.parent.remove(node)
        elif pdf.is_file():
            size = f"{pdf.stat().st_size / 1e6:.1f} MB"
            uri = "../" * docname.count("/") + NAME
            link = nodes.reference("", "The whole book as a PDF", refuri=uri, internal=False)
            node.replace_self(nodes.paragraph("", "", link, nodes.Text(f" ({size}).")))
        else:
            said = nodes.Text("The whole book as a PDF is built with ")
            command = nodes.literal("", "make pdf")
            node.replace_self(nodes.paragraph("", "", said, command, nodes.Text(".")))


def copy(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        place, pdf = Path(app.outdir) / NAME, pdf_of(app.confdir)
        place.unlink(missing_ok=True)
        if pdf.is_file():
            shutil.copyfile(pdf, place)


class Stills(SphinxPostTransform):
    """A figure that moves on the page shows its still, and what it moves over in words."""

    formats = ("latex",)
    default_priority = 3

    def run(self, **kwargs) -> None:
        for bundle in list(self.document.findall(nodes.container)):
            if bundle.get("nb_element") != "mime_bundle":
                continue
            forms = {child["mime_type"]: child for child in bundle.children}
            if not {WIDGET, "text/html"} & set(forms):
                continue
            stills = [image for kind, form in forms.items() if kind.startswith("image/")
                      for image in form.findall(nodes.image)]
            said = "On the page this figure moves"
            if stills:
                words = forms["text/plain"].astext().strip()
                said += f": {words}"
            for image in stills:
                image["alt"] = image.get("alt") or words
            told = nodes.paragraph("", "", nodes.emphasis("", f"{said}."))
            bundle.parent.insert(bundle.parent.index(bundle) + 1, told)
            if not stills:
                bundle.parent.remove(bundle)


class Formulas(SphinxPostTransform):
    r"""A numbered formula: `\tag` has its place outside of `split`, in which Sphinx puts it."""

    formats = ("latex",)
    default_priority = 20

    def run(self, **kwargs) -> None:
        for block in self.document.findall(nodes.math_block):
            text = block.astext()
            if r"\tag{" in text and not block.get("nowrap"):
                block.children = [nodes.Text(tagged(text))]
                block["nowrap"] = True


def tagged(text: str) -> str:
    head, _, rest = text.partition(r"\tag{")
    number, _, tail = rest.partition("}")
    if r"\tag{" in tail:
        raise ValueError(f"one formula has two numbers, and may have one: {text!r}")
    body = (head.rstrip() + "\n" + tail.strip()).strip()
    if r"\\" in body and r"\begin{" not in body:
        body = f"\\begin{{split}}\n{body}\n\\end{{split}}"
    return f"\\begin{{equation*}}\n{body} \\tag{{{number}}}\n\\end{{equation*}}"


class Badges(SphinxPostTransform):
    """A button is a picture to click; on paper it is a link in words."""

    formats = ("latex",)
    default_priority = 5

    def run(self, **kwargs) -> None:
        for picture in list(self.document.findall(nodes.image)):
            link = picture.parent
            if picture["uri"].endswith(".svg") and isinstance(link, nodes.reference):
                picture.replace_self(nodes.Text(picture.get("alt", link["refuri"])))


class BackMatter(SphinxPostTransform):
    """The landing page gets a heading, the pages after the chapters no number."""

    formats = ("latex",)
    default_priority = 800

    def run(self, **kwargs) -> None:
        start = r"\ddimopening{About this book}"
        first = next(iter(self.document.findall(nodes.section)))
        first.insert(1, nodes.raw("", start, format="latex"))
        for title in list(self.document.findall(nodes.title)):
            if title.parent.get("docname") == title.astext() == "Back matter":
                file = title.parent.parent
                stop = nodes.raw("", r"\setcounter{secnumdepth}{-1}", format="latex")
                file.parent.insert(file.parent.index(file), stop)


def paper(app: Sphinx, config: Config) -> None:
    title, _, subtitle = str(config.html_title).partition(": ")
    names = rf"\newcommand{{\ddimtitle}}{{{title}}}\newcommand{{\ddimsubtitle}}{{{subtitle}}}"
    config.latex_elements = PAPER | {"preamble": PAPER["preamble"] + names} | config.latex_elements
    config.latex_additional_files = ["book/_assets/digits.png"]
    config.latex_domain_indices = False
    # The pictures are PNG; the converter would ask for a program that nobody needs here.
    config.jblatex_load_imgconverter = False


def document(app: Sphinx, config: Config) -> None:
    file = str(Path(NAME).with_suffix(".tex"))
    # Jupyter Book puts in the title of _config.yml.
    config.latex_documents = [(config.root_doc, file, config.project, config.author, "jupyterBook")]


def setup(app: Sphinx) -> dict:
    app.add_directive("ddim-pdf", PdfLink)
    app.add_node(pdf_link)
    # Before sphinx-jupyterbook-latex, which adds to the preamble.
    app.connect("config-inited", paper, priority=400)
    # After sphinx-external-toc, which knows the first page.
    app.connect("config-inited", document, priority=1000)
    app.connect("env-get-outdated", outdated)
    app.connect("doctree-resolved", resolve)
    app.connect("build-finished", copy)
    for transform in (Stills, Formulas, Badges, Fold, Tables, BackMatter):
        app.add_post_transform(transform)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
