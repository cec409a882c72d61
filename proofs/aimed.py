"""A command of ddim that is killed at a moment that hurts: python -m proofs.aimed MOMENT N ARGS..

The program under test is not changed: Python tells an audit hook of every file that is opened or
renamed, and a forked process watches files that grow. The signal is SIGKILL, which no handler
sees and after which no line of the program runs.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path

# (event, what its file is called): killed just before it happens.
BEFORE = {
    "a checkpoint is read": ("open", "checkpoint.pt"),
    "a checkpoint is renamed": ("os.rename", "checkpoint.pt"),
    "the weights are renamed": ("os.rename", "*.safetensors"),
    "the record is begun": ("os.mkdir", ".loss.json.*.tmp"),
    "the record is renamed": ("os.rename", "loss.json"),
}
# (files, the part of their size that is there): killed while they are written.
WHILE = {
    "a checkpoint is begun": ("checkpoint.pt", 0.0),
    "a checkpoint is half written": ("checkpoint.pt", 0.5),
    "the weights are written": ("*.safetensors", 0.5),
}


def kill_before(moment: str, count: int) -> None:
    """SIGKILL for this process at the ``count``-th such event."""
    event, pattern = BEFORE[moment]
    left = count

    def hook(name, arguments):
        nonlocal left
        if name != event or not isinstance(arguments[0], (str, os.PathLike)):
            return
        goal = Path(arguments[1] if event == "os.rename" else arguments[0])
        if event == "open" and "w" in (arguments[1] or ""):
            return
        if goal.match(pattern):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def kill_while(moment: str, folder: Path, size: int) -> None:
    """SIGKILL for this process as soon as its unfinished file has so many bytes."""
    pattern, _ = WHILE[moment]
    victim = os.getpid()
    if os.fork():
        return
    unfinished = re.compile(rf"\.{pattern.replace('*', '.*')}\.{victim}\.tmp")
    while os.getppid() == victim:
        with suppress(FileNotFoundError, ProcessLookupError):
            for part in filter(unfinished.fullmatch, os.listdir(folder)):
                for file in os.scandir(folder / part):
                    if file.stat().st_size >= size:
                        os.kill(victim, signal.SIGKILL)
    os._exit(0)


def main(moment: str, number: int, arguments: list[str]) -> None:
    """The command, killed at its ``number``-th such event, or when there are so many bytes."""
    if moment in WHILE:
        kill_while(moment, Path(arguments[arguments.index("--out") + 1]), number)
    else:
        kill_before(moment, number)
    from ddim_lib.cli import main as ddim

    ddim(arguments)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
