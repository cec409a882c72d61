"""The glossary's terms, read from its page, and where a text uses them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ddim_shared.greek import GREEK
from ddim_shared.repository import ROOT

PAGE = ROOT / "book" / "glossary.md"
ENTRY = re.compile(r"^(\S[^\n]*)\n: (.+(?:\n  .+)*)", re.MULTILINE)
SYMBOLS = {rf"\{name}": sign for name, sign in GREEK.items()} | {
    r"\nabla": "∇", r"\log": "log ", r"\dots": "..", r"\cdots": "..", r"\leftarrow": "<-",
    r"\,": " "}


@dataclass(frozen=True)
class Term:
    """An entry: its name, the forms that a text may use (of some chapters alone), its meaning.

    The line ``score | score @13`` gives a name and a form that counts in chapter 13 alone; a name
    with a bracket is no form itself.
    """

    name: str
    forms: tuple[tuple[str, str | None], ...]
    meaning: str

    @property
    def anchor(self) -> str:
        """The id of the entry."""
        return "term-" + re.sub(r"[^a-z0-9]+", "-", self.name.lower().replace("é", "e")).strip("-")

    def pattern(self, chapter: str | None = None) -> str | None:
        """A regular expression for its forms on the page of a chapter, as in 13_where_this_leads;
        without a chapter, for all its forms."""
        forms = [form for form, where in self.forms
                 if chapter is None or where is None or chapter.startswith(f"{int(where):02}_")]
        return "|".join(map(flexible, sorted(forms, key=len, reverse=True))) or None


def flexible(form: str) -> str:
    """A form at the beginning of a sentence, over a line's end, with either apostrophe."""
    first, rest = re.escape(form[0]), re.escape(form[1:])
    if form[0].islower():
        first = f"[{form[0]}{form[0].upper()}]"
    return first + rest.replace(r"\ ", r"\s+").replace("'", "['’]")


def terms(text: str | None = None) -> list[Term]:
    """The entries of the glossary, in its order."""
    text = PAGE.read_text(encoding="utf-8") if text is None else text
    found = []
    for line, meaning in ENTRY.findall(text):
        name, *forms = [part.strip() for part in line.split("|")]
        if "(" not in name and not any(form.split("@")[0].strip() == name for form in forms):
            forms.insert(0, name)
        pairs = tuple((form.split("@")[0].strip(), form.split("@")[1].strip() if "@" in form
                       else None) for form in forms)
        found.append(Term(name, pairs, " ".join(meaning.split())))
    return found


def plain(markdown: str) -> str:
    """A meaning as a tooltip shows it: letters for TeX, no marks."""
    text = markdown.replace("`", "")
    for tex, letter in sorted(SYMBOLS.items(), key=lambda pair: -len(pair[0])):
        text = text.replace(tex, letter)
    text = re.sub(r"\\bar\s*(\S)", lambda m: m[1] + "\u0304", text)
    return re.sub(r"\s+", " ", text.replace("$", "").replace("{", "").replace("}", ""))


def first_uses(text: str, open_terms: list[Term], chapter: str) -> list[tuple[int, int, Term]]:
    """Where a text uses terms of the list for the first time: (start, end, term), in order."""
    found, left, position = [], list(open_terms), 0
    while left:
        patterns = [(term, term.pattern(chapter)) for term in left]
        either = "|".join(f"(?P<t{i}>{p})" for i, (_, p) in enumerate(patterns) if p)
        match = either and re.compile(rf"(?<![\w-])(?:{either})(?![\w-])").search(text, position)
        if not match:
            break
        term = patterns[int(match.lastgroup[1:])][0]
        found.append((match.start(), match.end(), term))
        left.remove(term)
        position = match.end()
    return found
