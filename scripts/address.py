"""Move the project's public address, or let notebooks install the library from PyPI.

    python scripts/address.py owner/name
    python scripts/address.py --pypi        once a release is there

The address stands in pyproject.toml, [tool.ddim-book]. Badges, first cells, launch buttons, the
base of the pages' canonical addresses and links repeat it; this rewrites them all, in every text
file of the checkout. Beside it stands whether the library is published; if not, first cells install
it from the repository.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SKIPPED = {"_build", "node_modules", "dist", "vendor", "__pycache__"}
HIDDEN = {".github", ".ci"}
TEXTS = {".cff", ".cfg", ".ipynb", ".json", ".js", ".md", ".py", ".toml", ".txt", ".yaml", ".yml"}
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")


def settings(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ddim-book"]


def configured(root: Path) -> str:
    return settings(root)["repository"]


def requirement(root: Path) -> str:
    """What a notebook's first cell tells pip."""
    place = "" if settings(root)["published"] else f" @ git+https://github.com/{configured(root)}"
    return f"ddim-lib[train]{place}"


def texts(folder: Path) -> Iterator[Path]:
    """The files that may speak of the address."""
    for path in sorted(folder.iterdir()):
        hidden = path.name.startswith(".") and path.name not in HIDDEN
        if path.is_dir() and not path.is_symlink() and not hidden and path.name not in SKIPPED:
            yield from texts(path)
        elif path.is_file() and path.suffix in TEXTS:
            yield path


def forms(repository: str) -> list[str]:
    """The ways in which the address is written: the repository, and its published pages."""
    owner, name = repository.split("/")
    return [repository, f"{owner}.github.io/{name}"]


def pages(repository: str) -> str:
    """Where the published book lies: html_baseurl in _config.yml, the base of all its addresses."""
    return f"https://{forms(repository)[1]}/"


def move(root: Path, new: str) -> list[Path]:
    """Rewrite the address below `root`; returns the files that changed."""
    if not REPOSITORY.fullmatch(new):
        raise ValueError(f"the address must look like owner/name, and is {new!r}")
    return rewrite(root, zip(forms(configured(root)), forms(new), strict=True))


def publish(root: Path) -> list[Path]:
    """Let every first cell install from PyPI, for good; returns the files that changed."""
    old = requirement(root)
    return rewrite(root, [("published = false", "published = true")], [root / "pyproject.toml"]) \
        + rewrite(root, [(old, requirement(root))])


def rewrite(root: Path, pairs: Iterable[tuple[str, str]],
            paths: list[Path] | None = None) -> list[Path]:
    """Old forms to new ones, in all texts or in `paths`; returns the files that changed."""
    changed, pairs = [], list(pairs)
    for path in paths or texts(root):
        before = after = path.read_bytes()
        for old_form, new_form in pairs:
            pattern = rb"(?<![\w.-])" + re.escape(old_form.encode()) + rb"(?![\w-])"
            after = re.sub(pattern, new_form.encode(), after)
        if after != before:
            path.write_bytes(after)
            changed.append(path)
    return changed


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        for file in publish(ROOT) if sys.argv[1] == "--pypi" else move(ROOT, sys.argv[1]):
            print(file.relative_to(ROOT))
    except ValueError as error:
        sys.exit(str(error))
