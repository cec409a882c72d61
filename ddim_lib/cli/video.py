"""Moving pictures: GIF by Pillow, MP4 by the ffmpeg that the package imageio-ffmpeg brings."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ddim_lib.storage.files import replacing

FPS = (0.01, 50)  # GIF counts to 655 s a frame, and viewers slow down what is faster

def write_gif(path: str | Path, frames: Sequence[np.ndarray], fps: float = 10,
              hold: float = 2) -> None:
    """An animated GIF that plays for ever.

    Args:
        path: the file, written beside itself first.
        frames: uint8 arrays of one shape, (H, W) or (H, W, 3).
        fps: frames a second, 0.01 to 50.
        hold: seconds that the last frame stays. (GIF counts in hundredths of a second.)

    Raises:
        ValueError: no frames, frames of several shapes, fps or hold out of range.
    """
    from PIL import Image

    _check(frames, fps, hold)
    pictures = [Image.fromarray(frame) for frame in frames]
    times = [10 * max(2, round(100 / fps))] * len(frames)
    times[-1] += 10 * round(100 * hold)
    with replacing(path) as temporary:
        pictures[0].save(temporary, "GIF", save_all=True, append_images=pictures[1:],
                         duration=times, loop=0)


def write_mp4(path: str | Path, frames: Sequence[np.ndarray], fps: float = 10,
              hold: float = 2) -> None:
    """An MP4 film (H.264). An odd width or height gets a white pixel more, as the codec wants.

    Args:
        path, frames, fps, hold: as in :func:`write_gif`.

    Raises:
        ImportError: imageio-ffmpeg is missing.
        ValueError: as in :func:`write_gif`.
        OSError: ffmpeg could not write the film.
    """
    require_mp4()
    from imageio_ffmpeg import get_ffmpeg_exe

    _check(frames, fps, hold)
    pixels = [_even(frame) for frame in frames]
    height, width = pixels[0].shape[:2]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps}"]
    film = ["-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "18"]
    with replacing(path) as temporary:
        # Called here and not through imageio, which takes no notice when ffmpeg fails at the end.
        done = subprocess.run(
            [get_ffmpeg_exe(), "-y", "-loglevel", "error", *raw, "-i", "-", *film, str(temporary)],
            input=b"".join(frame.tobytes() for frame in pixels + pixels[-1:] * round(hold * fps)),
            capture_output=True)
        if done.returncode:
            told = done.stderr.decode(errors="replace").strip().splitlines()
            raise OSError(errno.EIO, f"ffmpeg ended with {done.returncode}"
                          + (f" ({told[0]})" if told else ""), str(path))


def require_mp4() -> None:
    """An ImportError that says what to install, where MP4 cannot be written."""
    try:
        import imageio_ffmpeg  # noqa: F401
    except ImportError as error:
        raise ImportError('the ending .mp4 needs imageio-ffmpeg: pip install '
                          '"ddim-lib[video]" (.gif does not)') from error


def _even(frame: np.ndarray) -> np.ndarray:
    if frame.ndim == 2:
        frame = np.stack([frame] * 3, axis=2)
    h, w = frame.shape[:2]
    return np.pad(frame, ((0, h % 2), (0, w % 2), (0, 0)), constant_values=255)


def _check(frames: Sequence[np.ndarray], fps: float, hold: float) -> None:
    if not len(frames):
        raise ValueError("frames must hold at least one picture, got none")
    shapes = {frame.shape for frame in frames}
    if len(shapes) > 1:
        raise ValueError(f"frames must have one shape, got {sorted(shapes)}")
    if not FPS[0] <= fps <= FPS[1]:
        raise ValueError(f"fps must be in {FPS[0]}..{FPS[1]}, got {fps}")
    if not 0 <= hold <= 60:
        raise ValueError(f"hold must be in 0..60 seconds, got {hold}")
