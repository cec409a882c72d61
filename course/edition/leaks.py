"""Look for solutions in what was built for students: pages, search index, notebooks, PDF."""

import html
import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

SHORTEST = 24  # letters of a passage that cannot stand elsewhere by chance
TEXTS = {".html", ".js", ".json", ".md", ".ipynb", ".txt", ".tex", ".xml", ".svg", ".css", ".inv"}
GAP = ".{0,200}?"  # a formula in the middle of a sentence
REGION = re.compile(
    r"^[^\n]*BEGIN (?P<what>SOLUTION|HIDDEN TESTS)[^\n]*\n(?P<text>.*?)^[^\n]*END (?P=what)",
    re.DOTALL | re.MULTILINE,
)
LABEL = re.compile(r"^\W*RUBRIC\s+[\d.]+:", re.MULTILINE)
# Scripts of others, the same in every book.
OTHERS = {"vendor"}


def squeezed(text: str) -> str:
    """Letters and digits alone: typesetting changes everything else."""
    text = unicodedata.normalize("NFKC", text)
    return re.sub(r"[^a-z0-9]", "", text.lower())


def passages(solution: str) -> set[str]:
    """Patterns of what would betray a solution: its sentences, and its code.

    A formula may stand between the words as it is written or as it is read, so any few letters
    may; `squeezed` text is what they are to be looked for in.
    """
    found = set()
    for sentence in re.split(r"(?<=[.:;?!])\s|```\w*", solution):
        words = [squeezed(part) for part in re.split(r"\$+[^$]*\$+", sentence)]
        code = [squeezed(part) for part in re.findall(r"`([^`]+)`", sentence)]
        found |= {part for part in [*words, *code] if len(part) >= SHORTEST}
        if sum(map(len, words)) >= SHORTEST:
            found.add(GAP.join(word for word in words if word))
    return found


def telling(solutions: list[str], kept: str) -> list[str]:
    """The patterns to look for: those of the solutions that no text for students has.

    Raises ValueError if none is left of a solution, as when it was not cut.
    """
    kept, wanted = squeezed(kept), set()
    for solution in solutions:
        own = {passage for passage in passages(solution) if not re.search(passage, kept)}
        if not own:
            raise ValueError(f"a solution also stands elsewhere, or is too short: {solution!r}")
        wanted |= own
    return sorted(wanted)


def of_assignments(course: Path, kept: str) -> list[str]:
    """The patterns that betray what the assignments' sources keep from students: solutions, model
    answers, rubrics, hidden tests. None is in `kept`, what students may read anyway.

    Raises ValueError if nothing would betray a model answer, a rubric or a hidden test.
    """
    wanted = set()
    for path in sorted(course.glob("source/*/*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        sources = ["".join(cell["source"]) for cell in notebook["cells"]]
        shown = squeezed(kept + "\n".join(REGION.sub("", source) for source in sources))
        for cell, source in zip(notebook["cells"], sources, strict=True):
            for region in REGION.finditer(source):
                text = LABEL.sub("", region["text"])
                found = {squeezed(line) for line in text.split("\n")}
                found = {line for line in found if len(line) >= SHORTEST}
                if cell["cell_type"] == "markdown":
                    found |= passages(text)
                own = {passage for passage in found if not re.search(passage, shown)}
                must = cell["cell_type"] == "markdown" or region["what"] == "HIDDEN TESTS"
                if must and not own:
                    raise ValueError(f"{path.name}: nothing would betray {text[:60]!r}")
                wanted |= own
    return sorted(wanted)


def strings(value) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        # A notebook keeps its text in lines.
        yield "".join(item for item in value if isinstance(item, str))
        for item in value:
            if not isinstance(item, str):
                yield from strings(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)


def text_of(path: Path) -> str:
    """All that a file says, without the marks around it. Empty for pictures."""
    if path.suffix == ".pdf":
        import pypdf

        pages = [page.extract_text() for page in pypdf.PdfReader(path).pages]
        return re.sub(r"-\n", "", "\n".join(pages))
    text = text_with_marks(path)
    if path.suffix in {".ipynb", ".json"}:
        return "\n".join(strings(json.loads(text)))
    if path.suffix == ".html":
        return html.unescape(re.sub(r"<[^>]*>", "", text) + text)
    return text


def files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not OTHERS & set(path.relative_to(folder).parts):
            yield path


def search(folder: Path, wanted: list[str]) -> list[str]:
    """A line for each file of the folder and each pattern in it."""
    told = []
    for path in files(folder):
        text = squeezed(text_of(path))
        told += [f"{path.relative_to(folder)}: {p[:60]}" for p in wanted if re.search(p, text)]
    return told


def links(folder: Path, repository: str) -> list[str]:
    """A line for each link that leads to the public book."""
    owner, name = repository.split("/")
    form = rf"(?:{re.escape(owner)}/{re.escape(name)}|{re.escape(owner)}\.github\.io)(?![\w-])"
    link = re.compile(rf"""(?:href=["']|\]\(|<)(https?://[^"')>\s]*{form}[^"')>\s]*)""")
    told = []
    for path in files(folder):
        if path.suffix == ".pdf":
            found = [uri for uri in addresses(path) if re.search(form, uri)]
        else:
            found = link.findall(text_with_marks(path))
        told += [f"{path.relative_to(folder)} links {uri}" for uri in sorted(set(found))]
    return told


def text_with_marks(path: Path) -> str:
    """A file as it is; empty for pictures."""
    return path.read_text(encoding="utf-8", errors="replace") if path.suffix in TEXTS else ""


def addresses(path: Path) -> list[str]:
    """Where the links of a PDF lead, outside of it."""
    import pypdf

    notes = [
        note.get_object()
        for page in pypdf.PdfReader(path).pages
        for note in page.get("/Annots") or []
    ]
    return [str(note["/A"]["/URI"]) for note in notes if "/URI" in note.get("/A", {})]
