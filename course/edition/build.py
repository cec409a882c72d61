"""The course edition, without solutions: python -m course.edition.build [--repo owner/name]

Into _build/course go html/ (the pages), notebooks/ (what students get; laid out as a repository)
and, where TeX is, ddim-book.pdf. All three are built from a copy of the sources from which every
solution was cut, and then searched for them. The page for instructors stays out; in its place is
one with the assignments, whose notebooks are those that students get.

With --repo the buttons of Colab and Kaggle lead to the notebooks in that repository, whose
content is the folder notebooks/. Without it the edition has no such buttons, since the public
notebooks hold the solutions. The page "How we know" stays out: what it has to say are links to
the public book.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from course.edition import leaks, solutions
from scripts import address, pdf

ROOT = Path(__file__).resolve().parents[2]
PLACE = Path("_build") / "course"
LEFT_OUT = {"_build", "node_modules", "dist", "data", "__pycache__", "CHAPTER.md"}
BADGE = (r"\[!\[Open in (?:Colab|Kaggle)\]\([^)]*\)\]\(https://(?:colab\.research\.google\.com/github/|"
         r"kaggle\.com/kernels/welcome\?src=https://github\.com/)[^)]*\)")
LINK = r"\[([^\]]*)\]\(https?://[^)]*{}[^)]*\)"
# Lines of a page that are true of the full edition alone, and their replacement.
FULL_ONLY = re.compile(r"^% full edition\n(.*?)^% end of full edition\n", re.DOTALL | re.MULTILINE)
NOTE = """
```{note}
This is the course edition: the exercises come without their solutions.
```
"""
PDF_NOTE = """
```{ddim-pdf}
```
"""
INSTRUCTORS = "book/for_instructors"
ASSIGNMENTS = "book/assignments"
EVIDENCE = "book/how_we_know"
ROW = re.compile(
    r"^\| *(?P<title>[^|]+?) *\| *(?P<chapters>[^|]+?) *\| *(?P<hours>[^|]+?) *\|"
    r" *(?P<points>\d+) *\|.*/(?P<name>\w+)\.ipynb\) *\|$", re.MULTILINE,
)
PAGE = """# Assignments

{said}

{rows}

None needs a GPU. Below each question a cell checks the answer and says in words what is wrong.
The last cell writes the file to hand in.
"""
# An address that no host can have: the course's own is not known here.
NOWHERE = "https://course.invalid/"


def copy(source: Path, target: Path, repo: str | None, paper: bool) -> tuple[list[str], str]:
    """Copy the book to `target` without its solutions; returns them, and the text that is left.

    Raises solutions.Unclear, with notebook and cell, where a solution cannot be cut for certain.
    """

    def left_out(folder, names):
        return {name for name in names if name in LEFT_OUT or name.startswith(".")}

    shutil.copytree(source, target, ignore=left_out)
    (target / "data").symlink_to(source.resolve() / "data")
    public = address.configured(source)
    root = yaml.safe_load((target / "_toc.yml").read_text(encoding="utf-8"))["root"]
    found, kept = [], []
    without_instructors(target, repo)
    without_evidence(target)
    for path in sorted((target / "book").rglob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        notebook, cut = solutions.cut_notebook(notebook, path.name)
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = readdressed(cell["source"], public, repo)
            kept.append(cell["source"])
        found += cut
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for path in sorted((target / "book").rglob("*.md")):
        text = without_full_only(path.read_text(encoding="utf-8"), path.name)
        text, cut = solutions.cut_page(readdressed(text, public, repo), path.name)
        if path == target / f"{root}.md":
            title, _, rest = text.partition("\n")
            text = f"{title}\n{NOTE}{PDF_NOTE if paper else ''}{rest}"
        found += cut
        kept.append(text)
        path.write_text(text, encoding="utf-8")
    configure(target, repo)
    return found, "\n".join(kept)


def without_instructors(target: Path, repo: str | None) -> None:
    """Put the page of assignments where the page for instructors was; no page leads to that."""
    instructors = target / f"{INSTRUCTORS}.md"
    rows = list(ROW.finditer(instructors.read_text(encoding="utf-8")))
    there = {path.stem for path in (target / "book" / "assignments").glob("*.ipynb")}
    if {row["name"] for row in rows} != there:
        raise ValueError(f"{INSTRUCTORS}.md and book/assignments have other assignments")
    instructors.unlink()
    head = ["assignment", "chapters", "hours", "points"] + ["open it"] * (repo is not None)
    lines = [head, ["---"] * len(head)]
    for row in rows:
        place = f"assignments/{row['name']}.ipynb"
        title = f"{{download}}`{row['title']} <{place}>`"
        lines.append([title, row["chapters"], row["hours"], row["points"]])
        if repo is not None:
            there = f"{repo}/blob/main/book/{place}"
            colab = f"https://colab.research.google.com/github/{there}"
            lines[-1].append(f"[Colab]({colab}), [GitHub](https://github.com/{there})")
    work = "Download a notebook by its name and open it in JupyterLab."
    if repo is not None:
        work = "Work on Colab, or download a notebook by its name and open it in JupyterLab."
    said = f"The course has {len(rows)} assignments. {work}"
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    page = PAGE.format(said=said, rows=table)
    (target / f"{ASSIGNMENTS}.md").write_text(page, encoding="utf-8")
    contents = target / "_toc.yml"
    text = contents.read_text(encoding="utf-8")
    contents.write_text(text.replace(f"file: {INSTRUCTORS}", f"file: {ASSIGNMENTS}"), "utf-8")
    link = re.compile(r"\[([^\]]*)\]\((?:[^)\s]*/)?for_instructors[^)]*\)")
    for path in sorted((target / "book").rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        path.write_text(link.sub(r"\1", text), encoding="utf-8")


def without_evidence(target: Path) -> None:
    """Take the page of claims out; its evidence lies at addresses to which no page may lead."""
    (target / f"{EVIDENCE}.md").unlink()
    text = (target / "_toc.yml").read_text(encoding="utf-8")
    (target / "_toc.yml").write_text(re.sub(rf" *- file: {EVIDENCE}\n", "", text), "utf-8")


def readdressed(text: str, public: str, repo: str | None) -> str:
    """A badge leads to the course's notebooks, or goes; no link leads to the public book."""
    if repo is None:
        text = re.sub(rf"{BADGE}\s*", "", text)
    else:
        text = re.sub(BADGE, lambda badge: badge[0].replace(public, repo), text)
    for form in address.forms(public):
        text = re.sub(LINK.format(re.escape(form)), r"\1", text)
    return text


