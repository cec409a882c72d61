"""Images a second of training, the same network, data, batch and steps, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from denoising_diffusion_pytorch.denoising_diffusion_pytorch import GaussianDiffusion
from diffusers import DDPMScheduler
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.training_utils import EMAModel
from ema_pytorch import EMA
from torch import Tensor, nn

import ddim_lib
from benchmarks.common import DEVICE, HALF, peak, race, rates, target, write
from benchmarks.contestants import can_compile, lucidrains, theirs
from ddim_lib.datasets import load_uint8
from ddim_lib.pixels import to_float
from ddim_lib.presets import PRESETS
from ddim_lib.runtime.precision import computing_in
from ddim_lib.training import Trainer
from ddim_lib.weights.conversion import schedule_to_diffusers

BATCHES = (16, 64)
STEPS = 8   # of each round
ROUNDS = 7
TOTAL = 10_000  # steps that the learning rate's schedule spans; no run comes near its end


def fresh() -> ddim_lib.UNet:
    """The network of the shipped digits, its weights too: what is learnt does not matter here."""
    return ddim_lib.load_pretrained("mnist-eps", DEVICE)[0]


def ours(images: Tensor, batch: int, autocast: str, compiled: bool = False) -> Callable:
    """This library's trainer, with all that it does in every step."""
    config = replace(PRESETS["mnist-eps"].training, steps=TOTAL, batch_size=batch,
                     autocast=autocast, compile=compiled)
    trainer = Trainer(fresh(), ddim_lib.linear(), images, config, DEVICE)

    def work(steps: int) -> None:
        for now in trainer.train(trainer.step + steps):
            last = now.loss
        last.item()
    return work


def batches(images: Tensor, batch: int):
    """Random batches in [-1, 1], for ever."""
    while True:
        yield to_float(images[torch.randint(len(images), (batch,), device=DEVICE)])


def diffusers(images: Tensor, batch: int, autocast: str) -> Callable:
    """The loop of diffusers' example of unconditional training, without its file reading."""
    network, _ = theirs(fresh(), ddim_lib.linear())
    network.train()
    scheduler = DDPMScheduler.from_config(schedule_to_diffusers(ddim_lib.linear()))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=(0.95, 0.999),
                                  weight_decay=1e-6, eps=1e-8)
    rate = get_cosine_schedule_with_warmup(optimizer, 500, TOTAL)
    ema = EMAModel(network.parameters(), decay=0.9999, use_ema_warmup=True)
    data = batches(images, batch)

    def work(steps: int) -> None:
        for _ in range(steps):
            x0 = next(data)
            noise = torch.randn_like(x0)
            t = torch.randint(0, 1000, (batch,), device=DEVICE)
            with computing_in(autocast, DEVICE):
                eps = network(scheduler.add_noise(x0, noise, t), t).sample
            loss = F.mse_loss(eps.float(), noise)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            rate.step()
            optimizer.zero_grad()
            ema.step(network.parameters())
        loss.item()
    return work


def lucidrains_trainer(images: Tensor, batch: int) -> Callable:
    """What denoising-diffusion-pytorch's trainer does in a step, without its file reading."""
    diffusion: GaussianDiffusion = lucidrains(fresh(), 10).train()
    optimizer = torch.optim.Adam(diffusion.parameters(), lr=1e-4, betas=(0.9, 0.99))
    ema = EMA(diffusion, beta=0.995, update_every=10)
    data = batches(images, batch)

    def work(steps: int) -> None:
        for _ in range(steps):
            loss = diffusion(next(data))
            loss.backward()
            nn.utils.clip_grad_norm_(diffusion.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            ema.update()
        loss.item()
    return work


def main() -> None:
    """Measure and write the record."""
    begin = time.perf_counter()
    images = load_uint8("digits")[0].to(DEVICE)
    peaks, rows = peak(), []
    for batch in BATCHES:
        ways = {"ddim_lib fp32": ours(images, batch, "fp32"),
                "diffusers fp32": diffusers(images, batch, "fp32"),
                "denoising-diffusion-pytorch fp32": lucidrains_trainer(images, batch)}
        if HALF:
            ways |= {f"ddim_lib {HALF}": ours(images, batch, HALF),
                     f"diffusers {HALF}": diffusers(images, batch, HALF)}
            if not can_compile():
                ways[f"ddim_lib {HALF} compiled"] = ours(images, batch, HALF, compiled=True)
        speed = rates(race({name: partial(work, STEPS) for name, work in ways.items()}, ROUNDS),
                      batch * STEPS)
        rows.append({"batch_size": batch, "images_per_second": speed})
        print(batch, {name: of["median"] for name, of in speed.items()}, flush=True)

    def against(name: str, row: dict) -> float:
        return (row["images_per_second"][name]["median"]
                / row["images_per_second"]["diffusers fp32"]["median"])

    ours_all = [name for name in rows[0]["images_per_second"] if name.startswith("ddim_lib")]
    worst = {name: min(against(name, row) for row in rows) for name in ours_all}
    best = max(worst, key=worst.get)
    targets = [target(f"training, {best.removeprefix('ddim_lib ')}: times diffusers' images a "
                      "second, as its example comes (fp32), the worse batch size", 1.5,
                      worst[best])]
    write("training", "Images a second of training the network for digits, in each library, with "
          "gradient clipping and an average of the weights.", begin, network="mnist-eps",
          steps=STEPS, rounds=ROUNDS, peak_gflop_per_second=peaks, targets=targets,
          not_compiled=can_compile(), rows=rows)


if __name__ == "__main__":
    main()
