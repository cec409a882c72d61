"""The library, read without what it computes with: its pages show names, signatures and words.

Sphinx's mock takes the place of whole packages. What a signature names, a class derives from or
isinstance asks for must be a class, and is one here, under its own name.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys

from ddim_shared.repository import ROOT
from sphinx.ext.autodoc.mock import mock

PACKAGES = ["torch", "numpy", "tqdm"]
# Where the library finds a class, its name, and the module that it says it is from.
CLASSES = [
    ("torch", "Tensor", "torch"),
    ("torch", "Generator", "torch._C"),
    ("torch", "device", "torch"),
    ("torch", "dtype", "torch"),
    ("torch.nn", "Module", "torch.nn.modules.module"),
    ("numpy", "ndarray", "numpy"),
    ("numpy", "generic", "numpy"),
]


def load() -> None:
    """Import every module of the library; in a process that computes, as it is."""
    if "torch" in sys.modules:
        return
    sys.path.insert(0, str(ROOT))
    with mock(PACKAGES):
        for place, name, module in CLASSES:
            setattr(importlib.import_module(place), name, type(name, (), {"__module__": module}))
        library = importlib.import_module("ddim_lib")
        for found in pkgutil.walk_packages(library.__path__, "ddim_lib."):
            importlib.import_module(found.name)
