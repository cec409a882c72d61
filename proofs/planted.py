"""Plant the mistakes that readers make into the library; a chapter must notice each.

The last commit is copied, one place of the copy's ddim_lib is changed, and chapters run against
it as `make test` runs them: nbval with the Makefile's own options, the guard, fresh kernels. The
first chapter that fails ends the search; it must fail by a comparison with what is committed, or
by an assertion, and by nothing else. In the end the same chapters pass without a mistake.

    python -m proofs.planted                   all, and the record
    python -m proofs.planted "sign of eps" ..  some of them, without a record
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple

import nbformat

from ddim_lib.runtime.provenance import commit
from proofs.common import ROOT, Failed, record
from proofs.copies import export

# Says where the kernel has its library from; passes where that is the copy.
WHERE = "00_where"


class Mistake(NamedTuple):
    """What to write instead of what, each found once in a file of ddim_lib; which chapters to ask.

    Attributes:
        changes: (file, was, becomes).
        chapters: in this order, until one notices.
    """

    changes: tuple[tuple[str, str, str], ...]
    chapters: tuple[str, ...]


def sampler(was: str, becomes: str, *chapters: str) -> Mistake:
    return Mistake((("sampling.py", was, becomes),), chapters)


# Chapter 10 is no witness: its film has a narrow tolerance. The quickest chapters come first.
MISTAKES = {
    "alpha for alpha-bar": Mistake(
        (("schedule.py", "torch.cumprod(1 - beta, 0)", "1 - beta"),), ("01_noising",)),
    "noise at the last step": Mistake(
        (("sampling.py", "0.0 if alpha_s == 1 else outside", "outside"),
         ("sampling.py", "if noise is not None and s > 0 else", "if noise is not None else")),
        ("06_ddim_and_ddpm",)),
    "an off-by-one subsequence": Mistake(
        (("schedule.py", "[T * i // steps for i", "[max(1, T * i // steps - 1) for i"),),
        ("11_solvers", "04_sampling")),
    "the sampler replaced by noise": sampler(
        "yield Step(0, x, x, None)", "yield Step(0, torch.randn_like(x), x, None)",
        "02_oracle", "11_solvers", "04_sampling"),
    "the sign of eps": sampler(
        "(x_t - math.sqrt(1 - alpha_t) * eps)", "(x_t + math.sqrt(1 - alpha_t) * eps)",
        "02_oracle", "01_noising"),
    "a root forgotten": sampler(
        "return math.sqrt(alpha_s) * x0", "return alpha_s * x0", "02_oracle", "11_solvers"),
    "eta ignored": sampler(
        "return eta * math.sqrt((1 - alpha_s)", "return 0.0 * math.sqrt((1 - alpha_s)",
        "06_ddim_and_ddpm"),
    "sigma without its second root": sampler(
        "* math.sqrt(1 - alpha_t / alpha_s)\n\n", "* (1 - alpha_t / alpha_s)\n\n",
        "06_ddim_and_ddpm"),
    "x0 from the alpha of the next level": sampler(
        "x0 = predict_x0(x, eps, alpha_t)", "x0 = predict_x0(x, eps, alpha_s)",
        "02_oracle", "11_solvers"),
    "the network asked at t - 1": sampler(
        "levels = torch.full((len(both),), t, device=x.device)",
        "levels = torch.full((len(both),), max(t - 1, 1), device=x.device)",
        "02_oracle", "11_solvers", "04_sampling"),
    "signal and noise exchanged": Mistake(
        (("schedule.py", "return math.sqrt(a) * x0 + math.sqrt(1 - a) * noise",
          "return math.sqrt(1 - a) * x0 + math.sqrt(a) * noise"),), ("01_noising", "02_oracle")),
    "the loss of x0 instead of the noise": Mistake(
        (("training.py", ".float() - eps\n", ".float() - x0\n"),),
        ("03_learning",)),
}


def plant(mistake: Mistake, library: Path) -> None:
    """Change the copy of ddim_lib.

    Raises:
        Failed: a text is not there, or more than once.
    """
    for name, was, becomes in mistake.changes:
        path = library / name
        text = path.read_text()
        if text.count(was) != 1:
            raise Failed(f"{name} must hold {was!r} once, it does {text.count(was)} times")
        path.write_text(text.replace(was, becomes))


def witness(copy: Path) -> None:
    """A notebook that prints where its kernel found the library: committed, it says the copy."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(
        "import ddim_lib\nprint(ddim_lib.__file__)", execution_count=1, outputs=[
            nbformat.v4.new_output("stream", text=f"{copy / 'ddim_lib' / '__init__.py'}\n")])])
    nbformat.write(notebook, copy / "book" / f"{WHERE}.ipynb")


