"""A network that predicts the velocity answers with noise, everywhere where one is asked."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from test_unet import perturbed

import ddim_lib
from ddim_lib.responses import amplitude_response, exact_mean_response, mean_response
from ddim_lib.schedule import cosine, linear
from ddim_lib.training import Trainer, TrainingConfig, noise_prediction_loss
from ddim_lib.unet import UNet, UNetConfig, epsilon_from_v
from ddim_lib.weights import load_weights, read_facts, save_weights
from ddim_lib.weights.checkpoints import read_published, write_diffusers

CONFIG = UNetConfig(8, 1, 16, (1, 2), 1, (4,), dropout=0.0, groups=4,
                    prediction_type="v_prediction")
SCHEDULE = linear()


def network(schedule=SCHEDULE, config=CONFIG):
    return perturbed(config, schedule)


def noisy(n=3, seed=1):
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


# The network --------------------------------------------------------------------------------------

@pytest.mark.equation("7.2")
@torch.no_grad()
def test_eps_is_made_of_x_and_the_velocity():
    model, x, t = network(), noisy(), torch.tensor([1, 500, 1000])
    v = model.predict(x, t)
    a = SCHEDULE.alpha[t].view(-1, 1, 1, 1)
    wanted = (1 - a).sqrt() * x.double() + a.sqrt() * v.double()
    torch.testing.assert_close(model(x, t).double(), wanted, rtol=0, atol=1e-6)
    for i in range(3):  # one t for all is the same t
        torch.testing.assert_close(model(x, int(t[i]))[i], model(x, t)[i], rtol=0, atol=1e-6)
    assert v.std() > 0.02


@pytest.mark.equation("7.1", "7.2")
def test_noise_picture_and_velocity_are_three_names_of_one_thing():
    x0, eps = noisy(seed=2).double(), noisy(seed=3).double()
    for t in (1, 300, 1000):
        a = SCHEDULE.at(t)
        x = SCHEDULE.add_noise(x0, t, eps)
        v = math.sqrt(a) * eps - math.sqrt(1 - a) * x0
        signal, noise = math.sqrt(a), math.sqrt(1 - a)
        torch.testing.assert_close(epsilon_from_v(x, v, signal, noise), eps)
        # Without a division: what the network's x_0 needs no factor of 157 for.
        torch.testing.assert_close(signal * x - noise * v, x0)


def test_the_untrained_network_passes_its_input_on():
    """F is 0 at the start, so eps is x_t where there is nearly noise alone."""
    model, x = UNet(CONFIG, SCHEDULE).eval(), noisy()
    with torch.no_grad():
        torch.testing.assert_close(model(x, 1000), math.sqrt(1 - SCHEDULE.at(1000)) * x)


@torch.no_grad()
def test_the_answer_has_the_type_and_place_of_x():
    model, x = network(), noisy()
    with torch.autocast("cpu", torch.bfloat16):
        loose = model(x, 900)
    assert loose.dtype == torch.float32  # the sum is not rounded to bfloat16, the layers are
    assert 0 < (loose - model(x, 900)).abs().max() < 0.01
    half = copy.deepcopy(model).to(torch.bfloat16)
    assert half(x.to(torch.bfloat16), 900).dtype == torch.bfloat16
    assert model.to("meta")(x.to("meta"), torch.zeros(3, dtype=torch.int64, device="meta")).is_meta


def test_it_needs_its_schedule_and_says_so():
    with pytest.raises(ValueError, match="schedule must be given for prediction_type = 'v_pred"):
        UNet(CONFIG)
    with pytest.raises(ValueError, match="prediction_type must be one of epsilon, v_prediction, "
                                         "got 'x0'"):
        UNetConfig(prediction_type="x0")


def test_the_tensors_are_those_of_the_other_form():
    """Weights of one form can be the start of the other; the roots of alpha are not stored."""
    other = UNet(UNetConfig(**{**CONFIG.to_dict(), "prediction_type": "epsilon"}))
    other.load_state_dict(network().state_dict())
    x = noisy()
    with torch.no_grad():
        torch.testing.assert_close(other(x, 7), network().predict(x, torch.full((3,), 7)))


# Weights ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("schedule", [SCHEDULE, cosine(50)], ids=["linear", "cosine"])
def test_the_file_says_it_and_the_network_comes_back(schedule, tmp_path):
    model, x, t = network(schedule), noisy(), torch.tensor([1, 20, 50])
    save_weights(tmp_path / "w.safetensors", model, schedule)
    assert read_facts(tmp_path / "w.safetensors")["unet"]["prediction_type"] == "v_prediction"
    again, its_schedule = load_weights(tmp_path / "w.safetensors")
    with torch.no_grad():
        assert torch.equal(again(x, t), model(x, t))
    assert again.config == CONFIG and its_schedule.to_dict() == schedule.to_dict()


def test_a_file_from_before_predicts_the_noise(tmp_path, monkeypatch):
    """Older files do not name the field."""
    plain = UNetConfig(**{**CONFIG.to_dict(), "prediction_type": "epsilon"})
    told = {k: v for k, v in plain.to_dict().items() if k != "prediction_type"}
    monkeypatch.setattr(UNetConfig, "to_dict", lambda self: told)
    save_weights(tmp_path / "w.safetensors", network(config=plain), SCHEDULE)
    assert "prediction_type" not in read_facts(tmp_path / "w.safetensors")["unet"]
    assert load_weights(tmp_path / "w.safetensors")[0].config == plain


def test_another_schedule_is_refused_wherever_both_meet(tmp_path):
    model = network()
    with pytest.raises(ValueError, match="schedule must be the one that the network was built"):
        save_weights(tmp_path / "w.safetensors", model, cosine())
    with pytest.raises(ValueError, match="schedule must be the one .* got linear"):
        Trainer(model, linear(1000, 1e-4, 0.01), torch.zeros(9, 1, 8, 8, dtype=torch.uint8),
                TrainingConfig(batch_size=3), "cpu")
    assert list(tmp_path.iterdir()) == []


def test_diffusers_draws_the_same_pictures(tmp_path):
    """There and back, and the scheduler knows what the network predicts."""
    from diffusers import DDIMScheduler, UNet2DModel

    model = network()
    write_diffusers(tmp_path / "theirs", model, SCHEDULE)
    theirs = UNet2DModel.from_pretrained(tmp_path / "theirs").eval()
    scheduler = DDIMScheduler.from_pretrained(
        tmp_path / "theirs", timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=True)
    assert scheduler.config.prediction_type == "v_prediction"
    scheduler.set_timesteps(10)
    x = x_T = noisy()
    with torch.no_grad():
        for label in scheduler.timesteps:
            x = scheduler.step(theirs(x, label).sample, label, x).prev_sample
    ours = ddim_lib.sample(model, SCHEDULE, x_T=x_T, steps=10, progress=False)
    torch.testing.assert_close(ours, x, rtol=0, atol=2e-5)
    assert ours.std() > 0.1
    again, _ = read_published(tmp_path / "theirs")
    assert again.config == CONFIG
    with torch.no_grad():
        assert torch.equal(again(x_T, 900), model(x_T, 900))


# Training -----------------------------------------------------------------------------------------

@pytest.mark.equation("7.3")
def test_the_weighted_loss_is_the_velocitys_squared_error():
    model, x0 = network(), noisy(40).clamp(-1, 1)
    loss = noise_prediction_loss(model, SCHEDULE, x0, torch.Generator().manual_seed(3), "1/alpha")
    generator = torch.Generator().manual_seed(3)
    t = torch.randint(1, 1001, (40,), generator=generator)
    eps = torch.randn(x0.shape, generator=generator)
    a = SCHEDULE.alpha[t].view(-1, 1, 1, 1)
    v = a.sqrt() * eps - (1 - a).sqrt() * x0
    with torch.no_grad():
        wanted = (v - model.predict(SCHEDULE.add_noise(x0, t, eps), t)).square().mean()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    plain = noise_prediction_loss(model, SCHEDULE, x0, torch.Generator().manual_seed(3))
    assert plain.item() < loss.item() / 2


@pytest.mark.parametrize("weight", ["1", "1/alpha"])
def test_the_mean_s_error_may_count_more(weight):
    """Added is the mean, over pictures and channels, of the square of the channel's mean error."""
    model = network(config=replace(CONFIG, in_channels=3))
    x0 = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    both, plain = (noise_prediction_loss(model, SCHEDULE, x0, torch.Generator().manual_seed(3),
                                         weight, mean_weight) for mean_weight in (5.0, 0.0))
    generator = torch.Generator().manual_seed(3)
    t = torch.randint(1, 1001, (len(x0),), generator=generator)
    eps = torch.randn(x0.shape, generator=generator)
    with torch.no_grad():
        error = model(SCHEDULE.add_noise(x0, t, eps), t) - eps
    if weight == "1/alpha":
        error = error / SCHEDULE.alpha[t].sqrt().view(-1, 1, 1, 1)
    added = 5 * error.mean(dim=(2, 3)).square().mean()
    assert (both - plain).item() == pytest.approx(added.item(), rel=1e-4)
    assert added > 0.01 * plain


