"""Verdicts of predictions against counts, from both sides: neither too many false alarms nor too few."""

import numpy as np
import pytest
from scipy import stats

from sim.learning.biases import chernoff_quantile, threshold_scale
from sim.testing.bands import BUDGET, RESOLUTION, bias_bands, judge, judge_mean, logistic_bands
from sim.testing.counting import compare_errors
from theory.claims.simulation import Distribution, Training
from theory.gaussian.linear import LinearClassifier
from theory.gaussian.mixture import GaussianMixture
from theory.gaussian.problem import optimal_classifier
from theory.gaussian.surrogate import logistic_optimum

MIXTURE = GaussianMixture(dim=4, eta=0.5, sigma=1.0, K=2.0)


@pytest.mark.parametrize("alpha", [0.2, 0.01, BUDGET])
@pytest.mark.parametrize("end", ["low", "high"])
def test_a_true_error_at_the_end_of_its_band_is_called_wrong_as_often_as_is_left_for_counting(alpha, end):
    """By enumeration of counts: half of alpha is training's, and a band is left on one side only.

    A tail of alpha / 4 is called wrong on that side; counts are discrete, which costs less than a fifth.
    """
    n, low, high = 20_000, 0.28, 0.32
    rate = {"low": low, "high": high}[end]
    k = np.arange(n + 1)
    near = k[stats.binom.pmf(k, n, rate) > 1e-15]
    edge = [int(i) for i in near if (i < low * n if end == "low" else i > high * n)]
    edge = edge if end == "high" else edge[::-1]  # away from the band
    first = next(i for i, k in enumerate(edge) if judge(0.3, (low, high), k, n, alpha).verdict == "differs")
    tail = stats.binom.cdf(edge[first], n, rate) if end == "low" else stats.binom.sf(edge[first] - 1, n, rate)
    assert 0.8 * alpha / 4 < tail <= alpha / 4
    assert judge(0.3, (low, high), edge[first], n, alpha).p_value == pytest.approx(2 * tail, rel=1e-9)
    assert judge(0.3, (low, high), edge[first - 1], n, alpha).p_value >= alpha / 2


def test_a_difference_that_is_called_detectable_is_the_smallest_that_is():
    """From the interval of a count at the end of the band, at the level of the test; golden by scipy."""
    n, alpha = 50_000, 1e-3
    verdicts = judge(0.3, (0.29, 0.31), 15_100, n, alpha)
    low = stats.binomtest(14_500, n).proportion_ci(1 - alpha / 2, "exact").low
    high = stats.binomtest(15_500, n).proportion_ci(1 - alpha / 2, "exact").high
    assert verdicts.detectable == pytest.approx(max(0.3 - low, high - 0.3), rel=1e-6)
    assert verdicts.interval == pytest.approx(
        stats.binomtest(15_100, n).proportion_ci(0.95, "exact"), rel=1e-6
    )


def test_an_estimate_is_called_wrong_as_often_as_allowed_and_sees_what_it_says():
    """Exact on the normal: the verdict turns where the two-sided tail is alpha; detectable leaves alpha /
    2.
    """
    alpha, deviation = 0.01, 0.004
    turn = stats.norm.ppf(1 - alpha / 2) * deviation
    for sign in (-1, 1):
        inside, outside = (judge_mean(0.2, 0.2 + sign * f * turn, deviation, alpha) for f in (0.999, 1.001))
        assert (inside.verdict, outside.verdict) == ("agrees", "differs")
        assert inside.p_value == pytest.approx(2 * stats.norm.sf(0.999 * turn / deviation))
    assert inside.interval == pytest.approx(stats.norm.interval(0.95, inside.measured, deviation), rel=1e-4)
    missed = stats.norm.cdf((turn - inside.detectable) / deviation)
    assert missed == pytest.approx(alpha / 2, rel=1e-6)
    wide = RESOLUTION / inside.detectable * deviation
    assert judge_mean(0.2, 0.2, 0.99 * wide, alpha).verdict == "agrees"
    assert judge_mean(0.2, 0.2, 1.01 * wide, alpha).verdict == "cannot tell"


def test_bands_of_training_leave_half_of_alpha():
    """In z-scores a band is theory's value plus and minus the quantile that alpha / 2 exceeds, on either
    side.
    """
    alpha, n = 0.04, 400_000
    optimum = logistic_optimum(MIXTURE, 0.1)
    centre, deviation = optimum.sample_z_scores(n, 0.2)
    for band, z, sd in zip(logistic_bands(optimum, n, 0.2, alpha), centre, deviation, strict=True):
        width = stats.norm.ppf(1 - alpha / 4) * sd
        assert stats.norm.ppf(band) == pytest.approx((z - width, z + width), rel=1e-9)
    best = optimal_classifier(MIXTURE, 0.1)
    law = Distribution(margin=best.margin, widths=best.scales)
    unit = threshold_scale(Training(distribution=law, rule="threshold", bias=best.bias), n // 2)
    width = unit * chernoff_quantile(alpha / 2)
    verdicts = zip(bias_bands(best, n, 0.2, alpha), best.z_scores(0.2), best.scales, strict=True)
    for band, z, scale in verdicts:
        assert stats.norm.ppf(band) == pytest.approx((z - width / scale, z + width / scale), rel=1e-9)


def test_the_budget_of_counted_errors_is_shared_by_their_number():
    """Two classes at each radius: alpha / (2 radii) each, seen in what each could have detected."""
    rng = np.random.default_rng(0)
    classifier = LinearClassifier(np.array([1.0, 0.0]), 0.0)
    samples = [sign + rng.normal(size=(2000, 2)) for sign in (1, -1)]
    predicted = {eps: (float(stats.norm.cdf(eps - 1)),) * 2 for eps in (0.0, 0.1, 0.2)}
    verdicts = compare_errors("w", classifier, samples, predicted, norm="linf", alpha=0.06)
    assert len(verdicts) == 6
    for named in verdicts:
        k = round(named.verdict.measured * 2000)
        p = named.verdict.predicted
        assert named.verdict == judge(p, (p, p), k, 2000, 0.06 / 6)
        assert named.verdict.detectable != judge(p, (p, p), k, 2000, 0.06 / 3).detectable


def test_true_predictions_raise_as_many_alarms_as_the_budget_says():
    """Without training a rate is called wrong with probability near alpha / 2; enumerated over all counts."""
    n, rate, alpha = 3000, 0.25, 0.1
    k = np.arange(550, 951)
    wrong = [judge(rate, (rate, rate), int(i), n, alpha).verdict == "differs" for i in k]
    assert 0.85 * alpha / 2 < stats.binom.pmf(k, n, rate)[wrong].sum() <= alpha / 2
