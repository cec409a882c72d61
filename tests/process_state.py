"""What a process keeps from one test file to the next: it must be the same before and after."""

import locale
import logging
import os
import signal
import sys

import torch

#: What a plain installation leaves out, which tests therefore take away for a while.
TAKEN_AWAY = {"ipywidgets", "matplotlib", "mlxtend", "torchmetrics", "torchvision"}
#: The running test's name, by pytest; the folders that torch.compile and Matplotlib choose for
#: themselves once and for all (Matplotlib where the home folder takes no files).
OWN = {"PYTEST_CURRENT_TEST", "TORCHINDUCTOR_CACHE_DIR", "MPLCONFIGDIR"}


def snapshot() -> dict[str, object]:
    """Everything here that a test could change and a later file could feel, by name."""
    state = {f"environment {key}": value for key, value in os.environ.items() if key not in OWN}
    state |= {
        "working folder": os.getcwd(), "umask": _umask(), "locale": locale.setlocale(locale.LC_ALL),
        "Ctrl-C": signal.getsignal(signal.SIGINT), "SIGTERM": signal.getsignal(signal.SIGTERM),
        "sys.path": list(sys.path), "sys.argv": list(sys.argv),
        "standard streams": (sys.stdin, sys.__stdout__, sys.__stderr__),
        "log level": logging.getLogger().level,
        "default dtype": torch.get_default_dtype(), "default device": torch.get_default_device(),
        "threads": torch.get_num_threads(), "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "processes": torch.distributed.is_available() and torch.distributed.is_initialized(),
        "modules of another copy": _of_another_copy(),
    }
    if "docutils.nodes" in sys.modules:
        from docutils import nodes
        from docutils.parsers.rst import directives, roles

        state |= {"docutils' nodes": {name for name in vars(nodes.GenericNodeVisitor)
                                      if name.startswith("visit_")},
                  "docutils' directives": set(directives._directives),
                  "docutils' roles": set(roles._roles)}
    plt = sys.modules.get("matplotlib.pyplot")
    if plt:
        # The backend is chosen at the first figure, or by whoever names it, and then for good.
        chosen = {"backend", "backend_fallback"}
        state["matplotlib settings"] = {key: plt.rcParams[key] for key in plt.rcParams
                                        if key not in chosen}
    # Before its import there is none: the file that imports it may not leave one either.
    state["open figures"] = plt.get_fignums() if plt else []
    return state


def _of_another_copy() -> list[str]:
    """Modules whose package was put back without them: their classes are not the package's."""
    parts = [name.rpartition(".") for name, module in sys.modules.items()
             if module and name.partition(".")[0] in TAKEN_AWAY]
    return sorted(f"{package}.{own}" for package, _, own in parts
                  if package in sys.modules and not hasattr(sys.modules[package], own))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def changed(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """What is not as it was, a line each; what a module brought by its import is no change."""
    return [f"{name}: {before[name]!r} became {after.get(name)!r}"
            for name in before if name not in after or before[name] != after[name]] + [
        f"{name}: new, {after[name]!r}" for name in after
        if name.startswith("environment ") and name not in before]
