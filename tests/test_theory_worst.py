"""The worst class corrected for being picked, and the spread of equal classes: from both sides."""

import numpy as np
import pytest

from theory.results.counts import exact_interval
from theory.results.intervals import worst_set
from theory.results.worst import null_spread, worst_interval

TRIALS = 2000


def drawn(rates, n, trials=TRIALS, seed=0):
    return np.random.default_rng(seed).binomial(n, rates, (trials, len(rates)))


def misses(rates, n, seed=0):
    """Return how often each end fails for the largest rate, and the low end for the class named."""
    rates, n = np.asarray(rates), np.asarray(n)
    counts = [worst_interval(k, n) for k in drawn(rates, n, seed=seed)]
    above = np.mean([low > rates.max() for _, low, _ in counts])
    named = np.mean([low > rates[w] or high < rates[w] for w, low, high in counts])
    below = np.mean([high < rates.max() for _, _, high in counts])
    return above, below, named


@pytest.mark.parametrize(
    ("rates", "n"),
    [
        ([0.5] * 10, [1000] * 10),
        ([0.1, 0.2, 0.3, 0.8], [200] * 4),
        ([0.3] * 4, [20, 500, 500, 2000]),
        ([0.02] * 5, [50] * 5),
    ],
)
def test_the_worst_is_covered(rates, n):
    above, below, named = misses(rates, n)
    slack = 3 * np.sqrt(0.025 / TRIALS)  # three standard errors of a share of 2.5 %
    assert above <= 0.025 + slack and below <= 0.025 + slack and named <= 0.05 + 2 * slack


def test_no_end_is_too_wide():
    """Equal classes use the low end up, one class far above the others the high end."""
    slack = 3 * np.sqrt(0.025 / TRIALS)
    assert misses([0.5] * 10, [1000] * 10)[0] >= 0.018 - slack
    assert misses([0.01, 0.01, 0.5], [1000] * 3)[1] >= 0.019 - slack


def test_the_interval_of_the_class_picked_misses_when_classes_are_equal():
    """The negative control: without the correction the named class is missed far more often than 5 %."""
    counts, n = drawn([0.5] * 10, 1000), 1000
    naive = np.mean([exact_interval(k.max(), n)[0] > 0.5 for k in counts])
    assert naive > 0.15 > misses([0.5] * 10, [1000] * 10)[2]


def test_the_set_that_may_be_the_worst_has_the_worst():
    rates, n = np.array([0.5, 0.5, 0.5, 0.2]), 300
    sets = [worst_set(k, np.full(4, n)) for k in drawn(rates, n, 1000)]
    left_out = [np.mean([c not in s for s in sets]) for c in range(4)]
    assert max(left_out[:3]) <= 0.05 and left_out[3] > 0.99


@pytest.mark.parametrize(("rate", "n"), [(0.3, [100] * 10), (0.5, [30, 300, 100])])
def test_the_spread_of_equal_classes_is_what_chance_makes(rate, n):
    counts = drawn([rate] * len(n), n, 500, seed=1)
    spread = (counts / n).std(axis=1)
    expected, p = np.array([null_spread(k, n, draws=199) for k in counts]).T
    assert abs((spread**2).mean() / (expected**2).mean() - 1) < 0.15
    for level in (0.05, 0.2, 0.5):  # exact: neither too often nor too seldom
        assert abs((p <= level).mean() - level) <= 3.5 * np.sqrt(level * (1 - level) / 500) + 0.005


def test_unequal_classes_spread_more_than_chance():
    expected, p = null_spread([100, 300, 300], [1000] * 3)
    assert p <= 0.001 and expected < 0.02 < np.std([0.1, 0.3, 0.3])


def test_one_sample_has_no_spread():
    assert null_spread([1], [1]) == (0.0, 1.0)
