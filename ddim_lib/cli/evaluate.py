"""ddim evaluate: how far generated digits are from real ones."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import click
import torch

import ddim_lib
from ddim_lib.cli.options import (
    check_walk,
    chosen_computing,
    chosen_seeds,
    computing_options,
    network,
    seeds_options,
    walk_options,
    weights_option,
)
from ddim_lib.cli.output import Out, prepare, write_json
from ddim_lib.cli.together import sample_together
from ddim_lib.datasets import load
from ddim_lib.runtime.processes import is_first
from ddim_lib.runtime.provenance import hardware


@click.command()
@weights_option
@walk_options
@seeds_options
@click.option("--out", type=Out(".json"), metavar="FILE.json",
              help="The numbers as JSON. A missing folder is made.")
@computing_options
def evaluate(weights, download, steps, eta, spacing, order, seeds, n, out, batch_size, autocast,
             device):
    """Measure how far generated digits are from real ones.

    Three judges give the Fréchet distance to the 60,000 training digits of MNIST, for 28x28 grey
    networks alone: the features of a classifier trained on turned and shifted digits, those of one
    trained on plain ones, and 60 principal components of the pixels. Beside each stands the
    floor, the distance of as many real digits, which a perfect generator would reach, and
    precision and recall. 1000 digits where neither --seeds nor --n is given; distances at
    different n do not compare.

    \b
    Examples:
      ddim evaluate --n 32 --steps 5
      ddim evaluate --seeds 100-131 --steps 5 --eta 1 --out quality.json
    """
    device, autocast = chosen_computing(device, autocast)
    seeds = chosen_seeds(seeds, n, 1000)
    n = len(seeds)
    if n < 2:
        raise click.UsageError("--seeds or --n must give at least 2 pictures for a covariance, "
                               f"got {n}")
    model, schedule, name = network(weights, device, download)
    if model.image_shape != (1, 28, 28):
        raise click.BadParameter(
            "must be a network for digits, shape (1, 28, 28), since the distance looks through a "
            f"classifier of digits; {name} draws {model.image_shape}",
            param_hint="'--weights'")
    taus = check_walk(schedule, steps, spacing, eta, order)
    from ddim_lib.metrics import judge

    if out and is_first():
        prepare("--out", [out])
    begin = time.perf_counter()
    images = sample_together(model, schedule, seeds=seeds, steps=taus, eta=eta,
                             order=order, batch_size=batch_size, autocast=autocast,
                             device=device)
    if images is None:  # the first process has them
        return
    seconds = time.perf_counter() - begin
    real, floor_of = real_digits(n)
    result = {
        **judge(images, real, device), "n": n, "floor_of": floor_of,
        "reference": "60,000 MNIST training digits",
        "weights": name, "steps": steps, "calls": len(taus), "eta": eta, "spacing": spacing,
        "order": order,
        "seeds": seeds if seeds != list(range(seeds[0], seeds[0] + n)) else
        f"{seeds[0]}-{seeds[-1]}", "autocast": autocast,
        "hardware": hardware(device), "seconds": round(seconds, 2), "torch": torch.__version__,
        "library": ddim_lib.__version__, "date": datetime.now(UTC).date().isoformat(),
    }
    if out:
        write_json("--out", out, result)
    for name, value in result.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {number}" for key, number in value.items())
        click.echo(f"{name:10} {value}")


def real_digits(n: int) -> tuple[torch.Tensor | None, str]:
    """n real digits, and which they are (or why there are none)."""
    try:
        images, _ = load("mnist")
        which = "MNIST training digits"
    except FileNotFoundError:  # nor a folder for it
        images, _ = load("digits")
        which = "embedded digits (a part of MNIST; all of MNIST is not in DDIM_DATA)"
    if n > len(images):
        return None, f"none: there are {len(images):,} {which}, fewer than n = {n:,}"
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images[order[:n]], f"{n:,} of {len(images):,} {which}, seed 0"
