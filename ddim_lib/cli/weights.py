"""ddim weights: which networks there are, what they are, and other libraries' formats."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click
import torch

import ddim_lib
from ddim_lib.cli.errors import Failed, blaming
from ddim_lib.cli.options import Weights
from ddim_lib.cli.output import prepare, writing
from ddim_lib.responses import amplitude_response, exact_mean_response, mean_response
from ddim_lib.storage.folders import data_folder
from ddim_lib.storage.tensors import read_header
from ddim_lib.weights import available, published, read_facts
from ddim_lib.weights.checkpoints import CIFAR10, read_published, write_diffusers

OURS = ("format", "unet", "schedule")  # what save_weights says itself


@click.group(invoke_without_command=True)
@click.pass_context
def weights(ctx):
    """List, describe and convert weights."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@weights.command("list")
def list_():
    """The networks that ship: name, shape of a picture, parameters, megabytes, data.

    \b
    Examples:
      ddim weights list
    """
    for name in available():
        path = shipped(name)
        facts = read_facts(path)
        unet = facts["unet"]
        shape = f"{unet['in_channels']}x{unet['resolution']}x{unet['resolution']}"
        click.echo(f"{name:15} {shape:8} {parameters(path) / 1e6:6.2f} M "
                   f"{path.stat().st_size / 1e6:6.1f} MB  {facts.get('data', '')}")
    click.echo("To be fetched once, with --download (143 MB): " + ", ".join(published.NAMES))


@weights.command()
@click.argument("source", type=Weights(), metavar="NAME|FILE")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--responses", is_flag=True,
              help="Measure how eps follows amplitude and mean of the noise; seconds.")
def info(source, as_json, responses):
    """What a weights file says of itself: network, schedule, training, quality.

    \b
    Examples:
      ddim weights info mnist
      ddim weights info kkanji --json
      ddim weights info mnist --responses
    """
    if source in published.NAMES:
        raise Failed(f"NAME|FILE: {source} is published by others and says nothing of itself; "
                     "ddim weights list names the networks that ship")
    with blaming("NAME|FILE"):
        path = source if isinstance(source, Path) else shipped(source)
        facts = read_facts(path)
        facts = {"file": path.name, "parameters": parameters(path), **facts}
        if responses:
            facts["responses"] = measured_responses(*ddim_lib.load_weights(path), facts)
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    for name in [*[key for key in ("file", "parameters", *OURS) if key in facts],
                 *sorted(facts.keys() - {"file", "parameters", *OURS})]:
        value = facts[name]
        if isinstance(value, dict):
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        click.echo(f"{name:14} {value}")


def measured_responses(model, schedule, facts: dict) -> dict[str, float]:
    """At the last level and a tenth below it; 1 is right for the amplitude.

    What is right for the mean depends on the data: the file must tell its spread.
    """
    found, pixels = {}, model.config.resolution**2
    for t in (schedule.T, round(0.9 * schedule.T)):
        found[f"amplitude at t = {t}"] = round(amplitude_response(model, t), 3)
        found[f"mean at t = {t}"] = round(mean_response(model, t), 3)
        if "spread" in facts:
            found[f"right mean at t = {t}"] = round(
                exact_mean_response(schedule.at(t), facts["spread"], pixels), 3)
    return found


@weights.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path), metavar="IN")
@click.argument("target", type=click.Path(path_type=Path), metavar="OUT")
@click.option("--half", is_flag=True, help="Store float16; .safetensors alone.")
@click.option("--raw", is_flag=True, help="Of an IN with both: the weights that are not averaged.")
@click.option("--config", metavar="cifar10|FILE",
              help="Which network a file of the original code holds: the published one, or a JSON "
                   "file with UNetConfig's arguments.")
