"""Mixup, noise, class weights, robust likelihood, the bound of TRADES, class offsets."""

import mpmath
import numpy as np
import pytest
from golden import agrees, golden
from scipy.optimize import minimize_scalar

from theory.common.inputs import InputError
from theory.gaussian.bias_offset import fair_offset, offset_cost, offset_curvature
from theory.gaussian.fairness import critical_margin, fair_bias, fair_error
from theory.gaussian.optimal import optimal_bias
from theory.variants.augmentation import mixup, mixup_shrinkage, noise_augmentation, noise_bias_limit
from theory.variants.class_weights import class_dro, fair_radius, hedge_bound, kl_dro, multiplicative_weights
from theory.variants.errors import errors_at
from theory.variants.multiclass import pair_z_scores
from theory.variants.robust_likelihood import robust_likelihood
from theory.variants.trades_bound import trades_bound


@golden("E13")
def test_mixup(case, value):
    assert agrees(vars(mixup(case["m"], case["sigma"], case["K"], case["c"])), value)


@golden("E13n")
def test_noise(case, value):
    args = case["m"], case["sigma"], case["K"]
    result = vars(noise_augmentation(*args, case["tau"]))
    assert agrees(result | {"K_tau": result["K"], "b_limit": noise_bias_limit(*args)}, value)


def test_the_gap_falls_with_mixing_and_grows_with_noise():
    rng = np.random.default_rng(0)
    for _ in range(100):
        args = rng.uniform(0.1, 3), 1.0, 1 + rng.uniform(0.05, 3)
        mixed = [mixup(*args, c).gap for c in (1.5, 1.0, 0.7, 0.3)]
        noisy = [noise_augmentation(*args, t).gap for t in (0.0, 0.5, 2.0)]
        assert (
            mixed == sorted(mixed, reverse=True) and min(mixed) > 0 and mixed[0] > mixed[1]
        )  # control: c > 1
        assert noisy == sorted(noisy) and noisy[0] == pytest.approx(mixed[1])
    assert mixup(0.7, 1.0, 2.0, 1e-4).b == pytest.approx(float(fair_bias(0.7, 2.0)), abs=1e-6)
    assert mixup_shrinkage(0.5) == pytest.approx(0.5**0.5)
    assert mixup(0.7, 1.0, 2.0, 1.5).gap == pytest.approx(0.537, abs=1e-3)


@golden("E14")
def test_kl_dro(case, value):
    result = kl_dro(case["losses"], case["tau"])
    assert agrees({"value": result.value, "lam": result.lam}, {k: value[k] for k in ("value", "lam")})
    assert result.weights == pytest.approx(value["weights"], rel=1e-10, abs=1e-15)


def test_kl_dro_is_its_dual_and_no_weights_do_better():
    rng = np.random.default_rng(0)
    for _ in range(50):
        R, tau = rng.uniform(0, 1, 4), float(rng.uniform(0.001, 1))
        result = kl_dro(R, tau)
        if result.lam > 0:
            dual = result.lam * (tau + np.log(np.mean(np.exp(R / result.lam))))
            assert result.value == pytest.approx(dual, rel=1e-12)
            assert (result.weights * np.log(4 * result.weights)).sum() == pytest.approx(tau, rel=1e-9)
        for q in rng.dirichlet(np.ones(4), 50):
            assert (q * np.log(4 * q)).sum() > tau or q @ R <= result.value + 1e-12
    tiny = kl_dro([0.1, 0.3], 1e-12)
    assert tiny.value == pytest.approx(0.2 + 0.1 * np.sqrt(2e-12), rel=1e-12)
    assert kl_dro([0.2, 0.2], 0.3).lam == np.inf and kl_dro([0.1, 0.3], 0.0).value == 0.2


@golden("E14g")
def test_class_dro(case, value):
    assert agrees(vars(class_dro(case["m"], case["sigma"], case["K"], case["tau"])), value)


@pytest.mark.parametrize(
    ("m", "K", "tau"), [(0.7, 2.0, 0.01), (0.7, 2.0, 0.3), (2.0, 3.0, 0.02), (0.1, 3.0, 0.05)]
)
def test_class_dro_is_the_best_of_all_biases(m, K, tau):
    def worst(b):
        return kl_dro(errors_at(b, m, 1.0, K), tau).value

    grid = np.linspace(-4, 4, 801)
    best = grid[np.argmin([worst(b) for b in grid])]
    refined = minimize_scalar(
        worst, bounds=(best - 0.02, best + 0.02), method="bounded", options={"xatol": 1e-10}
    )
    result = class_dro(m, 1.0, K, tau)
    assert result.b == pytest.approx(refined.x, abs=1e-4)
    assert worst(result.b) <= worst(float(fair_bias(m, K)) + 0.05)  # control: odds beyond K


def test_the_fair_radius_near_equal_widths():
    with mpmath.workdps(60):
        for K in (1 + 1e-7, 1.5, 40.0):
            k = mpmath.mpf(K)
            exact = mpmath.log(2) + k * mpmath.log(k) / (k + 1) - mpmath.log(k + 1)
            assert fair_radius(K) == pytest.approx(float(exact), rel=1e-8)
    assert fair_radius(2.0) == pytest.approx(0.0566, abs=1e-4) and fair_radius(3.0) == pytest.approx(
        0.1308, abs=1e-4
    )


@golden("E14h")
def test_multiplicative_weights(case, value):
    result = multiplicative_weights(case["m"], case["sigma"], case["K"], case["T"])
    assert agrees(vars(result), value) and len(result.biases) == case["T"]


