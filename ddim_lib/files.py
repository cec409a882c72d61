"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path``, with its ending; it takes path's place at the end.

    Whatever goes wrong inside, an older file at ``path`` stays as it was and the temporary
    one is removed.

    Args:
        path: the file to write; its folder must exist. A link is followed.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())  # before the name changes: a power cut leaves one or the other
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def why_not_written(error: BaseException) -> str | None:
    """What kept a file from being written, in the system's words; None for any other error.

    safetensors and torch.save report a full disk by errors of their own, not by OSError.
    """
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if type(error).__name__ == "SafetensorError":
        found = re.search(r"I/O error: (.*?)( \(os error \d+\))?$", str(error))
        return found and found[1]
    # torch.save stumbles a second time, while it closes the file.
    if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
        return error.__context__.strerror
    return None
