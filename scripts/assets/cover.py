"""Draw the picture of the README and the landing page: the same noise in 1000, 100 and 10 steps.

python -m scripts.assets.cover
"""

from pathlib import Path

import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

import ddim_lib
from ddim_lib.plotting import tile

OUT = Path(__file__).resolve().parents[2] / "book" / "_assets" / "digits.png"
GAP = 34  # above each grid, for its title


def main() -> None:
    model, schedule = ddim_lib.load_pretrained("mnist-eps")
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 18)
    counts = (1000, 100, 10)
    grids = [tile(ddim_lib.sample(model, schedule, seeds=range(32), steps=S), columns=16)
             for S in counts]
    grids = [np.kron(grid, np.ones((2, 2), np.uint8)) for grid in grids]
    height, width = grids[0].shape
    sheet = Image.new("L", (width + 20, len(grids) * (height + GAP) + 6), 255)
    for i, (count, grid) in enumerate(zip(counts, grids, strict=True)):
        y = i * (height + GAP)
        ImageDraw.Draw(sheet).text((10, y + 6), f"{count} steps", fill=0, font=font)
        sheet.paste(Image.fromarray(grid), (10, y + GAP - 2))
    sheet.save(OUT, optimize=True)


if __name__ == "__main__":
    main()
