"""The help of the command `ddim` as Markdown, from click, so that page and program agree."""

from __future__ import annotations

import inspect
import re

import click


def contexts(command: click.Command, name: str = "ddim",
             parent: click.Context | None = None) -> list[click.Context]:
    """The command and all below it, in the order in which --help lists them."""
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    found = [context]
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found += contexts(command.get_command(context, inner), inner, context)
    return found


def prose(text: str) -> str:
    """Words of a help text: nothing in them is markup, and options are set as code."""
    text = re.sub(r"([\\`*_\[\]<>$#|])", r"\\\1", " ".join(text.split()))
    return re.sub(r"(?<![\w-])(--[a-z][a-z-]*)", r"`\1`", text)


def paragraphs(command: click.Command) -> tuple[list[str], list[str]]:
    """The paragraphs of a help text, and the lines below its "Examples:"."""
    words, examples = [], []
    for part in inspect.cleandoc(command.help).split("\n\n"):
        if part.startswith("\b"):  # click's mark for "leave the lines as they are"
            title, *examples = [line.strip() for line in part.strip("\b\n").splitlines()]
            if title != "Examples:":
                raise ValueError(f"a block of {command.name} must be its examples, got {title!r}")
        else:
            words.append(prose(part))
    return words, examples


def section(context: click.Context) -> str:
    """One command: what it does, how it is called, its options, its examples."""
    command, name = context.command, context.command_path
    words, examples = paragraphs(command)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    parts = [f"## {name}", words[0], f"```text\n{usage}\n```", *words[1:],
             f"```{{program}} {name}\n```"]
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record and record[1] and "--help" not in parameter.opts:
            parts.append(f"```{{option}} {record[0]}\n{prose(record[1])}\n```")
    if examples:
        parts.append("```sh\n" + "\n".join(examples) + "\n```")
    return "\n\n".join(parts)


def markdown() -> str:
    """All commands, each a section."""
    from ddim_lib.cli import main

    return "\n\n".join(section(context) for context in contexts(main)) + "\n"
