"""Other people's checkpoints compute here what they compute there, or are refused."""

import hashlib
import inspect
import json
import os
import pickle
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_download import Server
from test_unet import CONFIGS, diffusers_twin, inputs, perturbed

from ddim_lib.schedule import cosine, linear
from ddim_lib.storage.download import ChecksumError, DownloadError
from ddim_lib.unet import UNet, UNetConfig
from ddim_lib.weights import (
    available,
    checkpoints,
    conversion,
    load_pretrained,
    published,
    save_weights,
)
from ddim_lib.weights.checkpoints import (
    CIFAR10,
    WeightsNotFoundError,
    read_published,
    write_diffusers,
)
from ddim_lib.weights.conversion import (
    config_from_diffusers,
    diffusers_config,
    schedule_from_diffusers,
    schedule_to_diffusers,
    to_diffusers,
)

# Small, with the 32 pixels, dropout and groups that shapes cannot tell.
NARROW = UNetConfig(32, 3, 32, (1, 2), 1, (16,), dropout=0.1)
TENSORS = "diffusion_pytorch_model.safetensors"
# The two small files of google/ddpm-cifar10-32, as they are there.
HUB_CONFIG = {
    "_class_name": "UNet2DModel", "_diffusers_version": "0.0.4", "act_fn": "silu",
    "attention_head_dim": None, "block_out_channels": [128, 256, 256, 256],
    "center_input_sample": False,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
    "downsample_padding": 0, "flip_sin_to_cos": False, "freq_shift": 1, "in_channels": 3,
    "layers_per_block": 2, "mid_block_scale_factor": 1, "norm_eps": 1e-06, "norm_num_groups": 32,
    "out_channels": 3, "sample_size": 32, "time_embedding_type": "positional",
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
}
HUB_SCHEDULER = {
    "_class_name": "DDPMScheduler", "_diffusers_version": "0.1.1", "beta_end": 0.02,
    "beta_schedule": "linear", "beta_start": 0.0001, "clip_sample": True,
    "num_train_timesteps": 1000, "trained_betas": None, "variance_type": "fixed_large",
}


@pytest.fixture(scope="module")
def narrow():
    return perturbed(NARROW)


def old_names(state):
    for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"),
                     ("to_out.0", "proj_attn")):
        state = {key.replace(f".{new}.", f".{old}."): value for key, value in state.items()}
    return state


def prefixed(state):
    return {f"module.{key}": value for key, value in state.items()}


def write(folder, style, model):
    """A checkpoint of the model in one of the public layouts."""
    state, path = model.state_dict(), folder / "model.ckpt"
    wrong = {key: value + 1 for key, value in state.items()}
    optimiser = torch.optim.Adam(model.parameters()).state_dict()
    if style == "plain":
        torch.save(state, path)
    elif style == "before torch 1.6":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    elif style == "safetensors":
        path = folder / "model.safetensors"
        save_file(state, path)
    elif style == "module":
        torch.save(prefixed(state), path)
    elif style == "list, EMA":
        torch.save([prefixed(wrong), optimiser, 3, 70, state], path)
    elif style == "list, raw":
        torch.save([prefixed(state), optimiser, 3, 70, wrong], path)
    else:
        path = folder / "flat"
        inner = path / "unet" if "unet/" in style else path
        inner.mkdir(parents=True)
        (inner / "config.json").write_text(json.dumps(diffusers_config(model.config)))
        state = to_diffusers(state, model.config)
        state = old_names(state) if "older" in style else state
        if ".bin" in style:
            torch.save(state, inner / "diffusion_pytorch_model.bin")
        else:
            save_file(state, inner / TENSORS)
    return path


def agree(read, model, n=2):
    """The network read, against diffusers' on the same weights, which takes t - 1."""
    x, t = inputs(model.config, n)
    twin = diffusers_twin(model)
    with torch.no_grad():
        ours, theirs = read(x, t), twin(x, t - 1).sample
        off = (ours - twin(x, t).sample).abs().max()
    assert 0.1 < ours.std() < 10
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    assert off > 1e-3  # a label that is off by one is seen


