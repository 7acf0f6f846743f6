"""Floors of any classifier, and the ball that no linear classifier is."""

import mpmath
import numpy as np
import pytest
from golden import agrees, golden
from scipy.special import ndtr

from theory.common.inputs import InputError
from theory.gaussian.normal import normal_difference
from theory.variants.ball_classifier import ball_errors, ball_radius_limit, best_ball
from theory.variants.floors import average_floor, pair_distance, two_class_floor, worst_class_floor
from theory.variants.imbalance import covariance_direction


@golden("E1")
def test_two_class_floor(case, value):
    floor = two_class_floor(case["theta"], case["sigma"], case["eps"], "l" + case["p"], case["pi"])
    assert agrees(vars(floor), value)


@golden("E2")
def test_floors_of_many_classes(case, value):
    args = case["means"], case["sigma"], case["eps"]
    measured = {"worst_class_floor": worst_class_floor(*args), "average_floor": average_floor(*args)}
    assert agrees(measured, value)


def test_a_distance_is_cut_at_zero_and_a_floor_is_then_the_smaller_prior():
    assert pair_distance([1.0, 0.0], 1.0, 1.5) == 0 == pair_distance([0.0], 1.0, 0.0)
    assert two_class_floor([1.0], 1.0, 1.5, prior=0.2).R == 0.2
    near = two_class_floor([1.0], 1.0, 1 - 1e-9, prior=0.2)
    assert near.R == pytest.approx(0.2) and near.R_plus == pytest.approx(1)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_covariance_gives_the_floor_that_its_linear_optimum_attains(norm):
    S = np.array([[1.0, 0.3], [0.3, 0.5]])
    theta = np.array([1.0, -0.7])
    w, m, mu = covariance_direction(theta, S, 0.3, norm)
    assert two_class_floor(theta, S, 0.3, norm).R == pytest.approx(float(ndtr(-m)), rel=1e-9)
    assert two_class_floor(theta, 2.0, 0.3, norm).a == pytest.approx(
        two_class_floor(theta, 4 * np.eye(2), 0.3, norm).a, rel=1e-9
    )
    assert mu > m and w.shape == (2,)


def test_the_linear_optimum_violates_wrong_floors():
    """Twice the floor, and a radius for one class alone."""
    a = 0.7
    attained = float(ndtr(-a))
    assert attained >= two_class_floor([1.0], 1.0, 0.3).R * (1 - 1e-12)
    assert attained < 2 * two_class_floor([1.0], 1.0, 0.3).R
    assert attained < ndtr(-(1.0 - 0.3 - 0.15))  # more taken than the ball allows


def test_a_matching_is_the_heaviest():
    rng = np.random.default_rng(0)
    for C in (4, 5, 7):
        means = rng.normal(size=(C, 3)) * 2
        floors = ndtr(-np.linalg.norm(means[:, None] - means[None], axis=2) / 2)

        def heaviest(left, floors=floors):
            if len(left) < 2:
                return 0.0
            first, *others = left
            return max(
                heaviest(others),
                *(floors[first, j] + heaviest([k for k in others if k != j]) for j in others),
            )

        assert average_floor(means, 1.0, 0.0) == pytest.approx(2 / C * heaviest(list(range(C))), rel=1e-12)


@golden("E5")
def test_ball_errors(case, value):
    plus, minus = ball_errors(
        case["d"], case["mu"], case["sigma"], case["K"], case["c"], case["r"], case["eps"]
    )
    assert agrees({"R_plus": plus, "R_minus": minus}, value)


@golden("E5r")
def test_best_ball(case, value):
    best = best_ball(case["d"], case["sigma"], case["K"], case["eps"])
    assert agrees({"r": best.radius, "R_plus": best.R_plus, "R_minus": best.R_minus}, value)


def test_ball_errors_in_the_tails():
    """Against mpmath's own gamma functions, where the noncentral law has almost no mass."""

    def exact(x, d, shift, upper):
        with mpmath.workdps(40):
            h = mpmath.mpf(shift) / 2
            ends = (mpmath.mpf(x) / 2, mpmath.inf) if upper else (0, mpmath.mpf(x) / 2)
            term = lambda j: mpmath.exp(-h) * h**j / mpmath.factorial(j)  # noqa: E731
            return float(
                sum(
                    term(j) * mpmath.gammainc(mpmath.mpf(d) / 2 + j, *ends, regularized=True)
                    for j in range(400)
                )
            )

    for d, mu, center, r in ((1, 2.0, -2.0, 12.0), (10, 1.0, -3.0, 14.0), (3, 6.0, -6.0, 0.5)):
        plus, minus = ball_errors(d, mu, 1.0, 1.5, center, r, 0.2)
        assert plus == pytest.approx(
            exact(((r + 0.2) / 1.5) ** 2, d, ((mu - center) / 1.5) ** 2, False), rel=1e-10
        )
        assert minus == pytest.approx(exact((r - 0.2) ** 2, d, (mu + center) ** 2, True), rel=1e-10)


def test_equal_widths_leave_a_ball_nothing():
    rng = np.random.default_rng(1)
    for _ in range(50):
        d, r = int(rng.integers(1, 30)), rng.uniform(0, 8)
        plus, minus = ball_errors(d, 0.0, 1.0, 1.0, 0.0, r, rng.uniform(0, 1))
        assert plus + minus >= 1 - 1e-14


def test_a_ball_wins_below_its_radius_in_many_dimensions_and_not_above():
    for d in (1000, 10_000):
        limit = ball_radius_limit(d, 1.0, 1.5)
        assert limit == pytest.approx(ball_radius_limit(d, 1.0, 1.5, "linf") * d**0.5)
        best = best_ball(d, 1.0, 1.5, 0.7 * limit)
        assert best.R_plus + best.R_minus < 0.01
        with pytest.raises(InputError, match="no ball"):
            best_ball(d, 1.0, 1.5, 1.4 * limit)


def test_differences_of_normal_probabilities():
    rng = np.random.default_rng(0)
    with mpmath.workdps(60):
        for _ in range(2000):
            a = rng.uniform(-35, 35)
            b = a + rng.choice([-1, 1]) * 10 ** rng.uniform(-12, 1)
            lo, hi = (-max(a, b), -min(a, b)) if a + b > 0 else (min(a, b), max(a, b))
            exact = mpmath.ncdf(mpmath.mpf(hi)) - mpmath.ncdf(mpmath.mpf(lo))
            assert float(normal_difference(b, a)) == pytest.approx(float(exact) * np.sign(b - a), rel=1e-12)
    assert float(normal_difference(np.inf, -np.inf)) == 1 and float(normal_difference(np.inf, 37.0)) > 0
