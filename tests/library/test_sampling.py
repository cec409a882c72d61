"""The sampler is the papers' family, on any pairs of levels, and a seed is a picture."""

import io
import math

import numpy as np
import pytest
import torch
from torch import nn

from ddim_lib.sampling import (
    Step,
    coefficients,
    encode,
    extrapolate_x0,
    guide,
    noise_from_seeds,
    noise_in,
    predict_x0,
    sample,
    sample_iter,
    sigma,
    slerp,
    step,
)
from ddim_lib.schedule import cosine, linear, pairs, timesteps
from ddim_lib.unet import UNet, UNetConfig

SCHEDULE = linear()
ETAS = [0.0, 0.5, 1.0, "hat"]
SHAPE = (2, 5, 4)


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class Exact:
    """The exact eps of Gaussian pixels x_0 ~ N(0, spread^2): E[eps | x_t]."""

    image_shape = SHAPE

    def __init__(self, spread=0.5, schedule=SCHEDULE):
        self.spread, self.schedule, self.asked = spread, schedule, []

    def variance(self, t):
        """Of x_t."""
        alpha = self.schedule.at(t)
        return alpha * self.spread**2 + 1 - alpha

    def __call__(self, x, t):
        assert t.dtype == torch.int64 and t.shape == (len(x),)
        assert (t == t[0]).all()
        level = t[0].item()
        self.asked.append(level)
        return math.sqrt(1 - self.schedule.at(level)) * x / self.variance(level)


class Curved(Exact):
    """Not linear in x, so that no two formulas agree by accident."""

    def __call__(self, x, t):
        return super().__call__(x, t) + 0.3 * torch.sin(3 * x + t[0] / 100)


# The reference numbers of the public implementations ----------------------------------------------

def reference_start():
    return (torch.arange(768, dtype=torch.float64).reshape(3, 8, 8, 4) / 768).permute(3, 0, 1, 2)


def reference_model(x, t):
    label = t[0].item() - 1  # those codes count levels from 0
    return x * label / (label + 1)


@pytest.mark.equation("7")
@pytest.mark.parametrize("schedule, expected", [(SCHEDULE, 172.0067),
                                                (linear(1000, 0.01, 0.02), 149.8295)])
def test_the_public_regression_sums(schedule, expected):
    out = sample(reference_model, schedule, x_T=reference_start(), steps=10, spacing="leading",
                 progress=False)
    assert out.abs().sum().item() == pytest.approx(expected, abs=1e-3)


def test_the_public_regression_sum_that_ends_at_alpha_1():
    """diffusers' set_alpha_to_one=False: the last step goes to alpha_1; here step by step."""
    schedule, x = linear(1000, 0.01, 0.02), reference_start()
    for t, s in pairs(timesteps(1000, 10, "leading")):
        eps = reference_model(x, torch.tensor([t]))
        alpha_t, alpha_s = schedule.at(t), schedule.at(max(s, 1))
        x = step(predict_x0(x, eps, alpha_t), eps, alpha_t, alpha_s)
    assert x.abs().sum().item() == pytest.approx(149.0784, abs=1e-3)


@pytest.mark.equation("9")
@pytest.mark.parametrize("t, s, variance", [(420, 400, 0.14771), (980, 960, 0.32460),
                                            (487, 486, 0.00979), (999, 998, 0.02)])
def test_the_public_variances(t, s, variance):
    """Eq. 16, eta = 1; the public numbers stand at labels, which are t - 1."""
    alpha_t, alpha_s = SCHEDULE.at(t + 1), SCHEDULE.at(s + 1)
    assert sigma(alpha_t, alpha_s, 1.0) ** 2 == pytest.approx(variance, abs=1e-5)
    assert coefficients(alpha_t, alpha_s, 1.0)[1] ** 2 == pytest.approx(variance, abs=1e-5)


# The equations, written out again -----------------------------------------------------------------

JUMPS = [(1000, 999), (1000, 900), (501, 401), (300, 10), (37, 36), (2, 1), (1000, 1)]


@pytest.mark.equation("3", "6", "7", "8", "9")
@pytest.mark.parametrize("t, s", [*JUMPS, (1000, 0), (1, 0)])
@pytest.mark.parametrize("eta", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_step_is_equations_9_12_and_16(t, s, eta):
    a_t, a_s = SCHEDULE.at(t), SCHEDULE.at(s)
    x, eps, z = noise(3, *SHAPE), noise(3, *SHAPE, seed=1), noise(3, *SHAPE, seed=2)
    variance = eta**2 * (1 - a_s) / (1 - a_t) * (1 - a_t / a_s)
    x0 = (x - (1 - a_t) ** 0.5 * eps) / a_t**0.5
    expected = a_s**0.5 * x0 + max(1 - a_s - variance, 0) ** 0.5 * eps + variance**0.5 * z
    torch.testing.assert_close(predict_x0(x, eps, a_t), x0, rtol=1e-12, atol=1e-12)
    found = step(predict_x0(x, eps, a_t), eps, a_t, a_s, eta, z)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-8)
    assert sigma(a_t, a_s, eta) == pytest.approx(variance**0.5, rel=1e-12)


@pytest.mark.parametrize("t, s", JUMPS)
def test_sigma_hat_has_sigma_1_under_the_root_and_the_large_one_before_z(t, s):
    """DDIM D.3."""
    a_t, a_s = SCHEDULE.at(t), SCHEDULE.at(s)
    for_eps, for_z = coefficients(a_t, a_s, "hat")
    assert for_eps == pytest.approx(coefficients(a_t, a_s, 1.0)[0], rel=1e-14)
    assert for_eps**2 == pytest.approx((1 - a_s) ** 2 / (1 - a_t) * a_t / a_s, rel=1e-6)
    assert for_z == pytest.approx(math.sqrt(1 - a_t / a_s), rel=1e-14)


@pytest.mark.equation("8")
@pytest.mark.parametrize("t, s", [*JUMPS, (1000, 0)])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_the_two_coefficient_form_needs_no_x0(t, s, eta):
    """x_s = sqrt(a_s/a_t) x_t + [sqrt(1-a_s-sigma^2) - sqrt(a_s (1-a_t)/a_t)] eps + sigma z."""
    a_t, a_s = SCHEDULE.at(t), SCHEDULE.at(s)
    x, eps, z = noise(3, *SHAPE), noise(3, *SHAPE, seed=1), noise(3, *SHAPE, seed=2)
    noise_std = sigma(a_t, a_s, eta)
    expected = (math.sqrt(a_s / a_t) * x + noise_std * z
                + (math.sqrt(1 - a_s - noise_std**2) - math.sqrt(a_s * (1 - a_t) / a_t)) * eps)
    torch.testing.assert_close(step(predict_x0(x, eps, a_t), eps, a_t, a_s, eta, z), expected,
                               rtol=1e-9, atol=1e-9)