STYLES = ["plain", "before torch 1.6", "safetensors", "module", "list, EMA", "list, raw",
          "diffusers", "diffusers, older names", "diffusers .bin", "diffusers .bin, older names",
          "diffusers, unet/"]


@pytest.mark.parametrize("style", STYLES)
def test_every_layout_computes_what_diffusers_computes(style, narrow, tmp_path):
    path = write(tmp_path, style, narrow)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that 32 pixels are assumed
        model, schedule = read_published(path, ema=style != "list, raw")
    assert not model.training and model.config.label_offset == 1
    assert replace(model.config, dropout=0.1) == NARROW
    assert all(p.dtype == torch.float32 and p.requires_grad for p in model.parameters())
    assert schedule.to_dict() == linear().to_dict()
    agree(model, narrow)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("style", ["plain", "list, EMA", "diffusers, older names"])
def test_other_networks_are_read_too(style, name, tmp_path):
    source = perturbed(CONFIGS[name])
    path = write(tmp_path, style, source)
    given = None if path.is_dir() else source.config
    model, _ = read_published(path, config=given)
    assert model.config == source.config
    agree(model, source)


def test_what_diffusers_itself_wrote_is_read(narrow, tmp_path):
    from diffusers import DDIMScheduler, DDPMPipeline

    twin = diffusers_twin(narrow)
    twin.save_pretrained(tmp_path / "model")
    DDPMPipeline(twin, DDIMScheduler(num_train_timesteps=400, beta_end=0.01)).save_pretrained(
        tmp_path / "pipeline")
    agree(read_published(tmp_path / "model")[0], narrow)
    for path in (tmp_path / "pipeline", tmp_path / "pipeline" / "unet"):
        model, schedule = read_published(path)
        assert schedule.to_dict() == linear(400, 1e-4, 0.01).to_dict()
        agree(model, narrow)


def test_half_precision_becomes_float32(narrow, tmp_path):
    torch.save({key: value.half() for key, value in narrow.state_dict().items()},
               tmp_path / "half.ckpt")
    model, _ = read_published(tmp_path / "half.ckpt", config=NARROW)
    for key, value in narrow.state_dict().items():
        assert model.state_dict()[key].dtype == torch.float32, key
        assert torch.equal(model.state_dict()[key], value.half().float()), key


