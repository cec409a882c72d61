"""Kuzushiji-Kanji: 140,424 brush-written characters of old Japanese books, 64x64, white on black.

"KMNIST Dataset" (created by CODH), adapted from "Kuzushiji Dataset" (created by NIJL and
others), doi:10.20676/00000341, CC BY-SA 4.0; T. Clanuwat et al., "Deep Learning for Classical
Japanese Literature", arXiv:1812.01718. 3,832 characters, from one picture each to 1,766.

The layout is ``kkanji2/U+XXXX/<16 hexadecimal digits>.png``, in one archive of 310 MB.
CODH publishes neither its size in bytes nor a checksum, and wrote both 140,424 and 140,426
for the number of pictures: the archive has 140,424. So it is judged by what is in it: it must be
whole, and where it has another number of pictures, that is said.

28 of the pictures are blank and are left out: a picture counts as blank if its brightest
and darkest pixel differ by less than 16 of 255 levels (those with ink differ by 251 or more in
the 52,076 pictures where this was measured). A character with no picture left gets no label.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ddim_lib.datasets import pictures
from ddim_lib.datasets.pictures import DatasetNotFoundError
from ddim_lib.storage.folders import data_root

# The address in github.com/rois-codh/kmnist, download_data.py. The same server speaks https.
SOURCES = ("https://codh.rois.ac.jp/kmnist/dataset/kkanji/kkanji.tar",
           "http://codh.rois.ac.jp/kmnist/dataset/kkanji/kkanji.tar")
FILES, LEAST_CONTRAST = 140_424, 16
NAME = re.compile(r"(?:^|/)U\+([0-9A-F]{4,6})/[^/]+$")


class Kanji(NamedTuple):
    """The set.

    Attributes:
        images: uint8, shape (N, 1, 64, 64).
        labels: int64, shape (N,); ``labels[i]`` is the place in ``characters`` of what
            ``images[i]`` shows.
        characters: one string each, in the order of their code points.
    """

    images: Tensor
    labels: Tensor
    characters: list[str]


def load(root: str | Path | None = None, *, download: bool = False) -> Kanji:
    """The whole set, by code point and then by file name, decoded at each call.

    The data folder holds the archive, ``kkanji.tar``, or another folder, zip or tar whose name
    begins with ``kkanji``. A part of the set is used as it is, and said to be one. 52,076
    pictures took 12 s of one core; the whole set has nearly three times as many.

    Args:
        root: the data folder; where left out, :func:`~ddim_lib.storage.folders.data_root`.
        download: fetch the archive if nothing of the set is there.

    Raises:
        DatasetNotFoundError: the set is not there, or could not be fetched.
        ImportError: it must be fetched, and the package pooch is missing.
        ValueError: the set is there twice, the archive is cut, or a picture cannot be read; the
            message names it.
    """
    root = Path(root) if root is not None else data_root()
    place = pictures.find(root, "kkanji")
    if place is None:
        if not download:
            raise DatasetNotFoundError(
                f"data set 'kkanji' is not in {root}: pass download=True (--download) to fetch "
                "kkanji.tar (310 MB) from CODH, or let the variable DDIM_DATA name a folder that "
                "holds it as a folder, zip or tar whose name begins with kkanji")
        from ddim_lib.storage.download import DownloadError
        from ddim_lib.storage.download import download as fetch

        try:
            place = fetch(SOURCES, root / "kkanji.tar")
        except DownloadError as error:
            raise DatasetNotFoundError(f"data set 'kkanji' is not in {root}, and the download "
                                       f"failed: {error}") from error
    images, names = pictures.read(place, 64, 1, keep=_code)
    ink = images.amax(dim=(1, 2, 3)) - images.amin(dim=(1, 2, 3)) >= LEAST_CONTRAST
    if not ink.any():
        raise ValueError(f"every picture in {place} is blank")
    codes = torch.tensor([_code(name) for name in names])
    # By code point first, whatever folders lie above; the names are sorted already.
    order = torch.argsort(codes, stable=True)
    order = order[ink[order]]
    present, labels = codes[order].unique(return_inverse=True)
    part = "" if len(names) == FILES else f", not the set of {FILES:,} files"
    blank = f"; blank and left out: {len(names) - len(order)}" if len(order) < len(names) else ""
    print(f"kkanji: {len(order):,} images of {len(present):,} characters from "
          f"{place.name}{part}{blank}")
    return Kanji(images[order], labels, [chr(code) for code in present.tolist()])


def _code(name: str) -> int | None:
    """The code point in a picture's name; None for a name of another layout."""
    found = NAME.search(name)
    return int(found[1], 16) if found and int(found[1], 16) <= 0x10FFFF else None
