"""Fetch a file over HTTP: several sources, a checksum, and a broken transfer continues.

What is incomplete lies beside its goal as ``NAME.part``; only a file that was
checked gets its name.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

TIMEOUT = 30  # seconds without a byte
TRIES = 5  # times one source may break off, as long as bytes come
CHUNK = 1 << 18


class DownloadError(OSError):
    """No source gave the file; the message names each with its reason."""


class ChecksumError(ValueError):
    """A file is not the one that was published: its size or checksum differs."""


class _SourceError(Exception):
    """One source failed; ``again`` where the same one may be asked for the rest."""

    def __init__(self, reason: str, again: bool = False):
        super().__init__(reason)
        self.again = again


def download(urls: Sequence[str], path: Path, *, md5: str | None = None,
             sha256: str | None = None, size: int | None = None) -> Path:
    """The file at ``path``, fetched from the first source that gives it.

    A file that is there already is checked and not fetched again. What a broken
    transfer has fetched stays in ``NAME.part``; this call or a later one asks for the
    rest (HTTP Range): of any source where a checksum will judge the whole, else of the
    same source alone, and only if it says that its file is still the same.

    Args:
        urls: sources of the same file, http or https, asked in this order.
        path: of the complete file; its folder is made.
        md5: of the file, 32 hexadecimal digits.
        sha256: of the file, 64 hexadecimal digits.
        size: of the file in bytes.

    Returns:
        path.

    Raises:
        DownloadError: no source gave the file, or another process is fetching it.
        ChecksumError: a file is at path and is not this one; it stays as it is.
        ValueError: no source, or one that is not http(s); a malformed checksum or size.
    """
    path = Path(path)
    _check_arguments(urls, md5, sha256, size)
    if path.exists():
        verify(path, md5=md5, sha256=sha256, size=size)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    goal = _Goal(path, md5, sha256, size)
    reasons = []
    with _alone(goal.part):
        if goal.part.stat().st_size and goal.judged and goal.is_whole():
            return goal.finish()
        for url in urls:
            for _ in range(TRIES):
                try:
                    return goal.fetch(url)
                except _SourceError as error:
                    reason = str(error)
                    if not error.again:
                        break
            reasons.append(f"{url}: {reason}")
        kept = goal.part.stat().st_size
        if not kept:
            goal.part.unlink()
    rest = (f"\nThe {kept:,} bytes that came are kept in {goal.part}; the next call asks for the "
            f"rest." if kept else "")
    raise DownloadError(f"{path.name} could not be fetched:\n  " + "\n  ".join(reasons) + rest)


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
    found = path.stat().st_size
    if size is not None and found != size:
        raise ChecksumError(f"{path} has {found:,} bytes, expected {size:,}: it is damaged or "
                            f"another file. Remove it to fetch it again")
    for kind, expected in (("md5", md5), ("sha256", sha256)):
        if expected is None:
            continue
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, kind).hexdigest()
        if found != expected.lower():
            raise ChecksumError(f"{path} has the {kind} {found}, expected {expected}: it is "
                                f"damaged or another file. Remove it to fetch it again")


class _Goal:
    """One file on its way: ``part`` grows until it is checked and renamed."""

    def __init__(self, path: Path, md5: str | None, sha256: str | None, size: int | None):
        self.path, self.size = path, size
        self.expected = {"md5": md5, "sha256": sha256, "size": size}
        self.judged = bool(md5 or sha256)
        self.part = path.with_name(path.name + ".part")
        self.origin = path.with_name(path.name + ".part.json")

    def fetch(self, url: str) -> Path:
        from tqdm.auto import tqdm

        have = self.part.stat().st_size
        headers = {"User-Agent": "ddim_lib", "Accept-Encoding": "identity"}
        if have and not self.judged:
            same = self._validator_of(url)
            headers |= {"If-Range": same} if same else {}
            have = have if same else 0
        if have:
            headers["Range"] = f"bytes={have}-"
        with _asked(urllib.request.Request(url, headers=headers)) as answer:
            if answer is None:  # nothing behind what lies here: it is too long, or another file
                self._drop()
                raise _SourceError("what was fetched before does not fit its file", again=True)
            start, total = self._agree(answer, have)
            if not start:
                self._drop()
            self._remember(url, answer)
            with open(self.part, "ab") as file, tqdm(
                    total=total, initial=start, desc=self.path.name, unit="B",
                    unit_scale=True) as bar:
                while chunk := _read(answer):
                    file.write(chunk)
                    bar.update(len(chunk))
                file.flush()
                os.fsync(file.fileno())
        found = self.part.stat().st_size
        if total is not None and found < total:
            raise _SourceError(f"broke off after {found:,} of {total:,} bytes", again=found > start)
        try:
            verify(self.part, **self.expected)
        except ChecksumError as error:
            self._drop()
            # What was there before may have been the fault: once more from the beginning.
            raise _SourceError(f"sent another file: {self._reason(error)}",
                               again=start > 0) from error
        return self.finish()

    def finish(self) -> Path:
        os.replace(self.part, self.path)
        self.origin.unlink(missing_ok=True)
        return self.path

    def is_whole(self) -> bool:
        try:
            verify(self.part, **self.expected)
        except ChecksumError:
            return False
        return True

    def _agree(self, answer, have: int) -> tuple[int, int | None]:
        """Where the answer's bytes begin, and how long the whole file is."""
        start, total = 0, None
        if answer.headers.get_content_type() == "text/html":
            raise _SourceError("sent a web page in place of the file")
        if answer.status == 206:
            span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers["Content-Range"] or "")
            if not span or int(span[1]) != have:
                raise _SourceError(f"asked for the bytes from {have:,} on, it sent "
                                   f"{answer.headers['Content-Range']!r}")
            start, total = have, None if span[2] == "*" else int(span[2])
        elif answer.headers["Content-Length"]:
            total = int(answer.headers["Content-Length"])
        if None not in (total, self.size) and total != self.size:
            raise _SourceError(f"offers {total:,} bytes, expected {self.size:,}")
        return start, total if total is not None else self.size

    def _drop(self) -> None:
        os.truncate(self.part, 0)
        self.origin.unlink(missing_ok=True)

    def _remember(self, url: str, answer) -> None:
        """Whose bytes these are: without a checksum, only the same file may be continued."""
        tag = answer.headers["ETag"] or ""
        tag = tag if tag.startswith('"') else answer.headers["Last-Modified"]
        if tag and not self.judged:
            self.origin.write_text(json.dumps({"url": url, "validator": tag}))

    def _validator_of(self, url: str) -> str | None:
        with contextlib.suppress(OSError, ValueError):
            stored = json.loads(self.origin.read_text())
            return stored["validator"] if stored["url"] == url else None
        return None

    def _reason(self, error: ChecksumError) -> str:
        return str(error).removeprefix(f"{self.part} ").split(":")[0]


