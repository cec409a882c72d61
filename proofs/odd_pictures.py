"""Picture files as strangers have them: bit depths, transparency, tags, archives, damage.

The files are written here, byte by byte, since Pillow writes few of these kinds. What is whole and
of a kind that Pillow reads must give the levels of its 8-bit twin; what is damaged, or of another
kind, must do so or be named in a ValueError.
"""

from __future__ import annotations

import contextlib
import io
import struct
import tarfile
import tempfile
import warnings
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from ddim_lib.datasets import load_folder
from ddim_lib.datasets.pictures import ENDINGS
from proofs.common import Failed
from proofs.odd_arguments import counted, in_time

SIDE = 6  # pixels; divisible by 2, so that 12-bit rows end with a byte


def packed(rows: np.ndarray, bits: int, order: str = ">") -> list[bytes]:
    """Rows of whole numbers as bytes, the first pixel in the highest bits."""
    if bits == 16:
        return [row.astype(f"{order}u2").tobytes() for row in rows]
    flat = (rows[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return [np.packbits(row.reshape(-1).astype(np.uint8)).tobytes() for row in flat]


def png(levels: np.ndarray, bits: int, hidden=None, palette: np.ndarray | None = None) -> bytes:
    """A PNG, grey (H, W) or colour (H, W, 3); with a palette the levels are places in it.

    Args:
        levels: whole numbers below 2^bits.
        bits: of one level.
        hidden: what tRNS says: a level, three of them, or one opacity a colour of the palette.
        palette: uint8, shape (colours, 3).
    """
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(
            ">I", zlib.crc32(kind + data))

    height, width = levels.shape[:2]
    kind = 3 if palette is not None else 2 if levels.ndim == 3 else 0
    rows = packed(levels.reshape(height, -1), bits)
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))]
    if palette is not None:
        parts.append(chunk(b"PLTE", palette.astype(np.uint8).tobytes()))
    if hidden is not None:
        told = np.atleast_1d(hidden)
        parts.append(chunk(b"tRNS", told.astype("u1" if kind == 3 else ">u2").tobytes()))
    parts += [chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))),
              chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(levels: np.ndarray, bits: int, *, order: str = "<", white_is_0: bool = False,
         signed: bool = False) -> bytes:
    """A grey TIFF, one strip, not compressed.

    Args:
        levels: whole numbers below 2^bits, shape (H, W).
        bits: of one level.
        order: of the bytes, "<" or ">".
        white_is_0: the photometric interpretation.
        signed: the sample format.
    """
    data = b"".join(packed(levels, bits, order))
    height, width = levels.shape
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, 0 if white_is_0 else 1),
            (273, 8), (277, 1), (278, height), (279, len(data)), (339, 2 if signed else 1)]
    data += b"\0" * (len(data) % 2)
    table = b"".join(struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    return ((b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(data)) + data
            + struct.pack(f"{order}H", len(tags)) + table + bytes(4))


def of_8_bits(levels: np.ndarray, bits: int) -> np.ndarray:
    """The grey levels that an 8-bit twin has."""
    most = 2**bits - 1
    return ((levels.astype(np.int64) * 255 + most // 2) // most).astype(np.uint8)


def draw(data) -> tuple[bytes, np.ndarray, bool]:
    """A file, the levels of its 8-bit twin, (SIDE, SIDE) or (SIDE, SIDE, 3), and if it is read."""
    chance = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    kind = data.draw(st.sampled_from(["grey", "colour", "palette", "tiff"]))
    if kind == "grey":
        bits = data.draw(st.sampled_from([1, 2, 4, 8, 16]))
        levels = chance.integers(0, 2**bits, (SIDE, SIDE))
        hidden = data.draw(st.none() | st.sampled_from(sorted(set(levels.flat))))
        twin = of_8_bits(levels, bits)
        return png(levels, bits, hidden), np.where(levels == hidden, 255, twin), True
    if kind == "colour":
        bits = data.draw(st.sampled_from([8, 16]))
        levels = chance.integers(0, 256, (SIDE, SIDE, 3)) * (257 if bits == 16 else 1)
        hidden = data.draw(st.sampled_from([None, levels[0, 0]]))
        clear = (levels == levels[0, 0]).all(2, keepdims=True) & (hidden is not None)
        return png(levels, bits, hidden), np.where(clear, 255, of_8_bits(levels, bits)), True
    if kind == "palette":
        bits = data.draw(st.sampled_from([1, 2, 4, 8]))
        palette = chance.integers(0, 256, (2**bits, 3))
        levels = chance.integers(0, 2**bits, (SIDE, SIDE))
        hidden = data.draw(st.sampled_from([None, chance.choice([0, 255], 2**bits)]))
        clear = np.zeros_like(levels) if hidden is None else hidden[levels] == 0
        return (png(levels, bits, hidden, palette),
                np.where(clear[..., None], 255, palette[levels]), True)
    bits, order = data.draw(st.sampled_from([1, 2, 4, 8, 10, 12, 16])), data.draw(
        st.sampled_from("<>"))
    inverted, signed = data.draw(st.booleans()), data.draw(st.booleans())
    levels = chance.integers(0, 2**bits, (SIDE, SIDE))
    twin = of_8_bits(levels, bits)
    read = not signed and (bits in (1, 2, 4, 8) or (bits, order) == (16, "<")
                           or (bits, order, inverted) in ((16, ">", False), (12, "<", False)))
    return (tiff(levels, bits, order=order, white_is_0=inverted, signed=signed),
            255 - twin if inverted else twin, read)


def put(place: Path, container: str, name: str, content: bytes) -> Path:
    """The file in a folder, a zip or a tar; where that lies."""
    if container == "folder":
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
        return place
    path = place / f"pictures.{container}"
    if container == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, content)
    else:
        with tarfile.open(path, "w") as archive:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def tried(seed: int, examples: int) -> Counter:
    """Write so many files and read them.

    Returns:
        how many were "read" as their twins, and how many "named".

    Raises:
        Failed: one was read otherwise, or left out, or ended in another exception.
    """
    def attempt(data):
        content, twin, whole = draw(data)
        damage = data.draw(st.sampled_from(["none", "none", "cut", "flip"]))
        at = data.draw(st.integers(0, len(content) - 1))
        if damage == "cut":
            content = content[:at]
        elif damage == "flip":
            content = content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1:]
        name = data.draw(st.sampled_from(["a", "sub/a", "b c/ä"])) + data.draw(
            st.sampled_from(ENDINGS))
        name = name.upper() if data.draw(st.booleans()) else name
        container = data.draw(st.sampled_from(["folder", "zip", "tar"]))
        with tempfile.TemporaryDirectory() as folder:
            place = put(Path(folder), container, name, content)
            return _read(place, name, twin, whole, damage)

    return counted(seed, examples, attempt)


def _read(place: Path, name: str, twin: np.ndarray, whole: bool, damage: str) -> str:
    try:
        with in_time(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of damaged tags
            found = load_folder(place, SIDE, 3)
    except ValueError as error:
        if Path(name).name not in str(error):
            raise Failed(f"{name}: the error does not name it: {error}") from error
        if whole and damage == "none":
            raise Failed(f"{name} is whole and refused: {error}") from error
        return "named"
    except Failed:
        raise
    except Exception as error:
        raise Failed(f"{name}: {type(error).__name__}: {error}") from error
    if damage != "none":
        return "read, damaged"  # a flipped bit may be a level
    wanted = np.broadcast_to(twin if twin.ndim == 3 else twin[..., None], (SIDE, SIDE, 3))
    if not np.array_equal(found[0].permute(1, 2, 0).numpy(), wanted):
        raise Failed(f"{name} is read with other levels: {found[0, 0].tolist()} for "
                     f"{wanted[..., 0].tolist()}")
    return "read"