@pytest.mark.equation("11.1", "11.2")
@pytest.mark.parametrize("t, s", [*JUMPS, (1000, 0)])
def test_eta_0_is_the_ode_form(t, s):
    """Eq. 13, in x / sqrt(alpha)."""
    a_t, a_s = SCHEDULE.at(t), SCHEDULE.at(s)
    x, eps = noise(3, *SHAPE), noise(3, *SHAPE, seed=1)
    scaled = x / a_t**0.5 + (((1 - a_s) / a_s) ** 0.5 - ((1 - a_t) / a_t) ** 0.5) * eps
    torch.testing.assert_close(step(predict_x0(x, eps, a_t), eps, a_t, a_s), a_s**0.5 * scaled,
                               rtol=1e-9, atol=1e-9)


@pytest.mark.equation("10")
def test_eta_1_with_all_steps_is_the_ddpm_posterior():
    """DDPM eq. 6 and 7: mean mu-tilde, variance beta-tilde; with eq. 11 for the mean."""
    x, eps, z = noise(3, *SHAPE), noise(3, *SHAPE, seed=1), noise(3, *SHAPE, seed=2)
    bar, beta = SCHEDULE.alpha.tolist(), torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    for t in range(1, 1001):
        b = beta[t - 1].item()
        x0 = (x - math.sqrt(1 - bar[t]) * eps) / math.sqrt(bar[t])
        mean = (math.sqrt(bar[t - 1]) * b * x0
                + math.sqrt(1 - b) * (1 - bar[t - 1]) * x) / (1 - bar[t])
        eq11 = (x - b / math.sqrt(1 - bar[t]) * eps) / math.sqrt(1 - b)
        variance = (1 - bar[t - 1]) / (1 - bar[t]) * b
        found = step(predict_x0(x, eps, bar[t]), eps, bar[t], bar[t - 1], 1.0, z)
        expected = mean + math.sqrt(variance) * z
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6, msg=f"t = {t}")
        torch.testing.assert_close(mean, eq11, rtol=0, atol=1e-6, msg=f"t = {t}")


@pytest.mark.equation("7", "8")
@pytest.mark.parametrize("eta", ETAS)
def test_the_sampler_walks_its_pairs_by_equation_12(eta):
    """The whole walk again, from its definition, with the same z."""
    model, seeds, taus = Curved(), [3, 8], [1, 4, 70, 71, 300, 999]
    found = list(sample_iter(model, SCHEDULE, seeds=seeds, steps=taus, eta=eta))
    x, ends = noise_from_seeds(seeds, SHAPE), [0, *taus]
    generators = stream(seeds)
    for i in range(len(taus), 0, -1):
        t, s = ends[i], ends[i - 1]
        a_t, a_s = SCHEDULE.at(t), SCHEDULE.at(s)
        got = found[len(taus) - i]
        assert got.t == t
        torch.testing.assert_close(got.x, x, rtol=1e-5, atol=1e-5)
        eps = model(got.x, torch.full((2,), t))
        torch.testing.assert_close(got.eps, eps, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(got.x0, (got.x - (1 - a_t) ** 0.5 * eps) / a_t**0.5)
        variance = (1 - a_s) / (1 - a_t) * (1 - a_t / a_s) * (1 if eta == "hat" else eta**2)
        x = a_s**0.5 * got.x0 + max(1 - a_s - variance, 0) ** 0.5 * eps
        if s > 0 and eta != 0:
            z = torch.stack([torch.randn(SHAPE, generator=g) for g in generators])
            x = x + (1 - a_t / a_s if eta == "hat" else variance) ** 0.5 * z
    assert len(found) == len(taus) + 1 and found[-1].t == 0 and found[-1].eps is None
    torch.testing.assert_close(found[-1].x, x, rtol=1e-5, atol=1e-5)


def stream(seeds):
    """The generators of z: written down in the book's results, so they may not change."""
    states = [np.random.SeedSequence([seed, 1]).generate_state(1)[0] for seed in seeds]
    return [torch.Generator().manual_seed(int(state)) for state in states]


# Equality with diffusers --------------------------------------------------------------------------

def diffusers_walk(scheduler, model, x, steps, zs, monkeypatch, **options):
    """Their loop around their step; z in our order, drawn by nobody else."""
    import diffusers.schedulers.scheduling_ddpm as ddpm

    given = iter(zs)
    monkeypatch.setattr(ddpm, "randn_tensor", lambda *_, **__: next(given))
    scheduler.set_timesteps(steps)
    for label in scheduler.timesteps.tolist():
        eps = model(x, torch.full((len(x),), label + 1))
        if options:  # DDIMScheduler takes z as an argument
            z = next(given) if label > 0 else torch.zeros_like(x)
            x = scheduler.step(eps, label, x, **options, variance_noise=z).prev_sample
        else:
            x = scheduler.step(eps, label, x).prev_sample
    return x


def drawn(seeds, count):
    generators = stream(seeds)
    return [torch.stack([torch.randn(SHAPE, generator=g) for g in generators]).double()
            for _ in range(count)]


@pytest.mark.equation("6", "7", "8", "10")
@pytest.mark.parametrize("steps", [10, 50, 1000])
@pytest.mark.parametrize("kind, eta", [("ddim", 0.0), ("ddim", 1.0), ("fixed_small", 1.0),
                                       ("fixed_large", "hat")])
@pytest.mark.parametrize("table, tolerance", [("float64", 1e-10), ("float32", 1e-4)])
def test_equal_to_diffusers(kind, eta, steps, table, tolerance, monkeypatch):
    """The same eps, start and z; to 1e-10 with our table in theirs, 1e-4 with their own."""
    from diffusers import DDIMScheduler, DDPMScheduler

    common = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02,
              "clip_sample": False, "timestep_spacing": "leading", "steps_offset": 0}
    if kind == "ddim":
        theirs, options = DDIMScheduler(set_alpha_to_one=True, **common), {"eta": eta}
    else:
        theirs, options = DDPMScheduler(variance_type=kind, **common), {}
    if table == "float64":
        theirs.alphas_cumprod = SCHEDULE.alpha[1:].clone()
    seeds = [5, 6, 7]
    x_T = noise_from_seeds(seeds, SHAPE).double()
    expected = diffusers_walk(theirs, Curved(), x_T, steps, drawn(seeds, steps - 1), monkeypatch,
                              **options)
    found = sample(Curved(), SCHEDULE, x_T=x_T, seeds=seeds, steps=steps, spacing="leading",
                   eta=eta, progress=False)
    assert found.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@pytest.mark.equation("11.7")
@pytest.mark.parametrize("steps", [1, 2, 5, 10, 50])
@pytest.mark.parametrize("spacing, tolerance", [("leading", 1e-6), ("trailing", 1e-5)])
def test_order_2_is_diffusers_multistep_solver(steps, spacing, tolerance):
    """DPM-Solver++(2M). Their walk is in float32; from t = 1000 it multiplies rounding by 157."""
    from diffusers import DPMSolverMultistepScheduler

    theirs = DPMSolverMultistepScheduler(
        num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, timestep_spacing=spacing,
        algorithm_type="dpmsolver++", solver_order=2, final_sigmas_type="zero")
    theirs.set_timesteps(steps)
    taus = [label + 1 for label in reversed(theirs.timesteps.tolist())]
    model, expected = Curved(), noise(3, *SHAPE)
    x_T = expected.clone()
    for label in theirs.timesteps:
        eps = model(expected, torch.full((3,), label.item() + 1))
        expected = theirs.step(eps, label, expected).prev_sample
    found = sample(Curved(), SCHEDULE, x_T=x_T, steps=taus, order=2, progress=False)
    assert len(taus) == steps and found.std() > 0.1
    assert (found - expected).abs().max() < tolerance * found.abs().max()


