"""ddim encode: from pictures to the noise that DDIM draws them from, and back."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

import ddim_lib
from ddim_lib.cli.errors import blaming
from ddim_lib.cli.options import (
    Named,
    check_walk,
    chosen_computing,
    computing_options,
    network,
    scale_option,
    spacing_option,
    steps_option,
    weights_option,
)
from ddim_lib.cli.output import TENSORS, Out, prepare, sheet, write_png, write_tensor
from ddim_lib.datasets import pictures as files
from ddim_lib.pixels import to_float

CONVENTIONS = ("source", "destination")


@click.command()
@click.argument("pictures", nargs=-1, required=True, type=click.Path(path_type=Path),
                metavar="PICTURE|FOLDER...")
@click.option("--out", type=Out(*TENSORS), metavar="FILE",
              help="The noise: .safetensors or .npy, float32. A missing folder is made.")
@click.option("--decode", "decoded", type=Out(".png"), metavar="FILE.png",
              help="Decode too: pictures above reconstructions, and the mean squared error.")
@click.option("--convention", type=Named(CONVENTIONS), default="source",
              metavar="|".join(CONVENTIONS), help="The t at which the network is asked (eq. 13).")
@click.option("--resize", is_flag=True,
              help="Make pictures fit: middle square, resized (Lanczos), grey for a grey network.")
@weights_option
@steps_option(100)
@spacing_option
@scale_option
@computing_options
def encode(pictures, out, decoded, convention, resize, weights, download, steps, spacing, scale,
           batch_size, autocast, device):
    """Find the noise that DDIM draws given pictures from.

    Give pictures, folders (searched with their subfolders), zips or tars, and --out, --decode or
    both. The error is in pixels of [0, 1], the paper's Table 2. Transparency is laid on white.

    \b
    Examples:
      ddim encode pictures --steps 20 --out noise.safetensors
      ddim encode pictures/0.png pictures/1.png --steps 20 --decode both.png
      ddim encode large.png --resize --convention destination --steps 20 --decode small.png
    """
    begin = time.perf_counter()
    if not (out or decoded):
        raise click.UsageError("--out or --decode must be given, got neither",
                               click.get_current_context())
    device, autocast = chosen_computing(device, autocast)
    model, schedule, name = network(weights, device, download)
    taus = check_walk(schedule, steps, spacing)
    with blaming("PICTURE|FOLDER..."):
        found = [read(path, model.image_shape, resize) for path in pictures]
    x0 = to_float(torch.cat([images for images, _ in found]))
    names = [name for _, inside in found for name in inside]
    if out:
        prepare("--out", [out])
    if decoded:
        prepare("--decode", [decoded])
    bar = tqdm(x0.split(batch_size), desc="encoding")
    latents = torch.cat([ddim_lib.encode(model, schedule, part, steps=taus, convention=convention,
                                         autocast=autocast, device=device) for part in bar])
    if out:
        write_tensor("--out", out, "latents", latents, weights=name, steps=steps,
                     spacing=spacing, convention=convention, autocast=autocast, pictures=names)
    if decoded:
        back = ddim_lib.sample(model, schedule, x_T=latents, steps=taus, batch_size=batch_size,
                               autocast=autocast, device=device)
        error = ((back - x0) / 2).double().square().mean().item()
        write_png("--decode", decoded, pairs(x0, back, scale))
        click.echo(f"mean squared error {error:.3g} (pixels in [0, 1])")
    click.echo(f"{len(names)} pictures, {len(taus)} steps ({spacing}, {convention}), "
               f"{time.perf_counter() - begin:.1f} s on {device.type}: "
               f"{', '.join(str(path) for path in (out, decoded) if path)}")


def pairs(x0: Tensor, back: Tensor, scale: int, columns: int = 8) -> np.ndarray:
    """Rows of pictures, each above the row of its reconstructions."""
    white = x0.new_ones(columns, *x0.shape[1:])
    rows = []
    for a, b in zip(x0.split(columns), back.split(columns), strict=True):
        rows += [a, white[len(a):], b, white[len(a):]] if len(x0) > columns else [a, b]
    return sheet(torch.cat(rows), min(columns, len(x0)), scale)


def read(path: Path, shape: tuple[int, int, int], resize: bool) -> tuple[Tensor, list[str]]:
    """A picture, or all in a folder or an archive by name: uint8, (N, *shape), and N names."""
    fit = partial(fitted, shape=shape, resize=resize)
    if not path.is_file() or files.archive(path):
        return files.read(path, shape[1], shape[0], fit=fit)
    try:
        picture = files.decode(path.read_bytes(), 3)
    except Exception as error:  # its decoders raise nearly anything on damaged files
        raise ValueError(f"{path} cannot be read as a picture: {error}") from error
    try:
        return files.pixels(fit(picture))[None], [path.name]
    except ValueError as error:
        raise ValueError(f"{path} {error}") from error


def fitted(picture, shape: tuple[int, int, int], resize: bool):
    """An RGB picture of Pillow's as one of this shape; without ``resize`` it must be one."""
    from PIL import Image, ImageOps

    channels, height, width = shape
    red, green, blue = picture.split()
    coloured = not red.tobytes() == green.tobytes() == blue.tobytes()
    if not resize and (picture.size != (width, height) or channels == 1 and coloured):
        raise ValueError(
            f"is {picture.width}x{picture.height} {'colour' if coloured else 'grey'}, and must be "
            f"{width}x{height} {'grey' if channels == 1 else 'colour'} for this network; --resize "
            "makes it fit")
    picture = picture.convert("L" if channels == 1 else "RGB")
    if picture.size == (width, height):
        return picture
    return ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