def test_the_bound_is_one_of_averages_not_of_the_last_round():
    for m, K in ((2.0, 2.0), (0.2, 3.0), (0.7, 2.0)):
        for T in (5, 20, 100):
            result = multiplicative_weights(m, 1.0, K, T)
            assert 0 <= result.excess_worst <= result.bound == hedge_bound(2, T)
    last = multiplicative_weights(0.2, 1.0, 3.0, 50)
    assert 0.2 < critical_margin(1.0, 3.0)
    weighted = max(last.average_plus, last.average_minus) - last.excess_worst
    assert max(last.last_plus, last.last_minus) - weighted > last.bound  # control: the last iterate


@golden("E12")
def test_robust_likelihood(case, value):
    assert agrees(vars(robust_likelihood(case["sigma"], case["K"], case["eps_per_coordinate"])), value)


def test_robust_likelihood_is_the_print_and_not_independent_noise():
    result = robust_likelihood(1.0, 2.0, 0.3)
    assert 0.5 + 1 / result.lam + np.sqrt(1 / result.lam + 0.25) == pytest.approx(result.sigma_r**2)
    assert result.sigma_r**2 > 1 + 0.3**2 + 0.1  # control
    assert robust_likelihood(1.0, 2.0, 1e9).K_r == pytest.approx(1)


@golden("E15")
def test_trades_bound(case, value):
    assert agrees(
        vars(trades_bound(case["theta"], case["sigma"], case["eps"], case["scale"], case["b"])), value
    )


def test_trades_bound_holds_and_needs_both_terms():
    rng = np.random.default_rng(0)
    for _ in range(300):
        t = trades_bound(*rng.uniform(0.2, 2, 2), rng.uniform(0, 1), rng.uniform(0.1, 3), rng.uniform(-1, 1))
        assert t.lhs <= t.rhs + 1e-14 and t.boundary <= t.flippable
    small = trades_bound(1.5, 1.0, 0.05, 1.0, 0.6)
    assert small.lhs > small.flippable  # control: the surrogate's term dropped


def test_the_fair_offset_leads_from_the_optimum_to_equal_errors():
    with mpmath.workdps(50):
        for m, s, K in ((0.7, 1.0, 2.0), (3.0, 0.5, 1 + 1e-9), (1e-3, 2.0, 30.0), (5.0, 1.0, 1.2)):
            M, S, k = map(mpmath.mpf, (m, s, K))
            kappa = k**2 - 1
            best = ((k**2 + 1) * M - 2 * k * mpmath.sqrt(M**2 + kappa * S**2 * mpmath.log(k) / 2)) / kappa
            exact = M * (k - 1) / (k + 1) - best
            assert float(fair_offset(m, s, K)) == pytest.approx(float(exact), rel=1e-12)


def test_an_offset_costs_to_second_order_and_has_no_jump():
    def exact(t, m, s, K):
        with mpmath.workdps(50):
            M, S, k, t = map(mpmath.mpf, (m, s, K, t))
            kappa = k**2 - 1
            best = ((k**2 + 1) * M - 2 * k * mpmath.sqrt(M**2 + kappa * S**2 * mpmath.log(k) / 2)) / kappa
            F = lambda b: (mpmath.ncdf(-(b + M) / (k * S)) + mpmath.ncdf((b - M) / S)) / 2  # noqa: E731
            return float(F(best + t) - F(best))

    rng = np.random.default_rng(0)
    for _ in range(200):
        m, s, K = rng.uniform(0.01, 5), rng.uniform(0.3, 2), 1 + 10 ** rng.uniform(-6, 1)
        t = float(fair_offset(m, s, K)) * rng.uniform(0.001, 1)
        assert float(offset_cost(t, m, s, K)) == pytest.approx(exact(t, m, s, K), rel=1e-10)
        small = 1e-5 * s
        assert float(offset_cost(small, m, s, K)) == pytest.approx(
            float(offset_curvature(m, s, K)) * small**2 / 2, rel=1e-3 * max(1, m / s)
        )
    m, s, K = 0.7, 1.0, 2.0
    price = float(fair_error(m, s, K)) - sum(errors_at(float(optimal_bias(m, s, K)), m, s, K)) / 2
    assert float(offset_cost(fair_offset(m, s, K), m, s, K)) == pytest.approx(price)


def test_offsets_commute_with_targeted_attacks():
    rng = np.random.default_rng(0)
    W, b, o, x = rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(size=4), rng.normal(size=3)
    for norm in ("linf", "l2", "l1"):
        for eps in (0.0, 0.3):
            before, _ = pair_z_scores(W, b, x, 1.0, 1, eps, norm)
            after, _ = pair_z_scores(W, b + o, x, 1.0, 1, eps, norm)
            scale = np.linalg.norm(W[1] - W[[0, 2, 3]], axis=1)
            assert (before - after) * scale == pytest.approx(o[1] - o[[0, 2, 3]])


def test_bad_input_is_refused():
    for call in (
        lambda: mixup(0.7, 1.0, 2.0, 0.0),
        lambda: mixup_shrinkage(2.0),
        lambda: kl_dro([], 0.1),
        lambda: class_dro(0.7, 1.0, 1.0, 0.1),
        lambda: multiplicative_weights(0.7, 1.0, 2.0, 0),
        lambda: robust_likelihood(1.0, 2.0, 0.0),
        lambda: trades_bound(0.0, 1.0, 0.1, 1.0, 0.0),
        lambda: fair_offset(1.0, 0.0, 2.0),
    ):
        with pytest.raises(InputError):
            call()
