"""Copies of what is committed, so that nothing planted comes into the checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path

from proofs.common import ROOT, Failed


def export(folder: Path, *paths: str, commit: str = "HEAD") -> None:
    """These files and folders (all, where none is named) as they are in a commit.

    Raises:
        Failed: the checkout has no git, or the commit no such path.
    """
    done = subprocess.run(["git", "-C", str(ROOT), "archive", commit, "--", *paths],
                          capture_output=True)
    if done.returncode:
        raise Failed(f"git could not export {commit}: {done.stderr.decode().strip()[-300:]}")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "-xf", "-", "-C", str(folder)], input=done.stdout, check=True)
