"""Linear adversarial training that minimises the 0/1 error: one sort for the bias."""

import numpy as np
import numpy.typing as npt

from theory.linear import LinearClassifier

__all__ = ["train_bias"]

Array = npt.NDArray[np.float64]


def train_bias(weights: Array, plus: Array, minus: Array, eps: float) -> LinearClassifier:
    """Return the classifier with the given weights and the bias that has the fewest robust training errors.

    It is infinite where a constant classifier has the fewest. A sample of class +1 is in error while
    b <= eps ||w||_1 - w.x, one of class -1 once b >= -eps ||w||_1 - w.x: one pass over the sorted thresholds
    finds the exact minimum.

    Args:
        weights: w, shape (d,).
        plus: scores w.x of class +1, shape (n,).
        minus: scores w.x of class -1, shape (n,).
        eps: l-infinity radius at training; 0 trains naturally.
    """
    reach = eps * np.abs(weights).sum()
    thresholds = np.concatenate([reach - plus, -reach - minus])
    order = np.argsort(thresholds)
    steps = np.where(order < len(plus), -1, 1)
    excess = np.cumsum(steps)  # errors beyond those of always -1, just above each threshold
    best = int(np.argmin(excess))
    if excess[best] >= 0:
        return LinearClassifier(weights, -np.inf)
    if best == len(order) - 1:
        return LinearClassifier(weights, np.inf)
    return LinearClassifier(weights, float(thresholds[order[best : best + 2]].mean()))