def test_shapes_tell_what_they_can(narrow, tmp_path):
    """All but resolution, dropout and groups, which are CIFAR-10's, with a word of warning."""
    with torch.device("meta"):
        cifar, bedroom = UNet(CIFAR10), UNet(UNetConfig(
            256, 3, 128, (1, 1, 2, 2, 4, 4), 2, (16,)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert checkpoints._infer(cifar.state_dict(), Path("x.ckpt")) == CIFAR10
    with pytest.warns(UserWarning, match="x.ckpt is not the CIFAR-10 network; its resolution "
                                         "cannot be read off, 32 is assumed: pass config"):
        found = checkpoints._infer(bedroom.state_dict(), Path("x.ckpt"))
    assert found == UNetConfig(32, 3, 128, (1, 1, 2, 2, 4, 4), 2, (2,), dropout=0.1)


# The published network ---------------------------------------------------------------------------

def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def hub_folder(folder, model):
    """The layout of google/ddpm-cifar10-32, with other numbers in it."""
    folder.mkdir(parents=True)
    config = {**HUB_CONFIG, **diffusers_config(model.config)}
    del config["dropout"]
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "scheduler_config.json").write_text(json.dumps(HUB_SCHEDULER, indent=2) + "\n")
    save_file(old_names(to_diffusers(model.state_dict(), model.config)), folder / TENSORS)
    return folder


def test_the_cifar10_network_in_full(tmp_path, monkeypatch):
    """35.7 M parameters, from both publishers' layouts."""
    source = perturbed(CIFAR10)
    monkeypatch.setenv("DDIM_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "ema_diffusion_cifar10_model" / "model-790000.ckpt"
    path.parent.mkdir()
    torch.save(source.state_dict(), path)
    monkeypatch.setattr(published, "CHECKPOINT_MD5", md5(path))
    model, schedule = load_pretrained("cifar10")
    assert sum(p.numel() for p in model.parameters()) == 35_746_307
    assert model.config == CIFAR10 and model.image_shape == (3, 32, 32)
    assert schedule.to_dict() == linear().to_dict()
    agree(model, source)
    path.unlink()
    folder = hub_folder(tmp_path / "ddpm-cifar10-32", source)
    for name, size in published.HUB_SMALL.items():
        assert (folder / name).stat().st_size == size
    monkeypatch.setitem(published.HUB_WEIGHTS, TENSORS, sha256(folder / TENSORS))
    hub, schedule = load_pretrained("cifar10", variant="hub")
    assert replace(hub.config, dropout=0.1) == CIFAR10
    assert schedule.to_dict() == linear().to_dict()
    x, t = inputs(CIFAR10)
    with torch.no_grad():
        assert torch.equal(hub(x, t), model(x, t))


@pytest.fixture
def shelf(narrow, tmp_path, monkeypatch):
    """The published files, of a narrow network: (folder with both, empty data folder)."""
    files, data = tmp_path / "files", tmp_path / "data"
    files.mkdir()
    torch.save(narrow.state_dict(), files / "model-790000.ckpt")
    hub = hub_folder(files / "ddpm-cifar10-32", narrow)
    monkeypatch.setattr(published, "CHECKPOINT_MD5", md5(files / "model-790000.ckpt"))
    monkeypatch.setitem(published.HUB_WEIGHTS, TENSORS, sha256(hub / TENSORS))
    monkeypatch.setattr(published, "HUB_SMALL", {n: (hub / n).stat().st_size
                                                 for n in published.HUB_SMALL})
    monkeypatch.setattr(published, "CIFAR10", NARROW)
    monkeypatch.setattr(published, "CHECKPOINT_URLS", ["http://127.0.0.1:9/x"])
    monkeypatch.setattr(published, "HUB_URLS", ["http://127.0.0.1:9"])
    monkeypatch.setenv("DDIM_DATA", str(data))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return files, data


def same(found, model):
    return all(torch.equal(found.state_dict()[k], v) for k, v in model.state_dict().items())


def test_it_is_found_where_it_lies(shelf, narrow, tmp_path):
    files, data = shelf
    content = (files / "model-790000.ckpt").read_bytes()
    inner = "ema_diffusion_cifar10_model/model-790000.ckpt"
    for place in (data / inner, data / "diffusion_models_converted" / inner,
                  tmp_path / "cache" / "diffusion_models_converted" / inner):
        with pytest.raises(WeightsNotFoundError):
            load_pretrained("cifar10")
        place.parent.mkdir(parents=True)
        place.write_bytes(content)
        assert same(load_pretrained("cifar10")[0], narrow)
        place.unlink()
    for path in (files / "model-790000.ckpt", files, str(files)):
        assert same(load_pretrained("cifar10", path=path)[0], narrow)
    for path in (files / "ddpm-cifar10-32", files, files / "ddpm-cifar10-32" / TENSORS):
        assert same(load_pretrained("cifar10", variant="hub", path=path)[0], narrow)


@pytest.mark.parametrize("variant", ["ema", "hub"])
def test_nothing_there_says_where_how_and_what_offline(variant, shelf):
    _, data = shelf
    with pytest.raises(WeightsNotFoundError) as caught:
        load_pretrained("cifar10", variant=variant)
    where = "ddpm-cifar10-32" if variant == "hub" else published.CHECKPOINT
    for part in (f"'cifar10', variant '{variant}', is at none of", str(data / where),
                 f"load_pretrained('cifar10', variant='{variant}', download=True)",
                 "Without: take http://127.0.0.1:9/", "from another machine", "cifar10-small"):
        assert part in str(caught.value), part
    assert isinstance(caught.value, FileNotFoundError)
    assert not data.exists()


@pytest.mark.parametrize("path", ["nowhere", "nowhere/model.ckpt"])
@pytest.mark.parametrize("download", [False, True])
def test_a_path_that_is_not_there_is_not_searched_elsewhere(path, download, shelf, tmp_path):
    with pytest.raises(WeightsNotFoundError, match="nowhere"):
        load_pretrained("cifar10", path=tmp_path / path, download=download)


class Shop(Server):
    """Several files, named by the end of the address."""

    def __init__(self, folder):
        self.folder = folder
        super().__init__()

    def answer(self, request):
        self.content = (self.folder / request.path.rsplit("/", 1)[-1]).read_bytes()
        super().answer(request)


@pytest.fixture
def shop(shelf, monkeypatch):
    files, _ = shelf
    shops = [Shop(files), Shop(files / "ddpm-cifar10-32")]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    roots = [s.url.rsplit("/", 1)[0] for s in shops]
    monkeypatch.setattr(published, "CHECKPOINT_URLS", [f"{roots[0]}/model-790000.ckpt"])
    monkeypatch.setattr(published, "HUB_URLS", ["http://127.0.0.1:9", roots[1]])
    yield shops
    for s in shops:
        s.close()


@pytest.mark.parametrize("variant, requests", [("ema", 1), ("hub", 3)])
def test_it_is_fetched_once(variant, requests, shelf, shop, narrow):
    for _ in range(2):
        model, _ = load_pretrained("cifar10", variant=variant, download=True)
        assert same(model, narrow)
    assert same(load_pretrained("cifar10", variant=variant)[0], narrow)
    assert sum(len(s.asked) for s in shop) == requests
    assert not list(shelf[1].rglob("*.tmp"))


@pytest.mark.parametrize("variant", ["ema", "hub"])
def test_a_transfer_that_always_breaks_off_leaves_no_network(variant, shelf, shop, narrow):
    for s in shop:
        s.breaks = [100] * 3
    with pytest.raises(DownloadError, match="it broke off: .*100 bytes read.*\n.*another machine"):
        load_pretrained("cifar10", variant=variant, download=True)
    with pytest.raises(WeightsNotFoundError):
        load_pretrained("cifar10", variant=variant)
    assert same(load_pretrained("cifar10", variant=variant, download=True)[0], narrow)


@pytest.mark.parametrize("variant", ["ema", "hub"])
def test_other_bytes_are_not_kept(variant, shelf, shop, monkeypatch):
    files, data = shelf
    for path in (files / "model-790000.ckpt", files / "ddpm-cifar10-32" / TENSORS):
        content = bytearray(path.read_bytes())
        content[-10] ^= 1
        path.write_bytes(content)
    with pytest.raises(DownloadError, match="sent another file: it has the (md5|sha256)"):
        load_pretrained("cifar10", variant=variant, download=True)
    assert not [p for p in data.rglob("*") if p.suffix in (".ckpt", ".safetensors", ".tmp")]


@pytest.mark.parametrize("variant", ["ema", "hub"])
def test_a_damaged_file_there_is_an_error_and_stays(variant, shelf):
    files, _ = shelf
    path = files / ("model-790000.ckpt" if variant == "ema" else f"ddpm-cifar10-32/{TENSORS}")
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)
    for download in (False, True):
        with pytest.raises(ChecksumError, match="expected .*damaged or another file"):
            load_pretrained("cifar10", variant=variant, path=files, download=download)
    assert path.read_bytes() == content


@pytest.mark.parametrize("name, change", [("config.json", {"sample_size": 64}),
                                          ("scheduler_config.json", {"beta_end": 0.01}),
                                          ("scheduler_config.json", {"num_train_timesteps": 100})])
def test_the_hubs_small_files_must_describe_the_published_network(name, change, shelf):
    path = shelf[0] / "ddpm-cifar10-32" / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match="must describe the published network|attn_resolutions"):
        load_pretrained("cifar10", variant="hub", path=shelf[0])


