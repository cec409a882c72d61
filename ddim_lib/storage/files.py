"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path with the name of ``path``; it takes path's place at the end.

    It lies in a folder of its own beside ``path``, so that what a library writes around it is
    found again. Whatever goes wrong inside, an older file at ``path`` stays as it was and the
    folder is removed; that of a process which was killed goes when the file is next written.

    Args:
        path: the file to write; its folder must exist. A link is followed.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(os.path.realpath(path))
    with _folder_beside(path) as folder:
        temporary = folder / path.name
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())  # before the name changes: a power cut leaves one or the other
        os.replace(temporary, path)


def try_writing(path: str | Path) -> None:
    """Raise now what :func:`replacing` would raise after the work; nothing is left behind.

    Args:
        path: the file or folder that shall be written; missing folders above it are made.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    with _folder_beside(path) as folder:
        (folder / path.name).touch()


@contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """A folder of this process beside path, which is gone in the end."""
    _remove_leftovers(path)
    folder = path.with_name(f".{_label(path)}.{os.getpid()}.tmp")
    folder.mkdir(exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _label(path: Path) -> str:
    """The name, or its checksum where more letters would make it too long for a disk."""
    name = os.fsencode(path.name)
    return path.name if len(name) < 200 else f"{zlib.crc32(name):08x}"


def _remove_leftovers(path: Path) -> None:
    """What processes that were killed while they wrote this file have left beside it."""
    if os.name != "posix":
        return  # elsewhere os.kill(pid, 0) ends the process that it is asked about
    for folder in path.parent.glob(".*.tmp"):
        found = re.fullmatch(rf"\.{re.escape(_label(path))}\.(\d+)\.tmp", folder.name)
        if found and not _runs(int(found[1])):
            shutil.rmtree(folder, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # another user's
    return True


@contextmanager
def sole_writer(folder: str | Path) -> Iterator[None]:
    """Nobody else gets this for the same folder meanwhile; the end of the process ends it too.

    Where the system or the disk has no locks (Windows, some network disks), everybody does.

    Args:
        folder: must exist.

    Raises:
        BlockingIOError: somebody has it.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            pass
        yield
    finally:
        os.close(lock)


def check_zip(path: str | Path) -> None:
    """Compare the contents of a zip, which a checkpoint is, with its own checksums.

    torch.load compares none: one flipped bit would only change a weight.

    Args:
        path: the file.

    Raises:
        ValueError: an entry differs, or the file is no whole zip.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise ValueError(f"it is no whole zip file ({error})") from error
    if bad is not None:
        raise ValueError(f"the checksum of its entry {bad} differs")


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
