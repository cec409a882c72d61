"""A device that is not there: tensors that say they are on CUDA, and compute on the CPU.

Values are real, so that a whole walk or a training step can be compared with the CPU's. What a GPU
refuses is an error here too: tensors of two devices in one operation, and float64, which Apple's
GPUs lack.
"""

from __future__ import annotations

from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten
DEVICE = torch.device("cuda")
COPIES = (aten._to_copy.default, aten.copy_.default)


class Refused(RuntimeError):
    """What a GPU would not do."""


class Generator(torch.Generator):
    """The CPU's numbers, for whatever device."""

    def __new__(cls, device="cpu"):
        return super().__new__(cls)


class Elsewhere(torch.Tensor):
    """One tensor on the device; ``held`` is what it holds, on the CPU."""

    device, is_cuda, is_meta = DEVICE, True, False

    @staticmethod
    def __new__(cls, held):
        # Inside it is on "meta", for which autograd starts no thread and asks no driver.
        return torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), dtype=held.dtype, device="meta")

    def __init__(self, held):
        self.held = held

    # torch's own are for no subclass.
    def __format__(self, spec):
        return format(self.held, spec)

    def tolist(self):
        return self.held.tolist()

    def __reduce_ex__(self, protocol):
        return self.held.__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


def _run(function, args, kwargs):
    tensors = [a for a in tree_leaves((args, kwargs)) if isinstance(a, torch.Tensor)]
    there = [a for a in tensors if isinstance(a, Elsewhere)]
    # A GPU takes a scalar from the CPU, and indices into a tensor of its own.
    here = [a for a in tensors if not isinstance(a, Elsewhere) and a.ndim]
    if function is aten.index.Tensor and isinstance(args[0], Elsewhere):
        here = []
    if there and here and function not in COPIES:
        raise Refused(f"{function}: shapes {[tuple(a.shape) for a in here]} stay on the CPU")
    asked = kwargs.get("device")
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    goes_there = torch.device(asked).type != "cpu" if asked is not None else \
        isinstance(args[0], Elsewhere) if function is aten.copy_.default else bool(there)

    def back(result):
        if not isinstance(result, torch.Tensor) or not goes_there:
            return result
        if result.dtype == torch.float64:
            raise Refused(f"{function}: float64")
        # What is changed in place stays the tensor that it was.
        same = [a for a in there if a.held is result]
        return same[0] if same else Elsewhere(result)

    args, kwargs = tree_map(lambda a: a.held if isinstance(a, Elsewhere) else a, (args, kwargs))
    return tree_map(back, function(*args, **kwargs))


@contextmanager
def gpu(monkeypatch):
    """PyTorch with such a device, which the library finds."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda *options, **named: DEVICE)
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "none")
    monkeypatch.setattr(torch.cuda, "get_rng_state", torch.get_rng_state)
    monkeypatch.setattr(torch.cuda, "set_rng_state", torch.set_rng_state)
    monkeypatch.setattr(torch, "Generator", Generator)
    swap = torch.__future__.get_swap_module_params_on_conversion()
    lift = torch._C._only_lift_cpu_tensors()
    torch._C._ensureCUDADeviceGuardSet()
    torch.__future__.set_swap_module_params_on_conversion(True)  # a parameter takes another class
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor makes on the CPU, and copies
    try:
        with _Mode():
            yield DEVICE
    finally:
        torch.__future__.set_swap_module_params_on_conversion(swap)
        torch._C._set_only_lift_cpu_tensors(lift)