@pytest.mark.parametrize("arguments, message", [
    ({"name": "cifar"}, "name must be one of .*mnist.* .shipped. or cifar10 .published.*, "
                        "got 'cifar'"),
    ({"name": "cifar10", "variant": "raw"}, "variant must be one of ema, hub, got 'raw'"),
    ({"name": "mnist", "variant": "ema"}, "variant and path are for cifar10 alone; mnist ships"),
    ({"name": "mnist", "path": "x"}, "variant and path are for cifar10 alone; mnist ships"),
])
def test_other_names_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_pretrained(**arguments)


def test_the_small_network_ships_and_the_published_one_does_not():
    assert "cifar10-small" in available() and "cifar10" not in available()
    model, _ = load_pretrained("cifar10-small", download=True)
    assert model.image_shape == (3, 32, 32)


@pytest.mark.skipif(not os.environ.get("DDIM_DATA"), reason="DDIM_DATA names no folder with "
                                                            "the published weights")
@pytest.mark.parametrize("variant", ["ema", "hub"])
def test_the_real_published_weights(variant):
    """They see the noise: the mean error on blurred noise-free grey pictures is far below 1."""
    try:
        model, schedule = load_pretrained("cifar10", variant=variant)
    except WeightsNotFoundError:
        pytest.skip(f"the folder that DDIM_DATA names holds no published weights ({variant})")
    generator = torch.Generator().manual_seed(0)
    flat = torch.linspace(-0.5, 0.5, 8).view(8, 1, 1, 1).expand(8, 3, 32, 32)
    noise = torch.randn(flat.shape, generator=generator)
    with torch.no_grad():
        found = model(schedule.add_noise(flat, 500, noise), 500)
    assert (found - noise).square().mean() < 0.1


