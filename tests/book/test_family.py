"""Chapter 6's family of processes: its lemma, its only Markov chain, the weights of its losses."""

import itertools
import math

import pytest
import torch
from test_chapter_equations import defined
from torch.distributions import Normal, kl_divergence

import ddim_lib
from ddim_lib.sampling import coefficients
from ddim_lib.schedule import linear

SCHEDULE = linear()
STEPS = [(1000, 999), (1000, 500), (600, 400), (100, 20), (3, 1)]
ETAS = [0.0, 0.3, 1.0]


def gamma(a_t, a_s, eta):
    """The weight of a level, equation (6.4)."""
    variance = ddim_lib.sigma(a_t, a_s, eta) ** 2
    root = math.sqrt(a_s * (1 - a_t) / a_t) - math.sqrt(1 - a_s - variance)
    return root**2 / (2 * variance)


def levels(t, s):
    return SCHEDULE.at(t), SCHEDULE.at(s)


def down(x0, x_t, a_t, a_s, eta):
    """The mean of (6.3), and its standard deviation, as the library steps."""
    x0, x_t = (torch.full((1, 1, 1, 1), x, dtype=torch.float64) for x in (x0, x_t))
    eps = (x_t - math.sqrt(a_t) * x0) / math.sqrt(1 - a_t)
    mean, moved = (ddim_lib.step(x0, eps, a_t, a_s, eta, z * torch.ones_like(x0)) for z in (0, 1))
    return mean.item(), (moved - mean).item()


@pytest.mark.equation("6.1")
@pytest.mark.parametrize("t, s", [*STEPS, (1000, 0)])
def test_many_steps_of_the_chain_are_one_of_its_form(t, s):
    weight, variance = 1.0, 0.0
    for beta in SCHEDULE.beta[s:t].tolist():
        weight, variance = math.sqrt(1 - beta) * weight, (1 - beta) * variance + beta
    a_t, a_s = levels(t, s)
    assert weight == pytest.approx(math.sqrt(a_t / a_s), rel=1e-10)
    assert variance == pytest.approx(1 - a_t / a_s, rel=1e-10)


@pytest.mark.equation("6.2")
@pytest.mark.equation("6.3")
@pytest.mark.parametrize("t, s", STEPS)
def test_the_chain_looks_back_as_eta_1_goes_down(t, s):
    """By Bayes: the densities of (1) for x_s and of (6.1) for x_t multiply, so precisions add."""
    (a_t, a_s), x0, x_t = levels(t, s), 0.7, -0.4
    ratio = a_t / a_s
    precision = 1 / (1 - a_s) + ratio / (1 - ratio)
    mean = (math.sqrt(a_s) * x0 / (1 - a_s) + math.sqrt(ratio) * x_t / (1 - ratio)) / precision
    written = (math.sqrt(a_s) * x0
               + math.sqrt(ratio) * (1 - a_s) / (1 - a_t) * (x_t - math.sqrt(a_t) * x0))
    assert written == pytest.approx(mean, rel=1e-9)
    assert (1 - a_s) / (1 - a_t) * (1 - ratio) == pytest.approx(1 / precision, rel=1e-9)
    assert down(x0, x_t, a_t, a_s, 1.0) == pytest.approx((mean, precision**-0.5), rel=1e-9)
    assert down(x0, x_t, a_t, a_s, 0.9) != pytest.approx((mean, precision**-0.5), rel=1e-3)


def marginal(walk, eta, x0=0.7):
    """Mean and variance at the end of a walk by (6.3) from those of equation (1)."""
    a = SCHEDULE.at(walk[0])
    mean, variance = math.sqrt(a) * x0, 1 - a
    for t, s in itertools.pairwise(walk):
        a_t, a_s = levels(t, s)
        old, fresh = coefficients(a_t, a_s, eta)
        slope = old / math.sqrt(1 - a_t)
        mean = math.sqrt(a_s) * x0 + slope * (mean - math.sqrt(a_t) * x0)
        variance = slope**2 * variance + fresh**2
    return mean, variance


@pytest.mark.equation("6.3")
@pytest.mark.parametrize("eta", ETAS)
@pytest.mark.parametrize("walk", [[900, 500], [1000, 700, 300, 1], list(range(1000, 0, -1))])
def test_every_member_has_the_marginals_of_equation_1(walk, eta):
    a = SCHEDULE.at(walk[-1])
    assert marginal(walk, eta) == pytest.approx((math.sqrt(a) * 0.7, 1 - a), rel=1e-9)


def test_sigma_hat_is_no_member():
    assert marginal([900, 500], "hat")[1] > 1.05 * (1 - SCHEDULE.at(500))


