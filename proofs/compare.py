"""Two training runs compared, bit for bit: weights, checkpoint, record of the loss."""

from __future__ import annotations

import json
from pathlib import Path

import torch

DIFFER = {"seconds", "date", "commit", ".seconds"}  # what two equal runs may say differently


def differences(one: Path, other: Path, preset: str) -> list[str]:
    """In what two finished runs of ddim train differ, bit for bit; empty where they are equal."""
    names = ["checkpoint.pt", "loss.json", f"{preset}.safetensors"]
    found = [f"{other.name} holds {p.name}" for p in other.iterdir() if p.name not in names]
    found += [f"{other.name} lacks {name}" for name in names if not (other / name).is_file()]
    if found:
        return found
    (told, tensors), (told_too, tensors_too) = (_weights(p / names[2]) for p in (one, other))
    if tensors != tensors_too:
        found.append("the bytes of the weights")
    records = [json.loads((p / "loss.json").read_text()) for p in (one, other)]
    for what, (a, b) in (("weights say", (told, told_too)), ("record says", records)):
        found += [f"what the {what} of {key}" for key in sorted({*a, *b} - DIFFER)
                  if a.get(key) != b.get(key)]
    states = [_flat(torch.load(p / "checkpoint.pt", weights_only=True)) for p in (one, other)]
    found += [f"the checkpoint's {key}" for key in sorted({*states[0], *states[1]} - DIFFER)
              if states[0].get(key) != states[1].get(key)]
    return found


def _weights(path: Path) -> tuple[dict, bytes]:
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    places = {key: value for key, value in header.items() if key != "__metadata__"}
    return {**header["__metadata__"], "places": places}, content[end:]


def _flat(value: object, name: str = "") -> dict[str, object]:
    """A checkpoint's entries under one name each; tensors as their type, shape and bytes."""
    if isinstance(value, torch.Tensor):
        bits = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        return {name: (value.dtype, tuple(value.shape), bits)}
    if isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, entry in items for k, v in _flat(entry, f"{name}.{key}").items()}
    return {name: repr(value)}