# Refused -----------------------------------------------------------------------------------------

class Hostile:
    """A pickle that leaves a mark where it is executed."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return (open, (self.mark, "w"))


@pytest.mark.parametrize("kind", ["pickle", "torch", "torch, in a list", "folder", "by name"])
def test_a_hostile_pickle_is_refused_and_not_executed(kind, narrow, shelf, tmp_path, monkeypatch):
    mark, path = tmp_path / "mark", tmp_path / "evil.ckpt"
    evil = {**narrow.state_dict(), "conv_in.bias": Hostile(mark)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Hostile(mark), protocol=2))
    elif kind == "torch, in a list":
        torch.save([evil, {}, 0, 0, evil], path)
    elif kind == "folder":
        path = hub_folder(tmp_path / "folder", narrow)
        (path / TENSORS).unlink()
        torch.save(evil, path / "diffusion_pytorch_model.bin")
    else:
        torch.save(evil, path)
    with pytest.raises(ValueError, match="would run code of its own, which is refused"):
        if kind == "by name":  # whoever could forge the checksum
            monkeypatch.setattr(published, "CHECKPOINT_MD5", md5(path))
            load_pretrained("cifar10", path=path)
        else:
            read_published(path, config=None if path.is_dir() else NARROW)
    assert not mark.exists()
    if kind == "pickle":  # the trap does work
        pickle.loads(path.read_bytes()).close()
        assert mark.exists()


@pytest.mark.parametrize("kind", ["empty", "text", "cut", "safetensors cut", "safetensors text"])
def test_a_damaged_checkpoint_is_an_error(kind, narrow, tmp_path):
    path = write(tmp_path, "safetensors" if kind.startswith("safe") else "plain", narrow)
    content = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"version https://git-lfs.github.com/spec/v1\n",
                      "safetensors text": b"not weights"}.get(kind, content[:-1000]))
    with pytest.raises(ValueError, match="model.(ckpt|safetensors) is (no checkpoint that can be "
                                         "read safely|not a safetensors file)"):
        read_published(path, config=NARROW)


@pytest.mark.parametrize("stored, message", [
    ([1, 2, 3], "must be a list .model, optimiser, epoch, step, EMA., it has 3 entries"),
    ([{}, {}, 0, 0], "holds no EMA; ema=False takes the raw weights"),
    ({"state_dict": {"a": torch.zeros(1)}}, "must hold tensors by name; it does not"),
    ({}, "must hold tensors by name; it does not"),
    (torch.zeros(3), "must hold tensors by name; it does not"),
    ({"layer1.weight": torch.zeros(3)}, "is not the papers' network as far as its shapes tell "
                                        r"\('conv_in.weight'\); its first tensors: layer1.weight"),
])
def test_other_contents_are_an_error(stored, message, tmp_path):
    torch.save(stored, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match=message):
        read_published(tmp_path / "x.ckpt")


@pytest.mark.parametrize("change, message", [
    (lambda s: s.pop("mid.attn_1.q.weight"), "it lacks 1 tensors, mid.attn_1.q.weight"),
    (lambda s: s.update(extra=torch.zeros(1)), "it has besides 1 tensors, extra"),
    (lambda s: s.update({"conv_out.bias": torch.zeros(6)}),
     "it has in another shape 1 tensors, conv_out.bias"),
    (lambda s: s["conv_out.bias"].fill_(float("nan")),
     "holds no finite floating-point numbers in conv_out.bias"),
])
@pytest.mark.parametrize("config", [None, NARROW], ids=["inferred", "given"])
@pytest.mark.filterwarnings("ignore:x.ckpt is not the CIFAR-10 network")
def test_another_architecture_is_an_error(change, message, config, narrow, tmp_path):
    state = {key: value.clone() for key, value in narrow.state_dict().items()}
    change(state)
    torch.save(state, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match=message):
        read_published(tmp_path / "x.ckpt", config=config)


def test_the_wrong_configuration_is_an_error(narrow, tmp_path):
    torch.save(narrow.state_dict(), tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match="does not fit UNetConfig.*ch=64.*in another shape"):
        read_published(tmp_path / "x.ckpt", config=replace(NARROW, ch=64))
    path = write(tmp_path, "diffusers", narrow)
    read_published(path, config=replace(NARROW, dropout=0.3))
    with pytest.raises(ValueError, match="config must agree with .*config.json.*, which says"):
        read_published(path, config=replace(NARROW, groups=16))


def test_this_librarys_own_file_is_named_as_such(narrow, tmp_path):
    save_weights(tmp_path / "x.safetensors", narrow, linear())
    with pytest.raises(ValueError, match="own format: load_weights reads it"):
        read_published(tmp_path / "x.safetensors")


def test_missing_checkpoints_are_errors(narrow, tmp_path):
    with pytest.raises(WeightsNotFoundError, match="there is no .*nowhere"):
        read_published(tmp_path / "nowhere")
    with pytest.raises(WeightsNotFoundError, match="must hold config.json and one of diffusion_"):
        read_published(tmp_path)
    folder = hub_folder(tmp_path / "hub", narrow)
    (folder / TENSORS).unlink()
    with pytest.raises(WeightsNotFoundError, match="must hold config.json and one of diffusion_"):
        read_published(folder)


def test_diffusers_tensors_alone_do_not_say_what_they_compute(narrow, tmp_path):
    folder = write(tmp_path, "diffusers", narrow)
    agree(read_published(folder / TENSORS)[0], narrow)
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match="put its config.json beside it, or say with config"):
        read_published(folder / TENSORS)
    agree(read_published(folder / TENSORS, config=NARROW)[0], narrow)


def test_a_tensor_in_both_names_is_an_error(narrow, tmp_path):
    folder = write(tmp_path, "diffusers", narrow)
    state = load_file(folder / TENSORS)
    state["mid_block.attentions.0.query.weight"] = torch.zeros(64, 64)
    save_file(state, folder / TENSORS)
    with pytest.raises(ValueError, match="state must hold each tensor once; 'mid_block.attentions"):
        read_published(folder)


WRONG = [("downsample_padding", 1), ("flip_sin_to_cos", True), ("freq_shift", 0),
         ("attention_head_dim", 8), ("act_fn", "relu"), ("norm_eps", 1e-5),
         ("mid_block_scale_factor", 2), ("center_input_sample", True), ("mid_block_type", None),
         ("resnet_time_scale_shift", "scale_shift"), ("add_attention", False),
         ("class_embed_type", "timestep"), ("num_class_embeds", 10), ("out_channels", 6),
         ("time_embedding_type", "fourier"), ("time_embedding_dim", 64),
         ("downsample_type", "resnet"), ("upsample_type", "resnet"), ("attn_norm_num_groups", 8),
         ("up_block_types", ["AttnUpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"]),
         ("down_block_types", ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D"]),
         ("down_block_types", ["DownBlock2D", "AttnDownBlock2D", "SkipDownBlock2D", "DownBlock2D"])]


@pytest.mark.parametrize("name, value", WRONG, ids=lambda v: str(v)[:20])
def test_a_configuration_that_computes_something_else_is_refused(name, value, tmp_path):
    """Before the tensors are read: here are none."""
    (tmp_path / TENSORS).write_bytes(b"")
    (tmp_path / "config.json").write_text(json.dumps({**HUB_CONFIG, name: value}))
    with pytest.raises(ValueError, match=rf"config.json cannot be used: .*{name} must be .*, got"):
        read_published(tmp_path)


@pytest.mark.parametrize("name", ["downsample_padding", "flip_sin_to_cos", "freq_shift",
                                  "attention_head_dim", "norm_eps"])
def test_what_is_left_out_stands_at_diffusers_default(name):
    """And these defaults are not the published network's."""
    stored = {key: value for key, value in HUB_CONFIG.items() if key != name}
    with pytest.raises(ValueError, match=rf"{name} must be "):
        config_from_diffusers(stored)
    assert config_from_diffusers(HUB_CONFIG) == replace(CIFAR10, dropout=0.0)


