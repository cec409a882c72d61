"""Inputs of the kinds that strangers give: the plain one's value, or an error that names them.

proofs/odd.py draws as many as one likes; here are a few hundred, and what has gone wrong before.
"""

import copy
import itertools
import math
import os
import tarfile

import numpy as np
import pytest
import torch
from torch import nn

from ddim_lib import (
    UNet,
    UNetConfig,
    cosine,
    encode,
    linear,
    load_weights,
    noise_from_seeds,
    predict_x0,
    read_published,
    sample,
    sample_iter,
    save_weights,
    step,
    timesteps,
    write_diffusers,
)
from ddim_lib.datasets import load_folder
from ddim_lib.datasets.pictures import ENDINGS, FORMATS
from ddim_lib.metrics import FrechetDistance, PixelComponents, confidence, judge
from ddim_lib.pixels import to_uint8
from ddim_lib.player import Curve, play
from ddim_lib.plotting import curves, show
from ddim_lib.responses import amplitude_response, exact_mean_response, mean_response
from ddim_lib.sampling import guide
from ddim_lib.training import Trainer, TrainingConfig, noise_prediction_loss
from ddim_lib.weights import read_facts
from ddim_lib.weights.checkpoints import fill
from proofs import odd, odd_arguments, odd_pictures
from proofs.common import Failed

SCHEDULE = linear(20)
TINY = UNetConfig(8, 1, 8, (1, 1), 1, (4,), 0.0, groups=4)
V_FORM = UNetConfig(8, 1, 8, (1, 1), 1, (4,), 0.0, groups=4, prediction_type="v_prediction")


def network(config=TINY, schedule=SCHEDULE):
    """A network with weights that matter in every layer."""
    with torch.device("cpu"):
        model = UNet(config, schedule)
    draw = torch.Generator("cpu").manual_seed(0)
    for p in model.parameters():
        p.data = torch.randn(p.shape, generator=draw, dtype=torch.float32, device="cpu") * 0.2
    return model.eval()


def pictures(n=2, size=8, channels=1):
    draw = torch.Generator("cpu").manual_seed(1)
    return torch.rand((n, channels, size, size), generator=draw, dtype=torch.float32,
                      device="cpu") * 2 - 1


def drawn(model, **options):
    return sample(model, SCHEDULE, **{"seeds": [1, 2], "steps": 3, "progress": False, **options})


# Drawn ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("part", ["arguments", "pictures"])
def test_a_few_drawn_inputs_hold(part):
    facts = odd.run(part, seed=1, seconds=0)
    assert facts["inputs"] == odd.EXAMPLES and len(facts["outcomes"]) >= 2


@pytest.mark.parametrize("function, argument, value, message", [
    (lambda t: t / 0, "t", 1, "t = 1: ZeroDivisionError"),
    (lambda t: math.sqrt(t), "t", -1, "the error does not name it: math domain error"),
])
def test_the_search_notices_a_raw_error(function, argument, value, message):
    with pytest.raises(Failed, match=message):
        odd_arguments.answer(odd_arguments.Call(function, {"t": 1}), argument, value)


def test_the_search_notices_wrong_levels(tmp_path):
    levels = np.arange(36).reshape(6, 6)
    (tmp_path / "a.png").write_bytes(odd_pictures.png(levels, 8))
    assert odd_pictures._read(tmp_path, "a.png", levels, True, "none") == "read"
    with pytest.raises(Failed, match="a.png is read with other levels"):
        odd_pictures._read(tmp_path, "a.png", levels + 1, True, "none")


# Arguments --------------------------------------------------------------------------------------

