"""Pictures that move on the page: frames computed beforehand, a slider, play and pause.

What a cell shows holds everything: frames, style and a script of 3 kB. It moves in a
running notebook, in Colab, on a web page and from a folder, without a kernel; where
scripts are switched off, one frame stays. A notebook that its reader does not trust yet is
shown without styles, scripts and drawings: there a sentence says what to do. Nothing starts
by itself.
"""

from __future__ import annotations

import base64
import html
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ddim_lib.player import symbols
from ddim_lib.runtime import arguments
from ddim_lib.runtime.extras import extra

WIDTH, HEIGHT, LEFT, TOP = 190, 92, 34, 6  # of a curve's box, in SVG units
COLOURS = ("#0072B2", "#D55E00", "#009E73")


class Curve(NamedTuple):
    """A curve beside the pictures, with a mark that moves along it.

    Args:
        name: what is drawn upwards, a symbol as in :func:`~ddim_lib.player.symbols.page`.
        values: one a frame.
        log: draw it on a logarithmic axis; then the values must be positive.
    """

    name: str
    values: Sequence[float]
    log: bool = False


class Player:
    """What :func:`play` returns. A notebook shows it.

    Args:
        page: the HTML that moves.
        still: a PNG or JPEG of five frames, for where it cannot.
        text: a line that says what is shown.

    Attributes:
        html: the page, as it was given.
    """

    def __init__(self, page: str, still: bytes, text: str):
        self.html, self.still, self.text = page, still, text
        self.kind = "image/png" if still.startswith(b"\x89PNG") else "image/jpeg"

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return {"text/html": self.html, "text/plain": self.text,
                self.kind: base64.b64encode(self.still).decode()}


