"""The DDPM paper's CIFAR-10 network: where its weights lie, and where they come from."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from ddim_lib.runtime import arguments
from ddim_lib.schedule import Schedule, linear
from ddim_lib.storage.download import DownloadError, download, verify
from ddim_lib.storage.folders import data_root
from ddim_lib.unet import UNet
from ddim_lib.weights.checkpoints import CIFAR10, WeightsNotFoundError, read_published, weights_in

NAMES = ("cifar10",)
# Published FID, 50,000 samples in 1000 steps against the training set: 3.21 (the README of
# pesser/pytorch_diffusion); 12.44 for the hub's, whose publisher says there that it is not the
# EMA (huggingface.co/google/ddpm-cifar10-32/discussions/10; the README has 12.14 for such).
VARIANTS = ("ema", "hub")

# Address and checksum: ckpt_util.py of pesser/pytorch_diffusion and of ermongroup/ddim, the same
# in both. There is no second source of these bytes. The release ddpm_ema_cifar10.zip of
# VainF/Diff-Pruning holds the same weights in diffusers' layout, but nobody has published its
# checksum: who has it, reads it with read_published.
CHECKPOINT = "ema_diffusion_cifar10_model/model-790000.ckpt"
CHECKPOINT_MD5 = "1fa350b952534ae442b1d5235cce5cd3"
CHECKPOINT_URLS = ["https://heibox.uni-heidelberg.de/f/2e4f01e2d9ee49bab1d5/?dl=1"]

# Checksums: the hub's own pages (Git LFS details). The two small files have none there, so that
# what they say is compared with what is known. hf-mirror.com serves the hub's files.
# Plain addresses, not huggingface_hub: it compares sizes alone, gives a file its name before a
# checksum could be compared, and would send the user's token to the mirror.
HUB = "ddpm-cifar10-32"
HUB_REVISION = "267b167dc01f0e4e61923ea244e8b988f84deb80"
HUB_URLS = [f"https://{host}/google/{HUB}/resolve/{HUB_REVISION}"
            for host in ("huggingface.co", "hf-mirror.com")]
HUB_WEIGHTS = {
    "diffusion_pytorch_model.safetensors":
        "1558dbe3fb093b0857d473e376b711eeda1b186c557be5e85b3a56300cd49f0f",
    "diffusion_pytorch_model.bin":
        "ac3416a548879738893e935b42cab9119f51745b62bec4b6d8375e4d86e98ea4",
}
HUB_SMALL = {"config.json": 699, "scheduler_config.json": 256}  # bytes


def load(name: str, device: str | torch.device = "cpu", *, variant: str = "ema",
         path: str | Path | None = None, download: bool = False) -> tuple[UNet, Schedule]:
    """A published network by its name, and its schedule.

    Args:
        name: ``"cifar10"``.
        device, variant, path, download: as in :func:`~ddim_lib.weights.load_pretrained`, whose
            errors it raises.
    """
    arguments.choice("name", name, NAMES)
    arguments.choice("variant", variant, VARIANTS)
    places = _places(variant, path)
    found = next((p for p in places if (p.is_file() if variant == "ema" else weights_in(p))), None)
    if found is None and download and path is None:
        found = _fetch(variant, places[0])
    if found is None:
        raise WeightsNotFoundError(
            f"the published network {name!r}, variant {variant!r}, is at none of:\n  "
            + "\n  ".join(map(str, places)) + f"\n{_how(variant, places[0])}")
    if variant == "ema":
        verify(found, md5=CHECKPOINT_MD5)
        return read_published(found, config=CIFAR10, device=device)
    weights = weights_in(found)
    verify(weights, sha256=HUB_WEIGHTS[weights.name])
    model, schedule = read_published(found, device=device)
    told = {**model.config.to_dict(), **schedule.to_dict()}
    known = {**CIFAR10.to_dict(), **linear().to_dict(), "dropout": model.config.dropout}
    if told != known:
        raise ValueError(f"{found} must describe the published network, {known}, got {told}")
    return model, schedule


# Where published files lie -----------------------------------------------------------------------

def _places(variant: str, path: str | Path | None) -> list[Path]:
    """Where the file (or the hub's folder) may lie: at a path alone, if one is given."""
    if path is not None and not Path(path).is_dir():
        return [Path(path) if variant == "ema" else Path(path).parent]
    # Without a home folder ~ stays as it is, which names no folder.
    cache = Path(os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache"))
    # The second is where the reference code puts it.
    roots = [data_root(), cache / "diffusion_models_converted"] if path is None else [Path(path)]
    names = [CHECKPOINT, Path(CHECKPOINT).name] if variant == "ema" else [HUB, "."]
    return [root / name for root in roots for name in names]


def _fetch(variant: str, place: Path) -> Path:
    try:
        if variant == "ema":
            return download(CHECKPOINT_URLS, place, md5=CHECKPOINT_MD5)
        for name, size in HUB_SMALL.items():
            download([f"{url}/{name}" for url in HUB_URLS], place / name, size=size)
        name, sha256 = next(iter(HUB_WEIGHTS.items()))
        download([f"{url}/{name}" for url in HUB_URLS], place / name, sha256=sha256)
        return place
    except DownloadError as error:
        raise DownloadError(f"{error}\n{_how(variant, place)}") from error


def _how(variant: str, place: Path) -> str:
    names = [""] if variant == "ema" else [*HUB_SMALL, next(iter(HUB_WEIGHTS))]
    urls = CHECKPOINT_URLS if variant == "ema" else [f"{HUB_URLS[0]}/{name}" for name in names]
    return (f"With a network: load_pretrained('cifar10', variant={variant!r}, download=True) or "
            f"--download fetches 143 MB once. Without: take {' and '.join(urls)} from another "
            f"machine to {place}, or say with path where it lies. The small network "
            f"'cifar10-small' ships with the library.")