def test_the_defaults_are_diffusers_own():
    from diffusers import UNet2DModel

    arguments = inspect.signature(UNet2DModel.__init__).parameters
    theirs = {name: a.default for name, a in arguments.items() if name != "self"}
    assert conversion._DEFAULTS == theirs


@pytest.mark.parametrize("change, message", [
    ({"_class_name": "UNet2DConditionModel"}, "_class_name must be UNet2DModel, got 'UNet2DCond"),
    ({"new_option": 1}, "the argument 'new_option' is unknown here"),
    ({"sample_size": None}, "sample_size must be one whole number, got None"),
    ({"sample_size": [32, 64]}, r"sample_size must be one whole number, got \(32, 64\)"),
    ({"sample_size": 30}, "resolution must be divisible by 8"),
    ({"block_out_channels": [128, 192, 256, 256]}, "block_out_channels must be multiples"),
    ({"block_out_channels": ["128"]}, "block_out_channels must be multiples"),
    ({"block_out_channels": 128}, "its values are of wrong types"),
    ({"norm_num_groups": 48}, "divisible by groups = 48"),
    ({"dropout": "no"}, "its values are of wrong types"),
])
def test_a_configuration_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        config_from_diffusers({**HUB_CONFIG, **change})


@pytest.mark.parametrize("change", [{"act_fn": "swish"}, {"new_option": None}, {"_new": 1},
                                    {"sample_size": [32, 32]}, {"num_train_timesteps": 1000},
                                    {"class_embed_type": None, "dropout": 0.0}])
