"""Class offsets that the Gaussian margins call best, against the closed form, a search and real margins."""

import numpy as np
import pytest
from scipy.special import ndtr

from theory.networks.class_offsets import RobustMargins, choose_offsets
from theory.networks.margin_model import MarginModel, MarginSamples
from theory.networks.predicted_offsets import predict_offsets, shifted


def pair(widths, drop=0.5, mean=1.0):
    off = 1 - np.eye(2)
    covariance = np.zeros((2, 2, 2))
    covariance[0, 1, 1], covariance[1, 0, 0] = np.square(widths)
    return MarginModel(mean * off, covariance, drop * off)


def test_offsets_of_a_pair_make_both_errors_equal():
    """With margin left m = 1 - drop, (m + d) / s_0 = (m - d) / s_1 at d = m (s_0 - s_1) / (s_0 + s_1)."""
    left = predict_offsets(pair((1.0, 3.0)), t=1.0)
    assert left.offsets[0] - left.offsets[1] == pytest.approx(0.5 * (1 - 3) / 4, abs=5e-3)
    assert left.after[1] == pytest.approx([ndtr(-0.25)] * 2, abs=1e-3)
    assert left.before[1] == pytest.approx(ndtr([-0.5, -0.5 / 3]), abs=1e-9)
    even = predict_offsets(pair((2.0, 2.0)), t=1.0)
    assert even.offsets == pytest.approx([0, 0], abs=1e-3)


def test_without_a_weight_of_the_worst_class_the_average_is_smallest():
    model = pair((1.0, 3.0))
    left = predict_offsets(model, t=0.0)
    assert left.after[1].mean() < left.before[1].mean()
    for step in (-0.2, 0.2):
        moved = shifted(model, left.offsets + np.array([step, -step])).errors(attacked=True)
        assert moved.mean() > left.after[1].mean()


def test_what_is_predicted_is_what_offsets_do_to_samples_of_such_margins():
    """And a control: the offsets of the model permuted over classes do not lift the worst class."""
    rng, size, n = np.random.default_rng(1), 4, 4000
    labels = np.repeat(np.arange(size), n)
    mean, root = rng.uniform(1, 2, (size, size)), rng.normal(size=(size, size, size))
    margin = mean[labels] + np.einsum("nij,nj->ni", root[labels], rng.normal(size=(len(labels), size)))
    rivals = ~np.eye(size, dtype=bool)[labels]
    margin, drop = margin * rivals, 0.4 * rivals
    model = MarginModel.fit(MarginSamples(labels, margin, drop))
    left = predict_offsets(model)
    samples = RobustMargins(drop - margin, labels)
    counted = 1 - samples.accuracies(left.offsets)
    assert counted == pytest.approx(left.after[1], abs=0.03)
    best = 1 - samples.accuracies(choose_offsets(samples))
    assert counted.max() == pytest.approx(best.max(), abs=0.04)
    before = 1 - samples.accuracies(np.zeros(size))
    assert counted.max() < before.max() - 0.03
    assert (1 - samples.accuracies(left.offsets[[1, 2, 3, 0]])).max() > before.max()
