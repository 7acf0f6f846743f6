"""Class errors of any linear classifier on the Gaussian mixture, in probabilities and in logs."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr, ndtr

from theory.gaussian.mixture import GaussianMixture

__all__ = ["LinearClassifier", "error", "log_error"]

ZScores = tuple[float, float]


@dataclass(frozen=True)
class LinearClassifier:
    """The classifier sign(w.x + b).

    Args:
        weights: w, shape (d,), not all zero.
        bias: b.
    """

    weights: npt.NDArray[np.float64]
    bias: float

    def z_scores(self, mixture: GaussianMixture, eps: float = 0.0) -> ZScores:
        """Return (z_+, z_-): class y is misclassified with probability Phi(z_y).

        An l-infinity adversary of radius eps lowers y(w.x + b) by exactly eps ||w||_1
        (Hoelder, with equality), so for both classes

            z_+ = (-b - w.mean + eps ||w||_1) / (K sigma ||w||_2)
            z_- = (+b - w.mean + eps ||w||_1) / (sigma ||w||_2)

        Args:
            mixture: the class-conditional laws, with d = len(weights).
            eps: radius, in units of x; 0 gives the natural error.
        """
        wide, narrow = mixture.scales
        margin = mixture.eta * self.weights.sum() - eps * np.abs(self.weights).sum()
        norm = np.linalg.norm(self.weights)
        return (float((-self.bias - margin) / (wide * norm)), float((self.bias - margin) / (narrow * norm)))


def error(z: float) -> float:
    """Return the error Phi(z); it underflows to 0 below z = -38, where `log_error` does not."""
    return float(ndtr(z))


def log_error(z: float) -> float:
    """Return ln Phi(z), accurate in both tails."""
    return float(log_ndtr(z))
