"""Everything follows the network to its device: shown on one that is not there.

The device is proofs/elsewhere.py. Each walk is done on the CPU and there, and must give the same.
Each planted slip is one forgotten move, and its walk must find it.
"""

import inspect
import json
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import ddim_lib
from ddim_lib import checks, metrics, plotting, responses, sampling, schedule, training, unet
from ddim_lib.cli import main
from ddim_lib.runtime import accelerator
from ddim_lib.runtime.provenance import hardware
from ddim_lib.training import Trainer, TrainingConfig
from proofs import elsewhere

CPU = torch.device("cpu")
LINEAR = ddim_lib.linear()
SEEDS = [3, 4]


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def network(device=CPU, form="v_prediction", classes=3, size=8):
    """One whose last layers are not at zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ddim_lib.UNet(ddim_lib.UNetConfig(size, 1, 32, (1, 2), 1, (size // 2,), 0.0, 8, 1,
                                                  form, classes), LINEAR)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
    return model.to(device).eval()


# What is walked ----------------------------------------------------------------------------------

def sample(device, folder, **options):
    options = {"seeds": SEEDS, "steps": 3, "progress": False} | options
    return ddim_lib.sample(network(device), LINEAR, **options)


def ddpm_with_guidance(device, folder):
    return sample(device, folder, eta=1.0, labels=[0, 2], guidance=2.0)


def second_order(device, folder):
    return sample(device, folder, order=2, clip=True, labels=1)


def own_start(device, folder):
    """A model that is a function, which computes where its start points lie."""
    model = network(device, "epsilon")
    walk = ddim_lib.sample_iter(lambda x, t: model(x, 500), LINEAR, steps=3,
                                x_T=draw(2, 1, 8, 8).to(device))
    return list(walk)[-1].x


def encode(device, folder):
    return sampling.encode(network(device), LINEAR, draw(2, 1, 8, 8), steps=3, labels=2)


def filling_in(device, folder):
    """Chapter 9's loop: what is known is noised to the level and put back."""
    model, known = network(device, "epsilon", 0), (draw(1, 1, 8, 8) > 0).to(device)
    x0, x = (draw(2, 1, 8, 8, seed=seed).to(device) for seed in (1, 2))
    with torch.no_grad():
        for t, s in ddim_lib.pairs([200, 600, 1000]):
            z = ddim_lib.noise_from_seeds([t, t + 1], (1, 8, 8)).to(device)
            x = torch.where(known, LINEAR.add_noise(x0, t, z), x)
            a_t, a_s = LINEAR.at(t), LINEAR.at(s)
            eps = model(x, t)
            x = ddim_lib.step(ddim_lib.predict_x0(x, eps, a_t), eps, a_t, a_s, 1.0, z)
    return x


def slerp(device, folder):
    return sampling.slerp(draw(2, 1, 8, 8).to(device), draw(2, 1, 8, 8, seed=1).to(device), 0.3)


def train(device, folder):
    """Two steps, and a third from their checkpoint; the losses."""
    images = (draw(12, 1, 8, 8) * 50 + 128).clamp(0, 255).to(torch.uint8)
    config = TrainingConfig(steps=3, batch_size=4, autocast="fp32", flip=True, mean_weight=1.0,
                            loss_weight="1/alpha")

    def trainer():
        return Trainer(network(), LINEAR, images, config, device, torch.arange(12) % 3)

    trainer().run(2, log_every=1, progress=False, checkpoint=folder / "run.pt")
    second = trainer()
    second.load(folder / "run.pt")
    second.run(log_every=1, progress=False)
    return torch.tensor([entry["loss"] for entry in second.record])


def distances(device, folder):
    told = metrics.judge(draw(4, 1, 28, 28).to(device), draw(4, 1, 28, 28, seed=1), device)
    distance = metrics.FrechetDistance(draw(4, 1, 28, 28, seed=2).to(device),
                                       metrics.load_classifier(device))
    distance.save_reference(folder / "reference.safetensors")
    return torch.tensor([*[part["distance"] for part in told.values()], told["pixels"]["recall"],
                         distance(draw(4, 1, 28, 28, seed=3).to(device))])


def confidence(device, folder):
    """Of a classifier that stays on the CPU, too."""
    images = draw(2, 1, 28, 28).to(device)
    found = [metrics.confidence(images, c)[1] for c in (None, metrics.load_classifier())]
    assert {part.device.type for part in found} == {device.type}
    return torch.stack(found)


def components(device, folder):
    return metrics.PixelComponents.fit(draw(6, 1, 3, 3).to(device), 2).features(draw(2, 1, 3, 3))


