"""ddim train: a run that is stopped goes on as if it had not been, and nothing is overwritten."""

import json
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from test_datasets import numbers, packed, png
from test_training import assert_same
from test_unet import perturbed

import ddim_lib
from ddim_lib.cli import train as cli_train
from ddim_lib.cli.train import training_pictures
from ddim_lib.datasets import load_folder, load_uint8
from ddim_lib.presets import PRESETS, Preset
from ddim_lib.training import Trainer, TrainingConfig
from ddim_lib.unet import UNetConfig
from ddim_lib.weights import load_pretrained, read_facts, save_weights

TINY = ("train", "digits", "--folder", "pictures", "--resolution", "8", "--batch-size", "4",
        "--log-every", "2", "--device", "cpu")


def draw_pictures(folder):
    """pictures/0.png to 8.png in it, grey, 8x8."""
    packed(folder / "pictures", {f"{i}.png": png(numbers(8, 8, seed=i)) for i in range(9)})


@pytest.fixture
def ddim(run_ddim, monkeypatch, tmp_path):
    """Runs a command in a fresh folder with nine small pictures: (code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    draw_pictures(tmp_path)
    return run_ddim


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def assert_error(result, *words):
    code, _, err = result
    assert code == 2 and err.startswith("Error: ") and err.count("\n") == 1, err
    for word in words:
        assert word in err, err


@contextmanager
def small_disk(size):
    """No file may grow beyond ``size`` bytes: what a full disk does, without one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def stopped_after(step, number):
    """While this lasts, the process gets a signal in the midst of gradient step ``step``."""
    plain = torch.optim.Adam.step
    count = 0

    def then_signal(self, *arguments, **options):
        nonlocal count
        count += 1
        result = plain(self, *arguments, **options)
        if count == step:
            os.kill(os.getpid(), number)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", then_signal)
        yield


def test_it_trains_the_presets_network_as_the_library_does(ddim, tmp_path):
    code, out, err = ddim(*TINY, "--steps", 5, "--seed", 3, "--lr", "1e-2", "--out", "a/run")
    assert (code, err) == (0, "") and "loss" in out
    run = tmp_path / "a" / "run"
    assert sorted(os.listdir(run)) == ["checkpoint.pt", "digits.safetensors", "loss.json"]

    unet = UNetConfig(8, 1, 32, (1, 1, 2), 1, (2,), dropout=0.0)
    torch.manual_seed(3)
    images = load_folder(tmp_path / "pictures", 8, 1)
    trainer = Trainer(ddim_lib.UNet(unet), ddim_lib.linear(), images, TrainingConfig(
        steps=5, batch_size=4, lr=1e-2, ema_decay=0.99, seed=3), "cpu")
    record = trainer.run(log_every=2, progress=False)
    model, schedule = ddim_lib.load_weights(run / "digits.safetensors")
    assert model.config == unet and schedule.to_dict() == ddim_lib.linear().to_dict()
    assert_same(model.state_dict(), trainer.ema.state_dict())
    assert json.loads((run / "loss.json").read_text())["loss"] == record

    facts = read_facts(run / "digits.safetensors")
    wanted = {"preset": "digits", "data": "pictures", "images": 9, "weights": "EMA",
              "epochs": 20 / 9, "library": ddim_lib.__version__, "torch": torch.__version__,
              "precision": trainer.precision, "final_loss": round(record[-1]["loss"], 5)}
    assert {key: facts[key] for key in wanted} == wanted
    assert {"seconds", "hardware", "commit", "date"} <= facts.keys()
    assert facts["training"]["seed"] == 3 and facts["training"]["lr"] == 1e-2


