"""Train one of the presets and write its weights with their history.

    python scripts/train_weights.py mnist --out run/mnist
    python scripts/train_weights.py kkanji --folder pictures/ --out run/kkanji --minutes 8

With --minutes the steps are fitted to the time, measured on this machine after a warm-up,
so that the learning rate still falls to 0 at the end.
"""

import argparse
import json
import platform
import subprocess
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import torch

import ddim_lib
from ddim_lib.datasets import load_folder, load_uint8
from ddim_lib.presets import PRESETS
from ddim_lib.training import Trainer


def main() -> None:
    args = arguments()
    preset = PRESETS[args.preset]
    config = replace(preset.training, compile=args.compile, seed=args.seed)
    if args.steps:
        config = replace(config, steps=args.steps)
    unet = preset.unet
    if args.images:
        images = torch.load(args.images, weights_only=True)
    elif args.folder:
        images = load_folder(args.folder, unet.resolution, unet.in_channels)
    elif preset.data == "folder":
        raise SystemExit(f"the preset {args.preset} needs --folder: a folder of pictures")
    else:
        images, _ = load_uint8(preset.data, download=args.download)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    if args.minutes:
        config = replace(config, steps=fit_steps(unet, images, config, args.minutes))

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    trainer = new_trainer(unet, images, config)
    print(f"{args.preset}: {sum(p.numel() for p in trainer.model.parameters()):,} parameters, "
          f"{len(images):,} images, {config.steps:,} steps of {config.batch_size} in "
          f"{trainer.precision} on {hardware()}", flush=True)
    checkpoint = out / "checkpoint.pt"
    if args.resume:
        trainer.load(checkpoint)
    begin = time.perf_counter()
    record = trainer.run(checkpoint=checkpoint, every=args.every, log_every=args.log_every)
    seconds = time.perf_counter() - begin
    facts = {
        "preset": args.preset, "data": args.data_name or args.preset, "images": len(images),
        "training": asdict(config), "epochs": config.steps * config.batch_size / len(images),
        "weights": "EMA", "precision": trainer.precision, "seconds": round(seconds),
        "hardware": hardware(), "torch": torch.__version__, "library": ddim_lib.__version__,
        "commit": args.commit or commit(), "date": datetime.now(UTC).date().isoformat(),
        "final_loss": round(record[-1]["loss"], 5),
    }
    dtype = torch.float16 if args.half else torch.float32
    ddim_lib.save_weights(out / f"{args.preset}.safetensors", trainer.ema, trainer.schedule,
                          dtype=dtype, **facts)
    (out / "loss.json").write_text(json.dumps({**facts, "loss": record}, indent=1))
    print(f"{args.preset}: done in {seconds:.0f} s, loss {record[-1]['loss']:.4f}", flush=True)


def new_trainer(unet, images, config) -> Trainer:
    torch.manual_seed(config.seed)
    return Trainer(ddim_lib.UNet(unet), ddim_lib.linear(), images, config)


def fit_steps(unet, images, config, minutes: float) -> int:
    """How many steps the minutes hold: 150 steps are timed after 50 for warming up."""
    torch.backends.cudnn.benchmark = True
    trainer = new_trainer(unet, images, replace(config, steps=10**6))
    # .item() waits for the device: the clock must not run ahead of it.
    list(trainer.train(50))[-1].loss.item()
    begin = time.perf_counter()
    list(trainer.train(200))[-1].loss.item()
    each = (time.perf_counter() - begin) / 150
    print(f"{each * 1000:.2f} ms a step, {config.batch_size / each:,.0f} images/s", flush=True)
    return max(200, int(minutes * 60 / each))


def hardware() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", choices=sorted(PRESETS))
    parser.add_argument("--out", required=True, help="folder for weights, loss and checkpoint")
    parser.add_argument("--folder", help="pictures to train on")
    parser.add_argument("--images", help="uint8 images (N, C, H, W) as a .pt file, instead")
    parser.add_argument("--data-name", help="what the data are called in the weights' facts")
    parser.add_argument("--download", action="store_true", help="fetch a missing data set")
    parser.add_argument("--steps", type=int, help="instead of the preset's")
    parser.add_argument("--minutes", type=float, help="fit the steps to this time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--half", action="store_true", help="store float16")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--every", type=int, default=2000, help="steps between checkpoints")
    parser.add_argument("--log-every", type=int, default=100)
    parser.add_argument("--commit", help="code version, where git cannot tell")
    return parser.parse_args()


if __name__ == "__main__":
    main()
