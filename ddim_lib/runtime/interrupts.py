"""Requests to stop, heard between two steps, and in all processes after the same step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ddim_lib.runtime.processes import any_of, world_size


@contextmanager
def stop_requests(numbers: Sequence[int]) -> Iterator[Callable[[], bool]]:
    """Signals only leave a note, so that no step is torn in two; a second Ctrl-C interrupts.

    An exception could arise between the optimizer's step and the average's, and the checkpoint
    would hold a state that no undisturbed run passes through. Programs send a signal twice: a
    shell and the system when a terminal closes, a launcher and a cluster to each process.

    Args:
        numbers: the signals to note; one that is ignored (nohup) stays ignored.

    Yields:
        A function to be called by every process between two steps: whether any of them was asked
        to stop.
    """
    asked: list[int] = []

    def note(number, frame):
        if asked and number == signal.SIGINT and world_size() == 1:
            raise KeyboardInterrupt
        asked.append(number)

    # Python lets the main thread alone set handlers.
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, note) for number in numbers
              if main and signal.getsignal(number) is not signal.SIG_IGN}
    try:
        yield lambda: any_of(bool(asked))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
