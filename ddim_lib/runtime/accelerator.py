"""Where to compute: on the accelerator that is there, else on the CPU."""

from __future__ import annotations

import torch


def device() -> torch.device:
    """CUDA, Apple's GPU (``"mps"``), or another accelerator that PyTorch sees here; else the CPU.

    The one place that chooses. Networks go where ``device`` of
    :func:`~ddim_lib.weights.load_pretrained` says, and what is computed follows the network.
    """
    if torch.accelerator.is_available():
        return torch.accelerator.current_accelerator()
    return torch.device("cpu")
