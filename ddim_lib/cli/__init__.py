"""The command line: `ddim`, or `python -m ddim_lib`."""

from __future__ import annotations

import click

import ddim_lib
from ddim_lib.cli import encode, evaluate, sample, train, weights
from ddim_lib.cli.errors import Commands


@click.group(cls=Commands, invoke_without_command=True, context_settings={
    "help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True})
@click.version_option(ddim_lib.__version__, message="ddim %(version)s")
@click.option("--traceback", is_flag=True, help="Show where in the program an error arose.")
@click.pass_context
def main(ctx, traceback):
    """Train, sample and examine denoising diffusion implicit models.

    Exit code: 0; 2 for bad input or a file that cannot be read or written, with one line on
    stderr; 130 when stopped. Files are replaced whole or not at all.

    \b
    Examples:
      ddim sample --steps 10 --out digits.png
      ddim train digits --steps 10 --out run
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for command in (train.train, sample.sample, sample.interpolate, encode.encode, evaluate.evaluate,
                weights.weights):
    main.add_command(command)
