"""Denoising diffusion implicit models, in a library small enough to read.

Three nouns carry everything: a :class:`~ddim_lib.schedule.Schedule` (how much
noise at each t), a model ``model(x, t) -> eps`` (what noise is in x), and
images, float tensors in [-1, 1] of shape (N, C, H, W).

``import ddim_lib`` needs torch and numpy alone. What a data set, a plot or a
metric needs is imported where it is used.
"""

__version__ = "0.1.0"

from ddim_lib.runtime.accelerator import device
from ddim_lib.sampling import (
    Step,
    encode,
    extrapolate_x0,
    guide,
    noise_from_seeds,
    noise_in,
    predict_x0,
    sample,
    sample_iter,
    sigma,
    slerp,
    step,
)
from ddim_lib.schedule import Schedule, cosine, linear, pairs, timesteps
from ddim_lib.unet import UNet, UNetConfig
from ddim_lib.weights import available, load_pretrained, load_weights, save_weights
from ddim_lib.weights.checkpoints import read_published, write_diffusers

__all__ = [
    "Schedule",
    "Step",
    "UNet",
    "UNetConfig",
    "available",
    "cosine",
    "device",
    "encode",
    "extrapolate_x0",
    "guide",
    "linear",
    "load_pretrained",
    "load_weights",
    "noise_from_seeds",
    "noise_in",
    "pairs",
    "predict_x0",
    "read_published",
    "sample",
    "sample_iter",
    "save_weights",
    "sigma",
    "slerp",
    "step",
    "timesteps",
    "write_diffusers",
]
