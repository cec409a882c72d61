"""Kuzushiji-Kanji: 140,424 brush-written characters of old Japanese books, 64x64, white on black.

"KMNIST Dataset" (created by CODH), adapted from "Kuzushiji Dataset" (created by NIJL and
others), doi:10.20676/00000341, CC BY-SA 4.0; T. Clanuwat et al., "Deep Learning for Classical
Japanese Literature", arXiv:1812.01718. 3,832 characters, from one picture each to 1,766.

The layout is ``kkanji2/U+XXXX/<16 hexadecimal digits>.png``, in one archive of 310 MB.
CODH publishes neither its size in bytes nor a checksum, and wrote both 140,424 and 140,426
for the number of pictures: the archive has 140,424. A download is therefore judged by what is in
it: the archive must be whole and have that many pictures of that many characters. Its sha256
is then written beside it, so that later damage is noticed. ``RECORDED_SHA256`` is what one
public project, not the publisher, wrote down; a download that differs from it is not refused,
but says so.

28 of the pictures are blank and are left out: a picture counts as blank if its brightest
and darkest pixel differ by less than 16 of 255 levels (those with ink differ by 251 or more in
the 52,076 pictures where this was measured). A character with no picture left gets no label.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ddim_lib.datasets.pictures import DatasetNotFoundError, names_in, read
from ddim_lib.storage.folders import cache_root, data_root

# The address in github.com/rois-codh/kmnist, download_data.py. The same server speaks https.
SOURCES = ("https://codh.rois.ac.jp/kmnist/dataset/kkanji/kkanji.tar",
           "http://codh.rois.ac.jp/kmnist/dataset/kkanji/kkanji.tar")
# The same pictures, published by one of the set's authors with the smaller sets: 600 MB.
SECOND = ("https://www.kaggle.com/api/v1/datasets/download/anokas/kuzushiji",)
# github.com/Lewis121025/Noemori, modules/whiteboard/ink/dataset/handwriting/schema.py
RECORDED_SHA256 = "6c65024b7b79de6661a049c89decfddae8bb908f71fcd7fdf1bd9a7f220a1cda"
FILES, CHARACTERS, LEAST_CONTRAST = 140_424, 3_832, 16
# In the data folder, the first that is there: whole sets before the one that may be a part.
PLACES = ("kkanji.tar", "kuzushiji.zip", "kkanji.zip", "kkanji2", "kkanji", "kkanji-64.zip")
NAME = re.compile(r"(?:^|/)U\+([0-9A-F]{4,6})/[^/]+$")
READER = "1"  # another number where this file would make other images of the same archive


class Kanji(NamedTuple):
    """The set.

    Attributes:
        images: uint8, shape (N, 1, 64, 64).
        labels: int64, shape (N,); ``labels[i]`` is the place in ``characters`` of what
            ``images[i]`` shows.
        characters: one string each, in the order of their code points.
        facts: where the set comes from and what was left out, see :func:`load`.
    """

    images: Tensor
    labels: Tensor
    characters: list[str]
    facts: dict


def load(root: str | Path | None = None, *, download: bool = False) -> Kanji:
    """The whole set, decoded once and then read from a cache.

    The cache lies in :func:`~ddim_lib.storage.folders.cache_root`.

    The data folder may hold the archive, ``kkanji.tar``, the folder ``kkanji2`` unpacked from
    it, or a zip of that folder with PNG or WebP files (``kkanji-64.zip``); a part of the
    set is used as it is, and said to be one. For 140,424 pictures the process grew to 1.6 GiB
    while it decoded them (50 s on a busy core), and to 1.1 GiB when it loaded them from the cache.

    Args:
        root: the data folder; where left out, :func:`~ddim_lib.storage.folders.data_root`.
        download: fetch the archive if none of these is there.

    Returns:
        images, uint8, shape (N, 1, 64, 64), by code point and then by file name; labels, int64,
        shape (N,); characters, in the order of their code points; facts:
        ``source``, ``files``, ``images``, ``characters`` (their number), ``blank`` (the
        names of those left out), ``complete`` (False for a part of the set).

    Raises:
        DatasetNotFoundError: the set is not there, or could not be fetched.
        ImportError: it must be fetched, and the package pooch is missing.
        ValueError: the archive is cut or was damaged since its download, or a picture cannot be
            read; the message names it.
    """
    place = _place(root, download)
    cache, stamp = _cache_of(place), _stamp(place)
    found = _cached(cache, stamp) or _decode(place, cache, stamp)
    facts = found.facts
    part = "" if facts["complete"] else f", not the set of {FILES:,} files"
    blank = f"; blank and left out: {len(facts['blank'])}" if facts["blank"] else ""
    print(f"kkanji: {facts['images']:,} images of {facts['characters']:,} characters from "
          f"{facts['source']}{part}{blank}")
    return found


def characters(root: str | Path | None = None) -> list[str]:
    """The characters in the order of the labels; ``ord()`` gives the code point of each.

    Args:
        root: as in :func:`load`.
    """
    return _header(root)["characters"]


def facts(root: str | Path | None = None) -> dict:
    """What is known of the set in the data folder; see :func:`load`.

    Args:
        root: as in :func:`load`.
    """
    return _header(root)["facts"]


def _header(root: str | Path | None) -> dict:
    place = _place(root, False)
    found = _cached_header(_cache_of(place), _stamp(place))
    return found or load(root)._asdict()


def _decode(place: Path, cache: Path, stamp: str) -> Kanji:
    sidecar = _sidecar(place)
    if place.is_file() and sidecar.is_file():
        from ddim_lib.storage.download import verify

        try:
            verify(place, sha256=sidecar.read_text().split()[0])
        except (ValueError, IndexError) as error:
            raise ValueError(f"{error} (what it was when it was fetched: {sidecar.name})"
                             ) from error
    images, names = read(place, 64, 1, keep=_code)
    contrast = images.amax(dim=(1, 2, 3)) - images.amin(dim=(1, 2, 3))
    ink = contrast >= LEAST_CONTRAST
    blank = [name for name, inked in zip(names, ink.tolist(), strict=True) if not inked]
    if len(blank) == len(names):
        raise ValueError(f"every picture in {place} is blank")
    if blank:
        images = images[ink]
    codes = torch.tensor([_code(name) for name in names])[ink]
    # By code point first, whatever folders lie above; the names are sorted already.
    order = torch.argsort(codes, stable=True)
    if not torch.equal(order, torch.arange(len(order))):
        images, codes = images[order], codes[order]
    present, labels = codes.unique(return_inverse=True)
    present = [chr(code) for code in present.tolist()]
    known = {"source": place.name, "files": len(names), "images": len(images),
             "characters": len(present), "blank": blank, "complete": len(names) == FILES}
    made = Kanji(images, labels, present, known)
    _keep(cache, stamp, made)
    return made


def _code(name: str) -> int | None:
    """The code point in a picture's name; None for a name of another layout."""
    found = NAME.search(name)
    return int(found[1], 16) if found and int(found[1], 16) <= 0x10FFFF else None


