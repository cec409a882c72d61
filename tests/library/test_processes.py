"""Several processes do what one does; an error, a signal or a death in one of them ends all.

A launcher starts this very file: PROGRAMS are what each process then does. Times are limited, so
that a hang fails.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
import torch
import torch.distributed as dist
from PIL import Image
from test_cli_train import TINY, assert_error, draw_pictures, files
from test_training import assert_same, images, run
from torch import nn

import ddim_lib
from ddim_lib.cli import evaluate as cli_evaluate
from ddim_lib.cli import main, together
from ddim_lib.cli import options as cli_options
from ddim_lib.cli import sample as cli_sample
from ddim_lib.cli import train as cli_train
from ddim_lib.pixels import to_float
from ddim_lib.runtime import processes
from ddim_lib.training import Trainer, TrainingConfig, learning_rate, noise_prediction_loss

NETWORK = ddim_lib.UNetConfig(8, 1, 16, (1, 2), 1, (4,), dropout=0.0, groups=8)
# Gradients of a tenth of their norm: clipping before the mean would show.
CONFIG = TrainingConfig(steps=6, batch_size=4, lr=1e-3, warmup=3, grad_clip=0.05, ema_decay=0.9,
                        autocast="fp32", flip=True, seed=7)
V_FORM = (replace(CONFIG, loss_weight="1/alpha", mean_weight=4.0, label_dropout=0.3),
          replace(NETWORK, prediction_type="v_prediction", classes=3))
# Measured after 6 steps: losses 2e-7, weights 2e-7. Adam has moved weights by up to 2e-3.
LOSS, WEIGHT = 1e-6, 1e-5
PICTURE = 1e-5


def trainer(config=CONFIG, network=NETWORK, seed=100, data=None):
    torch.manual_seed(seed)
    schedule = ddim_lib.linear()
    data = images() if data is None else data
    labels = torch.arange(len(data)) % network.classes if network.classes else None
    return Trainer(ddim_lib.UNet(network, schedule), schedule, data, config, "cpu", labels)


def state(t):
    return {f"{part}.{key}": value.clone() for part in ("model", "ema")
            for key, value in getattr(t, part).state_dict().items()}


def told_error(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except ValueError as error:
        return str(error)


# What each process does ---------------------------------------------------------------------------

def library():
    """Every part of the library once; what this process found is returned."""
    me, found = processes.rank(), {}
    found["place"] = (me, processes.world_size(), processes.is_first(), processes.local_rank())
    found["tells"] = [processes.tells(), processes.tells()]

    # What they say to one another.
    found["shares"] = [list(together.share(range(n))) for n in (0, 1, 4, 5)]
    rows = torch.arange(10).view(5, 2)
    found["gathered"] = [together.gather(list(together.share(rows[:n]).split(2))) for n in (5, 1)]
    found["any"] = [processes.any_of(flag) for flag in (False, me == 1, me == 0, True)]
    one, other = torch.full((2, 3), float(me)), torch.tensor(4.0 - me)
    processes.average([one.T, other])
    found["average"] = one, other
    one = torch.full((2, 3), float(me)).T  # not contiguous
    processes.broadcast([one])
    found["broadcast"] = one
    found["same"] = [told_error(processes.check_same, "it", value) for value in (3, [me])]
    with together.first_goes_ahead():
        found["ahead"] = Path("first was here").exists()
        if me == 0:
            time.sleep(1)
            Path("first was here").touch()

    # Sampling: the weights of seed 0 in every process.
    found["samples"] = samples(together.sample_together)

    # Training, from other weights in each process.
    t = trainer(seed=100 + me)
    found["losses"], found["state"] = run(t), state(t)
    t = trainer(*V_FORM, seed=100 + me)
    found["v-form"] = run(t), state(t)
    t = trainer(seed=1)
    t.load("by-one.pt")
    found["middle"] = t.step, run(t, 4)
    t.save("by-two.pt")
    return found


def samples(sample):
    torch.manual_seed(0)
    model, options = ddim_lib.UNet(NETWORK), {"steps": 3, "eta": 1.0, "progress": False}
    return [sample(model, ddim_lib.linear(), seeds=[5, 0, 9, 2, 2], batch_size=2, **options),
            sample(model, ddim_lib.linear(), seeds=[3], **options),
            sample(model, ddim_lib.linear(), seeds=range(3), x_T=torch.ones(3, 1, 8, 8), **options)]


def in_the_library():
    with processes.joined():
        me, found = processes.rank(), library()
    found["left"] = processes.world_size(), dist.is_initialized()
    torch.save(found, f"found-{me}.pt")


def planted(where):
    """What goes wrong in rank 1 (or, "disk", in the first) in the midst of step 3."""
    me, plain, count = int(os.environ["RANK"]), torch.optim.Adam.step, 0

    def step(self, *arguments, **options):
        nonlocal count
        count += 1
        if count == 3 and me == 1 and where != "disk":
            for _ in range(2 if where == "one" else 1):
                os.kill(os.getppid() if where == "launcher" else os.getpid(),
                        signal.SIGKILL if where == "kill" else signal.SIGTERM)
        if count > 3 and where == "launcher":
            time.sleep(1)  # until it hands the signal on
        return plain(self, *arguments, **options)

    if where != "none":
        torch.optim.Adam.step = step
    if where == "one" and me == 0:  # slow words: the other must not end before
        go_on = cli_train.go_on
        cli_train.go_on = lambda *all: (time.sleep(4), go_on(*all))[1]  # PyTorch takes 2 to end
    if where == "disk" and me == 0:
        def full(state, file):
            raise OSError(28, "No space left on device")
        torch.save = full


def command(where, *arguments):
    def refuse(source, target):
        raise AssertionError(f"{target} is written by rank {os.environ['RANK']}")

    planted(where)
    if os.environ["RANK"] != "0":
        os.replace = refuse  # with which every file of the library takes its place
    main(list(arguments))


PROGRAMS = {"library": in_the_library, "command": command}


# How they are started -----------------------------------------------------------------------------

TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node")
ACCELERATE = ("accelerate.commands.launch", "--multi_gpu", "--main_process_port", "0",
              "--num_processes")


def launch(n, *arguments, by=TORCHRUN):
    """(exit code, stdout, stderr) of a launcher with n processes; a hang is an error."""
    process = subprocess.Popen([sys.executable, "-m", *by, str(n), __file__, *arguments],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HOME": os.getcwd(),
                                    "PYTHONPATH": os.pathsep.join(sys.path)})
    try:
        out, err = process.communicate(timeout=240)
    finally:
        process.terminate()  # which ends what it has started
        process.wait(60)
    return process.returncode, out, err


def lines(text, *begin):
    return [line for line in text.splitlines() if line.startswith(begin)]


def close(found, expected, tolerance):
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


# The library --------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What two processes found; they also went on from step 2 of a run in one process."""
    folder = tmp_path_factory.mktemp("library")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        t = trainer()
        run(t, 2)
        t.save("by-one.pt")
        code, out, err = launch(2, "library")
    assert code == 0, err
    return folder, [torch.load(folder / f"found-{i}.pt", weights_only=False) for i in (0, 1)]


