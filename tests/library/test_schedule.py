"""The noise schedule is the papers', and a sampler visits the levels that it says it visits."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddim_lib.schedule import Schedule, cosine, from_dict, linear, pairs, timesteps

QUIET = settings(max_examples=150, deadline=None, derandomize=True, database=None)

# alpha_t of betas 1e-4..0.02, T = 1000, to ten digits: computed once, apart from this library.
ALPHA = {
    0: 1.0, 1: 0.9999, 2: 0.9997800921, 10: 0.9981052048, 100: 0.8970181457, 500: 0.0785872429,
    801: 0.00150752106, 901: 0.000270244520, 981: 0.0000590375137, 1000: 0.0000403582977,
}


@pytest.mark.parametrize("t, value", ALPHA.items())
def test_linear_alpha_is_the_cumulative_product(t, value):
    assert linear().at(t) == pytest.approx(value, rel=1e-9)


def test_the_table_is_float64_from_0_to_T():
    for schedule in (linear(), cosine(), linear(7), cosine(7)):
        assert schedule.alpha.dtype == torch.float64
        assert len(schedule.alpha) == schedule.T + 1
        assert schedule.alpha[0] == 1
        assert isinstance(schedule.at(1), float)
    # In float32 this difference is off by 2e-4 of its value.
    assert 1 - linear().at(1) == pytest.approx(1e-4, rel=1e-11)


def test_linear_betas_come_back_from_alpha():
    expected = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    torch.testing.assert_close(linear().beta, expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(linear(20, 0.1, 0.3).beta,
                               torch.linspace(0.1, 0.3, 20, dtype=torch.float64))


def test_a_thousand_levels_where_no_number_is_given():
    assert linear().T == cosine().T == 1000


@pytest.mark.parametrize("T", [50, 1000])
def test_cosine_is_its_formula(T):
    """Nichol and Dhariwal, eq. 17, with every beta at most 0.999."""
    def f(t):
        return math.cos((t / T + 0.008) / 1.008 * math.pi / 2) ** 2

    schedule = cosine(T)
    for t in range(1, T):
        assert schedule.at(t) == pytest.approx(f(t) / f(0), rel=1e-9), t
    assert schedule.at(T) == pytest.approx(schedule.at(T - 1) * 0.001, rel=1e-9)
    assert schedule.beta.max() <= 0.999 + 1e-12


@pytest.mark.parametrize("schedule", [linear(), cosine(), linear(10)], ids=lambda s: s.name)
def test_snr_is_signal_over_noise(schedule):
    snr = schedule.snr()
    assert snr.shape == (schedule.T,)
    for t in (1, schedule.T // 2, schedule.T):
        assert snr[t - 1].item() == pytest.approx(schedule.at(t) / (1 - schedule.at(t)), rel=1e-12)


# Which levels a sampler visits ------------------------------------------------------------------

@pytest.mark.parametrize("S", [1, 2, 4, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000])
def test_leading_is_the_official_uniform(S):
    """The official code's range(0, T, T // S) counts from 0; here t = label + 1."""
    assert timesteps(1000, S, "leading") == [label + 1 for label in range(0, 1000, 1000 // S)]


@pytest.mark.parametrize("T, S", [(1000, 10), (1000, 30), (1000, 600), (7, 3), (10, 10), (1, 1)])
def test_trailing_is_the_papers_linear(T, S):
    """DDIM D.2: tau_i = floor(c i), c = T / S, so that the last is T."""
    assert timesteps(T, S, "trailing") == [math.floor(T * i / S) for i in range(1, S + 1)]


def test_leading_and_trailing_give_as_many_steps_as_asked():
    """The official code gives 31 for 30 and 1000 for 600."""
    assert timesteps(1000, 30, "leading")[:4] == [1, 34, 67, 101]
    for S in (3, 30, 600, 999):
        assert len(timesteps(1000, S, "leading")) == len(timesteps(1000, S, "trailing")) == S


def test_quadratic_is_the_official_list():
    labels = [0, 9, 39, 88, 158, 246, 355, 483, 632, 800]
    assert timesteps(1000, 10, "quadratic") == [label + 1 for label in labels]


@pytest.mark.parametrize("S", [5, 20, 50, 100, 1000])
def test_quadratic_is_the_official_formula_without_its_repeats(S):
    official = [int(root**2) for root in np.linspace(0, np.sqrt(1000 * 0.8), S)]
    assert timesteps(1000, S, "quadratic") == sorted({label + 1 for label in official})


@pytest.mark.parametrize("S, unique", [(10, 10), (50, 49), (100, 96), (1000, 688)])
def test_quadratic_has_as_many_levels_as_the_official_list_without_repeats(S, unique):
    assert len(timesteps(1000, S, "quadratic")) == unique


@pytest.mark.parametrize("schedule", [linear(), cosine(), linear(7)], ids=lambda s: s.name)
@pytest.mark.parametrize("S", [2, 5, 7])
def test_log_snr_is_even_in_the_logarithm_up_to_the_nearest_level(schedule, S):
    value = [math.log(math.sqrt(a / (1 - a))) for a in schedule.alpha[1:].tolist()]
    taus = timesteps(schedule, S, "log-snr")
    assert (taus[0], taus[-1]) == (1, schedule.T)
    even = np.linspace(value[-1], value[0], S)
    nearest = {min(range(1, schedule.T + 1), key=lambda t: abs(value[t - 1] - e)) for e in even}
    assert taus == sorted(nearest)


def test_log_snr_of_the_book_s_schedule():
    assert timesteps(linear(), 1, "log-snr") == [1000]
    assert timesteps(linear(), 5, "log-snr") == [1, 31, 303, 723, 1000]
    assert len(timesteps(linear(), 100, "log-snr")) < 100
    torch.testing.assert_close(linear().half_log_snr(), linear().snr().sqrt().log())


def test_log_snr_needs_the_schedule_and_the_others_take_it():
    with pytest.raises(ValueError, match="T must be the schedule where spacing is log-snr, got 1"):
        timesteps(1000, 10, "log-snr")
    for spacing in ("leading", "trailing", "quadratic"):
        assert timesteps(linear(50), 10, spacing) == timesteps(50, 10, spacing)
    assert timesteps(linear(50), [3, 9], "log-snr") == [3, 9]


@given(st.data())
@QUIET
def test_every_subsequence_increases_strictly_inside_1_to_T(data):
    T = data.draw(st.integers(1, 1500), "T")
    S = data.draw(st.integers(1, T), "S")
    for spacing in ("leading", "trailing", "quadratic", "log-snr"):
        taus = timesteps(linear(T), S, spacing)
        assert taus[0] >= 1 and taus[-1] <= T
        assert all(a < b for a, b in zip(taus, taus[1:], strict=False))
        even = spacing in ("leading", "trailing")
        assert len(taus) == S if even else 1 <= len(taus) <= S
        if spacing == "leading":
            assert taus[0] == 1
        elif spacing == "trailing":
            assert taus[-1] == T
        elif spacing == "log-snr":
            assert taus[-1] == T and (S == 1 or taus[0] == 1)
        elif S > 1:
            assert taus[0] == 1 and taus[-1] == 1 + T * 8 // 10
        steps = pairs(taus)
        assert steps[0][0] == taus[-1] and steps[-1] == (taus[0], 0)
        assert [t for t, _ in steps] == taus[::-1]
        assert all(steps[i][1] == steps[i + 1][0] for i in range(len(steps) - 1))


def test_pairs_by_hand():
    assert pairs([1, 5, 8]) == [(8, 5), (5, 1), (1, 0)]
    assert pairs([1000]) == [(1000, 0)]


@pytest.mark.parametrize("taus", [[1, 2, 1000], (3,), range(10, 1000, 90), [5.0, 6.0],
                                  torch.tensor([4, 9]), np.array([4, 9])])
def test_a_list_of_ones_own_is_taken_as_it_is(taus):
    expected = [int(t) for t in taus]
    assert timesteps(1000, taus) == expected
    assert all(type(t) is int for t in timesteps(1000, taus))


@pytest.mark.parametrize("steps, message", [
    (0, r"steps must be a whole number in 1\.\.1000 .*got 0"),
    (-3, r"steps must be a whole number in 1\.\.1000 .*got -3"),
    (1001, r"steps must be a whole number in 1\.\.1000 .*got 1001"),
    (True, r"steps must be a whole number in 1\.\.1000 .*got True"),
    ([], "^steps must name at least one timestep, got an empty list$"),
    ([0, 5], r"whole number in 1\.\.1000, got 0"),
    ([5, 1001], r"whole number in 1\.\.1000, got 1001"),
    ([1, 2.5], r"whole number in 1\.\.1000, got 2\.5"),
    ([1, 5, 5], "increase strictly, got 5 before 5"),
    ([9, 3], "increase strictly, got 9 before 3"),
])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "quadratic"])
def test_impossible_steps_are_errors(steps, message, spacing):
    with pytest.raises(ValueError, match=message):
        timesteps(1000, steps, spacing)