@pytest.mark.equation("11.7")
def test_an_extrapolated_prediction_lies_on_the_line_through_two_in_log_snr():
    """Halfway through the step, were the prediction straight in ln(sqrt(alpha / (1 - alpha)))."""
    before, t, s = SCHEDULE.at(900), SCHEDULE.at(600), SCHEDULE.at(50)

    def half_log_snr(alpha):
        return math.log(math.sqrt(alpha / (1 - alpha)))

    def line(place):
        return 0.3 - 0.7 * place + torch.zeros(1, *SHAPE, dtype=torch.float64)

    middle = (half_log_snr(t) + half_log_snr(s)) / 2
    found = extrapolate_x0(line(half_log_snr(t)), line(half_log_snr(before)), before, t, s)
    torch.testing.assert_close(found, line(middle), rtol=1e-12, atol=1e-12)


@pytest.mark.equation("11.7")
@pytest.mark.parametrize("clip", [False, True])
def test_order_2_is_the_step_with_an_extrapolated_prediction(clip):
    """But for the first transition and the last; what is reported are the network's predictions."""
    walk = list(sample_iter(Curved(), SCHEDULE, x_T=noise(2, *SHAPE), steps=5, order=2, clip=clip))
    assert [now.t for now in walk] == [1000, 800, 600, 400, 200, 0]
    for i, (now, after) in enumerate(zip(walk, walk[1:], strict=False)):
        a_t, a_s = SCHEDULE.at(now.t), SCHEDULE.at(after.t)
        x0 = predict_x0(now.x, Curved()(now.x, torch.full((2,), now.t)), a_t)
        torch.testing.assert_close(now.x0, x0.clamp(-1, 1) if clip else x0)
        torch.testing.assert_close(now.eps, noise_in(now.x, now.x0, a_t))
        guess = now.x0
        if i not in (0, 4):
            guess = extrapolate_x0(now.x0, walk[i - 1].x0, SCHEDULE.at(walk[i - 1].t), a_t, a_s)
            assert (guess - now.x0).abs().max() > 0.01
        expected = step(guess, noise_in(now.x, guess, a_t), a_t, a_s)
        torch.testing.assert_close(after.x, expected, rtol=1e-12, atol=1e-12)


def test_order_2_extrapolates_down_to_level_1():
    model, levels, x = Curved(), (1, 300, 600), noise(1, *SHAPE)
    found = sample(model, SCHEDULE, x_T=x, steps=levels, order=2, progress=False)
    before = None
    for t, s in pairs(levels):
        alpha_t, alpha_s = SCHEDULE.at(t), SCHEDULE.at(s)
        eps = model(x, torch.tensor([t]))
        x0 = guess = predict_x0(x, eps, alpha_t)
        if before is not None and s > 0:
            guess = extrapolate_x0(x0, *before, alpha_t, alpha_s)
        before = x0, alpha_t
        x = step(guess, noise_in(x, guess, alpha_t), alpha_t, alpha_s)
    torch.testing.assert_close(found, x)


def test_in_two_steps_both_orders_are_one():
    walks = [sample(Curved(), SCHEDULE, x_T=noise(2, *SHAPE), steps=[300, 1000], order=order,
                    progress=False) for order in (1, 2)]
    torch.testing.assert_close(*walks, rtol=0, atol=0)


# Gaussian data, where everything is known ---------------------------------------------------------

SPREAD = 0.5


def marginal_variances(eta):
    """Var x_s of the sampler on Gaussian data, for s = T..0: a linear recursion, exact.

    With v_t = a_t s^2 + 1 - a_t the exact eps makes x_0 = sqrt(a_t) s^2 / v_t x_t.
    """
    a = SCHEDULE.alpha.tolist()
    variance = [1.0]
    for t in range(1000, 0, -1):
        v = a[t] * SPREAD**2 + 1 - a[t]
        small = (1 - a[t - 1]) / (1 - a[t]) * (1 - a[t] / a[t - 1])
        inside = small if eta == "hat" else eta**2 * small
        added = 1 - a[t] / a[t - 1] if eta == "hat" else inside
        keeps = (math.sqrt(a[t - 1] * a[t]) * SPREAD**2
                 + math.sqrt(max(1 - a[t - 1] - inside, 0) * (1 - a[t]))) / v
        variance.append(keeps**2 * variance[-1] + (added if t > 1 else 0.0))
    return torch.tensor(variance, dtype=torch.float64)


@pytest.mark.equation("6", "8")
@pytest.mark.parametrize("eta", ETAS)
def test_the_marginal_deviation_is_right_at_every_level(eta):
    """Every eta leaves the same marginals (DDIM lemma 1), up to the size of a step.

    36,000 drawn pixels at each of 1,001 levels against the exact recursion, within 2 % (over
    5 standard errors); the recursion against sqrt(a_t s^2 + 1 - a_t) within 1 %.
    """
    model = Exact(SPREAD)
    wanted = marginal_variances(eta).sqrt()
    ideal = torch.tensor([model.variance(t) for t in range(1000, -1, -1)]).sqrt()
    assert (wanted / ideal - 1).abs().max() < 0.01
    walk = sample_iter(model, SCHEDULE, seeds=[11], shape=(1, 180, 200), steps=1000, eta=eta)
    found = torch.stack([now.x.std() for now in walk])
    worst = (found / wanted - 1).abs()
    assert worst.max() < 0.02, f"at t = {1000 - worst.argmax()}"
    assert model.asked == list(range(1000, 0, -1))


@pytest.mark.equation("8")
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_one_step_keeps_the_marginals_whatever_its_length(eta):
    """DDIM lemma 1: from q(x_t|x_0), with the true eps, eq. 12 gives q(x_s|x_0)."""
    n, x0 = 200_000, 0.8
    for t, s in ((1000, 500), (500, 100), (100, 1)):
        eps, z = noise(n, seed=t), noise(n, seed=t + 1)
        x_s = step(torch.full((n,), x0, dtype=torch.float64), eps, SCHEDULE.at(t), SCHEDULE.at(s),
                   eta, z)
        assert x_s.mean().item() == pytest.approx(math.sqrt(SCHEDULE.at(s)) * x0,
                                                  abs=5 * math.sqrt((1 - SCHEDULE.at(s)) / n))
        assert x_s.var().item() == pytest.approx(1 - SCHEDULE.at(s), rel=5 * math.sqrt(2 / n))


# Noise: where it enters, and what a seed means ----------------------------------------------------

