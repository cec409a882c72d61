"""Fetch a file over HTTP: several sources in their order, and a checksum.

Only a whole file that was checked gets its name. A transfer that breaks off begins again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from ddim_lib.storage.files import replacing

TIMEOUT = (10, 30)  # seconds until there is a connection, and seconds without a byte
TRIES = 3  # of one source, whose connection fails or breaks off
CHUNK = 1 << 18  # bytes between two steps of the progress bar


class DownloadError(OSError):
    """No source gave the file; the message names each with its reason."""


class ChecksumError(ValueError):
    """A file is not the one that was published: its size or checksum differs."""


def download(urls: Sequence[str], path: Path, *, md5: str | None = None,
             sha256: str | None = None, size: int | None = None) -> Path:
    """The file at ``path``, fetched from the first source that gives it.

    A file that is there already is checked and not fetched again. What a broken transfer has
    fetched is not kept: the next try begins at the first byte.

    Args:
        urls: sources of the same file, http or https, asked in this order.
        path: of the complete file; its folder is made.
        md5: of the file, 32 hexadecimal digits.
        sha256: of the file, 64 hexadecimal digits.
        size: of the file in bytes.

    Returns:
        path.

    Raises:
        DownloadError: no source gave the file.
        ChecksumError: a file is at path and is not this one; it stays as it is.
        ValueError: no source, or a malformed checksum.
        ImportError: the package pooch is missing.
        OSError: the file cannot be written.
    """
    path = Path(path)
    _check_arguments(urls, md5, sha256)
    if path.exists():
        verify(path, md5=md5, sha256=sha256, size=size)
        return path
    try:
        from pooch import HTTPDownloader
        from requests import HTTPError, RequestException
    except ImportError as error:
        raise ImportError(f'fetching {path.name} needs pooch: pip install "ddim-lib[train]"'
                          ) from error

    # Not pooch.retrieve: only their owner may read its files, a kill leaves one that nobody can
    # name, and its retry fetches again what has a wrong checksum.
    fetch = HTTPDownloader(progressbar=True, chunk_size=CHUNK, timeout=TIMEOUT)
    path.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    for url in urls:
        for _ in range(TRIES):
            try:
                with replacing(path) as temporary:
                    fetch(url, str(temporary), None)
                    if differs := _difference(temporary, md5, sha256, size):
                        raise ChecksumError(differs)
                return path
            except ChecksumError as error:
                reason = f"sent another file: it {error}"
                break
            except HTTPError as error:
                reason = f"HTTP {error.response.status_code} {error.response.reason}"
                break
            except RequestException as error:
                reason = f"no connection, or it broke off: {error}"
            except OSError as error:  # the disk's, which no other source mends
                error.filename = str(path)
                raise
        reasons.append(f"{url}: {reason}")
    raise DownloadError(f"{path.name} could not be fetched:\n  " + "\n  ".join(reasons))


def verify(path: Path, *, md5: str | None = None, sha256: str | None = None,
           size: int | None = None) -> None:
    """Compare a file with what was published about it.

    Args:
        path, md5, sha256, size: as in :func:`download`.

    Raises:
        ChecksumError: the size or a checksum differs, or path is no file.
    """
    if not path.is_file():
        raise ChecksumError(f"path must be a file, {path} is none")
    if differs := _difference(path, md5, sha256, size):
        raise ChecksumError(f"{path} {differs}: it is damaged or another file. Remove it to fetch "
                            f"it again")


def _difference(path: Path, md5: str | None, sha256: str | None, size: int | None) -> str | None:
    """What of a file is not as published; None where all is."""
    length = path.stat().st_size
    if size is not None and length != size:
        return f"has {length:,} bytes, expected {size:,}"
    for kind, expected in (("md5", md5), ("sha256", sha256)):
        if expected is not None:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, kind).hexdigest()
            if digest != expected.lower():
                return f"has the {kind} {digest}, expected {expected}"
    return None


def _check_arguments(urls, md5: str | None, sha256: str | None) -> None:
    if isinstance(urls, str) or not urls:
        raise ValueError(f"urls must be a sequence of at least one address, got {urls!r}")
    for name, value, digits in (("md5", md5, 32), ("sha256", sha256, 64)):
        if value is not None and not re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", value):
            raise ValueError(f"{name} must have {digits} hexadecimal digits, got {value!r}")
