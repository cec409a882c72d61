"""What holds for every schedule, level, shape, type and eta, tried on drawn examples."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_metrics import Pixels

from ddim_lib.metrics import FrechetDistance
from ddim_lib.pixels import to_float, to_uint8
from ddim_lib.sampling import (
    coefficients,
    encode,
    noise_from_seeds,
    predict_x0,
    sample,
    sample_iter,
    sigma,
    slerp,
    step,
)
from ddim_lib.schedule import Schedule, cosine, from_dict, linear, pairs, timesteps
from ddim_lib.training import Trainer, TrainingConfig, learning_rate

MANY = settings(max_examples=100, deadline=None, derandomize=True, database=None)
FEW = settings(MANY, max_examples=25)

unit = st.floats(0, 1)
shapes = st.tuples(st.integers(1, 3), st.sampled_from([1, 3]), st.integers(1, 7), st.integers(1, 7))
seeds = st.integers(0, 2**32 - 1)


@st.composite
def schedules(draw, most=400):
    """A linear, a cosine, or any strictly falling table."""
    T, kind = draw(st.integers(1, most)), draw(st.sampled_from(["linear", "cosine", "own"]))
    if kind == "linear":
        start, end = sorted(draw(st.lists(st.floats(1e-5, 0.05), min_size=2, max_size=2)))
        return linear(T, start, end)
    if kind == "cosine":
        return cosine(T, draw(st.floats(0, 0.1)), draw(st.floats(0.5, 0.999)))
    beta = torch.tensor(draw(st.lists(st.floats(1e-6, 0.9), min_size=1, max_size=30)))
    ones = torch.ones(1, dtype=torch.float64)
    return Schedule(torch.cat([ones, (1 - beta.double()).cumprod(0)]))


@st.composite
def transitions(draw):
    """alpha_t < alpha_s of a schedule's levels t > s."""
    schedule = draw(schedules())
    t = draw(st.integers(1, schedule.T))
    return schedule.at(t), schedule.at(draw(st.integers(0, t - 1)))


