"""Digits of counts: exact, rounded once, and the same in whatever order anything is summed."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from theory.common.digits import exact_mean, percent, rounded
from theory.results.counts import ClassErrors, mean_interval
from theory.results.methods import MethodId
from theory.results.paired import Pair, average_over, change_of
from theory.results.protocols import Comparison


@pytest.mark.parametrize(
    "share, shown",
    [
        (-0.0075, "-0.8"),
        (0.0075, "+0.8"),
        (0.0625, "+6.3"),
        (-0.0005, "-0.1"),
        (-0.0004, "-0.0"),
        (0, "+0.0"),
    ],
)
def test_half_way_goes_away_from_zero_on_either_side_of_the_double(share, shown):
    for step in (-np.inf, np.inf):
        near = share
        for _ in range(4):
            near = float(np.nextafter(near, step))
            assert percent(near, signed=True) == shown
    assert percent(share, signed=True) == shown


def test_shares_of_counts_are_rounded_as_fractions():
    """Every share of up to 400 samples over 3 seeds, against integers alone."""
    for n in (80, 200, 333, 400, 1200):
        for k in range(n + 1):
            tenths = math.floor(Fraction(1000 * k, n) + Fraction(1, 2))
            assert percent(k / n) == f"{tenths // 10}.{tenths % 10}", (k, n)


def test_what_is_no_number_or_very_large_is_shown():
    assert (rounded(math.nan), rounded(math.inf, signed=True), rounded(-1e30)[:4]) == ("nan", "+inf", "-100")
    assert rounded(0.125) == "0.13" and rounded(1.005) == "1.01" and rounded(-0.0, signed=True) == "+0.00"


def test_a_mean_does_not_depend_on_the_order_of_its_sum():
    values = [0.1, 0.2, 0.3, 0.6, 0.7, 1e-17, 0.15]
    assert len({float(np.sum(p)) for p in itertools.permutations(values)}) > 1  # a plain sum does
    assert len({exact_mean(p) for p in itertools.permutations(values)}) == 1
    assert len({mean_interval(p)[0] for p in itertools.permutations(values)}) == 1


def pair(errors, n=400):
    base, method = (np.arange(n) < k for k in errors)
    return Pair(np.arange(n), np.arange(n) % 10, base, method)


def test_a_change_is_that_of_the_counts():
    """-0.75 points on average; with weights of 1 / n a sum of doubles ends on either side of it."""
    pairs = [pair((203, 200)), pair((103, 100))]
    for order in (pairs, pairs[::-1]):
        assert change_of(order, average_over()).mean == -3 / 400
    three = [pair((210, 211)), pair((105, 107)), pair((33, 30))]
    each = [
        Fraction(int(p.method[p.labels == c].sum()) - int(p.base[p.labels == c].sum()), 40)
        for p in three
        for c in (3, 1, 7)
    ]
    for order in itertools.permutations(three):
        found = change_of(order, average_over([3, 1, 7]))
        assert found.mean == float(sum(each) / len(each))
        assert sorted(found.seeds) == sorted(float(sum(each[i : i + 3]) / 3) for i in (0, 3, 6))


def test_tables_print_a_tie_the_same_for_every_order_of_seeds():
    counts = [ClassErrors(("a", "b"), (200, 200), (k, 9), (k, 9)) for k in (29, 27, 6, 90, 1)]
    methods = {"PGD": MethodId("pgd")}
    tables = [
        Comparison(
            {"dataset": "d", "model": "m", "width": 1, "epochs": 1, "n_train": 1, "attack": "x"},
            runs,
            methods,
        )
        for runs in ({"PGD": dict(enumerate(order))} for order in itertools.permutations(counts))
    ]
    assert {t.class_table().rows[0][1].split()[0] for t in tables} == {"15.3"}  # 153 of 1000
    assert len({tuple(map(tuple, t.class_table().rows)) for t in tables}) == 1
