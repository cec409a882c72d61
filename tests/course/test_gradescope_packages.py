"""What an assignment imports, its zip for Gradescope installs: setup.sh names every package."""

import ast
import importlib.util
import json
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import course_sample
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from traitlets.config import PyFileConfigLoader

from course import assignments
from course.grader.gradescope import __main__ as gradescope

ROOT = Path(__file__).resolve().parents[2]
BY_MODULE = packages_distributions()


def modules(tree: ast.AST, package: str = "") -> set[str]:
    """The modules that a text imports, wherever in it, by their full names."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(base, package) if node.level else base
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return found


@cache
def source(name: str) -> Path | None:
    """The file of one of our modules."""
    place = ROOT.joinpath(*name.split("."))
    return next((p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()), None)


def foreign(wanted: set[str]) -> set[str]:
    """The distributions that modules need, those that ours import in a function included."""
    seen, found, waiting = set(), set(), set(wanted)
    while waiting:
        name = waiting.pop()
        top = name.split(".")[0]
        if name in seen or top in sys.stdlib_module_names:
            continue
        seen.add(name)
        if path := source(name):
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            waiting |= modules(ast.parse(path.read_text("utf-8")), package)
            waiting |= {name.rpartition(".")[0]} - {""}
        elif top not in {"ddim_lib", "course", "scripts", "google"}:  # Colab has the last itself
            found |= {canonicalize_name(one) for one in BY_MODULE.get(top, [top])[:1]}
    return found


def closure(wanted: list[str]) -> set[str]:
    """All distributions that a call of pip with these requirements installs here."""
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in wanted]
    while waiting:
        requirement = waiting.pop()
        for extra in ["", *requirement.extras]:
            name = canonicalize_name(requirement.name)
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for text in requires(name) or []:
                inner = Requirement(text)
                if inner.marker is None or inner.marker.evaluate({"extra": extra}):
                    waiting.append(inner)
    return {name for name, _ in seen}


@pytest.fixture(scope="module")
def installed() -> set[str]:
    """What setup.sh installs, by its own words."""
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    script = gradescope.SETUP.replace("{torch}", gradescope.torch_pins(lock))
    lines = re.findall(r"^pip install (.*)$", script, re.M)
    named = [word for line in lines for word in re.findall(r'"([^"]+)"', line)]
    named = [word.replace("$source/library", "ddim-lib") for word in named if "lock" not in word]
    assert len(named) == 3  # torch, torchvision, the library with its extras
    return closure(named)


def imported_by(notebook) -> set[str]:
    code = [re.sub(r"^(\s*)[%!].*$", r"\1pass", cell.source, flags=re.M)
            for cell in notebook.cells if cell.cell_type == "code"]
    return set().union(*(modules(ast.parse(source)) for source in code))


@pytest.mark.parametrize("name", assignments.names())
def test_every_package_of_an_assignment_is_installed(name, installed):
    wanted = foreign(imported_by(assignments.source(name).source))
    assert "torch" in wanted and wanted - installed == set()
    if name == "ddim_against_ddpm":
        assert "torchmetrics" in wanted  # which the library imports in a function


def test_every_package_of_the_grader_is_installed(installed):
    wanted = foreign({"course.grader.gradescope.run", "course.grader.sandbox.work",
                      "course.grader.sandbox.inside"})
    assert "nbgrader" in wanted and wanted - installed == set()


def test_a_package_that_is_left_out_is_found(installed):
    notebook = course_sample.source()
    notebook.cells[1].source = "def f():\n    import hypothesis.errors\n    from pytest import x"
    assert foreign(imported_by(notebook)) - installed == {"hypothesis", "pytest"}
    assert "torchmetrics" not in closure(["ddim-lib[course]"])  # as it was


ALONE = """
import json, re, sys
from importlib.machinery import PathFinder
refused, installed = map(set, json.loads(sys.argv[1]))
class Without(PathFinder):
    @classmethod
    def find_distributions(cls, *context):
        return (found for found in super().find_distributions(*context)
                if re.sub("[-_.]+", "-", found.name).lower() in installed)
    @classmethod
    def find_spec(cls, name, *more):
        return None if name.split(".")[0] in refused else super().find_spec(name, *more)
sys.meta_path = [Without if finder is PathFinder else finder for finder in sys.meta_path]
import torch
from ddim_lib import checks, datasets, plotting
from ddim_lib.metrics import FrechetDistance
print(FrechetDistance()(torch.zeros(200, 1, 28, 28)) > 0)
"""


def test_a_course_s_own_settings_stand_above_the_book_s(tmp_path):
    """Locally and in the zip; what a course does not set is as the book has it."""
    course = course_sample.course(tmp_path)
    (course / "nbgrader_config.py").write_text(
        'c = get_config()\nc.CourseDirectory.course_id = "mine"\n')
    [name] = assignments.names(course)
    there = tmp_path / "there"
    there.mkdir()
    packed = dict(gradescope.contents(name, course, "hidden"))
    (there / "nbgrader_config.py").write_bytes(packed["course/nbgrader_config.py"])
    merged, unpacked = assignments.settings(course), assignments.settings(there)
    assert merged == unpacked and merged.CourseDirectory.course_id == "mine"
    alone = PyFileConfigLoader("nbgrader_config.py", path=str(there)).load_config()
    assert alone == merged and "code_stub" in alone.ClearSolutions


@pytest.mark.slow
def test_the_distance_of_assignment_4_is_computed_where_nothing_else_is_installed(installed):
    refused = [module for module, names in BY_MODULE.items()
               if not {canonicalize_name(name) for name in names} & installed]
    assert {"hypothesis", "diffusers"} <= set(refused) and "torchmetrics" not in refused
    done = subprocess.run([sys.executable, "-c", ALONE, json.dumps([refused, [*installed]])],
                          cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stdout == "True\n", done.stderr
