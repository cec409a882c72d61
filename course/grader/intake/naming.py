"""One name for one student, whichever system wrote it: in tables, paths and files' names."""

import hashlib
import re
import unicodedata
from pathlib import PurePosixPath

LONGEST = 120  # bytes of a file's name without its ending; some file systems take but 143
LONGEST_PART = 255  # letters of a part of a path; a zip may hold more, a disk does not
UNSEEN = "\u200b\u200e\u200f\u2060\ufeff"  # what copied names begin and end with, beside blanks


def shown(name: str) -> str:
    """A name as tables show it: composed letters, one blank between words and none at the ends.

    A control character and a byte that was no UTF-8 become ``\\xNN``.
    """
    words = " ".join(unicodedata.normalize("NFC", name).strip(UNSEEN).split())
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", escape, words.strip(UNSEEN + " "))


def escape(found: re.Match) -> str:
    code = ord(found[0])
    byte = 0xDC80 <= code <= 0xDCFF  # so Python keeps what it cannot read in a name
    return f"\\x{code & 0xFF:02x}" if byte or code < 0x100 else f"\\u{code:04x}"


def path(written: str) -> PurePosixPath:
    """A path as a system wrote it, Windows too, that leads nowhere but down."""
    parts = [part for part in re.split(r"[/\\]", written) if part not in ("", ".", "..")]
    return PurePosixPath(*(cut(shown(part) or "_") for part in parts))


def cut(part: str) -> str:
    if len(part) <= LONGEST_PART:
        return part
    ending = PurePosixPath(part).suffix[-10:]
    return f"{part[: LONGEST_PART - 30]}-{digest(part)}{ending}"


def stem(name: str) -> str:
    """The name of a file without the endings of zips and notebooks, however many."""
    return re.sub(r"(\.zip|\.ipynb)+$", "", name, flags=re.IGNORECASE) or name


def as_file(student: str) -> str:
    """The student's name as the name of a file, without an ending."""
    plain = re.sub(r"[^\w .@-]", "_", student).strip(" .") or "_"
    short = plain.encode()[: LONGEST - 9].decode(errors="ignore")
    return plain if plain == student and short == plain else f"{short}-{digest(student)}"


def digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", errors="backslashreplace")).hexdigest()[:8]
