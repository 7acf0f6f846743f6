"""Closed forms against independent routes: brute force, quadrature, Monte Carlo with exact tails."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import ndtr
from scipy.stats import binom, levy_stable

from theory.common.inputs import InputError
from theory.gaussian.adversary import NORMS, best_direction, dual_norm, uniform_direction
from theory.gaussian.class_distance import distant_classes
from theory.gaussian.constrained import fair_mixture, frl
from theory.gaussian.fairness import (
    bias_z_scores,
    fair_bias,
    natural_fairness_by_remargin,
    price_of_fairness,
    reachable_bias,
    reweight_odds,
    robust_fairness_by_reweight,
)
from theory.gaussian.mixture import GaussianMixture
from theory.gaussian.optimal import optimal_bias, optimal_kind
from theory.gaussian.surrogate import exponential_optimum, hinge_optimum, squared_optimum
from theory.variants.imbalance import covariance_direction, effects
from theory.variants.multiclass import class_error, pair_z_scores, variance_ratio
from theory.variants.stable import stable_cdf, stable_margin, stable_optimum
from theory.variants.tsipras import (
    TsiprasModel,
    adversarial_svm_is_robust_feature,
    hinge_loss,
    linear_accuracy,
    linear_error,
    robust_bound,
    tight_example,
)

FALSE_ALARM = 1e-6
"""Probability that a true Monte Carlo check fails."""


def agrees(rate, errors, n):
    """Say whether a count is within the exact binomial tails of the false-alarm budget."""
    low, high = binom.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], n, rate)
    return low <= errors <= high


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=6), st.floats(0, 4), st.sampled_from(NORMS))
def test_no_unit_vector_keeps_a_larger_margin(theta, eps, norm):
    theta = np.array(theta)
    assume(np.abs(theta).max() > 0.01)
    best = best_direction(theta, eps, norm)
    assert np.linalg.norm(best.weights) == pytest.approx(1)
    assert best.margin == pytest.approx(best.mu - eps * best.rho, abs=1e-12)
    rng = np.random.default_rng(0)
    for scale in (3.0, 0.1, 1e-3):
        others = best.weights + scale * rng.standard_normal((200, len(theta)))
        others /= np.linalg.norm(others, axis=1, keepdims=True)
        margins = [w @ theta - eps * dual_norm(w, norm) for w in others]
        assert max(margins) <= best.margin + 1e-12


def test_uniform_direction_is_the_general_one():
    for eps in (0.1, 0.5, 0.7):
        general, special = best_direction([0.5] * 4, eps), uniform_direction(4, 0.5, eps)
        np.testing.assert_allclose(special, (general.mu, general.rho, general.margin), atol=1e-15)


@given(st.floats(-2, 4), st.floats(0.2, 5), st.floats(-4, 4))
def test_the_rule_for_constant_classifiers(m, K, log_odds):
    """Against a dense grid over biases: no bias does better, and the kind is the grid's."""
    assume(abs(K - 1) > 0.01 or abs(m) > 0.1)
    weights = np.exp(log_odds), 1.0
    grid = np.concatenate([np.linspace(-60, 60, 24_001), [-1e9, 1e9]])

    def loss(b):
        plus, minus = bias_z_scores(b, m, 1.0, K)
        return weights[0] * ndtr(plus) + weights[1] * ndtr(minus)

    values = loss(grid)
    b, kind = float(optimal_bias(m, 1.0, K, log_odds)), str(optimal_kind(m, 1.0, K, log_odds))
    best = {"always_plus": weights[1], "always_minus": weights[0]}.get(kind) or loss(b)
    assert best <= values.min() * (1 + 1e-12)
    assert (kind == "interior") == np.isfinite(b)
    if values.min() < min(weights) * (1 - 1e-6):
        assert kind == "interior"


@given(st.floats(0.1, 4), st.floats(1.1, 5), st.floats(0, 0.3))
def test_frl_against_brute_force(m, K, tau):
    solution = frl(m, 1.0, K, tau)
    grid = np.sort(np.append(np.linspace(-30, 30, 20_001), fair_bias(m, K)))
    plus, minus = (ndtr(z) for z in bias_z_scores(grid, m, 1.0, K))
    allowed = np.abs(plus - minus) <= 2 * tau + 1e-12
    assert solution.objective <= ((plus + minus) / 2)[allowed].min() + 1e-12
    assert abs(ndtr(solution.z[0]) - ndtr(solution.z[1])) <= 2 * tau + 1e-12
    if tau > 0.01 and solution.active:  # the multiplier is the slope of the optimum in tau
        step = 1e-5
        slope = (frl(m, 1.0, K, tau + step).objective - frl(m, 1.0, K, tau - step).objective) / (2 * step)
        assert slope == pytest.approx(-2 * solution.multiplier, abs=1e-3)