def test_a_preset_with_labels_learns_those_of_its_data(ddim, tmp_path, monkeypatch):
    config = dict(resolution=28, in_channels=1, ch=8, ch_mult=(1, 2), num_res_blocks=1,
                  attn_resolutions=(), dropout=0.0, groups=4, classes=10)
    monkeypatch.setitem(PRESETS, "mnist-labels", replace(PRESETS["mnist-labels"],
                                                         unet=UNetConfig(**config)))
    options = ("train", "mnist-labels", "--data", "digits", "--batch-size", 4, "--log-every", 2,
               "--device", "cpu", "--steps", 4)
    code, _, err = ddim(*options, "--out", "run")
    assert (code, err) == (0, "")
    torch.manual_seed(0)
    images, labels = load_uint8("digits")
    trainer = Trainer(ddim_lib.UNet(UNetConfig(**config)), ddim_lib.linear(), images, replace(
        PRESETS["mnist-labels"].training, steps=4, batch_size=4), "cpu", labels)
    record = trainer.run(log_every=2, progress=False)
    assert json.loads((tmp_path / "run" / "loss.json").read_text())["loss"] == record
    model, _ = ddim_lib.load_weights(tmp_path / "run" / "mnist-labels.safetensors")
    assert_same(model.state_dict(), trainer.ema.state_dict())
    assert model.label_emb.weight.any()
    monkeypatch.setitem(PRESETS, "mnist-labels", replace(
        PRESETS["mnist-labels"], unet=UNetConfig(**{**config, "classes": 9})))
    assert_error(ddim(*options, "--out", "other"), "'--data'", "must have the 9 labels",
                 "digits has 10")


@pytest.fixture
def start(tmp_path):
    """A small network without labels, as a file."""
    model = perturbed(UNetConfig(28, 1, 16, (1, 2), 1, (14,), dropout=0.0, groups=4))
    save_weights(tmp_path / "start.safetensors", model, ddim_lib.linear())
    return model.eval()


@pytest.mark.parametrize("classes", [0, 10])
def test_a_run_may_begin_with_weights_of_a_network_without_labels(classes, start, ddim, tmp_path,
                                                                  monkeypatch):
    """In another form, and with a table of labels that changes no answer."""
    unet = replace(start.config, classes=classes, prediction_type="v_prediction")
    monkeypatch.setitem(PRESETS, "mnist", Preset("digits", unet, TrainingConfig(lr=1e-30)))
    options = ("train", "mnist", "--steps", 1, "--batch-size", 4, "--device", "cpu")
    code, out, err = ddim(*options, "--start", "start.safetensors", "--out", "run")
    assert code == 0 and "begun with start.safetensors" in out, err
    assert read_facts(tmp_path / "run" / "mnist.safetensors")["start"] == "start.safetensors"
    model, _ = ddim_lib.load_weights(tmp_path / "run" / "mnist.safetensors")
    x, t = torch.randn(2, 1, 28, 28), torch.full((2,), 5)
    with torch.no_grad():
        torch.testing.assert_close(model.predict(x, t), start.predict(x, t))
        if classes:
            y = torch.tensor([1, 7])
            torch.testing.assert_close(model.predict(x, t, y), start.predict(x, t))
    # What such a run has made may be the start of the next one, its table of labels too.
    code, out, err = ddim(*options, "--start", "run/mnist.safetensors", "--out", "next")
    assert code == 0, err
    again, _ = ddim_lib.load_weights(tmp_path / "next" / "mnist.safetensors")
    torch.testing.assert_close(again.state_dict(), model.state_dict())


@pytest.mark.parametrize("field, its, own", [("groups", 4, 8), ("label_offset", 1, 0)])
def test_weights_that_fit_but_answer_otherwise_are_told(field, its, own, start, ddim, monkeypatch):
    """So began "mnist", with 8 groups, from "mnist-eps", with 32."""
    unet = replace(start.config, **{field: own})
    monkeypatch.setitem(PRESETS, "mnist", Preset("digits", unet, TrainingConfig()))
    code, _, err = ddim("train", "mnist", "--steps", 1, "--batch-size", 4, "--device", "cpu",
                        "--start", "start.safetensors", "--out", "run")
    assert code == 0
    assert err == (f"--start: start.safetensors was trained with {field} = {its}, this network has "
                   f"{own}: with the same weights it answers otherwise\n")


def test_published_weights_to_begin_with_are_fetched_when_asked(ddim, monkeypatch):
    """A folder of one's own needs no --download, but they may."""
    asked = []

    def load(name, device, variant, path, download):
        asked.append((name, download))
        return ddim_lib.UNet(UNetConfig(8, 1, 32, (1, 1, 2), 1, (2,))), ddim_lib.linear()

    monkeypatch.setattr("ddim_lib.weights.published.load", load)
    options = (*TINY, "--steps", 1, "--start", "cifar10")
    assert ddim(*options, "--out", "a")[0] == 0
    code, out, err = ddim(*options, "--download", "--out", "b")
    assert (code, err) == (0, "") and "begun with cifar10" in out
    assert asked == [("cifar10", False), ("cifar10", True)]