@pytest.mark.slow
def test_each_process_has_its_place_and_leaves_it(found):
    _, both = found
    assert [f["place"] for f in both] == [(0, 2, True, 0), (1, 2, False, 1)]
    assert sorted(f["tells"] for f in both) == [[False, False], [True, False]]
    assert [f["left"] for f in both] == [(1, False)] * 2


@pytest.mark.slow
def test_what_is_shared_comes_together_again(found):
    _, (first, second) = found
    assert first["shares"] == [[], [0], [0, 1], [0, 1, 2]]
    assert second["shares"] == [[], [], [2, 3], [3, 4]]
    rows = torch.arange(10).view(5, 2)
    assert torch.equal(first["gathered"][0], rows) and torch.equal(first["gathered"][1], rows[:1])
    assert second["gathered"] == [None, None]
    for f in (first, second):
        assert f["any"] == [False, True, True, True]
        assert torch.equal(f["average"][0], torch.full((2, 3), 0.5)) and f["average"][1] == 3.5
        assert torch.equal(f["broadcast"], torch.zeros(3, 2))
        assert f["same"] == [None, "it must be the same in every process, got [0] in process 0 "
                                   "and [1] in process 1"]
    assert (first["ahead"], second["ahead"]) == (False, True)


@pytest.mark.slow
def test_samples_are_those_of_one_process_in_the_order_of_the_seeds(found):
    _, (first, second) = found
    for ours, theirs in zip(first["samples"], samples(ddim_lib.sample), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=PICTURE)
    assert second["samples"] == [None] * 3