@given(st.floats(0.05, 8), st.floats(1.05, 8))
def test_reweighting_by_K_equalises_exactly_above_the_critical_margin(m, K):
    kind = str(optimal_kind(m, 1.0, K, np.log(K)))
    reachable = bool(robust_fairness_by_reweight(m, 1.0, K))
    assert (kind == "interior") == reachable
    assert float(reweight_odds(fair_bias(m, K), m, 1.0, K)) == pytest.approx(np.log(K))
    if reachable:
        assert float(optimal_bias(m, 1.0, K, np.log(K))) == pytest.approx(
            float(fair_bias(m, K)), abs=1e-9 * (1 + m)
        )
    assert float(price_of_fairness(m, 1.0, K)) > 0


@given(st.floats(0.1, 3), st.floats(1.2, 5))
def test_reweighting_jumps_at_the_tangent(m, K):
    bias, odds = reachable_bias(m, 1.0, K)
    before, after = (str(optimal_kind(m, 1.0, K, np.log(odds * f))) for f in (0.999, 1.001))
    assert (before, after) == ("interior", "always_plus")
    assert float(optimal_bias(m, 1.0, K, np.log(odds * 0.999999))) == pytest.approx(
        bias, abs=1e-2 * (1 + abs(bias))
    )


@given(st.floats(0.2, 6), st.floats(1.2, 4))
def test_remargin_alone_reaches_natural_fairness_exactly_when_it_says_so(mu, K):
    """Scan the radius of the wide class: half of it lowers the margin, half of it shifts the bias."""
    half = np.linspace(0, mu + 40, 40_001)  # eps_+ rho / 2
    found = (optimal_bias(mu - half, 1.0, K) + half - fair_bias(mu, K)).max() >= 0
    limit = (K + 1) * np.sqrt(np.log(K) / 2)
    assume(abs(mu / limit - 1) > 1e-3)
    assert found == bool(natural_fairness_by_remargin(mu, 1.0, K))


def test_both_equalities_at_once_are_impossible():
    mu, m, K = 2.0, 1.5, 2.0
    natural, robust = float(fair_bias(mu, K)), float(fair_bias(m, K))
    assert natural - robust == pytest.approx(0.5 / 3)
    assert np.subtract(*ndtr(bias_z_scores(natural, m, 1.0, K))) < -1e-3
    assert np.subtract(*ndtr(bias_z_scores(robust, mu, 1.0, K))) > 1e-3


def test_a_random_mixture_has_both_equalities_at_a_price():
    mix = fair_mixture(2.0, 1.5, 1.0, 2.0)
    assert mix.weights.sum() == pytest.approx(1) and len(mix.weights) <= 3
    for errors in (mix.natural, mix.robust):
        assert errors[0] == pytest.approx(errors[1], abs=1e-7)
    assert mix.robust[0] == pytest.approx(0.1789, abs=2e-4)
    fair = float(ndtr(bias_z_scores(fair_bias(1.5, 2.0), 1.5, 1.0, 2.0)[0]))
    assert (
        mix.robust[0] > fair > float(np.mean(ndtr(bias_z_scores(optimal_bias(1.5, 1.0, 2.0), 1.5, 1.0, 2.0))))
    )


@pytest.mark.parametrize("norm", NORMS)
def test_full_covariance_direction_by_brute_force(norm):
    rng = np.random.default_rng(1)
    A = rng.standard_normal((4, 4))
    S, theta = A @ A.T + 0.3 * np.eye(4), np.array([1.0, -0.7, 0.4, 1.3])
    w, m, mu = covariance_direction(theta, S, 0.3, norm)
    assert w @ S @ w == pytest.approx(1) and w @ theta == pytest.approx(mu)
    for scale in (1.0, 0.03, 0.001):
        others = w + scale * rng.standard_normal((2000, 4))
        others /= np.sqrt(np.einsum("ni,ij,nj->n", others, S, others))[:, None]
        assert max(v @ theta - 0.3 * dual_norm(v, norm) for v in others) <= m + 1e-9
    isotropic = covariance_direction(theta, 0.25 * np.eye(4), 0.3, norm)
    assert isotropic[1] == pytest.approx(best_direction(theta, 0.3, norm).margin / 0.5)


