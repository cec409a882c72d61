"""Draw the picture that social networks show for a link to the book: noise that becomes digits.

python -m scripts.assets.social_card
"""

from pathlib import Path

import numpy as np
import torch
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

import ddim_lib
from ddim_lib.plotting import tile

OUT = Path(__file__).resolve().parents[2] / "book" / "_assets" / "social_card.png"
SIZE = (1200, 630)
GROUND, TEXT, QUIET = "#14213d", "#ffffff", "#b8c4dc"
SEEDS, SCALE, MARGIN = (2, 5, 11), 4, 60
# More of them where there is something to see.
LEVELS = (40, 100, 170, 250, 340, 450, 600, 1000)


def strip() -> Image.Image:
    """A row for each digit: x_T, pictures on the way, x_0."""
    model, schedule = ddim_lib.load_pretrained("mnist-eps")
    way = [step.x for step in ddim_lib.sample_iter(model, schedule, seeds=SEEDS, steps=LEVELS)]
    grid = tile(torch.stack(way, 1).flatten(0, 1).clamp(-1, 1), columns=len(way), gap=0)
    # 16 levels of grey: noise of 256 would be most of the file.
    grid = np.round(np.asarray(grid, float) / 17).astype(np.uint8) * 17
    return Image.fromarray(np.kron(grid, np.ones((SCALE, SCALE), np.uint8)))


def main() -> None:
    fonts = {bold: font_manager.findfont(f"DejaVu Sans:{'bold' if bold else 'normal'}")
             for bold in (True, False)}
    card = Image.new("RGB", SIZE, GROUND)
    draw = ImageDraw.Draw(card)
    draw.text((MARGIN, 42), "Denoising Diffusion Implicit Models", TEXT,
              ImageFont.truetype(fonts[True], 50))
    draw.text((MARGIN, 112), "An executable book: from noise to pictures, every step computed",
              QUIET, ImageFont.truetype(fonts[False], 30))
    pictures = strip()
    card.paste(pictures, (MARGIN, 188))
    draw.text((MARGIN, 556), f"One network, {len(LEVELS)} steps, no dice", QUIET,
              ImageFont.truetype(fonts[False], 30))
    card.quantize(64, dither=Image.Dither.NONE).save(OUT, optimize=True)


if __name__ == "__main__":
    main()
