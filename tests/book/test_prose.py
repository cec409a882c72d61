"""A chapter's main text (no boxes, formulas, tables, quiz, exercises): one number a sentence."""

import re
from pathlib import Path

import pytest

from scripts.notebooks import execution
from scripts.notebooks.normal_form import read

CHAPTERS = execution.chapters()
MOST_WORDS = 1400
# What is no number in a sentence: where something stands, years, sizes of pictures, a range.
NAMES = re.compile(
    r"(?i)\b(chapter|exercise|equation|section|table|algorithm|figure|appendix|lemma|theorem|part"
    r"|assignment|question|row|seed)s?"
    r"\s+\(?[A-Z]?\.?\d+(\.\d+)*\)?((,| to| and| or)\s+\(?\d+(\.\d+)*\)?)*"
    r"|\(\w?[\d.]+\)|\b(MNIST|CIFAR|DPM-Solver)[-+]*\d*|\b(19|20)\d\d\b"
    r"|\b\d+ (by|x) \d+( pixels)?\b"
    r"|\b(from|between) (about |level )?[\d,.]*\d (steps? |down )?(to|and) [\d,.]*\d")
NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?")
OPTION = re.compile(r"\([a-c]\) ")

every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def main_text(path: Path) -> str:
    text = "\n\n".join(c.source for c in read(path).cells if c.cell_type == "markdown")
    text = re.split(r"(?m)^## (?:Check yourself|Exercises)", text)[0]
    text = re.sub(r"(?s)<details.*?</details>|\$\$.*?\$\$|```.*?```", "", text)
    kept = (line for line in text.split("\n") if not line.startswith((">", "|", "[![", "#")))
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", "\n".join(kept))


def sentences(text: str) -> list[str]:
    text = re.sub(r"\$[^$]*\$|`[^`]*`", " x ", OPTION.sub("\n\n", text))
    parts = (NAMES.sub(" ", " ".join(part.split())) for part in re.split(r"\n\s*\n", text))
    return [s for part in parts for s in re.split(r"(?<=[.!?:])\**\s+(?=[\"*A-Z(])", part)]


@every_chapter
def test_a_chapter_is_short(path):
    words = re.findall(r"[A-Za-z][\w'’-]*", re.sub(r"\$[^$]*\$", " x ", main_text(path)))
    assert len(words) <= MOST_WORDS


@every_chapter
def test_a_sentence_has_one_number(path):
    crowded = [s for s in sentences(main_text(path)) if len(NUMBER.findall(s)) > 1]
    assert not crowded, "\n".join(crowded)


@pytest.mark.parametrize(("text", "most"), [
    ("From 50 steps to 10 it grows 4.8 times, and that of DDIM 2.1 times.", 2),
    ("It took 3.50 seconds for 32 digits.", 2),
    ("Chapters 2 and 3 go from 500 to 400, by (6.2) and $x_{10} = 3$; 4 in 2024.", 1),
    ("Is it (a) 0.7 with both, (b) 1 with both, or (c) 2?", 1),
    ("It is 0.05. The other is 0.07.", 1),
])
def test_numbers_are_counted(text, most):
    assert max(len(NUMBER.findall(s)) for s in sentences(text)) == most
