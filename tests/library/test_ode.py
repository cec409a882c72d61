"""DDIM's step is Euler's method for the ODE of eq. 13, in rho and in flow matching's u alike.

On a mixture of two normals, whose exact eps and exact ODE are known in closed form.
"""

import math

import pytest
import torch

from ddim_lib.sampling import predict_x0, sample, sample_iter, step
from ddim_lib.schedule import linear, pairs, timesteps

SCHEDULE = linear()
SHARE = torch.tensor([0.35, 0.65], dtype=torch.float64)
CENTRE = torch.tensor([-0.7, 0.5], dtype=torch.float64)
WIDTH = torch.tensor([0.12, 0.20], dtype=torch.float64)
START = torch.special.ndtri((torch.arange(100, dtype=torch.float64) + 0.5) / 100).view(-1, 1, 1, 1)


def kinds(x, t):
    alpha = SCHEDULE.alpha[t].reshape(-1, 1, 1, 1, 1)
    return x[..., None] - alpha.sqrt() * CENTRE, alpha * WIDTH**2 + 1 - alpha


def log_density(x, t):
    d, v = kinds(x, t)
    return (SHARE.log() - (2 * math.pi * v).log() / 2 - d**2 / (2 * v)).logsumexp(-1)


def eps(x, t):
    """E[eps | x_t], from the two kinds' posterior probabilities; t a tensor or an int."""
    d, v = kinds(x, t)
    weight = (SHARE.log() - v.log() / 2 - d**2 / (2 * v)).softmax(-1)
    return (1 - SCHEDULE.alpha[t]).sqrt().reshape(-1, 1, 1, 1) * (weight * d / v).sum(-1)


def share_below(x, t):
    d, v = kinds(x, t)
    return (SHARE * torch.special.ndtr(d / v.sqrt())).sum(-1)


def exact_end():
    """Where the ODE takes START: paths keep their order, so the share below stays."""
    low, high = torch.full_like(START, -4), torch.full_like(START, 4)
    for _ in range(60):
        middle = (low + high) / 2
        short = share_below(middle, 0) < share_below(START, 1000)
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return middle


def ddim(S):
    return sample(eps, SCHEDULE, x_T=START, steps=S, progress=False)


def heun(S):
    x = START
    for t, s in pairs(timesteps(1000, S)):
        a_t, a_s = SCHEDULE.at(t), SCHEDULE.at(s)
        first = eps(x, t)
        there = step(predict_x0(x, first, a_t), first, a_t, a_s)
        mean = (first + eps(there, s)) / 2
        x = step(predict_x0(x, mean, a_t), mean, a_t, a_s)
    return x


def two_m(S):
    return sample(eps, SCHEDULE, x_T=START, steps=S, order=2, spacing="log-snr", progress=False)


def errors(method, counts):
    end = exact_end()
    return [(method(S) - end).abs().mean().item() for S in counts]


@pytest.mark.equation("11.4", "13.1")
@pytest.mark.parametrize("t", [1, 100, 500, 1000])
def test_the_score_is_the_noise_in_other_units(t):
    x = torch.linspace(-2, 2, 101, dtype=torch.float64).view(-1, 1, 1, 1).requires_grad_()
    score, = torch.autograd.grad(log_density(x, t).sum(), x)
    torch.testing.assert_close(score, -eps(x, t) / math.sqrt(1 - SCHEDULE.at(t)),
                               rtol=1e-9, atol=1e-9)


@pytest.mark.equation("13.3", "13.4")
@pytest.mark.parametrize("steps", [1, 3, 10, [7, 8, 500, 999]])
def test_ddim_is_euler_for_the_straight_path(steps):
    """y = x / (sqrt a + sqrt(1-a)), u the noise's share: y moves by (u_s - u_t)(eps - x_0)."""
    def rescaled(x, t):
        root, rest = math.sqrt(SCHEDULE.at(t)), math.sqrt(1 - SCHEDULE.at(t))
        return x / (root + rest), rest / (root + rest)

    walk = list(sample_iter(eps, SCHEDULE, x_T=START, steps=steps))
    for now, after in zip(walk, walk[1:], strict=False):
        (y, u_t), (there, u_s) = rescaled(now.x, now.t), rescaled(after.x, after.t)
        torch.testing.assert_close(y + (u_s - u_t) * (now.eps - now.x0), there,
                                   rtol=0, atol=1e-12)


@pytest.mark.equation("11.3")
def test_paths_of_eta_0_never_cross_and_those_of_eta_1_do():
    for eta, crosses in ((0.0, False), (1.0, True)):
        walk = sample_iter(eps, SCHEDULE, x_T=START, seeds=range(100), steps=250, eta=eta)
        assert any((now.x.flatten().diff() < 0).any() for now in walk) == crosses


@pytest.mark.equation("11.3", "11.5")
def test_ddim_is_of_first_order_and_heun_of_second():
    counts = [40, 80, 160, 320]
    euler, second = errors(ddim, counts), errors(heun, counts)
    slopes = [math.log(line[0] / line[-1]) / math.log(8) for line in (euler, second)]
    assert slopes == [pytest.approx(1, abs=0.15), pytest.approx(2, abs=0.2)]
    assert euler[-1] < 4e-3 and second[-1] < 2e-4


@pytest.mark.equation("11.7")
def test_the_multistep_solver_is_of_second_order_with_one_call_a_step():
    counts = [10, 20, 40]
    plain, second = errors(ddim, counts), errors(two_m, counts)
    slope = math.log(second[0] / second[-1]) / math.log(4)
    assert slope == pytest.approx(2.2, abs=0.3)
    assert all(b < a / 2 for a, b in zip(plain, second, strict=True))


def test_at_few_calls_second_order_loses():
    euler, second = errors(ddim, [10, 20, 40]), errors(heun, [5, 10, 20])
    assert [e < h for e, h in zip(euler, second, strict=True)] == [True, True, False]


@pytest.mark.equation("11.6")
def test_the_exact_path_is_an_integral_of_the_prediction_over_half_the_log_snr():
    """From level 900 to 200 of a walk through every level, the integral by the trapezoid rule."""
    walk = {now.t: now for now in sample_iter(eps, SCHEDULE, x_T=START, steps=1000, order=2)}
    taus = range(900, 199, -1)
    place = torch.stack([SCHEDULE.half_log_snr()[t - 1] for t in taus])
    predictions = torch.stack([walk[t].x0.flatten() for t in taus])
    area = torch.trapezoid(place.exp()[:, None] * predictions, place, dim=0)
    scaled = [walk[t].x.flatten() / math.sqrt(1 - SCHEDULE.at(t)) for t in (900, 200)]
    torch.testing.assert_close(scaled[1], scaled[0] + area, rtol=0, atol=1e-4)