@pytest.mark.parametrize("call, message", [
    (lambda x: SCHEDULE.add_noise(x, 5, x), "x0 must be a floating-point tensor, got torch.uint8"),
    (lambda x: SCHEDULE.add_noise(x.float(), 5, x), "noise must be a floating-point tensor, got"),
    (lambda x: predict_x0(x, x, 0.5), "x_t must be a floating-point tensor, got torch.uint8"),
    (lambda x: noise_prediction_loss(network(), SCHEDULE, x), "x0 must be a floating-point"),
    (lambda x: encode(network(), SCHEDULE, x, steps=2), "x0 must be a floating-point"),
    (lambda x: drawn(network(), seeds=None, x_T=x), "x_T must be a floating-point"),
    (lambda x: network()(x, 5), "x must be a floating-point"),
    (lambda x: confidence(x), "images must be a floating-point"),
    (lambda x: PixelComponents.fit(x, 1), "images must be a floating-point"),
    (lambda x: FrechetDistance()(x), "images must be a floating-point"),
], ids=range(10))
def test_uint8_pictures_are_refused_as_the_trainer_refuses_floats(call, message):
    with pytest.raises(TypeError, match=message):
        call(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))


def test_a_number_stands_for_a_tensor_that_is_the_same_everywhere():
    eps = pictures()
    for x0 in (0.75, 1):
        torch.testing.assert_close(step(x0, eps, 0.3, 0.6),
                                   step(torch.full_like(eps, x0), eps, 0.3, 0.6))
    with pytest.raises(TypeError, match="eps must be a floating-point tensor, got 0.5"):
        step(eps, np.float32(0.5), 0.3, 0.6)


@pytest.mark.parametrize("model", [network(), lambda x, t: x], ids=["network", "function"])
def test_a_start_that_is_no_tensor_is_named_whatever_the_model_is(model):
    with pytest.raises(TypeError, match=r"x_T must be a floating-point tensor, got .*count"):
        drawn(model, seeds=None, x_T=itertools.count())


def test_a_whole_guidance_of_more_than_64_bits_is_a_number():
    x = pictures()
    assert torch.equal(guide(x, x + 1, -2**70), guide(x, x + 1, -2.0**70))


def test_grey_levels_have_a_shape_without_numbers():
    found = to_uint8(torch.empty(2, 1, 3, 3, device="meta"))
    assert found.dtype == torch.uint8 and found.shape == (2, 1, 3, 3)


def test_uint8_levels_are_levels_and_no_mask():
    x, t = pictures(), torch.tensor([0, 1], dtype=torch.uint8)
    assert torch.equal(SCHEDULE.add_noise(x, t, x.flip(0)),
                       SCHEDULE.add_noise(x, t.long(), x.flip(0)))
    for model in (network(), network(V_FORM)):
        assert torch.equal(model(x, t), model(x, t.long()))


@pytest.mark.parametrize("call, message", [
    (lambda: drawn(network(), seeds=None, x_T=torch.zeros(0, 1, 8, 8)), "x_T must hold at least"),
    (lambda: drawn(network(), seeds=torch.empty((), device="meta")), "seeds must be a list of"),
    (lambda: PixelComponents.fit(torch.empty(2, 1, 3, 3, device="meta"), 1),
     "images must hold numbers, got a tensor on the device meta"),
    (lambda: drawn(lambda x, t: x, seeds=None, x_T=torch.empty(2, 1, 3, 3, device="meta")),
     "x_T and the model must hold numbers, got the device meta"),
    (lambda: drawn(network().to("meta")), "x_T and the model must hold numbers"),
    (lambda: PixelComponents.fit(torch.ones(2), 1), "images must have at least 2 dimensions"),
    (lambda: noise_prediction_loss(network(), SCHEDULE, torch.ones(2)), "x0 must have at least 4"),
    (lambda: drawn(network(), eta=1e200), "eta must be a number"),
    (lambda: drawn(network(), device=10**400), "device must be one that PyTorch knows"),
    (lambda: exact_mean_response(0.5, 0.1, 10**400), "pixels must be .* of 64 bits, got 1000"),
    (lambda: drawn(network(), order=torch.ones(2)), "order must be 1 or 2, got torch.float32 of"),
    (lambda: encode(network(), SCHEDULE, torch.zeros(0, 1, 8, 8)), "x0 must hold at least one"),
    (lambda: noise_prediction_loss(network(), SCHEDULE, torch.zeros(0, 1, 8, 8)), "x0 must hold"),
    (lambda: confidence(torch.zeros(0, 1, 28, 28)), "images must hold at least one"),
    (lambda: show(torch.zeros(0, 1, 8, 8)), "images must have shape .* N at least 1"),
    (lambda: show(pictures(), heads="ab", columns=2), "heads must be a list of names, got 'ab'"),
    (lambda: curves([1, 2], {"a": iter([1])}, xlabel="x", ylabel="y"), "a of ys must hold one"),
    (lambda: drawn(network(), device="gpu"), "device must be one that PyTorch knows"),
    (lambda: mean_response(lambda x, t: x, 5), "shape must be given"),
    (lambda: load_folder(".", 8.0), "resolution must be a whole number"),
    (lambda: load_folder(".", 8, limit=True), "limit must be a whole number"),
], ids=range(21))
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("options", [{"every": 0}, {"log_every": 0}, {"until": 1.5}, {"until": -1}])
def test_numbers_of_a_run_are_named(options):
    trainer = Trainer(network(), SCHEDULE, uint8(), TrainingConfig(2, 2, autocast="fp32"), "cpu")
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be a whole number"):
        trainer.run(progress=False, **options)
    assert trainer.step == 0


