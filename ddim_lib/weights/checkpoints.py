"""Checkpoints of the papers' network in other people's layouts: read, checked, and written.

All published ones were trained with labels 0..T-1; the network subtracts the 1 itself
(``label_offset``), so ``model(x, t)`` takes t = 1..T as everywhere here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

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

CIFAR10 = UNetConfig(32, 3, 128, (1, 2, 2, 2), 2, (16,), dropout=0.1)
WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")


class WeightsNotFoundError(FileNotFoundError):
    """The weights are not there; the message says where they were sought and how to get them."""


def read_published(path: str | Path, *, config: UNetConfig | None = None, ema: bool = True,
                   device: str | torch.device = "cpu") -> tuple[UNet, Schedule]:
    """A network from somebody's checkpoint, in evaluation mode, float32, and its schedule.

    Read are: a state dict in the original names (pesser/pytorch_diffusion, ermongroup/ddim),
    with or without ``module.`` before them; the list that ermongroup/ddim saves as ckpt.pth; a
    folder in diffusers' layout (``config.json`` with the weights, flat or under ``unet/``), its
    attention in older or newer names. Tensors lie in safetensors or in a pickle that is read
    without running its code.

    A checkpoint in the original names tells channels, multipliers, blocks, attention levels and
    colours by its shapes, but neither resolution nor dropout nor the groups of the
    normalisation: these are CIFAR-10's (32, 0.1, 32) unless ``config`` says otherwise, with a
    warning where the rest is not the CIFAR-10 network. Its schedule is taken to be
    :func:`~ddim_lib.schedule.linear`. In diffusers' layout config.json says it all and is
    compared, since the tensors fit networks that compute something else; the schedule and what
    the network predicts (noise or velocity) are scheduler_config.json's, linear and noise where
    there is none.

    Args:
        path: the file or the folder.
        config: of the network; needed for tensors in diffusers' names without a config.json.
        ema: which weights of a ckpt.pth: the averaged (True) or the raw ones. Other layouts hold
            one set and do not say which.
        device: where the network shall compute.

    Raises:
        WeightsNotFoundError: nothing is there, or a folder without config.json and weights.
        ValueError: damaged, another architecture, another computation, no EMA in it.
    """
    path = Path(path)
    if not path.exists():
        raise WeightsNotFoundError(f"path must be a checkpoint or a folder; there is no {path}")
    folder, told = _model_folder(path), None
    if path.is_dir():
        if folder is None or weights_in(folder) is None:
            raise WeightsNotFoundError(f"{path} must hold config.json and one of "
                                       f"{', '.join(WEIGHTS)}, in itself or in unet/")
        path, told = weights_in(folder), _told(folder, config)  # before many bytes are read
    state = _tensors(_stored(path), ema, path)
    if not any(key.startswith(("down_blocks.", "time_embedding.")) for key in state):
        schedule, _ = _scheduler_near(folder if told else None)
        config = config or told or _infer(state, path)
        return _fill(config, schedule, state, path, device), schedule
    if folder is None and config is None:
        raise ValueError(f"{path} holds tensors in diffusers' names, which fit networks that "
                         f"compute something else: put its config.json beside it, or say with "
                         f"config what it is")
    config = told or (_told(folder, config) if folder else config)
    try:
        state = from_diffusers(state, config)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path} does not fit {config}: {error}") from error
    schedule, _ = _scheduler_near(folder)
    return _fill(config, schedule, state, path, device), schedule


def write_diffusers(folder: str | Path, model: UNet, schedule: Schedule) -> None:
    """Write a network as ``diffusers.UNet2DModel.from_pretrained(folder)`` reads it.

    The layout is that of google/ddpm-cifar10-32: everything in one folder, which
    ``DDPMPipeline.from_pretrained`` reads too.

    Args:
        folder: new or empty.
        model: the network, its weights stored as float32.
        schedule: a linear or a cosine one.

    Raises:
        FileExistsError: the folder is there and not empty.
        ValueError: diffusers has no such network or schedule.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"folder must be new or empty, {folder} is neither")
    config = model.config
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
    temporary = Path(tempfile.mkdtemp(prefix=folder.name, dir=folder.parent))
    try:
        temporary.chmod(0o755)
        save_tensors(temporary / "diffusion_pytorch_model.safetensors",
                     to_diffusers(model.state_dict(), config), {"format": "pt"})
        for name, contents in files.items():
            (temporary / name).write_text(json.dumps(contents, indent=2) + "\n")
        if folder.exists():
            folder.rmdir()
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def weights_in(folder: Path) -> Path | None:
    """The file with the tensors in a folder of diffusers' layout, safetensors first."""
    return next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)


