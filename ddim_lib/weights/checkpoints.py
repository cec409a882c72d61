"""Checkpoints of the papers' network in other people's layouts: read, checked, and written.

All published ones were trained with labels 0..T-1; the network subtracts the 1 itself
(``label_offset``), so ``model(x, t)`` takes t = 1..T as everywhere here.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ddim_lib.runtime import accelerator, arguments
from ddim_lib.schedule import Schedule, linear
from ddim_lib.storage.tensors import FORMAT, read_header, save_tensors
from ddim_lib.unet import UNet, UNetConfig
from ddim_lib.weights.conversion import (
    config_from_diffusers,
    diffusers_config,
    from_diffusers,
    schedule_from_diffusers,
    schedule_to_diffusers,
    to_diffusers,
)

#: The published network of the DDPM and DDIM papers.
CIFAR10 = UNetConfig(32, 3, 128, (1, 2, 2, 2), 2, (16,), dropout=0.1)
WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")


class WeightsNotFoundError(FileNotFoundError):
    """The weights are not there; the message says where they were sought and how to get them."""


def read_published(path: str | Path, *, config: UNetConfig | None = None, ema: bool = True,
                   device: str | torch.device = "cpu") -> tuple[UNet, Schedule]:
    """A network from somebody's checkpoint, in evaluation mode, float32, and its schedule.

    Read are files and folders, with tensors in safetensors or in a pickle that is read without
    running its code:

    - a file in the original names (pesser/pytorch_diffusion, ermongroup/ddim): a state dict, with
      or without ``module.`` and ``_orig_mod.`` before its names, or the list that ermongroup/ddim
      saves as ckpt.pth. It holds tensors alone: ``config`` says of which network, and the schedule
      is taken to be :func:`~ddim_lib.schedule.linear`.
    - a folder in diffusers' layout (``config.json`` with the weights, flat or under ``unet/``),
      its attention in older or newer names. config.json says what the network is, and is
      compared, since the tensors fit networks that compute something else; the schedule and what
      the network predicts (noise or velocity) are scheduler_config.json's, which must be there.

    Args:
        path: the file or the folder.
        config: of the network in a file: :data:`CIFAR10`, or what its publisher says of another.
        ema: which weights of a ckpt.pth: the averaged (True) or the raw ones. Other layouts hold
            one set and do not say which.
        device: where the network shall compute.

    Raises:
        WeightsNotFoundError: nothing is there, or a folder without config.json and weights.
        ValueError: damaged, another architecture, another computation, no EMA in it; a file
            without ``config``, or a folder with one; there is no such device.
    """
    path, device = Path(path), accelerator.named(device)
    if not path.exists():
        raise WeightsNotFoundError(f"path must be a checkpoint or a folder; there is no {path}")
    folder, schedule = None, linear()
    if path.is_dir():
        if config is not None:
            raise ValueError(f"config must be left out for a folder, whose config.json says what "
                             f"the network is; got {config} for {path}")
        folder = _model_folder(path)
        path = weights_in(folder)
        config, schedule = _described(folder)  # before many bytes are read
    state = _tensors(_stored(path), ema, path)
    if config is None:
        raise ValueError(f"config must be given for {path}, since tensors do not tell all that is "
                         f"computed with them: CIFAR10 of ddim_lib.weights.checkpoints for the "
                         f"published network, a UNetConfig for another; a folder in diffusers' "
                         f"layout has its own in config.json (--config: cifar10, or a JSON file)")
    try:
        if folder is not None:
            state = from_diffusers(state, config)
        model = fill(config, schedule, state)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path} does not fit {config}: {error}") from error
    return model.to(device).eval(), schedule


def write_diffusers(folder: str | Path, model: nn.Module, schedule: Schedule) -> None:
    """Write a network as ``diffusers.UNet2DModel.from_pretrained(folder)`` reads it.

    The layout is that of google/ddpm-cifar10-32: everything in one folder, which
    ``DDPMPipeline.from_pretrained`` reads too.

    Args:
        folder: new or empty.
        model: the network, as in :func:`~ddim_lib.weights.save_weights`; its weights are stored as
            float32.
        schedule: a linear or a cosine one.

    Raises:
        FileExistsError: the folder is there and not empty.
        TypeError: the model is no network of this library.
        ValueError: diffusers has no such network or schedule, or the weights are not finite.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"folder must be new or empty, {folder} is neither")
    network = bare(model)
    config = network.config
    if config.label_offset != 1:
        raise ValueError(f"label_offset must be 1 for diffusers, whose labels are 0..T-1, got "
                         f"{config.label_offset}")
    files = {
        "config.json": {"_class_name": "UNet2DModel", "act_fn": "silu",
                        **diffusers_config(config)},
        "scheduler_config.json": {"_class_name": "DDPMScheduler",
                                  "prediction_type": config.prediction_type,
                                  "clip_sample": True, "variance_type": "fixed_large",
                                  **schedule_to_diffusers(schedule)},
        "model_index.json": {"_class_name": "DDPMPipeline",
                             "scheduler": ["diffusers", "DDPMScheduler"],
                             "unet": ["diffusers", "UNet2DModel"]},
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=folder.parent,
                                     ignore_cleanup_errors=True) as made:
        temporary = Path(made)
        temporary.chmod(0o755)
        save_tensors(temporary / "diffusion_pytorch_model.safetensors",
                     to_diffusers(tensors_in(network, schedule, torch.float32), config),
                     {"format": "pt"})
        for name, contents in files.items():
            (temporary / name).write_text(json.dumps(contents, indent=2) + "\n")
        if folder.exists():
            folder.rmdir()
        os.replace(temporary, folder)


