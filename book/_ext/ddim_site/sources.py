"""The notebooks that the pages offer for download, each with its pictures inside.

In the repository a chapter's text names pictures beside it, `_assets/colab.svg`. A notebook that
travels alone has nothing beside it.
"""

import base64
import mimetypes
import re
from pathlib import Path

from sphinx.application import Sphinx

PICTURE = re.compile(r"(?<=\]\()(_assets/[^)\s\"\\]+)(?=\))")


def alone(text: str, folder: Path) -> str:
    """The notebook's text with the pictures of `folder` that it names as data: addresses."""
    def hold(found: re.Match) -> str:
        data = base64.b64encode((folder / found[1]).read_bytes()).decode()
        return f"data:{mimetypes.guess_type(found[1])[0]};base64,{data}"

    return PICTURE.sub(hold, text)


def write(app: Sphinx, exception: Exception | None) -> None:
    if exception or app.builder.name != "html":
        return
    sources = Path(app.outdir) / "_sources"
    for copy in sorted(sources.rglob("*.ipynb")):
        folder = (Path(app.srcdir) / copy.relative_to(sources)).parent
        before = copy.read_text("utf-8")
        after = alone(before, folder)
        if after != before:
            copy.write_text(after, "utf-8")


def setup(app: Sphinx) -> dict:
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