def test_weights_that_do_not_fit_are_an_error(start, ddim, tmp_path):
    options = ("train", "mnist", "--data", "digits", "--steps", 1, "--out", "run")
    assert_error(ddim(*options, "--start", "start.safetensors"), "'--start'",
                 "must fit the network that is trained", "tensors differ from it in start.safetens")
    assert_error(ddim(*options, "--start", "mnist-labels"), "'--start'", "must fit",
                 "1 tensors differ", "the first is label_emb.weight")
    unet = load_pretrained("mnist")[0]
    save_weights(tmp_path / "cosine.safetensors", ddim_lib.UNet(unet.config, ddim_lib.cosine()),
                 ddim_lib.cosine())
    assert_error(ddim(*options, "--start", "cosine.safetensors"), "'--start'",
                 "must be weights of the linear schedule, got cosine")
    assert not (tmp_path / "run").exists()


def test_minutes_become_steps_and_the_run_is_that_of_these_steps(ddim, tmp_path):
    """Ten steps are timed, and leave no trace."""
    code, out, err = ddim(*TINY, "--minutes", 0.02, "--out", "timed")
    assert (code, err) == (0, "")
    timed = torch.load(tmp_path / "timed" / "checkpoint.pt")
    assert 1 <= timed["step"] < 100_000 and f"steps 0 to {timed['step']:,} of 4" in out
    assert ddim(*TINY, "--steps", timed["step"], "--out", "counted")[0] == 0
    counted = torch.load(tmp_path / "counted" / "checkpoint.pt")
    assert counted["record"] == timed["record"]
    assert_same(counted["model"], timed["model"])
    with stopped_after(12, signal.SIGINT):  # after the ten that are timed
        code, _, err = ddim(*TINY, "--minutes", 0.5, "--out", "stopped")
    steps = torch.load(tmp_path / "stopped" / "checkpoint.pt")["config"]["steps"]
    assert code == 130 and f"--steps {steps} " in err and "--minutes" not in err


def test_options_of_a_run_reach_its_configuration(ddim, tmp_path):
    assert ddim(*TINY, "--steps", 1, "--warmup", 7, "--ema", 0.5, "--mean-weight", 2, "--lr", 0.01,
                "--loss-weight", "1/alpha", "--stable-targets", "--out", "run")[0] == 0
    found = read_facts(tmp_path / "run" / "digits.safetensors")
    told = found["training"]
    assert (told["warmup"], told["ema_decay"], told["mean_weight"], told["lr"]) == (7, 0.5, 2, 0.01)
    assert told["loss_weight"] == "1/alpha" and told["stable_targets"] is True
    pixels = [np.asarray(Image.open(p)) / 127.5 for p in (tmp_path / "pictures").iterdir()]
    spread = np.std([picture.mean() for picture in pixels])
    assert found["spread"] == pytest.approx(spread, abs=5e-5)


def test_a_network_with_labels_takes_no_stable_targets(ddim):
    assert_error(ddim("train", "mnist-labels", "--data", "digits", "--steps", 1, "--stable-targets",
                      "--out", "run"), "'--stable-targets'", "must be left out for mnist-labels")