def play(frames: Sequence[np.ndarray] | Mapping[str, Sequence[np.ndarray]],
         values: Sequence[object], label: str, *, alt: str,
         readout: Mapping[str, Sequence[object]] | None = None,
         curves: Sequence[Curve] = (), scale: float = 3, start: int = 0, wait: int = 250,
         quality: int | None = None) -> Player:
    """Pictures under a slider, with the values that belong to each.

    Args:
        frames: uint8 arrays of one shape, (H, W) or (H, W, 3), one a position of the slider
            (see :func:`ddim_lib.plotting.tile`); or several such sequences by name, which
            stand side by side and move together.
        values: what the slider stands at, one a frame: values of t, S, eta or lambda.
        label: the slider's name, as in :func:`~ddim_lib.player.symbols.page`: ``"level t"`` or
            ``"eta"``.
        alt: what is to be seen, in words, for readers who do not see it.
        readout: more values to show, by symbol, one a frame each.
        curves: drawn beside the pictures.
        scale: screen pixels a pixel.
        start: the position shown first, and where scripts are switched off.
        wait: milliseconds a frame while it plays; at least 1000 for readers who asked
            their system for less motion.
        quality: frames as JPEG of this quality, 1 to 100, for large pictures with noise; PNG
            where left out.

    Returns:
        A player: show it as the last line of a cell. Where a page cannot move (a PDF),
        five of its frames are shown.

    Raises:
        ValueError: no frames, not one value a frame, an empty alt text, an argument out of
            its range.
    """
    panels = {name: arguments.items("frames", panel, "a list of frames") for name, panel in
              (frames if isinstance(frames, Mapping) else {"": frames}).items()}
    values = arguments.items("values", values)
    readout = {name: arguments.items(name, row) for name, row in (readout or {}).items()}
    curves = [curve._replace(values=[arguments.number(curve.name, value) for value in
                                     arguments.items(curve.name, curve.values)])
              for curve in curves]
    start, wait = arguments.whole("start", start), arguments.whole("wait", wait)
    scale = arguments.number("scale", scale)
    quality = None if quality is None else arguments.whole("quality", quality)
    _check(panels, values, label, alt, readout, curves, scale, start, wait, quality)
    sources = [[_address(frame, quality) for frame in panel] for panel in panels.values()]
    # The slider is called "level t"; what it stands at reads "t = 300".
    told = {label.split()[-1]: values, **readout}
    rows = list(zip(*told.values(), strict=True))
    pairs = [list(zip(told, row, strict=True)) for row in rows]
    plain = [", ".join(f"{key} = {_number(value)}" for key, value in row) for row in pairs]
    shown = [", ".join(f"{symbols.page(key)} = {html.escape(_number(value))}" for key, value in row)
             for row in pairs]
    marks = [_points(curve, values) for curve in curves]
    data = {"frames": sources, "plain": plain, "shown": shown, "marks": marks, "wait": wait}
    figures = "".join(_figure(name, panel[0], source[start], alt, scale)
                      for (name, panel), source in zip(panels.items(), sources, strict=True))
    drawn = "".join(_drawing(curve, points, values, label, i, start)
                    for i, (curve, points) in enumerate(zip(curves, marks, strict=True)))
    # What ends the script's element is text in it, too.
    inside = re.sub("(?i)</(?=script)", r"<\\/", json.dumps(data, ensure_ascii=False))
    # A shortcut of JupyterLab that takes an arrow key asks the element itself.
    keys = 'data-lm-suppress-shortcuts="true"'
    here = Path(__file__).parent
    page = "\n".join([
        f"<style>{(here / 'player.css').read_text(encoding='utf-8')}</style>",
        f'<ddim-player><div class="panels">{figures}'
        + (f'<div class="panels">{drawn}</div>' if drawn else "") + "</div>",
        f'<div class="controls"><button type="button" {keys} disabled>Play</button>',
        f'<label>{symbols.page(label)}<input type="range" min="0" max="{len(values) - 1}" step="1"',
        f' value="{start}" autocomplete="off" aria-valuetext="{html.escape(plain[start])}" {keys}',
        f' disabled></label> <output aria-live="off">{shown[start]}</output></div>',
        '<p class="stripped">Run this cell to move the slider.</p>',
        f'<script type="application/json">{inside}</script>',
        "</ddim-player>",
        f"<script>{(here / 'player.js').read_text(encoding='utf-8')}</script>",
    ])
    text = f"{len(values)} pictures over {label}, {_number(values[0])} to {_number(values[-1])}"
    return Player(page, _still(panels, values, label, scale, quality), text)


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _check(panels, values, label, alt, readout, curves, scale, start, wait, quality) -> None:
    n = len(values)
    if n < 2:
        raise ValueError(f"values must hold at least 2 positions, got {n}")
    for name, panel in panels.items():
        if len(panel) != n:
            raise ValueError(f"frames must be one a value, {n}, got {len(panel)}"
                             + (f" of {name!r}" if name else ""))
        for frame in panel:
            if (not isinstance(frame, np.ndarray) or frame.dtype != np.uint8
                    or frame.shape != panel[0].shape or frame.ndim not in (2, 3)
                    or frame.shape[2:] not in ((), (3,))):
                raise ValueError("frames must be uint8 arrays of one shape, (H, W) or (H, W, 3), "
                                 f"got {getattr(frame, 'dtype', type(frame).__name__)} "
                                 f"{getattr(frame, 'shape', '')}")
    if not label.split():
        raise ValueError(f"label must name what the slider stands at, got {label!r}")
    if label.split()[-1] in readout:
        raise ValueError(f"readout must not be named as the label, {label.split()[-1]!r}")
    if len(alt.split()) < 3:
        raise ValueError(f"alt must say in words what is to be seen, got {alt!r}")
    for name, row in [*readout.items(), *((c.name, c.values) for c in curves)]:
        if len(row) != n:
            raise ValueError(f"{name!r} must hold one value a frame, {n}, got {len(row)}")
    for curve in curves:
        for value in curve.values:
            if not math.isfinite(value) or (curve.log and value <= 0):
                raise ValueError(f"the values of {curve.name!r} must be finite"
                                 + (" and positive" if curve.log else "") + f", got {value}")
    if len(curves) and not all(isinstance(v, (int, float)) for v in values):
        raise ValueError(f"values must be numbers where there are curves, got {values[0]!r}")
    if len(curves) and min(values) == max(values):
        raise ValueError(f"values must differ where there are curves, got {values[0]!r} alone")
    if len(curves) > len(COLOURS):
        raise ValueError(f"curves must be at most {len(COLOURS)}, got {len(curves)}")
    if not 0 < scale <= 20:
        raise ValueError(f"scale must be in (0, 20], got {scale}")
    if not 0 <= start < n:
        raise ValueError(f"start must be in 0..{n - 1}, got {start}")
    if wait < 100:
        raise ValueError(f"wait must be at least 100 milliseconds, got {wait}")
    if quality is not None and not 1 <= quality <= 100:
        raise ValueError(f"quality must be in 1..100 or None, got {quality}")