def uint8(n=8):
    return torch.randint(0, 256, (n, 1, 8, 8), dtype=torch.uint8,
                         generator=torch.Generator("cpu").manual_seed(2), device="cpu")


def test_numpy_numbers_are_stored_as_plain_ones(tmp_path):
    config = TrainingConfig(steps=np.int64(3), batch_size=np.uint8(2), flip=np.bool_(True),
                            ema_decay=np.float32(0.5), betas=np.array([0.5, 0.75]),
                            seed=torch.tensor(3), autocast=np.str_("fp32"), warmup=np.array(0))
    plain = TrainingConfig(steps=3, batch_size=2, flip=True, ema_decay=0.5, betas=(0.5, 0.75),
                           seed=3, autocast="fp32", warmup=0)
    assert repr(config) == repr(plain)
    unet = UNetConfig(*map(np.int64, (8, 1, 8)), np.array([1, 1]), np.int8(1), iter([4]),
                      np.float64(0), groups=np.int16(4))
    assert repr(unet) == repr(TINY)
    tables = [(linear(np.int64(20), np.float64(1e-4), np.array(0.02)), linear(20)),
              (cosine(torch.tensor(20), np.float64(0.008)), cosine(20))]
    for table, same in tables:
        assert table.to_dict() == same.to_dict() and torch.equal(table.alpha, same.alpha)
    first, second = (Trainer(network(), SCHEDULE, uint8(), c, "cpu") for c in (config, plain))
    first.run(progress=False)
    first.save(tmp_path / "a.pt")
    second.load(tmp_path / "a.pt")
    assert second.step == 3
    facts = {"fid": np.float32(0.5), "n": np.int64(7), "list": [np.float64(1), torch.tensor(2)],
             "array": np.arange(3), "ema": np.bool_(True)}
    save_weights(tmp_path / "a.safetensors", network(unet, tables[0][0]), tables[0][0], **facts)
    load_weights(tmp_path / "a.safetensors")
    told = read_facts(tmp_path / "a.safetensors")
    assert [told[key] for key in facts] == [0.5, 7, [1.0, 2], [0, 1, 2], True]
    with pytest.raises(TypeError, match="made must be what JSON can hold, .*JSON has no .*Path"):
        save_weights(tmp_path / "b.safetensors", network(), SCHEDULE, made=tmp_path)
    with pytest.raises(TypeError, match="quality must be what JSON can hold, .*nan"):
        save_weights(tmp_path / "b.safetensors", network(), SCHEDULE, quality=[float("nan")])


def test_what_is_read_once_is_enough_for_a_player():
    def frames():
        return (np.full((2, 2), 50 * i, np.uint8) for i in range(3))

    def made(kind):
        return play(frames(), kind([1, 2, 3]), "level t", alt="three grey squares",
                    readout={"eta": kind([0.5, 0.25, 0.125])}, curves=[Curve("b", kind([1, 2, 3]))],
                    start=np.int64(1), scale=np.float32(3))

    assert made(iter).html == made(np.array).html == made(list).html