@pytest.mark.filterwarnings("error")
def test_one_picture_is_enough(ddim, tmp_path):
    packed(tmp_path / "one", {"0.png": png(numbers(8, 8))})
    code, _, err = ddim("train", "digits", "--folder", "one", "--resolution", 8, "--batch-size", 1,
                        "--steps", 1, "--device", "cpu", "--out", "run")
    assert (code, err) == (0, "")
    for facts in (json.loads((tmp_path / "run" / "loss.json").read_text()),
                  read_facts(tmp_path / "run" / "digits.safetensors")):
        assert facts["spread"] == 0
    code, out, _ = ddim("weights", "info", "run/digits.safetensors", "--responses")
    assert code == 0 and "right mean at t = 1000 1.0" in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_stopped_goes_on_as_if_it_had_not_been(number, ddim, tmp_path):
    """Stopped between the optimizer's step and the average's, amid a mean of the loss."""
    options = [*TINY, "--steps", 6, "--half"]
    assert ddim(*options, "--out", "whole")[0] == 0
    before = signal.getsignal(number)
    if number == signal.SIGHUP:
        signal.signal(number, signal.SIG_DFL)  # under nohup it is ignored, and would stay so
    try:
        with stopped_after(3, number):
            code, _, err = ddim(*options, "--out", "in two", "--force")
    finally:
        signal.signal(number, before)
    assert code == 130 and err.count("\n") == 1
    assert err.startswith("Stopped at step 3 of 6, saved in in two"
                          "/checkpoint.pt. Go on with: ddim train digits ")
    assert os.listdir("in two") == ["checkpoint.pt"]
    program, *command = shlex.split(err.split("Go on with: ")[1])
    assert program == "ddim" and command[-1] == "--resume" and "--force" not in command
    code, out, err = ddim(*command)
    assert (code, err) == (0, "") and "steps 3 to 6" in out

    whole, halves = (json.loads((tmp_path / run / "loss.json").read_text())["loss"]
                     for run in ("whole", "in two"))
    assert [entry["step"] for entry in whole] == [2, 4, 6] and halves == whole
    one, other = (ddim_lib.load_weights(tmp_path / run / "digits.safetensors")[0].state_dict()
                  for run in ("whole", "in two"))
    assert_same(one, other)
    assert_same(*(torch.load(tmp_path / run / "checkpoint.pt")["model"]
                  for run in ("whole", "in two")))


def test_another_process_stops_by_a_signal_and_says_how_to_go_on(ddim, tmp_path):
    command = [sys.executable, "-m", "ddim_lib", *TINY, "--steps", "100000", "--every", "1",
               "--out", "run"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
                               env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True)
    try:
        end = time.monotonic() + 120
        while not (tmp_path / "run" / "checkpoint.pt").exists() and time.monotonic() < end:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130 and err.count("\n") == 1
    assert "Go on with: python -m ddim_lib train digits --out run --folder pictures" in err
    assert err.endswith("--resume\n")
    assert os.listdir("run") == ["checkpoint.pt"]


def test_an_older_run_is_never_overwritten_unasked(ddim, tmp_path):
    assert ddim(*TINY, "--steps", 2, "--out", "run")[0] == 0
    before = files(tmp_path / "run")
    result = ddim(*TINY, "--steps", 2, "--seed", 1, "--out", "run")
    assert_error(result, "'--out'", "run already holds a run", "--resume", "--force")
    for one in ("checkpoint.pt", "digits.safetensors", "loss.json"):
        for other in before:
            (tmp_path / "run" / other).unlink(missing_ok=True)
        (tmp_path / "run" / one).write_bytes(before[one])
        assert_error(ddim(*TINY, "--steps", 2, "--out", "run"), f"already holds a run ({one})")
        assert files(tmp_path / "run") == {one: before[one]}
    assert ddim(*TINY, "--steps", 2, "--seed", 1, "--out", "run", "--force")[0] == 0
    assert files(tmp_path / "run").keys() == before.keys()
    assert files(tmp_path / "run")["digits.safetensors"] != before["digits.safetensors"]


def test_a_run_that_came_first_in_a_new_folder_is_not_overwritten(ddim, tmp_path, monkeypatch):
    """The other one began and ended while this one read its pictures."""
    def slowly(*arguments):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "loss.json").write_text("another run's")
        return training_pictures(*arguments)

    monkeypatch.setattr(cli_train, "training_pictures", slowly)
    assert_error(ddim(*TINY, "--steps", 2, "--out", "run"), "'--out'",
                 "run already holds a run (loss.json)")
    assert files(tmp_path / "run") == {"loss.json": b"another run's"}


