"""What the commands share: the kinds of options, and what is checked before any work."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from pathlib import Path

import click
import torch

from ddim_lib.cli.errors import blaming
from ddim_lib.cli.together import first_goes_ahead
from ddim_lib.cli.video import FPS
from ddim_lib.runtime import accelerator, precision
from ddim_lib.runtime.processes import local_rank, world_size
from ddim_lib.sampling import coefficients, sigma
from ddim_lib.schedule import SPACINGS, Schedule, pairs, timesteps
from ddim_lib.weights import available, load_pretrained, load_weights, published

LARGEST_SEED = 2**32 - 1
MOST_SEEDS = 1_000_000


def near(value: str, names: Sequence[str]) -> str:
    """"must be one of .., got ..", with the most alike name where there is one."""
    alike = difflib.get_close_matches(value, names, 1, 0.6)
    return (f"must be one of {', '.join(names)}, got {value!r}"
            + (f"; did you mean {alike[0]}?" if alike else ""))


class Named(click.ParamType):
    """One of several names."""

    name = "name"

    def __init__(self, names: Sequence[str]):
        self.names = list(names)

    def convert(self, value, param, ctx):
        return value if value in self.names else self.fail(near(value, self.names), param, ctx)


class Number(click.ParamType):
    """A finite number from ``low`` (excluded where ``above``) to ``high``."""

    name = "number"
    besides = ""  # what an error says after the range

    def __init__(self, low: float, high: float = math.inf, above: bool = False):
        self.low, self.high, self.above = low, high, above

    def convert(self, value, param, ctx):
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and self.low <= number <= self.high) \
                or self.above and number == self.low:
            most = f" and at most {self.high:g}" if self.high < math.inf else ""
            least = "above" if self.above else "of at least"
            self.fail(f"must be a number {least} {self.low:g}{most}{self.besides}, got {value!r}",
                      param, ctx)
        return number


class Eta(Number):
    """A finite number of at least 0, or "hat"."""

    name = "eta"
    besides = " (0: DDIM, 1: DDPM), or hat"

    def convert(self, value, param, ctx):
        if value == "hat":
            return value
        eta = super().convert(value, param, ctx)
        return int(eta) if eta.is_integer() else eta


class Seeds(click.ParamType):
    """0-31, or 0,5,7, or both mixed."""

    name = "seeds"
    wanted = f"whole numbers in 0..{LARGEST_SEED}, as 0-31 or 0,5,7"

    def convert(self, value, param, ctx):
        seeds = []
        for part in value.split(","):
            found = re.fullmatch(r"\s*(\d{1,10})\s*(?:-\s*(\d{1,10})\s*)?", part, re.ASCII)
            first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
            if first > last or last > LARGEST_SEED:
                self.fail(f"must be {self.wanted}, got {value!r}", param, ctx)
            if len(seeds) + last - first >= MOST_SEEDS:
                self.fail(f"must be at most {MOST_SEEDS:,} {self.name}, got {value!r}", param, ctx)
            seeds.extend(range(first, last + 1))
        return seeds


class Labels(Seeds):
    """The same of labels; which there are, the network knows."""

    name = "labels"
    wanted = "whole numbers, as 7 or 0-9 or 7,7,3"


class Weights(click.ParamType):
    """A network's name (converted to a string) or a file (to a path)."""

    name = "weights"

    def convert(self, value, param, ctx):
        names = [*available(), *published.NAMES]
        if value in names or isinstance(value, Path):
            return value
        path = Path(value)
        if path.name == "checkpoint.pt" and path.is_file():
            self.fail(f"must be weights, got {value!r}, which continues a run (ddim train ... "
                      "--resume); the weights are written when the run is complete", param, ctx)
        if path.suffix in (".ckpt", ".pt", ".pth", ".bin") or path.is_dir():
            self.fail(f"must be a network's name or a .safetensors file of this library, got "
                      f"{value!r}; others' weights become one by: ddim weights convert "
                      f"{value} OUT.safetensors", param, ctx)
        if not path.is_file():
            what = "there is no such file; " if path.suffix or len(path.parts) > 1 else ""
            self.fail(f"{what}{near(value, names)}, or name a file", param, ctx)
        return path


DEVICES = ("auto", "cpu", "cuda", "mps")


def option_group(*options):
    """Several options as one decorator, in this order in --help."""
    def add(command):
        """Give a command the options."""
        for option in reversed(options):
            command = option(command)
        return command
    return add


weights_option = option_group(
    click.option("--weights", type=Weights(), default="mnist", metavar="NAME|FILE",
                 help="One of ddim weights list, or a file."),
    click.option("--download", is_flag=True, help="Fetch published weights that are missing."))
device_option = click.option("--device", type=Named(DEVICES), default="auto",
                             metavar="|".join(DEVICES),
                             help="cuda: NVIDIA's or AMD's; mps: Apple's; auto: what is there.")
computing_options = option_group(
    click.option("--batch-size", type=click.IntRange(min=1), default=64,
                 help="Pictures at once: speed and memory, not the result."),
    click.option("--autocast", type=Named(precision.AUTOCAST), default="fp32",
                 metavar="|".join(precision.AUTOCAST),
                 help="What the network computes in; auto: the device's fastest."),
    device_option)
scale_option = click.option("--scale", type=click.IntRange(1, 32), default=2,
                            help="Screen pixels a pixel, in pictures and films.")