# Networks ---------------------------------------------------------------------------------------

class Diffusers:
    def __init__(self, sample):
        self.sample = sample


@pytest.mark.parametrize("reply, error, message", [
    (lambda x: torch.cat([x, x], 1), ValueError, r"got shape \(2, 2, 8, 8\): the second half"),
    (lambda x: x.mean((1, 2, 3), keepdim=True), ValueError, r"got shape \(2, 1, 1, 1\)"),
    (lambda x: x[:1], ValueError, r"got shape \(1, 1, 8, 8\)"),
    (Diffusers, TypeError, r"got the type Diffusers: give a function .* model\(x, t\).sample"),
    (lambda x: (x,), TypeError, "got the type tuple"),
    (lambda x: x.numpy(), TypeError, "got the type ndarray"),
    (lambda x: x.long(), TypeError, "got torch.int64"),
    (lambda x: x.to(torch.complex64), TypeError, "got torch.complex64"),
    (lambda x: x / 0, ValueError, "finite noise, got NaN or infinity .* at t = 20"),
], ids=range(9))
def test_a_network_that_answers_with_something_else_is_told(reply, error, message):
    def model(x, t):
        return reply(x)

    x = pictures()
    calls = [lambda: drawn(model, shape=(1, 8, 8)), lambda: encode(model, SCHEDULE, x, steps=1)]
    if "finite" not in message:
        calls += [lambda: noise_prediction_loss(model, SCHEDULE, x),
                  lambda: amplitude_response(model, 5, seeds=[1, 2], shape=(1, 8, 8))]
    for call in calls:
        with pytest.raises(error, match=message.replace("t = 20", "t = (20|1)")):
            call()


@pytest.mark.parametrize("config", [TINY, V_FORM], ids=["noise", "velocity"])
@pytest.mark.parametrize("dtype, near", [(torch.float16, 0.02), (torch.bfloat16, 0.15),
                                         (torch.float64, 1e-4)])
def test_a_network_runs_in_the_type_of_its_weights(config, dtype, near):
    whole, other = network(config), network(config).to(dtype)
    starts = [next(sample_iter(m, SCHEDULE, seeds=[1, 2], steps=3)) for m in (whole, other)]
    assert torch.equal(starts[0].x, starts[1].x) and starts[1].x.dtype == torch.float32
    for call in (drawn, lambda m: encode(m, SCHEDULE, pictures(), steps=3),
                 lambda m: m(pictures(), 5).float(),
                 lambda m: noise_prediction_loss(m, SCHEDULE, pictures(),
                                                 torch.Generator("cpu").manual_seed(0)).detach(),
                 lambda m: torch.tensor(mean_response(m, 5, seeds=[1]), dtype=torch.float32)):
        torch.testing.assert_close(call(other), call(whole), rtol=near, atol=near)


def test_a_network_in_half_is_not_trained_but_one_in_double_is():
    config = TrainingConfig(2, 2, autocast="fp32")
    with pytest.raises(ValueError, match="model must have float32 .* got torch.bfloat16 in temb"):
        Trainer(network().bfloat16(), SCHEDULE, uint8(), config, "cpu")
    losses = [[float(p.loss) for p in Trainer(m, SCHEDULE, uint8(), config, "cpu").train()]
              for m in (network(), network().double())]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.fixture(params=["float64", "bfloat16", "meta"])
def defaults(request):
    """torch's defaults are others; a tensor made in the default place would hold nothing."""
    if request.param == "meta":
        torch.set_default_device("meta")
    else:
        torch.set_default_dtype(getattr(torch, request.param))
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