def convert(source, target, half, raw, config):
    """Turn weights into this library's or diffusers' form.

    IN is a .safetensors file of this library, a folder of diffusers, or a published .ckpt (or .pt,
    .bin, .safetensors) of the original code, which needs --config. OUT is a file that ends in
    .safetensors, or a new or empty folder, which gets diffusers' files. A missing parent folder is
    made.

    \b
    Examples:
      ddim weights convert run/digits.safetensors digits-diffusers
      ddim weights convert digits-diffusers digits.safetensors --half
    """
    folder = not target.suffix
    if folder:
        if half:
            raise click.UsageError("--half needs an OUT that ends in .safetensors, got "
                                   f"{str(target)!r}", click.get_current_context())
    elif target.suffix != ".safetensors" or target.is_dir():
        raise click.BadParameter("must be a file that ends in .safetensors, or a folder without "
                                 f"an ending, got {str(target)!r}", param_hint="'OUT'")
    config = told_network(config)
    with blaming("IN"):
        model, schedule, facts = read(source, raw, config)
    prepare("OUT", [target])
    with writing("OUT", target):
        if folder:
            with blaming("OUT"):  # a network that diffusers cannot express
                write_diffusers(target, model, schedule)
        else:
            ddim_lib.save_weights(target, model, schedule,
                                  dtype=torch.float16 if half else torch.float32,
                                  **{**facts, "converted_from": source.name})
    click.echo(f"{target}: {sum(p.numel() for p in model.parameters()):,} parameters, pictures "
               f"of shape {model.image_shape}, {schedule.name} schedule, predicts "
               f"{model.config.prediction_type}")


@weights.command()
@click.argument("target", type=click.Path(path_type=Path), metavar="OUT")
def hub(target):
    """Write the networks that ship as folders for a model hub.

    OUT is a new or empty folder. Each network gets a folder in it: its card, and the files by
    which diffusers reads it, or this library's file where diffusers has no such network.

    \b
    Examples:
      ddim weights hub models
    """
    prepare("OUT", [target])
    with blaming("OUT"):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise ValueError(f"must be new or empty, {target} is neither")
    for name in available():
        folder, path = target / name, shipped(name)
        with writing("OUT", target):
            model, schedule = ddim_lib.load_weights(path)
            if model.config.classes:
                folder.mkdir(parents=True)
                shutil.copy(path, folder)
            else:
                write_diffusers(folder, model, schedule)
            card = path.with_suffix(".md").read_text(encoding="utf-8")
            usage = LABELLED if model.config.classes else PLAIN
            (folder / "README.md").write_text(usage.format(name=name) + card, encoding="utf-8")
        click.echo(folder)


FACTS = """\
---
library_name: {library}
pipeline_tag: unconditional-image-generation
license: mit
tags: [ddim, ddpm]
---

```python
"""
PLAIN = FACTS.format(library="diffusers") + """\
from diffusers import DDIMPipeline

pipeline = DDIMPipeline.from_pretrained("{name}")  # this folder, or where it was uploaded
pipeline(num_inference_steps=20).images[0]
```

"""
LABELLED = FACTS.format(library="ddim-lib") + """\
import ddim_lib

model, schedule = ddim_lib.load_weights("{name}.safetensors")
x = ddim_lib.sample(model, schedule, seeds=range(10), steps=20, labels=list(range(10)), guidance=2)
```

"""


def told_network(told: str | None) -> ddim_lib.UNetConfig | None:
    """--config: the published network, or what a JSON file says."""
    if told is None or told in published.NAMES:
        return told and CIFAR10
    with blaming("--config"):
        try:
            return ddim_lib.UNetConfig(**json.loads(Path(told).read_text()))
        except (OSError, TypeError, ValueError) as error:
            raise ValueError(f"must be {' or '.join(published.NAMES)} or a JSON file with "
                             f"UNetConfig's arguments, got {told!r}: {error}") from error


def read(source: Path, raw: bool, config: ddim_lib.UNetConfig | None):
    """A network, its schedule, and the facts that its file tells, if it is this library's."""
    if raw and (source.is_dir() or source.suffix == ".safetensors"):
        raise ValueError(f"--raw must be left out for {source}, which holds one set of weights")
    ours = source.is_file() and source.suffix == ".safetensors" \
        and read_header(source).get("format", "").startswith("ddim_lib")
    if not ours:
        return *read_published(source, config=config, ema=not raw), {}
    if config:
        raise ValueError(f"--config must be left out for {source}, which says what it is")
    facts = read_facts(source)
    return *ddim_lib.load_weights(source), {k: v for k, v in facts.items() if k not in OURS}


def shipped(name: str) -> Path:
    """The file of a network that comes with the library."""
    return data_folder() / "weights" / f"{name}.safetensors"


def parameters(path: Path) -> int:
    """How many numbers a file holds, from its header alone."""
    from math import prod

    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return sum(prod(file.get_slice(key).get_shape()) for key in file.keys())