@pytest.mark.parametrize("t", [1, 37, 100, 1000])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0, "hat"])
def test_the_last_transition_adds_no_noise(t, eta):
    x0, eps = noise(1, *SHAPE), noise(1, *SHAPE, seed=1)
    z = torch.full_like(x0, math.nan)
    assert torch.equal(step(x0, eps, SCHEDULE.at(t), 1.0, eta, z), x0)
    assert torch.equal(step(x0, eps, SCHEDULE.at(t), 1.0, eta), x0)
    assert coefficients(SCHEDULE.at(t), 1.0, eta) == (0.0, 0.0)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "quadratic"])
@pytest.mark.parametrize("eta", ETAS)
def test_the_sampler_ends_at_its_last_prediction(spacing, eta):
    *_, before, last = sample_iter(Curved(), SCHEDULE, seeds=[1, 2], steps=10, spacing=spacing,
                                   eta=eta)
    assert last.t == 0 and torch.equal(last.x, before.x0) and torch.equal(last.x, last.x0)


@pytest.mark.parametrize("eta", [0.5, 1.0, "hat"])
def test_every_other_transition_adds_noise(eta):
    """Two seeds from one start differ after the first step, and z is not repeated."""
    x_T = noise(1, *SHAPE).repeat(2, 1, 1, 1)
    walk = list(sample_iter(lambda x, t: torch.zeros_like(x), SCHEDULE, x_T=x_T, seeds=[1, 2],
                            steps=[200, 400, 600, 800], eta=eta))
    zs = []
    for now, after in zip(walk[:3], walk[1:4], strict=True):
        a_t, a_s = SCHEDULE.at(now.t), SCHEDULE.at(after.t)
        zs.append((after.x - math.sqrt(a_s / a_t) * now.x) / coefficients(a_t, a_s, eta)[1])
        assert not torch.allclose(after.x[0], after.x[1])
    assert not torch.allclose(zs[0], zs[1]) and not torch.allclose(zs[1], zs[2])


def test_eta_0_is_deterministic_and_asks_for_no_seed():
    x_T = noise(2, *SHAPE)
    a = sample(Curved(), SCHEDULE, x_T=x_T, steps=10, progress=False)
    torch.manual_seed(99)
    b = sample(Curved(), SCHEDULE, x_T=x_T, seeds=[8, 9], steps=10, progress=False)
    assert torch.equal(a, b)


@pytest.mark.parametrize("eta", ETAS)
def test_a_seed_is_a_picture_in_every_batch_and_order(eta):
    def draw(seeds, batch_size):
        torch.manual_seed(batch_size)  # the global generator has no say
        return sample(Curved(), SCHEDULE, seeds=seeds, steps=7, eta=eta, batch_size=batch_size,
                      progress=False)

    together = draw([0, 1, 2, 3, 2**32 - 1], 5)
    for batch_size in (1, 2, 3, 64):
        assert torch.equal(draw([0, 1, 2, 3, 2**32 - 1], batch_size), together)
    order = [3, 0, 4, 1, 2]
    shuffled = draw([[0, 1, 2, 3, 2**32 - 1][i] for i in order], 2)
    assert torch.equal(shuffled, together[order])
    assert torch.equal(draw([2], 1)[0], together[2])
    assert torch.equal(draw([2, 2], 2), together[[2, 2]])
    for i in range(4):
        assert not torch.allclose(together[i], together[i + 1])


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_networks_picture_does_not_depend_on_its_batch(eta):
    """The shipped network: other batches add up in another order, and no more than that."""
    from ddim_lib.weights import load_pretrained

    model, schedule = load_pretrained("mnist")
    one, four = (sample(model, schedule, seeds=[0, 1, 2, 3], steps=4, eta=eta,
                        batch_size=batch_size, progress=False) for batch_size in (1, 4))
    torch.testing.assert_close(one, four, rtol=0, atol=1e-3)


