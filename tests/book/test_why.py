"""Why a mean may stand in for x_0: chapter 4's lemmas and closed forms, held against other ways.

The best guesses are the chapter's own functions, taken from the notebook.
"""

import math

import pytest
import torch
from numpy.polynomial.hermite_e import hermegauss
from test_chapter_equations import defined

from ddim_lib.sampling import coefficients, predict_x0, sample, sample_iter, step
from ddim_lib.schedule import linear, pairs, timesteps

SCHEDULE = linear()
POINTS = torch.tensor([-1.0, 1.0], dtype=torch.float64)


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def evenly(n):
    """Standard normal quantiles: noise with hardly any chance in it."""
    return torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n)


def two_points():
    return defined("04_sampling", "two_points")[0]


def three_heaps():
    return defined("04_sampling", "share", "centre", "width", "three_heaps")


def noised_points(t, n=500):
    """x_0 = -1 and 1, n evenly spread noises each: x_0, noise and x_t, shape (2n, 1, 1, 1)."""
    x0 = POINTS.repeat_interleave(n).view(-1, 1, 1, 1)
    noise = evenly(n).repeat(2).view(-1, 1, 1, 1)
    return x0, noise, SCHEDULE.add_noise(x0, t, noise)


def posterior(x, t, values, prior):
    """Bayes' rule: prior times density of x, value by value, scaled to a sum of 1; (n, values)."""
    a = SCHEDULE.at(t)
    likely = torch.distributions.Normal(math.sqrt(a) * values, math.sqrt(1 - a))
    return (prior.log() + likely.log_prob(x.reshape(-1, 1))).softmax(1)  # in logs: it is far out


@pytest.mark.equation("4.1")
@pytest.mark.parametrize("t", [50, 400, 1000])
def test_a_guess_is_worse_by_its_distance_from_the_posterior_mean(t):
    """Pictures of three pixels, five of them, with unequal priors, and several guesses."""
    pictures, prior = draw(5, 3), torch.tensor([0.1, 0.4, 0.2, 0.25, 0.05], dtype=torch.float64)
    a = SCHEDULE.at(t)
    x_t = math.sqrt(a) * pictures[1] + math.sqrt(1 - a) * draw(3, seed=1)
    weight = prior * (-(x_t - math.sqrt(a) * pictures).square().sum(1) / (2 * (1 - a))).exp()
    weight = weight / weight.sum()
    mean = weight @ pictures

    def error(g):
        return (weight * (pictures - g).square().sum(1)).sum()

    for g in (torch.zeros(3).double(), x_t, pictures[weight.argmax()], mean + 1e-3):
        apart = (mean - g).square().sum()
        torch.testing.assert_close(error(g), error(mean) + apart, rtol=1e-12, atol=0)


@pytest.mark.equation("4.2")
@pytest.mark.parametrize("t", [1, 100, 500, 1000])
def test_the_best_guess_of_two_points_is_tanh(t):
    """Bayes' rule, point by point; and equation (3) leads from the chapter's noise to it."""
    x = draw(40, 1, 1, 1)
    weight = posterior(x, t, POINTS, torch.tensor([0.5, 0.5]))
    mean = (weight @ POINTS).view_as(x)
    torch.testing.assert_close(predict_x0(x, two_points()(x, t), SCHEDULE.at(t)), mean,
                               rtol=0, atol=1e-9)
    a = SCHEDULE.at(t)
    torch.testing.assert_close(mean, torch.tanh(math.sqrt(a) * x / (1 - a)), rtol=0, atol=1e-9)


@pytest.mark.parametrize("t", [1, 100, 500, 1000])
def test_the_best_guess_of_three_heaps_is_bayes_rule(t):
    share, centre, width, model = three_heaps()
    values = torch.linspace(-1.6, 1.6, 8001, dtype=torch.float64)
    heaps = torch.distributions.Normal(centre, width).log_prob(values[:, None]).exp()
    x = torch.linspace(-1, 1, 9, dtype=torch.float64).view(-1, 1, 1, 1)
    mean = (posterior(x, t, values, (share * heaps).sum(1)) @ values).view_as(x)
    torch.testing.assert_close(predict_x0(x, model(x, t), SCHEDULE.at(t)), mean, rtol=0, atol=1e-8)


