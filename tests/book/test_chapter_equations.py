"""Equations that a chapter computes itself: its own functions, taken from the notebook, are right.

The guard runs the chapters too, but compares them with what they said before; here their formulas
are held against other ways to the same number.
"""

import ast
import math
from pathlib import Path

import pytest
import torch
from test_notebooks import plain_code

import ddim_lib
from ddim_lib.schedule import linear
from ddim_lib.training import noise_prediction_loss
from scripts.notebooks.normal_form import read

BOOK = Path(__file__).resolve().parents[2] / "book"
SCHEDULE = linear()


def noise(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def defined(chapter, *names, **given):
    """Functions and constants of a chapter's cells, by name."""
    space = {"torch": torch, "math": math, "ddim_lib": ddim_lib, "schedule": SCHEDULE, **given}
    for cell in read(BOOK / f"{chapter}.ipynb").cells:
        if cell.cell_type != "code":
            continue
        for node in ast.parse(plain_code(cell.source)).body:
            named = [node.name] if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else \
                [t.id for t in getattr(node, "targets", []) if isinstance(t, ast.Name)]
            if set(named) & set(names):
                exec(ast.unparse(node), space)
    return [space[name] for name in names]


@pytest.mark.equation("2")
@pytest.mark.parametrize("steps", [1, 2, 1000, [3, 400, 999]])
def test_with_the_oracle_every_walk_stays_on_one_path(steps):
    """The true x_0 and its noise: at each level the picture of equation (1), at the end x_0."""
    x0, eps = noise(3, 1, 4, 4), noise(3, 1, 4, 4, seed=1)

    def oracle(x, t):
        a = SCHEDULE.alpha[t].view(-1, 1, 1, 1)
        return (x - a.sqrt() * x0) / (1 - a).sqrt()

    top = SCHEDULE.T if isinstance(steps, int) else steps[-1]
    start = SCHEDULE.add_noise(x0, top, eps)
    for now in ddim_lib.sample_iter(oracle, SCHEDULE, x_T=start, steps=steps):
        torch.testing.assert_close(now.x, SCHEDULE.add_noise(x0, now.t, eps), rtol=0, atol=1e-10)
    torch.testing.assert_close(now.x, x0, rtol=0, atol=1e-10)


@pytest.mark.equation("4")
@pytest.mark.parametrize("t", [1, 100, 500, 1000])
def test_the_best_guess_is_bayes_rule(t):
    """Weight times density of x_t, picture by picture, and the mean under these probabilities."""
    images = noise(7, 1, 2, 2)
    best_guess, = defined("02_oracle", "best_guess", images=images)
    x_t = SCHEDULE.add_noise(images[:2], t, noise(2, 1, 2, 2, seed=1))
    guess, weight = best_guess(x_t, t)
    a = SCHEDULE.at(t)
    density = torch.distributions.Normal(math.sqrt(a) * images, math.sqrt(1 - a))
    for i in range(2):
        likely = density.log_prob(x_t[i]).sum((1, 2, 3)).exp()
        torch.testing.assert_close(weight[i], likely / likely.sum(), rtol=1e-6, atol=1e-9)
        mean = (likely.view(-1, 1, 1, 1) * images).sum(0) / likely.sum()
        torch.testing.assert_close(guess[i], mean, rtol=1e-6, atol=1e-9)


@pytest.mark.equation("5")
def test_the_chapters_loss_is_the_librarys():
    """Steps 2 to 5 of chapter 3's loop, with the same draws."""
    def model(x, t):
        return 0.3 * x + t.view(-1, 1, 1, 1) / 1000

    cells = read(BOOK / "03_learning.ipynb").cells
    loop, = [c.source for c in cells if "# 6. go downhill" in c.source]
    inner, = [n for n in ast.parse(loop).body if isinstance(n, ast.For)]
    lines = [ast.unparse(n) for n in inner.body[1:5]]  # 1. draws the pictures
    space = {"torch": torch, "schedule": SCHEDULE, "model": model, "device": "cpu",
             "x0": noise(32, 1, 4, 4).float(), "generator": torch.Generator().manual_seed(3)}
    exec("\n".join(lines), space)
    ours = noise_prediction_loss(model, SCHEDULE, space["x0"], torch.Generator().manual_seed(3))
    assert space["loss"].item() == pytest.approx(ours.item(), rel=1e-6)


@pytest.mark.equation("8.1")
@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 0.9])
def test_the_straight_line_is_as_narrow_as_the_chapter_says(weight):
    """Its formula; and of independent points the deviation, 0.707 half way."""
    a, b = noise(1, 1, 300, 300), noise(1, 1, 300, 300, seed=1)
    found = torch.lerp(a, b, weight)
    torch.testing.assert_close(found, (1 - weight) * a + weight * b, rtol=0, atol=1e-12)
    wide = math.sqrt((1 - weight) ** 2 + weight**2)
    assert found.std().item() == pytest.approx(wide, rel=0.02)


# Chapter 11's two heaps ---------------------------------------------------------------------------

def heaps(*names):
    return defined("11_solvers", "share", "centre", "width", "kinds", "exact_eps",
                   *names)[3:]


def quantiles(share_below, shares, t):
    """x with share_below(x, t) = shares, by bisection."""
    low, high = torch.full_like(shares, -9), torch.full_like(shares, 9)
    for _ in range(70):
        middle = (low + high) / 2
        short = share_below(middle, t) < shares
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return middle


SHARES = torch.linspace(0.03, 0.97, 21, dtype=torch.float64).view(-1, 1, 1, 1)


