"""Weights on disk: safetensors that say what they are, and how to read others'."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import torch
from torch import Tensor

from ddim_lib.schedule import Schedule, from_dict
from ddim_lib.unet import UNet, UNetConfig

FORMAT = "ddim_lib 1"


def data_folder() -> Path:
    """The shipped data: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent
    for folder in (here / "data", here.parent / "data"):
        if (folder / "weights").is_dir():
            return folder
    raise FileNotFoundError(f"the shipped data are missing: neither {here / 'data'} nor "
                            f"{here.parent / 'data'} holds a folder weights")


def available() -> list[str]:
    """The names that :func:`load_pretrained` knows: the networks that ship with the library."""
    found = sorted((data_folder() / "weights").glob("*.safetensors"))
    return [path.stem for path in found if "unet" in _header(path)]


def load_pretrained(name: str, device: str | torch.device = "cpu") -> tuple[UNet, Schedule]:
    """A shipped network, ready to sample with, and the schedule it was trained with.

    Raises:
        ValueError: no network of this name ships.
    """
    if name not in available():
        raise ValueError(f"name must be one of {', '.join(available())}, got {name!r}")
    return load_weights(data_folder() / "weights" / f"{name}.safetensors", device)


def load_weights(path: str | Path, device: str | torch.device = "cpu") -> tuple[UNet, Schedule]:
    """A network written by :func:`save_weights`, in evaluation mode, float32.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not such a file, or is damaged.
    """
    from safetensors.torch import load_file

    header = _header(Path(path))
    if header.get("format") != FORMAT or "unet" not in header:
        raise ValueError(f"{path} holds no network of this library: its format is "
                         f"{header.get('format')!r}, expected {FORMAT!r} with an entry 'unet'")
    try:
        model = UNet(UNetConfig(**json.loads(header["unet"])))
        schedule = from_dict(json.loads(header["schedule"]))
        model.load_state_dict({key: value.float() for key, value in load_file(path).items()})
    except (RuntimeError, TypeError, KeyError) as error:
        raise ValueError(f"the tensors of {path} do not fit its own description: {error}"
                         ) from error
    return model.to(device).eval(), schedule


def save_weights(path: str | Path, model: UNet, schedule: Schedule, *,
                 dtype: torch.dtype = torch.float32, **facts) -> None:
    """Write a network as safetensors, with its architecture, schedule and history.

    Args:
        path: the file; written beside itself first, then renamed.
        dtype: of the stored tensors; float16 halves the file.
        facts: anything JSON can hold: data set, steps, EMA, seed, hardware, date, quality.

    Raises:
        ValueError: a fact is named format, unet or schedule, or the schedule is a table of
            one's own, which its name cannot rebuild.
    """
    taken = {"format", "unet", "schedule"} & facts.keys()
    if taken:
        raise ValueError(f"facts must not be named {sorted(taken)}: the file says these itself")
    header = {"format": FORMAT, "unet": json.dumps(model.config.to_dict()),
              "schedule": json.dumps(schedule.to_dict()),
              **{key: json.dumps(value) for key, value in facts.items()}}
    save_tensors(path, {k: v.to(dtype) for k, v in model.state_dict().items()}, header)


def save_tensors(path: str | Path, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
    """Write tensors and a header of strings as one safetensors file, atomically."""
    from safetensors.torch import save_file

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary, header)
        os.chmod(temporary, 0o644)  # safetensors writes for the owner alone
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_facts(path: str | Path) -> dict:
    """What a weights file says of itself, without reading its tensors."""
    return {key: value if key == "format" else json.loads(value)
            for key, value in _header(Path(path)).items()}


def _header(path: Path) -> dict[str, str]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"path must be a weights file; there is no {path}")
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file, or is damaged: {error}") from error