@contextlib.contextmanager
def _asked(request: urllib.request.Request) -> Iterator[http.client.HTTPResponse | None]:
    """The open answer; None where the server has nothing in the range asked for."""
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise _SourceError(f"HTTP {error.code} {error.reason}") from error
        answer = None
    except (OSError, http.client.HTTPException) as error:
        raise _SourceError(f"no connection: {getattr(error, 'reason', error)}") from error
    try:
        yield answer
    finally:
        if answer is not None:
            answer.close()


def _read(answer: http.client.HTTPResponse) -> bytes:
    # Apart from the writing, whose errors (a full disk) are no source's fault.
    try:
        return answer.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _SourceError(f"broke off: {error}", again=True) from error


@contextlib.contextmanager
def _alone(part: Path) -> Iterator[None]:
    """Hold the partial file against a second process, where the system can."""
    with open(part, "ab") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DownloadError(f"another process is fetching {part}; wait until it is done"
                                ) from error
        except (ImportError, OSError):
            pass  # Windows, or a file system without locks: the checksum still judges
        yield


def _check_arguments(urls, md5: str | None, sha256: str | None, size: int | None) -> None:
    if isinstance(urls, str):
        raise ValueError(f"urls must be a sequence of addresses, got the one string {urls!r}")
    if not urls:
        raise ValueError("urls must name at least one source, got none")
    for url in urls:
        if not url.startswith(("https://", "http://")):
            raise ValueError(f"every url must begin with https:// or http://, got {url!r}")
    for name, value, digits in (("md5", md5, 32), ("sha256", sha256, 64)):
        if value is not None and not re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", value):
            raise ValueError(f"{name} must have {digits} hexadecimal digits, got {value!r}")
    if size is not None and size < 1:
        raise ValueError(f"size must be at least 1 byte, got {size}")
