"""stdout and stderr that cannot end the work: what they do not take is lost."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TextIO


class Lasting:
    """A stream that outlives its terminal, pipe or disk, and replaces letters it does not know.

    Args:
        stream: where the text goes, until that fails; then it goes nowhere.

    Attributes:
        lost: the first error, or None.
    """

    buffer = None  # click would write past this stream

    def __init__(self, stream: TextIO):
        self.stream, self.lost = stream, None

    def __getattr__(self, name: str):
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write what can be written."""
        try:
            self._attempt(self.stream.write, text)
        except UnicodeEncodeError:
            known = text.encode(self.stream.encoding, "replace").decode(self.stream.encoding)
            self._attempt(self.stream.write, known)
        return len(text)

    def flush(self) -> None:
        """Send on what is buffered."""
        self._attempt(self.stream.flush)

    def _attempt(self, do, *arguments) -> None:
        try:
            do(*arguments)
        except OSError as error:
            self.lost = self.lost or error
            # What is buffered would fail again when the interpreter ends.
            lead_nowhere(self.stream.fileno())


def lead_nowhere(number: int) -> None:
    """Let a file descriptor be that of the null device."""
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:  # the lowest free number, which a closed one is
        os.dup2(null, number)
        os.close(null)


@contextmanager
def lasting_streams() -> Iterator[Lasting]:
    """stdout and stderr as :class:`Lasting`, for as long as this lasts; yields stdout."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file would get it, and what a library tells in C
            lead_nowhere(number)
    out, err = (Lasting(stream or open(os.devnull, "w")) for stream in (sys.stdout, sys.stderr))
    with redirect_stdout(out), redirect_stderr(err):
        yield out