def _place(root: str | Path | None, download: bool) -> Path:
    root = Path(root) if root is not None else data_root()
    for name in PLACES:
        if (root / name).exists():
            return root / name
    if download:
        return _fetch(root)
    raise DatasetNotFoundError(
        f"data set 'kkanji' is not in {root}: pass download=True to fetch kkanji.tar (310 MB) "
        f"from CODH, or let the variable DDIM_DATA name a folder that holds {', '.join(PLACES)}")


def _fetch(root: Path) -> Path:
    from ddim_lib.storage.download import DownloadError, download

    try:
        path = download(SOURCES, root / "kkanji.tar")
    except DownloadError as error:
        print(f"{error}\ntrying the second source, with 600 MB")
        try:
            path = download(SECOND, root / "kuzushiji.zip")
        except DownloadError as second:
            raise DatasetNotFoundError(
                f"data set 'kkanji' is not in {root}, and the download failed: {error}\n{second}"
            ) from second
    try:
        codes = [code for code in map(_code, names_in(path)) if code is not None]
        if (len(codes), len(set(codes))) != (FILES, CHARACTERS):
            raise ValueError(f"it holds {len(codes):,} pictures of {len(set(codes)):,} characters")
    except ValueError as error:
        aside = path.with_name(path.name + ".unexpected")
        os.replace(path, aside)
        raise DatasetNotFoundError(
            f"what was fetched is not the set of {FILES:,} pictures of {CHARACTERS:,} characters: "
            f"{error}. It is kept as {aside}") from error
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if path.name == "kkanji.tar" and found != RECORDED_SHA256:
        print(f"kkanji.tar has the sha256 {found}, a public project recorded {RECORDED_SHA256}; "
              f"its contents are as expected")
    partial = _sidecar(path).with_name(path.name + ".sha256.tmp")
    partial.write_text(f"{found}  {path.name}\n")
    os.replace(partial, _sidecar(path))
    return path


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


# The cache: one safetensors file for each place that data were read from --------------------------

def _cache_of(place: Path) -> Path:
    where = hashlib.sha256(str(place.absolute()).encode()).hexdigest()[:12]
    return cache_root() / "decoded" / f"kkanji-{where}.safetensors"


def _stamp(place: Path) -> str:
    """What changes when the data do: sizes and times, of a folder's files each."""
    files = sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]
    seen = [f"{p.relative_to(place)} {(s := p.stat()).st_size} {s.st_mtime_ns}" for p in files]
    return READER + hashlib.sha256("\n".join(seen).encode()).hexdigest()


def _cached_header(cache: Path, stamp: str) -> dict | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(cache, "pt") as file:
            header = file.metadata() or {}
        return json.loads(header["kanji"]) if header.get("stamp") == stamp else None
    except (OSError, SafetensorError, KeyError, ValueError):
        return None  # none yet, or not ours: it is written anew


def _cached(cache: Path, stamp: str) -> Kanji | None:
    from safetensors.torch import load_file

    header = _cached_header(cache, stamp)
    if header is None:
        return None
    tensors = load_file(cache)
    return Kanji(tensors["images"], tensors["labels"], header["characters"], header["facts"])


def _keep(cache: Path, stamp: str, made: Kanji) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    partial = cache.with_name(f"{cache.name}.{os.getpid()}.tmp")
    header = {"stamp": stamp,
              "kanji": json.dumps({"characters": made.characters, "facts": made.facts})}
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        save_file({"images": made.images, "labels": made.labels}, partial, header)
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, cache)
    except (OSError, SafetensorError) as error:
        print(f"kkanji: the decoded images could not be kept in {cache.parent} ({error}); the "
              "next call decodes them again")
    finally:
        if partial.exists():
            partial.unlink()
