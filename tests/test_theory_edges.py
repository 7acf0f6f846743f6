"""Tails and neighbourhoods of singular points, against mpmath: 2000 random settings of each if THOROUGH."""

import os

import mpmath
import numpy as np
import pytest
from scipy.special import ndtr

from theory.gaussian.fairness import fair_bias, price_of_fairness, reweight_odds, robust_gap
from theory.gaussian.optimal import optimal_bias, optimal_z_scores
from theory.variants.imbalance import accuracy_disparity, effects
from theory.variants.stable import stable_cdf, stable_optimum, stable_pdf

THOROUGH = bool(os.environ.get("THOROUGH"))
SETTINGS, STABLE_SETTINGS = (2000, 2000) if THOROUGH else (150, 3)
BOUND = 1e-10
"""Largest relative error that is allowed."""


class Worst:
    """The largest relative error of each function, which ``pytest -rP`` prints."""

    def __init__(self):
        self.errors = {}

    def see(self, name, measured, exact, at):
        """Compare with a number of mpmath, unless it is near the smallest doubles."""
        if abs(exact) < mpmath.mpf(10) ** -280:
            return
        off = float(abs(mpmath.mpf(float(measured)) / exact - 1))
        count, worst, _ = self.errors.get(name, (0, -1.0, None))
        self.errors[name] = (count + 1, *((off, at) if off > worst else self.errors[name][1:]))

    def check(self):
        for name, (count, off, at) in self.errors.items():
            print(f"{name}: {count} settings, largest relative error {off:.1e} at {at}")
            assert off < BOUND, (name, off, at)


def turned_integral(x, alpha):
    """Return the density and the upper tail of the stable law at x > 0: Fourier's integral on a turned ray.

    The tail is -(1 / pi) Im int exp(i x t) (exp(-t^alpha) - 1) / t dt and the density the same with Re and
    without 1 / t. On t = r exp(i angle), in the middle of the sector where both exponentials fall, the
    trapezoid rule in ln r converges geometrically; digits that cancel are added.
    """
    lost = 0
    while True:
        digits = 18 + lost
        with mpmath.workdps(int(digits + 12 + max(0, alpha * np.log10(x)))):
            x_, a, far = mpmath.mpf(x), mpmath.mpf(alpha), digits * mpmath.log(10)
            sector = min(mpmath.pi, mpmath.pi / (2 * a))
            step = 0.7 * mpmath.pi * sector / far
            first = -far / a - max(mpmath.log(x_), 0)
            last = mpmath.log(far / (x_ * mpmath.sin(sector / 2)))
            t = mpmath.exp(first + 1j * sector / 2)
            power, factors = t**a, (mpmath.exp(step), mpmath.exp(a * step))
            sums, sizes = [mpmath.mpf(0)] * 2, [mpmath.mpf(0)] * 2
            for _ in range(int((last - first) / step) + 1):
                value = mpmath.exp(1j * x_ * t) * (mpmath.exp(-power) - 1)
                for i, term in enumerate(((value * t).real, -value.imag)):
                    sums[i], sizes[i] = sums[i] + term, sizes[i] + abs(term)
                t, power = t * factors[0], power * factors[1]
            needed = max(int(mpmath.log10(w / abs(v))) for v, w in zip(sums, sizes, strict=True)) + 1
            if needed <= lost + 1:
                return [v * step / mpmath.pi for v in sums]
        lost = needed


@pytest.mark.parametrize("x", [1e-3, 0.5, 6.0, 1e5])
def test_the_turned_integral_is_right_for_the_laws_of_cauchy_and_gauss(x):
    with mpmath.workdps(40):
        X = mpmath.mpf(x)
        cauchy = 1 / (mpmath.pi * (1 + X**2)), mpmath.atan(1 / X) / mpmath.pi
        gauss = mpmath.npdf(X, 0, mpmath.sqrt(2)), mpmath.erfc(X / 2) / 2
        for alpha, law in ((1, cauchy), (2, gauss))[: 1 if x > 1e3 else 2]:
            for measured, exact in zip(turned_integral(x, alpha), law, strict=True):
                assert abs(measured / exact - 1) < 1e-14


