"""diffusers' UNet2DModel is this library's network in other words: names, arguments, schedule."""

from __future__ import annotations

import re
from dataclasses import replace

import torch
from torch import Tensor

from ddim_lib.schedule import Schedule, cosine, linear
from ddim_lib.unet import PREDICTION_TYPES, UNet, UNetConfig

# This library's (and the original checkpoints') names to diffusers', one after the other.
_NAMES = (
    (r"^temb\.dense\.0\.", "time_embedding.linear_1."),
    (r"^temb\.dense\.1\.", "time_embedding.linear_2."),
    (r"^norm_out\.", "conv_norm_out."),
    (r"^(down|up)\.(\d+)\.block\.", r"\1_blocks.\2.resnets."),
    (r"^(down|up)\.(\d+)\.attn\.", r"\1_blocks.\2.attentions."),
    (r"^(down|up)\.(\d+)\.(down|up)sample\.", r"\1_blocks.\2.\3samplers.0."),
    (r"^mid\.block_1\.", "mid_block.resnets.0."),
    (r"^mid\.block_2\.", "mid_block.resnets.1."),
    (r"^mid\.attn_1\.", "mid_block.attentions.0."),
    (r"(resnets\.\d+)\.temb_proj\.", r"\1.time_emb_proj."),
    (r"(resnets\.\d+)\.nin_shortcut\.", r"\1.conv_shortcut."),
    (r"(attentions\.\d+)\.norm\.", r"\1.group_norm."),
    (r"(attentions\.\d+)\.(q|k|v)\.", r"\1.to_\2."),
    (r"(attentions\.\d+)\.proj_out\.", r"\1.to_out.0."),
)
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

    Args:
        state: UNet2DModel's tensors.
        config: of the network that they belong to.

    Raises:
        ValueError: a tensor that the network of this configuration does not have, or that comes
            twice, in older and newer names.
    """
    with torch.device("meta"):  # names alone, no memory
        # The tensors are the same ones whatever the network predicts.
        network = UNet(replace(config, prediction_type="epsilon"))
        ours = {_to_diffusers_key(key, len(config.ch_mult)): key for key in network.state_dict()}
    renamed = {}
    for key, value in state.items():
        for old, new in _OLD_ATTENTION.items():
            key = re.sub(rf"(attentions\.\d+)\.{old}\.", rf"\1.{new}.", key)
        if key not in ours:
            raise ValueError(f"state must hold the tensors of this network in diffusers' names, "
                             f"each once; {key!r} is not among them or comes twice")
        name = ours.pop(key)
        renamed[name] = _reshape(name, value, flat=False)
    return renamed


def diffusers_config(config: UNetConfig) -> dict:
    """The arguments with which UNet2DModel computes what this library's network computes.

    A wrong one loads without a word and gives wrong pictures.

    Args:
        config: of the network.

    Raises:
        ValueError: ch_mult does not start with 1, UNet2DModel has no such network; or there are
            classes, of which nothing in num_class_embeds could say that the last is "no label".
    """
    if config.classes:
        raise ValueError(f"classes must be 0 for diffusers, whose labels have no 'no label' among "
                         f"them, got {config.classes}")
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


# What this library's network computes where UNet2DModel has a choice that diffusers_config leaves
# to its default. Older files do not name all of these, and older UNet2DModels know no others.
_FIXED = {
    "center_input_sample": False, "time_embedding_type": "positional", "act_fn": "silu",
    "mid_block_type": "UNetMidBlock2D", "downsample_type": "conv", "upsample_type": "conv",
    "resnet_time_scale_shift": "default", "add_attention": True, "_class_name": "UNet2DModel",
}


def config_from_diffusers(stored: dict) -> UNetConfig:
    """The network that UNet2DModel builds of these arguments, if it is this library's.

    The tensors of another network may fit all the same and give wrong pictures without a
    word; so every argument is compared, and all of :func:`diffusers_config` but the dropout, which
    is 0 where it is left out, must be there.

    Args:
        stored: the contents of config.json.

    Raises:
        ValueError: UNet2DModel would compute something else, or an argument is missing; the
            message names each.
    """
    missing = sorted(diffusers_config(UNetConfig()).keys() - {"dropout"} - stored.keys())
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}: it must have all arguments of "
                         f"UNet2DModel that decide what is computed")
    size, widths = stored["sample_size"], stored["block_out_channels"]
    kinds, dropout = stored["down_block_types"], stored.get("dropout", 0.0)
    try:
        config = UNetConfig(
            resolution=size, in_channels=stored["in_channels"], ch=widths[0],
            ch_mult=tuple(w // widths[0] for w in widths),
            num_res_blocks=stored["layers_per_block"],
            attn_resolutions=tuple(size // 2**i for i, kind in enumerate(kinds)
                                   if kind == "AttnDownBlock2D"),
            dropout=dropout, groups=stored["norm_num_groups"])
    except (TypeError, LookupError, ArithmeticError) as error:
        raise ValueError(f"sample_size and dropout must be numbers, block_out_channels a list of "
                         f"whole numbers and down_block_types of names, got {size!r}, {dropout!r}, "
                         f"{widths!r} and {kinds!r}") from error
    wanted = {**_FIXED, **diffusers_config(config)}
    # The number of time steps belongs to learned embeddings, which are refused.
    found = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()
             if k in wanted or not k.startswith("_") and k != "num_train_timesteps"}
    wrong = [f"{k} must be {wanted.get(k)!r}, got {v!r}" for k, v in found.items()
             if v != wanted.get(k)]
    if wrong:
        raise ValueError(f"it computes something else than this library's U-Net: "
                         f"{'; '.join(wrong)}")
    return config


def schedule_from_diffusers(stored: dict) -> Schedule:
    """The schedule of a DDPMScheduler's or DDIMScheduler's scheduler_config.json.

    Args:
        stored: the contents of that file.

    Raises:
        ValueError: another table than linear or cosine, or a network that predicts neither noise
            nor velocity.
    """
    for name, allowed in (("trained_betas", (None,)), ("rescale_betas_zero_snr", (False,)),
                          ("prediction_type", PREDICTION_TYPES)):
        if stored.get(name, allowed[0]) not in allowed:
            raise ValueError(f"{name} must be {' or '.join(map(repr, allowed))}, "
                             f"got {stored[name]!r}")
    T = stored.get("num_train_timesteps", 1000)
    kind = stored.get("beta_schedule", "linear")
    if kind == "linear":
        # 0.0001 and 0.02 are DDPMScheduler's and DDIMScheduler's defaults too.
        return linear(T, stored.get("beta_start", 1e-4), stored.get("beta_end", 0.02))
    if kind == "squaredcos_cap_v2":
        return cosine(T)
    raise ValueError(f"beta_schedule must be linear or squaredcos_cap_v2, got {kind!r}")


def schedule_to_diffusers(schedule: Schedule) -> dict:
    """The arguments with which diffusers' schedulers have this table.

    Args:
        schedule: a linear or a cosine one.

    Raises:
        ValueError: they have none like it.
    """
    told = schedule.to_dict()
    if told["name"] == "linear":
        return {"num_train_timesteps": told["T"], "beta_schedule": "linear",
                "beta_start": told["beta_start"], "beta_end": told["beta_end"]}
    if told != cosine(told["T"]).to_dict():
        raise ValueError(f"the cosine schedule must have diffusers' offset 0.008 and largest "
                         f"beta 0.999, got {told}")
    return {"num_train_timesteps": told["T"], "beta_schedule": "squaredcos_cap_v2"}


def _to_diffusers_key(key: str, levels: int) -> str:
    for pattern, new in _NAMES:
        key = re.sub(pattern, new, key)
    # Their levels on the way up are counted from the bottom.
    return re.sub(r"^up_blocks\.(\d+)", lambda m: f"up_blocks.{levels - 1 - int(m[1])}", key)


def _reshape(our_key: str, value: Tensor, flat: bool) -> Tensor:
    """Attention's 1x1 convolutions are (C, C, 1, 1) here and (C, C) there."""
    if re.search(r"attn(_1|\.\d+)\.(q|k|v|proj_out)\.weight$", our_key):
        return value.flatten(1) if flat else value.reshape(*value.shape[:2], 1, 1)
    return value