@pytest.mark.equation("4.3")
@pytest.mark.parametrize("t, s", [(1000, 0), (1000, 999), (500, 100), (2, 1)])
def test_a_step_with_the_best_guess_ends_at_the_mean_of_the_oracles_steps(t, s):
    """Each value with the noise that would lead from it to x_t: where the oracle steps to."""
    values, x = draw(6), draw(20, 1, 1, 1, seed=1)
    weight = posterior(x, t, values, torch.full((6,), 1 / 6))
    a_t, a_s = SCHEDULE.at(t), SCHEDULE.at(s)
    true_noise = (x.flatten()[:, None] - math.sqrt(a_t) * values) / math.sqrt(1 - a_t)
    ends = step(values.expand(20, 6), true_noise, a_t, a_s)
    guess = (weight @ values).view_as(x)
    noise = (x - math.sqrt(a_t) * guess) / math.sqrt(1 - a_t)
    torch.testing.assert_close(step(guess, noise, a_t, a_s).flatten(), (weight * ends).sum(1),
                               rtol=0, atol=1e-12)


@pytest.mark.equation("4.4")
@pytest.mark.parametrize("h", [torch.sin, torch.tanh, lambda x: torch.cos(2 * x)])
@pytest.mark.parametrize("t", [100, 400, 800])
def test_the_mean_velocity_moves_every_mean_as_the_true_ones_do(h, t):
    """d/dt E[h(x_t)] by a difference of two levels against E[h'(x_t) V_t(x_t)]."""
    at, weight = map(torch.from_numpy, hermegauss(120))  # the normal distribution, exactly
    x0, noise = POINTS.repeat_interleave(120).view(-1, 1, 1, 1), at.repeat(2).view(-1, 1, 1, 1)
    weight = (weight / weight.sum()).repeat(2) / 2
    higher, lower = [(weight * h(SCHEDULE.add_noise(x0, level, noise)).flatten()).sum().item()
                     for level in (t + 1, t - 1)]
    x = SCHEDULE.add_noise(x0, t, noise)
    eps = two_points()(x, t)
    best = predict_x0(x, eps, SCHEDULE.at(t))
    root = [math.sqrt(SCHEDULE.at(t + 1)) - math.sqrt(SCHEDULE.at(t - 1)),
            math.sqrt(1 - SCHEDULE.at(t + 1)) - math.sqrt(1 - SCHEDULE.at(t - 1))]
    velocity = (root[0] * best + root[1] * eps) / 2
    x.requires_grad_()
    slope, = torch.autograd.grad(h(x).sum(), x)
    moved = (weight * (slope * velocity).flatten()).sum().item()
    assert (higher - lower) / 2 == pytest.approx(moved, rel=1e-3, abs=1e-9)


def test_half_of_the_points_end_elsewhere():
    """From lower levels as many as have the other sign. All end at a point, half of them at 1."""
    for t in (1000, 400, 200):
        x0, _, x = noised_points(t, n=200)
        end = sample(two_points(), SCHEDULE, x_T=x, steps=range(1, t + 1), batch_size=400,
                     progress=False)
        torch.testing.assert_close(end.abs(), torch.ones_like(end), rtol=0, atol=1e-6)
        assert (end > 0).sum() == 200 and torch.equal(end.sign(), x.sign())
        snr = SCHEDULE.at(t) / (1 - SCHEDULE.at(t))
        other = torch.special.ndtr(torch.tensor(-math.sqrt(snr))).item()
        assert (end.sign() != x0).double().mean().item() == pytest.approx(other, abs=0.01)


