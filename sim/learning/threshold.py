"""Linear adversarial training that minimises the 0/1 error: one sort for the bias."""

import numpy as np
import numpy.typing as npt

from theory.gaussian.linear import LinearClassifier

__all__ = ["Thresholds", "train_bias"]

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
    shift = eps * np.abs(weights).sum()
    return LinearClassifier(weights, Thresholds(shift - plus, -shift - minus).best())


class Thresholds:
    """Samples sorted once, for the bias with the smallest weighted number of errors at any weights.

    Args:
        plus: bias at and below which each sample of class +1 is in error, shape (n,).
        minus: bias from which each sample of class -1 is in error, shape (n,).
    """

    def __init__(self, plus: Array, minus: Array) -> None:
        """Sort."""
        thresholds = np.concatenate([plus, minus])
        order = np.argsort(thresholds)
        self._thresholds = thresholds[order]
        self._won = np.cumsum(order < len(plus))  # of class +1, just above each threshold
        self._lost = np.arange(1, len(order) + 1) - self._won  # of class -1

    def best(self, log_odds: float = 0.0) -> float:
        """Return the best bias; infinite where a constant classifier is best.

        Args:
            log_odds: ln of the weight of an error of class +1 over one of class -1.
        """
        excess = self._lost - np.exp(log_odds) * self._won  # errors beyond those of always -1
        best = int(np.argmin(excess))
        if excess[best] >= 0:
            return -np.inf
        if best == len(excess) - 1:
            return np.inf
        return float(self._thresholds[best : best + 2].mean())