ANSWERS = {
    "noise": lambda: noise_from_seeds([3, 4], (1, 8, 8)),
    "sample": lambda: drawn(network(), eta=1.0),
    "levels": lambda: [timesteps(SCHEDULE, 5, spacing) for spacing in ("quadratic", "log-snr")],
    "alpha": lambda: [make(20).alpha for make in (linear, cosine)],
    "loss": lambda: noise_prediction_loss(network(), SCHEDULE, pictures(),
                                          torch.Generator("cpu").manual_seed(0)).detach(),
    "filled": lambda: fill(V_FORM, SCHEDULE, network(V_FORM).state_dict())(pictures(), 5).detach(),
    "training": lambda: [p.loss for p in Trainer(network(), SCHEDULE, uint8(), TrainingConfig(
        3, 2, flip=True, autocast="fp32"), "cpu").train()],
    "classifier": lambda: confidence(pictures(2, 28)),
    "distance": lambda: judge(pictures(4, 28), pictures(4, 28).flip(0), "cpu"),
}


@pytest.fixture(scope="module")
def usual():
    return {name: call() for name, call in ANSWERS.items()}


@pytest.mark.parametrize("name", ANSWERS)
def test_torchs_defaults_change_no_bit(usual, name, defaults):
    torch.testing.assert_close(ANSWERS[name](), usual[name], rtol=0, atol=0)


