"""Image-steps a second at several batch sizes, the same weights and start points, in one run."""

from __future__ import annotations

import time
from functools import partial

import ddim_lib
from benchmarks.common import DEVICE, HALF, PRECISIONS, gflop, peak, race, rates, target, write
from benchmarks.contestants import (
    can_compile,
    compiled,
    diffusers_loop,
    grey_levels,
    lucidrains_loop,
    ours,
    theirs,
)

STEPS = 10
BATCHES = (1, 2, 4, 8, 16, 32, 64)
COMPILED = (1, 16, 64)  # each costs half a minute of compilation
ROUNDS = 15


def contestants(model, schedule, batch: int) -> dict:
    """Every way to sample at this batch size, by name."""
    network, scheduler = theirs(model, schedule)
    found = {"ddim_lib fp32": ours(model, schedule),
             "diffusers fp32": diffusers_loop(network, scheduler),
             "denoising-diffusion-pytorch fp32": lucidrains_loop(model)}
    if HALF:
        found |= {f"ddim_lib {HALF}": ours(model, schedule, HALF),
                  f"diffusers {HALF}": diffusers_loop(network, scheduler, HALF)}
    if batch in COMPILED and not can_compile():
        for precision in PRECISIONS:
            found |= {f"ddim_lib {precision} compiled": ours(compiled(model), schedule, precision),
                      f"diffusers {precision} compiled":
                      diffusers_loop(compiled(network), scheduler, precision)}
    return found


def main() -> None:
    """Measure and write the record."""
    begin = time.perf_counter()
    model, schedule = ddim_lib.load_pretrained("mnist-eps", DEVICE)
    work, peaks, rows, different = gflop(model), peak(), [], {}
    for batch in BATCHES:
        x_T = ddim_lib.noise_from_seeds(range(batch), model.image_shape).to(DEVICE)
        ways = contestants(model, schedule, batch)
        times = race({name: partial(draw, x_T, STEPS) for name, draw in ways.items()}, ROUNDS)
        speed = rates(times, batch * STEPS)
        rows.append({"batch_size": batch, "image_steps_per_second": speed})
        print(batch, {name: of["median"] for name, of in speed.items()}, flush=True)
        if batch == 16:
            reference = ways["ddim_lib fp32"](x_T, STEPS)
            different = {name: float(f"{grey_levels(draw(x_T, STEPS), reference):.2g}")
                         for name, draw in ways.items() if "pytorch" not in name}
    at = {row["batch_size"]: row["image_steps_per_second"] for row in rows}

    def against(name: str, batch: int) -> float:
        return at[batch][name]["median"] / at[batch]["diffusers fp32"]["median"]

    targets = [target("fp32: times diffusers' image-steps a second, the worst batch size", 1,
                      min(against("ddim_lib fp32", batch) for batch in BATCHES))]
    if HALF:
        # Half precision counts where the pictures are the same to less than a grey level.
        counted = [name for name in at[16] if name.startswith("ddim_lib") and different[name] < 1]
        best = max(counted, key=lambda name: against(name, 16))
        targets.append(target(f"batch 16, {best.removeprefix('ddim_lib ')}: times diffusers' "
                              "image-steps a second, as diffusers comes (fp32)", 2,
                              against(best, 16)))
    share = {f"{precision}, batch {batch}": round(
        at[batch][f"ddim_lib {precision}"]["median"] * work / peaks[precision], 3)
        for precision in peaks for batch in BATCHES if batch in (1, 16, 64)}
    write("sampling", "Image-steps a second of DDIM (eta = 0) with the shipped network for "
          "digits, in each library.", begin, weights="mnist-eps", steps=STEPS, rounds=ROUNDS,
          gflop_per_image_step=round(work, 4), peak_gflop_per_second=peaks,
          share_of_peak=share, mean_difference_in_grey_levels=different, targets=targets,
          not_compiled=can_compile(), rows=rows)


if __name__ == "__main__":
    main()