def test_imbalance_effect_on_the_minority_can_be_positive():
    """The claim that it never is has a counterexample, where the minority is already lost."""
    theta = np.array([0.253, 0.235, 0.339, 0.230, 0.243])
    d, R = best_direction(theta, 0.29966), np.exp(6.137)
    e = effects(np.linalg.norm(theta), d.mu, d.margin, R)
    assert e.imbalance[0] == pytest.approx(0.089, abs=1e-3) and e.imbalance[1] > 0


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("R", [0.6, 1.0, 3.0])
def test_stable_optimum_by_brute_force(alpha, R):
    s = stable_optimum(1.3, 0.7, R, alpha)
    grid = np.linspace(-8, 8, 1601)
    law = levy_stable(alpha, 0, scale=0.7)
    values = (law.cdf(-grid - 1.3) + R * law.cdf(grid - 1.3)) / (1 + R)
    assert s.objective <= values.min() + 1e-9
    assert s.objective == pytest.approx(values.min(), abs=1e-3)


def test_stable_laws_and_margins():
    x = np.array([-3.0, -0.5, 0.2, 4.0])
    np.testing.assert_allclose([stable_cdf(v, 2) for v in x], ndtr(x / np.sqrt(2)), rtol=1e-7)  # N(0, 2)
    np.testing.assert_allclose([stable_cdf(v, 1) for v in x], 0.5 + np.arctan(x) / np.pi)
    theta, eps, alpha = np.array([1.0, -0.6, 0.3]), 0.2, 1.6
    rng = np.random.default_rng(2)
    w = rng.standard_normal((5000, 3))
    margins = (w @ theta - eps * np.abs(w).sum(1)) / (np.abs(w) ** alpha).sum(1) ** (1 / alpha)
    assert margins.max() <= stable_margin(theta, eps, alpha) <= margins.max() * 1.05


@given(st.integers(0, 10**6))
def test_tsipras_accuracy_against_monte_carlo(seed):
    rng = np.random.default_rng(seed)
    model = TsiprasModel(dim=5, p=float(rng.uniform(0.3, 1)), eta=float(rng.uniform(0.1, 1)))
    w1, w, b, eps = rng.standard_normal(), rng.standard_normal(5), rng.standard_normal(), rng.uniform(0, 0.5)
    n = 20_000
    y = rng.choice([-1, 1], n)
    x1 = np.where(rng.random(n) < model.p, y, -y)
    rest = model.eta * y[:, None] + rng.standard_normal((n, 5))
    margin = y * (w1 * x1 + rest @ w + b) - eps * (abs(w1) + np.abs(w).sum())
    rate = linear_error(model, w1, w, b, eps)
    assert rate + linear_accuracy(model, w1, w, b, eps) == pytest.approx(1)
    assert agrees(rate, int((margin <= 0).sum()), n)
    loss = np.maximum(0, 1 - margin)
    assert abs(loss.mean() - hinge_loss(model, w1, w, b, eps)) < 6 * loss.std() / np.sqrt(n)


def test_the_monte_carlo_check_sees_a_wrong_rate():
    assert agrees(0.2, 4000, 20_000) and not agrees(0.22, 4000, 20_000)


@given(st.floats(0.5, 0.99), st.floats(0.01, 0.49), st.floats(0, 1), st.sampled_from([10, 100, 1000]))
def test_theorem_2_1_and_its_tight_example(p, eta, tau, dim):
    model = TsiprasModel(dim=dim, p=p, eta=eta)
    delta, robust = tight_example(model, tau)
    slack = robust_bound(model, delta, 2 * eta) - robust
    assert slack == pytest.approx(float(ndtr(-(eta + tau) * dim**0.5)) * (p / (1 - p) - 1), abs=1e-9)
    for w1, v in ((1.0, 0.0), (1.0, 0.3), (0.1, 1.0)):
        delta = linear_error(model, w1, v)
        assert linear_accuracy(model, w1, v, eps=2 * eta) <= robust_bound(model, delta, 2 * eta) + 1e-12


def test_theorem_2_1_fails_outside_its_domain():
    model = TsiprasModel(dim=4, p=0.3, eta=0.2)
    assert linear_accuracy(model, -1.0, 0.0, eps=0.4) == pytest.approx(0.7)  # above p / (1 - p) 0.3 = 0.129
    with pytest.raises(InputError, match="p from 1/2"):
        robust_bound(model, 0.3, 0.4)
    with pytest.raises(InputError, match="2 eta"):
        robust_bound(TsiprasModel(dim=4, p=0.9, eta=0.2), 0.1, 0.3)