fps_option = click.option("--fps", type=Number(*FPS), default=10.0,
                          help="Frames a second, in films.")
spacing_option = click.option("--spacing", type=Named(SPACINGS), default="trailing",
                              metavar="|".join(SPACINGS), help="Which of the levels 1..T.")


def steps_option(default: int):
    """--steps with another default."""
    return click.option("--steps", type=click.IntRange(min=1), default=default,
                        help="Network calls a picture, at most T (1000).")


walk_options = option_group(
    steps_option(50),
    click.option("--eta", type=Eta(0), default="0", metavar="NUMBER|hat",
                 help="0: DDIM, 1: DDPM, hat: DDPM with its large variance."),
    spacing_option,
    click.option("--order", type=click.IntRange(1, 2), default=1, metavar="1|2",
                 help="1: DDIM's step; 2: DPM-Solver++(2M), with --eta 0."))
seeds_options = option_group(
    click.option("--seeds", type=Seeds(), metavar="SEEDS",
                 help="One a picture: 0-31, or 0,5,7. A seed is the same picture everywhere."),
    click.option("--n", type=click.IntRange(1, MOST_SEEDS), help="The seeds 0 to n - 1."))
labels_options = option_group(
    click.option("--labels", type=Labels(), metavar="LABELS",
                 help="7: what all show; one a picture: 0-9, or 7,7,3."),
    click.option("--guidance", type=Number(0), default=1.0,
                 help="With --labels: 0 is without, 1 by the label, more is further."))


def chosen_seeds(seeds: list[int] | None, n: int | None, default: int) -> list[int]:
    """--seeds, or 0 to --n - 1, or as many as the command draws by default."""
    if seeds is not None and n is not None:
        raise click.UsageError("--seeds and --n exclude each other: give one of them",
                               click.get_current_context())
    return seeds if seeds is not None else list(range(default if n is None else n))


def chosen_labels(labels: list[int] | None, guidance: float, model, name: str,
                  n: int) -> list[int] | None:
    """--labels, one for each of n pictures, if the network knows them."""
    if labels is None:
        if guidance != 1:
            raise click.UsageError("--guidance needs --labels", click.get_current_context())
        return None
    if not model.classes:
        raise click.BadParameter(f"must be left out for {name}, a network without labels",
                                 param_hint="'--labels'")
    if max(labels) >= model.classes:
        raise click.BadParameter(f"must be in 0..{model.classes - 1} for {name}, got {max(labels)}",
                                 param_hint="'--labels'")
    if len(labels) not in (1, n):
        raise click.BadParameter(f"must be one, or one a picture, {n}, got {len(labels)}",
                                 param_hint="'--labels'")
    return labels * (n // len(labels))


def chosen_device(name: str) -> torch.device:
    """--device; "auto" is the accelerator that is there, and one asked for in vain is an error.

    In several processes each takes the GPU of its number on its machine; they are CUDA's alone.
    """
    here = accelerator.device()
    if world_size() > 1 and here.type != "cuda":
        here = torch.device("cpu")
    if name not in ("auto", "cpu", here.type):
        raise click.BadParameter(f"must be {' or '.join(dict.fromkeys(('auto', 'cpu', here.type)))}"
                                 f" here, got {name!r}: this PyTorch sees no {name.upper()} device"
                                 f"{' for several processes' * (world_size() > 1)}",
                                 param_hint="'--device'")
    if name == "auto":
        name = here.type
    if name == "cuda" and world_size() > 1:
        found = torch.cuda.device_count()
        if local_rank() >= found:
            raise click.BadParameter(f"must be cpu here, or the launcher's processes at most "
                                     f"{found}: each process needs a CUDA device of its own, and "
                                     f"this PyTorch sees {found}", param_hint="'--device'")
        return torch.device(name, local_rank())
    return torch.device(name)


def chosen_computing(device: str, autocast: str) -> tuple[torch.device, str]:
    """--device, and --autocast as this device does it; fp16 on a CPU is an error."""
    found = chosen_device(device)
    with blaming("--autocast"):
        return found, precision.resolve(autocast, found)


def network(weights: str | Path, device: torch.device, download: bool):
    """The network, its schedule, and what it is called."""
    with blaming("--weights"), first_goes_ahead():
        if isinstance(weights, Path):
            return *load_weights(weights, device), weights.stem
        return *load_pretrained(weights, device, download=download), weights


def check_walk(schedule: Schedule, steps: int, spacing: str, eta: float | str = 0.0,
               order: int = 1) -> list[int]:
    """The levels to visit; an error that names --steps or --eta before any work is done."""
    if order == 2 and eta != 0:
        raise click.BadParameter(f"must be 0 with --order 2, got {eta}", param_hint="'--eta'")
    with blaming("--steps"):
        taus = timesteps(schedule, steps, spacing)
    try:
        for t, s in pairs(taus):
            coefficients(schedule.at(t), schedule.at(s), eta)
    except ValueError as error:
        # eq. 16 is linear in eta, and 1 - alpha_s - sigma^2 must not fall below 0.
        most = min(math.sqrt(1 - schedule.at(s)) / sigma(schedule.at(t), schedule.at(s), 1.0)
                   for t, s in pairs(taus) if s)
        raise click.BadParameter(
            f"must be at most {math.floor(most * 1e4) / 1e4:g} for {steps} steps ({spacing}), or "
            f"hat, got {eta:g}: 1 - alpha_s - sigma^2 may not be negative",
            param_hint="'--eta'") from error
    return taus