@pytest.mark.equation("6.3")
def test_the_chapter_walks_down_by_it():
    generator = torch.Generator().manual_seed(1)

    def fresh():
        return torch.randn(20_000, generator=generator, dtype=torch.float64)

    (walk_down,) = defined("06_ddim_and_ddpm", "walk_down", normal=fresh)
    a, b = levels(900, 300)
    x = walk_down(0.7, math.sqrt(a) * 0.7 + math.sqrt(1 - a) * fresh(), [900, 600, 300], 0.5)
    assert x.mean().item() == pytest.approx(math.sqrt(b) * 0.7, abs=0.03)
    assert x.std().item() == pytest.approx(math.sqrt(1 - b), abs=0.03)


@pytest.mark.equation("6.3")
@pytest.mark.parametrize("t, s", STEPS)
def test_x_t_given_x_s_forgets_x_0_in_the_chain_alone(t, s):
    """The factor of x_0 in the mean of x_t, given x_s and x_0: from means and covariance."""
    a_t, a_s = levels(t, s)

    def factor(eta):
        old, _ = coefficients(a_t, a_s, eta)
        return math.sqrt(a_t) - old * math.sqrt(1 - a_t) / (1 - a_s) * math.sqrt(a_s)

    assert factor(1.0) == pytest.approx(0, abs=1e-10)
    assert factor(0.0) < factor(0.5) < factor(0.9) < -1e-6


@pytest.mark.equation("6.4")
@pytest.mark.parametrize("eta", [0.01, 0.3, 1.0])
@pytest.mark.parametrize("t, s", STEPS)
def test_the_divergence_of_a_step_is_the_weighted_error_of_the_noise(t, s, eta):
    (a_t, a_s), x0, eps, guess = levels(t, s), 0.7, -0.4, 0.2
    x_t = math.sqrt(a_t) * x0 + math.sqrt(1 - a_t) * eps
    f = (x_t - math.sqrt(1 - a_t) * guess) / math.sqrt(a_t)
    true, drawn = (Normal(*torch.tensor(down(x, x_t, a_t, a_s, eta), dtype=torch.float64))
                   for x in (x0, f))
    expected = gamma(a_t, a_s, eta) * (eps - guess) ** 2
    assert kl_divergence(true, drawn).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.equation("6.4")
@pytest.mark.parametrize("t", [2, 20, 500, 1000])
def test_at_eta_1_the_weight_is_that_of_the_ddpm_paper(t):
    """Its equation 12 with the small variance, where its alpha-bar is alpha here."""
    a_t, a_s = levels(t, t - 1)
    beta = 1 - a_t / a_s
    variance = (1 - a_s) / (1 - a_t) * beta
    theirs = beta**2 / (2 * variance * (1 - beta) * (1 - a_t))
    assert gamma(a_t, a_s, 1.0) == pytest.approx(theirs, rel=1e-6)


@pytest.mark.equation("6.4")
def test_the_weights_blow_up_and_their_ratios_settle():
    pairs = [levels(900, 899), levels(20, 19)]
    large, small, smaller = ([gamma(*pair, eta) for pair in pairs] for eta in (1.0, 1e-2, 1e-3))
    assert all(b > 90 * a > 0 for a, b in zip(small, smaller, strict=True))
    assert smaller[0] / smaller[1] == pytest.approx(small[0] / small[1], rel=1e-3)
    assert large[0] / large[1] != pytest.approx(small[0] / small[1], rel=1e-2)


@pytest.mark.parametrize("S", [10, 100])
def test_what_a_long_step_costs_the_best_guess(S):
    """Data of variance 1: without fresh noise each step turns by an angle, and keeps its cosine."""
    def variance(S, eta):
        """Of a sample after S steps: exercise 6.6."""
        v = 1.0
        for t, s in ddim_lib.pairs(ddim_lib.timesteps(SCHEDULE.T, S)):
            a_t, a_s = levels(t, s)
            old, fresh = coefficients(a_t, a_s, eta)
            v = (math.sqrt(a_s * a_t) + old * math.sqrt(1 - a_t)) ** 2 * v + fresh**2
        return v

    angles = [math.acos(math.sqrt(SCHEDULE.at(t))) for t in [0, *ddim_lib.timesteps(1000, S)]]
    product = math.prod(math.cos(b - a) ** 2 for a, b in itertools.pairwise(angles))
    assert variance(S, 0.0) == pytest.approx(product, rel=1e-6)
    assert variance(S, 1.0) < variance(S, 0.0) < 1