def test_the_least_of_the_loss_stays_where_it_was():
    """Over E[eps | x_t] scaled by c, on pictures of one grey: the least is at 1 with either."""
    level = 0.3 * noisy(60).double().view(-1, 1, 1, 1)
    x0 = level.expand(-1, 1, 4, 4).contiguous()

    class Scaled:
        def __init__(self, c):
            self.c = c

        def __call__(self, x, t):
            a = SCHEDULE.alpha[t].view(-1, 1, 1, 1)
            mean = x.mean(dim=(2, 3), keepdim=True)
            v = a * level.var() + (1 - a) / 16
            return self.c * (x - mean + (1 - a) / 16 / v * mean) / (1 - a).sqrt()

    for mean_weight in (0.0, 20.0):
        losses = [noise_prediction_loss(Scaled(c), SCHEDULE, x0, torch.Generator().manual_seed(0),
                                        mean_weight=mean_weight).item() for c in (0.95, 1, 1.05)]
        assert losses[1] < min(losses[0], losses[2])


def test_an_impossible_weight_of_the_mean_is_an_error():
    with pytest.raises(ValueError, match="mean_weight must be at least 0, got -1"):
        noise_prediction_loss(network(), SCHEDULE, noisy(), mean_weight=-1)
    with pytest.raises(ValueError, match="mean_weight must be a number, got nan"):
        TrainingConfig(mean_weight=float("nan"))


