"""Does a network's answer follow the noise? Two numbers that the loss hardly sees.

Along DDIM's path at high noise the amplitude of the noise and the mean of each channel pass from
x_T to the picture, so eps must follow both. They are a few directions of many hundred, and an
error in them costs next to nothing in the loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ddim_lib.runtime.arguments import number, whole
from ddim_lib.runtime.networks import asked, device_of, evaluating, shape_of
from ddim_lib.sampling import Model, noise_from_seeds

#: Half of the interval of amplitudes over which a response is measured.
STEP = 0.1


@torch.no_grad()
def amplitude_response(model: Model, t: int, *, seeds: Sequence[int] = range(32),
                       shape: tuple[int, int, int] | None = None) -> float:
    """How much the amplitude of eps grows with that of x_t: 1 is right where noise is nearly all.

    x_t = c z with standard normal z and c from 0.9 to 1.1: the slope of eps' root mean square
    over that of x_t.

    Args:
        model: ``model(x, t) -> eps``.
        t: a level at which hardly any picture is left, such as 1000 or 900 of 1000.
        seeds: of z, one an image.
        shape: (C, H, W); where left out, the model's own ``image_shape``.
    """
    z = noise_from_seeds(seeds, shape_of(model, shape))
    less, more = (_ask(model, c * z, t).square().mean().sqrt().cpu()
                  for c in (1 - STEP, 1 + STEP))
    return ((more - less) / (2 * STEP * z.square().mean().sqrt())).item()


@torch.no_grad()
def mean_response(model: Model, t: int, *, seeds: Sequence[int] = range(32),
                  shape: tuple[int, int, int] | None = None) -> float:
    """How much the mean of eps grows with the mean of x_t; :func:`exact_mean_response` is right.

    The slope of a channel's mean, over a shift of all its pixels by one standard deviation of
    the mean of standard normal noise, 1 / sqrt(pixels), down and up; averaged over the channels.

    Args:
        model, t, seeds, shape: as in :func:`amplitude_response`.
    """
    z = noise_from_seeds(seeds, shape_of(model, shape))
    step, slopes = 1 / math.sqrt(z[0, 0].numel()), []
    for channel in range(z.shape[1]):
        shift = torch.zeros_like(z)
        shift[:, channel] = step
        less, more = (_ask(model, z + sign * shift, t)[:, channel].mean() for sign in (-1, 1))
        slopes.append((more - less) / (2 * step))
    return torch.stack(slopes).mean().item()


def exact_mean_response(alpha_t: float, spread: float, pixels: int) -> float:
    """The slope that is right for data whose mean pixel is normal: a regression coefficient.

    Of the mean of x_t the noise has the variance (1 - alpha_t) / pixels and the picture
    alpha_t spread^2, so the best guess of the noise's mean has the slope
    sqrt(1 - alpha_t) / (1 - alpha_t + alpha_t spread^2 pixels).

    Args:
        alpha_t: of the level, in (0, 1).
        spread: the standard deviation, over the data, of a picture's mean pixel in one channel,
            pixels in [-1, 1]; so at most 1.
        pixels: of one channel.
    """
    alpha_t, spread = number("alpha_t", alpha_t), number("spread", spread)
    pixels = whole("pixels", pixels, 1)
    if not 0 < alpha_t < 1 or not 0 <= spread <= 1:
        raise ValueError(f"alpha_t must be in (0, 1) and spread in [0, 1], got {alpha_t} and "
                         f"{spread}")
    return math.sqrt(1 - alpha_t) / (1 - alpha_t + alpha_t * spread**2 * pixels)


def _ask(model: Model, x: Tensor, t: int) -> Tensor:
    device = device_of(model, torch.device("cpu"))
    x, t = x.to(device), whole("t", t, 0)
    with evaluating(model):
        return asked(model, x, torch.full((len(x),), t, device=device)).float()
