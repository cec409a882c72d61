"""Seconds to good pictures: the fewest steps whose distance is within 10 % of 1000 steps' one.

The distances are those of the table of chapter 6 (data/results/mnist-eps-table.json, n = 10,000);
the seconds are this machine's, and so is the check that half precision keeps the distance.
"""

from __future__ import annotations

import json
import time

import ddim_lib
from benchmarks.common import DEVICE, HALF, PRECISIONS, race, three, write
from benchmarks.contestants import can_compile, compiled, grey_levels, ours, ways
from ddim_lib.metrics import FrechetDistance, load_classifier
from proofs.common import RESULTS

DIGITS = 64
WITHIN = 1.1
CHECKED = (1000, 50)  # digits and steps of the check of half precision


def fewest(rows: list[dict], eta: float) -> tuple[dict, dict]:
    """The row of 1000 steps, and the one with the fewest steps within 10 % of its distance.

    Args:
        rows: of the table: S, eta, spacing, distance.
        eta: of the sampler.
    """
    ours = [row for row in rows if row["eta"] == eta and row["spacing"] == "trailing"]
    (whole,) = [row for row in ours if row["S"] == 1000]
    near = [row for row in ours if row["distance"] <= WITHIN * whole["distance"]]
    return whole, min(near, key=lambda row: row["S"])


def main() -> None:
    """Measure and write the record."""
    begin = time.perf_counter()
    table = json.loads((RESULTS / "mnist-eps-table.json").read_text())
    model, schedule = ddim_lib.load_pretrained("mnist-eps", DEVICE)
    x_T = ddim_lib.noise_from_seeds(range(DIGITS), model.image_shape).to(DEVICE)
    every = ways(model, schedule)
    if HALF and not can_compile():
        every[f"ddim_lib {HALF} compiled"] = ours(compiled(model), schedule, HALF)
    rows = []
    for eta in (0.0, 1.0):
        whole, few = fewest(table["rows"], eta)
        rows.append({"eta": eta, "distance_1000": whole["distance"], "steps": few["S"],
                     "distance": few["distance"]})
    # With eta = 1 a step costs the same (data/results/mnist-speed.json), so DDIM's is measured.
    steps = sorted({row["steps"] for row in rows})
    times = {s: {name: min(of) for name, of in race(
        {name: lambda draw=draw, s=s: draw(x_T, s) for name, draw in every.items()}, 3).items()}
        for s in steps}
    for row in rows:
        found = times[row["steps"]]
        row["seconds"] = {name: three(value) for name, value in found.items()}
        row["seconds_for_1000_steps"] = {name: three(value * 1000 / row["steps"])
                                         for name, value in found.items()}
        print(row, flush=True)
    n, walk = CHECKED
    distance = FrechetDistance(classifier=load_classifier(DEVICE))
    drawn = {name: ddim_lib.sample(model, schedule, seeds=range(n), steps=walk, autocast=name,
                                   progress=False) for name in PRECISIONS}
    half = {name: round(distance(images), 3) for name, images in drawn.items()}
    if HALF:
        half["mean_difference_in_grey_levels"] = three(grey_levels(drawn[HALF], drawn["fp32"]))
    write("quality", f"Seconds until {DIGITS} digits are as good as those of 1000 steps: the "
          "fewest steps of chapter 6's table whose Fréchet distance is at most 10 % above.",
          begin, weights="mnist-eps", digits=DIGITS, distances="mnist-eps-table.json",
          n_of_distances=table["n"], rows=rows, not_compiled=can_compile(),
          half_precision={"n": n, "seeds": f"0..{n - 1}", "steps": walk, "eta": 0,
                          "distance": half})


if __name__ == "__main__":
    main()