STABLE_PLACES = [
    (1e-9, 1.5), (1.0, 1.5), (6.0, 1.5), (1.5, 1.2), (6.0, 1.9), (8.0, 1.9999999), (1.0, 0.5), (1e6, 0.5),
    (0.1, 0.5), (3.0, 0.9), (1e-3, 0.2), (1.0, 0.05), (0.3, 1.004), (4.0, 0.996), (0.2, 1 + 1e-9),
    (9.0, 1 - 1e-9), (0.4, 1.00002), (7.5e24, 1.0000109052283), (1e5, 2 - 1e-15), (0.4, 1.002), (5.0, 0.9991),
]  # fmt: skip
"""(x, alpha); at some of them errors of 1e-10 and more were seen."""


def drawn_stable(rng):
    """Return (x, alpha): alpha anywhere, near 1, near 2 or small; x from the middle to the far tail."""
    alphas = (
        rng.uniform(0.1, 2),
        1 + rng.choice([-1, 1]) * 10 ** rng.uniform(-12, -1),
        2 - 10 ** rng.uniform(-15, -1),
        10 ** rng.uniform(-1.2, 0.3),
    )
    exponent = rng.choice([rng.uniform(-9, 4), rng.uniform(-1, 1.5), rng.uniform(4, 100)], p=[0.6, 0.3, 0.1])
    return float(10**exponent), float(rng.choice(alphas))


def test_stable_laws():
    worst = Worst()
    rng = np.random.default_rng(0)
    for x, alpha in STABLE_PLACES + [drawn_stable(rng) for _ in range(STABLE_SETTINGS)]:
        density, tail = turned_integral(x, alpha)
        worst.see("stable_pdf", stable_pdf(x, alpha), density, (x, alpha))
        worst.see("stable_cdf, lower tail", stable_cdf(-x, alpha), tail, (x, alpha))
        worst.see("stable_cdf, upper half", stable_cdf(x, alpha), 1 - tail, (x, alpha))
        assert stable_pdf(-x, alpha) == stable_pdf(x, alpha)
    worst.check()


@pytest.mark.parametrize("alpha", [0.3, 0.95, 1.05, 1.5, 1.99])
def test_far_tails_of_stable_laws(alpha):
    """The first terms of the series in x^-alpha, which for alpha > 1 is asymptotic."""
    worst = Worst()
    for x in (1e30, 1e150):
        lead = mpmath.gamma(alpha) * mpmath.sin(mpmath.pi * alpha / 2) / mpmath.pi * mpmath.mpf(x) ** -alpha
        second = (
            mpmath.gamma(2 * alpha)
            * mpmath.sin(mpmath.pi * alpha)
            / 2
            / mpmath.pi
            * mpmath.mpf(x) ** (-2 * alpha)
        )
        worst.see("stable_cdf, far tail", stable_cdf(-x, alpha), lead - second, (x, alpha))
    worst.check()


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
    near = 1 + rng.choice([1, -0.5]) * 10 ** rng.uniform(-12, -0.05)
    K = 10 ** rng.uniform(-1.5, 1.5) if rng.random() < 0.3 else near
    return rng.choice([-1, 1], p=[0.25, 0.75]) * sigma * 10 ** rng.uniform(-2, 1.3), sigma, float(K)


def biases(rng, m, sigma, K):
    """Return a bias anywhere, one beside the fair and one beside the optimal one, where the odds are 1."""
    off = rng.choice([-1, 1], 2) * 10 ** rng.uniform(-14, -1, 2)
    return m * rng.normal() / 2, *(
        float(b) * (1 + o) for b, o in zip((fair_bias(m, K), optimal_bias(m, sigma, K)), off, strict=True)
    )


