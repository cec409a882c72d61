"""The one place where errors end: a line on stderr that says what to change."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout

import click
import torch

from ddim_lib.cli.streams import lasting_streams
from ddim_lib.runtime.processes import (
    LostProcess,
    is_first,
    joined,
    rank,
    tells,
    world_size,
)

# On a CPU PyTorch reports it by a RuntimeError, and so do the libraries below it on a GPU.
NO_MEMORY = re.compile("out of memory|not enough memory|allocate memory|bad_alloc|ALLOC_FAILED"
                       "|size calculation overflowed", re.IGNORECASE)
TOGETHER = ("train", "sample", "interpolate", "evaluate")  # what several processes can do


class Commands(click.Group):
    """The group `ddim`: every expected error is one line on stderr, and exit code 2.

    So in several processes, too: the first that fails tells, and its end is the others'.
    """

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except Exception as error:
            told = None if ctx.params["traceback"] else expected(error)
            if told is None:
                raise
            raise Failed(told) from error

    def resolve_command(self, ctx, args):
        """The command that was named, if as many processes as there are can run it."""
        name, command, rest = super().resolve_command(ctx, args)
        if world_size() > 1 and name not in TOGETHER:
            raise Failed(f"ddim {name} must run in one process, got {world_size()}: start it "
                         f"without a launcher, which is for {', '.join(TOGETHER)}")
        return name, command, rest

    def main(self, args=None, prog_name=None, **extra):
        extra["standalone_mode"] = False  # click's own would print usage errors on four lines
        with lasting_streams() as stdout:
            try:
                code = self._code(args, prog_name or "ddim", **extra)
            finally:
                stdout.flush()
            if stdout.lost and not code:
                if stdout.lost.errno == errno.EPIPE:
                    sys.exit(1)  # `ddim .. | head` wants no more
                _tell(f"Error: stdout cannot be written: {stdout.lost.strerror}")
                sys.exit(2)
        sys.exit(code)

    def _code(self, *arguments, **options) -> int:
        with ExitStack() as stack:
            try:
                stack.enter_context(joined())
            except (ValueError, ImportError, LostProcess) as error:
                click.echo(f"Error: {error}", err=True)
                sys.exit(2)
            if not is_first():
                stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
            try:
                code = super().main(*arguments, **options)
            except click.Abort:
                _tell("Stopped.")
                sys.exit(130)
            except (click.ClickException, LostProcess) as error:
                _tell("Error: " + _line(error))
                sys.exit(2)
        return code if isinstance(code, int) else 0


def _tell(line: str) -> None:
    if tells():
        click.echo(line, err=True)


def _line(error: Exception) -> str:
    """An error on one line; in several processes with the rank of the one that tells."""
    if not isinstance(error, click.ClickException):
        return " ".join(str(error).split())
    message = error.format_message()
    if type(error) is not click.BadParameter and isinstance(error, click.UsageError) \
            and error.ctx is not None:
        message = f"{message.rstrip('.')}. See {error.ctx.command_path} --help"
    number = f" (rank {rank()} of {world_size()} processes)" if world_size() > 1 else ""
    return " ".join(message.split()) + number


class Failed(click.ClickException):
    """An error that is told in one line."""


def expected(error: Exception) -> str | None:
    """What a person can mend, as a sentence: bad input, and what the machine lacks or refuses.

    None for all else (TypeError, KeyError, ..): it is a bug of ours and keeps its traceback.
    """
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) \
            or isinstance(error, RuntimeError) and NO_MEMORY.search(str(error)):
        return "the memory does not suffice; a smaller --batch-size may help"
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return f"--compile: torch.compile fails here ({str(error).strip().splitlines()[0]})"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, ImportError):
        # The library's own say what to install and stem from the first one; others are bugs.
        return str(error) if error.__cause__ else None
    return str(error) if isinstance(error, (ValueError, OSError, FloatingPointError)) else None


@contextmanager
def blaming(option: str) -> Iterator[None]:
    """The library's ValueError and FileNotFoundError, as an error of this option."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        told = str(error)
        if isinstance(error, json.JSONDecodeError):  # which speaks of neither file nor weights
            told = f"what the file says of itself is damaged, it is not JSON ({error})"
        raise click.BadParameter(told, param_hint=f"'{option}'") from error