def test_start_points_are_torch_randn_of_each_seed():
    x_T = noise_from_seeds([0, 5, 2**32 - 1], (1, 3, 3))
    assert x_T.dtype == torch.float32 and x_T.shape == (3, 1, 3, 3)
    for image, seed in zip(x_T, [0, 5, 2**32 - 1], strict=True):
        expected = torch.randn(1, 3, 3, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(image, expected)


def test_start_points_do_not_depend_on_torchs_defaults():
    wanted = noise_from_seeds([0, 7], SHAPE)
    try:
        torch.set_default_dtype(torch.float64)
        with torch.device("meta"):
            found = noise_from_seeds([0, 7], SHAPE)
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == torch.float32 and torch.equal(found, wanted)


@pytest.mark.parametrize("seed", [0, 1, 1000])
def test_the_noise_along_the_way_is_not_the_start_again(seed):
    """With a generator of the same seed the first z would be x_T itself."""
    shape = (1, 100, 100)
    first, second, *_ = sample_iter(lambda x, t: torch.zeros_like(x), SCHEDULE, seeds=[seed],
                                    shape=shape, steps=[500, 1000], eta=1.0)
    a_t, a_s = SCHEDULE.at(1000), SCHEDULE.at(500)
    z = (second.x - math.sqrt(a_s / a_t) * first.x) / sigma(a_t, a_s, 1.0)
    assert z.std().item() == pytest.approx(1, abs=0.05)
    both = torch.stack([first.x.flatten(), z.flatten()])
    assert abs(torch.corrcoef(both)[0, 1].item()) < 0.05  # 5 standard errors
    neighbour = noise_from_seeds([seed + 1], shape)
    assert abs(torch.corrcoef(torch.stack([neighbour.flatten(), z.flatten()]))[0, 1]) < 0.05


# Nothing is clamped unless asked ------------------------------------------------------------------

@pytest.mark.parametrize("steps, safe, unsafe", [(10, 1.0003, 1.0005), (1000, 1.353, 1.355)])
def test_an_eta_too_large_is_an_error_before_the_first_call(steps, safe, unsafe):
    """The largest eta that leaves 1 - alpha_s - sigma^2 >= 0, leading spacing."""
    model = Exact()
    options = {"seeds": [1], "steps": steps, "spacing": "leading"}
    with pytest.raises(ValueError, match=rf"eta must be smaller here, got {unsafe}: 1 - alpha_s - "
                                         r"sigma\^2 = -.* is negative for alpha_t = "):
        sample_iter(model, SCHEDULE, eta=unsafe, **options)
    with pytest.raises(ValueError, match="eta must be smaller"):
        sample(model, SCHEDULE, eta=unsafe, progress=False, **options)
    assert model.asked == []
    assert sample(model, SCHEDULE, eta=safe, progress=False, **options).isfinite().all()


def test_a_negative_root_is_never_hidden_by_a_single_step():
    with pytest.raises(ValueError, match="eta must be smaller here, got 1.5"):
        step(torch.zeros(1), torch.zeros(1), 1e-4, 0.5, 1.5, torch.zeros(1))


def test_values_beyond_1_survive_unless_clipping_is_asked():
    model = Exact(spread=3.0)
    out = sample(model, SCHEDULE, seeds=range(4), steps=50, progress=False)
    assert out.abs().max() > 4
    clipped = sample(model, SCHEDULE, seeds=range(4), steps=50, clip=True, progress=False)
    assert clipped.abs().max() <= 1


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_clipping_derives_eps_again(eta):
    """x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) eps holds with the clipped x_0 too."""
    model, clipped = Exact(spread=3.0), 0
    for now in sample_iter(model, SCHEDULE, seeds=range(4), steps=20, eta=eta, clip=True):
        if now.t:
            assert now.x0.abs().max() <= 1
            clipped += (now.x0.abs() == 1).any().item()
            torch.testing.assert_close(SCHEDULE.add_noise(now.x0, now.t, now.eps), now.x,
                                       rtol=1e-4, atol=1e-4)
            a_t, t = SCHEDULE.at(now.t), torch.full((4,), now.t)
            plain = predict_x0(now.x, model(now.x, t), a_t)
            torch.testing.assert_close(now.x0, plain.clamp(-1, 1))
    assert clipped > 10


# The walk itself ----------------------------------------------------------------------------------

@pytest.mark.parametrize("steps, spacing", [(1, "trailing"), (10, "leading"), (10, "trailing"),
                                            (10, "quadratic"), ([3, 50, 51], "trailing"),
                                            (1000, "trailing")])
def test_the_iterator_yields_every_level_and_the_result(steps, spacing):
    model, taus = Exact(), timesteps(1000, steps, spacing)
    walk = list(sample_iter(model, SCHEDULE, seeds=[0, 1, 2], steps=steps, spacing=spacing))
    assert all(isinstance(now, Step) for now in walk)
    assert [now.t for now in walk] == [*reversed(taus), 0]
    assert model.asked == taus[::-1]  # once each: the model itself checks dtype and shape
    assert all(now.x.shape == now.x0.shape == (3, *SHAPE) for now in walk)
    assert all(now.eps.shape == now.x.shape for now in walk[:-1]) and walk[-1].eps is None
    assert torch.equal(walk[0].x, noise_from_seeds([0, 1, 2], SHAPE))


def test_the_iterator_stops_early_and_leaves_its_steps_alone():
    model = Exact()
    walk = sample_iter(model, SCHEDULE, seeds=[0], steps=10)
    first = next(walk)
    copy = first.x.clone(), first.x0.clone(), first.eps.clone()
    next(walk)
    walk.close()
    assert len(model.asked) == 2
    assert all(torch.equal(a, b) for a, b in zip(copy, first[1:], strict=True))


def test_the_start_is_not_changed_in_place():
    x_T = noise(2, *SHAPE)
    before = x_T.clone()
    sample(Curved(), SCHEDULE, x_T=x_T, seeds=[1, 2], eta=1.0, steps=5, progress=False)
    encode(Curved(), SCHEDULE, x_T, steps=5)
    assert torch.equal(x_T, before)


def test_the_default_is_fifty_trailing_steps_without_noise_or_clipping():
    model = Exact(spread=3.0)
    out = sample(model, SCHEDULE, seeds=[1], progress=False)
    assert model.asked == timesteps(1000, 50, "trailing")[::-1]
    expected = sample(Exact(spread=3.0), SCHEDULE, seeds=[1], eta=0.0, clip=False, progress=False)
    assert torch.equal(out, expected)


class Dropping(nn.Module):
    image_shape = SHAPE

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout(0.5)
        self.modes = []

    def forward(self, x, t):
        self.modes.append((self.training, self.dropout.training, torch.is_grad_enabled()))
        return self.dropout(self.scale * x)


@pytest.mark.parametrize("training", [True, False])
def test_a_network_is_asked_in_evaluation_mode_and_given_back_as_it_was(training):
    model = Dropping().train(training)
    options = {"seeds": [1], "steps": 4, "progress": False}
    out = sample(model, SCHEDULE, **options)
    encode(model, SCHEDULE, out, steps=3)
    assert model.modes == [(False, False, False)] * 7
    assert model.training is training and model.dropout.training is training
    assert torch.equal(sample(model, SCHEDULE, **options), out)
    assert not out.requires_grad
    for _ in sample_iter(model, SCHEDULE, seeds=[1], steps=2):
        assert model.training is training  # between two calls the network is the caller's


def test_a_network_that_fails_is_given_back_in_training_mode():
    class Failing(Dropping):
        def forward(self, x, t):
            raise RuntimeError("broken")

    model = Failing().train()
    with pytest.raises(RuntimeError, match="broken"):
        sample(model, SCHEDULE, seeds=[1], steps=2, progress=False)
    assert model.training


def test_another_schedule_than_the_networks_own_is_an_error():
    """A network in the v-form computes with its schedule, and would answer with another noise."""
    model = UNet(UNetConfig(8, 1, 16, (1,), 1, (), groups=8, prediction_type="v_prediction"),
                 linear())
    x = torch.zeros(1, 1, 8, 8)
    for call in (lambda: sample(model, cosine(), seeds=[1], steps=2, progress=False),
                 lambda: next(sample_iter(model, cosine(), seeds=[1], steps=2)),
                 lambda: encode(model, cosine(), x, steps=2)):
        with pytest.raises(ValueError, match="schedule must be the one that the network was built"):
            call()


def test_an_encoding_that_is_no_number_is_an_error(monkeypatch):
    """On other devices no answer is looked at by itself, which would be waited for."""
    from ddim_lib import sampling
    monkeypatch.setattr(sampling, "_network",
                        lambda *_: lambda x, t: torch.full_like(x, float("nan")))
    with pytest.raises(ValueError, match="model must return finite noise"):
        encode(lambda x, t: x, SCHEDULE, torch.zeros(1, 1, 4, 4), steps=2)


def test_progress_counts_network_calls(monkeypatch):
    import tqdm.auto

    bars = []

    class Bar(tqdm.auto.tqdm):
        def __init__(self, *args, **kwargs):
            # The environment of the tests switches bars off; this one looks.
            kwargs.setdefault("disable", False)
            super().__init__(*args, **kwargs, file=io.StringIO())
            self.asked_for = kwargs["disable"]
            bars.append(self)

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    model = Exact()
    sample(model, SCHEDULE, seeds=range(5), steps=7, batch_size=2)
    assert (bars[0].total, bars[0].n, len(model.asked)) == (21, 21, 21)
    assert bars[0].desc == "network calls"
    sample(model, SCHEDULE, seeds=range(5), steps=7, progress=False)
    assert bars[1].asked_for is True
    sample(model, SCHEDULE, seeds=range(2), steps=[1, 2, 30])
    assert bars[2].n == bars[2].total == 3


# Encoding -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("convention, asked", [("source", [1, 1, 40, 600]),
                                               ("destination", [1, 40, 600, 1000])])
def test_encoding_asks_at_the_source_or_at_the_destination(convention, asked):
    model = Exact()
    encode(model, SCHEDULE, noise(2, *SHAPE), steps=[1, 40, 600, 1000], convention=convention)
    assert model.asked == asked


