"""The same network in three libraries, each sampling in its own way with DDIM, eta = 0."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable

import torch
from denoising_diffusion_pytorch import GaussianDiffusion
from diffusers import DDIMScheduler, UNet2DModel
from torch import Tensor, nn

import ddim_lib
from benchmarks.common import DEVICE, HALF
from ddim_lib.runtime.precision import computing_in
from ddim_lib.weights.conversion import diffusers_config, schedule_to_diffusers, to_diffusers

#: A sampler: start points of shape (N, C, H, W) and the number of steps to pictures.
Sampler = Callable[[Tensor, int], Tensor]


def ours(model: nn.Module, schedule: ddim_lib.Schedule, autocast: str = "fp32",
         clip: bool = False) -> Sampler:
    """This library's sampler."""
    def draw(x_T: Tensor, steps) -> Tensor:
        return ddim_lib.sample(model, schedule, x_T=x_T, steps=steps, batch_size=len(x_T),
                               progress=False, autocast=autocast, clip=clip)
    return draw


def theirs(model: ddim_lib.UNet, schedule: ddim_lib.Schedule) -> tuple[UNet2DModel, DDIMScheduler]:
    """The same network and noise levels as diffusers' UNet2DModel and DDIMScheduler."""
    network = UNet2DModel(**diffusers_config(model.config)).to(DEVICE).eval()
    network.load_state_dict(to_diffusers(model.state_dict(), model.config))
    stored = schedule_to_diffusers(schedule)
    scheduler = DDIMScheduler.from_config(stored, clip_sample=False, set_alpha_to_one=True,
                                          timestep_spacing="trailing")
    return network, scheduler


def diffusers_loop(network: nn.Module, scheduler: DDIMScheduler,
                   autocast: str = "fp32") -> Sampler:
    """The loop of diffusers' DDIMPipeline, from given start points."""
    def draw(x_T: Tensor, steps: int) -> Tensor:
        scheduler.set_timesteps(steps, device=DEVICE)
        x = x_T
        with torch.no_grad(), computing_in(autocast, DEVICE):
            for t in scheduler.timesteps:
                eps = network(x, t).sample
                x = scheduler.step(eps.float(), t, x, eta=0.0).prev_sample
        return x.cpu()
    return draw


def ways(model: ddim_lib.UNet, schedule: ddim_lib.Schedule) -> dict[str, Sampler]:
    """This library and diffusers, by name; this one in the half type too."""
    found = {"ddim_lib fp32": ours(model, schedule),
             "diffusers fp32": diffusers_loop(*theirs(model, schedule))}
    if HALF:
        found[f"ddim_lib {HALF}"] = ours(model, schedule, HALF)
    return found


class AsLucidrains(nn.Module):
    """This library's network as denoising-diffusion-pytorch calls one: t from 0, three arguments.

    Args:
        model: of this library.
    """

    def __init__(self, model: ddim_lib.UNet):
        super().__init__()
        self.model = model
        self.channels = self.out_dim = model.config.in_channels
        self.self_condition = self.random_or_learned_sinusoidal_cond = False

    def forward(self, x: Tensor, t: Tensor, x_self_cond: None = None) -> Tensor:
        """eps for x at the label t in 0..T-1."""
        return self.model(x, t + 1)


def lucidrains(model: ddim_lib.UNet, steps: int) -> GaussianDiffusion:
    """denoising-diffusion-pytorch around this library's network, linear schedule, T = 1000."""
    return GaussianDiffusion(AsLucidrains(model), image_size=model.config.resolution,
                             timesteps=1000, sampling_timesteps=steps, objective="pred_noise",
                             beta_schedule="linear", auto_normalize=False).to(DEVICE).eval()


def lucidrains_loop(model: ddim_lib.UNet) -> Sampler:
    """denoising-diffusion-pytorch's ddim_sample; it clips, visits its own levels, draws x_T."""
    around: dict[int, GaussianDiffusion] = {}

    def draw(x_T: Tensor, steps: int) -> Tensor:
        if steps not in around:
            around[steps] = lucidrains(model, steps)
        return around[steps].sample(len(x_T)).cpu()
    return draw


def can_compile() -> str | None:
    """None where torch.compile works here, else why not."""
    if DEVICE.type == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
        return "torch.compile needs a C++ compiler, and this machine has none"
    return None


def compiled(network: nn.Module) -> nn.Module:
    """A copy through torch.compile, for one batch size."""
    return torch.compile(copy.deepcopy(network), dynamic=False)


def grey_levels(one: Tensor, other: Tensor) -> float:
    """The mean difference of two sets of pictures in [-1, 1], in grey levels of 0..255."""
    return ((one.clamp(-1, 1) - other.clamp(-1, 1)).abs().double().mean() * 127.5).item()
