"""Train `mnist` on towards means over all training digits instead of single ones at high levels.

What the loss draws the network to at x_t is the mean of v over all digits that can have led there.
A single digit scatters about it, and at high levels most of the gradient is that scatter. With as
many digits as there are the mean itself can be computed, so the least of the loss stays where it is
(Xu and others, stable target fields, arXiv 2302.00670, take it over a part of the data).

    python scripts/experiments/stable_targets.py --start run/mnist.safetensors --out run/stable
"""

import argparse
from pathlib import Path

from torch import Tensor

import ddim_lib
from ddim_lib.datasets import load_uint8
from ddim_lib.pixels import to_float
from ddim_lib.presets import PRESETS
from ddim_lib.training import Trainer, TrainingConfig, _drawn, _squared_error


class StableTrainer(Trainer):
    """A trainer whose noise above level ``above`` is that of the mean over all its images."""

    def __init__(self, *args, above: int, **more):
        super().__init__(*args, **more)
        self.above = above
        self.flat = to_float(self.images).flatten(1)
        self.squares = self.flat.square().sum(1)

    def _loss(self, x0: Tensor) -> Tensor:
        t, noise = _drawn(self.schedule, x0, self.generator)
        x = self.schedule.add_noise(x0, t, noise)
        high = t > self.above
        some, alpha = x[high].flatten(1), self.schedule.alpha[t[high], None].float()
        likely = alpha.sqrt() * (some @ self.flat.T) - alpha * self.squares / 2
        mean = (likely / (1 - alpha)).softmax(1) @ self.flat
        # The same x_t, made of the mean picture and of the noise that goes with it.
        x0[high] = mean.view_as(x0[high])
        noise[high] = ((some - alpha.sqrt() * mean) / (1 - alpha).sqrt()).view_as(noise[high])
        return _squared_error(self._run, self.schedule, x0, t, noise, self.config.loss_weight)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--start", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--above", type=int, default=450)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--warmup", type=int, default=50)
    parser.add_argument("--ema", type=float, default=0.997)
    parser.add_argument("--seed", type=int, default=9)
    args = parser.parse_args()
    model, schedule = ddim_lib.load_weights(args.start)
    config = TrainingConfig(args.steps, args.batch_size, args.lr, args.warmup, ema_decay=args.ema,
                            autocast="fp32", loss_weight=PRESETS["mnist"].training.loss_weight,
                            seed=args.seed)
    trainer = StableTrainer(model.requires_grad_(True), schedule, load_uint8("mnist")[0], config,
                            "cpu", above=args.above)
    args.out.mkdir(parents=True, exist_ok=True)
    checkpoint = args.out / "checkpoint.pt"
    if checkpoint.exists():
        trainer.load(checkpoint)
    trainer.run(checkpoint=checkpoint, every=100)
    ddim_lib.save_weights(args.out / "mnist.safetensors", trainer.ema, schedule)


if __name__ == "__main__":
    main()
