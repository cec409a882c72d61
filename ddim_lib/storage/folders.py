"""Where data lie: those that ship, those that you keep, and what can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder() -> Path:
    """The shipped data: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parents[1]  # the package's folder
    for folder in (here / "data", here.parent / "data"):
        if (folder / "weights").is_dir():
            return folder
    raise FileNotFoundError(f"the shipped data are missing: neither {here / 'data'} nor "
                            f"{here.parent / 'data'} holds a folder weights")


def cache_root() -> Path:
    """The folder for what can be made or fetched again: ``ddim_lib`` in the user's cache.

    Raises:
        FileNotFoundError: it would be in a home folder, and there is none, as in some containers.
    """
    return _expanded(_cache(), "XDG_CACHE_HOME")


def data_root() -> Path:
    """Where data sets lie: the folder that ``DDIM_DATA`` names, else a cache of the user's.

    Raises:
        FileNotFoundError: as :func:`cache_root`.
    """
    return _expanded(os.environ.get("DDIM_DATA") or f"{_cache()}/data", "DDIM_DATA")


def _cache() -> str:
    return f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/ddim_lib"


def _expanded(folder: str, variable: str) -> Path:
    try:
        return Path(folder).expanduser()
    except RuntimeError as error:
        raise FileNotFoundError(f"there is no home folder for {folder}: let the variable "
                                f"{variable} name another one") from error