def test_an_older_runs_results_go_with_the_first_checkpoint_over_it(ddim, tmp_path):
    assert ddim(*TINY, "--steps", 2, "--out", "run")[0] == 0
    (tmp_path / "run" / "notes.txt").write_text("mine")
    before = files(tmp_path / "run")
    assert_error(ddim(*TINY, "--steps", 8, "--lr", "1e30", "--out", "run", "--force"),
                 "the loss is ")
    assert files(tmp_path / "run") == before
    with stopped_after(1, signal.SIGINT):
        assert ddim(*TINY, "--steps", 2, "--seed", 1, "--out", "run", "--force")[0] == 130
    assert sorted(os.listdir("run")) == ["checkpoint.pt", "notes.txt"]


def test_a_resumed_run_knows_what_it_began_with(start, ddim, tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "mnist", Preset("digits", start.config, TrainingConfig()))
    options = ("train", "mnist", "--steps", 2, "--batch-size", 4, "--device", "cpu", "--out", "run")
    with stopped_after(1, signal.SIGINT):
        assert ddim(*options, "--start", "start.safetensors")[0] == 130
    (tmp_path / "start.safetensors").rename(tmp_path / "other.safetensors")
    assert_error(ddim(*options, "--start", "other.safetensors", "--resume"), "'--resume'",
                 "another run", ", begun with start.safetensors, ", "begun with other.safetensors")
    code, out, err = ddim(*options, "--resume")
    assert (code, err) == (0, "") and "begun with start.safetensors" in out
    for facts in (json.loads((tmp_path / "run" / "loss.json").read_text()),
                  read_facts(tmp_path / "run" / "mnist.safetensors")):
        assert facts["start"] == "start.safetensors"


def test_a_resume_is_of_the_same_run_or_none(ddim, tmp_path):
    assert_error(ddim(*TINY, "--out", "run", "--resume"), "'--resume'", "no checkpoint.pt in run")
    assert ddim(*TINY, "--steps", 2, "--out", "run")[0] == 0
    before = files(tmp_path / "run")
    resume = ("--out", "run", "--resume")
    for options, words in [
        (("--steps", 3), ("another configuration", "'steps': (2, 3)")),
        (("--steps", 2, "--lr", 1), ("'lr': (0.002, 1.0)",)),
        (("--steps", 2, "--seed", 1), ("'seed': (0, 1)",)),
        (("--steps", 2, "--channels", 3), ("another network",)),
    ]:
        assert_error(ddim(*TINY, *options, *resume), "'--resume'", *words)
    Image.new("L", (8, 8)).save("pictures/0.png")
    assert_error(ddim(*TINY, "--steps", 2, *resume), "'--resume'",
                 "checkpoint.pt is of another run", "CRC-32")
    (tmp_path / "run" / "checkpoint.pt").write_bytes(before["checkpoint.pt"][:-500])
    assert_error(ddim(*TINY, "--steps", 2, *resume), "'--resume'", "is damaged")
    (tmp_path / "run" / "checkpoint.pt").write_bytes(before["checkpoint.pt"])
    assert files(tmp_path / "run") == before


def test_a_finished_run_writes_its_weights_once_more(ddim, tmp_path):
    """What a power cut between the last checkpoint and the weights leaves can be ended."""
    assert ddim(*TINY, "--steps", 2, "--out", "run")[0] == 0
    weights = tmp_path / "run" / "digits.safetensors"
    before = ddim_lib.load_weights(weights)[0].state_dict()
    weights.unlink()
    assert ddim(*TINY, "--steps", 2, "--out", "run", "--resume")[0] == 0
    assert_same(ddim_lib.load_weights(weights)[0].state_dict(), before)


def test_a_full_disk_leaves_the_last_checkpoint(ddim, tmp_path):
    assert ddim(*TINY, "--steps", 2, "--out", "run")[0] == 0
    before = files(tmp_path / "run")
    with small_disk(100_000):
        result = ddim(*TINY, "--steps", 2, "--seed", 1, "--out", "run", "--force")
    assert_error(result, "--out run/checkpoint.pt cannot be written: File too large", "untouched")
    assert files(tmp_path / "run") == before
    with small_disk(100_000):  # the run is finished: only the weights are to be written
        result = ddim(*TINY, "--steps", 2, "--out", "run", "--resume")
    assert_error(result, "--out run/digits.safetensors cannot be written: File too large")
    assert files(tmp_path / "run") == before