def test_an_unknown_spacing_is_an_error():
    with pytest.raises(ValueError, match="spacing must be one of leading, trailing, quadratic, "
                                         "log-snr, got 'uniform'"):
        timesteps(1000, 10, "uniform")


@pytest.mark.parametrize("T", [0, -1, 1.5, True, "10"])
def test_an_impossible_T_is_an_error(T):
    for make in (linear, cosine, lambda T: timesteps(T, 1)):
        with pytest.raises(ValueError, match="T must be a whole number of at least 1, got "):
            make(T)


# The table's own errors -------------------------------------------------------------------------

@pytest.mark.parametrize("alpha, error, message", [
    (torch.tensor([1.0, 0.5]), TypeError, "alpha must be a float64 tensor, got torch.float32"),
    ([1.0, 0.5], TypeError, "alpha must be a float64 tensor, got list"),
    ([1.0], ValueError, r"shape \(T\+1,\) with T >= 1, got \(1,\)"),
    ([[1.0, 0.5]], ValueError, r"shape \(T\+1,\) with T >= 1, got \(1, 2\)"),
    ([1.0, math.nan], ValueError, "^alpha must be finite everywhere; it holds NaN or infinity$"),
    ([1.0, -math.inf], ValueError, "^alpha must be finite everywhere; it holds NaN or infinity$"),
    ([0.9, 0.5], ValueError, r"alpha\[0\] must be 1 .*got 0\.9"),
    ([1.0, 0.5, 0.5], ValueError, "decrease strictly; it does not at t = 2"),
    ([1.0, 0.5, 0.6, 0.1], ValueError, "decrease strictly; it does not at t = 2"),
    ([1.0, 0.5, 0.0], ValueError, r"above 0 .*got 0\.0"),
    ([1.0, 0.5, -0.1], ValueError, r"above 0 .*got -0\.1"),
])
def test_a_table_that_cannot_be_is_an_error(alpha, error, message):
    if error is ValueError:
        alpha = torch.tensor(alpha, dtype=torch.float64)
    with pytest.raises(error, match=message):
        Schedule(alpha)