@pytest.mark.slow
def test_a_run_in_two_processes_is_the_run_in_one(found):
    _, both = found
    t = trainer()
    losses = run(t)
    for f in both:
        assert f["losses"] == both[0]["losses"]
        assert_same(f["state"], both[0]["state"])
    assert both[0]["losses"] == pytest.approx(losses, rel=LOSS)
    close(both[0]["state"], state(t), WEIGHT)


@pytest.mark.slow
def test_the_v_form_too_trains_as_in_one_process(found):
    """With labels, some of them left out."""
    _, both = found
    t = trainer(*V_FORM)
    losses = run(t)
    for f in both:
        assert f["v-form"][0] == pytest.approx(losses, rel=LOSS)
        close(f["v-form"][1], state(t), WEIGHT)
    assert state(t)["ema.label_emb.weight"].abs().amax(1).min() > 0


@pytest.mark.slow
def test_a_run_goes_on_in_another_number_of_processes(found):
    """One process, then two, then one."""
    folder, both = found
    whole, t = trainer(), trainer(seed=2)
    losses = run(whole)
    t.load(folder / "by-two.pt")
    assert t.step == 4
    last = run(t)
    for f in both:
        assert f["middle"][0] == 2
        assert f["middle"][1] + last == pytest.approx(losses[2:], rel=LOSS)
    close(state(t), state(whole), WEIGHT)
    assert torch.equal(t.generator.get_state(), whole.generator.get_state())


def test_alone_it_is_the_plain_loop_bit_for_bit():
    network = replace(NETWORK, dropout=0.5)
    t = trainer(network=network)
    losses = run(t, 4)

    torch.manual_seed(100)
    model = ddim_lib.UNet(network).train()
    ema = {key: p.detach().clone() for key, p in model.named_parameters()}
    adam = torch.optim.Adam(model.parameters(), betas=CONFIG.betas, fused=True)
    generator = torch.Generator().manual_seed(CONFIG.seed)
    order = torch.randperm(18, generator=torch.Generator().manual_seed(CONFIG.seed * 1_000_003))
    torch.manual_seed(CONFIG.seed)
    for i in range(4):
        x0 = to_float(images()[order[4 * i:4 * i + 4]])
        mirror = torch.rand(4, generator=generator) < 0.5
        x0 = torch.where(mirror[:, None, None, None], x0.flip(3), x0)
        loss = noise_prediction_loss(model, ddim_lib.linear(), x0, generator)
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CONFIG.grad_clip)
        adam.param_groups[0]["lr"] = learning_rate(CONFIG, i)
        adam.step()
        assert losses[i] == loss.item()
        decay = min(CONFIG.ema_decay, (2 + i) / (11 + i))
        torch._foreach_lerp_(list(ema.values()), [p.detach() for p in model.parameters()],
                             1 - decay)
    for part, values in (("model", model.named_parameters()), ("ema", ema.items())):
        assert all(torch.equal(state(t)[f"{part}.{key}"], value) for key, value in values)


# The command --------------------------------------------------------------------------------------

@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DDIM_DATA", str(tmp_path / "data"))
    draw_pictures(tmp_path)
    return tmp_path


def ddim(n, *arguments, where="none", by=TORCHRUN):
    return launch(n, "command", where, *map(str, arguments), by=by)


