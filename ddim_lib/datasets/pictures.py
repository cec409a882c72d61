"""Pictures as they come: from a folder, a zip or a tar, of any size and any mode.

An archive is read where it lies, twice: once for the names, once for the pictures,
both in the order in which it stores them. Nothing is ever unpacked to the disk.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from ddim_lib.runtime.arguments import whole

# Pillow looks at the contents, not at the ending, and would hand EPS to Ghostscript, a program of
# its own. JPEG includes MPO, which many cameras write.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
ENDINGS = (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".bmp", ".dib",
           ".gif", ".tif", ".tiff")
# Pictures as well, but not read; so may be what has no ending.
UNREAD = (".avif", ".avifs", ".heic", ".heif", ".jp2", ".j2k", ".jxl", ".ico", ".icns", ".pbm",
          ".pgm", ".ppm", ".pnm", ".tga", ".psd", ".svg", ".eps", ".exr", ".hdr", ".dds", ".dng",
          ".cr2", ".cr3", ".nef", ".arw")
LARGEST = 1 << 28  # bytes of one picture's file: more is a mistake, or an attack
BLOCK = 512  # of a tar
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError)


class DatasetNotFoundError(FileNotFoundError):
    """The data are not there; the message says where they were sought and how to get them."""


def find(root: Path, name: str) -> Path | None:
    """The folder, zip or tar in ``root`` whose name begins with ``name``; None if there is none.

    Raises:
        ValueError: there are several.
    """
    found = sorted(p for p in root.glob(f"{name}*") if p.is_dir() or archive(p))
    if len(found) > 1:
        raise ValueError(f"{root} must hold the data set {name!r} once, it holds "
                         f"{', '.join(p.name for p in found)}: take all but one of them away")
    return found[0] if found else None


def read(path: str | Path, resolution: int, channels: int = 3, *, limit: int | None = None,
         skip_broken: bool = False, keep: Callable[[str], object] = bool,
         fit: Callable | None = None) -> tuple[Tensor, list[str]]:
    """All pictures below a folder or in an archive, and their names.

    Args:
        path: as ``folder`` of :func:`~ddim_lib.datasets.load_folder`, whose errors it raises too.
        resolution, channels, limit, skip_broken: as in that function.
        keep: of a name, whether its picture is wanted.
        fit: makes an RGB picture one of this resolution and these channels, in place of what
            :func:`~ddim_lib.datasets.load_folder` does; or raises ValueError.

    Returns:
        uint8, shape (N, channels, resolution, resolution), and N names, sorted.
    """
    from PIL import Image, ImageOps
    from tqdm.auto import tqdm

    channels, resolution = whole("channels", channels), whole("resolution", resolution, 1)
    limit = None if limit is None else whole("limit", limit, 1)
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, got {channels}")
    path = Path(path)
    found, unread = _names(path)
    names = sorted(name for name in found if keep(name))[:limit]
    if not names:
        others = f", but {unread}" if unread else ""
        raise DatasetNotFoundError(f"folder must hold pictures ({', '.join(ENDINGS)}); {path} "
                                   f"holds none{others}")
    if unread:
        print(f"left out: {unread}")
    place = {name: i for i, name in enumerate(names)}
    images = torch.zeros(len(names), channels, resolution, resolution, dtype=torch.uint8)
    good, resized, broken = torch.zeros(len(names), dtype=torch.bool), 0, {}
    bar = tqdm(total=len(names), desc=f"pictures in {path.name}")
    for name, size, content in _files(path):
        i = place.get(name)
        if i is None:
            continue
        bar.update()
        try:
            if size > LARGEST:
                raise ValueError(f"its file has {size:,} bytes, at most {LARGEST:,} may be")
            picture = fit(decode(content(), 3)) if fit else decode(content(), channels)
        except Exception as error:  # decoders of a dozen formats raise whatever they like
            broken[name] = f"{error or type(error).__name__}"
            continue
        if picture.size != (resolution, resolution):
            picture = ImageOps.fit(picture, (resolution, resolution), Image.Resampling.LANCZOS)
            resized += 1
        images[i] = pixels(picture)
        good[i] = True
    bar.close()
    _report(path, len(names), int(good.sum()), resized, resolution, broken, skip_broken,
            "" if skip_broken or fit else " (skip_broken=True leaves out what cannot be read)")
    if good.all():
        return images, names
    return images[good], [name for name, fine in zip(names, good.tolist(), strict=True) if fine]


def pixels(picture) -> Tensor:
    """A picture of Pillow's, grey or RGB, as uint8, shape (C, H, W)."""
    values = torch.from_numpy(np.array(picture))
    return values.view(picture.height, picture.width, -1).permute(2, 0, 1)


