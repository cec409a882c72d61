"""How sampling grows with the resolution of the pictures and with the number of steps."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import torch

import ddim_lib
from benchmarks.common import DEVICE, PRECISIONS, gflop, peak, race, rates, three, write
from benchmarks.contestants import ways
from ddim_lib.unet import UNet

BATCH = 4
RESOLUTIONS = (16, 32, 64, 128)
STEPS = (5, 10, 20, 50, 100)
ROUNDS = 5


def network(resolution: int) -> UNet:
    """The network for digits at another resolution: channels, levels and blocks as there.

    Attention stays at a quarter of the resolution, so that its cost grows with the fourth power.
    """
    config = ddim_lib.load_pretrained("mnist-eps")[0].config
    torch.manual_seed(0)
    return UNet(replace(config, resolution=resolution,
                        attn_resolutions=(resolution // 4,))).to(DEVICE).eval()


def main() -> None:
    """Measure and write the record."""
    begin = time.perf_counter()
    schedule, peaks, by_resolution = ddim_lib.linear(), peak(), []
    for resolution in RESOLUTIONS:
        model = network(resolution)
        x_T = ddim_lib.noise_from_seeds(range(BATCH), model.image_shape).to(DEVICE)
        work = gflop(model)
        speed = rates(race({name: partial(draw, x_T, 2)
                            for name, draw in ways(model, schedule).items()}, ROUNDS), BATCH * 2)
        by_resolution.append({
            "resolution": resolution, "gflop_per_image_step": three(work),
            "image_steps_per_second": speed,
            "share_of_peak": {precision: three(speed[f"ddim_lib {precision}"]["median"] * work
                                               / rate) for precision, rate in peaks.items()}})
        print(resolution, {name: of["median"] for name, of in speed.items()}, flush=True)
    model, schedule = ddim_lib.load_pretrained("mnist-eps", DEVICE)
    x_T = ddim_lib.noise_from_seeds(range(16), model.image_shape).to(DEVICE)
    by_steps = []
    for steps in STEPS:
        times = race({f"{name}, eta = {eta}": partial(
            ddim_lib.sample, model, schedule, seeds=range(16), x_T=x_T, steps=steps, eta=eta,
            progress=False, autocast=name)
            for name in PRECISIONS for eta in (0, 1)}, 3)
        by_steps.append({"steps": steps,
                         "seconds_for_16_digits": {name: three(sorted(of)[1])
                                                   for name, of in times.items()}})
        print(steps, by_steps[-1], flush=True)
    write("growth", "How the time of sampling grows with the resolution (networks of one shape, "
          "not trained) and with the number of steps (16 digits).", begin, batch_size=BATCH,
          rounds=ROUNDS, peak_gflop_per_second=peaks, by_resolution=by_resolution,
          by_steps=by_steps)


if __name__ == "__main__":
    main()
