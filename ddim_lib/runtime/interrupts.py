"""Ctrl-C between two steps, never in the middle of one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def stop_signals(numbers: Sequence[int] = (signal.SIGINT,)) -> Iterator[list[int]]:
    """Signals only leave a note, so that no step is torn in two; the second one interrupts.

    An exception could arise between the optimizer's step and the average's, and the checkpoint
    would hold a state that no undisturbed run passes through.

    Args:
        numbers: the signals to note.

    Yields:
        A list, empty until a signal comes.
    """
    asked: list[int] = []

    def note(number, frame):
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield asked  # Python lets the main thread alone set handlers
        return
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
