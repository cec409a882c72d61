"""ddim sample, ddim interpolate: from noise to pictures and films."""

from __future__ import annotations

import math
import time

import click
import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

import ddim_lib
from ddim_lib.cli.options import (
    Named,
    Seeds,
    check_walk,
    chosen_computing,
    chosen_labels,
    chosen_seeds,
    computing_options,
    fps_option,
    labels_options,
    network,
    scale_option,
    seeds_options,
    spacing_option,
    steps_option,
    walk_options,
    weights_option,
)
from ddim_lib.cli.output import (
    FILMS,
    GAP,
    TENSORS,
    Out,
    check_size,
    prepare,
    sheet,
    write_film,
    write_png,
    write_tensor,
)
from ddim_lib.cli.together import gather, sample_together, share
from ddim_lib.pixels import to_float, to_uint8
from ddim_lib.runtime.arguments import finite
from ddim_lib.runtime.processes import is_first

SHOW = ("both", "x", "x0")
OUT = click.option("--out", "outs", type=Out(".png", *FILMS, *TENSORS), multiple=True,
                   required=True, metavar="FILE",
                   help="Its ending decides; may be given several times. A missing folder is made.")


@click.command()
@OUT
@weights_option
@walk_options
@seeds_options
@labels_options
@click.option("--clip", is_flag=True, help="Hold the prediction of x_0 in [-1, 1] on the way.")
@click.option("--show", type=Named(SHOW), default="both", metavar="|".join(SHOW),
              help="In films: x_t, the prediction of x_0, or x_t left and x_0 right.")
@click.option("--frames", type=click.IntRange(min=2), default=60, help="In films: at most so many.")
@click.option("--columns", type=click.IntRange(min=1), default=8, help="Pictures a row.")
@scale_option
@fps_option
@computing_options
def sample(outs, weights, download, steps, eta, spacing, order, seeds, n, labels, guidance, clip,
           show, frames, columns, scale, fps, batch_size, autocast, device):
    """Draw pictures from noise.

    The seeds 0 to 31 where neither --seeds nor --n is given; with a list of --labels, as many
    seeds from 0 as there are labels.

    --out FILE ends in .png (a grid), .gif or .mp4 (the way from x_T to x_0), .npy or .safetensors
    (float32 in [-1, 1], shape (N, C, H, W), unclipped).

    \b
    Examples:
      ddim sample --steps 10 --out digits.png
      ddim sample --n 8 --steps 20 --out way.gif --out digits.npy
      ddim sample --steps 10 --order 2 --out nearer.png
      ddim sample --seeds 0,5,7 --eta 1 --steps 50 --show x0 --out ddpm.gif
      ddim sample --weights anime-faces --n 4 --steps 5 --columns 2 --out faces.png
      ddim sample --weights mnist-labels --labels 7 --guidance 2 --steps 10 --out sevens.png
    """
    begin = time.perf_counter()
    device, autocast = chosen_computing(device, autocast)
    seeds = chosen_seeds(seeds, n, len(labels) if labels and len(labels) > 1 else 32)
    model, schedule, name = network(weights, device, download)
    labels = chosen_labels(labels, guidance, model, name, len(seeds))
    taus = check_walk(schedule, steps, spacing, eta, order)
    films = any(path.suffix.lower() in FILMS for path in outs)
    # The frames: numbers of steps of the walk, the first and the result among them.
    kept = sorted({round(i) for i in np.linspace(0, len(taus), min(frames, len(taus) + 1))})
    check_size(outs, model.image_shape, len(seeds), columns, scale, len(kept), show == "both")
    if is_first():
        prepare("--out", outs)
    images, history = walk(model, schedule, share(seeds), batch_size, kept if films else [],
                           labels and share(labels), steps=taus, eta=eta, order=order, clip=clip,
                           guidance=guidance, autocast=autocast, device=device)
    images = gather(images)
    history = {i: (gather(x), gather(x0)) for i, (x, x0) in history.items()}
    if not is_first():
        return
    facts = {"weights": name, "seeds": seeds, "steps": steps, "eta": eta,
             "spacing": spacing, "order": order, "clip": clip, "autocast": autocast,
             **({"labels": labels, "guidance": guidance} if labels else {})}
    film = [moment(history[i], show, columns, scale) for i in kept] if films else []
    _write(outs, images, film, columns, scale, fps, facts)
    guided = f", guidance {guidance:g}" if labels else ""
    click.echo(f"{len(images)} pictures, {len(taus)} steps, eta {eta}{', order 2' * (order == 2)}"
               f"{guided} ({spacing}), {time.perf_counter() - begin:.1f} s on {device.type}: "
               f"{', '.join(map(str, outs))}")


