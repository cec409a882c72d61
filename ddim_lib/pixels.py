"""Pixels: 0..255 on disk and on the screen, [-1, 1] for a network."""

from __future__ import annotations

import torch
from torch import Tensor


def to_float(images: Tensor) -> Tensor:
    """uint8 images in 0..255 to float32 in [-1, 1], any shape."""
    if images.dtype != torch.uint8:
        raise TypeError(f"images must be uint8, got {images.dtype}")
    return images.float() / 127.5 - 1


def to_uint8(images: Tensor) -> Tensor:
    """float images in [-1, 1] to uint8 in 0..255: rounded, and what lies outside clipped."""
    if not images.is_floating_point():
        raise TypeError(f"images must be floating point in [-1, 1], got {images.dtype}")
    return (images.float() * 127.5 + 128).clamp(0, 255).to(torch.uint8)
