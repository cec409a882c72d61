"""ddim train: a preset's network on digits, a data set or a folder of one's own."""

from __future__ import annotations

import os
import shlex
import time
from copy import deepcopy
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import click
import torch

import ddim_lib
from ddim_lib import datasets
from ddim_lib.cli.errors import blaming
from ddim_lib.cli.options import (
    LARGEST_SEED,
    Named,
    Number,
    Weights,
    chosen_device,
    device_option,
)
from ddim_lib.cli.output import prepare, write_json, writing
from ddim_lib.cli.together import first_goes_ahead
from ddim_lib.presets import PRESETS
from ddim_lib.runtime.processes import broadcast, is_first, wait, world_size
from ddim_lib.runtime.provenance import commit, hardware
from ddim_lib.storage.files import check_zip, sole_writer
from ddim_lib.training import LOSS_WEIGHTS, Stopped, Trainer
from ddim_lib.unet import UNetConfig
from ddim_lib.weights import load_pretrained, load_weights, published

ONE_OR_MORE = click.IntRange(min=1)
BEGUN = ", begun with "  # in what a checkpoint says of its run


@click.command()
@click.argument("preset", type=Named(PRESETS), metavar="PRESET")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True,
              metavar="FOLDER", help="For checkpoint, weights and loss; made where missing.")
@click.option("--folder", type=click.Path(path_type=Path), metavar="PICTURES",
              help="A folder, zip or tar to train on; cropped and resized to the network.")
@click.option("--data", type=Named(datasets.NAMES), metavar="|".join(datasets.NAMES),
              help="Instead of the preset's data set.")
@click.option("--download", is_flag=True,
              help="Fetch a missing data set, or the published weights of --start.")
@click.option("--start", type=Weights(), metavar="NAME|FILE",
              help="Weights to begin with, instead of drawn ones.")
@click.option("--steps", type=ONE_OR_MORE, help="Gradient steps, instead of the preset's.")
@click.option("--minutes", type=Number(0, above=True),
              help="Instead of --steps: as many as take about so long, by timing a few.")
@click.option("--batch-size", type=ONE_OR_MORE, help="Instead of the preset's.")
@click.option("--lr", type=Number(0, above=True), help="Instead of the preset's.")
@click.option("--warmup", type=click.IntRange(min=0), help="Steps, instead of the preset's.")
@click.option("--ema", type=Number(0, 0.999999), help="Decay, instead of the preset's.")
@click.option("--loss-weight", type=Named(LOSS_WEIGHTS), metavar="|".join(LOSS_WEIGHTS),
              help="Of a picture's squared error, instead of the preset's; 1/alpha: the "
                   "velocity's error.")
@click.option("--mean-weight", type=Number(0), help="Of the error of a channel's mean.")
@click.option("--stable-targets", is_flag=True, default=None,
              help="Compare with the mean over all pictures, not with the one that was drawn.")