@pytest.mark.slow
def test_a_run_is_stopped_twice_in_two_and_ends_in_one(folder, run_ddim):
    """By a signal to accelerate's launcher, then by one that a process alone gets, twice."""
    options = [*TINY, "--steps", 16]
    assert run_ddim(*options, "--out", "whole")[0] == 0
    step = 0
    for where, by in (("launcher", ACCELERATE), ("one", TORCHRUN)):
        code, out, err = ddim(2, *options, "--out", "run", *["--resume"][:step], where=where, by=by)
        before, step = step, torch.load("run/checkpoint.pt", weights_only=True)["step"]
        assert code != 0 and before + 3 <= step < 16, err
        assert out.count("\n") == 1 and "2 processes" in out
        assert len(lines(err, f"Stopped at step {step} of 16, saved in run/checkpoint.pt. Go on "
                              "with: torchrun --nproc-per-node 2 -m ddim_lib train digits")) == 1
        assert not lines(err, "Error") and os.listdir("run") == ["checkpoint.pt"]
    assert step == before + 3
    assert run_ddim(*options, "--out", "run", "--resume")[0] == 0

    whole, parts = (json.loads(Path(run, "loss.json").read_text()) for run in ("whole", "run"))
    tolerance = {"fp32": (LOSS, WEIGHT), "bf16": (0.02, 0.02)}[whole["precision"]]
    for one, other in zip(whole["loss"], parts["loss"], strict=True):
        assert other["step"] == one["step"]
        assert other["loss"] == pytest.approx(one["loss"], rel=tolerance[0])
    one, other = (ddim_lib.load_weights(f"{run}/digits.safetensors")[0].state_dict()
                  for run in ("whole", "run"))
    close(other, one, tolerance[1])
    assert files(folder / "run").keys() == files(folder / "whole").keys()


@pytest.mark.slow
@pytest.mark.parametrize("where, words", [
    ("kill", "Error: another process of this run has ended or does not answer ("),
    ("disk", "Error: --out run/checkpoint.pt cannot be written: No space left on device. What was "
             "there before is untouched (rank 0 of 2 processes)"),
])
def test_what_goes_wrong_in_one_ends_all_with_one_line(where, words, folder):
    begin = time.monotonic()
    code, out, err = ddim(2, *TINY, "--steps", 1000, "--every", 4, "--out", "run", where=where)
    assert code != 0 and time.monotonic() - begin < 120
    told = lines(err, "Error", "Stopped")
    assert len(told) == 1 and told[0].startswith(words), err
    assert not Path("run/checkpoint.pt").exists()


@pytest.mark.slow
def test_samples_and_films_are_gathered_even_with_more_processes_than_seeds(folder, run_ddim):
    options = ("sample", "--weights", "mnist-labels", "--labels", "7,3", "--guidance", 2, "--seeds",
               "7,3", "--steps", 4, "--eta", 1, "--device", "cpu", "--frames", 3)
    one, three = ([word for kind in ("npy", "png", "gif") for word in ("--out", f"{run}/a.{kind}")]
                  for run in ("one", "three"))
    assert run_ddim(*options, *one)[0] == 0
    code, out, err = ddim(3, *options, *three)
    assert code == 0 and not lines(err, "Error"), err
    assert out.count("\n") == 1 and out.startswith("2 pictures, 4 steps")
    np.testing.assert_allclose(np.load("three/a.npy"), np.load("one/a.npy"), rtol=0, atol=PICTURE)
    for kind in ("png", "gif"):
        with Image.open(f"one/a.{kind}") as one, Image.open(f"three/a.{kind}") as three:
            assert getattr(one, "n_frames", 1) == getattr(three, "n_frames", 1)
            for i in range(getattr(one, "n_frames", 1)):
                one.seek(i), three.seek(i)
                a, b = (np.array(picture.convert("L"), int) for picture in (one, three))
                assert a.shape == b.shape and abs(a - b).max() <= 1, (kind, i)


# What is wrong before anything begins -------------------------------------------------------------

COMPLETE = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost",
            "MASTER_PORT": "1"}


@pytest.fixture
def variables(monkeypatch):
    """Sets a launcher's variables, and these alone."""
    def choose(chosen):
        for name in COMPLETE:
            monkeypatch.delenv(name, raising=False)
        for name, value in chosen.items():
            monkeypatch.setenv(name, value)
    return choose


