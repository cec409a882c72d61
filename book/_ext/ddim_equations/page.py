"""The page "Equation, function, test" as Markdown."""

from __future__ import annotations

from ddim_shared.repository import url

from ddim_equations import sources
from ddim_equations.words import WORDS


def function_link(found: sources.Found) -> str:
    """A function's name, linked to its place in the reference."""
    module = found.path.removesuffix(".py").replace("/", ".")
    return f"{{py:func}}`{found.name}() <{module}.{found.name}>`"


def test_link(found: sources.Found) -> str:
    """A test's name, linked to its lines in the repository."""
    where = f"{found.path}, line {found.line}"
    return f"[`{found.name}`]({url(found.path, found.line, found.end)}) ({where})"


def entry(equation: sources.Equation, functions: list, tests: list) -> str:
    """One equation: formula, papers, functions, tests."""
    number, chapter = equation.number, int(equation.chapter.split("/")[1].split("_")[0])
    what, papers = WORDS[number]
    mine = [function_link(f) for f in functions if number in f.numbers]
    proofs = [test_link(t) for t in tests if number in t.numbers]
    computed = ", ".join(mine) or f"none in the library; chapter {chapter} computes it"
    paper = papers or "not numbered in the DDIM and the DDPM paper"
    return "\n".join([
        f"### ({number}) {what}", "", f"$$\n{equation.formula}\n$$", "",
        f"- **Here:** equation ({number}), [{equation.title}](/{equation.chapter}.ipynb)",
        f"- **Papers:** {paper}",
        f"- **Functions:** {computed}",
        f"- **Tests:** {'' if proofs else 'none'}",
        *[f"  - {proof}" for proof in proofs], ""])


def markdown() -> str:
    """All equations, chapter by chapter."""
    functions, tests, parts, chapter = sources.functions(), sources.tests(), [], None
    for equation in sources.equations():
        if equation.number not in WORDS:
            continue  # the build has said so
        if equation.chapter != chapter:
            chapter = equation.chapter
            parts.append(f"## Chapter {int(chapter.split('/')[1][:2])}: {equation.title}\n")
        parts.append(entry(equation, functions, tests))
    return "\n".join(parts)


def files() -> list:
    """What the page is made of."""
    root = sources.ROOT
    return [*(root / "book").glob("[0-9]*.ipynb"), *(root / "ddim_lib").rglob("*.py"),
            *(root / "tests").rglob("test_*.py")]