class Counting(nn.Module):
    """Its buffers change in training: a number of calls, and a running mean."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.norm = nn.BatchNorm2d(1)

    def forward(self, x, t):
        if self.training:
            self.calls = self.calls + 1
        return self.norm(x) * self.weight


def test_buffers_follow_the_network_and_are_not_averaged():
    trainer = Trainer(Counting(), SCHEDULE, uint8(), TrainingConfig(3, 2, autocast="fp32"), "cpu")
    trainer.run(progress=False)
    assert trainer.ema.calls == 3 and trainer.ema.norm.num_batches_tracked == 3
    assert torch.equal(trainer.ema.norm.running_mean, trainer.model.norm.running_mean)
    assert trainer.ema.norm.running_mean != 0 and trainer.ema.weight != trainer.model.weight


# Weights ----------------------------------------------------------------------------------------

def compiled_inside(model):
    model.mid.block_1 = torch.compile(model.mid.block_1)
    return model


WRAPPED = {"compiled": torch.compile, "parallel": nn.DataParallel, "a part": compiled_inside,
           "averaged": torch.optim.swa_utils.AveragedModel,
           "both": lambda m: nn.DataParallel(torch.compile(m))}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_a_wrapped_network_is_stored_under_its_own_names(wrap, tmp_path):
    plain, wrapped = network(), wrap(network())
    save_weights(tmp_path / "a", wrapped, SCHEDULE)
    torch.save(wrapped.state_dict(), tmp_path / "b.pt")
    write_diffusers(tmp_path / "c", wrapped, SCHEDULE)
    read = [load_weights(tmp_path / "a")[0], read_published(tmp_path / "b.pt", config=TINY)[0],
            read_published(tmp_path / "c")[0]]
    for model in read:
        assert torch.equal(model(pictures(), 5), plain(pictures(), 5))


@pytest.mark.parametrize("model", [nn.Conv2d(1, 1, 3), nn.DataParallel(Counting()), None])
def test_another_network_is_not_stored(model, tmp_path):
    with pytest.raises(TypeError, match="model must be a UNet of this library, got"):
        save_weights(tmp_path / "a", model, SCHEDULE)


def test_a_network_with_other_tensors_than_it_says_is_not_stored(tmp_path):
    model = network()
    nn.utils.parametrizations.weight_norm(model.conv_in)
    with pytest.raises(ValueError, match="it lacks 1 tensors, conv_in.weight; it has besides 2"):
        save_weights(tmp_path / "a", model, SCHEDULE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_neither_stored_nor_read(value, tmp_path):
    model = network()
    save_weights(tmp_path / "a", model, SCHEDULE)
    with torch.no_grad():
        model.conv_out.weight[0, 0, 1, 2] = value
    for call in (lambda: save_weights(tmp_path / "a", model, SCHEDULE),
                 lambda: write_diffusers(tmp_path / "b", model, SCHEDULE),
                 lambda: fill(TINY, SCHEDULE, model.state_dict())):
        with pytest.raises(ValueError, match=r"conv_out.weight.* must be finite, .*\(0, 0, 1, 2\)"):
            call()
    load_weights(tmp_path / "a")  # what was there is whole
    torch.save(model.state_dict(), tmp_path / "b.pt")
    with pytest.raises(ValueError, match="b.pt holds no finite .* in conv_out.weight"):
        read_published(tmp_path / "b.pt", config=TINY)
    with pytest.raises(ValueError, match="model must return finite noise"):
        drawn(model)


@pytest.mark.parametrize("dtype, message", [
    (torch.float16, "got torch.float16, where conv_out.bias becomes infinite: it reaches 7e.04"),
    (torch.int8, "dtype must be one of torch.float32, .* got torch.int8"),
    (torch.complex64, "got torch.complex64"), ("float16", "got 'float16'"),
    (np.float16, "got <class"), (None, "got None")])
def test_a_type_that_does_not_hold_the_weights_is_refused(dtype, message, tmp_path):
    model = network()
    model.conv_out.bias.data[:] = 7e4
    with pytest.raises(ValueError, match=message):
        save_weights(tmp_path / "a", model, SCHEDULE, dtype=dtype)
    assert not list(tmp_path.iterdir())
    save_weights(tmp_path / "a", model, SCHEDULE, dtype=torch.bfloat16)
    assert load_weights(tmp_path / "a")[0].conv_out.bias.item() == pytest.approx(7e4, rel=0.01)


@pytest.mark.parametrize("stored, message", [
    (lambda s: {"state_dict": s, "epoch": 3}, "state_dict .OrderedDict., epoch .int.; save the"),
    (lambda s: {"model": s, "ema": s, "step": 1},
     "model .OrderedDict., ema .OrderedDict., step .int.; save the entry model or the entry ema"),
    (lambda s: {"ema_model": copy.copy(s), **s}, "ema_model .OrderedDict.; save the entry"),
    (lambda s: {f"unet.{k}": v for k, v in s.items()}, "it lacks .*it has besides .* unet.conv_in"),
    (lambda s: [1, 2], "must be a list .model, optimiser"),
    (lambda s: 3, "must hold tensors by name, it holds 3"),
], ids=range(6))
def test_a_file_with_something_around_the_tensors_names_what_is_there(stored, message, tmp_path):
    torch.save(stored(network().state_dict()), tmp_path / "a.pt")
    with pytest.raises(ValueError, match=message):
        read_published(tmp_path / "a.pt", config=TINY)


# Measures ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_pixel_that_is_no_number_ends_in_an_error_and_not_the_process(value):
    good = pictures(4, 28)
    bad = good.clone()
    bad[2, 0, 3, 4] = value
    where = r"first at \(2, 0, 3, 4\)"
    for call in (lambda: FrechetDistance()(bad), lambda: judge(bad, None), lambda: judge(good, bad),
                 lambda: confidence(bad), lambda: PixelComponents.fit(bad, 2)):
        with pytest.raises(ValueError, match=f"images must be finite, got .*{where}"):
            call()
    with pytest.raises(ValueError, match=f"reference must be finite, got .*{where}"):
        FrechetDistance(bad, PixelComponents.fit(good, 2))


def test_features_that_are_no_numbers_end_in_an_error():
    class Root(nn.Module):
        num_features = 2

        def features(self, images):
            return images.flatten(1)[:, :2].sqrt()

    with pytest.raises(ValueError, match="features of the classifier must be finite"):
        FrechetDistance(-pictures(4).abs(), Root())


# Pictures ---------------------------------------------------------------------------------------

def folder_of(place, *names):
    """Each picture is of one level, its place in the sorted names."""
    for level, name in enumerate(names):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(odd_pictures.png(np.full((6, 6), level), 8))
    return place


def levels(place, **options):
    return load_folder(place, 6, 1, **options)[:, 0, 0, 0].tolist()


def test_every_ending_that_pillow_has_for_these_formats_is_read(tmp_path):
    from PIL import Image

    known = {e for e, kind in Image.registered_extensions().items() if kind in FORMATS}
    assert known <= set(ENDINGS) and ".jpe" in known
    assert levels(folder_of(tmp_path, "a.jpe", "b.JFIF", "c.apng", "d.dib")) == [0, 1, 2, 3]


def test_pictures_of_kinds_that_are_not_read_are_named(tmp_path, capsys):
    folder_of(tmp_path, "a.png", "b.heic", "c", "d.txt", ".e.avif")
    assert levels(tmp_path) == [0]
    assert capsys.readouterr().out == "left out: 2 files of kinds that are not read: b.heic, c\n"
    (tmp_path / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match="holds none, but 2 files .*: b.heic, c"):
        levels(tmp_path)


def test_links_are_followed_once(tmp_path):
    folder_of(tmp_path / "in", "a.png", "sub/b.png")
    folder_of(tmp_path / "out", "0.png", "1.png", "2.png", "3.png")
    (tmp_path / "in/c.png").symlink_to(tmp_path / "out/2.png")
    (tmp_path / "in/sub/d").symlink_to(tmp_path / "out")
    (tmp_path / "in/sub/again").symlink_to(tmp_path / "in")
    (tmp_path / "in/e.png").symlink_to(tmp_path / "out")  # a folder, whatever its name says
    assert levels(tmp_path / "in") == [0, 2, 0, 1, 2, 3, 1, 0, 1, 2, 3]


@pytest.mark.parametrize("put, message", [
    (lambda p: p.symlink_to("nowhere"), "x.png.*No such file"),
    (lambda p: os.mkfifo(p), "x.png: it is a pipe or a device"),
])
def test_what_is_no_picture_file_is_named(put, message, tmp_path, capsys):
    put(folder_of(tmp_path, "a.png") / "x.png")
    with pytest.raises(ValueError, match=message):
        levels(tmp_path)
    assert levels(tmp_path, skip_broken=True) == [0] and "x.png" in capsys.readouterr().out


def test_a_subfolder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    folder_of(tmp_path, "a.png", "shut/b.png", ".hidden/c.png")
    scandir = os.scandir

    def refusing(path):  # who is root may read everything
        if str(path).endswith(("shut", ".hidden")):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(PermissionError, match="shut"):
        levels(tmp_path)


def test_a_link_in_a_tar_is_named(tmp_path):
    folder_of(tmp_path / "in", "a.png")
    os.link(tmp_path / "in/a.png", tmp_path / "in/b.png")
    with tarfile.open(tmp_path / "p.tar", "w") as archive:
        archive.add(tmp_path / "in", "in")
    with pytest.raises(ValueError, match="in/b.png: it is a link in an archive"):
        levels(tmp_path / "p.tar")


@pytest.mark.parametrize("content, expected", [
    (odd_pictures.png(np.full((6, 6), 300), 16, 300), 255),
    (odd_pictures.png(np.full((6, 6), 300), 16, 301), 1),
    (odd_pictures.png(np.full((6, 6), 5), 4, 5), 255),
    (odd_pictures.png(np.full((6, 6, 3), 257 * 9), 16, [257 * 9] * 3), 255),
    (odd_pictures.tiff(np.full((6, 6), 4095), 12), 255),
    (odd_pictures.tiff(np.full((6, 6), 65535), 16, white_is_0=True), 0),
    (odd_pictures.tiff(np.full((6, 6), 9), 16, signed=True), "signed numbers"),
    (odd_pictures.tiff(np.full((6, 6), 9), 8, signed=True), "signed numbers"),
    (odd_pictures.tiff(np.full((6, 6), 9), 16, order=">", signed=True), "signed numbers"),
], ids=range(9))
def test_odd_levels_are_those_of_the_8_bit_picture(content, expected, tmp_path):
    (tmp_path / "a.png").write_bytes(content)
    if isinstance(expected, int):
        assert levels(tmp_path) == [expected]
    else:
        with pytest.raises(ValueError, match=f"a.png: .*{expected}"):
            levels(tmp_path)
