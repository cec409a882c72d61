"""`make book` needs the packages of requirements-book.lock alone, and makes the same pages.

A process of its own has no other package: an import of one is an error there.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from test_project import locked

ROOT = Path(__file__).resolve().parents[2]
PATHS = [str(ROOT / part) for part in (".", "tests/book", "book/_ext")]
ALONE = f"""\
import importlib.metadata, re, sys
sys.path[:0] = {PATHS}
packages = {sorted(locked("requirements-book.lock"))}
absent = {{module for module, owners in importlib.metadata.packages_distributions().items()
          if not {{re.sub(r"[-_.]+", "-", owner).lower() for owner in owners}} & {{*packages}}}}
absent -= {{"ddim_lib"}}
assert {{"torch", "numpy", "tqdm", "onnxruntime", "pytest"}} <= absent
class Finder:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Finder)
"""
WHOLE = f"import sys, torch; sys.path[:0] = {PATHS}\n"
API = "import small_book; print(small_book.build(Path('.'), ['ddim_api'], nitpicky=True))"


def run(code: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, text=True, timeout=120,
                          capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("target, locks", [
    ("book", ["requirements-book.lock"]),
    ("test", ["requirements-book.lock", "requirements.lock"]),
])
def test_make_installs_what_a_target_needs_in_a_tree_that_has_nothing(target, locks):
    done = subprocess.run(["make", "--dry-run", "--always-make", target], cwd=ROOT, text=True,
                          check=True, capture_output=True)
    assert re.findall(r"pip install .*-r (\S+)", done.stdout) == locks
    assert ("-e ." in done.stdout) == (target == "test")


def test_extensions_and_scripts_of_the_pages_need_no_more(tmp_path):
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    names = config["sphinx"]["config"]["extensions"]
    assert sum(name.startswith("ddim_") for name in names) >= 8
    names += ["ddim_course", "scripts.assets.vendor", "scripts.pdf", "course.edition.build"]
    run(ALONE + "".join(f"import {name}\n" for name in names), tmp_path)


def test_the_library_s_pages_are_the_same_without_torch(tmp_path):
    """To the last byte: signatures, defaults, types, base classes, the command's options."""
    made = {}
    for start in (ALONE, WHOLE):
        folder = tmp_path / str(len(made))
        shutil.copytree(ROOT / "book" / "api", folder / "source")
        pages = sorted(path.stem for path in (folder / "source").glob("*.md"))
        (folder / "source" / "index.md").write_text(
            "# All\n\n```{toctree}\n" + "\n".join(pages) + "\n```\n", encoding="utf-8")
        said = run(f"{start}from pathlib import Path\n{API}", folder)
        out = folder / "out"
        made[start] = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*")
                       if path.is_file()}
        assert "failed to import" not in said, said
        assert {f"{page}.html" for page in pages} <= made[start].keys()
    assert b"torch" not in made[ALONE]["objects.inv"]
    assert made[ALONE] == made[WHOLE]
