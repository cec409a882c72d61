"""One zip for Gradescope's autograder for each assignment: make gradescope

    python -m course.grader.gradescope [--visibility after_due_date] [--course folder]

The zips go to _build/gradescope/. Each holds setup.sh and run_autograder, the library, the grader
and the assignment's source with its solutions and hidden tests: it is for the instructor alone.
What runs there is course/grader/gradescope/run.py.
"""

import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click

from course import assignments
from course.assignments import ROOT

PLACE = Path("_build") / "gradescope"
VISIBILITIES = ("hidden", "after_due_date", "after_published", "visible")
GRADER = ("course/__init__.py", "course/assignments.py", "course/grader/**/*.py",
          "scripts/__init__.py", "scripts/notebooks/__init__.py",
          "scripts/notebooks/normal_form.py", "scripts/notebooks/png.py")
# What the library is built from, in a folder of its own: beside the grader Python would find it
# before the installed one, and the submission's code may read the installed one alone.
LIBRARY = ("pyproject.toml", "README.md", "LICENSE", "ddim_lib/**/*.py", "data/results/*",
           "data/stats/*")
WEIGHTS = {"mnist", "mnist-eps", "mnist-classifier"}  # the others go where they are named
SETUP = """\
#!/usr/bin/env bash
# Runs once, as root, when the image is built.
set -euo pipefail
place="${AUTOGRADER:-/autograder}"
source="$place/source"

# The library needs Python 3.11 or newer.
new_enough() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \\
  2> /dev/null; }
find_python() {
  for name in python3 python3.13 python3.12 python3.11; do
    if command -v "$name" > /dev/null && new_enough "$name"; then echo "$name"; return; fi
  done
}
python="$(find_python)"
if [ -z "$python" ]; then
  apt-get update
  for version in 3.12 3.11; do
    apt-get install -y "python$version" "python$version-venv" && break
  done
  python="$(find_python)"
fi
if [ -z "$python" ]; then
  echo "No Python from 3.11 on could be installed: choose a newer base image."
  exit 1
fi

"$python" -m venv "$place/venv"
pip() { "$place/venv/bin/python" -m pip --disable-pip-version-check --no-cache-dir "$@"; }
# Without the gigabytes that only a GPU needs. The versions are those of the book's own lock.
pip install --index-url https://download.pytorch.org/whl/cpu {torch}
# With what an assignment's first cell installs for a student.
pip install --constraint "$source/requirements.lock" "$source/library[course,train]"

# It shuts the submission's code in, if the container may create namespaces.
command -v bwrap > /dev/null || { apt-get update && apt-get install -y bubblewrap; } \
  || echo "No bubblewrap: the submission's code will run as another user, with the network."

# Solutions and hidden tests are for root alone.
chmod -R go-rwx "$source"
chmod 755 "$place" "$place/venv"
"""
RUN = """\
#!/usr/bin/env bash
# Runs for each submission. results.json is there afterwards, whatever happens.
place="${AUTOGRADER:-/autograder}"
results="$place/results/results.json"
mkdir -p "$place/results"
rm -rf "$results"
cd "$place/source" && "$place/venv/bin/python" -m course.grader.gradescope.run "$place"
if [ ! -s "$results" ]; then
  echo "The grader ended without a result. Did setup.sh run to its end, is there enough memory?"
  echo '{"score": 0, "output": "The grader failed; this says nothing of your work. Please tell' \\
    'your instructor.", "stdout_visibility": "hidden", "tests": []}' > "$results"
fi
"""


def torch_pins(lock: str) -> str:
    return " ".join(f'"{pin}"' for pin in re.findall(r"^torch(?:vision)?==[^\s;]+", lock, re.M))


def contents(name: str, course: Path, visibility: str) -> Iterator[tuple[str, bytes]]:
    """Path and bytes of every file in an assignment's zip."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    yield "setup.sh", SETUP.replace("{torch}", torch_pins(lock)).encode()
    yield "run_autograder", RUN.encode()
    settings = {"assignment": name, "visibility": visibility}
    yield "gradescope.json", (json.dumps(settings) + "\n").encode()
    yield "requirements.lock", lock.encode()
    source = course / "source" / name / f"{name}.ipynb"
    yield f"course/source/{name}/{name}.ipynb", source.read_bytes()
    # The book's settings, and below them the course's own, which stand above as in a local run.
    configs = [folder / "nbgrader_config.py"
               for folder in dict.fromkeys((assignments.COURSE, course))]
    yield "course/nbgrader_config.py", b"\n".join(path.read_bytes() for path in configs
                                                  if path.exists())
    text = source.read_text(encoding="utf-8")
    weights = [path for path in (ROOT / "data" / "weights").glob("*.safetensors")
               if path.stem in WEIGHTS or path.stem in text]
    for folder, patterns, more in (("", GRADER, []), ("library/", LIBRARY, weights)):
        found = {path for pattern in patterns for path in ROOT.glob(pattern)}
        for path in sorted(found.union(more)):
            if path.is_file():
                yield folder + path.relative_to(ROOT).as_posix(), path.read_bytes()


def write(name: str, target: Path, course: Path, visibility: str) -> Path:
    """Write an assignment's zip into the folder `target`; the same bytes from the same files."""
    path = target / f"{name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for inside, data in contents(name, course, visibility):
            member = zipfile.ZipInfo(inside)
            mode = 0o755 if inside in {"setup.sh", "run_autograder"} else 0o644
            member.external_attr = (0o100000 | mode) << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, data)
    return path


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--visibility", type=click.Choice(VISIBILITIES), default="after_due_date",
              show_default=True, help="When students see points and messages of the tests.")
@click.option("--course", type=click.Path(exists=True, file_okay=False, path_type=Path),
              default=assignments.COURSE, help="The folder with source/; default: the book's own.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=ROOT / PLACE,
              help=f"Folder for the zips; default: {PLACE}.")
def main(visibility, course, out):
    """Write a zip for Gradescope's autograder for each assignment."""
    names = assignments.names(course)
    if not names:
        raise click.BadParameter(f"no assignment in {course}/source", param_hint="--course")
    out.mkdir(parents=True, exist_ok=True)
    for name in names:
        try:
            assignment = assignments.source(name, course)
        except assignments.Malformed as error:
            click.echo(error, err=True)
            sys.exit(1)
        tested = sum(q.points for q in assignment.questions if not q.written)
        path = write(name, out, course, visibility)
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        click.echo(f"{shown}: {path.stat().st_size / 1e6:.1f} MB, {tested:g} autograder points, "
                   f"{assignment.points - tested:g} by hand")


if __name__ == "__main__":
    main()
