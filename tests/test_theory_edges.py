"""Tails and neighbourhoods of singular points, against mpmath."""

import mpmath
import numpy as np
import pytest
from scipy.special import ndtr

from theory.gaussian.fairness import price_of_fairness, reweight_odds, robust_gap
from theory.gaussian.optimal import optimal_z_scores
from theory.variants.imbalance import accuracy_disparity, effects
from theory.variants.stable import stable_cdf, stable_optimum, stable_pdf

SETTINGS = 150
"""Of each function; 2000 were tried."""


def near(measured, exact, scale=None):
    """Say whether a number agrees with one of mpmath to 1e-10 of a scale, by default of itself."""
    scale = abs(exact) if scale is None else scale
    return scale < mpmath.mpf(10) ** -280 or abs(mpmath.mpf(float(measured)) - exact) <= scale * mpmath.mpf(
        1e-10
    )


def series(x, alpha):
    """Return the density and the upper tail of the stable law by the series that converges.

    Feller (1971), XVII.6: in x for alpha > 1, in x^-alpha for alpha < 1, with digits for their cancellation.
    """
    x, a = mpmath.mpf(x), mpmath.mpf(alpha)
    density, tail, small = mpmath.mpf(0), mpmath.mpf(0), 0
    for k in range(3000):
        if alpha > 1:
            term = (
                (-1) ** k
                * mpmath.gamma((2 * k + 1) / a)
                / mpmath.factorial(2 * k)
                * x ** (2 * k)
                / (mpmath.pi * a)
            )
            more = term * x / (2 * k + 1)
        else:
            j = k + 1
            term = (
                (-1) ** k * mpmath.gamma(a * j + 1) / mpmath.factorial(j) * mpmath.sin(j * mpmath.pi * a / 2)
            )
            term *= x ** (-a * j - 1) / mpmath.pi
            more = term * x / (a * j)
        density, tail = density + term, tail + more
        small = small + 1 if max(abs(term), abs(more)) < mpmath.mpf(10) ** (-mpmath.mp.dps + 5) else 0
        if small == 5:  # some terms are 0
            break
    return density, mpmath.mpf(1) / 2 - tail if alpha > 1 else tail


@pytest.mark.parametrize(
    ("alpha", "x", "digits"),
    [
        (1.5, 1e-9, 40), (1.5, 1.0, 50), (1.5, 6.0, 200), (1.2, 1.5, 300), (1.9, 6.0, 120),
        (1.9999999, 8.0, 120),
        (0.5, 1.0, 50), (0.5, 1e6, 40), (0.5, 0.1, 120), (0.9, 3.0, 50), (0.2, 1e-3, 60), (0.05, 1.0, 50),
        (1.004, 0.3, 50), (0.996, 4.0, 50), (1 + 1e-9, 0.2, 50), (1 - 1e-9, 9.0, 50), (1.00002, 0.4, 50),
    ],
)  # fmt: skip
def test_stable_laws(alpha, x, digits):
    with mpmath.workdps(digits):
        density, tail = series(x, alpha)
        assert near(stable_pdf(x, alpha), density) and near(stable_cdf(-x, alpha), tail)
        assert stable_cdf(x, alpha) == pytest.approx(float(1 - tail), rel=1e-14)
        assert stable_pdf(-x, alpha) == stable_pdf(x, alpha)


@pytest.mark.parametrize("alpha", [0.3, 0.95, 1.05, 1.5, 1.99])
def test_far_tails_of_stable_laws(alpha):
    """The first terms of the series in x^-alpha, which for alpha > 1 is asymptotic."""
    for x in (1e30, 1e150):
        lead = mpmath.gamma(alpha) * mpmath.sin(mpmath.pi * alpha / 2) / mpmath.pi * mpmath.mpf(x) ** -alpha
        second = (
            mpmath.gamma(2 * alpha)
            * mpmath.sin(mpmath.pi * alpha)
            / 2
            / mpmath.pi
            * mpmath.mpf(x) ** (-2 * alpha)
        )
        assert near(stable_cdf(-x, alpha), lead - second)


def test_stable_laws_at_the_ends():
    assert stable_cdf(0.0, 1.5) == 0.5 and stable_cdf(np.inf, 1.5) == 1 and stable_cdf(-np.inf, 0.5) == 0
    assert stable_cdf(-5.0, 2.0) == pytest.approx(float(ndtr(-5 / 2**0.5)), rel=1e-14)
    assert stable_cdf(-3.0, 1.999999999) == pytest.approx(stable_cdf(-3.0, 2.0), rel=1e-6)
    assert stable_pdf(0.0, 1.0) == pytest.approx(1 / np.pi) and stable_pdf(1e-200, 1.5) == stable_pdf(
        0.0, 1.5
    )
    middle = stable_optimum(1.0, 1.0, 1.2, 1.0), stable_optimum(1.0, 1.0, 1.2, 1 + 1e-7)
    assert middle[0].errors == pytest.approx(middle[1].errors, rel=1e-5)


