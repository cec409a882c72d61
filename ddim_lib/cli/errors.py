"""The one place where errors end: a line on stderr that says what to change."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout

import click
import torch

from ddim_lib.runtime.processes import (
    LostProcess,
    is_first,
    joined,
    rank,
    tells,
    world_size,
)

# What the library's docstrings promise for bad input, and what the system says of files. All
# else (TypeError, KeyError, ..) is a bug of ours and keeps its traceback.
EXPECTED = (ValueError, OSError, FloatingPointError, MemoryError, torch.OutOfMemoryError)
TOGETHER = ("train", "sample", "interpolate", "evaluate")  # what several processes can do


class Commands(click.Group):
    """The group `ddim`: every expected error is one line on stderr, and exit code 2.

    So in several processes, too: the first that fails tells, and its end is the others'.
    """

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # `ddim .. | head`: click ends quietly
        except EXPECTED as error:
            if ctx.params["traceback"]:
                raise
            raise Failed(_told(error)) from error
        except ImportError as error:
            # The library's own say what to install and stem from the first one; others are bugs.
            if error.__cause__ is None or ctx.params["traceback"]:
                raise
            raise Failed(str(error)) from error

    def resolve_command(self, ctx, args):
        """The command that was named, if as many processes as there are can run it."""
        name, command, rest = super().resolve_command(ctx, args)
        if world_size() > 1 and name not in TOGETHER:
            raise Failed(f"ddim {name} must run in one process, got {world_size()}: start it "
                         f"without a launcher, which is for {', '.join(TOGETHER)}")
        return name, command, rest

    def main(self, args=None, prog_name=None, **extra):
        extra["standalone_mode"] = False  # click's own would print usage errors on four lines
        with ExitStack() as stack:
            try:
                stack.enter_context(joined())
            except (ValueError, ImportError, LostProcess) as error:
                click.echo(f"Error: {error}", err=True)
                sys.exit(2)
            if not is_first():
                stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
            try:
                code = super().main(args, prog_name or "ddim", **extra)
            except click.Abort:
                _tell("Stopped.")
                sys.exit(130)
            except (click.ClickException, LostProcess) as error:
                _tell("Error: " + _line(error))
                sys.exit(2)
        sys.exit(code if isinstance(code, int) else 0)


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


def _told(error: BaseException) -> str:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return "the memory does not suffice; a smaller --batch-size may help"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


@contextmanager
def blaming(option: str) -> Iterator[None]:
    """The library's ValueError and FileNotFoundError, as an error of this option."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        told = str(error)
        if isinstance(error, json.JSONDecodeError):  # which speaks of neither file nor weights
            told = f"what the file says of itself is damaged, it is not JSON ({error})"
        raise click.BadParameter(as_options(told), param_hint=f"'{option}'") from error


def as_options(message: str) -> str:
    """The library's advice in the words of the command line."""
    message = re.sub(r"load_pretrained\('(\w+)', .*?download=True\)", r"--download", message)
    return (message.replace("pass download=True", "pass --download")
            .replace("config must be", "--config must be").replace("a UNetConfig", "a JSON file")
            .replace("CIFAR10 of ddim_lib.weights.checkpoints", "cifar10")
            .replace("ema=False", "--raw"))
