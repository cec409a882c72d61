"""The U-Net is the papers' network, whatever its size, and starts where Ho's starts."""

import math

import pytest
import torch
from torch import nn

from ddim_lib.sampling import sample
from ddim_lib.schedule import linear
from ddim_lib.training import noise_prediction_loss
from ddim_lib.unet import UNet, UNetConfig, time_embedding
from ddim_lib.weights.conversion import diffusers_config, from_diffusers, to_diffusers
from scripts.experiments.deeper import deeper

CIFAR = UNetConfig(32, 3, 128, (1, 2, 2, 2), 2, (16,), dropout=0.1)
TINY = UNetConfig(8, 1, 8, (1, 2), 1, (4,), dropout=0.0, groups=4)
CONFIGS = {
    "mnist": UNetConfig(28, 1, 32, (1, 1, 2), 1, (7,), dropout=0.0),
    "two-attentions": UNetConfig(16, 3, 16, (1, 2, 3), 2, (8, 4), groups=8),
    "cifar10-narrow": UNetConfig(32, 3, 32, (1, 2, 2, 2), 2, (16,), groups=8),
    "no-attention": UNetConfig(8, 1, 16, (1, 2), 1, (), groups=8),
    "one-level": UNetConfig(6, 2, 16, (1,), 1, (6,), groups=8),
}


def perturbed(config, schedule=None):
    """A network with nothing at zero: every weight, bias and normalisation at random."""
    model = UNet(config, schedule).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in model.named_parameters():
            spread = 1 / math.sqrt(p[0].numel()) if p.ndim > 1 else 0.3
            p.copy_(spread * torch.randn(p.shape, generator=generator))
            if "norm" in name and name.endswith("weight"):
                p += 1
    return model


def diffusers_twin(model, **wrong):
    from diffusers import UNet2DModel

    theirs = UNet2DModel(**{**diffusers_config(model.config), **wrong}).eval()
    theirs.load_state_dict(to_diffusers(model.state_dict(), model.config))
    return theirs


def inputs(config, n=2):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, config.in_channels, config.resolution, config.resolution,
                    generator=generator)
    return x, torch.tensor([1, 1000, 437])[:n]


def test_the_cifar10_network_has_the_papers_size():
    with torch.device("meta"):
        state = UNet(CIFAR).state_dict()
    assert sum(p.numel() for p in state.values()) == 35_746_307
    assert len(state) == 328


def test_the_tutorials_mnist_network_has_its_size():
    with torch.device("meta"):
        model = UNet(UNetConfig(28, 1, 128, (1, 2, 2), 2, (14,)))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(25.83, abs=0.005)


@pytest.mark.parametrize("name", CONFIGS)
def test_outputs_equal_diffusers(name):
    """On random weights, none of them zero, to 1e-5 (of outputs about as large as 1)."""
    config = CONFIGS[name]
    model, (x, t) = perturbed(config), inputs(config, 3)
    with torch.no_grad():
        ours, theirs = model(x, t), diffusers_twin(model)(x, t - 1).sample
    assert ours.shape == x.shape and 0.1 < ours.std() < 10
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("wrong", [{"downsample_padding": 1}, {"flip_sin_to_cos": True},
                                   {"freq_shift": 0}, {"norm_eps": 1e-2}, {"norm_num_groups": 4},
                                   {"attention_head_dim": 8}, {"mid_block_scale_factor": 2}, {}],
                         ids=lambda w: next(iter(w), "label"))
def test_the_comparison_sees_every_wrong_option_and_a_wrong_label(wrong):
    """Each of them loads without a word; the last has no wrong option, and labels off by one."""
    config = CONFIGS["two-attentions"]
    model, (x, t) = perturbed(config), inputs(config)
    with torch.no_grad():
        theirs = diffusers_twin(model, **wrong)(x, t - 1 if wrong else t).sample
        assert (model(x, t) - theirs).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["class_embedding.weight", "mid_block.attentions.0.query.weight"])