@pytest.mark.parametrize("chosen, words", [
    ({**COMPLETE, "MASTER_ADDR": ""},
     "missing here: MASTER_ADDR. Start with torchrun, or unset the others"),
    ({"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"},
     "missing here: RANK, LOCAL_RANK."),
    # What accelerate launch --cpu --num_processes 2 sets.
    ({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "ACCELERATE_MIXED_PRECISION": "no"},
     "give it --multi_gpu instead"),
    (COMPLETE, 'need accelerate: pip install "ddim-lib[train]"'),
])
def test_what_cannot_begin_is_an_error(chosen, words, variables, monkeypatch, run_ddim, folder):
    variables(chosen)
    monkeypatch.setitem(sys.modules, "accelerate", None)
    assert_error(run_ddim("sample", "--n", 1, "--steps", 1, "--out", "x.npy"), words)
    assert not Path("x.npy").exists()


@pytest.mark.parametrize("chosen", [{}, {**COMPLETE, "WORLD_SIZE": "1"},
                                    {"MASTER_ADDR": "localhost", "MASTER_PORT": "1"}])
def test_one_process_joins_nobody(chosen, variables, monkeypatch):
    variables(chosen)
    monkeypatch.setitem(sys.modules, "accelerate", None)  # so that its import fails
    with processes.joined():
        assert (processes.rank(), processes.world_size(), processes.local_rank()) == (0, 1, 0)
        assert processes.tells() and processes.tells() and not dist.is_initialized()
        assert together.gather([torch.ones(1, 2), torch.ones(2, 2)]).shape == (3, 2)
        assert together.share([1, 2]) == [1, 2]
        assert [processes.any_of(flag) for flag in (False, True)] == [False, True]


def test_each_process_takes_the_gpu_of_its_number(monkeypatch):
    monkeypatch.setattr(cli_options.accelerator, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert cli_options.chosen_device("auto") == torch.device("cuda")
    monkeypatch.setattr(cli_options, "world_size", lambda: 3)
    monkeypatch.setattr(cli_options, "local_rank", lambda: 1)
    assert cli_options.chosen_device("auto") == torch.device("cuda", 1)
    assert cli_options.chosen_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(cli_options, "local_rank", lambda: 2)
    for name in ("auto", "cuda"):
        with pytest.raises(click.BadParameter, match="processes at most 2: each process"):
            cli_options.chosen_device(name)
    monkeypatch.setattr(cli_options.accelerator, "device", lambda: torch.device("mps"))
    assert cli_options.chosen_device("auto") == torch.device("cpu")
    with pytest.raises(click.BadParameter, match="no MPS device for several processes"):
        cli_options.chosen_device("mps")


def test_a_batch_that_cannot_be_cut_is_an_error(folder, monkeypatch, run_ddim):
    monkeypatch.setattr(cli_train, "world_size", lambda: 3)
    assert_error(run_ddim(*TINY, "--steps", 2, "--out", "run"), "'--batch-size'",
                 "divisible by the number of processes, 3, got 4")
    assert not Path("run").exists()


@pytest.mark.parametrize("module, arguments", [
    (cli_sample, ("interpolate", "--frames", 3, "--steps", 2, "--out", "new/x.npy")),
    (cli_evaluate, ("evaluate", "--n", 3, "--steps", 2, "--out", "new/x.json")),
])
def test_who_has_no_pictures_writes_none(module, arguments, folder, monkeypatch, run_ddim):
    """In another process than the first."""
    monkeypatch.setattr(module, "is_first", lambda: False)
    monkeypatch.setattr(module, "sample_together", lambda *_, **options: seen.append(options))
    seen = []
    assert run_ddim(*arguments) == (0, "", "")
    assert len(seen) == 1 and len(seen[0].get("x_T", seen[0].get("seeds"))) == 3
    assert not Path("new").exists()


@pytest.mark.parametrize("name", ["encode", "weights"])
def test_other_commands_run_in_one_process(name, monkeypatch, run_ddim):
    monkeypatch.setattr("ddim_lib.cli.errors.world_size", lambda: 2)
    assert_error(run_ddim(name, "--help"), f"ddim {name} must run in one process, got 2")


if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
