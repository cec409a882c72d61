"""The number type that a network computes in: fp32, or half of it through PyTorch's autocast."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from ddim_lib.runtime.arguments import choice

#: What ``autocast`` may be, in training and in sampling.
AUTOCAST = ("auto", "bf16", "fp16", "fp32")
_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def resolve(autocast: str, device: torch.device) -> str:
    """Which type ``autocast`` means on this device: "bf16", "fp16" or "fp32".

    Args:
        autocast: ``"auto"`` (:func:`best_precision`), ``"bf16"``, ``"fp16"`` (CUDA alone) or
            ``"fp32"``.
        device: where the network computes.

    Raises:
        ValueError: it is none of these, or fp16 without CUDA.
    """
    check(autocast)
    if autocast == "fp16" and device.type != "cuda":
        where = "a CPU" if device.type == "cpu" else device.type
        raise ValueError(f"autocast must be auto, bf16 or fp32 on {where}, got fp16")
    return best_precision(device) if autocast == "auto" else autocast


def check(autocast: str) -> None:
    """A clear error where ``autocast`` is none of :data:`AUTOCAST`."""
    choice("autocast", autocast, AUTOCAST)


def computing_in(precision: str, device: torch.device) -> AbstractContextManager:
    """``with computing_in("bf16", device):`` multiplies and convolves in that type.

    Weights and what PyTorch thinks too delicate stay in float32.

    Args:
        precision: what :func:`resolve` has returned.
        device: where the network computes.
    """
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, _TYPES[precision])


def best_precision(device: torch.device) -> str:
    """The type this device multiplies fastest in without losing the training.

    bf16 on GPUs since Ampere and on CPUs with instructions for it; fp16 on older GPUs (a T4
    has no bf16, and PyTorch would emulate it); fp32 elsewhere.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    if device.type == "cpu":
        # Asked by name: these have no public form, and older releases lack them.
        questions = (getattr(torch.cpu, f"_is_{name}_supported", None)
                     for name in ("avx512_bf16", "amx_tile"))
        if any(ask is not None and ask() for ask in questions):
            return "bf16"
    return "fp32"