def options() -> list[str]:
    """What the Makefile gives to nbval."""
    found = re.search(r"^NBVAL := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return found[1].split()


def chapter(copy: Path, name: str) -> dict | None:
    """Run one chapter in a copy.

    Returns:
        None where it passes, else chapter, cell, and what :func:`told` says.

    Raises:
        Failed: the kernel had its library from elsewhere, or pytest did not run.
    """
    report = copy / "report.xml"
    report.unlink(missing_ok=True)
    names = [f"book/{name}.ipynb" for name in (WHERE, name)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *options(),
         f"--junitxml={report}", *names], cwd=copy, text=True, capture_output=True,
        stdin=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(copy),
                                                    "OMP_NUM_THREADS": "1"})
    if done.returncode not in (0, 1) or not report.exists():
        raise Failed(f"{name}: pytest ended with code {done.returncode}: {done.stdout[-800:]}")
    cells = list(ElementTree.parse(report).iter("testcase"))
    failures = [(cell, cell.find("failure")) for cell in cells if cell.find("failure") is not None]
    if len(cells) < 2 or WHERE not in str(cells[0].attrib) or \
            failures and failures[0][0] is cells[0]:
        raise Failed(f"{name}: the kernel did not take the copied library: {done.stdout[-800:]}")
    if done.returncode == 0:
        return None
    ((cell, failure),) = failures
    return {"chapter": name, "cell": cell.attrib["name"], **told(failure.text or "")}


def told(failure: str) -> dict:
    """How a cell failed, from nbval's words: comparison, assertion, timeout or another crash.

    Without the input and the colours; of a long text the beginning.
    """
    text = re.sub(r"(\x1b|#x1B)\[[0-9;]*m", "", failure)
    crashed = re.findall(r"^(\w+(?:Error|Exception|Interrupt))\b.*", text, re.MULTILINE)
    if "KeyboardInterrupt" in crashed or "Timeout of" in text:
        kind = "timeout"
    elif "Cell outputs differ" in text and not crashed:
        kind = "comparison"
    else:
        kind = "assertion" if set(crashed) == {"AssertionError"} else "crash"
    if kind in ("timeout", "crash"):
        return {"kind": kind, "told": text[-400:]}
    lines = [line.strip() for line in text.partition("Traceback:")[2].splitlines()]
    # Of compared texts the first lines that differ; of pictures and assertions all that is said.
    differ = [line for line in lines if line.startswith(("- ", "+ "))][:2]
    return {"kind": kind, "told": " / ".join(differ or filter(None, lines))[:300]}


def patiently(copy: Path, name: str, times: int = 3) -> dict | None:
    """Run one chapter, again if it took too long: a machine that stands still is no mistake."""
    for _ in range(times):
        found = chapter(copy, name)
        if not found or found["kind"] != "timeout":
            break
    return found


def search(mistake: Mistake, copy: Path) -> dict:
    """The first of its chapters that notices a planted mistake; which did not before."""
    unnoticed = []
    for name in mistake.chapters:
        found = patiently(copy, name)
        if found and found["kind"] in ("comparison", "assertion"):
            return {**found, "unnoticed_by": unnoticed}
        if found:
            raise Failed(f"{name}: a {found['kind']} proves nothing: {found['told']}")
        unnoticed.append(name)
    raise Failed(f"no chapter noticed; these ran: {', '.join(unnoticed)}")


def prove(folder: Path, names: list[str]) -> dict:
    """Every mistake, then the chapters that have noticed one without any; facts for the record.

    Raises:
        Failed: no chapter noticed a mistake, or one fails without any.
    """
    begin, noticed, here = time.perf_counter(), {}, commit()
    for number, name in enumerate(names):
        copy = folder / str(number)
        export(copy, commit=here)
        witness(copy)
        plant(MISTAKES[name], copy / "ddim_lib")
        try:
            noticed[name] = search(MISTAKES[name], copy)
        except Failed as error:
            raise Failed(f"{name}: {error}") from error
        print(f"{name}: {noticed[name]}", flush=True)
    clean = folder / "clean"
    export(clean, commit=here)
    witness(clean)
    control = sorted({told["chapter"] for told in noticed.values()})
    for name in control:
        if found := patiently(clean, name):
            raise Failed(f"{name} fails without any mistake: {found}")
        print(f"{name}: passes without a mistake", flush=True)
    return {"mistakes": {name: {"changes": [f"{file}: {was.strip()} -> {becomes.strip()}"
                                            for file, was, becomes in MISTAKES[name].changes],
                                **noticed[name]} for name in names},
            "copied_commit": here, "pass_without_a_mistake": control,
            "nbval": options(), "threads": 1, "seconds": round(time.perf_counter() - begin)}


def main(names: list[str]) -> None:
    """These mistakes, or all and the record."""
    for name in names:
        if name not in MISTAKES:
            sys.exit(f"the mistake must be one of {', '.join(MISTAKES)}, got {name!r}")
    with tempfile.TemporaryDirectory() as folder:
        try:
            facts = prove(Path(folder).resolve(), names or list(MISTAKES))
        except Failed as error:
            sys.exit(f"planted: {error}")
    if not names:
        print(f"written: {record('planted', what=WHAT, **facts)}")


WHAT = ("Each of these mistakes, planted into a copy of the library, makes a chapter fail under "
        "nbval, by a comparison with what is committed or by an assertion; without a mistake the "
        "same chapters pass.")

if __name__ == "__main__":
    main(sys.argv[1:])