@click.option("--seed", type=click.IntRange(0, LARGEST_SEED), default=0)
@click.option("--resolution", type=ONE_OR_MORE, help="Instead of the preset's, in pixels.")
@click.option("--channels", type=Named(["1", "3"]), metavar="1|3", help="1: grey, 3: colour.")
@click.option("--ch", type=ONE_OR_MORE, help="Width of the network, instead of the preset's.")
@click.option("--compile", "compiled", is_flag=True, help="Through torch.compile.")
@click.option("--half", is_flag=True, help="Store the weights as float16.")
@click.option("--every", type=ONE_OR_MORE, default=1000, help="Steps between checkpoints.")
@click.option("--log-every", type=ONE_OR_MORE, default=50, help="Steps a loss is a mean of.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
@click.option("--force", is_flag=True, help="Begin anew over the run in --out.")
@device_option
@click.pass_context
def train(ctx, preset, out, folder, data, download, start, steps, minutes, batch_size, lr, warmup,
          ema, loss_weight, mean_weight, stable_targets, seed, resolution, channels, ch, compiled,
          half, every, log_every, resume, force, device):
    """Train a network.

    PRESET is digits, mnist, mnist-labels, mnist-eps, mnist-paper, kkanji, anime-faces or
    cifar10-small.

    FOLDER gets checkpoint.pt, PRESET.safetensors (the averaged weights, with their history) and
    loss.json. An older run there is only continued (--resume) or overwritten (--force), by the
    first checkpoint. Ctrl-C saves one and says how to go on; a resumed run equals an undisturbed
    one.

    \b
    Examples:
      ddim train digits --steps 10 --out run
      ddim train digits --steps 10 --out run --resume
      ddim sample --weights run/digits.safetensors --n 8 --steps 10 --out mine.png
      ddim train digits --folder pictures --resolution 16 --batch-size 4 --steps 5 --out own
      ddim train mnist --data digits --start mnist --minutes 0.2 --batch-size 8 --out further
    """
    for one, other in (("resume", "force"), ("folder", "data"), ("folder", "download"),
                       ("steps", "minutes"), ("resume", "minutes")):
        if ctx.params[one] and ctx.params[other] \
                and not (other == "download" and start in published.NAMES):
            raise click.UsageError(f"--{one} and --{other} exclude each other: give one of them",
                                   ctx)
    device = chosen_device(device)
    checkpoint, weights, log = (out / name for name in (
        "checkpoint.pt", f"{preset}.safetensors", "loss.json"))
    began = out.is_dir()
    if began:
        hold(ctx, out)
    check_out(out, (checkpoint, weights, log), resume, force)
    unet = chosen_network(PRESETS[preset].unet, resolution, channels, ch)
    given = {"steps": steps, "batch_size": batch_size, "lr": lr, "warmup": warmup,
             "ema_decay": ema, "loss_weight": loss_weight, "mean_weight": mean_weight,
             "stable_targets": stable_targets}
    config = replace(PRESETS[preset].training, compile=compiled, seed=seed,
                     **{key: value for key, value in given.items() if value is not None})
    if config.batch_size % world_size():
        raise click.BadParameter(f"must be divisible by the number of processes, {world_size()}, "
                                 f"got {config.batch_size}", param_hint="'--batch-size'")
    with first_goes_ahead():
        images, labels, name = training_pictures(preset, unet, folder, data, download)
    if config.stable_targets and unet.classes:
        raise click.BadParameter(f"must be left out for {preset}: the mean is over pictures of any "
                                 "label", param_hint="'--stable-targets'")
    if len(images) < config.batch_size:
        raise click.BadParameter(f"must be at most the number of pictures, {len(images)}, got "
                                 f"{config.batch_size}", param_hint="'--batch-size'")
    # Convolutions in ten-bit products: several times faster on a GPU, and enough for training.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.manual_seed(config.seed)
    model, begun = first_weights(unet, start, download)
    if minutes:
        steps = steps_in(minutes, Trainer(deepcopy(model), model.schedule, images,
                                          replace(config, steps=10), device, labels))
        config = replace(config, steps=steps)
    trainer = Run(model, model.schedule, images, config, device, labels)
    trainer.begun, trainer.older = begun, (weights, log) if force else ()
    if resume:
        with blaming("--resume"):
            trainer.load(checkpoint)
    if is_first():
        prepare("--out", [checkpoint, weights, log])
    if not began:
        hold(ctx, out)
        check_out(out, (checkpoint, weights, log), resume, force)  # again: nobody held it before
    click.echo(f"{preset}: {sum(p.numel() for p in trainer.model.parameters()):,} parameters, "
               f"{len(images):,} pictures, steps {trainer.step:,} to {config.steps:,} of "
               f"{config.batch_size} in {trainer.precision} on {hardware(device)}"
               f"{trainer.begun and f', begun with {trainer.begun}'}")
    try:
        with writing("--out", checkpoint):
            trainer.run(checkpoint=checkpoint, every=every, log_every=log_every)
    except Stopped as stopped:
        if is_first():
            click.echo(f"{stopped}. Go on with: {go_on(ctx, config.steps)}", err=True)
        wait()  # a launcher ends all the others as soon as one has ended with a code that is not 0
        ctx.exit(130)
    if not is_first():
        return
    # Over the data, of a channel's mean pixel in [-1, 1]: what the right response to the mean of
    # the noise depends on. These pictures are all that is learnt, not a sample of others, so that
    # the spread of one is 0.
    spread = (images.float().mean(dim=(2, 3)) / 127.5).std(0, correction=0).mean().item()
    facts = {
        "preset": preset, "data": name, "images": len(images), "spread": round(spread, 4),
        **({"start": trainer.begun} if trainer.begun else {}), "training": asdict(config),
        "epochs": config.steps * config.batch_size / len(images), "weights": "EMA",
        "precision": trainer.precision, "seconds": round(trainer.seconds),
        "hardware": hardware(device), "torch": torch.__version__,
        "library": ddim_lib.__version__, "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "final_loss": round(trainer.record[-1]["loss"], 5),
    }
    with writing("--out", weights):
        ddim_lib.save_weights(weights, trainer.ema, trainer.schedule,
                              dtype=torch.float16 if half else torch.float32, **facts)
    write_json("--out", log, {**facts, "loss": trainer.record})
    click.echo(f"{weights}: loss {trainer.record[-1]['loss']:.4f} after {config.steps:,} steps, "
               f"{trainer.seconds:.0f} s")


class Run(Trainer):
    """A run in a folder of its own.

    Attributes:
        begun: what the weights that it began with are called, which its checkpoints tell; "" for
            drawn ones, and for those that a checkpoint will tell.
        older: results of another run, which go with the first checkpoint of this one.
    """

    begun = ""
    older: tuple[Path, ...] = ()

    def save(self, path):
        """Write a checkpoint, and take away another run's results."""
        super().save(path)
        if is_first():
            for result in self.older:
                result.unlink(missing_ok=True)

    def load(self, path):
        """Continue from a checkpoint; without a --start of its own from any of this run."""
        self.begun = self.begun or begun_with(path)
        super().load(path)

    def _identity(self):
        return super()._identity() + (self.begun and BEGUN + self.begun)


def begun_with(checkpoint: Path) -> str:
    """What the weights that a run began with are called; "" where its checkpoint tells of none."""
    try:
        check_zip(checkpoint)  # of another file torch.load would warn
        told = torch.load(checkpoint, map_location="cpu", weights_only=True)["run"]
        return told.partition(BEGUN)[2]
    except Exception:  # what is wrong with the file, its loading tells
        return ""


def hold(ctx: click.Context, out: Path) -> None:
    """Keep the folder for this command, or end it where another one has it."""
    try:
        if is_first():
            ctx.with_resource(sole_writer(out))
    except BlockingIOError as error:
        raise click.BadParameter(f"another ddim train writes into {out} now: name another folder, "
                                 "or wait for its end", param_hint="'--out'") from error


def check_out(out: Path, files: tuple[Path, ...], resume: bool, force: bool) -> None:
    """An older run in --out is neither overwritten nor continued unless that is asked for."""
    found = [path.name for path in files if path.exists()]
    if resume and files[0].name not in found:
        raise click.BadParameter(f"there is no {files[0].name} in {out} to go on from",
                                 param_hint="'--resume'")
    if found and not resume and not force:
        raise click.BadParameter(f"{out} already holds a run ({', '.join(found)}): --resume "
                                 "goes on with it, --force begins anew over it",
                                 param_hint="'--out'")


def chosen_network(unet: UNetConfig, resolution: int | None, channels: str | None,
                   ch: int | None) -> UNetConfig:
    """The preset's network with another size; attention stays at the levels where it was."""
    levels = [i for i, r in enumerate(unet.resolutions) if r in unet.attn_resolutions]
    changes = {"in_channels": int(channels or unet.in_channels), "ch": ch or unet.ch}
    if resolution:
        changes |= {"resolution": resolution,
                    "attn_resolutions": tuple(resolution // 2**i for i in levels)}
    with blaming("--resolution" if resolution and resolution % unet.divisor else "--ch"):
        return replace(unet, **changes)


def first_weights(unet: UNetConfig, start: str | Path | None,
                  download: bool) -> tuple[ddim_lib.UNet, str]:
    """The network with drawn weights, or with those of --start and what these are called.

    They may predict in another form, which is no more than a place to begin. Labels that they do
    not know begin at zero, so that the network answers as without labels. Other groups or label
    offsets fit as well; since that can be meant, it is told and no error.
    """
    model = ddim_lib.UNet(unet, ddim_lib.linear())
    if start is None:
        return model, ""
    with blaming("--start"):
        with first_goes_ahead():
            known, schedule = load_weights(start) if isinstance(start, Path) else \
                load_pretrained(start, download=download)
        state, wanted = known.state_dict(), model.state_dict()
        if unet.classes and not known.classes:
            state["label_emb.weight"] = wanted["label_emb.weight"]
        other = sorted(key for key in {*state, *wanted}
                       if key not in state or key not in wanted
                       or state[key].shape != wanted[key].shape)
        if other:
            raise ValueError(f"must fit the network that is trained: {len(other)} tensors differ "
                             f"from it in {start}, the first is {other[0]}")
        if not torch.equal(schedule.alpha, model.schedule.alpha):
            raise ValueError(f"must be weights of the linear schedule, got {schedule.name} "
                             f"{dict(schedule.parameters)}")
    model.load_state_dict(state)
    name = start if isinstance(start, str) else start.name
    for field in ("groups", "label_offset"):
        its, own = getattr(known.config, field), getattr(unet, field)
        if its != own and is_first():
            click.echo(f"--start: {name} was trained with {field} = {its}, this network has {own}: "
                       "with the same weights it answers otherwise", err=True)
    return model, name


def steps_in(minutes: float, trial: Trainer) -> int:
    """How many steps take so long, from ten of a trial run: its first two wait for compilers."""
    list(trial.train(2))[-1].loss.item()
    begin = time.perf_counter()
    list(trial.train())[-1].loss.item()
    steps = torch.tensor(max(1, round(minutes * 60 * 8 / (time.perf_counter() - begin))),
                         device=trial.device)
    broadcast([steps])  # the first process's: another would count others
    return int(steps)


def training_pictures(preset: str, unet: UNetConfig, folder: Path | None, data: str | None,
             download: bool) -> tuple[torch.Tensor, torch.Tensor | None, str]:
    """uint8 images that fit the network, its labels of them, and what they are called."""
    if folder is not None:
        if unet.classes:
            raise click.BadParameter(f"must be left out for the preset {preset}, which learns "
                                     "labels: a folder has none", param_hint="'--folder'")
        with blaming("--folder"):
            images = datasets.load_folder(folder, unet.resolution, unet.in_channels)
        return images, None, folder.resolve().name
    name = data or PRESETS[preset].data
    try:
        images, labels = datasets.load_uint8(name, download=download)
    except datasets.DatasetNotFoundError as error:
        raise click.BadParameter(str(error), param_hint="'--data'") from error
    shape = (unet.in_channels, unet.resolution, unet.resolution)
    if tuple(images.shape[1:]) != shape:
        raise click.BadParameter(
            f"must have the network's shape {shape}; {name} has {tuple(images.shape[1:])}: choose "
            f"another preset, or --resolution {images.shape[2]} --channels {images.shape[1]}",
            param_hint="'--data'")
    if not unet.classes:
        return images, None, name
    if labels.max() >= unet.classes:
        raise click.BadParameter(f"must have the {unet.classes} labels of the preset {preset}; "
                                 f"{name} has {labels.max().item() + 1}", param_hint="'--data'")
    return images, labels, name


def go_on(ctx: click.Context, steps: int) -> str:
    """The command that continues this run: as it was typed, with --resume, without --force.

    Its steps, where minutes were asked for: they are decided.
    """
    words = ctx.command_path.split()
    if world_size() > 1:
        words = ["torchrun", "--nproc-per-node", os.environ.get("LOCAL_WORLD_SIZE", "1"),
                 "-m", "ddim_lib", *words[-1:]]
    for option in ctx.command.params:
        value = ctx.params[option.name]
        if option.name in ("resume", "force") or \
                ctx.get_parameter_source(option.name) is not click.core.ParameterSource.COMMANDLINE:
            continue
        if option.name == "minutes":
            words += ["--steps", str(steps)]
        elif isinstance(option, click.Argument):
            words.append(value)
        else:
            words += [option.opts[-1]] if option.is_flag else [option.opts[-1], str(value)]
    return shlex.join([*words, "--resume"])