def test_a_schedule_does_not_change_and_equals_itself_alone():
    schedule = linear()
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.alpha = cosine().alpha
    assert schedule == schedule and schedule != linear()
    assert len({schedule, schedule, linear()}) == 2


@pytest.mark.parametrize("start, end", [(0, 0.02), (-0.1, 0.02), (0.03, 0.02), (0.1, 1.0)])
def test_betas_outside_0_and_1_are_errors(start, end):
    with pytest.raises(ValueError, match=f"0 < beta_start <= beta_end < 1, got {start} and {end}"):
        linear(10, start, end)


@pytest.mark.parametrize("offset, max_beta", [(-0.1, 0.9), (0.1, 1.0), (0.1, 0.0)])
def test_impossible_cosine_parameters_are_errors(offset, max_beta):
    with pytest.raises(ValueError, match=rf"got {offset} and {max_beta}"):
        cosine(10, offset, max_beta)


@pytest.mark.parametrize("t", [-1, 1001])
def test_a_level_outside_0_to_T_is_an_error(t):
    x = torch.zeros(2, 1, 3, 3)
    with pytest.raises(ValueError, match=rf"t must be a whole number in 0\.\.1000, got {t}"):
        linear().at(t)
    with pytest.raises(ValueError, match=rf"t must be a whole number in 0\.\.1000, got {t}"):
        linear().add_noise(x, t, x)
    with pytest.raises(ValueError, match=r"t must be a whole number in 0\.\.1000, got "):
        linear().add_noise(x, torch.tensor([5, t]), x)


def test_shapes_that_do_not_fit_are_errors():
    x = torch.zeros(2, 1, 3, 3)
    with pytest.raises(ValueError, match=r"noise must have the shape of x0, \(2, 1, 3, 3\), got "
                                         r"\(1, 1, 3, 3\)"):
        linear().add_noise(x, 5, x[:1])
    with pytest.raises(ValueError, match=r"t must be .* or have shape \(2,\), .* \(3,\)"):
        linear().add_noise(x, torch.tensor([1, 2, 3]), x)