def test_what_computes_the_same_is_taken(change):
    assert config_from_diffusers({**HUB_CONFIG, **change}) == replace(CIFAR10, dropout=0.0)


@pytest.mark.parametrize("name", CONFIGS)
def test_configurations_go_there_and_back(name):
    stored = json.loads(json.dumps(diffusers_config(CONFIGS[name])))
    assert config_from_diffusers(stored) == CONFIGS[name]


@pytest.mark.parametrize("content", ["{", "[]", "\"text\""])
@pytest.mark.parametrize("name", ["config.json", "scheduler_config.json"])
def test_json_that_is_none_is_named(name, content, narrow, tmp_path):
    folder = hub_folder(tmp_path / "hub", narrow)
    (folder / name).write_text(content)
    with pytest.raises(ValueError, match=f"hub/{name} cannot be used: "):
        read_published(folder)


# Schedules and writing ---------------------------------------------------------------------------

@pytest.mark.parametrize("schedule", [linear(), linear(100, 1e-3, 0.05), cosine(), cosine(50)],
                         ids=["linear", "linear 100", "cosine", "cosine 50"])
def test_schedules_are_diffusers_own(schedule):
    from diffusers import DDPMScheduler

    stored = schedule_to_diffusers(schedule)
    theirs = DDPMScheduler(**stored).alphas_cumprod.double()
    torch.testing.assert_close(schedule.alpha[1:], theirs, rtol=1e-3, atol=1e-6)
    again = schedule_from_diffusers(json.loads(json.dumps({**HUB_SCHEDULER, **stored})))
    assert again.to_dict() == schedule.to_dict()
    assert schedule_from_diffusers({}).to_dict() == linear().to_dict()


