"""The whole book as one PDF: python scripts/pdf.py makes _build/pdf/ddim-book.pdf.

It needs TeX, and takes seconds. What the eye would find too late is an error here: a character
that no font has, a link to nowhere, text that runs off the page.
"""

import os
import re
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
NAME = "ddim-book.pdf"
PROGRAMS = ("latexmk", "xelatex", "kpsewhich")
PACKAGES = (
    "latexmk texlive-xetex texlive-latex-extra texlive-fonts-recommended lmodern fonts-dejavu"
)
# One file of each package; TeX without them stops in the middle.
FILES = ("polyglossia.sty", "tabulary.sty", "rsfs10.tfm", "latinmodern-math.otf",
         "DejaVuSansMono.ttf")
# Jupyter Book's class asks for it, and Debian packs it with 500 MB of fonts that nobody needs here.
BBM = "\\ProvidesPackage{bbm}\n\\providecommand{\\mathbbm}[1]{\\mathbb{#1}}\n"
MARGIN = 12.0  # points that a line may run into the margin, 4 mm


class Missing(RuntimeError):
    """TeX, or a part of it, is not installed."""


def need_tex() -> None:
    """Raises Missing, with the packages to install, if this machine cannot make a PDF."""
    lacks = [program for program in PROGRAMS if shutil.which(program) is None]
    if not lacks:
        lacks = [file for file in FILES if not found(file)]
    if lacks:
        raise Missing(
            f"The PDF needs TeX, and {', '.join(lacks)} is not here."
            f" On Debian or Ubuntu: apt install {PACKAGES}"
        )


def found(file: str) -> bool:
    return subprocess.run(["kpsewhich", file], capture_output=True).returncode == 0


def last_change(source: Path) -> str:
    """Seconds since 1970 of the last commit, for a PDF that is the same whenever it is made."""
    if "SOURCE_DATE_EPOCH" in os.environ:
        return os.environ["SOURCE_DATE_EPOCH"]
    command = ["git", "log", "-1", "--format=%ct"]
    said = subprocess.run(command, cwd=source, capture_output=True, text=True)
    if said.returncode == 0 and said.stdout.strip():
        return said.stdout.strip()
    released = yaml.safe_load((source / "CITATION.cff").read_text(encoding="utf-8"))
    return f"{datetime.fromisoformat(released['date-released'] + 'T00:00+00:00').timestamp():.0f}"


def faults(log: str) -> list[str]:
    """What the log of a run that went through tells of the pages."""
    log = unwrapped(log)
    told = set()
    for sign, font in re.findall(r"Missing character: There is no (.+?) in font ([^!\n]+)", log):
        told.add(f"no font has {sign}: {font.strip()}")
    told.update(re.findall(r"(?:Hyper reference|Reference|Citation) `.+?' on page \w+ undefined",
                           log))
    wide = r"Overfull \\hbox \(([\d.]+)pt too wide\) [^\n]+\n([^\n]*)"
    for points, text in re.findall(wide, log):
        if float(points) > MARGIN:
            words = " ".join(re.sub(r"\\TU/\S+|\[\]", " ", text).split())
            told.add(f"{points} points too wide: {words:.90}")
    return sorted(told)


def unwrapped(log: str) -> str:
    """TeX breaks its log after 79 letters, in the middle of a word."""
    return re.sub(r"(?<=[^\n]{79})\n", "", log)


def build(source: Path, target: Path, work: Path) -> None:
    """Make the PDF of the book in `source`; what is made on the way goes to `work`."""
    need_tex()
    shutil.rmtree(work, ignore_errors=True)
    target.unlink(missing_ok=True)
    environment = os.environ | {"SOURCE_DATE_EPOCH": last_change(source), "FORCE_SOURCE_DATE": "1"}
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    command = [jupyter_book, "build", ".", "--path-output", work, "--builder", "latex"]
    command += ["-W", "-n", "--keep-going", "-q"]
    subprocess.run(command, cwd=source, env=environment, check=True)
    latex = work / "_build" / "latex"
    if not found("bbm.sty"):
        (latex / "bbm.sty").write_text(BBM)
    tex = Path(NAME).with_suffix(".tex").name
    command = ["latexmk", "-xelatex", "-interaction=nonstopmode", "-halt-on-error", "-quiet", tex]
    run = subprocess.run(command, cwd=latex, env=environment, capture_output=True)
    log = (latex / tex).with_suffix(".log")
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    if run.returncode:
        said = re.findall(r"^!.*(?:\n.*){0,6}", text, re.MULTILINE)[:1] or [run.stderr.decode()]
        raise RuntimeError(f"TeX stopped; {log} has more.\n{said[0]}")
    if told := faults(text):
        raise RuntimeError("\n".join(["The PDF has faults:", *told]))
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(latex / NAME, target)


def main() -> int:
    try:
        build(ROOT, ROOT / "_build" / "pdf" / NAME, ROOT / "_build" / "pdf" / "work")
    except (RuntimeError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    size = (ROOT / "_build" / "pdf" / NAME).stat().st_size
    print(f"_build/pdf/{NAME}: {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