def test_a_tensor_of_another_network_or_in_two_names_is_an_error(name):
    model = UNet(CONFIGS["two-attentions"])
    there = to_diffusers(model.state_dict(), model.config)
    with pytest.raises(ValueError, match="'(class_embedding|mid_block.attentions.0.to_q).weight' "
                                         "is not among them or comes twice"):
        from_diffusers({**there, name: torch.zeros(1)}, model.config)


def test_attention_stands_where_it_was_asked_for():
    model = UNet(CONFIGS["two-attentions"])
    assert [len(level.attn) for level in model.down] == [0, 2, 2]
    assert [len(level.attn) for level in model.up] == [0, 3, 3]
    assert [len(level.block) for level in model.up] == [3, 3, 3]


# The start --------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", CONFIGS)
def test_an_untrained_network_predicts_exactly_nothing(name):
    torch.manual_seed(0)
    model, (x, t) = UNet(CONFIGS[name]), inputs(CONFIGS[name])
    assert torch.equal(model(x, t), torch.zeros_like(x))


def test_the_first_loss_is_1():
    """E[eps^2] over 64 * 28 * 28 numbers, whose standard error is sqrt(2 / 50176) = 0.0063."""
    torch.manual_seed(0)
    model = UNet(CONFIGS["mnist"]).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        loss = noise_prediction_loss(model, linear(), torch.zeros(64, 1, 28, 28), generator)
    assert loss.item() == pytest.approx(1.0, abs=5 * 0.0063)


def test_hos_initialisation():
    """Xavier-uniform weights, zero biases, each residual branch at zero; the rest is not."""
    torch.manual_seed(0)
    model = UNet(CONFIGS["cifar10-narrow"])
    for name, module in model.named_modules():
        if not isinstance(module, (nn.Conv2d, nn.Linear)):
            continue
        assert not module.bias.any(), name
        last = name.split(".")[-1] in ("conv2", "proj_out") or name == "conv_out"
        if last:
            assert not module.weight.any(), name
            continue
        size = module.weight[0, 0].numel() if module.weight.ndim == 4 else 1
        bound = math.sqrt(6 / ((module.weight.shape[0] + module.weight.shape[1]) * size))
        assert 0.9 * bound < module.weight.abs().max() <= bound, name


# Time -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("channels", [4, 32, 128])
def test_the_time_embedding_is_sines_then_cosines(channels):
    """Frequencies exp(-ln(10000) k / (channels/2 - 1)), from 1 down to 1/10000."""
    labels, half = [0, 1, 17, 999], channels // 2
    found = time_embedding(torch.tensor(labels), channels)
    assert found.shape == (4, channels) and found.dtype == torch.float32
    for row, label in zip(found, labels, strict=True):
        for k in range(half):
            angle = label * math.exp(-math.log(10000) * k / (half - 1))
            assert row[k].item() == pytest.approx(math.sin(angle), abs=2e-4)
            assert row[half + k].item() == pytest.approx(math.cos(angle), abs=2e-4)
    assert found[3, half - 1].item() == pytest.approx(math.sin(999 / 10000), abs=1e-6)


def test_the_network_itself_subtracts_its_label_offset():
    """Published weights were trained with labels 0..T-1: t - 1 is nobody else's business."""
    one = perturbed(TINY)
    zero = UNet(UNetConfig(**{**TINY.to_dict(), "label_offset": 0})).eval()
    zero.load_state_dict(one.state_dict())
    x, t = inputs(TINY)
    with torch.no_grad():
        assert TINY.label_offset == 1
        assert torch.equal(one(x, t), zero(x, t - 1))
        assert not torch.allclose(one(x, t), zero(x, t))


def test_a_number_stands_for_every_image():
    model, (x, _) = perturbed(TINY), inputs(TINY)
    with torch.no_grad():
        assert torch.equal(model(x, 437), model(x, torch.tensor([437, 437])))
        assert not torch.allclose(model(x, 437), model(x, 400))


def test_images_of_a_batch_do_not_see_each_other():
    model, (x, t) = perturbed(TINY), inputs(TINY, 3)
    with torch.no_grad():
        together = model(x, t)
        for i in range(3):
            torch.testing.assert_close(model(x[i:i + 1], t[i:i + 1])[0], together[i])


