"""The run behind ddim train: stopped between two steps, and continued as if it had not been."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from contextlib import nullcontext, suppress
from pathlib import Path

import click
import torch
from tqdm.auto import tqdm

from ddim_lib.cli.output import writing
from ddim_lib.collectives import stop_requests
from ddim_lib.files import after, waiting
from ddim_lib.processes import is_first
from ddim_lib.training import Trainer


class Stopped(Exception):
    """The run was asked to stop and is saved; the message says where."""


def train_until_the_end(trainer: Trainer, run: dict, checkpoint: Path, log: Path, every: int,
                        log_every: int) -> None:
    """Train to the last step. ``run`` gains "loss" and "seconds" and is written with checkpoints.

    The first process writes; a signal to any of them stops all after the same step.

    Unlike ``Trainer.run`` it also carries the record of the loss over an interruption.

    Raises:
        Stopped: after Ctrl-C or SIGTERM, with a checkpoint of the last whole step.
        FloatingPointError: the loss is not finite; the last checkpoint stays.
    """
    record = run.setdefault("loss", [])
    pending = run.pop("pending", {"sum": 0.0, "count": 0})
    total = torch.tensor(pending["sum"], device=trainer.device)
    count, before, begin = pending["count"], run.get("seconds", 0), time.perf_counter()

    def save() -> None:
        finite(trainer, total)
        run["seconds"] = before + time.perf_counter() - begin
        told = {**run, "step": trainer.step, "pending": {"sum": total.item(), "count": count}}
        record = after(log, json.dumps(told, indent=1) + "\n") if is_first() else nullcontext()
        with writing("--out", checkpoint), record:
            trainer.save(checkpoint)

    steps = trainer.config.steps
    quiet = {} if is_first() else {"disable": True}
    with stop_requests((signal.SIGINT, signal.SIGTERM)) as asked, \
            tqdm(total=steps, initial=trainer.step, desc=f"training in {trainer.precision}",
                 **quiet) as bar:
        for now in trainer.train():
            total, count = total + now.loss, count + 1
            bar.update()
            if now.step % log_every == 0 or now.step == steps:
                mean = finite(trainer, total) / count
                record.append({"step": now.step, "loss": mean})
                bar.set_postfix(loss=f"{mean:.4f}")
                total, count = torch.zeros_like(total), 0
            stop = asked()
            if stop or now.step % every == 0 or now.step == steps:
                save()
            if stop and now.step < steps:
                raise Stopped(f"Stopped at step {now.step:,} of {steps:,}, saved in {checkpoint}")
    run.setdefault("seconds", before)


def finite(trainer: Trainer, loss: torch.Tensor) -> float:
    """A sum of losses as a number; an error before anything good is overwritten."""
    value = loss.item()
    if not (math.isfinite(value)
            and all(torch.isfinite(p).all() for p in trainer.model.parameters())):
        raise FloatingPointError(
            f"the loss is not finite at step {trainer.step}: a smaller --lr than "
            f"{trainer.config.lr:g} may help; the last checkpoint is untouched")
    return value


def read_run(log: Path, run: dict, step: int) -> dict:
    """What loss.json tells of the run up to its checkpoint, added to ``run``.

    Raises:
        ValueError: the record is of other pictures, or cannot be read.
        FileNotFoundError: it is gone.
    """
    with suppress(OSError, ValueError, KeyError, TypeError):
        if json.loads(waiting(log).read_text())["step"] == step:
            os.replace(waiting(log), log)  # killed after the checkpoint: its own record waits
    if not log.is_file():
        raise FileNotFoundError(f"there is no {log}, the record of the run's loss")
    try:
        stored = json.loads(log.read_text())
        loss = [entry for entry in stored["loss"] if entry["step"] <= step]
        seconds, until = float(stored["seconds"]), int(stored["step"])
        pending = stored.get("pending") if until == step else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{log} is not the record of a run, or is damaged: {error!r}") from error
    for key, value in run.items():
        if stored.get(key) != value:
            raise ValueError(f"{log} is of another run: its {key} is {stored.get(key)!r}, this "
                             f"run's is {value!r}")
    if until < step and is_first():  # the program was killed between the two files
        click.echo(f"Note: the record of the loss lacks steps {until + 1} to {step}", err=True)
    return {**run, "loss": loss, "seconds": seconds,
            **({"pending": pending} if pending else {})}
