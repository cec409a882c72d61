"""Tensors on disk: safetensors, whose header says what they are."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ddim_lib.storage.files import replacing

#: What the files of this library have under ``format`` in their header.
FORMAT = "ddim_lib 1"


def save_tensors(path: str | Path, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
    """Write tensors and a header of strings as one safetensors file, atomically.

    Args:
        path: the file; missing folders are made.
        tensors: by their names.
        header: safetensors' metadata.
    """
    from safetensors.torch import save_file

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.touch()
        rights = temporary.stat().st_mode  # any new file's; safetensors writes for the owner alone
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary, header)
        temporary.chmod(rights)


def read_header(path: str | Path) -> dict[str, str]:
    """The header of a safetensors file, without reading its tensors; empty where it has none.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a safetensors file, or is damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path must be a weights file; there is no {path}")
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file, or is damaged: {error}") from error
