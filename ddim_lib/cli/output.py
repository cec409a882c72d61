"""Where the commands write to: checked before the work, written whole after it."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import numpy as np
from torch import Tensor

from ddim_lib.cli.errors import Failed
from ddim_lib.cli.video import require_mp4, write_gif, write_mp4
from ddim_lib.plotting import tile, tile_size
from ddim_lib.runtime.arguments import json_text
from ddim_lib.storage.files import replacing, try_writing, why_not_written
from ddim_lib.storage.tensors import save_tensors

TENSORS = (".npy", ".safetensors")
FILMS = (".gif", ".mp4")
LONGEST = {".gif": 65_535, ".mp4": 16_384}  # pixels a side: the format's two bytes, x264's limit
GAP = 8  # pixels between x_t and the prediction in a film


class Out(click.ParamType):
    """A file to write, with one of several endings."""

    name = "file"

    def __init__(self, *endings: str):
        self.endings = endings

    def convert(self, value, param, ctx):
        path = Path(value)
        if path.suffix.lower() not in self.endings:
            self.fail(f"must end in {' or '.join(self.endings)}, got {value!r}", param, ctx)
        if path.is_dir():
            self.fail(f"must be a file, {value!r} is a folder", param, ctx)
        return path


@contextmanager
def writing(option: str, path: Path) -> Iterator[None]:
    """Errors of the disk as one line that names the option; all others pass."""
    try:
        yield
    # safetensors and torch.save have errors of their own for a full disk.
    except Exception as error:
        why = why_not_written(error)
        if why is None:
            raise
        raise Failed(f"{option} {path} cannot be written: {why}. What was there before is "
                     "untouched") from error


def prepare(option: str, paths: Sequence[Path]) -> None:
    """Make the folders, try whether they can be written, and look for what MP4 needs."""
    for path in paths:
        if path.suffix.lower() == ".mp4":
            require_mp4()
        if path.suffix and path.is_dir():  # diffusers' weights are a folder, without an ending
            raise Failed(f"{option} {path} cannot be written: a folder has its name")
        with writing(option, path):
            try_writing(path)


def check_size(paths: Sequence[Path], shape: tuple[int, int, int], n: int, columns: int,
               scale: int, frames: int = 1, beside: bool = False) -> None:
    """Refuse pictures and films that no file or memory holds, before the work.

    Args:
        paths: PNG, or films; others may be among them.
        shape: of an image, (C, H, W).
        n, columns, scale: images on a sheet, images a row, screen pixels a pixel.
        frames: sheets in the film.
        beside: whether each frame of a film is two sheets beside each other.
    """
    channels, h, w = shape
    height, width = (scale * side for side in tile_size(n, h, w, min(columns, n)))
    for path in paths:
        ending, wide, total = path.suffix.lower(), width, 1
        if ending in FILMS:
            wide, total = (2 * width + GAP * scale if beside else width), frames
        elif ending != ".png":
            continue
        problem = ""
        if max(height, wide) > LONGEST.get(ending, math.inf):
            problem = f"at most {LONGEST[ending]:,} a side fit into {ending}"
        try:
            np.empty((total, height, wide, channels), np.uint8)
        except (MemoryError, ValueError):  # numpy's of a size that no address reaches
            problem = "the memory does not suffice"
        if problem:
            times = f"{total} times " if total > 1 else ""
            raise click.BadParameter(f"{path} would have {times}{wide:,}x{height:,} pixels, and "
                                     f"{problem}: fewer pictures or a smaller --scale",
                                     param_hint="'--out'")


def write_png(option: str, path: Path, pixels: np.ndarray) -> None:
    """A uint8 picture, (H, W) or (H, W, 3), as PNG."""
    from PIL import Image

    with writing(option, path), replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG")


def write_film(option: str, path: Path, frames: Sequence[np.ndarray], fps: float) -> None:
    """Pictures of one shape as MP4 or GIF, by the ending of path."""
    with writing(option, path):
        (write_mp4 if path.suffix.lower() == ".mp4" else write_gif)(path, frames, fps)


def write_tensor(option: str, path: Path, name: str, tensor: Tensor, **facts) -> None:
    """float32: a .npy array, or a .safetensors file with its facts."""
    with writing(option, path):
        if path.suffix.lower() == ".npy":
            content = io.BytesIO()  # numpy would not say why a file cannot be written
            np.save(content, tensor.numpy())
            with replacing(path) as temporary:
                temporary.write_bytes(content.getbuffer())
        else:
            header = {"format": f"ddim_lib {name} 1",
                      **{key: json_text(key, value) for key, value in facts.items()}}
            save_tensors(path, {name: tensor}, header)


def write_json(option: str, path: Path, value: object) -> None:
    """Anything JSON can hold, which NaN and infinity are not."""
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    with writing(option, path), replacing(path) as temporary:
        temporary.write_text(text)


def sheet(images: Tensor, columns: int, scale: int) -> np.ndarray:
    """A grid of pictures, each pixel ``scale`` wide."""
    pixels = tile(images, min(columns, len(images)))
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)
