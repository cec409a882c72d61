"""The one place where errors end: a line on stderr that says what to change."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
import torch

# What the library's docstrings promise for bad input, and what the system says of files. All
# else (TypeError, KeyError, ..) is a bug of ours and keeps its traceback.
EXPECTED = (ValueError, OSError, FloatingPointError, MemoryError, torch.OutOfMemoryError)


class Commands(click.Group):
    """The group `ddim`: every expected error is one line on stderr, and exit code 2."""

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

    def main(self, args=None, prog_name=None, **extra):
        extra["standalone_mode"] = False  # click's own would print usage errors on four lines
        try:
            code = super().main(args, prog_name or "ddim", **extra)
        except click.Abort:
            click.echo("Stopped.", err=True)
            sys.exit(130)
        except click.ClickException as error:
            message = error.format_message()
            if type(error) is not click.BadParameter and isinstance(error, click.UsageError) \
                    and error.ctx is not None:
                message = f"{message.rstrip('.')}. See {error.ctx.command_path} --help"
            click.echo("Error: " + " ".join(message.split()), err=True)
            sys.exit(2)
        sys.exit(code if isinstance(code, int) else 0)


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
            .replace("pass config if", "pass --resolution if").replace("ema=False", "--raw"))
