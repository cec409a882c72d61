"""PNG files in the smallest lossless form that Pillow writes, with nothing but the picture."""

import io

from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PICTURE_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}


def chunks(png: bytes) -> list[bytes]:
    """The names of the file's chunks, in order."""
    names, at = [], len(SIGNATURE)
    while at < len(png):
        names.append(png[at + 4 : at + 8])
        at += 12 + int.from_bytes(png[at : at + 4], "big")
    return names


def clean(png: bytes) -> bytes:
    """The same pixels without dates, program names or resolution, compressed well.

    A file that carries none of these is left as it is: another build of zlib would write the
    same picture in other bytes, and a clean notebook must stay clean on every machine.
    """
    if not png.startswith(SIGNATURE) or set(chunks(png)) <= PICTURE_CHUNKS:
        return png
    picture = opaque(Image.open(io.BytesIO(png)))
    candidates = [picture, *paletted(picture)]
    return min((encode(candidate) for candidate in candidates), key=len)


def opaque(picture: Image.Image) -> Image.Image:
    picture = picture.convert("RGBA")
    if picture.getchannel("A").getextrema() != (255, 255):
        return picture
    picture = picture.convert("RGB")
    red, green, blue = picture.split()
    grey = red.tobytes() == green.tobytes() == blue.tobytes()
    return red if grey else picture


def paletted(picture: Image.Image) -> list[Image.Image]:
    """The picture with a palette of its exact colours, if they are few enough."""
    colours = picture.getcolors(256) if picture.mode in ("L", "RGB") else None
    if colours is None:
        return []
    triples = sorted(c if isinstance(c, tuple) else (c, c, c) for _, c in colours)
    palette = Image.new("P", (1, 1))
    palette.putpalette([level for triple in triples for level in triple])
    exact = picture.convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE)
    # Pillow's nearest colour is approximate: keep the palette only where it lost nothing.
    return [exact] if exact.convert("RGB").tobytes() == picture.convert("RGB").tobytes() else []


def encode(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return stream.getvalue()
