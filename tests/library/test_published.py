"""Other people's checkpoints compute here what they compute there, or are refused."""

import hashlib
import inspect
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from test_download import Server
from test_unet import CONFIGS, diffusers_twin, inputs, perturbed

from ddim_lib.schedule import cosine, linear
from ddim_lib.storage.download import ChecksumError, DownloadError
from ddim_lib.unet import UNet, UNetConfig
from ddim_lib.weights import checkpoints, conversion, load_pretrained, published, save_weights
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
    elif style == "module, float64":
        torch.save({key: value.double() for key, value in prefixed(state).items()}, path)
    elif style == "list, EMA":
        torch.save([prefixed(wrong), optimiser, 3, 70, state], path)
    elif style == "list, raw":
        torch.save([prefixed(state), optimiser, 3, 70, wrong], path)
    else:
        path = folder / "flat"
        inner = path / "unet" if style == "diffusers, unet/" else path
        write_diffusers(inner, model, linear())
        if style == "diffusers .bin, older names":
            (inner / TENSORS).unlink()
            torch.save(old_names(to_diffusers(state, model.config)),
                       inner / "diffusion_pytorch_model.bin")
    return path


def agree(read, model):
    """The network read, against diffusers' on the same weights, which takes t - 1."""
    x, t = inputs(model.config)
    twin = diffusers_twin(model)
    with torch.no_grad():
        ours, theirs = read(x, t), twin(x, t - 1).sample
        off = (ours - twin(x, t).sample).abs().max()
    assert 0.1 < ours.std() < 10
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    assert off > 1e-3  # a label that is off by one is seen


STYLES = ["plain", "before torch 1.6", "safetensors", "module, float64", "list, EMA", "list, raw",
          "diffusers", "diffusers .bin, older names", "diffusers, unet/"]


@pytest.mark.parametrize("style", STYLES)
def test_every_layout_computes_what_diffusers_computes(style, narrow, tmp_path):
    path = write(tmp_path, style, narrow)
    model, schedule = read_published(path, config=None if path.is_dir() else NARROW,
                                     ema=style != "list, raw")
    assert not model.training and model.config == NARROW
    assert all(p.dtype == torch.float32 and p.requires_grad for p in model.parameters())
    assert schedule.to_dict() == linear().to_dict()
    agree(model, narrow)


def test_what_diffusers_itself_wrote_is_read(narrow, tmp_path):
    from diffusers import DDIMScheduler, DDPMPipeline

    twin = diffusers_twin(narrow)
    twin.save_pretrained(tmp_path / "model")
    DDPMPipeline(twin, DDIMScheduler(num_train_timesteps=400, beta_end=0.01)).save_pretrained(
        tmp_path / "pipeline")
    for name in ("pipeline", "pipeline/unet"):
        model, schedule = read_published(tmp_path / name)
        assert schedule.to_dict() == linear(400, 1e-4, 0.01).to_dict()
        agree(model, narrow)
    with pytest.raises(ValueError, match="model lacks scheduler_config.json .*what the network"):
        read_published(tmp_path / "model")


# The published network ---------------------------------------------------------------------------

def digest(kind, path):
    return hashlib.new(kind, path.read_bytes()).hexdigest()


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
    path = tmp_path / "model-790000.ckpt"
    torch.save(source.state_dict(), path)
    monkeypatch.setattr(published, "CHECKPOINT_MD5", digest("md5", path))
    model, schedule = load_pretrained("cifar10")
    assert sum(p.numel() for p in model.parameters()) == 35_746_307
    assert model.config == CIFAR10 and model.image_shape == (3, 32, 32)
    assert schedule.to_dict() == linear().to_dict()
    agree(model, source)
    path.unlink()
    folder = hub_folder(tmp_path / "ddpm-cifar10-32", source)
    for name, size in published.HUB_SMALL.items():
        assert (folder / name).stat().st_size == size
    monkeypatch.setitem(published.HUB_WEIGHTS, TENSORS, digest("sha256", folder / TENSORS))
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
    monkeypatch.setattr(published, "CHECKPOINT_MD5",
                        digest("md5", files / "model-790000.ckpt"))
    monkeypatch.setitem(published.HUB_WEIGHTS, TENSORS, digest("sha256", hub / TENSORS))
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
    for place in (data / inner, tmp_path / "cache" / "diffusion_models_converted" / inner):
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


@pytest.mark.parametrize("variant", ["ema", "hub"])
def test_a_path_that_is_not_there_is_not_searched_elsewhere(variant, shelf, shop, tmp_path):
    with pytest.raises(WeightsNotFoundError, match="nowhere"):
        load_pretrained("cifar10", variant=variant, path=tmp_path / "nowhere/x", download=True)
    assert shop.asked == []