@pytest.mark.parametrize("change, message", [
    ({"prediction_type": "sample"},
     "prediction_type must be 'epsilon' or 'v_prediction', got 'sample'"),
    ({"beta_schedule": "scaled_linear"}, "beta_schedule must be linear or .*, got 'scaled_lin"),
    ({"trained_betas": [0.1]}, "trained_betas must be None"),
    ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr must be False, got True"),
    ({"num_train_timesteps": 0}, "T must be a whole number"),
    ({"beta_end": 2}, "betas must satisfy"),
])
def test_another_schedule_is_refused(change, message, narrow, tmp_path):
    folder = hub_folder(tmp_path / "hub", narrow)
    (folder / "scheduler_config.json").write_text(json.dumps({**HUB_SCHEDULER, **change}))
    with pytest.raises(ValueError, match=f"scheduler_config.json cannot be used: {message}"):
        read_published(folder)


@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_written_computes_the_same_in_diffusers(name, tmp_path):
    from diffusers import DDPMPipeline, UNet2DModel

    model, schedule = perturbed(CONFIGS[name]), linear(200, 1e-4, 0.03)
    folder = tmp_path / "deep" / "there"
    write_diffusers(str(folder), model, schedule)
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.json", TENSORS, "model_index.json", "scheduler_config.json"]
    assert [p.name for p in folder.parent.iterdir()] == ["there"]
    x, t = inputs(model.config, 2)
    pipeline = DDPMPipeline.from_pretrained(folder)
    with torch.no_grad():
        ours = model(x, t)
        for theirs in (UNet2DModel.from_pretrained(folder), pipeline.unet):
            torch.testing.assert_close(ours, theirs.eval()(x, t - 1).sample, rtol=0, atol=1e-5)
    torch.testing.assert_close(pipeline.scheduler.alphas_cumprod.double(), schedule.alpha[1:],
                               rtol=1e-4, atol=1e-7)
    assert pipeline.scheduler.config.variance_type == "fixed_large"
    again, its_schedule = read_published(folder)
    assert again.config == model.config and same(again, model)
    assert its_schedule.to_dict() == schedule.to_dict()


def test_nothing_is_overwritten(tmp_path, monkeypatch):
    model = perturbed(CONFIGS["no-attention"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("my work")
    for folder in (tmp_path / "mine", tmp_path / "mine" / "notes.txt"):
        with pytest.raises(FileExistsError, match="folder must be new or empty"):
            write_diffusers(folder, model, linear())
    assert (tmp_path / "mine" / "notes.txt").read_text() == "my work"
    (tmp_path / "empty").mkdir()

    def full(*_):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_tensors", full)
        with pytest.raises(OSError, match="No space"):
            write_diffusers(tmp_path / "empty", model, linear())
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["empty", "mine", "notes.txt"]
    write_diffusers(tmp_path / "empty", model, linear())
    assert (tmp_path / "empty" / "config.json").is_file()


@pytest.mark.parametrize("config, schedule, message", [
    (UNetConfig(8, 1, 8, (2, 2), 1, (), groups=8), linear(), "ch_mult must start with 1"),
    (UNetConfig(8, 1, 8, (1, 2), 1, (), groups=8, label_offset=0), linear(),
     "label_offset must be 1 for diffusers, whose labels are 0..T-1, got 0"),
    (CONFIGS["no-attention"], cosine(50, offset=0.1), "the cosine schedule must have diffusers'"),
])
def test_what_diffusers_does_not_have_is_not_written(config, schedule, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_diffusers(tmp_path / "x", UNet(config), schedule)
    assert list(tmp_path.iterdir()) == []