def test_gap_price_and_odds_near_equal_widths():
    worst = Worst()
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
            at = m, sigma, K
            worst.see("robust_gap", robust_gap(m, sigma, K), (wide - thin) * (-1 if k < 1 else 1), at)
            price = normal(-2 * M / ((k + 1) * S)) - (wide + thin) / 2
            worst.see("price_of_fairness", price_of_fairness(m, sigma, K), price, at)
            for bias in biases(rng, m, sigma, K):
                z = (bias + M) / (k * S), (bias - M) / S
                odds = mpmath.log(k) + (z[0] ** 2 - z[1] ** 2) / 2
                worst.see("reweight_odds", reweight_odds(bias, m, sigma, K), odds, (bias, *at))
    worst.check()


def test_odds_of_arrays_are_those_of_their_members():
    m, K = np.array([[0.5], [2.0]]), np.array([1.5, 2.0, 3.0])
    b = optimal_bias(m, 1.0, K)  # there the odds are 1 but for rounding
    together = reweight_odds(b, m, 1.0, K)
    assert together.shape == (2, 3)
    assert together[1, 2] == reweight_odds(b[1, 2], 2.0, 1.0, 3.0) and abs(together).max() < 1e-14
    assert np.isnan(reweight_odds(np.nan, 1.0, 1.0, 2.0)) and reweight_odds(np.inf, 1.0, 1.0, 2.0) == -np.inf


def test_the_price_below_margin_0():
    assert price_of_fairness(-1.0, 1.0, 1.0) == pytest.approx(ndtr(1) - 0.5)  # a constant has error 1/2
    assert price_of_fairness(-1.0, 1.0, 1 + 1e-12) == pytest.approx(ndtr(1) - 0.5)


def test_the_gap_is_that_of_the_z_scores_and_0_or_all_where_it_must_be():
    z = optimal_z_scores(0.7, 1.0, 2.0)
    assert float(robust_gap(0.7, 1.0, 2.0)) == pytest.approx(float(ndtr(z[0]) - ndtr(z[1])))
    assert robust_gap([1.0, -1.0], 1.0, 1.0).tolist() == [0, -1]  # at K = 1 and m < 0 always +1 is answered
    assert price_of_fairness([1.0, 0.5], 1.0, 1.0).tolist() == [0, 0]


def test_effects_of_imbalance_keep_their_tails_and_signs():
    worst = Worst()
    rng = np.random.default_rng(0)
    with mpmath.workdps(330):
        for _ in range(SETTINGS if THOROUGH else SETTINGS // 4):
            natural = 10 ** rng.uniform(-2, 1.5)
            mu = natural * (1 - 10 ** rng.uniform(-12, -0.1))
            m = mu * (1 - 10 ** rng.uniform(-12, -0.01))
            R = float(np.exp(rng.choice([-1, 1]) * 10 ** rng.uniform(-8, 1.2)))
            result = effects(natural, mu, m, R)
            N, U, M = map(mpmath.mpf, (natural, mu, m))
            worst.see("inherent effect", result.inherent, mpmath.ncdf(U) - mpmath.ncdf(N), (natural, mu))
            for sign, measured in zip((1, -1), result.imbalance, strict=True):
                s, at = sign * mpmath.log(mpmath.mpf(R)) / 2, (natural, mu, m, R)
                exact = mpmath.ncdf(U - s / M) - mpmath.ncdf(U) - mpmath.ncdf(N - s / N) + mpmath.ncdf(N)
                majority = (R < 1) == (sign > 0)
                name = "majority" if majority else "minority"
                worst.see(f"imbalance effect, {name}", measured, exact, at)
                assert measured >= 0 or not majority
                for kind, (z, threshold) in {
                    "standard": (N, N), "robust_trained": (U, M), "robust": (M, M),
                }.items():  # fmt: skip
                    accuracy = getattr(result, kind)[0 if sign > 0 else 1]
                    worst.see(f"accuracy, {kind}", accuracy, mpmath.ncdf(z - s / threshold), at)
            half = abs(mpmath.log(mpmath.mpf(R))) / (2 * M)
            exact = mpmath.ncdf(half - U) - mpmath.ncdf(-half - U)
            worst.see("accuracy_disparity", accuracy_disparity(mu, m, R), exact, (mu, m, R))
    worst.check()
