"""Where the time of a step goes, and that no step waits for the device."""

from __future__ import annotations

import time
from collections import defaultdict

from torch.profiler import ProfilerActivity, profile

import ddim_lib
from benchmarks.common import DEVICE, PRECISIONS, write

BATCH, STEPS = 16, 10
#: What a kernel belongs to, by a part of its name; the first that fits.
KINDS = {"convolution": ("conv", "mkldnn_convolution", "cudnn"),
         "attention": ("scaled_dot_product", "bmm", "softmax"),
         "linear layers": ("addmm", "mm", "gemm"),
         "group normalisation": ("group_norm",),
         "SiLU": ("silu",),
         "copies and joins": ("copy_", "cat", "upsample", "pad", "fill_", "clone"),
         "sums": ("add", "sub", "mul", "div")}
#: Where the host waits until the device has caught up.
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


def kind(name: str) -> str:
    """Which of :data:`KINDS` an operation belongs to."""
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)),
                "the rest")


def look(model, schedule, precision: str, eta: float) -> dict:
    """One profiled walk: the share of each kind of operation, and how often the host waited."""
    x_T = ddim_lib.noise_from_seeds(range(BATCH), model.image_shape).to(DEVICE)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if DEVICE.type == "cuda" else [])]

    def walk():
        # The last step is left out: its result is what one waits for.
        for now in ddim_lib.sample_iter(model, schedule, x_T=x_T, seeds=range(BATCH),
                                        steps=STEPS, eta=eta, autocast=precision):
            if now.t == 0:
                break

    walk()
    with profile(activities=activities) as found:
        walk()
    shares: dict[str, float] = defaultdict(float)
    for event in found.key_averages():
        own = event.self_device_time_total if DEVICE.type == "cuda" else event.self_cpu_time_total
        shares[kind(event.key)] += own
    total = sum(shares.values())
    waits = {event.key: event.count for event in found.key_averages() if event.key in WAITS}
    return {"precision": precision, "eta": eta,
            "share_of_time": {name: round(value / total, 3) for name, value
                              in sorted(shares.items(), key=lambda item: -item[1])},
            "waits": waits}


def main() -> None:
    """Measure and write the record."""
    begin = time.perf_counter()
    model, schedule = ddim_lib.load_pretrained("mnist-eps", DEVICE)
    rows = [look(model, schedule, precision, eta)
            for precision in PRECISIONS for eta in (0.0, 1.0)]
    for row in rows:
        print(row, flush=True)
    write("profile", "Where the time of sampling goes, and how often the host waits for a value "
          "from the device.", begin, weights="mnist-eps", batch_size=BATCH, steps=STEPS, rows=rows)


if __name__ == "__main__":
    main()