def walk(model, schedule, seeds: list[int], batch_size: int, kept: list[int],
         labels: list[int] | None, **options):
    """All pictures, and for each step in ``kept`` (x_t, prediction of x_0) as uint8, in batches."""
    done, history = [], {i: ([], []) for i in kept}
    calls = len(options["steps"]) * math.ceil(len(seeds) / batch_size)
    quiet = {} if is_first() else {"disable": True}
    with tqdm(total=calls, desc="network calls", **quiet) as bar:
        for i in range(0, len(seeds), batch_size):
            walking = ddim_lib.sample_iter(model, schedule, seeds=seeds[i:i + batch_size],
                                           labels=labels and labels[i:i + batch_size], **options)
            for j, now in enumerate(walking):
                bar.update(now.t > 0)
                if j in history:  # bytes: a thousand float frames would fill the memory
                    history[j][0].append(to_uint8(now.x).cpu())
                    history[j][1].append(to_uint8(now.x0).cpu())
            done.append(now.x.cpu())
            finite("what the network draws", done[-1])  # only on a CPU was every step looked at
    return done, history


def moment(pair: tuple[Tensor, Tensor], show: str, columns: int, scale: int) -> np.ndarray:
    """One frame of a film."""
    x, x0 = (sheet(to_float(part), columns, scale) for part in pair)
    if show != "both":
        return x if show == "x" else x0
    gap = np.full((x.shape[0], GAP * scale, *x.shape[2:]), 255, np.uint8)
    return np.concatenate([x, gap, x0], axis=1)


@click.command()
@OUT
@click.option("--seeds", type=Seeds(), metavar="A,B", show_default="0,1; 0-3",
              help="Two seeds, the ends; four, the corners, with --grid.")
@click.option("--slerp/--lerp", "spherical", default=True,
              help="Along the sphere, or straight: lerp leaves the noise's length.")
@click.option("--grid", is_flag=True, help="Two directions between four corners.")
@click.option("--frames", type=click.IntRange(2, 1000), show_default="11; 8",
              help="From end to end, the ends included; the side, with --grid.")
@weights_option
@steps_option(50)
@spacing_option
@scale_option
@fps_option
@computing_options
def interpolate(outs, seeds, spherical, grid, frames, weights, download, steps, spacing, scale,
                fps, batch_size, autocast, device):
    """Draw what lies between two seeds, or in a grid between four.

    --out FILE ends in .png (a strip or a grid), .gif or .mp4 (one after the other; not with
    --grid), .npy or .safetensors (float32 in [-1, 1], shape (N, C, H, W), unclipped).

    \b
    Examples:
      ddim interpolate --seeds 3,8 --steps 20 --out strip.png
      ddim interpolate --seeds 3,8 --steps 20 --lerp --out straight.png --out straight.gif
      ddim interpolate --grid --seeds 3,8,5,7 --frames 5 --steps 10 --out grid.png
    """
    begin = time.perf_counter()
    device, autocast = chosen_computing(device, autocast)
    wanted = 4 if grid else 2
    seeds = seeds or list(range(wanted))
    frames = frames or (8 if grid else 11)
    if len(seeds) != wanted:
        raise click.BadParameter(f"must be {wanted} seeds {'with' if grid else 'without'} --grid, "
                                 f"got {len(seeds)}", param_hint="'--seeds'")
    films = [path for path in outs if path.suffix.lower() in FILMS]
    if grid and films:
        raise click.BadParameter("must not be a film with --grid, got "
                                 f"{', '.join(map(str, outs))}", param_hint="'--out'")
    model, schedule, name = network(weights, device, download)
    taus = check_walk(schedule, steps, spacing)
    check_size(films, model.image_shape, 1, 1, scale, frames)
    check_size([path for path in outs if path not in films], model.image_shape,
               frames**2 if grid else frames, frames, scale)
    if is_first():
        prepare("--out", outs)
    between = ddim_lib.slerp if spherical else torch.lerp
    ends = ddim_lib.noise_from_seeds(seeds, model.image_shape).split(1)
    shares = [i / (frames - 1) for i in range(frames)]
    if grid:  # down the left and the right side first, then across
        sides = [(between(ends[0], ends[2], v), between(ends[1], ends[3], v)) for v in shares]
        start = [between(left, right, u) for left, right in sides for u in shares]
    else:
        start = [between(*ends, u) for u in shares]
    images = sample_together(model, schedule, x_T=torch.cat(start), steps=taus, device=device,
                             batch_size=batch_size, autocast=autocast)
    if images is None:  # the first process has them
        return
    film = [sheet(image[None], 1, scale) for image in images] if not grid else []
    facts = {"weights": name, "seeds": seeds, "steps": steps, "spacing": spacing,
             "between": "slerp" if spherical else "lerp", "autocast": autocast}
    _write(outs, images, film, frames, scale, fps, facts)
    click.echo(f"{len(images)} pictures between seeds {', '.join(map(str, seeds))}, {len(taus)} "
               f"steps, {time.perf_counter() - begin:.1f} s on {device.type}: "
               f"{', '.join(map(str, outs))}")


def _write(outs, images: Tensor, film, columns: int, scale: int, fps: float, facts: dict) -> None:
    for path in outs:
        ending = path.suffix.lower()
        if ending == ".png":
            write_png("--out", path, sheet(images, columns, scale))
        elif ending in FILMS:
            write_film("--out", path, film, fps)
        else:
            write_tensor("--out", path, "images", images, **facts)