@pytest.mark.equation("9.1")
@pytest.mark.parametrize("convention", ["source", "destination"])
def test_encoding_is_equation_13_backwards(convention):
    model, x, taus = Curved(), noise(2, *SHAPE), [10, 300, 700]
    found = encode(model, SCHEDULE, x, steps=taus, convention=convention)
    levels = [0, *taus]
    for s, t in zip(levels, taus, strict=False):
        a_s, a_t = SCHEDULE.at(s), SCHEDULE.at(t)
        eps = model(x, torch.full((2,), t if convention == "destination" else max(s, 1)))
        x = a_t**0.5 * (x / a_s**0.5
                        + (((1 - a_t) / a_t) ** 0.5 - ((1 - a_s) / a_s) ** 0.5) * eps)
    torch.testing.assert_close(found, x, rtol=1e-9, atol=1e-9)


@pytest.mark.equation("9.1")
def test_decoding_inverts_encoding_better_with_more_steps():
    """On the exact eps of Gaussian data the error falls as 1/S^2, lower with the destination."""
    x = 0.5 * noise(4, 1, 20, 20)
    errors = {}
    for convention in ("source", "destination"):
        for S in (10, 100, 1000):
            options = {"steps": S, "spacing": "leading"}
            x_T = encode(Exact(), SCHEDULE, x, convention=convention, **options)
            assert x_T.std() > 0.7
            back = sample(Exact(), SCHEDULE, x_T=x_T, progress=False, **options)
            errors[convention, S] = (back - x).square().mean().item()
        assert errors[convention, 10] > 20 * errors[convention, 100]
        assert errors[convention, 100] > 20 * errors[convention, 1000]
    for S in (10, 100, 1000):
        assert errors["destination", S] < 0.5 * errors["source", S]
    assert errors["source", 10] < 0.06 and errors["source", 1000] < 1e-5
    assert errors["destination", 10] < 0.03 and errors["destination", 1000] < 2.5e-6


def test_the_code_of_gaussian_data_is_standard_normal_in_the_limit():
    x = 0.5 * noise(1, 1, 100, 100)
    x_T = encode(Exact(), SCHEDULE, x, steps=1000, convention="destination")
    torch.testing.assert_close(x_T, 2 * x, rtol=0.02, atol=1e-6)


def test_an_unknown_convention_is_an_error():
    with pytest.raises(ValueError, match="convention must be one of .*, got 'start'"):
        encode(Exact(), SCHEDULE, noise(1, *SHAPE), convention="start")


# Interpolation ------------------------------------------------------------------------------------

def test_slerp_starts_at_x_and_ends_at_y():
    x, y = noise(3, *SHAPE), noise(3, *SHAPE, seed=1)
    torch.testing.assert_close(slerp(x, y, 0.0), x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(slerp(x, y, 1.0), y, rtol=1e-12, atol=1e-12)


@pytest.mark.equation("8.2")
@pytest.mark.parametrize("weight", [0.1, 0.25, 0.5, 0.8])
def test_slerp_is_the_arc_of_d5_image_by_image(weight):
    """DDIM D.5, one image at a time, in plain numbers."""
    x, y = noise(3, *SHAPE), noise(3, *SHAPE, seed=1)
    x[1] *= 3
    found = slerp(x, y, weight)
    for i in range(3):
        cosine = (x[i] * y[i]).sum() / math.sqrt((x[i] ** 2).sum() * (y[i] ** 2).sum())
        theta = math.acos(cosine)
        expected = (math.sin((1 - weight) * theta) * x[i]
                    + math.sin(weight * theta) * y[i]) / math.sin(theta)
        torch.testing.assert_close(found[i], expected, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(slerp(x[i:i + 1], y[i:i + 1], weight)[0], found[i])


@pytest.mark.equation("8.2")
@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 0.9])
def test_slerp_keeps_the_norm(weight):
    x, y = noise(2, *SHAPE), noise(2, *SHAPE, seed=1)
    x, y = (v / v.flatten(1).norm(dim=1).view(-1, 1, 1, 1) * 6 for v in (x, y))
    torch.testing.assert_close(slerp(x, y, weight).flatten(1).norm(dim=1),
                               torch.full((2,), 6.0, dtype=torch.float64))


@pytest.mark.equation("8.1", "8.2")
def test_the_midpoint_of_slerp_is_as_wide_as_noise_and_that_of_lerp_is_not():
    """1 against 1/sqrt(2): the network has never seen noise as narrow as the latter."""
    x, y = noise_from_seeds(range(64), (1, 28, 28)), noise_from_seeds(range(64, 128), (1, 28, 28))
    assert slerp(x, y, 0.5).std().item() == pytest.approx(1.0, abs=0.01)
    assert ((x + y) / 2).std().item() == pytest.approx(math.sqrt(0.5), abs=0.01)


@pytest.mark.parametrize("factor", [1.0, 2.0, 1 + 1e-9, -1.0, -2.0])
def test_slerp_of_parallel_and_opposite_images_is_finite(factor):
    x = noise(2, *SHAPE, dtype=torch.float32)
    y = factor * x
    x[1] = noise(*SHAPE, seed=2, dtype=torch.float32)  # its neighbour is an ordinary pair
    for weight in (0.0, 0.3, 0.5, 1.0):
        found = slerp(x, y, weight)
        assert found.isfinite().all() and found.dtype == torch.float32
        torch.testing.assert_close(found[0], (1 - weight + weight * factor) * x[0])
        torch.testing.assert_close(found[1], slerp(x[1:], y[1:], weight)[0])


def test_slerp_errors():
    x = noise(2, *SHAPE)
    with pytest.raises(ValueError, match=r"y must have the shape of x, \(2, 2, 5, 4\), got "):
        slerp(x, x[:1], 0.5)
    for weight in (-0.1, 1.1):
        with pytest.raises(ValueError, match=rf"weight must be in \[0, 1\], got {weight}"):
            slerp(x, x, weight)


@pytest.mark.parametrize("alpha", [0, -0.5, 1.5])
def test_an_alpha_that_is_none_is_told_its_range(alpha):
    with pytest.raises(ValueError, match=f"^alpha_t must be above 0, at most 1 and not below 0, "
                                         f"got {alpha}$"):
        predict_x0(X, X, alpha)


def test_slerp_comes_back_to_the_device_of_x():
    """Played by tensors of the device "meta" whose copies on the CPU hold numbers."""
    class Far(torch.Tensor):
        def cpu(self):
            return noise(2, *SHAPE)

    far = torch.zeros(2, *SHAPE, device="meta").as_subclass(Far)
    assert slerp(far, far, 0.5).device.type == "meta"


# Errors -------------------------------------------------------------------------------------------

def test_a_number_may_stand_for_a_tensor_that_is_the_same_everywhere():
    x = noise(2, *SHAPE)
    for found, wanted in [
            (predict_x0(x, 0.25, 0.5), predict_x0(x, torch.full_like(x, 0.25), 0.5)),
            (noise_in(x, 0.25, 0.5), noise_in(x, torch.full_like(x, 0.25), 0.5)),
            (step(x, 0.25, 0.5, 0.6), step(x, torch.full_like(x, 0.25), 0.5, 0.6)),
            (extrapolate_x0(x, 0.25, 0.2, 0.5, 0.6),
             extrapolate_x0(x, torch.full_like(x, 0.25), 0.2, 0.5, 0.6)),
            (guide(0.25, x, 2), guide(torch.full_like(x, 0.25), x, 2))]:
        assert torch.equal(found, wanted)