def drawn(rng):
    """Return (m, sigma, K): most near K = 1, some far, some with a margin below 0."""
    sigma = 10 ** rng.uniform(-1, 1)
    K = (
        10 ** rng.uniform(-1.5, 1.5)
        if rng.random() < 0.3
        else 1 + rng.choice([1, -0.5]) * 10 ** rng.uniform(-9, -0.05)
    )
    sign = -1 if rng.random() < 0.15 and abs(K - 1) > 1e-3 else 1
    return sign * sigma * 10 ** rng.uniform(-2, 1.3), sigma, float(K)


def test_gap_price_and_odds_near_equal_widths():
    rng = np.random.default_rng(0)
    normal = lambda z: mpmath.erfc(-z / mpmath.sqrt(2)) / 2  # noqa: E731
    with mpmath.workdps(80):
        for m, sigma, K in (drawn(rng) for _ in range(SETTINGS)):
            M, S, k = map(mpmath.mpf, (m, sigma, K))
            narrow, ratio = (k * S, 1 / k) if k < 1 else (S, k)
            kappa = ratio**2 - 1
            root = mpmath.sqrt(M**2 + kappa * narrow**2 * mpmath.log(ratio) / 2)
            b = ((ratio**2 + 1) * M - 2 * ratio * root) / kappa
            wide, thin = normal(-(b + M) / (ratio * narrow)), normal((b - M) / narrow)
            assert near(robust_gap(m, sigma, K), (wide - thin) * (-1 if k < 1 else 1)), (m, sigma, K)
            price = normal(-2 * M / ((k + 1) * S)) - (wide + thin) / 2
            assert near(price_of_fairness(m, sigma, K), price), (m, sigma, K)
            bias = m * rng.normal() / 2
            z = (bias + M) / (k * S), (bias - M) / S
            odds = mpmath.log(k) + (z[0] ** 2 - z[1] ** 2) / 2
            scale = abs(mpmath.log(k)) + abs(z[0] ** 2 - z[1] ** 2) / 2
            assert near(reweight_odds(bias, m, sigma, K), odds, scale), (m, sigma, K)


def test_the_gap_is_that_of_the_z_scores_and_0_or_all_where_it_must_be():
    z = optimal_z_scores(0.7, 1.0, 2.0)
    assert float(robust_gap(0.7, 1.0, 2.0)) == pytest.approx(float(ndtr(z[0]) - ndtr(z[1])))
    assert robust_gap([1.0, -1.0], 1.0, 1.0).tolist() == [0, -1]  # at K = 1 and m < 0 always +1 is answered
    assert price_of_fairness([1.0, 0.5], 1.0, 1.0).tolist() == [0, 0]


def test_effects_of_imbalance_keep_their_tails_and_signs():
    rng = np.random.default_rng(0)
    with mpmath.workdps(330):
        for _ in range(SETTINGS // 2):
            natural = 10 ** rng.uniform(-2, 1.3)
            mu = natural * (1 - 10 ** rng.uniform(-12, -0.1))
            m = mu * (1 - 10 ** rng.uniform(-12, -0.01))
            R = float(np.exp(rng.choice([-1, 1]) * 10 ** rng.uniform(-8, 1.2)))
            result = effects(natural, mu, m, R)
            N, U, M = map(mpmath.mpf, (natural, mu, m))
            assert near(result.inherent, mpmath.ncdf(U) - mpmath.ncdf(N))
            for sign, measured in zip((1, -1), result.imbalance, strict=True):
                s = sign * mpmath.log(mpmath.mpf(R)) / 2
                moved = mpmath.ncdf(U - s / M) - mpmath.ncdf(U - s / N)
                exact = mpmath.ncdf(U - s / M) - mpmath.ncdf(U) - mpmath.ncdf(N - s / N) + mpmath.ncdf(N)
                majority = (R < 1) == (sign > 0)
                assert near(measured, exact, abs(exact) if majority else max(abs(exact), abs(moved)))
                assert measured >= 0 or not majority
            half = abs(mpmath.log(mpmath.mpf(R))) / (2 * M)
            assert near(accuracy_disparity(mu, m, R), mpmath.ncdf(half - U) - mpmath.ncdf(-half - U))