class Shop(Server):
    """The files of a folder, by their addresses."""

    def answer(self, request):
        self.content = (self.folder / request.path[1:]).read_bytes()
        super().answer(request)


@pytest.fixture
def shop(shelf, monkeypatch):
    shop = Shop()
    shop.folder, root = shelf[0], shop.url.removesuffix("/file.bin")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(published, "CHECKPOINT_URLS", [f"{root}/model-790000.ckpt"])
    monkeypatch.setattr(published, "HUB_URLS", ["http://127.0.0.1:9", f"{root}/ddpm-cifar10-32"])
    yield shop
    shop.close()


@pytest.mark.parametrize("variant, requests", [("ema", 1), ("hub", 3)])
def test_it_is_fetched_once(variant, requests, shelf, shop, narrow):
    for _ in range(2):
        model, _ = load_pretrained("cifar10", variant=variant, download=True)
        assert same(model, narrow)
    assert same(load_pretrained("cifar10", variant=variant)[0], narrow)
    assert len(shop.asked) == requests
    assert not list(shelf[1].rglob("*.tmp"))


@pytest.mark.parametrize("variant", ["ema", "hub"])
def test_other_bytes_are_no_network(variant, shelf, shop):
    """Neither kept when they were fetched, nor read where they lie."""
    files, data = shelf
    path = files / ("model-790000.ckpt" if variant == "ema" else f"ddpm-cifar10-32/{TENSORS}")
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)
    with pytest.raises(DownloadError, match="sent another file: it has the (md5|sha256) "
                                            "(.*\n)*.*another machine"):
        load_pretrained("cifar10", variant=variant, download=True)
    assert not [p for p in data.rglob("*") if p.suffix in (".ckpt", ".safetensors", ".tmp")]
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
    ({"name": "cifar10", "variant": "raw"}, "variant must be one of ema, hub, got 'raw'"),
    ({"name": "mnist", "variant": "ema"}, "variant and path are for cifar10 alone; mnist ships"),
    ({"name": "mnist", "path": "x"}, "variant and path are for cifar10 alone; mnist ships"),
    *(({"name": name}, "name must be one of .*mnist.* .shipped. or cifar10 .published, to be "
                       f"fetched., got '{name}'")
      for name in ("mnist-classifier", "mnist.safetensors", "", "../mnist")),
])
def test_other_names_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_pretrained(**arguments)


@pytest.mark.parametrize("variant", ["ema", "hub"])
def test_the_real_published_weights(variant):
    """They see the noise: the mean error on blurred noise-free grey pictures is far below 1."""
    try:
        model, schedule = load_pretrained("cifar10", variant=variant)
    except WeightsNotFoundError:
        pytest.skip(f"there are no published weights ({variant}): DDIM_DATA may name their folder")
    generator = torch.Generator().manual_seed(0)
    flat = torch.linspace(-0.5, 0.5, 8).view(8, 1, 1, 1).expand(8, 3, 32, 32)
    noise = torch.randn(flat.shape, generator=generator)
    with torch.no_grad():
        found = model(schedule.add_noise(flat, 500, noise), 500)
    assert (found - noise).square().mean() < 0.1


# Refused -----------------------------------------------------------------------------------------

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
    ([{}, {}, 0, 0], "holds no EMA; ema=False .--raw. takes the raw weights"),
    ({"state_dict": {"a": torch.zeros(1)}, "epoch": 3},
     "must hold tensors by name, it holds state_dict .dict., epoch .int.; save the entry "
     "state_dict alone"),
    ({}, "must hold tensors by name, it holds {}"),
    (torch.zeros(3), "must hold tensors by name, it holds torch.float32 of shape"),
    ({"layer1.weight": torch.zeros(3)}, "config must be given for .*x.ckpt, since .*: CIFAR10 of "),
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
def test_another_architecture_is_an_error(change, message, narrow, tmp_path):
    state = {key: value.clone() for key, value in narrow.state_dict().items()}
    change(state)
    torch.save(state, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match=message):
        read_published(tmp_path / "x.ckpt", config=NARROW)


def test_the_wrong_configuration_is_an_error(narrow, tmp_path):
    torch.save(narrow.state_dict(), tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match="does not fit UNetConfig.*ch=64.*in another shape"):
        read_published(tmp_path / "x.ckpt", config=replace(NARROW, ch=64))
    with pytest.raises(ValueError, match="config must be left out for a folder, whose config.json"):
        read_published(write(tmp_path, "diffusers", narrow), config=NARROW)