def _model_folder(path: Path) -> Path | None:
    """Where config.json lies: beside a file, in a folder or in its unet/."""
    options = [path, path / "unet"] if path.is_dir() else [path.parent]
    return next((p for p in options if (p / "config.json").is_file()), None)


def _told(folder: Path, config: UNetConfig | None) -> UNetConfig:
    """What config.json says, which a given configuration must not contradict."""
    told = replace(_explain(folder / "config.json", config_from_diffusers),
                   prediction_type=_scheduler_near(folder)[1])
    if config is None:
        return told
    if replace(told, dropout=config.dropout) != config:
        raise ValueError(f"config must agree with {folder / 'config.json'}, which says {told}, "
                         f"got {config}")
    return config


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
    """The state dict that is meant, without ``module.`` before its names."""
    if isinstance(stored, (list, tuple)):  # ermongroup's [model, optimiser, epoch, step, EMA]
        if len(stored) not in (4, 5):
            raise ValueError(f"{path} must be a list [model, optimiser, epoch, step, EMA], it has "
                             f"{len(stored)} entries")
        if ema and len(stored) == 4:
            raise ValueError(f"{path} holds no EMA; ema=False takes the raw weights")
        stored = stored[4 if ema else 0]
    if not isinstance(stored, dict) or not stored or not all(
            isinstance(k, str) and isinstance(v, Tensor) for k, v in stored.items()):
        raise ValueError(f"{path} must hold tensors by name; it does not")
    if all(key.startswith("module.") for key in stored):
        stored = {key.removeprefix("module."): value for key, value in stored.items()}
    return stored


def _infer(state: dict[str, Tensor], path: Path) -> UNetConfig:
    """What the shapes of a state dict in the original names tell."""
    levels = _count(r"down\.(\d+)\.block\.", state)
    try:
        ch, channels = state["conv_in.weight"].shape[:2]
        widths = [state[f"down.{i}.block.0.conv1.weight"].shape[0] for i in range(levels)]
        if not levels or any(w % ch for w in widths):
            raise ValueError(f"widths {widths} are no multiples of {ch}")
        config = UNetConfig(
            CIFAR10.resolution, channels, ch, tuple(w // ch for w in widths),
            _count(r"down\.0\.block\.(\d+)\.", state),
            tuple(CIFAR10.resolution // 2**i for i in range(levels)
                  if f"down.{i}.attn.0.q.weight" in state), CIFAR10.dropout)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is not the papers' network as far as its shapes tell ({error}); "
                         f"its first tensors: {', '.join(list(state)[:3])}. If it is, say with "
                         f"config what it is") from error
    if config != CIFAR10:
        warnings.warn(f"{path.name} is not the CIFAR-10 network; its resolution cannot be read "
                      f"off, {CIFAR10.resolution} is assumed: pass config if it is another",
                      stacklevel=3)
    return config


def _count(pattern: str, state: dict[str, Tensor]) -> int:
    return len({found[1] for key in state if (found := re.match(pattern, key))})


def _fill(config: UNetConfig, schedule: Schedule, state: dict[str, Tensor], path: Path,
          device: str | torch.device) -> UNet:
    with torch.device("meta"):  # shapes alone, no memory
        model = UNet(config, schedule)
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    for what, keys in (("lacks", wanted.keys() - found.keys()),
                       ("has besides", found.keys() - wanted.keys()),
                       ("has in another shape", {k for k in wanted.keys() & found.keys()
                                                 if wanted[k] != found[k]})):
        if keys:
            raise ValueError(f"{path} does not fit {config}: it {what} {len(keys)} tensors, "
                             f"{', '.join(sorted(keys)[:3])}")
    for key, value in state.items():
        if not value.is_floating_point() or not value.isfinite().all():
            raise ValueError(f"{path} holds no finite floating-point numbers in {key}")
    copies = {key: value.detach().to(torch.float32, copy=True,
                                     memory_format=torch.contiguous_format)
              for key, value in state.items()}
    model.load_state_dict(copies, assign=True)
    return model.to(device).eval()


def _explain(path: Path, read: Callable):
    """What a JSON file says, or an error that names the file."""
    try:
        stored = json.loads(path.read_text())
        if not isinstance(stored, dict):
            raise ValueError("it must be an object")
        return read(stored)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} cannot be used: {error}") from error


def _scheduler_near(folder: Path | None) -> tuple[Schedule, str]:
    """The schedule and the prediction_type of the scheduler_config.json that is there."""
    options = [] if folder is None else [folder, folder / "scheduler"]
    options += [folder.parent / "scheduler"] if folder and folder.name == "unet" else []
    for place in options:
        if (place / "scheduler_config.json").is_file():
            return _explain(place / "scheduler_config.json", lambda stored: (
                schedule_from_diffusers(stored), stored.get("prediction_type", "epsilon")))
    return linear(), "epsilon"