# diffusers' UNet2DModel is the same network under other names.
_BLOCK = [("temb_proj", "time_emb_proj"), ("nin_shortcut", "conv_shortcut")]
_ATTENTION = [("norm", "group_norm"), ("q", "to_q"), ("k", "to_k"), ("v", "to_v"),
              ("proj_out", "to_out.0")]
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def to_diffusers(state: dict[str, Tensor], config: UNetConfig) -> dict[str, Tensor]:
    """Rename this library's (and the original checkpoints') tensors to UNet2DModel's.

    Args:
        state: ``UNet(config).state_dict()``.
        config: of the network; its number of levels decides the names.
    """
    return {_to_diffusers_key(key, len(config.ch_mult)): _reshape(key, value, flat=True)
            for key, value in state.items()}


def from_diffusers(state: dict[str, Tensor], config: UNetConfig) -> dict[str, Tensor]:
    """The way back; also from older files, whose attention says query, key, value, proj_attn.

    Raises:
        ValueError: a tensor that the network of this configuration does not have.
    """
    with torch.device("meta"):  # names alone, no memory
        ours = {_to_diffusers_key(key, len(config.ch_mult)): key
                for key in UNet(config).state_dict()}
    renamed = {}
    for key, value in state.items():
        for old, new in _OLD_ATTENTION.items():
            key = re.sub(rf"(attentions\.\d+)\.{old}\.", rf"\1.{new}.", key)
        if key not in ours:
            raise ValueError(f"state must hold the tensors of this network in diffusers' names; "
                             f"{key!r} is not among them")
        renamed[ours[key]] = _reshape(ours[key], value, flat=False)
    return renamed


def diffusers_config(config: UNetConfig) -> dict:
    """The arguments with which UNet2DModel computes what :class:`UNet` computes.

    A wrong one loads without a word and gives wrong pictures.

    Raises:
        ValueError: ch_mult does not start with 1; UNet2DModel has no such network.
    """
    if config.ch_mult[0] != 1:
        raise ValueError(f"ch_mult must start with 1 for diffusers, got {config.ch_mult}")
    attends = [r in config.attn_resolutions for r in config.resolutions]
    return {
        "sample_size": config.resolution, "in_channels": config.in_channels,
        "out_channels": config.in_channels, "layers_per_block": config.num_res_blocks,
        "block_out_channels": tuple(config.ch * m for m in config.ch_mult),
        "down_block_types": tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attends),
        "up_block_types": tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in attends[::-1]),
        "downsample_padding": 0, "flip_sin_to_cos": False, "freq_shift": 1, "norm_eps": 1e-6,
        "norm_num_groups": config.groups, "attention_head_dim": None,
        "mid_block_scale_factor": 1, "dropout": config.dropout,
    }


def _to_diffusers_key(key: str, levels: int) -> str:
    for pattern, new in (
        (r"temb\.dense\.0\.", "time_embedding.linear_1."),
        (r"temb\.dense\.1\.", "time_embedding.linear_2."),
        (r"norm_out\.", "conv_norm_out."),
        (r"(down|up)\.(\d+)\.block\.", r"\1_blocks.\2.resnets."),
        (r"(down|up)\.(\d+)\.attn\.", r"\1_blocks.\2.attentions."),
        (r"down\.(\d+)\.downsample\.", r"down_blocks.\1.downsamplers.0."),
        (r"up\.(\d+)\.upsample\.", r"up_blocks.\1.upsamplers.0."),
        (r"mid\.block_1\.", "mid_block.resnets.0."),
        (r"mid\.block_2\.", "mid_block.resnets.1."),
        (r"mid\.attn_1\.", "mid_block.attentions.0."),
    ):
        key = re.sub("^" + pattern, new, key)
    key = re.sub(r"^up_blocks\.(\d+)", lambda m: f"up_blocks.{levels - 1 - int(m[1])}", key)
    names = _ATTENTION if ".attentions." in key else _BLOCK if ".resnets." in key else []
    for ours, theirs in names:
        key = re.sub(rf"(\.\d+)\.{ours}\.(weight|bias)$", rf"\1.{theirs}.\2", key)
    return key


def _reshape(our_key: str, value: Tensor, flat: bool) -> Tensor:
    """Attention's 1x1 convolutions are (C, C, 1, 1) here and (C, C) there."""
    if re.search(r"attn(_1|\.\d+)\.(q|k|v|proj_out)\.weight$", our_key):
        return value.flatten(1) if flat else value.reshape(*value.shape[:2], 1, 1)
    return value