def slopes(device, folder):
    model = network(device, classes=0)
    return torch.tensor([ask(model, 900, seeds=SEEDS) for ask in (
        responses.amplitude_response, responses.mean_response)])


def shown(device, folder):
    return torch.from_numpy(plotting.tile(draw(3, 1, 8, 8).to(device), 2))


def shapes(device, folder):
    return torch.tensor([shape for row in unet.shapes(network(device)) for shape in row[1:]])


def stored(device, folder):
    """As a file of this library, and as diffusers' folder."""
    model = network(device, classes=0)
    ddim_lib.save_weights(folder / "w.safetensors", model, LINEAR)
    ddim_lib.write_diffusers(folder / "w", model, LINEAR)
    (ours, _), (theirs, _) = (read(folder / name, device=device) for read, name in (
        (ddim_lib.load_weights, "w.safetensors"), (ddim_lib.read_published, "w")))
    return torch.stack([ours.conv_out.weight, theirs.conv_out.weight])


def checked(device, folder):
    checks.close("x", draw(2, 3).to(device), draw(2, 3), suspects=[(draw(2, 3), "")])
    return torch.zeros(1)


WALKS = {walk.__name__: walk for walk in (
    sample, ddpm_with_guidance, second_order, own_start, encode, filling_in, slerp, train,
    distances, confidence, components, slopes, shown, shapes, stored, checked)}


@pytest.mark.parametrize("name", WALKS)
def test_the_same_comes_out_on_the_device(name, tmp_path, monkeypatch):
    folders = tmp_path / "cpu", tmp_path / "gpu"
    for folder in folders:
        folder.mkdir()
    wanted = WALKS[name](CPU, folders[0])
    with elsewhere.gpu(monkeypatch) as device:
        found = WALKS[name](device, folders[1]).cpu()
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


# Planted slips: one forgotten move ----------------------------------------------------------------