def test_this_librarys_own_file_is_named_as_such(narrow, tmp_path):
    save_weights(tmp_path / "x.safetensors", narrow, linear())
    with pytest.raises(ValueError, match="own format: load_weights reads it"):
        read_published(tmp_path / "x.safetensors")


def test_missing_checkpoints_are_errors(narrow, tmp_path):
    with pytest.raises(WeightsNotFoundError, match="there is no .*nowhere"):
        read_published(tmp_path / "nowhere")
    hub_folder(tmp_path / "hub", narrow)
    (tmp_path / "hub" / TENSORS).unlink()
    for folder in (tmp_path, tmp_path / "hub"):
        with pytest.raises(WeightsNotFoundError, match="must hold config.json and one of diffusi"):
            read_published(folder)


OTHERS = [
    ({"downsample_padding": 1}, "downsample_padding must be 0, got 1"),
    ({"attention_head_dim": 8}, "attention_head_dim must be None, got 8"),
    ({"act_fn": "relu"}, "act_fn must be 'silu', got 'relu'"),
    ({"resnet_time_scale_shift": "scale_shift"}, "resnet_time_scale_shift must be 'default', got"),
    ({"mid_block_type": None}, "mid_block_type must be 'UNetMidBlock2D', got None"),
    ({"num_class_embeds": 4}, "num_class_embeds must be None, got 4"),  # is one of them "none"?
    ({"new_option": 1, "freq_shift": 0}, "freq_shift must be 1, got 0; new_option must be None"),
    ({"up_block_types": ["UpBlock2D"] * 4}, "up_block_types must be .'UpBlock2D', .*, got"),
    ({"down_block_types": ["DownBlock2D"]}, "down_block_types must be .'DownBlock2D', .*, got"),
    ({"block_out_channels": [128, 192, 256, 256]}, "block_out_channels must be .128, 128, 256,"),
    ({"_class_name": "UNet2DConditionModel"}, "_class_name must be 'UNet2DModel', got 'UNet2DCond"),
    ({"sample_size": 30}, "resolution must be divisible by 8"),
    ({"norm_num_groups": 48}, "divisible by groups = 48"),
    ({"sample_size": [32, 64]}, r"sample_size and dropout must be numbers, .*, got \[32, 64\]"),
    ({"block_out_channels": 128}, "block_out_channels a list of whole numbers .*, 128 and "),
    ({"block_out_channels": []}, "block_out_channels a list of whole numbers"),
    ({"dropout": "no"}, "dropout must be a number, got .no."),
]


@pytest.mark.parametrize("change, message", OTHERS, ids=lambda v: str(v)[:30])
def test_a_configuration_that_computes_something_else_is_refused(change, message, tmp_path):
    """Before the tensors are read: here are none."""
    (tmp_path / TENSORS).write_bytes(b"")
    (tmp_path / "config.json").write_text(json.dumps({**HUB_CONFIG, **change}))
    with pytest.raises(ValueError, match=f"config.json cannot be used: .*{message}"):
        read_published(tmp_path)


def test_what_may_be_left_out_stands_at_diffusers_default():
    """Of all its arguments; the others must be there, since the published ones are no defaults."""
    from diffusers import UNet2DModel

    needed = diffusers_config(CIFAR10).keys() - {"dropout"}
    for name, argument in inspect.signature(UNet2DModel.__init__).parameters.items():
        if name in needed:
            stored = {key: value for key, value in HUB_CONFIG.items() if key != name}
            with pytest.raises(ValueError, match=f"it lacks {name}: it must have all arguments"):
                config_from_diffusers(stored)
        elif name != "self":
            assert argument.default == {**conversion._FIXED, "dropout": 0.0}.get(name), name


@pytest.mark.parametrize("change", [{}, {"new_option": None}, {"_new": 1}, {"dropout": 0.0},
                                    {"num_train_timesteps": 1000}, {"class_embed_type": None}])
def test_what_computes_the_same_is_taken(change):
    assert config_from_diffusers({**HUB_CONFIG, **change}) == replace(CIFAR10, dropout=0.0)


@pytest.mark.parametrize("unet", [".", "unet"])
def test_a_schedule_is_never_guessed(unet, narrow, tmp_path):
    folder = tmp_path / "hub"
    hub_folder(folder / unet, narrow)
    (folder / unet / "scheduler_config.json").unlink()
    with pytest.raises(ValueError, match="lacks scheduler_config.json .in itself, or in scheduler"):
        read_published(folder)


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
