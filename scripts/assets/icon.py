"""Draw the book's icon: an epsilon, the letter for noise, in pixels, some of them astray.

python -m scripts.assets.icon
"""

from pathlib import Path

from PIL import Image, ImageDraw

ASSETS = Path(__file__).resolve().parents[2] / "book" / "_assets"
GROUND = "#14213d"
LEVELS = {"#": "#ffffff", "+": "#8fa3c7", "-": "#44557f"}
PICTURE = """\
..........
.-.####...
..##+.##..
..##.....-
..+###....
..##+...-.
..##...+..
..##+.##..
-..####..-
.....-....
"""


def squares() -> list[tuple[int, int, str]]:
    """Column, row and colour of every pixel that is not the ground."""
    rows = PICTURE.splitlines()
    return [(x, y, LEVELS[sign]) for y, row in enumerate(rows)
            for x, sign in enumerate(row) if sign in LEVELS]


def svg() -> str:
    side = len(PICTURE.splitlines())
    paths = "".join(
        f'<path fill="{colour}" d="'
        + "".join(f"M{x} {y}h1v1h-1z" for x, y, c in squares() if c == colour) + '"/>'
        for colour in LEVELS.values()
    )
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}" '
            f'shape-rendering="crispEdges"><path fill="{GROUND}" d="M0 0h{side}v{side}H0z"/>'
            f"{paths}</svg>\n")


def raster(side: int) -> Image.Image:
    """The icon in `side` pixels, the largest whole scale in the middle."""
    cells = len(PICTURE.splitlines())
    scale = side // cells
    margin = (side - scale * cells) // 2
    picture = Image.new("RGB", (side, side), GROUND)
    draw = ImageDraw.Draw(picture)
    for x, y, colour in squares():
        left, top = margin + x * scale, margin + y * scale
        draw.rectangle([left, top, left + scale - 1, top + scale - 1], fill=colour)
    return picture


def main() -> None:
    (ASSETS / "favicon.svg").write_text(svg(), "utf-8")
    raster(32).save(ASSETS / "favicon.ico", sizes=[(32, 32)])
    raster(180).save(ASSETS / "apple-touch-icon.png", optimize=True)


if __name__ == "__main__":
    main()
