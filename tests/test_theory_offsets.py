"""Class offsets from robust margins: golden values, invariants, and controls that must show no gain."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory.common.inputs import InputError
from theory.gaussian.fairness import fair_bias
from theory.networks.class_offsets import (
    RobustMargins,
    bagged_offsets,
    choose_offsets,
    cross_fitted,
    offsets_of_moments,
    offsets_within,
)

GOLDEN = RobustMargins(
    np.array([[0, -1, -2], [0, -0.5, -3], [0.4, 0, -1], [0.2, 0, -2], [-1, 0.3, 0], [-2, -0.1, 0]]),
    np.array([0, 0, 1, 1, 2, 2]),
)


def drawn(seed=0, n=60, classes=4, hard=1.5):
    """Return margins of which class 0 loses most, to all others."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), n)
    margins = rng.normal(-1.5, 1.0, (len(labels), classes))
    margins[labels == 0] += hard
    margins[np.arange(len(labels)), labels] = 0
    return RobustMargins(margins, labels)


def test_golden_values():
    assert GOLDEN.accuracies(np.zeros(3)).tolist() == [1, 0, 0.5]
    assert GOLDEN.accuracies(np.array([0, 0.45, 0.8])).tolist() == [1, 1, 1]
    assert GOLDEN.accuracies(np.array([0, 0.8, 0.45])).tolist() != [1, 1, 1]


@given(st.integers(0, 10**6), st.integers(0, 3), st.floats(0.01, 5))
def test_a_larger_offset_helps_its_class_alone_sample_by_sample(seed, c, amount):
    margins, rng = drawn(seed, 8), np.random.default_rng(seed)
    before = rng.normal(size=4)
    after = before.copy()
    after[c] += amount
    flags, own = [margins.robust(b) for b in (before, after)], margins.labels == c
    assert (flags[0] <= flags[1])[own].all() and (flags[0] >= flags[1])[~own].all()
    moved = margins.scores(before + amount)[0]
    assert np.allclose(moved, margins.scores(before)[0], atol=1e-12)


@pytest.mark.parametrize("t", [0.35, 0.5, 1.0])
def test_chosen_offsets_are_as_good_as_a_fine_grid(t):
    margins = drawn(3, 12, classes=3, hard=1.0)
    grid = np.linspace(-2.5, 2.5, 61)

    def value(b):
        accuracies = margins.accuracies(b)
        return (1 - t) * accuracies.mean() + t * accuracies.min()

    best = max(value(np.array([0, u, v])) for u, v in itertools.product(grid, grid))
    offsets = choose_offsets(margins, t)
    assert value(offsets) >= best - 0.02 and abs(offsets.mean()) < 1e-12
    assert value(np.zeros(3)) < best - 0.05  # else the check could not fail
    assert np.array_equal(offsets, choose_offsets(margins, t))


def test_the_worst_class_gains_on_new_samples_and_the_controls_do_not():
    """Controls: offsets permuted over classes, and chosen with labels that are shuffled."""
    rng = np.random.default_rng(0)
    chosen, permuted, shuffled, base = [], [], [], []
    for seed in range(6):
        fit, new = drawn(seed), drawn(100 + seed)
        offsets = bagged_offsets(fit)
        base.append(new.accuracies(np.zeros(4)).min())
        chosen.append(new.accuracies(offsets).min())
        permuted.append(new.accuracies(np.roll(offsets, rng.integers(1, 4))).min())
        rivals = ~np.eye(4, dtype=bool)[fit.labels]
        mixed = np.zeros_like(fit.margins)
        mixed[rivals] = rng.permutation(fit.margins[rivals].reshape(-1, 3)).ravel()
        shuffled.append(new.accuracies(bagged_offsets(RobustMargins(mixed, fit.labels))).min())
    assert np.mean(chosen) > np.mean(base) + 0.15
    assert np.mean(permuted) < np.mean(base) and np.mean(shuffled) < np.mean(base) + 0.05


def test_the_weight_falls_until_the_average_is_within_the_budget():
    """The network starts at offsets that are best on average, so that every gain of the worst class costs."""
    margins = gaussian(4.0, 1.0, 300)
    best = choose_offsets(margins, 0.0)
    margins = RobustMargins(margins.margins + best - best[margins.labels][:, None], margins.labels)
    weights = [offsets_within(margins, budget)[1] for budget in (0.0, 0.02, 0.5)]
    assert weights == sorted(weights) and weights[-1] == 0.7 and weights[0] < 0.7
    before = margins.robust(np.zeros(2))
    after = cross_fitted(margins, lambda part: bagged_offsets(part, 0.7, resamples=3))
    lost = before.astype(float) - after
    spent = lost.mean() - lost.std() / len(lost) ** 0.5
    assert spent > 0.01
    assert offsets_within(margins, spent + 1e-9)[1] == 0.7 > offsets_within(margins, spent - 1e-9)[1]
    assert offsets_within(margins, 0.0, weights=(0.7,)) == (pytest.approx(np.zeros(2)), 0.0)


def test_cross_fitting_counts_on_samples_that_were_not_seen():
    """With margins that are noise what is chosen on the samples themselves looks better than it is."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), 20)
    margins = RobustMargins(rng.normal(0, 1, (100, 5)), labels)
    inside = margins.accuracies(choose_offsets(margins, 1.0)).min()
    outside = margins.shares(cross_fitted(margins, lambda part: choose_offsets(part, 1.0)))
    assert outside.min() < inside


def gaussian(K, m, n, seed=0):
    """Return margins of the classes N(m, K^2) and N(-m, 1) of scores, for logits (score, -score)."""
    rng = np.random.default_rng(seed)
    plus, minus = m + K * rng.standard_normal(n), -m + rng.standard_normal(n)
    margins = np.zeros((2 * n, 2))
    margins[:n, 1], margins[n:, 0] = -2 * plus, 2 * minus
    return RobustMargins(margins, np.repeat([0, 1], n))


@pytest.mark.parametrize("K", [1.0, 2.0, 4.0])
def test_two_gaussian_classes_get_the_fair_bias_of_theory(K):
    """Of logits (s, -s) the classifier is sign(2 s + b_0 - b_1): half the difference is its bias."""
    m, margins = 1.3, gaussian(K, 1.3, 4000)
    fair = float(fair_bias(m, K))
    for offsets, close in ((offsets_of_moments(margins), 0.06), (choose_offsets(margins, 1.0), 0.15)):
        assert abs((offsets[0] - offsets[1]) / 2 - fair) < close
    errors = 1 - margins.accuracies(choose_offsets(margins, 1.0))
    assert abs(errors[0] - errors[1]) < 0.005
    if K > 1:
        assert abs(np.subtract(*margins.accuracies(np.zeros(2)))) > 0.05


WRONG = {
    "shape": (np.zeros((3, 2)), [0, 1]),
    "one class": (np.zeros((2, 1)), [0, 0]),
    "missing class": (np.zeros((2, 3)), [0, 1]),
    "nan": (np.array([[0, np.nan], [1, 0]]), [0, 1]),
    "empty": (np.zeros((0, 2)), []),
}


@pytest.mark.parametrize("name", WRONG)
def test_margins_that_do_not_fit_are_refused(name):
    margins, labels = WRONG[name]
    with pytest.raises(InputError):
        RobustMargins(margins, np.array(labels, np.int64))


def test_settings_out_of_range_are_refused():
    for call in (
        lambda: choose_offsets(GOLDEN, 2.0),
        lambda: offsets_within(GOLDEN, -1),
        lambda: cross_fitted(GOLDEN, choose_offsets),
    ):
        with pytest.raises(InputError):
            call()
