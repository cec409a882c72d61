"""Weights on disk: safetensors that say what they are."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from ddim_lib.runtime import accelerator, arguments
from ddim_lib.schedule import Schedule, from_dict
from ddim_lib.storage.folders import data_folder
from ddim_lib.storage.tensors import FORMAT, read_header, save_tensors
from ddim_lib.unet import UNet, UNetConfig
from ddim_lib.weights import published
from ddim_lib.weights.checkpoints import bare, fill, tensors_in, unwrapped


def available() -> list[str]:
    """The networks that ship with the library, by the names that :func:`load_pretrained` knows."""
    found = sorted((data_folder() / "weights").glob("*.safetensors"))
    return [path.stem for path in found if "unet" in read_header(path)]


def load_pretrained(name: str, device: str | torch.device = "cpu", *, variant: str | None = None,
                    path: str | Path | None = None, download: bool = False
                    ) -> tuple[UNet, Schedule]:
    """A trained network, ready to sample with, and the schedule it was trained with.

    Two kinds: those that ship with the library (:func:`available`), and ``"cifar10"``, the
    published network of the DDPM paper (35.7 M parameters, 143 MB), which must be fetched once:
    ``load_pretrained("cifar10", download=True)``. Its checksum is compared at each loading.

    Args:
        name: a shipped network, or ``"cifar10"``.
        device: where it shall compute.
        variant: for ``"cifar10"`` alone: ``"ema"`` (the default), the averaged weights that
            the papers' results come from, published FID 3.21; or ``"hub"``, the files of
            google/ddpm-cifar10-32, which are **not** averaged, published FID about 12.4.
        path: for ``"cifar10"`` alone: the published file, or the folder that holds it; where
            left out, the data folder and the reference code's cache are searched.
        download: fetch published weights into the data folder, if they are nowhere; a path is
            only read.

    Raises:
        ValueError: an unknown name or variant, or a choice that a shipped network does not have.
        WeightsNotFoundError: published weights are not there (a FileNotFoundError).
        ChecksumError: a file there is not the published one (a ValueError).
        DownloadError: no source gave it (an OSError).
        ImportError: it must be fetched, and the package pooch is missing.
    """
    if name in published.NAMES:
        return published.load(name, device, variant=variant or "ema", path=path, download=download)
    if name not in available():
        raise ValueError(f"name must be one of {', '.join(available())} (shipped) or "
                         f"{', '.join(published.NAMES)} (published, to be fetched), got {name!r}")
    if variant is not None or path is not None:
        raise ValueError(f"variant and path are for {', '.join(published.NAMES)} alone; {name} "
                         f"ships with the library (other files are read by load_weights)")
    return load_weights(data_folder() / "weights" / f"{name}.safetensors", device)


def load_weights(path: str | Path, device: str | torch.device = "cpu") -> tuple[UNet, Schedule]:
    """A network written by :func:`save_weights`, in evaluation mode, float32.

    Args:
        path: the file.
        device: where the network shall compute.

    Returns:
        the network, and the schedule that it was trained with.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not such a file, or is damaged; there is no such device.
    """
    from safetensors.torch import load_file

    device = accelerator.named(device)
    header = read_header(path)
    if header.get("format") != FORMAT or "unet" not in header:
        raise ValueError(f"{path} holds no network of this library: its format is "
                         f"{header.get('format')!r}, expected {FORMAT!r} with an entry 'unet'")
    try:
        config = UNetConfig(**json.loads(header["unet"]))
        schedule = from_dict(json.loads(header["schedule"]))
        model = fill(config, schedule, unwrapped(load_file(path)))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: what the file says of itself is damaged, it is not JSON "
                         f"({error})") from error
    except (ValueError, RuntimeError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"the tensors of {path} do not fit its own description: {error}"
                         ) from error
    return model.to(device).eval(), schedule


#: What weights may be stored in.
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def save_weights(path: str | Path, model: nn.Module, schedule: Schedule, *,
                 dtype: torch.dtype = torch.float32, **facts) -> None:
    """Write a network as safetensors, with its architecture, schedule and history.

    Args:
        path: the file; written beside itself first, then renamed.
        model: the network, a :class:`~ddim_lib.unet.UNet`; or what torch.compile, DataParallel or
            AveragedModel has made of one.
        schedule: the one that it was trained with, linear or cosine.
        dtype: of the stored tensors, one of :data:`DTYPES`; float16 halves the file.
        facts: anything JSON can hold: data set, steps, EMA, seed, hardware, date, quality.

    Raises:
        TypeError: the model is none of these, or JSON cannot hold a fact.
        ValueError: the weights are not finite, or not in this dtype; the network has other tensors
            than its configuration says; a fact is named format, unet or schedule; the schedule is a
            table of one's own, which its name cannot rebuild, or another one than the network
            computes with.
    """
    network = bare(model)
    network.check_schedule(schedule)
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(map(str, DTYPES))}, got {dtype!r}")
    taken = {"format", "unet", "schedule"} & facts.keys()
    if taken:
        raise ValueError(f"facts must not be named {sorted(taken)}: the file says these itself")
    header = {"format": FORMAT, "unet": json.dumps(network.config.to_dict()),
              "schedule": json.dumps(schedule.to_dict()),
              **{key: arguments.json_text(key, value) for key, value in facts.items()}}
    save_tensors(path, tensors_in(network, schedule, dtype), header)


def read_facts(path: str | Path) -> dict:
    """What a weights file says of itself, without reading its tensors.

    Args:
        path: a file of :func:`save_weights`.

    Returns:
        ``format``, and what was given as facts; of a network also ``unet`` and ``schedule``.
    """
    return {key: value if key == "format" else json.loads(value)
            for key, value in read_header(path).items()}