@pytest.mark.equation("4.4")
def test_the_cloud_arrives_as_the_steps_become_short():
    """The share below each place, at three levels: right within the size of a step."""
    share, centre, width, model = three_heaps()

    def below(x, t):
        a = SCHEDULE.at(t)
        normal = torch.distributions.Normal(math.sqrt(a) * centre,
                                            (a * width**2 + 1 - a).sqrt())
        return (share * normal.cdf(x[:, None])).sum(1)

    low, high = torch.full((1000,), -9.0).double(), torch.full((1000,), 9.0).double()
    even = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    for _ in range(60):  # the cloud of level 1000, quantile by quantile
        middle = (low + high) / 2
        short = below(middle, 1000) < even
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    errors = []
    for steps in (10, 50, 250):
        walk = {now.t: now.x.flatten() for now in
                sample_iter(model, SCHEDULE, x_T=low.view(-1, 1, 1, 1), steps=steps)}
        errors.append(max((below(walk[t], t) - even).abs().mean().item() for t in (700, 400, 0)))
    assert errors[0] > 2.5 * errors[1] > 6 * errors[2]
    assert errors[2] < 0.005


@pytest.mark.equation("4.5")
@pytest.mark.parametrize("b", [0.25, 0.5, 2.0])
@pytest.mark.parametrize("steps", [1, 3, 10, 100, [50, 300, 1000]])
def test_long_steps_lose_the_variance_that_the_product_says(b, steps):
    """The sampler on 2,000 normal pixels against the product of cosines."""
    normal_data, = defined("04_sampling", "normal_data", b=b)
    a = SCHEDULE.at(1000)
    x_T = math.sqrt(a * b**2 + 1 - a) * draw(2000, 1, 1, 1)
    end = sample(normal_data, SCHEDULE, x_T=x_T, steps=steps, batch_size=2000, progress=False)
    angle = [math.atan2(math.sqrt(1 - a), math.sqrt(a) * b) for a in SCHEDULE.alpha.tolist()]
    walk = pairs(timesteps(1000, steps))
    kept = math.prod(math.cos(angle[t] - angle[s]) ** 2 for t, s in walk)
    there = (end.square().mean() / x_T.square().mean()).item() * (a * b**2 + 1 - a)
    assert there == pytest.approx(b**2 * kept, rel=1e-9)


def test_equal_angles_keep_the_most():
    """The exercise's levels against trailing ones and against its closed form."""
    b = 0.5
    angle = [math.atan2(math.sqrt(1 - a), math.sqrt(a) * b) for a in SCHEDULE.alpha.tolist()]
    kept = {name: math.prod(math.cos(angle[t] - angle[s]) ** 2
                            for t, s in pairs(timesteps(1000, steps)))
            for name, steps in (("trailing", 10), ("equal",
                                [21, 47, 75, 107, 145, 192, 254, 343, 482, 1000]))}
    assert kept["equal"] == pytest.approx(math.cos(math.pi / 20) ** 20, abs=2e-3)
    assert kept["trailing"] < 0.75 * kept["equal"]


def test_the_same_error_of_the_noise_in_every_step_is_not_made_less_by_more_steps():
    """Chapter 2: the small rests of short steps add up to the error of one long step."""
    for steps in (1, 10, 1000):
        off = 0.0
        for t, s in pairs(timesteps(SCHEDULE.T, steps)):
            a_t, a_s = SCHEDULE.at(t), SCHEDULE.at(s)
            off = (a_s / a_t) ** 0.5 * (off - (1 - a_t) ** 0.5) + (1 - a_s) ** 0.5
        assert off == pytest.approx(-157.41, abs=0.01)


@pytest.mark.parametrize("steps", [2, 10, 100])
def test_the_larger_noise_keeps_all_the_variance_of_standard_normal_data(steps):
    """Chapter 6: with sigma-hat and the best guess a step is the chain's own draw of x_s, but for
    the last one, which adds no noise."""
    for t, s in pairs(timesteps(1000, steps)):
        a_t, a_s = SCHEDULE.at(t), SCHEDULE.at(s)
        old, fresh = coefficients(a_t, a_s, "hat")
        factor = math.sqrt(a_s * a_t) + old * math.sqrt(1 - a_t)  # of x_t, by equation (8)
        assert factor == pytest.approx(math.sqrt(a_t / a_s), rel=1e-12)
        assert factor**2 + fresh**2 == pytest.approx(1 if s else a_t, rel=1e-12)
