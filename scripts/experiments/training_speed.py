"""How many pictures a second each preset trains on, on this machine.

    python scripts/experiments/training_speed.py --out data/results/training-speed.json

Random pictures of the preset's shape: the speed does not depend on what they show.
"""

import argparse
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

import ddim_lib
from ddim_lib.presets import PRESETS
from ddim_lib.runtime.provenance import commit, hardware
from ddim_lib.training import Trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5, help="timed, after two that are not")
    args = parser.parse_args()
    rows = [measure(name, args.batch_size, args.steps) for name in PRESETS]
    result = {"batch_size": args.batch_size, "steps": args.steps, "hardware": hardware(),
              "torch": torch.__version__, "commit": commit(),
              "date": datetime.now(UTC).date().isoformat(), "rows": rows}
    Path(args.out).write_text(json.dumps(result, indent=1) + "\n")


def measure(name: str, batch_size: int, steps: int) -> dict:
    preset = PRESETS[name]
    schedule = ddim_lib.linear()
    model = ddim_lib.UNet(preset.unet, schedule)
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        model(torch.zeros(1, *model.image_shape), 1)
    images = torch.randint(0, 256, (2 * batch_size, *model.image_shape), dtype=torch.uint8)
    config = replace(preset.training, batch_size=batch_size, steps=steps + 2)
    labels = torch.zeros(len(images), dtype=torch.int64) if model.classes else None
    trainer = Trainer(model, schedule, images, config, labels=labels)
    list(trainer.train(2))[-1].loss.item()
    begin = time.perf_counter()
    list(trainer.train())[-1].loss.item()
    rate = steps * batch_size / (time.perf_counter() - begin)
    row = {"preset": name, "image": list(model.image_shape),
           "parameters": sum(p.numel() for p in model.parameters()),
           "gflop": round(flops.get_total_flops() / 1e9, 2), "precision": trainer.precision,
           "images_per_second": float(f"{rate:.3g}")}
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
