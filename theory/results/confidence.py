"""How far confidence and margins can be trusted, by class: calibration, over-confidence, margin scores."""

import math

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax

__all__ = ["calibration", "margin_score"]

Array = npt.NDArray[np.float64]
BINS = 15
"""Of equal width, as in Guo et al. (2017), "On Calibration of Modern Neural Networks"."""


def calibration(confidence: npt.ArrayLike, right: npt.ArrayLike, bins: int = BINS) -> dict[str, float]:
    """Return how far the confidence of some samples is from how often they are right.

    "ece" is the expected calibration error, the mean over samples of the distance of accuracy and mean
    confidence in the bin of the sample; "overconfidence" is the mean confidence minus the accuracy, whose
    size is never larger; "wrong" is the mean confidence of the samples that are wrong, nan if none is.

    Args:
        confidence: the largest probability of each sample, from 0 to 1, shape (n,).
        right: whether the sample is classified right, shape (n,).
        bins: equal parts of 0 to 1.

    Example:
        >>> found = calibration([.95, .9, .85, .6, .55, .99], [1, 0, 1, 1, 0, 1])
        >>> {name: round(value, 3) for name, value in found.items()}
        {'ece': 0.21, 'overconfidence': 0.14, 'wrong': 0.725}
    """
    c, ok = np.asarray(confidence, float), np.asarray(right, bool)
    place = np.clip(np.ceil(c * bins).astype(int) - 1, 0, bins - 1)  # bins are open below, closed above
    difference = np.bincount(place, c - ok, minlength=bins)
    return {
        "ece": float(np.abs(difference).sum() / len(c)),
        "overconfidence": float((c - ok).mean()),
        "wrong": float(c[~ok].mean()) if (~ok).any() else math.nan,
    }


def margin_score(logits: npt.ArrayLike, labels: npt.ArrayLike, *, link: str = "softmax") -> Array:
    """Return the score sqrt(pi/2) (g_y - max_{j != y} g_j)_+ of each sample, shape (n,).

    Its mean over samples of a generator bounds the mean l2 distance of the nearest adversarial example from
    below, in the space of the generator's noise, if g lies in [0, 1] (Li, Chen and Ho, NeurIPS 2024, "GREAT
    Score"); the means of classes are the GF-Score. Over other samples it is a score and no bound, and scores
    of models whose logits have other scales do not compare.

    Args:
        logits: of each sample, shape (n, classes).
        labels: the class of each sample, shape (n,).
        link: what makes g of logits, softmax or sigmoid.

    Example:
        >>> margin_score([[2, 1, -1], [.5, .2, 1.5]], [0, 2], link="sigmoid").round(8)
        array([0.18766938, 0.24454057])
    """
    z, y = np.asarray(logits, float), np.asarray(labels)
    g = expit(z) if link == "sigmoid" else softmax(z, axis=1)
    label = np.take_along_axis(g, y[:, None], axis=1)[:, 0]
    np.put_along_axis(g, y[:, None], -np.inf, axis=1)
    return np.asarray(math.sqrt(math.pi / 2) * np.maximum(label - g.max(axis=1), 0))
