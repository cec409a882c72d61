"""Named training runs: a network, how to train it, and on what.

``mnist-paper`` is the tutorial's network and length; the others were chosen to be
small enough to ship.
"""

from __future__ import annotations

from dataclasses import dataclass

from ddim_lib.training import TrainingConfig
from ddim_lib.unet import UNetConfig


@dataclass(frozen=True)
class Preset:
    """One named run.

    Args:
        data: what :func:`~ddim_lib.datasets.load_uint8` knows.
        unet: the network.
        training: the run.
    """

    data: str
    unet: UNetConfig
    training: TrainingConfig


PRESETS = {
    # The digits that come with the library; chapter 3 trains this network, for 150 steps.
    "digits": Preset(
        "digits",
        UNetConfig(28, 1, 32, (1, 1, 2), 1, (7,), dropout=0.0),
        TrainingConfig(steps=400, batch_size=32, lr=2e-3, ema_decay=0.99)),
    # The shipped default: 0.81 M parameters, 0.24 GFLOP an image; eight groups of channels.
    "mnist": Preset(
        "mnist",
        UNetConfig(28, 1, 32, (1, 1, 2), 1, (7,), dropout=0.0, groups=8,
                   prediction_type="v_prediction"),
        TrainingConfig(steps=42_000, batch_size=128, lr=2e-3, ema_decay=0.9995,
                       loss_weight="1/alpha")),
    # The default network with the digits' labels; it may begin with the weights of "mnist".
    "mnist-labels": Preset(
        "mnist",
        UNetConfig(28, 1, 32, (1, 1, 2), 1, (7,), dropout=0.0, groups=8,
                   prediction_type="v_prediction", classes=10),
        TrainingConfig(steps=42_000, batch_size=128, lr=2e-3, ema_decay=0.9995,
                       loss_weight="1/alpha", label_dropout=0.15)),
    # The same size by the tutorial's recipe: the noise itself, every error of it alike.
    "mnist-eps": Preset(
        "mnist",
        UNetConfig(28, 1, 32, (1, 1, 2), 1, (7,), dropout=0.0),
        TrainingConfig(steps=42_000, batch_size=128, lr=2e-3, ema_decay=0.9995)),
    # 25.8 M parameters; 30 epochs of 60,000 in batches of 500 are 3,600 steps.
    "mnist-paper": Preset(
        "mnist",
        UNetConfig(28, 1, 128, (1, 2, 2), 2, (14,), dropout=0.1),
        TrainingConfig(steps=3_600, batch_size=500, lr=2e-4, betas=(0.9, 0.999),
                       ema_decay=0.999)),
    # The next three fit in 20 MB as float16. The shipped weights ran fewer steps: see their cards.
    "kkanji": Preset(
        "kkanji",
        UNetConfig(64, 1, 32, (1, 2, 4, 4), 2, (16,), dropout=0.0,
                   prediction_type="v_prediction"),
        TrainingConfig(steps=20_000, batch_size=128, lr=1e-3, warmup=500, ema_decay=0.9995,
                       loss_weight="1/alpha")),
    "anime-faces": Preset(
        "anime-faces",
        UNetConfig(64, 3, 64, (1, 2, 2, 3), 1, (16,), dropout=0.0,
                   prediction_type="v_prediction"),
        TrainingConfig(steps=20_000, batch_size=128, lr=6e-4, warmup=500, ema_decay=0.9995,
                       loss_weight="1/alpha", flip=True)),
    "cifar10-small": Preset(
        "cifar10",
        UNetConfig(32, 3, 64, (1, 2, 2, 2), 2, (16,), dropout=0.0,
                   prediction_type="v_prediction"),
        TrainingConfig(steps=40_000, batch_size=128, lr=6e-4, warmup=500, ema_decay=0.9995,
                       loss_weight="1/alpha", flip=True)),
}