def _address(frame: np.ndarray, quality: int | None) -> str:
    from PIL import Image

    # JPEG and not WebP, which is no smaller on noise: what a rounding changes stays in its block.
    file, kind = io.BytesIO(), "png" if quality is None else "jpeg"
    options = {"optimize": True} | ({} if quality is None else {"quality": quality})
    Image.fromarray(frame).save(file, kind.upper(), **options)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def _figure(name: str, frame: np.ndarray, source: str, alt: str, scale: float) -> str:
    caption = f"<figcaption>{symbols.page(name)}</figcaption>" if name else ""
    said = html.escape(f"{name}: {alt}" if name else alt)
    height, width = (round(side * scale) for side in frame.shape[:2])
    return (f'<figure>{caption}<img alt="{said}" width="{width}" height="{height}" '
            f'src="{source}"></figure>')


def _points(curve: Curve, values: Sequence[float]) -> list[list[float]]:
    """Where the values lie in the box, in SVG units."""
    heights = [math.log10(v) if curve.log else v for v in curve.values]
    low, high = min(heights), max(heights)
    first, last = min(values), max(values)
    return [[round(LEFT + WIDTH * (x - first) / (last - first), 1),
             round(TOP + HEIGHT * (1 - (y - low) / ((high - low) or 1)), 1)]
            for x, y in zip(values, heights, strict=True)]


def _drawing(curve: Curve, points, values, label: str, i: int, start: int) -> str:
    colour, bottom, right = COLOURS[i], TOP + HEIGHT, LEFT + WIDTH
    width, height = right + 12, bottom + 18
    line = " ".join(f"{x},{y}" for x, y in points)
    name = html.escape(f"{curve.name} over {label}, from {_short(curve.values[0])} "
                       f"to {_short(curve.values[-1])}")
    x, y = points[start]
    ends = [(LEFT - 3, TOP, "high", _short(max(curve.values))),
            (LEFT - 3, bottom, "low", _short(min(curve.values))),
            (LEFT, bottom, "first", _number(min(values))),
            (right, bottom, "last", _number(max(values)))]
    ticks = "".join(f'<span class="{place}" style="left:{100 * x / width:.1f}%;'
                    f'top:{100 * y / height:.1f}%">{_painted(text)}</span>'
                    for x, y, place, text in ends)
    caption = symbols.page(curve.name) + (", logarithmic axis" if curve.log else "")
    return (f'<figure><figcaption>{_painted(caption)}</figcaption>'
            f'<div class="curve" role="img" aria-label="{name}">'
            f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
            f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="currentColor" '
            f'stroke-opacity=".5"/><polyline points="{line}" fill="none" stroke="{colour}" '
            f'stroke-width="2"/><circle cx="{x}" cy="{y}" r="5" fill="{colour}" '
            f'stroke="currentColor"/></svg>{ticks}</div></figure>')


def _painted(markup: str) -> str:
    """With every text written by the style sheet: where that is stripped, none is left over."""
    def write(text: re.Match) -> str:
        quoted = text[0].replace('"', "&quot;")
        return f'<span data-text="{quoted}"></span>'

    return re.sub(r"(?:^|(?<=>))[^<]+", write, markup)


def _short(value: float) -> str:
    return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e") \
        if value and not 0.01 <= abs(value) < 1000 else f"{value:.2g}"


def _still(panels, values, label: str, scale: float, quality: int | None) -> bytes:
    """Five frames under one another, for paper."""
    with extra("the player's still pictures need matplotlib"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    n = len(values)
    chosen = sorted({round(i * (n - 1) / 4) for i in range(5)})
    height, width = next(iter(panels.values()))[0].shape[:2]
    inches = min(6.0 / len(panels), width * scale / 90)
    figure = Figure(figsize=(inches * len(panels) + 1, len(chosen) * inches * height / width + .4),
                    layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(chosen), len(panels), squeeze=False)
    for row, i in zip(axes, chosen, strict=True):
        for axis, (name, panel) in zip(row, panels.items(), strict=True):
            axis.imshow(panel[i], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            if name and i == chosen[0]:
                axis.set_title(symbols.mathtext(name), fontsize=9)
        name = symbols.mathtext(label.split()[-1])
        row[0].set_ylabel(f"{name} = {_number(values[i])}", rotation=0, ha="right", va="center",
                          fontsize=9)
    file = io.BytesIO()
    kind = {"format": "png", "metadata": {"Software": None}} if quality is None else \
        {"format": "jpeg", "pil_kwargs": {"quality": quality}}
    # Noise does not compress: the large ones are drawn smaller.
    figure.savefig(file, dpi=100 if quality is None else 65, bbox_inches="tight", **kind)
    return file.getvalue()