SLIPS = {
    "start points": (sampling, "_walks", "x.to(device), trans", "x, trans", "sample"),
    "a step's noise": (sampling, "_walk", "noise().to(x)", "noise()", "ddpm_with_guidance"),
    "labels": (sampling, "_network", "(known, device=device)", "(known)", "second_order"),
    "levels": (sampling, "_network", "t, device=x.device)", "t)", "sample"),
    "a function's start": (sampling, "_device", " if x is None else x.device", "", "own_start"),
    "pictures": (sampling, "encode", "x0.to(device)", "x0", "encode"),
    "float64 of a start": (sampling, "slerp", "x.cpu()", "x", "slerp"),
    "the schedule": (schedule.Schedule, "_roots", ".to(device)", "", "train"),
    "float64 of the schedule": (schedule.Schedule, "_roots", ".to(dtype)", "", "train"),
    "a level for all": (unet.UNet, "forward", "t, device=x.device)", "t)", "filling_in"),
    "frequencies": (unet, "time_embedding", "device=label.device, ", "", "sample"),
    "a black picture": (unet, "shapes", ", device=device)", ")", "shapes"),
    "training pictures": (Trainer, "__init__", "images.to(self.device)", "images", "train"),
    "training levels": (training, "_drawn", ",), device=x0.device,", ",),", "train"),
    "mirrored pictures": (Trainer, "_uniform", "device=self.device, ", "", "train"),
    "labels of a training": (Trainer, "__init__", "labels.to(self.device, ", "labels.to(",
                             "train"),
    "what a judge sees": (metrics._Features, "forward", "images.to(self.device,", "images.to(",
                          "distances"),
    "what a judge says": (metrics._Features, "forward", ".cpu()", "", "distances"),
    "what a classifier sees": (metrics, "confidence", ".to(there, ", ".to(", "confidence"),
    "components": (metrics.PixelComponents, "fit", ".cpu()", "", "components"),
    "noise of a response": (responses, "_ask", "x.to(device)", "x", "slopes"),
    "what is shown": (plotting, "tile", ".cpu()", "", "shown"),
    "an answer": (checks, "_double", ".cpu()", "", "checked"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_forgotten_move_is_found(slip, tmp_path, monkeypatch):
    owner, name, right, wrong, walk = SLIPS[slip]
    source = textwrap.dedent(inspect.getsource(getattr(owner, name)))
    assert source.count(right) >= 1
    made = {}
    module = owner if inspect.ismodule(owner) else inspect.getmodule(owner)
    exec("from __future__ import annotations\n" + source.replace(right, wrong, 1),
         vars(module), made)
    monkeypatch.setattr(owner, name, made[name])
    vars(LINEAR).pop("_tables", None)  # which another test's walk has made
    with elsewhere.gpu(monkeypatch) as device, pytest.raises(Exception) as caught:
        WALKS[walk](device, tmp_path)
    assert isinstance(caught.value, (RuntimeError, TypeError, AssertionError)), caught.value


def test_the_loss_of_ones_own_loop_reads_nothing_from_the_device(monkeypatch):
    read, run = [], elsewhere._run

    def watched(function, args, kwargs):
        if function is torch.ops.aten._local_scalar_dense.default:
            read.extend(isinstance(a, elsewhere.Elsewhere) for a in args)
        return run(function, args, kwargs)

    monkeypatch.setattr(elsewhere, "_run", watched)
    with elsewhere.gpu(monkeypatch) as device:
        x0 = draw(2, 1, 8, 8).to(device)
        model = network(device, classes=0)
        loss = training.noise_prediction_loss(model, LINEAR, x0, torch.Generator(device))
        assert True not in read
        loss.item()
        assert read[-1]


def test_what_a_gpu_refuses_is_refused(monkeypatch):
    with elsewhere.gpu(monkeypatch) as device:
        there, here = torch.ones(2, device=device), torch.ones(2)
        assert there.device == device and torch.equal((there + there).cpu(), here + here)
        assert torch.equal((there * torch.tensor(2.0))[torch.tensor([0])].cpu(), here[:1] * 2)
        for refused in (lambda: there + here, lambda: here[there.long()],
                        lambda: there.double(), lambda: torch.stack([there, here])):
            with pytest.raises(elsewhere.Refused):
                refused()


# The choice --------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["cuda", "mps", None])
def test_the_accelerator_that_is_there_is_chosen(kind, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: kind is not None)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(kind))
    assert ddim_lib.device() == torch.device(kind or "cpu")
    assert ddim_lib.device is accelerator.device
    if kind == "mps":
        assert hardware().endswith(" mps")


def test_start_points_are_drawn_on_the_cpu_with_the_same_bits(monkeypatch):
    wanted = ddim_lib.noise_from_seeds(SEEDS, (1, 4, 4))
    with elsewhere.gpu(monkeypatch):
        found = ddim_lib.noise_from_seeds(SEEDS, (1, 4, 4))
        assert found.device == CPU and torch.equal(found, wanted)


def test_a_checkpoint_of_another_kind_of_device_is_refused(tmp_path):
    trainer = Trainer(network(), LINEAR, torch.zeros(4, 1, 8, 8, dtype=torch.uint8),
                      TrainingConfig(steps=1, batch_size=4), CPU, torch.zeros(4).long())
    trainer.save(tmp_path / "run.pt")
    state = torch.load(tmp_path / "run.pt", weights_only=True)
    torch.save({**state, "generator": torch.zeros(16, dtype=torch.uint8)}, tmp_path / "run.pt")
    with pytest.raises(ValueError, match="made on another kind of device than cpu"):
        trainer.load(tmp_path / "run.pt")


# The commands ------------------------------------------------------------------------------------

COMMANDS = {
    "sample": ("--n", "2", "--steps", "3", "--eta", "1", "--out", "x.npy", "--out", "x.gif"),
    "interpolate": ("--frames", "2", "--steps", "2", "--out", "x.npy"),
    "encode": ("x.png", "--steps", "2", "--out", "x.npy", "--decode", "both.png"),
    "evaluate": ("--n", "2", "--steps", "2", "--out", "x.json"),
    "train": ("digits", "--steps", "2", "--batch-size", "2", "--ch", "32", "--out", "x", "--force"),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_computes_on_the_device(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((28, 28), np.uint8)).save("x.png")

    def run(device):
        done = CliRunner().invoke(main, [command, *COMMANDS[command], "--device", device])
        assert done.exit_code == 0, done.output
        if command == "train":
            told = json.loads(Path("x/loss.json").read_text())
            return told["hardware"], torch.tensor([entry["loss"] for entry in told["loss"]])
        if command == "evaluate":
            told = json.loads(Path("x.json").read_text())
            return told["hardware"], torch.tensor([told[s]["distance"] for s in metrics.SPACES])
        return "none" * (" on cuda" in done.output), torch.from_numpy(np.load("x.npy"))

    hardware, wanted = run("cpu")
    assert hardware != "none"
    with elsewhere.gpu(monkeypatch):
        hardware, found = run("cuda" if command == "sample" else "auto")
    assert hardware == "none"
    # A CPU may train in bf16.
    close = 0.1 if command == "train" else 1e-3
    torch.testing.assert_close(found, wanted, rtol=close, atol=close)
