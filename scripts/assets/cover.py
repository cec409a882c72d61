"""Draw the landing page's pictures: two directions; one noise in 1000, 100 and 10 steps.

python -m scripts.assets.cover
"""

import io
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import font_manager
from matplotlib.patches import FancyArrowPatch
from PIL import Image, ImageDraw, ImageFont

import ddim_lib
from ddim_lib.datasets import load
from ddim_lib.plotting import tile

ASSETS = Path(__file__).resolve().parents[2] / "book" / "_assets"
LEVELS = (0, 200, 400, 600, 800, 1000)
GAP = 34  # above each grid, for its title


def directions() -> None:
    """Noising from left to right, sampling from right to left."""
    model, schedule = ddim_lib.load_pretrained("mnist")
    images, labels = load("digits")
    three = images[labels == 3][3:4]
    noise = ddim_lib.noise_from_seeds([0], model.image_shape)
    noised = [schedule.add_noise(three, t, noise) for t in LEVELS]
    walk = {now.t: now.x for now in ddim_lib.sample_iter(model, schedule, seeds=[5], steps=100)}
    fig, axes = plt.subplots(2, len(LEVELS), figsize=(7.2, 3.1), dpi=125)
    for row, pictures in zip(axes, (noised, [walk[t] for t in LEVELS]), strict=True):
        for ax, t, x in zip(row, LEVELS, pictures, strict=True):
            ax.imshow(x[0, 0], cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            ax.set_xlabel(f"t = {t}", fontsize=9)
    fig.subplots_adjust(left=0.01, right=0.99, top=0.9, bottom=0.08, wspace=0.08, hspace=0.62)
    for y, told, begin, end in (
            (0.945, "noising: equation (1), no network", 0.62, 0.98),
            (0.455, "sampling: ask the network, again and again", 0.98, 0.62)):
        fig.text(0.01, y, told, fontsize=10, va="center")
        fig.add_artist(FancyArrowPatch((begin, y), (end, y), arrowstyle="-|>", mutation_scale=14,
                                       color="black", transform=fig.transFigure))
    buffer = io.BytesIO()
    fig.savefig(buffer)
    Image.open(buffer).convert("L").quantize(32).save(ASSETS / "directions.png", optimize=True)


def main() -> None:
    directions()
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
    sheet.save(ASSETS / "digits.png", optimize=True)


if __name__ == "__main__":
    main()
