"""Pixels: 0..255 on disk and on the screen, [-1, 1] for a network."""

from __future__ import annotations

import torch
from torch import Tensor


def to_float(images: Tensor) -> Tensor:
    """uint8 images in 0..255 to float32 in [-1, 1], any shape."""
    if getattr(images, "dtype", None) != torch.uint8:
        raise TypeError(f"images must be a uint8 tensor, got {_kind(images)}")
    return images.float() / 127.5 - 1


def to_uint8(images: Tensor) -> Tensor:
    """float images in [-1, 1] to uint8 in 0..255: rounded, and what lies outside clipped.

    Raises:
        TypeError: they are no floating-point tensor.
        ValueError: they hold NaN, which is no grey level.
    """
    if not isinstance(images, Tensor) or not images.is_floating_point():
        raise TypeError(f"images must be a floating-point tensor in [-1, 1], got {_kind(images)}")
    if not images.is_meta and images.isnan().any():  # "meta" holds no numbers
        raise ValueError("images must be numbers, got NaN")
    return (images.float() * 127.5 + 128).clamp(0, 255).to(torch.uint8)


def _kind(images: object) -> str:
    return str(getattr(images, "dtype", type(images).__name__))