# Noising ----------------------------------------------------------------------------------------

@pytest.mark.equation("1")
def test_add_noise_is_equation_4():
    """x_t = sqrt(alpha_t) x_0 + sqrt(1 - alpha_t) eps, with one t for all or one an image."""
    schedule, levels = linear(), [0, 1, 2, 100, 500, 1000]
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randn(len(levels), 3, 4, 4, generator=generator, dtype=torch.float64)
    eps = torch.randn(x0.shape, generator=generator, dtype=torch.float64)
    many = schedule.add_noise(x0, torch.tensor(levels), eps)
    for i, t in enumerate(levels):
        expected = ALPHA[t] ** 0.5 * x0[i] + (1 - ALPHA[t]) ** 0.5 * eps[i]
        torch.testing.assert_close(many[i], expected, rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(schedule.add_noise(x0, t, eps)[i], many[i], rtol=0, atol=1e-14)
    assert torch.equal(many[0], x0[0])  # alpha_0 = 1: t = 0 is the picture itself


def test_add_noise_keeps_float32_and_its_small_noise():
    schedule, x0 = linear(), torch.zeros(2, 1, 2, 2)
    x1 = schedule.add_noise(x0, torch.tensor([1, 1]), torch.ones_like(x0))
    assert x1.dtype == torch.float32
    torch.testing.assert_close(x1, torch.full_like(x0, 0.01), rtol=1e-6, atol=0)


def test_a_device_gets_its_roots_once():
    """Shown on the device "meta", which holds no numbers and which every machine has."""
    schedule, meta = linear(), torch.device("meta")
    roots = schedule._roots(meta, torch.float32)
    assert {root.device for root in roots} == {meta}
    assert schedule._roots(meta, torch.float32) is roots
    assert schedule._roots(meta, torch.float64)[0].dtype == torch.float64


@pytest.mark.equation("1", "1.1")
@pytest.mark.parametrize("schedule", [linear(), cosine(), linear(5, 0.1, 0.5)],
                         ids=lambda s: f"{s.name}{s.T}")
def test_T_single_steps_equal_the_closed_form(schedule):
    """x_t = sqrt(1 - beta_t) x_{t-1} + sqrt(beta_t) eps: its mean and variance are eq. 4's."""
    mean, variance = 1.0, 0.0
    for t, beta in enumerate(schedule.beta.tolist(), start=1):
        mean, variance = math.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
        x = torch.ones(1, 1, 1, 1, dtype=torch.float64)
        zero = torch.zeros_like(x)
        assert schedule.add_noise(x, t, zero).item() == pytest.approx(mean, rel=1e-9)
        assert schedule.add_noise(zero, t, x).item() ** 2 == pytest.approx(variance, rel=1e-9)


@pytest.mark.equation("1.1")
def test_the_chain_drawn_at_random_equals_the_closed_form():
    """The same for drawn numbers: 100,000 of them, means and deviations within 5 sigma."""
    schedule, n = linear(30, 0.01, 0.2), 100_000
    generator = torch.Generator().manual_seed(1)
    x0 = torch.full((n, 1, 1, 1), 0.7)
    x = x0
    for beta in schedule.beta.tolist():
        x = math.sqrt(1 - beta) * x + math.sqrt(beta) * torch.randn(x.shape, generator=generator)
    closed = schedule.add_noise(x0, 30, torch.randn(x.shape, generator=generator))
    for end in (x, closed):
        a = schedule.at(30)
        assert end.mean().item() == pytest.approx(math.sqrt(a) * 0.7, abs=5 / math.sqrt(n))
        assert end.std().item() == pytest.approx(math.sqrt(1 - a), rel=5 / math.sqrt(2 * n))


# Storing ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("schedule", [linear(), cosine(), linear(30, 0.01, 0.2),
                                      cosine(20, 0.1, 0.5)])
def test_a_stored_schedule_comes_back(schedule):
    import json

    again = from_dict(json.loads(json.dumps(schedule.to_dict())))
    assert torch.equal(again.alpha, schedule.alpha)
    assert again.to_dict() == schedule.to_dict()


