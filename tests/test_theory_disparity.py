"""Disparity beside accuracy: spread, order and spread at equal average, with intervals that cover."""

import numpy as np
import pytest

from theory.results.counts import ClassErrors
from theory.results.disparity import excess_spread, same_order, spread

N = 500


def counted(rates, rng=None, n=N):
    rates = np.asarray(rates, float)
    k = np.round(rates * n).astype(int) if rng is None else rng.binomial(n, rates)
    return ClassErrors(tuple(map(str, range(len(k)))), (n,) * len(k), tuple(k.tolist()), (n,) * len(k))


def line(average, slope, classes=10):
    """Return errors of classes whose spread is ``slope`` times their average."""
    shape = np.linspace(-1, 1, classes)
    return average * (1 + slope * shape / shape.std())


def test_a_network_on_the_line_has_no_excess_and_one_off_it_has_all_of_it():
    ladder = [counted(line(a, 0.3)) for a in (0.1, 0.2, 0.4, 0.5)]
    assert excess_spread(counted(line(0.3, 0.3)), ladder, "natural_error").value == pytest.approx(0, abs=2e-3)
    off = excess_spread(counted(line(0.3, 0.5)), ladder[::-1], "natural_error")
    assert off.value == pytest.approx(0.3 * 0.2, abs=2e-3) and off.low > 0
    assert excess_spread(counted(line(0.3, 0.1)), ladder, "natural_error").high < 0
    assert excess_spread(counted(line(0.6, 0.3)), ladder, "natural_error") is None
    assert excess_spread(counted(line(0.3, 0.3)), ladder[:1], "natural_error") is None


@pytest.mark.parametrize("what", ["spread", "excess"])
def test_intervals_cover_as_often_as_they_say_and_are_not_too_wide(what):
    rng = np.random.default_rng(5)
    hits, trials = 0, 200
    for trial in range(trials):
        if what == "spread":
            estimate, truth = spread(counted(line(0.3, 0.5), rng), "natural_error", trial), 0.15
        else:
            ladder = [counted(line(a, 0.5), rng) for a in (0.2, 0.4)]
            estimate, truth = (
                excess_spread(counted(line(0.3, 0.6), rng), ladder, "natural_error", trial),
                0.03,
            )
        hits += estimate.low <= truth <= estimate.high
    assert 0.91 * trials <= hits <= 0.99 * trials, hits / trials


def test_the_order_of_classes_is_that_of_kendall():
    a = counted(line(0.3, 0.5))
    assert same_order(a, a, "natural_error").value == 1
    b = counted(line(0.3, 0.5)[::-1])
    turned = same_order(a, b, "natural_error")
    assert turned.value == 0 and turned.high < 0.2
    assert same_order(a, counted([0.3] * 10), "natural_error").value == 0.5
    swapped = line(0.3, 0.5)
    swapped[[4, 5]] = swapped[[5, 4]]
    assert same_order(a, counted(swapped), "natural_error").value == pytest.approx(44 / 45)
