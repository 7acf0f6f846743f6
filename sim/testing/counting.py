"""Errors counted on samples in full dimension, each moved by the worst perturbation of its norm."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from sim.testing.bands import NamedVerdict, judge
from theory.gaussian.linear import LinearClassifier
from theory.gaussian.mixture import CLASSES
from theory.results.counts import QUANTITIES

__all__ = ["SAMPLES", "attack", "compare_errors"]

Array = npt.NDArray[np.float64]

SAMPLES = 200_000
"""Samples of each class."""


def attack(x: Array, label: int, weights: Array, eps: float, norm: str) -> Array:
    """Return samples of a class, each moved to the point of its ball where y w.x is smallest.

    Args:
        x: samples, shape (n, d).
        label: y, +1 or -1.
        weights: w, shape (d,), not all 0.
        eps: radius of the ball.
        norm: its norm. linf moves every coordinate by eps against the sign of w, l2 along w, l1 the
            coordinate with the largest weight alone.
    """
    shift = np.zeros_like(weights)
    if norm == "linf":
        shift = -eps * label * np.sign(weights)
    elif norm == "l2":
        shift = -eps * label * weights / np.linalg.norm(weights)
    else:
        largest = int(np.abs(weights).argmax())
        shift[largest] = -eps * label * np.sign(weights[largest])
    size = np.linalg.norm(shift, {"linf": np.inf, "l2": 2, "l1": 1}[norm])
    assert np.isclose(size, eps, rtol=1e-12), (size, eps)
    return np.asarray(x + shift)


def compare_errors(
    name: str,
    classifier: LinearClassifier,
    samples: Sequence[Array],
    predicted: Mapping[float, tuple[float, float]],
    *,
    norm: str,
    alpha: float,
) -> list[NamedVerdict]:
    """Compare the errors of both classes at each radius with theory.

    Args:
        name: of the classifier.
        classifier: a score of 0 is an error of either class.
        samples: of class +1 and of class -1, each of shape (n, d).
        predicted: by radius, the errors of class +1 and of class -1; radius 0 is no attack.
        norm: of the attack.
        alpha: probability that any of these predictions is called wrong although it is true.
    """
    share = alpha / (2 * len(predicted))
    out = []
    for eps, errors in predicted.items():
        what = QUANTITIES[2 if eps else 0].replace("_", " ")
        for y, label, x, p in zip((1, -1), CLASSES, samples, errors, strict=True):
            moved = attack(x, y, classifier.weights, eps, norm) if eps else x
            wrong = int((y * (moved @ classifier.weights + classifier.bias) <= 0).sum())
            verdict = judge(p, (p, p), wrong, len(x), share)
            out.append(NamedVerdict(f"{what} of {label}, {name}", verdict))
    return out