def test_only_named_schedules_are_stored():
    with pytest.raises(ValueError, match="only linear and cosine .* this is 'custom'"):
        Schedule(torch.tensor([1.0, 0.5], dtype=torch.float64)).to_dict()
    with pytest.raises(ValueError, match=r"must be one of \['cosine', 'linear'\], got 'sigmoid'"):
        from_dict({"name": "sigmoid", "T": 10})
    with pytest.raises(ValueError, match=r"must be one of \['cosine', 'linear'\], got None"):
        from_dict({"T": 10})
    with pytest.raises(ValueError, match="schedule cosine has no such argument: .*beta_end"):
        from_dict({"name": "cosine", "T": 10, "beta_end": 0.02})


def test_a_table_that_its_name_does_not_rebuild_is_not_stored():
    for schedule in (Schedule(cosine(50).alpha, "linear"),
                     dataclasses.replace(linear(50), alpha=cosine(50).alpha)):
        with pytest.raises(ValueError, match="this is called 'linear' and has another table"):
            schedule.to_dict()


def test_the_weights_of_picture_and_noise_broadcast_over_images():
    schedule, t = linear(), torch.tensor([0, 1, 500, 1000])
    signal, noise = schedule.roots(t, 4)
    assert signal.shape == noise.shape == (4, 1, 1, 1)
    assert signal.dtype == noise.dtype == torch.float64
    assert signal.flatten().tolist() == [math.sqrt(schedule.at(int(i))) for i in t]
    assert noise.flatten().tolist() == [math.sqrt(1 - schedule.at(int(i))) for i in t]
    assert {root.shape for root in schedule.roots(t, 2)} == {(4, 1)}
    assert {root.shape for root in schedule.roots(t, 1)} == {(4,)}


# Other devices, and errors in full --------------------------------------------------------------

@pytest.mark.parametrize("make", [
    lambda: linear(10).alpha, lambda: cosine(10).alpha, lambda: timesteps(10, 3, "quadratic"),
    lambda: timesteps(linear(10), 3, "log-snr")])
def test_a_default_device_changes_nothing(make):
    """As in a notebook that begins with torch.set_default_device."""
    expected = make()
    with torch.device("meta"):
        found = make()
    assert torch.equal(torch.as_tensor(found), torch.as_tensor(expected))


def test_noise_goes_where_the_pictures_are():
    x = torch.zeros(2, 1, 3, 3, device="meta")
    assert linear().add_noise(x, [1, 2], x).device.type == "meta"
    for root in linear().roots(torch.tensor([1, 2], device="meta"), 4, torch.float32):
        assert (root.device.type, root.dtype) == ("meta", torch.float32)


def test_even_steps_are_told_apart_to_float64():
    """With 304 of 2000 levels, float32 takes a neighbour for one of them."""
    schedule = linear(2000)
    value = schedule.half_log_snr().numpy()
    wanted = np.linspace(value[-1], value[0], 304)
    nearest = {int(abs(value - even).argmin()) + 1 for even in wanted}
    assert timesteps(schedule, 304, "log-snr") == sorted(nearest)


@pytest.mark.parametrize("call, message", [
    (lambda: Schedule(torch.ones(3, dtype=torch.float64, device="meta")),
     "alpha must hold numbers, got a tensor on the device meta"),
    (lambda: linear(10, beta_start="a"), "beta_start must be a number, got 'a'"),
    (lambda: linear(10, beta_end=None), "beta_end must be a number, got None"),
    (lambda: cosine(10, offset="a"), "offset must be a number, got 'a'"),
    (lambda: cosine(10, max_beta=math.nan), "max_beta must be a number, got nan"),
    (lambda: cosine(10, math.inf), r"offset must be at least 0 and max_beta in \(0, 1\), "
                                   r"got inf and 0\.999"),
    (lambda: linear(2, 1e-30, 1e-30),
     r"no schedule has T = 2, beta_start = 1e-30, beta_end = 1e-30: alpha must decrease strictly; "
     r"it does not at t = 1"),
    (lambda: timesteps(10, 11), r"steps must be a whole number in 1\.\.10 \(the schedule has T = "
                                r"10\), or a list of timesteps, got 11"),
    (lambda: timesteps(10, {3, 5}), r"steps must be a list of timesteps, got \{3, 5\}"),
    (lambda: timesteps(10, [0]), r"every entry of steps must be a whole number in 1\.\.10, got 0"),
    (lambda: pairs([2, 1]), "taus must increase strictly, got 2 before 1"),
])
def test_the_errors_in_full(call, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        call()
