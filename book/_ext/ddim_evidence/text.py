"""Claims and their evidence as text: how they are read."""

from __future__ import annotations

import re

from ddim_shared.repository import ROOT

from ddim_evidence import sources
from ddim_evidence.sources import Source

# A number that stands alone. "CIFAR-10", "float32" and "chapter 10" are names.
TYPED = re.compile(r"(?<![\w.,-])(?<!hapter )\d(?:[\d.,]*\d)?(?![\w-])")
WORDS = re.compile(r"\{[\w:-]+\}`[^`]*`|\]\([^)]*\)|`[^`]*`|\$[^$]*\$")


def plain(value: object) -> str:
    """A value of a record, as it stands there."""
    return f"{value:,}" if isinstance(value, int) else str(value)


def statements(lines: list[str]) -> list[tuple[str, list[str]]]:
    """Each sentence with the lines below it that name its evidence."""
    found = []
    for block in re.split(r"\n\s*\n", "\n".join(lines).strip()):
        text, *cited = re.split(r"^- +", block, flags=re.MULTILINE)
        found.append((" ".join(text.split()), [" ".join(line.split()) for line in cited]))
    return found


def cited(line: str, root=ROOT) -> list[Source]:
    """What a line of evidence names."""
    path, _, names = line.partition(":")
    if not names:
        return [sources.file(path, root)]
    return [sources.test(path, name.strip(), root) for name in names.split(",")]
