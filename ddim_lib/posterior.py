"""What training draws a network to, computed: the mean of x_0 given x_t over a set of pictures."""

from __future__ import annotations

import torch
from torch import Tensor

from ddim_lib.runtime import arguments


def posterior_mean(x_t: Tensor, alpha_t: float | Tensor, images: Tensor) -> Tensor:
    """The best guess of x_0 given x_t, were x_0 one of these images, each as likely: their mean
    with weights that are proportional to::

        exp(-|x_t - sqrt(alpha_t) image|^2 / (2 (1 - alpha_t)))

    Chapter 2 builds it by hand, ``best_guess``.

    Args:
        x_t: shape (N, C, H, W), in floating point.
        alpha_t: of the level of x_t, in (0, 1): one for all, or one each, shape (N,).
        images: shape (M, C, H, W), in [-1, 1], on x_t's device. All M enter each guess: one
            product of an (N, C*H*W) and an (M, C*H*W) matrix, twice.

    Returns:
        The shape of x_t.

    Raises:
        TypeError: x_t or images are not in floating point.
        ValueError: images have another shape, or there is none; alpha_t lies outside or has
            another shape.
    """
    arguments.batch("x_t", x_t, wait=False, dims=4)
    arguments.batch("images", images, wait=False, dims=4)
    if images.shape[1:] != x_t.shape[1:]:
        raise ValueError(f"images must be of the shape of x_t, {tuple(x_t.shape[1:])}, got "
                         f"{tuple(images.shape[1:])}")
    alpha = torch.as_tensor(alpha_t, dtype=x_t.dtype, device=x_t.device)
    if alpha.shape not in ((), (len(x_t),)) or not ((0 < alpha) & (alpha < 1)).all():
        raise ValueError(f"alpha_t must be in (0, 1), one for all or one for each of {len(x_t)} "
                         f"images, got {arguments.shown(alpha_t)}")
    alpha, seen, flat = alpha.view(-1, 1), x_t.flatten(1), images.flatten(1)
    # What of the squared distance is the same for every image drops out of the weights.
    likely = alpha.sqrt() * (seen @ flat.T) - alpha * flat.square().sum(1) / 2
    return ((likely / (1 - alpha)).softmax(1) @ flat).view_as(x_t)
