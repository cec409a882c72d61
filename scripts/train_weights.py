"""Train one of the presets and write its weights with their history.

    python scripts/train_weights.py mnist --out run/mnist
    python scripts/train_weights.py kkanji --folder pictures/ --out run/kkanji --minutes 8

With --minutes the number of steps follows the clock: it is estimated again every few
steps, so that the learning rate reaches 0 when the time is over, whatever else the
machine does. Such a run cannot be repeated to the bit, nor resumed.
"""

import argparse
import json
import math
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import torch

import ddim_lib
from ddim_lib.datasets import load_folder, load_uint8
from ddim_lib.presets import PRESETS
from ddim_lib.provenance import commit, hardware
from ddim_lib.training import Trainer


def main() -> None:
    args = arguments()
    preset = PRESETS[args.preset]
    config = replace(preset.training, compile=args.compile, seed=args.seed)
    given = {"steps": args.steps, "batch_size": args.batch_size, "lr": args.lr,
             "warmup": args.warmup, "ema_decay": args.ema}
    config = replace(config, **{key: value for key, value in given.items() if value is not None})
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
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    trainer = new_trainer(unet, images, config, args.start)
    length = f"{args.minutes:g} minutes" if args.minutes else f"{config.steps:,} steps"
    print(f"{args.preset}: {sum(p.numel() for p in trainer.model.parameters()):,} parameters, "
          f"{len(images):,} images, {length} of {config.batch_size} in "
          f"{trainer.precision} on {hardware()}", flush=True)
    checkpoint = out / "checkpoint.pt"
    if args.resume:
        trainer.load(checkpoint)
    begin = time.perf_counter()
    if args.minutes:
        record = run_for(trainer, args.minutes * 60, args.log_every, out / "unfinished.safetensors")
        config = trainer.config
    else:
        record = trainer.run(checkpoint=checkpoint, every=args.every, log_every=args.log_every)
    seconds = time.perf_counter() - begin
    # Over the data, of a channel's mean pixel in [-1, 1]: what the right response to the mean of
    # the noise depends on.
    spread = (images.float().mean(dim=(2, 3)) / 127.5).std(0).mean().item()
    facts = {"spread": round(spread, 4),
        "preset": args.preset, "data": args.data_name or args.preset, "images": len(images),
        "training": asdict(config), "epochs": config.steps * config.batch_size / len(images),
        "weights": "EMA", "precision": trainer.precision, "seconds": round(seconds),
        "hardware": hardware(), "torch": torch.__version__, "library": ddim_lib.__version__,
        "commit": args.commit or commit(), "date": datetime.now(UTC).date().isoformat(),
        **({"start": Path(args.start).name} if args.start else {}),
        "final_loss": round(record[-1]["loss"], 5),
    }
    dtype = torch.float16 if args.half else torch.float32
    ddim_lib.save_weights(out / f"{args.preset}.safetensors", trainer.ema, trainer.schedule,
                          dtype=dtype, **facts)
    (out / "loss.json").write_text(json.dumps({**facts, "loss": record}, indent=1))
    print(f"{args.preset}: done in {seconds:.0f} s, loss {record[-1]['loss']:.4f}", flush=True)


def new_trainer(unet, images, config, start=None) -> Trainer:
    """A run from drawn weights, or from those of a file, whatever form these predict in."""
    torch.manual_seed(config.seed)
    schedule = ddim_lib.linear()
    model = ddim_lib.UNet(unet, schedule)
    if start:
        model.load_state_dict(ddim_lib.load_weights(start)[0].state_dict())
    return Trainer(model, schedule, images, config)


def run_for(trainer: Trainer, seconds: float, chunk: int, unfinished: Path) -> list[dict]:
    """Train until the time is over, with the rate at 0 just then.

    The average so far is written as it goes, half as large: what a run that is cut off leaves,
    and another may --start from.
    """
    end, record, each = time.perf_counter() + seconds, [], None
    while True:
        begin = time.perf_counter()
        # The first chunk waits for compilers: its time says nothing of the later ones.
        left = (end - begin) / each if each else 10**6
        steps = trainer.step + max(1, int(left))
        trainer.config = replace(trainer.config, steps=steps)
        until = min(trainer.step + chunk, steps)
        total = torch.stack([now.loss for now in trainer.train(until)])
        loss = total.mean().item()  # waits for the device: the clock must not run ahead of it
        if not math.isfinite(loss):
            raise SystemExit(f"the loss is {loss} at step {until}")
        took = (time.perf_counter() - begin) / len(total)
        if record:
            each = took if each is None else 0.8 * each + 0.2 * took
        record.append({"step": until, "loss": loss})
        if len(record) % 10 == 0:
            print(f"step {until:,} of about {steps:,}: loss {loss:.4f}, {took * 1000:.1f} ms",
                  flush=True)
            ddim_lib.save_weights(unfinished, trainer.ema, trainer.schedule, dtype=torch.float16,
                                  steps=until)
        if until == steps:
            return record


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", choices=sorted(PRESETS))
    parser.add_argument("--out", required=True, help="folder for weights, loss and checkpoint")
    parser.add_argument("--folder", help="pictures to train on")
    parser.add_argument("--images", help="uint8 images (N, C, H, W) as a .pt file, instead")
    parser.add_argument("--start", help="weights to begin from, a file of this library")
    parser.add_argument("--batch-size", type=int, help="instead of the preset's")
    parser.add_argument("--lr", type=float, help="instead of the preset's")
    parser.add_argument("--warmup", type=int, help="steps, instead of the preset's")
    parser.add_argument("--ema", type=float, help="decay of the average, instead of the preset's")
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
    args = parser.parse_args()
    if args.minutes and (args.resume or args.steps):
        parser.error("--minutes goes neither with --steps nor with --resume")
    return args


if __name__ == "__main__":
    main()