def decode(content: bytes, channels: int):
    """A picture file's bytes as an upright 8-bit Pillow image, grey (1) or RGB (3).

    The first frame of an animation; turned as its EXIF orientation says; transparency laid
    on white; 12- and 16-bit grey scaled so that the largest level is 255, or 0 where a TIFF says
    that white is 0; grey from colour by ITU-R 601.

    Args:
        content: the file's bytes.
        channels: 1 or 3.

    Raises:
        ValueError: the file is empty, or of another format.
        Exception: whatever Pillow raises on a file that it cannot read.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not content:
        raise ValueError("it is empty")
    try:
        opened = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError as error:  # whose words name a place in the memory
        raise ValueError(f"it is no {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, or its beginning "
                         "is damaged") from error
    with opened as picture:
        picture.load()
        bits, inverted = _levels(picture, content)
        hidden = _hidden(picture, bits)
        ImageOps.exif_transpose(picture, in_place=True)
        # Pillow's own conversion clips at 255, which turns 16-bit pictures white; its releases
        # before 11 call 16-bit PNG files "I".
        if picture.mode.startswith("I;16") or (picture.mode, picture.format) == ("I", "PNG"):
            values, most = np.asarray(picture).astype(np.uint32), 2**bits - 1
            grey = ((values * 255 + most // 2) // most).astype(np.uint8)
            picture = Image.fromarray(255 - grey if inverted else grey)
            if hidden is not None:
                picture.putalpha(Image.fromarray(np.uint8(255) * (values != hidden)))
        elif picture.mode in ("I", "F"):
            raise ValueError("its pixels are 32-bit numbers, and no one says which is white: "
                             "save it with 8 or 16 bits")
        if hidden is not None and picture.mode in ("L", "RGB"):
            picture.info["transparency"] = hidden
        if picture.getbands()[-1] in ("A", "a") or "transparency" in picture.info:
            picture = picture.convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture)
        if picture.mode not in ("1", "L", "RGB"):
            picture = picture.convert("RGB")
        return picture.convert("L" if channels == 1 else "RGB")


def _levels(picture, content: bytes) -> tuple[int, bool]:
    """Bits of a grey level, and whether the largest one is black."""
    if picture.format == "PNG":
        return content[24], False  # of IHDR, which comes first
    if picture.format != "TIFF":
        return 8, False
    tags = picture.tag_v2
    bits = (tags.get(258) or (1,))[0]  # BitsPerSample
    if bits <= 16 and 2 in (tags.get(339) or ()):  # SampleFormat
        raise ValueError("its pixels are signed numbers, and no one says which is black: save it "
                         "with unsigned ones")
    return bits, tags.get(262) == 0  # WhiteIsZero


def _hidden(picture, bits: int):
    """The level or colour that a PNG calls transparent, in the levels that Pillow made of it."""
    hidden = picture.info.get("transparency")
    if picture.format == "PNG" and picture.mode == "L" and isinstance(hidden, int):
        return hidden * 255 // (2**bits - 1)
    if picture.format == "PNG" and picture.mode == "RGB" and bits == 16 and hidden is not None:
        return tuple(part >> 8 for part in hidden)
    return hidden


def _names(path: Path) -> tuple[set[str], str]:
    """The names of all pictures below a folder or in an archive, and words about unread ones."""
    if not path.exists():
        raise DatasetNotFoundError(f"folder must be a folder, zip or tar with pictures; there is "
                                   f"no {path}")
    if not path.is_dir() and not archive(path):
        raise ValueError(f"folder must be a folder, .zip or .tar (.gz, .bz2, .xz), got {path}")
    try:
        every = {name for name, _, _ in _files(path)}
    except DAMAGE as error:
        if path.is_dir():
            raise  # the system says which of its files, and why
        raise ValueError(f"the archive {path} cannot be read to its end: {error}") from error
    found = {name for name in every if name.lower().endswith(ENDINGS)}
    unread = sorted(name for name in every - found
                    if PurePosixPath(name).suffix.lower() in ("", *UNREAD))
    more = ", .." if len(unread) > 5 else ""
    return found, unread and (f"{len(unread)} files of kinds that are not read: "
                              f"{', '.join(unread[:5])}{more}")


def _files(path: Path) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """The name below path of each file that is not hidden, its size, and what gives its bytes."""
    walk = _in_folder if path.is_dir() else _in_zip if archive(path) == "zip" else _in_tar
    for name, size, content in walk(path):
        parts = name.split("/")
        # macOS writes ._NAME.png beside NAME.png, and keeps a second tree in __MACOSX.
        if not any(_is_hidden(part) for part in parts):
            yield name, size, content


def _is_hidden(part: str) -> bool:
    return part == "__MACOSX" or part[:1] == "." and part != ".."


def _in_folder(folder: Path) -> Iterator[tuple]:
    def refuse(error: OSError):
        raise error  # os.walk would pass over a folder that may not be read

    for here, below, files in os.walk(folder, onerror=refuse, followlinks=True):
        below[:] = [name for name in below if not _is_hidden(name) and not _leads_back(here, name)]
        for file in (Path(here, name) for name in files):
            size = file.stat().st_size if file.exists() else 0  # no link that leads nowhere
            yield file.relative_to(folder).as_posix(), size, partial(_bytes_of, file)


def _leads_back(here: str, name: str) -> bool:
    """Whether a folder is a link to one that it lies in, whose files are read there."""
    return Path(os.path.realpath(here)).is_relative_to(os.path.realpath(os.path.join(here, name)))


def _bytes_of(file: Path) -> bytes:
    if file.exists() and not file.is_file():
        raise ValueError("it is a pipe or a device, no file")
    return file.read_bytes()


def _in_zip(path: Path) -> Iterator[tuple]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield _posix(info.filename), info.file_size, lambda info=info: archive.read(info)


def _in_tar(path: Path) -> Iterator[tuple]:
    with tarfile.open(path) as archive:
        while (member := archive.next()) is not None:
            archive.members = []  # it would keep all of them, 1 KB each
            if member.isreg():
                yield (_posix(member.name), member.size,
                       lambda member=member: archive.extractfile(member).read())
            elif not member.isdir():
                yield _posix(member.name), 0, _no_link
        # tarfile takes a missing end, and a damaged header too, for the end.
        archive.fileobj.seek(archive.offset)
        if archive.fileobj.read(BLOCK) != bytes(BLOCK):
            raise tarfile.ReadError("it lacks its end, or is damaged in the middle")


def _no_link() -> bytes:
    raise ValueError("it is a link in an archive: pack it with tar -h --hard-dereference")


def _posix(name: str) -> str:
    return str(PurePosixPath(name.replace("\\", "/")))


def archive(path: Path) -> str:
    """What a path's name says it is: "zip", "tar", "tgz", or "" for no archive."""
    found = re.search(r"\.(zip|tar|tgz)(?:\.(?:gz|bz2|xz))?$", path.name.lower())
    return found[1] if found else ""


def _report(path: Path, n: int, read: int, resized: int, resolution: int,
            broken: dict[str, str], skip_broken: bool, hint: str) -> None:
    """Errors for what could not be read; lines on stdout for what was changed or left out."""
    first = "; ".join(f"{name}: {why}" for name, why in sorted(broken.items())[:5])
    more = "; .." if len(broken) > 5 else ""
    if broken and not (skip_broken and read):
        what = "the picture" if len(broken) == 1 else f"{len(broken)} of {n} pictures,"
        raise ValueError(f"cannot read {what} {path / first}{more}{hint}")
    if read + len(broken) != n:
        raise ValueError(f"{path} changed while it was read: {n - read - len(broken)} of {n} "
                         "pictures are gone")
    if broken:
        print(f"{len(broken)} of {n} pictures left out because they cannot be read: {first}{more}")
    if resized:
        print(f"{resized} of {read} pictures {'was' if resized == 1 else 'were'} not "
              f"{resolution}x{resolution}: cropped to {'its' if resized == 1 else 'their'} middle "
              "square and resized")
