"""The subject first: the cells that a chapter opens with, its set-up, are folded on the page.

In Colab and in JupyterLab they are cells like any other.
"""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

OPEN = '<details class="set-up"><summary>Set-up</summary>'


def opening(section: nodes.section) -> list[nodes.Node]:
    """The code cells between the box under the title and the first sentence, or none."""
    children = list(section.children)
    for i, box in enumerate(children[:4]):
        if isinstance(box, nodes.block_quote):
            cells = []
            for node in children[i + 1 :]:
                if not (isinstance(node, nodes.container) and "cell" in node["classes"]):
                    break
                cells.append(node)
            return cells
    return []


class SetUp(SphinxPostTransform):
    formats = ("html",)
    default_priority = 800

    def run(self, **kwargs) -> None:
        for section in self.document.children:
            cells = opening(section) if isinstance(section, nodes.section) else []
            if cells:
                section.insert(section.index(cells[0]), nodes.raw("", OPEN, format="html"))
                end = nodes.raw("", "</details>", format="html")
                section.insert(section.index(cells[-1]) + 1, end)


def setup(app: Sphinx) -> dict:
    app.add_post_transform(SetUp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
