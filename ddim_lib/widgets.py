"""A slider over pictures that were computed beforehand.

The frames travel inside the page, and the browser itself links the slider to
them: it moves with a kernel and without one. (ipywidgets before 8, which some
hosts still have, cannot do that; there the kernel moves the pictures.)
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from ddim_lib.runtime import arguments
from ddim_lib.runtime.extras import extra


def frames_slider(frames: Sequence[np.ndarray], names: Sequence[object], label: str,
                  scale: int = 3):
    """A slider that chooses one of several pictures.

    Args:
        frames: uint8 arrays of one shape, (H, W) or (H, W, 3), see
            :func:`~ddim_lib.plotting.tile`.
        names: what the slider stands at, one a frame: values of t, S or eta.
        label: the slider's name, in the field's symbol.
        scale: screen pixels a pixel.

    Returns:
        An ipywidgets box: show it as the last line of a cell.

    Raises:
        ValueError: no frames, or not one name a frame.
    """
    with extra("sliders need ipywidgets", "notebooks"):
        import ipywidgets
    from PIL import Image

    frames, names = arguments.items("frames", frames), arguments.items("names", names)
    scale = arguments.whole("scale", scale, 1)
    if not len(frames) or len(frames) != len(names):
        raise ValueError(f"names must be one a frame, {len(frames)} (at least 1), "
                         f"got {len(names)}")

    class Box(ipywidgets.VBox):
        # What a notebook shows that its reader does not trust yet.
        def __repr__(self) -> str:
            return "Run this cell to move the slider."

    pictures = []
    for frame in frames:
        if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8:
            raise ValueError(f"frames must be uint8 arrays, got {arguments.shown(frame)}")
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "PNG", optimize=True)
        picture = ipywidgets.Image(value=file.getvalue(), format="png",
                                   width=frame.shape[1] * scale, height=frame.shape[0] * scale)
        picture.add_class("ddim-frame")
        pictures.append(picture)
    # The names as a slider of their own: a Stack is chosen by index, and readers want the value.
    slider = ipywidgets.SelectionSlider(options=[(str(name), i) for i, name in enumerate(names)],
                                        description=label, continuous_update=True,
                                         layout={"width": "420px"})
    if not hasattr(ipywidgets, "Stack"):
        shown = pictures[0]
        values = [picture.value for picture in pictures]
        slider.observe(lambda change: setattr(shown, "value", values[change["new"]]), "index")
        return Box([slider, shown])
    stack = ipywidgets.Stack(pictures, selected_index=0)
    ipywidgets.jslink((slider, "index"), (stack, "selected_index"))
    return Box([slider, stack])
