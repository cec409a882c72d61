"""How much memory sampling takes beyond the loaded network, each case in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import torch

import ddim_lib
from benchmarks.common import DEVICE, PRECISIONS, three, write
from benchmarks.contestants import diffusers_loop, ours, theirs
from proofs.common import ROOT

BATCHES = (1, 16, 64, 256)
WAYS = [f"{library} {precision}" for precision in PRECISIONS
        for library in ("ddim_lib", "diffusers")]


def used() -> float:
    """The most memory so far in MiB: of the process, or of the GPU."""
    if DEVICE.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def one(way: str, batch: int) -> float:
    """MiB that sampling takes beyond what it takes for one picture and what is loaded before."""
    library, precision = way.split()
    model, schedule = ddim_lib.load_pretrained("mnist-eps", DEVICE)
    draw = ours(model, schedule, precision) if library == "ddim_lib" else \
        diffusers_loop(*theirs(model, schedule), precision)
    x_T = ddim_lib.noise_from_seeds(range(batch), model.image_shape).to(DEVICE)
    draw(x_T[:1], 1)  # what the libraries load at first use
    before = used()
    draw(x_T, 2)
    return used() - before


def main() -> None:
    """Measure and write the record."""
    begin, rows = time.perf_counter(), []
    for batch in BATCHES:
        mib = {}
        for way in WAYS:
            done = subprocess.run([sys.executable, "-m", "benchmarks.memory", way, str(batch)],
                                  cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
            mib[way] = three(json.loads(done.stdout.splitlines()[-1]))
        rows.append({"batch_size": batch, "mib": mib})
        print(rows[-1], flush=True)
    write("memory", "The most memory that sampling takes beyond the loaded network and one "
          "picture's walk, in MiB.", begin, weights="mnist-eps", rows=rows)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(one(sys.argv[1], int(sys.argv[2]))))
    else:
        main()
