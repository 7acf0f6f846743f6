"""Constrained problems over arrays of settings, and the front of average error against gap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

from theory.common.inputs import InputError
from theory.gaussian.class_distance import gap_slope
from theory.gaussian.constrained import frl, natural_constraint, pareto_front
from theory.gaussian.fairness import (
    bias_z_scores,
    critical_margin,
    fair_bias,
    fair_error,
    price_of_fairness,
    reachable_bias,
    robust_fairness_by_reweight,
)
from theory.gaussian.optimal import optimal_z_scores

MARGINS, RATIOS, TAUS = np.array([0.2, 1.0, 3.0]), np.array([[1.5], [4.0]]), 0.05


def test_arrays_give_what_single_settings_give():
    both = frl(MARGINS, 1.0, RATIOS, TAUS)
    bias, odds = reachable_bias(MARGINS, 1.0, RATIOS)
    natural = natural_constraint(MARGINS + 0.1, MARGINS, 1.0, RATIOS, TAUS)
    slope = gap_slope(MARGINS, 1.0, RATIOS)
    assert both.bias.shape == bias.shape == natural[0].shape == slope.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            m, K = MARGINS[j], RATIOS[i, 0]
            one = frl(m, 1.0, K, TAUS)
            for field in ("bias", "active", "multiplier", "objective", "duality_gap"):
                assert getattr(both, field)[i, j] == pytest.approx(getattr(one, field), rel=1e-12)
            assert (bias[i, j], odds[i, j]) == pytest.approx(reachable_bias(m, 1.0, K), rel=1e-12)
            assert natural[1][i, j] == pytest.approx(natural_constraint(m + 0.1, m, 1.0, K, TAUS)[1])
            assert slope[i, j] == pytest.approx(gap_slope(m, 1.0, K))


@given(st.floats(0.2, 4), st.floats(1.1, 5))
def test_slope_of_the_gap_is_a_derivative_and_changes_sign_with_the_classes(m, K):
    step = 1e-5
    plus, minus = (ndtr(z) for z in optimal_z_scores(np.array([m - step, m + step]), 1.0, K))
    assert float(gap_slope(m, 1.0, K)) == pytest.approx(
        np.diff(plus - minus)[0] / (2 * step), rel=1e-3, abs=1e-9
    )
    assert gap_slope(m, 1.0, K) < 0 < gap_slope(m, K, 1 / K)


@given(st.floats(-1, 4), st.floats(0.2, 5).filter(lambda K: abs(K - 1) > 0.01))
def test_no_bias_beats_the_front(m, K):
    front = pareto_front(m, 1.0, K, 200)
    assert (np.diff(front.average) >= -1e-15).all() and (np.diff(front.gap) <= 1e-15).all()
    assert front.gap[-1] == pytest.approx(0, abs=1e-12)
    assert front.average[-1] == pytest.approx(float(fair_error(m, 1.0, K)))
    price = float(price_of_fairness(m, 1.0, K))
    assert front.average[-1] - front.average[0] == pytest.approx(price, abs=1e-12)
    others = [ndtr(z) for z in bias_z_scores(np.linspace(-20, 20, 4001), m, 1.0, K)]
    average, gap = (others[0] + others[1]) / 2, np.abs(others[0] - others[1])
    for a, g in zip(front.average[::20], front.gap[::20], strict=True):
        assert not ((average < a - 1e-12) & (gap < g - 1e-12)).any()


def test_a_bias_past_the_fair_one_is_beaten_by_the_front():
    front = pareto_front(1.0, 1.0, 2.0)
    plus, minus = (float(ndtr(z)) for z in bias_z_scores(float(fair_bias(1.0, 2.0)) + 0.3, 1.0, 1.0, 2.0))
    assert ((front.average < (plus + minus) / 2) & (front.gap <= abs(plus - minus))).any()


def test_reweighting_reaches_the_front_up_to_its_jump():
    front = pareto_front(0.5, 1.0, 4.0)
    limit, _ = reachable_bias(0.5, 1.0, 4.0)
    assert (front.reachable == (front.bias < limit)).all()
    assert front.reachable.any() and not front.reachable.all()
    assert pareto_front(4.0, 1.0, 2.0).reachable.all()


@pytest.mark.parametrize(
    "call",
    [
        lambda: frl([1.0, np.nan], 1.0, 2.0, 0.1),
        lambda: frl(1.0, [1.0, 0.0], 2.0, 0.1),
        lambda: frl(1.0, 1.0, 2.0, [0.1, 0.6]),
        lambda: frl([1.0, -1.0], 1.0, 1.0, 0.1),
        lambda: natural_constraint(1.0, [0.5, 1.5], 1.0, 2.0, 0.1),
        lambda: reachable_bias(1.0, 1.0, [2.0, 1.0]),
        lambda: gap_slope(1.0, 1.0, [2.0, 1.0]),
        lambda: pareto_front(1.0, 1.0, 2.0, 1),
        lambda: pareto_front(1.0, 1.0, 2.0, True),
    ],
)
def test_bad_settings_are_refused(call):
    with pytest.raises(InputError, match="must"):
        call()


@pytest.mark.parametrize("K", [0.25, 0.8, 1.0, 1.5, 4.0])
def test_beyond_the_critical_margin_equal_errors_cost_less_than_one_class(K):
    """With odds K on class +1 a constant classifier costs min(1, K), the fair one (K + 1) times its error."""
    for margin, better in ((1.001, True), (0.999, False)):
        m = margin * float(critical_margin(0.7, K)) + (0.001 if margin > 1 else -0.001) * (K == 1)
        assert ((K + 1) * fair_error(m, 0.7, K) < min(1.0, K)) == better
        assert bool(robust_fairness_by_reweight(m, 0.7, K)) == better