def normal(shape, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


# Schedules ---------------------------------------------------------------------------------------

@MANY
@given(schedules())
def test_a_schedule_falls_from_1_and_its_betas_rebuild_it(schedule):
    alpha = schedule.alpha
    assert alpha[0] == 1 and alpha.dtype == torch.float64 and len(alpha) == schedule.T + 1
    assert (alpha.diff() < 0).all() and alpha[-1] > 0
    assert ((schedule.beta > 0) & (schedule.beta < 1)).all()
    torch.testing.assert_close((1 - schedule.beta).cumprod(0), alpha[1:], rtol=1e-9, atol=0)
    snr = schedule.snr()
    assert (snr.diff() < 0).all()
    torch.testing.assert_close(snr / (1 + snr), alpha[1:], rtol=1e-9, atol=0)
    if schedule.name != "custom":
        again = from_dict(schedule.to_dict())
        assert torch.equal(again.alpha, alpha) and again.to_dict() == schedule.to_dict()


@MANY
@given(schedules(), shapes, seeds, st.sampled_from([torch.float32, torch.float64]), st.data())
def test_noising_is_its_equation_and_the_true_noise_undoes_it(schedule, shape, seed, dtype, data):
    t = data.draw(st.integers(1, schedule.T))
    x0, eps = normal(shape, seed, dtype), normal(shape, seed + 1, dtype)
    x_t, a = schedule.add_noise(x0, t, eps), schedule.at(t)
    assert x_t.dtype == dtype and x_t.shape == shape
    torch.testing.assert_close(x_t, math.sqrt(a) * x0 + math.sqrt(1 - a) * eps)
    assert torch.equal(schedule.add_noise(x0, 0, eps), x0)
    each = schedule.add_noise(x0, torch.full((shape[0],), t), eps)
    torch.testing.assert_close(each, x_t)
    exact = torch.finfo(dtype).eps * 40 / math.sqrt(a)
    torch.testing.assert_close(predict_x0(x_t, eps, a), x0, rtol=exact, atol=exact)


# Subsequences: that each rises strictly inside 1..T is in test_schedule.py ------------------------

@MANY
@given(st.integers(1, 1500), st.data())
def test_a_subsequence_is_even_and_its_own_list(T, data):
    S = data.draw(st.integers(1, T))
    for spacing in ("leading", "trailing"):
        taus = timesteps(T, S, spacing)
        gaps = [b - a for a, b in zip(taus, taus[1:], strict=False)]
        assert not gaps or max(gaps) - min(gaps) <= 1
        assert {*gaps} <= {T // S, T // S + 1}
    for i, t in enumerate(timesteps(T, S, "trailing"), start=1):
        assert t * S <= T * i < (t + 1) * S  # floor(T i / S)
    # One is the other, shifted and mirrored: both leave out the same number of levels.
    assert [T + 1 - t for t in reversed(timesteps(T, S, "leading"))] == [
        -(-T * i // S) for i in range(1, S + 1)]
    if S > 1:  # floor((i c)^2) with (S - 1) c = sqrt(0.8 T), in whole numbers
        squares = {1 + 4 * T * i * i // (5 * (S - 1)**2) for i in range(S)}
        assert timesteps(T, S, "quadratic") == sorted(squares)
    for spacing in ("leading", "trailing", "quadratic"):
        taus = timesteps(T, S, spacing)
        assert timesteps(T, taus) == taus
        assert sum(t - s for t, s in pairs(taus)) == taus[-1]
    assert timesteps(T, T, "leading") == timesteps(T, T) == list(range(1, T + 1))


# One step ----------------------------------------------------------------------------------------

@MANY
@given(transitions(), unit)
def test_sigma_lies_between_0_and_the_noise_that_there_is(levels, eta):
    a_t, a_s = levels
    s, full = sigma(a_t, a_s, eta), sigma(a_t, a_s, 1.0)
    assert s == pytest.approx(eta * full, rel=1e-12)
    assert 0 <= s <= full <= math.sqrt(1 - a_s) + 1e-15
    assert full <= math.sqrt(1 - a_t / a_s) + 1e-15  # the small variance and the large one
    for_eps, for_z = coefficients(a_t, a_s, eta)
    assert for_eps**2 + for_z**2 == pytest.approx(1 - a_s, rel=1e-9, abs=1e-15)
    assert (for_z == 0) == (eta == 0 or a_s == 1 or s == 0)


@MANY
@given(transitions(), shapes, seeds)
def test_eta_1_is_the_ddpm_posterior_over_any_jump(levels, shape, seed):
    """q(x_s | x_t, x_0) by Bayes' rule, from q(x_s | x_0) and q(x_t | x_s)."""
    a_t, a_s = levels
    assume(a_s < 1)
    x0, x_t, z = (normal(shape, seed + i) for i in range(3))
    ratio = a_t / a_s
    precision = 1 / (1 - a_s) + ratio / (1 - ratio)
    mean = (math.sqrt(a_s) * x0 / (1 - a_s) + math.sqrt(ratio) * x_t / (1 - ratio)) / precision
    eps = (x_t - math.sqrt(a_t) * x0) / math.sqrt(1 - a_t)
    found = step(x0, eps, a_t, a_s, 1.0, z)
    torch.testing.assert_close(found, mean + z / math.sqrt(precision), rtol=1e-6, atol=1e-6)


@MANY
@given(transitions(), shapes, seeds)
def test_the_true_noise_carries_a_picture_to_every_level(levels, shape, seed):
    """eta = 0: x_s is x_0 noised to s with the same eps; two steps are one; and back again."""
    a_t, a_s = levels
    x0, eps = normal(shape, seed), normal(shape, seed + 1)
    x_t = math.sqrt(a_t) * x0 + math.sqrt(1 - a_t) * eps
    x_s = step(predict_x0(x_t, eps, a_t), eps, a_t, a_s)
    wanted = math.sqrt(a_s) * x0 + math.sqrt(1 - a_s) * eps
    exact = 1e-13 / math.sqrt(a_t)
    torch.testing.assert_close(x_s, wanted, rtol=exact, atol=exact)
    back = math.sqrt(a_t) * predict_x0(x_s, eps, a_s) + math.sqrt(1 - a_t) * eps
    torch.testing.assert_close(back, x_t, rtol=exact, atol=exact)


@MANY
@given(transitions(), unit, st.floats(0, 4))
def test_every_eta_keeps_the_variance_of_gaussian_data(levels, eta, spread):
    """x_0 ~ N(0, spread^2), eps its true noise: the variance at s is a_s spread^2 + 1 - a_s."""
    a_t, a_s = levels
    one, none = torch.ones(()), torch.zeros(())  # step is linear in x_0, eps and z
    parts = [step(x0.double(), eps.double(), a_t, a_s, eta, z.double())
             for x0, eps, z in ((one, none, none), (none, one, none), (none, none, one))]
    found = (parts[0] * spread)**2 + parts[1]**2 + parts[2]**2
    assert found.item() == pytest.approx(a_s * spread**2 + 1 - a_s, rel=1e-9, abs=1e-12)


@MANY
@given(transitions(), shapes, seeds, st.one_of(unit, st.just("hat")),
       st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
def test_a_step_keeps_shape_and_type_and_is_the_exact_one(levels, shape, seed, eta, dtype):
    a_t, a_s = levels
    x0, eps, z = (normal(shape, seed + i, dtype) for i in range(3))
    found = step(x0, eps, a_t, a_s, eta, z)
    assert found.dtype == dtype and found.shape == shape
    exact = step(x0.double(), eps.double(), a_t, a_s, eta, z.double())
    most = 8 * torch.finfo(dtype).eps  # of terms of at most about 4
    torch.testing.assert_close(found.double(), exact, rtol=most, atol=4 * most)


# The walk ----------------------------------------------------------------------------------------

class Oracle:
    """Knows x_0, and so the noise in every x_t."""

    def __init__(self, schedule, x0):
        self.schedule, self.x0 = schedule, x0

    def __call__(self, x, t):
        a = self.schedule.at(t[0].item())
        return (x - math.sqrt(a) * self.x0.to(x)) / math.sqrt(1 - a)


@MANY
@given(schedules(60), shapes, seeds, st.one_of(unit, st.just("hat")), st.data())
def test_with_an_oracle_every_walk_ends_at_its_picture(schedule, shape, seed, eta, data):
    steps = data.draw(st.integers(1, schedule.T))
    spacing = data.draw(st.sampled_from(["leading", "trailing", "quadratic"]))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    x0, x = normal(shape, seed, dtype), normal(shape, seed + 1, dtype)
    oracle, taus = Oracle(schedule, x0), timesteps(schedule.T, steps, spacing)
    exact = torch.finfo(dtype).eps * 100 / math.sqrt(schedule.at(taus[-1]))
    walk = list(sample_iter(oracle, schedule, steps=steps, spacing=spacing, eta=eta, x_T=x,
                            seeds=range(shape[0])))
    assert [now.t for now in walk] == [*taus[::-1], 0]
    assert all(now.x.dtype == dtype and now.x.shape == shape for now in walk)
    for now in walk:
        torch.testing.assert_close(now.x0, x0, rtol=exact, atol=exact)


@FEW
@given(schedules(60), st.lists(seeds, min_size=1, max_size=6), unit, st.data())
def test_a_seed_is_a_picture_however_the_batch_is_cut(schedule, drawn, eta, data):
    options = {"steps": data.draw(st.integers(1, min(schedule.T, 5))), "eta": eta,
               "shape": (1, 3, 2), "progress": False}

    def model(x, t):
        return 0.3 * x.sin() + t.view(-1, 1, 1, 1) / 100

    whole = sample(model, schedule, seeds=drawn, **options)
    size = data.draw(st.integers(1, 6))
    assert torch.equal(sample(model, schedule, seeds=drawn, batch_size=size, **options), whole)
    order = data.draw(st.permutations(range(len(drawn))))
    mixed = sample(model, schedule, seeds=[drawn[i] for i in order], **options)
    assert torch.equal(mixed, whole[list(order)])


@MANY
@given(schedules(60), shapes, seeds, st.data())
def test_decoding_undoes_encoding_where_the_noise_does_not_depend_on_x(schedule, shape, seed, data):
    """Then both ways take the same straight steps; "destination" asks at the same labels."""
    steps = data.draw(st.integers(1, schedule.T))
    spacing = data.draw(st.sampled_from(["leading", "trailing", "quadratic"]))
    x0, direction = normal(shape, seed), normal(shape, seed + 1)

    def model(x, t):
        return direction * (t.view(-1, 1, 1, 1) / schedule.T)

    code = encode(model, schedule, x0, steps=steps, spacing=spacing, convention="destination")
    back = sample(model, schedule, x_T=code, steps=steps, spacing=spacing, progress=False,
                  batch_size=len(x0))
    exact = 1e-12 / math.sqrt(schedule.at(schedule.T))
    torch.testing.assert_close(back, x0, rtol=exact, atol=exact)


# Interpolation -----------------------------------------------------------------------------------

@MANY
@given(shapes, seeds, unit, st.floats(0.1, 10), st.sampled_from([torch.float32, torch.float64]))
def test_slerp_turns_evenly_from_one_end_to_the_other(shape, seed, weight, length, dtype):
    x, y = (normal(shape, seed + i, torch.float64) for i in range(2))
    x, y = (v / v.flatten(1).norm(dim=1).view(-1, 1, 1, 1) * length for v in (x, y))
    angle = torch.acos(((x * y).flatten(1).sum(1) / length**2).clamp(-1, 1))
    assume(((angle > 1e-3) & (angle < math.pi - 1e-3)).all())  # one pixel: 0 or 180 degrees
    x, y = x.to(dtype), y.to(dtype)
    found = slerp(x, y, weight)
    exact = 1e4 * torch.finfo(dtype).eps * length
    assert found.dtype == dtype and found.shape == shape
    torch.testing.assert_close(found, slerp(y, x, 1 - weight), rtol=exact, atol=exact)
    torch.testing.assert_close(slerp(x, y, 0.0), x, rtol=exact, atol=exact)
    torch.testing.assert_close(slerp(x, y, 1.0), y, rtol=exact, atol=exact)
    norm = found.double().flatten(1).norm(dim=1)
    torch.testing.assert_close(norm, torch.full_like(norm, length), rtol=exact, atol=exact)
    turned = (x.double() * found.double()).flatten(1).sum(1) / length**2
    torch.testing.assert_close(turned, (weight * angle).cos(), rtol=exact, atol=exact)


@MANY
@given(shapes, seeds, unit, st.floats(0.1, 10), st.floats(0.1, 10))
def test_slerp_weighs_its_ends_by_their_angle_alone(shape, seed, weight, one, other):
    """So lengths go through it as they are: what belongs to x is x's length, and so for y."""
    x, y = normal(shape, seed), normal(shape, seed + 1)
    cosine = torch.cosine_similarity(x.flatten(1), y.flatten(1))
    assume((cosine.abs() < 0.999).all())
    of_y = slerp(x, 2 * y, weight) - slerp(x, y, weight)
    of_x = slerp(x, y, weight) - of_y
    torch.testing.assert_close(slerp(one * x, other * y, weight), one * of_x + other * of_y,
                               rtol=1e-9, atol=1e-9)


@FEW
@given(st.lists(seeds, min_size=1, max_size=5), st.tuples(st.integers(1, 3), st.integers(1, 5)))
def test_a_start_is_its_seeds_alone(drawn, shape):
    whole = noise_from_seeds(drawn, (1, *shape))
    for seed, image in zip(drawn, whole, strict=True):
        assert torch.equal(noise_from_seeds([seed], (1, *shape))[0], image)


# Distances ---------------------------------------------------------------------------------------

def distance(a, b):
    """The Fréchet distance of two sets of four features."""
    def pictures(features):
        images = torch.zeros(len(features), 1, 28, 28)
        images.view(len(features), -1)[:, :4] = features
        return images

    return FrechetDistance(pictures(a), Pixels())(pictures(b))


@st.composite
def features(draw):
    """40 rows of four numbers, well inside [-1, 1] however they are turned."""
    rows = normal((40, 4), draw(seeds)) @ normal((4, 4), draw(seeds)) * 0.03
    return (rows + 0.1 * normal((1, 4), draw(seeds))).clamp(-0.45, 0.45).float()


@FEW
@given(features(), features(), seeds)
def test_the_distance_is_symmetric_and_blind_to_rotations_and_order(a, b, seed):
    there = distance(a, b)
    assert there == pytest.approx(distance(b, a), rel=1e-3, abs=1e-5)
    assert there > -1e-5 and distance(a, a.flip(0)) == pytest.approx(0, abs=1e-5)
    turn = torch.linalg.qr(normal((4, 4), seed)).Q.float()
    assert distance(a @ turn, b @ turn) == pytest.approx(there, rel=1e-3, abs=1e-5)
    shift = torch.tensor([0.05, -0.05, 0.0, 0.1])
    assert distance(a + shift, b + shift) == pytest.approx(there, rel=1e-3, abs=1e-5)
    assert distance(a, a + shift) == pytest.approx(shift.square().sum().item(), rel=1e-3, abs=1e-5)


# Training and pictures ---------------------------------------------------------------------------

@MANY
@given(st.integers(1, 500), st.integers(0, 600), st.floats(1e-6, 1))
def test_the_learning_rate_stays_below_its_cosine_and_ends_at_0(steps, warmup, lr):
    config = TrainingConfig(steps=steps, warmup=warmup, lr=lr)
    for at in range(steps + 1):
        rate, ceiling = learning_rate(config, at), lr * math.cos(math.pi * at / steps / 2)**2
        assert 0 <= rate <= ceiling * (1 + 1e-9) + 1e-18
        if at + 1 >= warmup:
            assert rate == pytest.approx(ceiling, rel=1e-9, abs=1e-15 * lr)
        else:
            assert rate == pytest.approx(ceiling * (at + 1) / warmup, rel=1e-9, abs=1e-15 * lr)
    assert learning_rate(config, steps) == pytest.approx(0, abs=1e-15)


class Constant(torch.nn.Module):
    """A network of one number."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x, t):
        return x * self.weight


@FEW
@given(st.floats(0, 0.9999), st.integers(1, 30), seeds)
def test_the_average_lies_among_the_weights_that_it_is_of(decay, steps, seed):
    config = TrainingConfig(steps=steps, batch_size=2, ema_decay=decay, autocast="fp32", lr=0.1)
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 1, 2, 2), np.uint8)
    trainer = Trainer(Constant(), linear(), torch.from_numpy(pixels), config, "cpu")
    expected, seen = 0.0, [0.0]
    for n, _ in enumerate(trainer.train(), start=1):
        weight, keep = trainer.model.weight.item(), min(decay, (1 + n) / (10 + n))
        expected = keep * expected + (1 - keep) * weight
        seen.append(weight)
        assert trainer.ema.weight.item() == pytest.approx(expected, rel=1e-4, abs=1e-7)
        assert min(seen) - 1e-7 <= trainer.ema.weight.item() <= max(seen) + 1e-7


@MANY
@given(st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=50))
def test_grey_levels_are_the_nearest_and_keep_their_order(values):
    levels = to_uint8(torch.tensor(sorted(values)))
    assert (levels.int().diff() >= 0).all()
    inside = torch.tensor(sorted(values)).clamp(-1, 1)
    assert ((to_float(levels) - inside).abs() <= 0.5 / 127.5 + 1e-6).all()
    assert torch.equal(to_uint8(to_float(levels)), levels)
