"""Where to compute: on the accelerator that is there, else on the CPU."""

from __future__ import annotations

import torch

from ddim_lib.runtime.arguments import shown


def device() -> torch.device:
    """CUDA, Apple's GPU (``"mps"``), or another accelerator that PyTorch sees here; else the CPU.

    The one place that chooses. Networks go where ``device`` of
    :func:`~ddim_lib.weights.load_pretrained` says, and what is computed follows the network.
    """
    if torch.accelerator.is_available():
        return torch.accelerator.current_accelerator()
    return torch.device("cpu")


def named(value: object) -> torch.device:
    """A device by its name.

    Args:
        value: such as ``"cpu"`` or ``"cuda:0"``, or a torch.device.

    Raises:
        ValueError: there is no such device.
    """
    try:
        found = torch.device(value)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"device must be one that PyTorch knows, such as cpu or cuda, got "
                         f"{shown(value)}") from error
    if found.type not in ("cpu", "meta", device().type):
        raise ValueError(f"device must be there, got {str(found)!r}: PyTorch sees no "
                         f"{found.type.upper()} device")
    return found