def test_a_loss_that_is_not_finite_is_an_error(ddim, tmp_path):
    result = ddim(*TINY, "--steps", 40, "--lr", "1e30", "--every", 1, "--out", "run")
    assert_error(result, "the loss is ", "a smaller lr than 1e+30")
    if (tmp_path / "run" / "checkpoint.pt").exists():
        state = torch.load(tmp_path / "run" / "checkpoint.pt")["model"]
        assert all(value.isfinite().all() for value in state.values())
    assert not (tmp_path / "run" / "digits.safetensors").exists()


@pytest.mark.parametrize("options, words", [
    (("digit", "--out", "x"), ("'PRESET'", "digits, mnist,", "'digit'", "did you mean digits?")),
    (("digits",), ("Missing option '--out'", "ddim train --help")),
    (("digits", "--out", "pictures/0.png"), ("'--out'", "is a file")),
    (("digits", "--out", "pictures/0.png/x"), ("--out pictures/0.png/x/checkpoint.pt cannot be",)),
    (("digits", "--steps", "0", "--out", "x"), ("'--steps'", "0", "x>=1")),
    (("digits", "--steps", "many", "--out", "x"), ("'--steps'", "'many'", "integer")),
    (("digits", "--batch-size", "5001", "--out", "x"), ("'--batch-size'", "5000", "5001")),
    (("digits", "--lr", "0", "--out", "x"), ("'--lr'", "above 0", "'0'")),
    (("digits", "--lr", "nan", "--out", "x"), ("'--lr'", "above 0", "'nan'")),
    (("digits", "--seed", "-1", "--out", "x"), ("'--seed'", "-1", "0<=x<=4294967295")),
    (("digits", "--data", "minst", "--out", "x"), ("'--data'", "did you mean mnist?")),
    (("mnist", "--out", "x"), ("'--data'", "data set 'mnist' (train) is not in", "--download",
                               "DDIM_DATA")),
    (("digits", "--data", "mnist", "--folder", "pictures", "--out", "x"),
     ("--folder and --data exclude each other",)),
    (("digits", "--folder", "pictures", "--download", "--out", "x"),
     ("--folder and --download exclude each other",)),
    (("digits", "--resume", "--force", "--out", "x"), ("--resume and --force exclude",)),
    (("digits", "--folder", "none", "--out", "x"), ("'--folder'", "there is no none")),
    (("digits", "--folder", "empty", "--out", "x"), ("'--folder'", "empty holds none", ".png")),
    (("digits", "--folder", "broken", "--out", "x"), ("'--folder'", "5.png")),
    (("digits", "--resolution", "30", "--out", "x"), ("'--resolution'", "divisible by 4", "30")),
    (("digits", "--resolution", "32", "--out", "x"), ("'--data'", "(1, 32, 32)", "(1, 28, 28)")),
    (("digits", "--ch", "33", "--out", "x"), ("'--ch'", "divisible by groups = 32", "33")),
    (("digits", "--channels", "2", "--out", "x"), ("'--channels'", "must be one of 1, 3", "'2'")),
    (("mnist-labels", "--folder", "pictures", "--out", "x"),
     ("'--folder'", "must be left out for the preset mnist-labels", "a folder has none")),
    (("digits", "--device", "gpu", "--out", "x"), ("'--device'", "auto, cpu, cuda", "'gpu'")),
    (("digits", "--device", "cuda", "--out", "x"), ("'--device'", "auto or cpu", "no CUDA")),
], ids=lambda value: " ".join(value) if "--" in "".join(value) else "")
def test_bad_input_is_one_line_and_makes_nothing(options, words, ddim, tmp_path, monkeypatch):
    monkeypatch.setenv("DDIM_DATA", str(tmp_path / "no data"))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    (tmp_path / "empty").mkdir()
    packed(tmp_path / "broken", {"5.png": b"no picture"})
    before = files(tmp_path)
    assert_error(ddim("train", *options), *words)
    assert files(tmp_path) == before and not (tmp_path / "x").exists()


def test_the_help_names_every_preset(ddim):
    code, out, _ = ddim("train", "--help")
    assert code == 0
    for name in PRESETS:
        assert f" {name}" in out, name
