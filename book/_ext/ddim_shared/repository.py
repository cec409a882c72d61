"""Where a file of this checkout is to be read online: the address stands in pyproject.toml."""

from __future__ import annotations

import ast
import functools
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BRANCH = "main"


@functools.cache
def configured(root: Path = ROOT) -> str:
    """The public repository, owner/name; ``make address`` changes it."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return settings["tool"]["ddim-book"]["repository"]


def url(path: str, first: int | None = None, last: int | None = None) -> str:
    """The page of a file, at a line or from a line to another."""
    lines = "" if first is None else f"#L{first}" + (f"-L{last}" if last else "")
    return f"https://github.com/{configured()}/blob/{BRANCH}/{path}{lines}"


@functools.cache
def definitions(path: Path) -> dict[str, ast.AST]:
    """Functions, classes and names of a module: "Trainer.run" to its node, methods included."""
    found = {}

    def look(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found[prefix + node.name] = node
            if isinstance(node, ast.ClassDef):
                look(node.body, f"{prefix}{node.name}.")
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    if isinstance(target, ast.Name):
                        found[prefix + target.id] = node

    look(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return found