def weights_in(folder: Path) -> Path | None:
    """The file with the tensors in a folder of diffusers' layout, safetensors first."""
    return next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)


def fill(config: UNetConfig, schedule: Schedule, state: dict[str, Tensor]) -> UNet:
    """The network with these tensors, as float32.

    Args:
        config: of the network.
        schedule: the one that it was trained with.
        state: its tensors, of any floating-point type.

    Raises:
        ValueError: it has other tensors, or not finite ones; the message names them.
        RuntimeError: a size that no tensor can have.
    """
    model = compare(config, schedule, state)
    own = {key: value.detach().to(torch.float32, copy=True, memory_format=torch.contiguous_format)
           for key, value in state.items()}
    for key, value in own.items():
        arguments.finite(key, value)
    model.load_state_dict(own, assign=True)
    return model


def compare(config: UNetConfig, schedule: Schedule, state: dict[str, Tensor]) -> UNet:
    """Whether tensors are those of a network, which is returned without any of its own.

    Args:
        config, schedule, state: as in :func:`fill`, whose errors about names and shapes it raises.
    """
    with torch.device("meta"):  # shapes alone: a stranger's description may ask for any size
        model = UNet(config, schedule)
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    differ = (("lacks", wanted.keys() - found.keys()),
              ("has besides", found.keys() - wanted.keys()),
              ("has in another shape", {k for k in wanted.keys() & found.keys()
                                        if wanted[k] != found[k]}))
    wrong = [f"it {what} {len(keys)} tensors, {', '.join(sorted(keys)[:3])}"
             for what, keys in differ if keys]
    if wrong:
        raise ValueError("; ".join(wrong))
    return model


def bare(model: nn.Module) -> UNet:
    """The network in what torch.compile, DataParallel or AveragedModel has made of it.

    Args:
        model: one of these, or the network itself.

    Raises:
        TypeError: it is none of these.
    """
    network = model
    while not isinstance(network, UNet):
        network = getattr(network, "_orig_mod", getattr(network, "module", None))
        if network is None:
            raise TypeError(f"model must be a UNet of this library, got {type(model).__name__}")
    return network


def tensors_in(network: UNet, schedule: Schedule, dtype: torch.dtype) -> dict[str, Tensor]:
    """What a file of a network shall hold, so that it can be read again.

    Args:
        network: whose tensors; parts of it may be compiled.
        schedule: the one that it was trained with.
        dtype: of the result.

    Raises:
        ValueError: they are not those of its configuration, not finite, or not finite in dtype.
    """
    state = unwrapped(network.state_dict())
    compare(network.config, schedule, state)
    for key, value in state.items():
        arguments.finite(f"{key} of the model", value)
        state[key] = value.to(dtype)
        if not state[key].isfinite().all():
            raise ValueError(f"dtype must be one that holds the weights, got {dtype}, where {key} "
                             f"becomes infinite: it reaches {value.abs().max().item():.3g}")
    return state


def unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by the network's own names, without those of what was put around it or its parts.

    torch.compile writes ``_orig_mod.`` before a name, DataParallel ``module.``, and AveragedModel
    counts in ``n_averaged`` besides. No name of the network has such a part.

    Args:
        state: tensors by their names.
    """
    return {".".join(part for part in key.split(".") if part not in ("_orig_mod", "module")): value
            for key, value in state.items() if key != "n_averaged"}


def _model_folder(path: Path) -> Path:
    """Where config.json and the weights lie in a folder of diffusers' layout."""
    for folder in (path, path / "unet"):
        if (folder / "config.json").is_file() and weights_in(folder):
            return folder
    raise WeightsNotFoundError(f"{path} must hold config.json and one of {', '.join(WEIGHTS)}, in "
                               f"itself or in unet/")


def _described(folder: Path) -> tuple[UNetConfig, Schedule]:
    """What config.json and scheduler_config.json say, which may lie in scheduler/ beside unet/."""
    config = _explain(folder / "config.json", config_from_diffusers)
    for place in (folder, folder.parent / "scheduler"):
        if (place / "scheduler_config.json").is_file():
            schedule, kind = _explain(place / "scheduler_config.json", lambda stored: (
                schedule_from_diffusers(stored), stored.get("prediction_type", "epsilon")))
            return replace(config, prediction_type=kind), schedule
    raise ValueError(f"{folder} lacks scheduler_config.json (in itself, or in scheduler/ beside "
                     f"unet/), which says the schedule and what the network predicts")


def _explain(path: Path, read: Callable):
    """What a JSON file says, or an error that names the file."""
    try:
        stored = json.loads(path.read_text())
        if not isinstance(stored, dict):
            raise ValueError("it must be an object")
        return read(stored)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} cannot be used: {error}") from error


def _stored(path: Path):
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        if read_header(path).get("format") == FORMAT:
            raise ValueError(f"{path} is this library's own format: load_weights reads it")
        return load_file(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # damaged bytes raise nearly anything
        raise ValueError(f"{path} is no checkpoint that can be read safely: it is damaged, or it "
                         f"would run code of its own, which is refused ({type(error).__name__})"
                         ) from error


def _tensors(stored, ema: bool, path: Path) -> dict[str, Tensor]:
    """The state dict that is meant, by the network's own names."""
    if isinstance(stored, (list, tuple)):  # ermongroup's [model, optimiser, epoch, step, EMA]
        if len(stored) not in (4, 5):
            raise ValueError(f"{path} must be a list [model, optimiser, epoch, step, EMA], it has "
                             f"{len(stored)} entries")
        if ema and len(stored) == 4:
            raise ValueError(f"{path} holds no EMA; ema=False (--raw) takes the raw weights")
        stored = stored[4 if ema else 0]
    if not isinstance(stored, dict) or not stored:
        raise ValueError(f"{path} must hold tensors by name, it holds {arguments.shown(stored)}")
    other = {str(k): v for k, v in stored.items()
             if not isinstance(k, str) or not isinstance(v, Tensor)}
    if other:
        nested = [k for k, v in other.items() if isinstance(v, dict) and v
                  and all(isinstance(one, Tensor) for one in v.values())]
        told = ", ".join(f"{k} ({type(v).__name__})" for k, v in list(other.items())[:10])
        hint = f"; save {' or '.join(f'the entry {k}' for k in nested)} alone" if nested else ""
        raise ValueError(f"{path} must hold tensors by name, it holds {told}{hint}")
    stored = unwrapped(stored)
    for key, value in stored.items():
        if not value.is_floating_point() or not value.isfinite().all():
            raise ValueError(f"{path} holds no finite floating-point numbers in {key}")
    return stored