def test_dropout_acts_in_training_alone():
    model = perturbed(UNetConfig(**{**TINY.to_dict(), "dropout": 0.5}))
    x, t = inputs(TINY)
    with torch.no_grad():
        assert torch.equal(model(x, t), model(x, t))
        model.train()
        assert not torch.allclose(model(x, t), model(x, t))


def test_every_parameter_learns():
    model, (x, t) = perturbed(CONFIGS["two-attentions"]), inputs(CONFIGS["two-attentions"])
    model(x, t).square().mean().backward()
    for name, p in model.named_parameters():
        # A constant added to every key changes no attention: that gradient is zero.
        assert p.grad is not None, name
        assert p.grad.abs().max() > (0 if name.endswith(".k.bias") else 1e-8), name


@pytest.mark.parametrize("name", CONFIGS)
def test_a_deeper_network_begins_with_the_same_answers(name):
    model = perturbed(CONFIGS[name])
    grown = deeper(model).eval()
    assert grown.config.num_res_blocks == model.config.num_res_blocks + 1
    x = torch.randn(2, *model.image_shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(grown(x, 500), model(x, 500))


# Shapes and errors ------------------------------------------------------------------------------

@pytest.mark.parametrize("name", CONFIGS)
def test_the_sampler_needs_no_shape(name):
    config = CONFIGS[name]
    model = UNet(config)
    assert model.image_shape == (config.in_channels, config.resolution, config.resolution)
    out = sample(model, linear(10), seeds=[0, 1], steps=1, progress=False)
    assert out.shape == (2, *model.image_shape)


@pytest.mark.parametrize("shape", [(2, 1, 8, 9), (2, 3, 8, 8), (1, 8, 8), (2, 1, 16, 16)])
def test_a_wrong_shape_is_an_error(shape):
    with pytest.raises(ValueError, match=r"x must have shape \(N, 1, 8, 8\), got \("):
        UNet(TINY)(torch.zeros(shape), 5)


@pytest.mark.parametrize("change, message", [
    ({"resolution": 0}, "resolution must be a whole number of at least 1, got 0"),
    ({"in_channels": 0}, "in_channels must be a whole number of at least 1, got 0"),
    ({"ch": -4}, "ch must be a whole number of at least 1, got -4"),
    ({"ch": 8.0}, r"ch must be a whole number, got 8\.0"),
    ({"num_res_blocks": 0}, "num_res_blocks must be a whole number of at least 1, got 0"),
    ({"groups": 0}, "groups must be a whole number of at least 1, got 0"),
    ({"ch_mult": ()}, r"ch_mult must hold whole numbers of at least 1, got \(\)"),
    ({"ch_mult": (1, 0)}, "every entry of ch_mult must be a whole number of at least 1, got 0"),
    ({"ch_mult": (1, 1.5)}, r"every entry of ch_mult must be a whole number, got 1\.5"),
    ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1\.0"),
    ({"dropout": -0.1}, r"dropout must be in \[0, 1\), got -0\.1"),
    ({"resolution": 28, "ch_mult": (1, 2, 2, 2), "attn_resolutions": (14,)},
     "resolution must be divisible by 8, since ch_mult = .* halves it 3 times, got 28"),
    ({"ch": 10}, "ch must be even, at least 4 and divisible by groups = 4, got 10"),
    ({"ch": 9, "groups": 3}, "ch must be even, at least 4 and divisible by groups = 3, got 9"),
    ({"ch": 2, "groups": 1}, "ch must be even, at least 4 and divisible by groups = 1, got 2"),
    ({"attn_resolutions": (16,)}, r"attn_resolutions must be among \(8, 4\), .* got 16"),
    ({"attn_resolutions": (4, 5)}, r"attn_resolutions must be among \(8, 4\), .* got 5"),
])
def test_a_network_that_cannot_be_is_an_error(change, message):
    with pytest.raises(ValueError, match=message):
        UNetConfig(**{**TINY.to_dict(), **change})


def test_a_configuration_survives_json():
    import json

    for config in CONFIGS.values():
        again = UNetConfig(**json.loads(json.dumps(config.to_dict())))
        assert again == config and hash(again) == hash(config)