def test_theorem_2_2_and_its_counterexample():
    """Where the condition holds no unit vector has a smaller adversarial hinge loss; outside one does."""
    rng = np.random.default_rng(3)
    good = TsiprasModel(dim=6, p=0.9, eta=0.4)
    assert adversarial_svm_is_robust_feature(good, 0.5)
    loss = hinge_loss(good, 1.0, np.zeros(6), eps=0.5)
    assert loss == pytest.approx(0.9 * 0.5 + 0.1 * 2.5)
    for _ in range(2000):
        w = rng.standard_normal(7) * rng.choice([1, 0.1], 7)
        w /= np.linalg.norm(w)
        assert hinge_loss(good, w[0], w[1:], eps=0.5) >= loss - 1e-12
    bad, weak = TsiprasModel(dim=79, p=0.6, eta=0.45), np.eye(79)[0]
    assert not adversarial_svm_is_robust_feature(bad, 0.9)
    assert hinge_loss(bad, 0.0, weak, eps=0.9) == pytest.approx(1.4828, abs=1e-4)
    assert hinge_loss(bad, 1.0, 0 * weak, eps=0.9) == pytest.approx(1.7)


@given(st.floats(0.1, 3), st.floats(1.1, 4), st.floats(-0.5, 3), st.floats(0.05, 1))
def test_gaps_fall_with_the_distance(eta, K, alpha, further):
    mixture = GaussianMixture(dim=4, eta=eta, sigma=1.0, K=K)
    eps = 0.4 * eta * (1 + alpha) / 2
    near, far = (distant_classes(mixture, a, eps) for a in (alpha, alpha + further))
    for z in ("natural_z", "robust_z"):
        gaps = [float(np.subtract(*ndtr(getattr(c, z)))) for c in (near, far)]
        assert gaps[0] >= gaps[1] - 1e-13
    plain = distant_classes(mixture, 1.0, 0.2 * eta)  # alpha = 1 is the symmetric mixture
    assert plain.bias == pytest.approx(plain.centered_bias)


@pytest.mark.parametrize("loss", ["exp", "hinge", "squared"])
@pytest.mark.parametrize("K", [0.6, 1.0, 2.0])
def test_surrogate_optima_by_brute_force(loss, K):
    """No other scale or bias has a smaller loss, by quadrature on 40,001 nodes."""
    m, sigma = 0.8, 0.9
    t = np.linspace(-10, 10, 40_001)
    weight = np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi) * (t[1] - t[0])
    function = {
        "exp": lambda v: np.exp(-v),
        "hinge": lambda v: np.maximum(0, 1 - v),
        "squared": lambda v: (1 - v) ** 2,
    }

    def total(s, b):
        plus, minus = s * (m + K * sigma * t + b), s * (m + sigma * t - b)
        return float((function[loss](plus) + function[loss](minus)) @ weight / 2)

    s, b = {"exp": exponential_optimum, "hinge": hinge_optimum, "squared": squared_optimum}[loss](
        m, sigma, K
    )[:2]
    best = total(s, b)
    assert best <= minimize_scalar(lambda x: total(x, b), bounds=(0.01, 10), method="bounded").fun + 1e-7
    for ds, db in ((1.02, 0), (0.98, 0), (1, 0.02), (1, -0.02), (1.02, 0.02), (0.98, -0.02)):
        assert total(s * ds, b + db) > best
    with pytest.raises(InputError, match="margin"):
        exponential_optimum(0.0, sigma, K)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_multiclass_errors_against_monte_carlo(classes):
    rng = np.random.default_rng(classes)
    W, b, mean = rng.standard_normal((classes, 4)), rng.standard_normal(classes) / 4, rng.standard_normal(4)
    eps, n = 0.1, 200_000
    z, R = pair_z_scores(W, b, mean, 0.5, 0, eps)
    x = mean + np.sqrt(0.5) * rng.standard_normal((n, 4))
    margins = (W[0] - W[1:]) @ x.T + (b[0] - b[1:])[:, None] - eps * np.abs(W[0] - W[1:]).sum(1)[:, None]
    errors = int((margins <= 0).any(axis=0).sum())
    assert agrees(class_error(z, R), errors, n)
    assert not agrees(class_error(z + 0.1, R), errors, n)


@given(st.floats(-1, 1), st.floats(0.3, 3), st.floats(0.05, 0.5))
def test_variance_ratio_is_K_for_any_bias(b, K, eps):
    z = [bias_z_scores(b, m, 1.0, K) for m in (1.0, 1.0 - eps)]
    natural, robust = (tuple(float(v) for v in ndtr(pair)) for pair in z)
    assert variance_ratio(natural, robust) == pytest.approx(K, rel=1e-8)
    with pytest.raises(InputError, match="natural < robust"):
        variance_ratio(robust, natural)