@pytest.mark.equation("11.4")
@pytest.mark.parametrize("t", [1, 50, 300, 700, 1000])
def test_the_exact_noise_is_the_mean_of_the_noise(t):
    """E[eps | x_t] by adding up over x_0 on a fine grid, from equation (1) and the two heaps."""
    _, exact_eps = heaps()
    share, centre, width = defined("11_solvers", "share", "centre", "width")
    a = SCHEDULE.at(t)
    x0 = torch.linspace(-2.5, 2.5, 40_001, dtype=torch.float64)
    prior = (share * torch.distributions.Normal(centre, width).log_prob(x0[:, None]).exp()).sum(1)
    for x in (-1.2, -0.3, 0.1, 0.8):
        eps = (x - math.sqrt(a) * x0) / math.sqrt(1 - a)
        weight = prior * torch.exp(-eps**2 / 2)
        expected = (weight * eps).sum() / weight.sum()
        found = exact_eps(torch.full((1, 1, 1, 1), x, dtype=torch.float64), t)
        assert found.item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.equation("11.5")
@pytest.mark.parametrize("t", [0, 1, 400, 1000])
def test_the_share_below_is_the_integral_of_the_density(t):
    kinds, _, share_below = heaps("share_below")
    x = torch.linspace(-8, 1.5, 200_001, dtype=torch.float64).view(-1, 1, 1, 1)
    density = kinds(x, t)[2].logsumexp(-1).exp().flatten()
    area = torch.trapezoid(density, x.flatten())
    assert share_below(x[-1:], t).item() == pytest.approx(area.item(), abs=1e-7)
    assert 0.9 < area < 1


@pytest.mark.equation("11.3", "11.5")
@pytest.mark.parametrize("t", [100, 300, 500, 800, 950])
def test_paths_of_equal_share_solve_the_ode_in_rho(t):
    """Where share_below stays the same, d x-bar / d rho is the exact noise."""
    _, exact_eps, share_below = heaps("share_below")
    x = {s: quantiles(share_below, SHARES, s) for s in (t - 1, t, t + 1)}
    bar = {s: x[s] / math.sqrt(SCHEDULE.at(s)) for s in x}
    rho = {s: math.sqrt((1 - SCHEDULE.at(s)) / SCHEDULE.at(s)) for s in x}
    speed = (bar[t + 1] - bar[t - 1]) / (rho[t + 1] - rho[t - 1])
    torch.testing.assert_close(speed, exact_eps(x[t], t), rtol=0, atol=2e-3)


@pytest.mark.equation("12.3")
@pytest.mark.parametrize("t", [100, 500, 900])
def test_what_a_label_adds_to_the_best_guess_is_the_gradient_of_a_classifier(t):
    """p(y = 1 | x_t) from the densities themselves, its gradient by differences."""
    chapter, = defined("12_labels_and_guidance", "Kinds", F=torch.nn.functional,
                       centre=torch.tensor([-0.4, 0.4], dtype=torch.float64), width=0.3)
    kinds, a = chapter(), SCHEDULE.at(t)
    x, h = torch.linspace(-2, 2, 9, dtype=torch.float64), 1e-5

    def log_p(x):
        d = torch.distributions.Normal
        there = [d(math.sqrt(a) * m, math.sqrt(a * 0.09 + 1 - a)).log_prob(x) for m in (-0.4, 0.4)]
        return there[1] - torch.logaddexp(*there)

    gradient = (log_p(x + h) - log_p(x - h)) / (2 * h)
    place, level = x.view(-1, 1, 1, 1), torch.full((9,), t)
    one = torch.ones(9, dtype=torch.int64)
    added = (kinds(place, level, one) - kinds(place, level)).flatten()
    torch.testing.assert_close(added, -math.sqrt(1 - a) * gradient, rtol=0, atol=1e-6)


@pytest.mark.equation("13.2")
@pytest.mark.parametrize("t", [100, 300, 500, 800, 950])
def test_paths_of_equal_share_solve_the_probability_flow_ode(t):
    """In -ln alpha, the integral of beta dt; the score by differentiation of the log density."""
    kinds, _, share_below = heaps("share_below")
    x = {s: quantiles(share_below, SHARES, s) for s in (t - 1, t, t + 1)}
    here = x[t].clone().requires_grad_()
    score, = torch.autograd.grad(kinds(here, t)[2].logsumexp(-1).sum(), here)
    time = math.log(SCHEDULE.at(t - 1) / SCHEDULE.at(t + 1))
    speed = (x[t + 1] - x[t - 1]) / time
    torch.testing.assert_close(speed, -(x[t] + score) / 2, rtol=0, atol=2e-3)


@pytest.mark.equation("13.3", "13.4")
@pytest.mark.parametrize("t", [1, 300, 1000])
def test_a_noised_picture_lies_on_flow_matchings_line(t):
    """x_t of equation (1), rescaled, is (1 - u) x_0 + u eps; its place moves with eps - x_0."""
    rescaled, = defined("13_where_this_leads", "rescaled")
    x0, eps = noise(2, 1, 3, 3), noise(2, 1, 3, 3, seed=1)
    y, u = rescaled(SCHEDULE.add_noise(x0, t, eps), t)
    torch.testing.assert_close(y, (1 - u) * x0 + u * eps, rtol=0, atol=1e-12)
    rho = math.sqrt((1 - SCHEDULE.at(t)) / SCHEDULE.at(t))
    assert u == pytest.approx(rho / (1 + rho), rel=1e-12)
    there, v = rescaled(SCHEDULE.add_noise(x0, t - 1, eps), t - 1)
    torch.testing.assert_close((y - there) / (u - v), eps - x0, rtol=0, atol=1e-9)
