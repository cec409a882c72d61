"""Formulas of a page as MathML, which a browser sets without any script.

A page of nbconvert has them as TeX between dollar signs. They may come from a student, so of what
latex2mathml makes only known elements and attributes are taken, and every text is escaped here.
"""

import html
import re
import unicodedata
from html.parser import HTMLParser

from latex2mathml.converter import convert_to_element

LONGEST = 3000  # letters of a formula; the converter's time grows with them
MOST = 2000  # formulas of a page
TEXT_OF_PAGES = re.compile(r"\bjp-Rendered(?:Markdown|Latex)\b|\btext_cell_render\b")
LEFT_ALONE = {"pre", "code", "script", "style", "svg", "math", "title", "textarea"}
FORMULA = re.compile(
    r"(?<!\\)\$\$(?P<display>[^$]+)\$\$"
    r"|\\begin\{(?P<name>(?:equation|align|gather)\*?)\}(?P<inside>.+?)\\end\{(?P=name)\}"
    # Neither a price nor two: a blank inside, a digit behind.
    r"|(?<!\\)\$(?!\s)(?P<inline>[^$]+?)(?<!\s)\$(?!\d)",
    re.DOTALL,
)
TAG = re.compile(r"\\tag\*?\{([^{}]*)\}")
# What the converter does not know, or sets in italics.
INSTEAD = [
    (re.compile(r"\\[lr]?Vert\b|\\\|"), "\u2016"),
    (re.compile(r"\\mathrm\{([A-Za-z]+)\}"), r"\\text{\1}"),
]
ELEMENTS = {
    "math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "msup", "msub", "msubsup", "munder",
    "mover", "munderover", "mfrac", "msqrt", "mroot", "mtable", "mtr", "mtd", "mstyle", "mpadded",
    "mphantom", "menclose", "mfenced", "mmultiscripts", "mprescripts", "none",
}
# Each with what its values may be: nothing here can load, run or cover anything.
VALUE = re.compile(r"[\w.%&#; +|(){}\[\]\u2016\u27e8\u27e9-]{0,40}")
WIDTH = re.compile(r"-?\d(?:\.\d+)?em")  # of a blank
ATTRIBUTES = {
    "display", "displaystyle", "scriptlevel", "mathvariant", "stretchy", "fence", "form",
    "separator", "accent", "accentunder", "linethickness", "columnalign", "columnspacing",
    "rowspacing", "columnlines", "rowlines", "notation", "minsize", "maxsize", "movablelimits",
    "symmetric", "lspace", "rspace", "open", "close",
}
# Browsers know these alphabets as letters of their own, not as an attribute.
ALPHABETS = {"bold": "BOLD", "script": "SCRIPT", "fraktur": "FRAKTUR",
             "double-struck": "DOUBLE-STRUCK", "bold-italic": "BOLD ITALIC"}


class NotConverted(ValueError):
    """The formula stays the TeX that it is."""


def mathml(tex: str, display: bool = False) -> str:
    """TeX as MathML. Raises NotConverted for what is no formula or asks for too much."""
    if len(tex) > LONGEST:
        raise NotConverted("too long")
    for pattern, instead in INSTEAD:
        tex = pattern.sub(instead, tex)
    tag = TAG.search(tex)
    tex = TAG.sub("", tex) + (rf"\qquad\text{{({tag[1]})}}" if tag else "")
    try:
        made = convert_to_element(tex, display="block" if display else "inline")
        return serialized(made)
    except Exception as error:  # it has many ways to refuse what a student typed
        raise NotConverted(str(error)) from None


def serialized(element) -> str:
    name = element.tag.rpartition("}")[2]
    if name not in ELEMENTS:
        raise NotConverted(f"an element {name}")
    text = html.unescape(element.text or "")
    if "\\" in text:
        raise NotConverted(f"no such command: {text}")
    if name == "mi" and text == "~":  # \sim
        name, text = "mo", "\u223c"
    alphabet = ALPHABETS.get(element.get("mathvariant", ""))
    if alphabet:
        del element.attrib["mathvariant"]
        text = "".join(letter(one, alphabet) for one in text)
    given = [
        f' {key}="{html.escape(html.unescape(value))}"' for key, value in element.attrib.items()
        if (key in ATTRIBUTES and VALUE.fullmatch(value))
        or (name == "mspace" and key == "width" and WIDTH.fullmatch(value))
    ]
    inside = html.escape(text) + "".join(serialized(child) for child in element)
    return f"<{name}{''.join(given)}>{inside}</{name}>"


def letter(one: str, alphabet: str) -> str:
    """A Latin letter from one of Unicode's mathematical alphabets; others as they are."""
    if not ("a" <= one <= "z" or "A" <= one <= "Z"):
        return one
    name = f"{alphabet} {'CAPITAL' if one.isupper() else 'SMALL'} {one.upper()}"
    for known in (f"MATHEMATICAL {name}", name, name.replace("FRAKTUR", "BLACK-LETTER")):
        try:
            return unicodedata.lookup(known)
        except KeyError:
            continue
    return one


class Runs(HTMLParser):
    """Finds where the text of text cells begins and ends in a page; code is passed over."""

    def __init__(self, page: str):
        super().__init__(convert_charrefs=False)
        self.lines = [0]
        for line in page.split("\n"):
            self.lines.append(self.lines[-1] + len(line) + 1)
        self.found: list[tuple[int, int]] = []
        self.start: int | None = None
        self.passing = 0  # elements around that are left alone
        self.depth: list[str] = []  # elements <div> around, from a text cell's on
        self.feed(page)
        self.close()

    def at(self) -> int:
        line, column = self.getpos()
        return self.lines[line - 1] + column

    def text(self, *_) -> None:
        if self.start is None and self.depth and not self.passing:
            self.start = self.at()

    handle_data = handle_entityref = handle_charref = text

    def other(self, *_) -> None:
        if self.start is not None:
            self.found.append((self.start, self.at()))
            self.start = None

    handle_comment = handle_decl = handle_pi = handle_startendtag = other

    def handle_starttag(self, name, attributes) -> None:
        self.other()
        self.passing += name in LEFT_ALONE
        kind = dict(attributes).get("class") or ""
        if name == "div" and (self.depth or TEXT_OF_PAGES.search(kind)):
            self.depth.append(name)

    def handle_endtag(self, name) -> None:
        self.other()
        self.passing = max(0, self.passing - (name in LEFT_ALONE))
        if name == "div" and self.depth:
            self.depth.pop()


def shown(page: str) -> str:
    """The page with the formulas of its text cells as MathML; one that cannot be stays TeX."""
    left = [MOST]

    def one(found: re.Match) -> str:
        left[0] -= 1
        if left[0] < 0:
            return found[0]
        tex = found["inline"] or found["display"]
        if found["name"]:
            name, inside = found["name"].rstrip("*"), found["inside"]
            tex = inside if name == "equation" else rf"\begin{{align*}}{inside}\end{{align*}}"
        # A "<" before a letter was made text twice.
        tex = html.unescape(tex).replace("&lt;", "<").replace("&gt;", ">")
        try:
            return mathml(tex.strip(), display=found["inline"] is None)
        except NotConverted:
            return found[0]

    made, end = [], 0
    for start, stop in Runs(page).found:
        made += [page[end:start], FORMULA.sub(one, page[start:stop])]
        end = stop
    return "".join([*made, page[end:]])