def test_another_weight_is_an_error():
    with pytest.raises(ValueError, match="weight must be one of 1, 1/alpha, got 'snr'"):
        noise_prediction_loss(network(), SCHEDULE, noisy(), weight="snr")
    with pytest.raises(ValueError, match="loss_weight must be text, got 1"):
        TrainingConfig(loss_weight=1)


def training():
    images = (noisy(24, seed=5).clamp(-1, 1) * 127 + 128).to(torch.uint8)
    return Trainer(network(), SCHEDULE, images,
                   TrainingConfig(steps=4, batch_size=6, loss_weight="1/alpha"), "cpu")


def test_a_run_in_this_form_goes_on_from_its_checkpoint_bit_for_bit(tmp_path):
    whole, first, second = training(), training(), training()
    list(whole.train())
    list(first.train(2))
    first.save(tmp_path / "c.pt")
    second.load(tmp_path / "c.pt")
    list(second.train())
    for key, value in whole.ema.state_dict().items():
        assert torch.equal(value, second.ema.state_dict()[key]), key
    x = noisy()
    with torch.no_grad():
        assert torch.equal(whole.ema(x, 5), second.ema(x, 5))


# Responses ----------------------------------------------------------------------------------------

def test_what_passes_the_noise_on_has_responses_of_1():
    shape = (2, 8, 8)
    assert amplitude_response(lambda x, t: x, 900, shape=shape) == pytest.approx(1, abs=1e-5)
    assert mean_response(lambda x, t: x, 900, shape=shape) == pytest.approx(1, abs=1e-5)


def test_responses_are_those_of_evaluation():
    """A trainer's own network is in training mode, where dropout would be measured too."""
    model = network(config=replace(CONFIG, dropout=0.5))
    for response in (amplitude_response, mean_response):
        right = response(model.eval(), 900)
        assert response(model.train(), 900) == right and model.training


def test_a_network_that_normalises_its_input_does_not_follow():
    def normalised(x, t):
        return x / x.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()

    def centred(x, t):
        return x - 0.75 * x.mean(dim=(2, 3), keepdim=True)

    assert amplitude_response(normalised, 900, shape=(1, 8, 8)) == pytest.approx(0, abs=1e-5)
    assert mean_response(centred, 900, shape=(3, 8, 8)) == pytest.approx(0.25, abs=1e-5)


def test_the_exact_slope_is_the_regression_of_the_noise_on_x():
    """Pictures of one grey each, normal, a million of them: least squares finds the slope."""
    a, spread, pixels = 0.02, 0.3, 16
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1_000_000, generator=generator) / math.sqrt(pixels)
    x = math.sqrt(a) * spread * torch.randn(1_000_000, generator=generator) \
        + math.sqrt(1 - a) * noise
    slope = (x * noise).mean() / x.square().mean()
    assert slope.item() == pytest.approx(exact_mean_response(a, spread, pixels), abs=0.005)
