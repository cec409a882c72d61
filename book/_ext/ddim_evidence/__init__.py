"""Claims with their evidence, for the page "How we know".

The directive `ddim-claims` holds claims, a sentence each with the numbers that `ddim-fact` puts in
(see ddim_records), and below each the lines that name its evidence:

    - test_sampling.py: test_equal_to_diffusers, test_the_public_variances
    - mnist-eps-table.json
    - tests/book/guard.py

`ddim-unknown` holds what is not known; a line "- until: data/weights/x*" takes a sentence off the
page once there is such a file. `ddim-proofs` tells what the proofs of its names have shown, or
without names those with a record that no other one has told. What is cited and not there stops the
build.
"""

from __future__ import annotations

import re

from ddim_records.fields import RESULTS, Missing, load, origin
from ddim_shared.repository import ROOT, url
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from ddim_evidence import proofs, sources
from ddim_evidence.sources import Source
from ddim_evidence.text import TYPED, WORDS, cited, plain, statements

logger = logging.getLogger(__name__)


def links(found: list[Source], root=ROOT) -> nodes.paragraph:
    """Evidence: tests, records, other files, each as a link to its place in the repository."""
    kinds: dict[str, list[Source]] = {"Test": [], "Record": [], "File": []}
    for one in dict.fromkeys(found):
        record = one.path.startswith(f"{RESULTS}/")
        kinds["Test" if one.name else "Record" if record else "File"].append(one)
    line = nodes.paragraph("", "", classes=["ddim-evidence"])
    for kind, some in kinds.items():
        for i, one in enumerate(some):
            label = nodes.emphasis("", f"{kind}{'s' if len(some) > 1 else ''}:")
            line += ([nodes.Text(", ")] if i else
                     [nodes.Text(". " if len(line) else ""), label, nodes.Text(" ")])
            line += link(one)
            if kind == "Record":
                line += nodes.Text(f" ({origin(load(one.path.split('/')[-1], root))})")
    line += nodes.Text(".")
    return line


def link(one: Source) -> nodes.reference:
    """A link to a file, or to the lines of a test, whose name is a sentence."""
    name = one.path.removeprefix(f"{RESULTS}/")
    said = nodes.literal("", name)
    if one.name:
        said = nodes.literal("", one.name)
        if one.name.count("_") > 1:
            sentence = re.sub(r"_s(?=_|$)", "’s", one.name.removeprefix("test_"))
            said = nodes.inline("", sentence.replace("_", " "))
    return nodes.reference("", "", said, refuri=url(one.path, one.first, one.last), internal=False)


class Claims(SphinxDirective):
    """Sentences, each with what shows that it is true."""

    has_content = True
    needs_evidence = True

    def run(self) -> list[nodes.Node]:
        whole = nodes.bullet_list(classes=["ddim-claims"])
        for text, lines in statements(list(self.content)):
            if item := self.statement(text, lines):
                whole += item
        return [whole] * bool(len(whole))

    def statement(self, text: str, lines: list[str]) -> nodes.list_item | None:
        until = [line for line in lines if line.startswith("until: ")]
        if any(list(ROOT.glob(line.removeprefix("until: "))) for line in until):
            return None
        item = nodes.list_item()
        self.state.nested_parse(StringList([text], source=self.env.docname), self.content_offset,
                                item)
        found = []
        for line in lines:
            if line not in until:
                self.told(found.extend, cited, line)
        found += [sources.file(node["record"]) for node in item.findall(nodes.inline)
                  if node.get("record")]
        for one in found:
            self.env.note_dependency(str(ROOT / one.path))
        if self.needs_evidence and not found:
            self.warn(f"a claim without evidence: {text!r}")
        if typed := TYPED.findall(WORDS.sub("", text)):
            self.warn(f"{typed[0]} was typed by hand in {text!r}")
        if found:
            self.told(item.append, links, found)
        return item

    def told(self, take, make, *what) -> None:
        """Take what is made, or warn of what is missing."""
        try:
            take(make(*what))
        except Missing as error:
            self.warn(str(error))

    def warn(self, message: str) -> None:
        logger.warning("%s", message, location=self.get_location(), type="ddim",
                       subtype="evidence")


class Unknown(Claims):
    needs_evidence = False


class Proofs(Claims):
    """What proofs have shown: those named, or all recorded ones not named before on the page."""

    has_content = False
    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        told = self.env.temp_data.setdefault("ddim_proofs", [])
        whole = nodes.bullet_list(classes=["ddim-claims"])
        for name in proofs.asked(self.arguments[0].split() if self.arguments else []):
            if name not in told:
                told.append(name)
                self.env.note_dependency(str(ROOT / RESULTS / f"proof-{name}.json"))
                self.told(whole.append, proof_item, name)
        return [whole] * bool(len(whole))


def proof_item(name: str, root=ROOT) -> nodes.list_item:
    """What a proof has shown, with its numbers; or that it is still to be run."""
    record, item = proofs.proof(name, root), nodes.list_item()
    program = proofs.program(name, root)
    if record is None:
        item += nodes.paragraph("", f"The proof “{name}” has not been run yet.")
        item += links([program], root)
        return item
    item += nodes.paragraph("", "", *pathways(record["what"], root))
    if numbers := proofs.scalars(record, plain):
        item += nodes.paragraph("", f"{numbers}.")
    item += links([program, sources.file(f"proof-{name}.json", root)], root)
    for heading, lines in proofs.groups(record, plain):
        item += nodes.paragraph("", f"{heading[0].upper()}{heading[1:]}:")
        paragraphs = [nodes.paragraph("", "", *pathways(line, root)) for line in lines]
        item += nodes.bullet_list("", *[nodes.list_item("", line) for line in paragraphs])
    return item


def pathways(text: str, root=ROOT) -> list[nodes.Node]:
    """A text of a record; the repository's files that it names are links."""
    parts = re.split(r"((?:\w[\w.-]*/)+[\w.-]*\w)", text)
    return [link(Source(part)) if i % 2 and (root / part).is_file() else nodes.Text(part)
            for i, part in enumerate(parts) if part]


def setup(app: Sphinx) -> dict:
    app.setup_extension("ddim_records")
    app.add_directive("ddim-claims", Claims)
    app.add_directive("ddim-unknown", Unknown)
    app.add_directive("ddim-proofs", Proofs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