X, LESS, WHOLE = noise(2, *SHAPE), noise(1, *SHAPE), torch.zeros(2, *SHAPE, dtype=torch.uint8)


@pytest.mark.parametrize("call", [predict_x0, noise_in])
def test_what_takes_a_picture_and_its_noise_names_what_is_wrong(call):
    first, second = {predict_x0: ("x_t", "eps"), noise_in: ("x_t", "x0")}[call]
    for arguments, error, message in [
            ((WHOLE, X), TypeError, f"^{first} must be a floating-point tensor"),
            ((X, WHOLE), TypeError, f"^{second} must be a floating-point tensor"),
            ((X, LESS), ValueError, f"^{second} must have the shape of {first}")]:
        with pytest.raises(error, match=message):
            call(*arguments, 0.5)
    with pytest.raises(ValueError, match="^alpha_t must be above 0, .* (above|not below) 0, got 0"):
        call(X, X, 0)
    with pytest.raises(ValueError, match="^alpha_t must be a number, got 'x'$"):
        call(X, X, "x")


@pytest.mark.parametrize("call, error, message", [
    (lambda: sigma(1, 1, 0), ValueError, "alpha_t must be above 0, below 1 and above 0, got 1"),
    (lambda: sigma(0.1, 0.2, "hat"), ValueError, "eta must be a number of at least 0, got 'hat'"),
    (lambda: step(WHOLE, X, 0.1, 0.2), TypeError, "x0 must be a floating-point"),
    (lambda: step(X, LESS, 0.1, 0.2), ValueError, "eps must have the shape of x0"),
    (lambda: step(X, X, 0.1, 0.2, 0.5, WHOLE), TypeError, "z must be a floating-point"),
    (lambda: sample(Exact(), SCHEDULE, seeds=[0], clip="no"), ValueError,
     "clip must be True or False, got 'no'"),
    (lambda: noise_in(X, X, 1), ValueError, "alpha_t must be above 0, below 1 and above 0, got 1"),
    (lambda: extrapolate_x0(WHOLE, X, 0.1, 0.2, 0.3), TypeError, "x0 must be a floating-point"),
    (lambda: extrapolate_x0(X, WHOLE, 0.1, 0.2, 0.3), TypeError, "x0_before must be a floating"),
    (lambda: extrapolate_x0(X, LESS, 0.1, 0.2, 0.3), ValueError,
     "x0_before must have the shape of x0"),
    (lambda: extrapolate_x0(X, X, 0, 0.2, 0.3), ValueError, "alpha_before must be above 0, below"),
    (lambda: extrapolate_x0(X, X, 0.2, 0.2, 0.3), ValueError,
     "alpha_t must be above 0, below 1 and above alpha_before = 0.2, got 0.2"),
    (lambda: extrapolate_x0(X, X, 0.1, 0.2, 0.2), ValueError,
     "alpha_s must be above 0, below 1 and above alpha_t = 0.2, got 0.2"),
    (lambda: extrapolate_x0(X, X, 0.1, 0.2, 1), ValueError, "alpha_s must be above 0, below 1"),
    (lambda: guide(WHOLE, X, 2), TypeError, "eps_uncond must be a floating-point"),
    (lambda: guide(X, WHOLE, 2), TypeError, "eps_cond must be a floating-point"),
    (lambda: guide(X, LESS, 2), ValueError, "eps_cond must have the shape of eps_uncond"),
    (lambda: guide(X, X, "2"), ValueError, "guidance must be a number, got '2'"),
    (lambda: slerp(X, WHOLE, 0.5), TypeError, "y must be a floating-point"),
    (lambda: slerp(X, X, "1"), ValueError, "weight must be a number, got '1'"),
    (lambda: noise_from_seeds([0], "x"), ValueError, "shape must be a list of whole numbers"),
    (lambda: noise_from_seeds([0], (1, 0)), ValueError,
     "every entry of shape must be a whole number of at least 1, got 0"),
    (lambda: encode(Exact(), SCHEDULE, WHOLE), TypeError, "x0 must be a floating-point"),
    (lambda: sample(Exact(), SCHEDULE, x_T=WHOLE), TypeError, "x_T must be a floating-point"),
    (lambda: sample(Exact(), SCHEDULE, x_T=X[:0]), ValueError, "x_T must hold at least one image"),
    (lambda: sample(lambda x, t: x, SCHEDULE, x_T=X.to("meta"), progress=False),
     ValueError,
     "x_T and the model must hold numbers, got the device meta$"),
    (lambda: encode(Exact(), SCHEDULE, X[:0]), ValueError, "x0 must hold at least one image"),
])
def test_an_error_begins_with_the_argument(call, error, message):
    with pytest.raises(error, match=f"^{message}"):
        call()


@pytest.mark.parametrize("eta", [-0.1, math.nan, math.inf, "big"])
def test_an_impossible_eta_is_an_error(eta):
    with pytest.raises(ValueError, match='eta must be a number of at least 0, or "hat", got'):
        coefficients(0.1, 0.2, eta)
    with pytest.raises(ValueError, match='eta must be a number of at least 0, or "hat", got'):
        sample_iter(Exact(), SCHEDULE, seeds=[1], eta=eta)


@pytest.mark.parametrize("options, message", [
    ({"order": 3}, "order must be 1 or 2, got 3"),
    ({"order": "2"}, "order must be 1 or 2, got '2'"),
    ({"order": 2, "eta": 0.5}, "eta must be 0 where order is 2, got 0.5"),
    ({"order": 2, "eta": "hat"}, "eta must be 0 where order is 2, got 'hat'")])
def test_an_impossible_order_is_an_error_before_the_first_call(options, message):
    model = Exact()
    with pytest.raises(ValueError, match=message):
        sample_iter(model, SCHEDULE, seeds=[0], **options)
    assert model.asked == []


def test_a_missing_z_is_an_error():
    x = torch.zeros(1)
    for eta in (0.5, 1.0, "hat"):
        with pytest.raises(ValueError, match=f"z must be given .* got None with eta = {eta}"):
            step(x, x, 0.1, 0.2, eta)


@pytest.mark.parametrize("options, message", [
    ({}, "^seeds or x_T must be given, got neither$"),
    ({"seeds": []}, "^seeds must name at least one image, got an empty list$"),
    ({"seeds": [-1]}, r"every entry of seeds must be a whole number in 0\.\.4294967295, got -1"),
    ({"seeds": [2**32]}, rf"every entry of seeds must be a whole .*, got {2**32}"),
    ({"x_T": torch.zeros(1, *SHAPE), "eta": 1.0},
     "^seeds must be given where eta is not 0, got None$"),
    ({"x_T": torch.zeros(1, *SHAPE), "eta": 1.0, "seeds": [1, 2]},
     "seeds must be one an image of x_T, 1, got 2"),
    ({"seeds": [1], "steps": 1001}, r"steps must be a whole number in 1\.\.1000"),
    ({"seeds": [1], "spacing": "uniform"}, "spacing must be one of"),
])
@pytest.mark.parametrize("call", [sample, sample_iter])
def test_impossible_requests_are_errors_before_the_first_call(call, options, message):
    model = Exact()
    with pytest.raises(ValueError, match=message):
        call(model, SCHEDULE, **options)
    assert model.asked == []


