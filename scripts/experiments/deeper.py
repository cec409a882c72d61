"""Train `mnist` on with more blocks a level, or with as many as it has: what does size bring?

    python scripts/experiments/deeper.py data/unfinished/mnist.safetensors --blocks 2 --out run

The deeper network begins with the answers of the one it grew from: what is put in between passes
its input on, by a last convolution of zeros. The same seed draws the same digits, levels and noise
for both.
"""

import argparse
import re
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import nn

import ddim_lib
from ddim_lib.datasets import load_uint8
from ddim_lib.presets import PRESETS
from ddim_lib.runtime.provenance import commit, hardware
from ddim_lib.training import Trainer, TrainingConfig
from ddim_lib.unet import UNet


def deeper(model: UNet) -> UNet:
    """A network with one more block a level that answers what ``model`` does.

    On the way down the new block is a level's last one. On the way up it is the second: the first
    takes the skip that it took, now of the new block; the new one takes the skip of the block
    before, which it does not let through.
    """
    blocks = model.config.num_res_blocks
    grown = UNet(replace(model.config, num_res_blocks=blocks + 1), model.schedule)
    state = {}
    for key, value in model.state_dict().items():
        moved = re.sub(r"^(up\.\d+\.(?:block|attn)\.)([1-9]\d*)",
                       lambda found: f"{found[1]}{int(found[2]) + 1}", key)
        state[moved] = value
    grown.load_state_dict(grown.state_dict() | state)
    for level in grown.up:
        skipped = level.block[1].nin_shortcut
        width = skipped.out_channels
        nn.init.zeros_(skipped.weight)
        skipped.weight.data[:, :width, 0, 0] = torch.eye(width)
    return grown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("start", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--blocks", type=int, default=1, help="a level")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--ema", type=float, default=0.998)
    parser.add_argument("--seed", type=int, default=12)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    model, schedule = ddim_lib.load_weights(args.start)
    while model.config.num_res_blocks < args.blocks:
        model = deeper(model)
    config = TrainingConfig(args.steps, args.batch_size, args.lr, args.warmup, ema_decay=args.ema,
                            autocast="fp32", loss_weight=PRESETS["mnist"].training.loss_weight,
                            stable_targets=True, seed=args.seed)
    trainer = Trainer(model.requires_grad_(True), schedule, load_uint8("mnist")[0], config, "cpu")
    checkpoint = args.out / "checkpoint.pt"
    if checkpoint.exists():
        trainer.load(checkpoint)
    trainer.run(checkpoint=checkpoint, every=100)
    ddim_lib.save_weights(args.out / "mnist.safetensors", trainer.ema, schedule,
                          start=args.start.name, training=asdict(config), hardware=hardware("cpu"),
                          seconds=round(trainer.seconds), commit=commit())


if __name__ == "__main__":
    main()
