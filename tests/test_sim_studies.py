"""Data models and studies: the true theory agrees everywhere, and each wrong one is seen."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.stats import kstest, levy_stable

from sim.learning.biases import draw_scores
from sim.sampling.draws import Gaussians, Stable, Tsipras, isotropic, shared_covariance, stable_noise
from sim.studies import (
    model_covariance,
    model_gaussian,
    model_stable,
    model_tsipras,
    multiclass,
    rates,
    studies,
)
from sim.testing import counting
from sim.testing.counting import attack, compare_errors
from theory.claims.simulation import Distribution
from theory.gaussian.adversary import NORMS, dual_norm
from theory.gaussian.linear import LinearClassifier
from theory.gaussian.mixture import GaussianMixture
from theory.gaussian.problem import Problem
from theory.gaussian.surrogate import logistic_optimum
from theory.variants.tsipras import TsiprasModel

MODELS = ["model_gaussian", "model_covariance", "model_stable", "model_tsipras", "multiclass"]
ALPHA = 1e-7


@pytest.fixture(autouse=True)
def fewer_samples(monkeypatch):
    for module in (model_gaussian, model_tsipras, multiclass):
        monkeypatch.setattr(module, "SAMPLES", 60_000)
    monkeypatch.setattr(rates, "RESAMPLES", 100)


def verdicts(name, n=2, seed=0, claims=False):
    """Return the verdicts of the first n settings of a study."""
    study = studies()[name]
    rng = np.random.default_rng(seed)
    outcomes = [study.run(setting, rng, ALPHA) for setting in study.settings(n, rng)]
    return [c.verdict.verdict for o in outcomes for c in o.comparisons if c.claim == claims]


@pytest.mark.parametrize("name", MODELS)
def test_attacked_samples_agree_with_theory(name):
    found = verdicts(name, n=2 if name == "multiclass" else 5, seed=1)
    assert set(found) == {"agrees"}
    assert "differs" not in verdicts(name, n=2, seed=1, claims=True)


@pytest.mark.parametrize("name", [n for n in MODELS if n != "multiclass"])
def test_a_weaker_attack_is_seen(monkeypatch, name):
    monkeypatch.setattr(counting, "attack", lambda x, y, w, eps, norm: attack(x, y, w, 0.9 * eps, norm))
    assert "differs" in verdicts(name)


def _wider(problem):
    return isotropic(dataclasses.replace(problem, K=1.1 * problem.K))


def _bent(theta, S, eps, norm="linf"):
    """Return the right numbers with a direction that is turned by 10 %."""
    w, m, mu = covariance(theta, S, eps, norm)
    return w + 0.1 * np.linalg.norm(w) * np.roll(w, 1) / np.linalg.norm(w), m, mu


covariance = model_covariance.covariance_direction


def _as_if_gaussian(theta, eps, alpha):
    """Return weights that are right for alpha = 2 alone."""
    w = model_stable_direction(theta, eps, 2.0)
    return w / (np.abs(w) ** alpha).sum() ** (1 / alpha)


model_stable_direction = model_stable.direction


@pytest.mark.parametrize(
    "module, name, wrong",
    [
        (model_gaussian, "isotropic", _wider),
        (model_covariance, "shared_covariance", lambda t, S: shared_covariance(t, 1.1 * np.array(S))),
        (model_covariance, "covariance_direction", _bent),
        (model_stable, "Stable", lambda t, scale, alpha: Stable(t, 1.1 * scale, alpha)),
        (model_stable, "direction", _as_if_gaussian),
        (model_tsipras, "Tsipras", lambda m: Tsipras(dataclasses.replace(m, p=0.97 * m.p))),
        (model_tsipras, "Tsipras", lambda m: Tsipras(dataclasses.replace(m, eta=0.9 * m.eta))),
    ],
)
def test_another_model_is_seen(monkeypatch, module, name, wrong):
    monkeypatch.setattr(module, name, wrong)
    assert "differs" in verdicts(module.__name__.split(".")[-1])


@pytest.mark.parametrize(
    "name, wrong",
    [
        ("Gaussians", lambda means, factors: Gaussians(means, [1.1 * A for A in factors])),
        ("_count", lambda *a: multiclass_count(*a[:4], 0.9 * a[4], a[5])),
        ("class_error", lambda z, R: class_error(z, np.eye(len(z)))),
    ],
)
def test_wrong_multiclass_theory_is_seen(monkeypatch, name, wrong):
    monkeypatch.setattr(multiclass, name, wrong)
    assert "differs" in verdicts("multiclass", n=2)


multiclass_count, class_error = multiclass._count, multiclass.class_error


def test_bounds_that_do_not_hold_are_refuted(monkeypatch):
    """The reversed bounds fail, a bound that chance could reach is not called either way."""
    bounds = multiclass.error_bounds
    assert "agrees" in verdicts("multiclass", n=2, claims=True)
    monkeypatch.setattr(multiclass, "error_bounds", lambda z: bounds(z)[::-1])
    assert "differs" in verdicts("multiclass", n=2, claims=True)
    kinds = [multiclass.judge_bound(0.2, 0.2, sign, 2000, 10_000, 1e-6).verdict for sign in (1, -1)]
    assert kinds == ["cannot tell", "cannot tell"]


def test_the_class_error_of_two_classes_is_that_of_their_difference():
    """Route without pairwise margins: the worst corner of the ball for each sample."""
    rng = np.random.default_rng(3)
    x, W, b = rng.standard_normal((5000, 3)), rng.standard_normal((4, 3)), rng.standard_normal(4)
    corners = 0.2 * np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1).T
    scores = (x[:, None] + corners) @ W.T + b
    lost = (scores[..., [0, 1, 3]] >= scores[..., [2]]).any(axis=(1, 2)).sum()
    assert multiclass._count(x, W, b, 2, 0.2, "linf") == lost
    assert multiclass._count(x, W, b, 2, 0.18, "linf") < lost


@pytest.mark.parametrize("norm", NORMS)
def test_the_attack_takes_the_dual_norm_and_no_point_of_the_ball_takes_more(norm):
    rng = np.random.default_rng(4)
    w, x = rng.standard_normal(6), rng.standard_normal((50, 6))
    order = {"linf": np.inf, "l2": 2, "l1": 1}[norm]
    inside = rng.standard_normal((2000, 6))
    inside *= 0.3 / np.linalg.norm(inside, order, axis=1, keepdims=True)
    for y in (1, -1):
        moved = attack(x, y, w, 0.3, norm)
        assert np.linalg.norm(moved - x, order, axis=1) == pytest.approx(0.3)
        np.testing.assert_allclose(y * (x - moved) @ w, 0.3 * dual_norm(w, norm))
        assert (y * inside @ w).min() >= -0.3 * dual_norm(w, norm)


def test_a_score_of_zero_is_an_error_and_constant_classifiers_err_in_one_class():
    zero = [np.zeros((100, 1)), np.zeros((100, 1))]
    on, off = (LinearClassifier(np.ones(1), b) for b in (0.0, np.inf))
    share = {"norm": "linf", "alpha": 1e-3}
    assert [c.verdict.measured for c in compare_errors("", on, zero, {0.0: (1, 1)}, **share)] == [1, 1]
    found = compare_errors("", off, zero, {0.0: (0.0, 1.0), 0.5: (0.0, 1.0)}, **share)
    assert [c.verdict.measured for c in found] == [0, 1, 0, 1]
    assert not any(c.verdict.verdict == "differs" for c in found)


@pytest.mark.parametrize("alpha", [1.0, 1.3, 1.8, 2.0])
def test_stable_noise_has_the_law_of_scipy(alpha):
    noise = stable_noise(alpha, 4000, np.random.default_rng(5))
    grid = np.linspace(-30, 30, 600)
    law = levy_stable.cdf(grid, alpha, 0)
    assert kstest(noise, lambda x: np.interp(x, grid, law, 0, 1)).pvalue > 1e-5
    assert kstest(1.2 * noise, lambda x: np.interp(x, grid, law, 0, 1)).pvalue < 1e-5


def test_scores_and_samples_share_the_stable_noise():
    """One generator of noise: the scores of one coordinate are its samples."""
    law = Distribution(margin=0.5, widths=(2.0, 2.0), alpha=1.5)
    scores = [draw_scores(law, y, 100, rng) for rng in [np.random.default_rng(6)] for y in (1, -1)]
    samples = Stable(np.array([0.5]), 2.0, 1.5).draw(np.random.default_rng(6), 100)
    np.testing.assert_allclose(np.stack(scores), np.stack(samples)[..., 0])


def test_samples_have_their_moments():
    rng = np.random.default_rng(7)
    A = rng.standard_normal((3, 3))
    means = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, -1.0]])
    first, second = Gaussians(means, [A, 0.5]).draw(rng, 200_000)
    np.testing.assert_allclose(first.mean(axis=0), means[0], atol=0.03)
    np.testing.assert_allclose(np.cov(first.T), A @ A.T, atol=0.05)
    np.testing.assert_allclose(np.cov(second.T), 0.25 * np.eye(3), atol=0.01)
    plus, minus = isotropic(Problem(theta=(1.0, -2.0), sigma=1.0, K=3.0)).draw(rng, 100_000)
    np.testing.assert_allclose([plus.std(), minus.std()], [(9 + 2.25) ** 0.5, (1 + 2.25) ** 0.5], atol=0.03)
    for y, x in zip((1, -1), Tsipras(TsiprasModel(dim=3, p=0.8, eta=0.5)).draw(rng, 100_000), strict=True):
        assert x[:, 1:].mean() == pytest.approx(0.5 * y, abs=0.01)
        assert (x[:, 0] == y).mean() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("name", [*MODELS, "rates"])
def test_settings_are_json_as_many_as_asked_and_fixed_by_the_seed(name):
    study = studies()[name]
    one, two = (study.settings(6, np.random.default_rng(8)) for _ in range(2))
    assert len(one) == 6 and one == two and json.loads(json.dumps(one)) == one
    assert study.settings(1, np.random.default_rng(9)) != one[:1] or name == "model_gaussian"


def powers(exponent, rng, repeats=300):
    """Return sizes and normal values whose deviation is size ** exponent."""
    sizes = (500, 2000, 8000, 32_000)
    return sizes, [n**exponent * rng.standard_normal(repeats) for n in sizes]


def test_slopes_are_told_apart():
    rng = np.random.default_rng(10)
    sizes, values = powers(-1 / 2, rng)
    for exponent, verdict in ((-1 / 2, "agrees"), (-1 / 3, "differs")):
        found = rates.slope(sizes, values, rates._size, exponent, rng, ALPHA, 1 / 6)
        assert found.verdict == verdict and found.measured == pytest.approx(-0.5, abs=0.05)
    negative = [-np.abs(v) for v in values]  # an excess below a wrong limit
    assert rates.slope(sizes, negative, np.mean, -1 / 2, rng, ALPHA, 1 / 6).verdict == "differs"
    few = [v[:20] for v in values]
    assert rates.slope(sizes, few, rates._size, -1 / 2, rng, ALPHA, 1 / 6).verdict == "cannot tell"


def test_true_slopes_are_called_wrong_as_seldom_as_promised():
    rng = np.random.default_rng(11)
    wrong = 0
    for _ in range(40):
        sizes, values = powers(-1 / 3, rng, 100)
        wrong += rates.slope(sizes, values, rates._size, -1 / 3, rng, 0.1, 1.0).verdict == "differs"
    assert wrong <= 12  # 4 expected


@pytest.mark.parametrize(
    "name, wrong",
    [
        (None, None),
        ("optimal_bias", lambda m, sigma, K: 1.1 * m * (K - 1) / (K + 1)),
        ("logistic_optimum", lambda m, e: wrong_scale(logistic_optimum(m, e))),
    ],
)
def test_measured_rates(monkeypatch, name, wrong):
    """With a wrong limit the distance to it stops to fall, and the exponent is another one."""
    monkeypatch.setattr(rates, "BIAS_SIZES", (500, 2000, 8000))
    monkeypatch.setattr(rates, "LOGISTIC_SIZES", {"samples": ((1000, 4), (4000, 4), (16_000, 4))})
    monkeypatch.setattr(rates, "REPEATS", {"threshold": 300, "equal": 300, "samples": 60})
    if name:
        monkeypatch.setattr(rates, name, wrong)
    found = verdicts("rates", n=3, seed=12)
    assert len(found) == 4 and ("differs" in found) == bool(name)


def wrong_scale(optimum):
    return dataclasses.replace(optimum, scale=1.1 * optimum.scale)


def test_logistic_rates_are_measured_where_first_order_holds():
    for margin in (0.8, 1.3):
        for n, d in (size for sizes in rates.LOGISTIC_SIZES.values() for size in sizes):
            mixture = GaussianMixture(dim=d, eta=margin * d**-0.5 + 0.01, sigma=1.0, K=1.0)
            assert logistic_optimum(mixture, 0.01).first_order_holds(n)