def test_a_model_without_a_shape_needs_one():
    def bare(x, t):
        return torch.zeros_like(x)

    with pytest.raises(ValueError, match=r"^shape must be given as \(C, H, W\): this model has no "
                                         r"image_shape$"):
        sample(bare, SCHEDULE, seeds=[1], progress=False)
    assert sample(bare, SCHEDULE, seeds=[1], shape=(1, 2, 3), steps=2,
                  progress=False).shape == (1, 1, 2, 3)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_an_empty_batch_is_an_error(batch_size):
    with pytest.raises(ValueError, match=f"batch_size must be .* at least 1, got {batch_size}"):
        sample(Exact(), SCHEDULE, seeds=[1], batch_size=batch_size, progress=False)


def test_seeds_that_do_not_fit_the_start_are_an_error_without_noise_too():
    with pytest.raises(ValueError, match="seeds must be one an image of x_T, 1, got 2"):
        sample(Exact(), SCHEDULE, x_T=torch.zeros(1, *SHAPE), seeds=[1, 2], progress=False)


@pytest.mark.parametrize("seed", [1.7, "3", None])
def test_a_seed_that_is_no_whole_number_is_an_error(seed):
    with pytest.raises(ValueError, match="every entry of seeds must be a whole number"):
        noise_from_seeds([seed], (1, 2, 2))


def test_slerp_with_a_vector_of_length_0_is_the_line():
    x, y = torch.zeros(1, 4), torch.tensor([[0.0, 2.0, 0.0, 0.0]])
    torch.testing.assert_close(slerp(x, y, 0.25), 0.25 * y)


def test_a_part_frozen_in_evaluation_mode_stays_so():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.on, self.frozen = nn.Dropout(0.5), nn.Dropout(0.5).eval()

        def forward(self, x, t):
            assert not self.training and not self.on.training
            return self.frozen(self.on(x))

    net = Net()
    sample(net, linear(), seeds=[0], shape=(1, 2, 2), steps=2, progress=False)
    assert net.training and net.on.training and not net.frozen.training


class Somewhere(nn.Module):
    """Remembers the device and the number of its calls."""

    def __init__(self, device):
        super().__init__()
        self.weight, self.seen = nn.Parameter(torch.ones((), device=device)), []

    def forward(self, x, t):
        assert t.device == x.device
        self.seen.append(x.device.type)
        return self.weight * x


def test_how_many_steps_and_pictures_at_once_where_no_number_is_given():
    model, shape = Somewhere("cpu"), (1, 2, 2)
    encode(model, SCHEDULE, torch.zeros(1, *shape))
    assert len(model.seen) == 100
    assert len(list(sample_iter(model, SCHEDULE, seeds=[0], shape=shape))) == 51
    sizes = []
    sample(lambda x, t: sizes.append(len(x)) or x, SCHEDULE, seeds=range(65), steps=1, shape=shape,
           progress=False)
    assert sizes == [64, 1]


def test_seeds_may_be_a_tensor():
    drawn = noise_from_seeds(torch.tensor([3, 4]), SHAPE)
    assert torch.equal(drawn, noise_from_seeds([3, 4], SHAPE))


def test_encoding_happens_on_the_models_device_and_comes_back():
    """Shown on the device "meta": nothing can be copied from there, and to try is an error."""
    model, x0 = Somewhere("meta"), torch.zeros(1, 1, 2, 2)
    with pytest.raises(NotImplementedError, match="meta"):
        encode(model, SCHEDULE, x0, steps=3)
    assert model.seen == ["meta"] * 3
    assert encode(model, SCHEDULE, x0.to("meta"), steps=3).device.type == "meta"
    asked = []
    with pytest.raises(NotImplementedError, match="meta"):
        encode(lambda x, t: asked.append(x.device.type) or x, SCHEDULE, x0, steps=2, device="meta")
    assert asked == ["meta"] * 2
    assert encode(lambda x, t: x, SCHEDULE, x0.to("meta"), steps=2).device.type == "meta"


def test_sampling_happens_on_the_models_device_or_where_it_is_told():
    model = Somewhere("meta")
    for now in sample_iter(model, SCHEDULE, steps=3, seeds=[0, 1], shape=(1, 2, 2), eta=1.0):
        assert now.x.device.type == "meta"
    assert model.seen == ["meta"] * 3
    asked = []
    for now in sample_iter(lambda x, t: asked.append(x.device.type) or x, SCHEDULE, steps=2,
                           seeds=[0], shape=(1, 2, 2), device="meta"):
        assert now.x0.device.type == "meta"
    assert asked == ["meta"] * 2


def test_the_start_points_device_is_that_of_a_model_without_weights():
    x_T = torch.zeros(2, 1, 2, 2, device="meta")
    walk = sample_iter(lambda x, t: x, SCHEDULE, steps=2, x_T=x_T)
    assert {now.x.device.type for now in walk} == {"meta"}


def test_what_is_not_finite_is_told_with_its_level():
    message = (r"^model must return finite noise, got NaN or infinity \(of weights that hold some, "
               r"of numbers too large for their type, or of too large a guidance\)")
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match=message + " at t = 500$"):
            sample(lambda x, t, bad=bad: x if t[0] > 500 else bad * x, SCHEDULE, shape=SHAPE,
                   seeds=[0], steps=2, progress=False)
    # Noise that is finite yet, of which the step makes a picture that is not.
    with pytest.raises(ValueError, match=message + "$"):
        sample(lambda x, t: torch.full_like(x, 1e38), SCHEDULE, shape=SHAPE, seeds=[0], steps=1,
               progress=False)


def test_labels_go_to_the_models_device():
    class Labelled(Somewhere):
        classes = 10

        def forward(self, x, t, y):
            assert y.device == x.device
            return super().forward(x, t)

    list(sample_iter(Labelled("meta"), SCHEDULE, steps=2, seeds=[0], shape=(1, 2, 2), labels=3))
    with pytest.raises(ValueError, match="^labels must be a list, got '3'$"):
        sample_iter(Labelled("meta"), SCHEDULE, seeds=[0], shape=(1, 2, 2), labels="3")


def test_fp16_is_refused_on_the_cpu_that_computes():
    for call in (lambda: sample_iter(Exact(), SCHEDULE, seeds=[0], autocast="fp16"),
                 lambda: encode(Exact(), SCHEDULE, torch.zeros(1, *SHAPE), autocast="fp16")):
        with pytest.raises(ValueError, match="autocast must be auto, bf16 or fp32 on a CPU"):
            call()
