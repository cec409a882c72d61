"""Every chapter and assignment with Colab's packages, each alone, from its first cell.

For each notebook an empty folder and an environment without the library; the notebook's own first
cell installs it, from the public address, which git is told to look for in a clone of this commit.
No package that Colab has may change, no cell may raise, no process but pip may ask another host.

python -m proofs.colab [--only NAME ..] [--gpu]

COLAB_TAG=latest (or a tag) takes the notebooks of that tag and redirects nothing: the library then
comes from the public address, as a reader gets it. COLAB_PYTHON names the interpreter, COLAB_ENV a
folder that keeps the runtime between two runs (else _build/colab).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from proofs import colab_runtime
from proofs.colab_compare import summary
from proofs.colab_notebooks import Task, execute, tasks
from proofs.colab_runtime import Listed, Reader, public
from proofs.common import ROOT, Failed, record
from scripts import address


def git(*arguments: object, folder: Path = ROOT) -> str:
    """What git says. Raises Failed."""
    return colab_runtime.run(["git", *arguments], cwd=folder).strip()


def clone(folder: Path, tag: str | None, commit: str = "HEAD") -> Path:
    """The commit under test as a repository of its own, or that of a tag."""
    branch = []
    if tag == "latest":
        tags = git("tag", "--list", "v*", "--sort=-v:refname").split()
        if not tags:
            raise Failed("COLAB_TAG=latest, and the repository has no tag v*: nothing is released")
        tag = tags[0]
    if tag:
        branch = ["--branch", tag]
    if git("rev-parse", "--is-shallow-repository") == "true":
        # pip fetches blobs as they are needed; from a shallow clone git then calls itself without
        # end, and fills the machine with processes.
        raise Failed("the checkout must have its whole history: git fetch --unshallow")
    git("-c", "advice.detachedHead=false", "clone", "-q", *branch, ROOT, folder)
    if not tag:
        git("checkout", "-q", "--detach", git("rev-parse", commit), folder=folder)
    for key in ("allowFilter", "allowAnySHA1InWant"):  # as GitHub allows it
        git("config", f"uploadpack.{key}", "true", folder=folder)
    return folder


def judge(before: dict[str, str], after: dict[str, str], library: dict, hosts: list[str],
          listed: Listed, commit: str | None) -> dict:
    """What a notebook did to its environment: packages by version, before and after.

    Raises:
        Failed: it changed what Colab has, installed another library, or asked for a host.
    """
    if "ddim-lib" in before:
        raise Failed("the library was there before the first cell")
    changed = {n: f"{v} to {after.get(n)}" for n, v in before.items() if after.get(n) != v}
    if changed:
        raise Failed(f"installing the library changed what Colab has: {changed}")
    added = {name: version for name, version in after.items() if name not in before}
    if gap := sorted(set(added) & set(listed.packages)):
        raise Failed(f"Colab has {', '.join(gap)}, and this runtime had not; add to KERNEL")
    if commit and library["commit"] != commit:
        raise Failed(f"the library is of commit {library['commit']}, not {commit}")
    if hosts:
        raise Failed(f"it asked for {', '.join(hosts)}")
    return {"added": added, "library": library}


def prove_one(task: Task, reader: Reader, listed: Listed, commit: str | None) -> dict:
    """Run a notebook and look at what it did. Raises Failed."""
    before = reader.packages()
    facts = execute(task, reader)
    done = judge(before, reader.packages(), reader.library(), reader.hosts(), listed, commit)
    left = sorted(path.name for path in reader.content.iterdir())
    return {**facts, **done, "files": left}


def prove(folder: Path, runtime: Path, listed: Listed, ran: Path, *, tag: str | None = None,
          gpu: bool = False, only: list[str] | None = None, resume: str = "") -> dict:
    """Run them all below a folder; the facts for the record.

    Args:
        ran: a folder that keeps the facts of each notebook that has run, by commit.
        resume: a commit: take those that `ran` has of it.

    Raises:
        Failed: what is wrong with each notebook, a line each.
    """
    begin, repository = time.perf_counter(), clone(folder / "clone", tag, resume or "HEAD")
    commit = git("rev-parse", "HEAD", folder=repository)
    public_address = f"https://github.com/{address.configured(repository)}"
    # Colab knows its fonts already; the first notebook would be told that they are looked for.
    fonts = os.environ | {"MPLCONFIGDIR": str(folder / "caches" / "matplotlib")}
    colab_runtime.run([runtime, "-c", "import matplotlib.font_manager"], env=fonts)
    results, wrong = {}, []
    for number, task in enumerate(tasks(repository)):
        if only and not task.name.startswith(tuple(only)):
            continue
        place, kept = folder / str(number), ran / commit / f"{task.name}.json"
        if resume and kept.is_file():
            results[task.name] = json.loads(kept.read_text())
            continue
        reader = Reader(runtime, place, folder / "caches",
                        None if tag else (public_address, repository), gpu)
        try:
            results[task.name] = facts = prove_one(task, reader, listed, None if tag else commit)
            told = {k: v for k, v in facts.items() if k in ("stops_at", "ok", "compared", "stderr")}
            say(f"{task.name}: {facts['seconds']} s, {told}")
            for other in facts.get("differ", []):
                say(f"    cell {other['cell']} differs: {other['what']}")
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(facts))
        except Failed as error:
            wrong.append(f"{task.name}: {error}")
            say(f"{task.name}: FAILS: {error}")
        shutil.rmtree(place)
    if wrong or not results:
        raise Failed("\n".join(wrong) or f"no notebook begins with {only}")
    whole = {"resumed": True} if resume else {"seconds": round(time.perf_counter() - begin)}
    for facts in results.values():
        if "differ" in facts:
            facts |= summary(facts["differ"])
    return {"notebooks_of": tag or commit, "address": public_address, "notebooks": results,
            **whole}


def runtime_facts(runtime: Path, listed: Listed, folder: Path) -> dict:
    """What the record says of the runtime."""
    here, left_out = colab_runtime.packages(runtime), folder / "left_out"
    return {"name": listed.runtime, "source": listed.source, "list_read": listed.read,
            "python": colab_runtime.version_of(runtime), "python_of_colab": listed.python,
            "packages": {name: here[name] for name in colab_runtime.wanted(listed)},
            "installed": len(here), "listed": len(listed.packages),
            "left_out_as_colab_lacks_them":
                left_out.read_text().split() if left_out.is_file() else []}


def unproven(listed: Listed, facts: dict, tag: str | None, gpu: bool) -> list[str]:
    """What this run leaves open, in sentences."""
    torch, there = facts["packages"]["torch"], listed.packages["torch"]
    found = [
        "Colab's own page and its module google.colab: how they show pictures, players and "
        "sliders, and hand a file over.",
        "Colab's packages: these are another interpreter's." if not listed.source else
        f"Other packages that Colab has: of its {facts['listed']} those are here that the "
        "notebooks and their kernel ask for."]
    if public(facts["python"]) != public(listed.python):
        found.append(f"Python {facts['python_of_colab']}: here it is {facts['python']}.")
    if torch != there:
        found.append(f"PyTorch {there}: here it is {torch}, PyPI's build.")
    if not gpu:
        found.append("A GPU: none was used; --gpu is the same proof where there is one.")
    if not tag:
        found.append("The public address: git was redirected to a clone of this commit.")
    return found


def say(line: str) -> None:
    """Progress, as it comes."""
    print(line, flush=True)


def main() -> None:
    """The whole proof, and its record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", help="beginnings of names; then nothing is "
                        "recorded")
    parser.add_argument("--gpu", action="store_true", help="let the notebooks see CUDA")
    parser.add_argument("--runtime", type=Path, help="an interpreter to take in place of Colab's "
                        "packages, where those cannot be had: it must not have the library")
    parser.add_argument("--resume", default="", metavar="COMMIT", help="the commit of a run that "
                        "was cut off: what had run of it is not run again")
    options, tag = parser.parse_args(), os.environ.get("COLAB_TAG") or None
    name = "-".join(["colab", *["published"] * bool(tag), *["gpu"] * options.gpu])
    try:
        listed, folder = colab_runtime.read_list(), ROOT / "_build" / "colab"
        folder = Path(os.environ.get("COLAB_ENV") or folder).resolve()
        runtime = options.runtime
        if runtime:
            listed = colab_runtime.as_it_is(runtime)
        else:
            python = colab_runtime.choose_python(listed)
            say(f"runtime {listed.runtime} on Python {colab_runtime.version_of(python)} "
                f"(Colab: {listed.python})")
            runtime = colab_runtime.build(listed, folder, python)
        device = {"seen": colab_runtime.gpu(runtime)} if options.gpu else {}
        about = runtime_facts(runtime, listed, folder)
        with tempfile.TemporaryDirectory() as place:
            facts = prove(Path(place), runtime, listed, folder / "ran" / name, tag=tag,
                          gpu=options.gpu, only=options.only, resume=options.resume)
    except Failed as error:
        sys.exit(f"colab: {error}")
    if options.only:
        return
    path = record(name, what=WHAT, runtime=about, **device, **facts,
                  unproven=unproven(listed, about, tag, options.gpu))
    say(f"written: {path}")


WHAT = ("Each chapter, and each assignment without and with its answers, runs alone in an empty "
        "folder with the packages of a Colab runtime: its first cell installs the library, no "
        "package that Colab has changes, no cell "
        "raises, and no process but pip asks a host. "
        "'differ' lists what a chapter says otherwise than what is committed, "
        "'pictures_differ_in_cells' where only a picture is drawn otherwise, beyond the guard's "
        "tolerance. 'seconds' are the clock's, whatever else the machine did, pauses included.")

if __name__ == "__main__":
    main()