def without_full_only(text: str, name: str) -> str:
    text = FULL_ONLY.sub("", text)
    if "full edition\n" in re.sub(r"^(?!%).*$", "", text, flags=re.MULTILINE):
        raise solutions.Unclear(f'{name}: "% full edition" has no partner')
    return text


def library(source: Path) -> str:
    """The library's text, which the pages show, and which answers may share lines with."""
    paths = sorted((source / "ddim_lib").rglob("*.py"))
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def configure(target: Path, repo: str | None) -> None:
    path = target / "_config.yml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config["title"] += " (course edition)"
    options = config["sphinx"]["config"]
    options["extensions"] = [
        name for name in options["extensions"] if name != "sphinx_sitemap"
    ] + ["ddim_course"]
    for key in [key for key in options if key.startswith("sitemap_")]:
        del options[key]
    options["html_baseurl"] = NOWHERE
    if repo is None:
        config.pop("repository")
        config.pop("launch_buttons")
        config["html"] |= {"use_repository_button": False, "use_issues_button": False}
    else:
        config["repository"]["url"] = f"https://github.com/{repo}"
    # Quoted, or YAML reads "off" as a boolean.
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")


def student_notebooks(source: Path, target: Path) -> None:
    """The notebooks and the pictures that they show, with the paths that the buttons expect."""
    for path in sorted((source / "book").rglob("*.ipynb")):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        for picture in re.findall(r"\]\((_assets/[^)\s]+)\)", path.read_text(encoding="utf-8")):
            (place.parent / picture).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path.parent / picture, place.parent / picture)


def build(source: Path, target: Path, repo: str | None = None, paper: bool = True) -> list[str]:
    """Make the course edition of the book in `source`; returns the names of its parts."""
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        cut = Path(folder) / "book"
        found, kept = copy(source, cut, repo, paper)
        wanted = leaks.telling(found, kept)
        wanted += leaks.of_assignments(cut / "course", kept + library(cut))
        made = cut / "made"
        student_notebooks(cut, made / "notebooks")
        if paper:
            on_paper = cut / "_build" / "pdf" / pdf.NAME
            pdf.build(cut, on_paper, Path(folder) / "pdf")
            shutil.copyfile(on_paper, made / pdf.NAME)
        jupyter_book = Path(sys.executable).with_name("jupyter-book")
        command = [jupyter_book, "build", ".", "--path-output", folder, "-W", "-n", "--keep-going"]
        subprocess.run([*command, "-q"], cwd=cut, check=True)
        shutil.move(Path(folder) / "_build" / "html", made / "html")
        told = leaks.search(made, wanted) + leaks.links(made, address.configured(source))
        if told:
            raise RuntimeError("\n".join(["The course edition would tell:", *told]))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made, target)
    return sorted(path.name for path in target.iterdir())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repo", metavar="owner/name", help="where the students' notebooks lie")
    options = parser.parse_args()
    if options.repo is not None:
        if not address.REPOSITORY.fullmatch(options.repo):
            parser.error(f"--repo must look like owner/name, and is {options.repo!r}")
        if options.repo == address.configured(ROOT):
            parser.error(f"--repo is {options.repo}, whose notebooks hold the solutions")
    paper = True
    try:
        pdf.need_tex()
    except pdf.Missing as lack:
        print(f"No PDF. {lack}", file=sys.stderr)
        paper = False
    try:
        parts = build(ROOT, ROOT / PLACE, options.repo, paper)
    except (RuntimeError, ValueError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{PLACE}: {', '.join(parts)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
