"""The glossary says each thing once and is used; the notation page has every symbol."""

import ast
import re
from pathlib import Path

import ddim_equations
import pytest
from ddim_equations import sources as equation_sources
from ddim_glossary import terms as glossary_terms

from scripts.notebooks.normal_form import read

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted((ROOT / "book").glob("[0-9]*.ipynb"))
NUMBERS = {equation.number for equation in equation_sources.equations()}
TERMS = glossary_terms.terms()


def prose(markdown):
    """The words of a page: no code, no formulas, no headings, tables or quotes."""
    text = re.sub(r"```.*?```|\$\$.*?\$\$", "", markdown, flags=re.DOTALL)
    text = re.sub(r"`[^`]*`|\$[^$]*\$|\]\([^)]*\)|[*\[\]]", "", text)
    return "\n".join(line for line in text.splitlines() if not re.match(r"[#|>!]", line))


def test_the_glossary_is_in_order_and_says_each_thing_once():
    assert len(TERMS) == glossary_terms.PAGE.read_text(encoding="utf-8").count("\n: ") >= 40
    names = [term.name for term in TERMS]
    assert names == sorted(names, key=lambda name: name.lower().replace("é", "e"))
    for kind in (names, [term.anchor for term in TERMS],
                 [form.lower() for term in TERMS for form, _ in term.forms]):
        assert len(set(kind)) == len(kind)


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.anchor)
def test_a_meaning_is_a_sentence_or_two(term):
    assert term.forms and term.meaning.endswith(".")
    assert 1 <= len(re.findall(r"\.(?= [A-Z$`]|$)", term.meaning)) <= 3
    assert 8 <= len(term.meaning.split()) <= 60
    shown = glossary_terms.plain(term.meaning)
    assert not set(shown) & set("\\{}$`\n"), shown
    mentioned = {number for *_, number, _ in ddim_equations.mentions(term.meaning)}
    assert mentioned <= NUMBERS


def test_every_term_is_used():
    texts = [(path.stem, "\n\n".join(prose(c.source) for c in read(path).cells
                                      if c.cell_type == "markdown")) for path in CHAPTERS]
    texts += [(None, prose(path.read_text(encoding="utf-8")))
              for path in (ROOT / "book").glob("**/*.md") if path != glossary_terms.PAGE]
    for path in (ROOT / "ddim_lib").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts += [(None, ast.get_docstring(node) or "") for node in ast.walk(tree)
                  if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module)]
    unused = [term.name for term in TERMS
              if not any(glossary_terms.first_uses(text, [term], chapter)
                         for chapter, text in texts)]
    assert unused == []


@pytest.mark.parametrize("text, chapter, found", [
    ("Seeds and a seed.", "01_noising", ["Seeds"]),
    ("a network\ncall, two network calls", "01_noising", ["network\ncall"]),
    ("Euler's method, Euler\u2019s method", "01_noising", ["Euler's method"]),
    ("ddim, DDIMs, DDIM-like, DDIM\u2019s", "01_noising", ["DDIM"]),
    ("Its score is 3", "06_ddim_and_ddpm", []),
    ("Its score is 3", "13_where_this_leads", ["score"]),
    ("a schedule, the noise schedule", "01_noising", ["schedule"]),
    ("levels of noise; a level; a sampler", "01_noising", ["levels", "sampler"]),
])
def test_first_uses(text, chapter, found):
    uses = glossary_terms.first_uses(text, TERMS, chapter)
    assert [text[a:b] for a, b, _ in uses] == found


# Notation -----------------------------------------------------------------------------------------

NOT_SYMBOLS = set("""sqrt frac tfrac qquad quad sim mathrm text tag left right bigl bigr Bigl Bigr
    biggl biggr cr lVert rVert lfloor rfloor propto exp log ln sin cos min cdot cdots dots le ge in
    sum approx leftarrow rightarrow pm mp times ne neq infty mid to""".split())


def symbols(text):
    """The letters of a text's formulas, with what stands on them."""
    text, found = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL), set()
    for formula in re.findall(r"\$\$?([^$]+)\$?\$", text):
        formula = re.sub(r"\\(mathrm|text|tag|begin|end)\{[^}]*\}", "", formula)
        for letter in re.findall(r"\\(?:bar|hat|mathcal|mathbb)\s*(?:\\[a-z]+|[A-Za-z])|\\[a-zA-Z]+"
                                 r"|[A-Za-z]", formula):
            if letter[1:] not in NOT_SYMBOLS:
                found.add(" ".join(letter.split()))
    return found


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_symbol_is_on_the_notation_page(path):
    known = symbols((ROOT / "book/notation.md").read_text(encoding="utf-8").replace(r"\|", ""))
    used = set().union(*(symbols(c.source) for c in read(path).cells if c.cell_type == "markdown"))
    assert used <= known and (used or path.stem.startswith("10"))
