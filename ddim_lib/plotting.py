"""Pictures of pictures: grids and strips with labels, drawn the same everywhere.

Images come in [-1, 1], shape (N, C, H, W). Every function draws with matplotlib
and returns nothing, so that a notebook cell shows the figure once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from ddim_lib.pixels import to_uint8
from ddim_lib.runtime import arguments
from ddim_lib.runtime.extras import extra

# Okabe and Ito's colours, told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DRAWING = "figures need matplotlib"


def tile(images: Tensor, columns: int, gap: int = 2) -> np.ndarray:
    """Images side by side as one uint8 array, (H, W) for grey and (H, W, 3) for colour.

    Args:
        images: in [-1, 1] (what lies outside is clipped), shape (N, C, H, W), C 1 or 3.
        columns: pictures a row; the last row is filled up with white.
        gap: white pixels between pictures.
    """
    arguments.images(images=images)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise ValueError(f"images must have shape (N, 1 or 3, H, W) with N at least 1, got "
                         f"{tuple(images.shape)}")
    columns, gap = arguments.whole("columns", columns, 1), arguments.whole("gap", gap, 0)
    n, c, h, w = images.shape
    sheet = np.full((*tile_size(n, h, w, columns, gap), c), 255, np.uint8)
    pixels = to_uint8(images.detach().cpu()).permute(0, 2, 3, 1).numpy()
    for i, picture in enumerate(pixels):
        y, x = divmod(i, columns)
        sheet[y * (h + gap):y * (h + gap) + h, x * (w + gap):x * (w + gap) + w] = picture
    return sheet.squeeze(2) if c == 1 else sheet


def tile_size(n: int, h: int, w: int, columns: int, gap: int = 2) -> tuple[int, int]:
    """Height and width in pixels of what :func:`tile` makes.

    Args:
        n, h, w: images, and the height and width of each in pixels.
        columns, gap: as in :func:`tile`.
    """
    return -(-n // columns) * (h + gap) - gap, columns * (w + gap) - gap


def show(images: Tensor, columns: int = 8, *, scale: float = 0.75, title: str | None = None,
         rows: Sequence[str] | None = None, heads: Sequence[str] | None = None) -> None:
    """A grid of pictures, with names for its rows and columns where they are given.

    Args:
        images: in [-1, 1], shape (N, C, H, W), row after row.
        columns: pictures a row.
        scale: width of one picture in inches.
        title: above the grid.
        rows: one name a row, to the left.
        heads: one name a column, above.
    """
    with extra(DRAWING):
        import matplotlib.pyplot as plt

    gap, columns = 2, arguments.whole("columns", columns, 1)
    scale = arguments.number("scale", scale)
    if not 0 < scale <= 20:
        raise ValueError(f"scale must be in (0, 20] inches, got {scale}")
    sheet = tile(images, columns, gap)
    rows, heads = (None if names is None else arguments.items(name, names, "a list of names")
                   for name, names in (("rows", rows), ("heads", heads)))
    h, w = images.shape[2] + gap, images.shape[3] + gap
    count = -(-len(images) // columns)
    for name, labels, wanted in (("rows", rows, count), ("heads", heads, columns)):
        if labels is not None and len(labels) != wanted:
            raise ValueError(f"{name} must hold {wanted} names, got {len(labels)}")
    height = count * scale + 0.3 * (heads is not None) + 0.3 * (title is not None)
    fig, ax = plt.subplots(figsize=(columns * scale, height), layout="constrained")
    ax.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    for side in ax.spines.values():
        side.set_visible(False)
    ax.tick_params(length=0, labelsize=9)
    ax.set_yticks([(i + 0.5) * h for i in range(count)] if rows else [], rows)
    ax.set_xticks([(i + 0.5) * w for i in range(columns)] if heads else [], heads)
    ax.xaxis.tick_top()
    if title:
        ax.set_title(title)
    plt.show()


def curves(x: Sequence[float], ys: dict[str, Sequence[float]], *, xlabel: str, ylabel: str,
           log_x: bool = False, log_y: bool = False, marks: bool = False,
           level: tuple[str, float] | None = None) -> None:
    """Lines over a common x, told apart by colour, by marker and by a legend.

    Args:
        x: the common abscissa.
        ys: name to values, each as long as x.
        xlabel, ylabel: what the axes show.
        log_x, log_y: logarithmic axes.
        marks: draw a marker at every point.
        level: a named horizontal line, a floor for instance.
    """
    with extra(DRAWING):
        import matplotlib.pyplot as plt

    x = arguments.items("x", x)
    ys = {name: arguments.items(name, y) for name, y in ys.items()}
    for name, y in ys.items():
        if len(y) != len(x):
            raise ValueError(f"{name} of ys must hold one value for each of x, {len(x)}, got "
                             f"{len(y)}")
    fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
    styles = ("-", "--", "-.", ":")
    for i, (name, y) in enumerate(ys.items()):
        ax.plot(x, y, styles[i % 4], color=COLOURS[i % 7], label=name,
                marker=MARKERS[i % 7] if marks else None)
    if level:
        ax.axhline(level[1], color="0.4", linewidth=1, label=level[0])
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    if log_x:
        ax.set_xscale("log")
    if log_y:
        ax.set_yscale("log")
    ax.grid(alpha=0.3)
    if len(ys) > 1 or level:
        ax.legend()
    plt.show()
