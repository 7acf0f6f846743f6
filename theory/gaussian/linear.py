"""Class errors of any linear classifier on the Gaussian mixture, in probabilities and in logs."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr, ndtr

from theory.common.inputs import Radius, check_radius
from theory.gaussian.mixture import GaussianMixture

__all__ = ["GaussianErrors", "LinearClassifier", "between", "error", "log_error"]

ZScores = tuple[float, float]
"""(z_+, z_-): class y errs with probability Phi(z_y)."""


@dataclass(frozen=True)
class GaussianErrors:
    """Exact class errors of a linear classifier of two Gaussian classes; pairs are of (+1, -1).

    Args:
        natural_z: z-scores without an attack.
        robust_z: z-scores under the attack, each at least that without.
    """

    natural_z: ZScores
    robust_z: ZScores

    @property
    def natural(self) -> tuple[float, float]:
        """Probabilities of an error without an attack."""
        return error(self.natural_z[0]), error(self.natural_z[1])

    @property
    def robust(self) -> tuple[float, float]:
        """Probabilities of an error with or without the attack."""
        return error(self.robust_z[0]), error(self.robust_z[1])

    @property
    def boundary(self) -> tuple[float, float]:
        """Probabilities of an error under the attack alone: robust = natural + boundary (Xu et al., 2021)."""
        plus, minus = (between(a, b) for a, b in zip(self.natural_z, self.robust_z, strict=True))
        return plus, minus


@dataclass(frozen=True)
class LinearClassifier:
    """The classifier sign(w.x + b).

    Args:
        weights: w, shape (d,), not all zero.
        bias: b.
    """

    weights: npt.NDArray[np.float64]
    bias: float

    def z_scores(self, mixture: GaussianMixture, eps: Radius = 0.0) -> ZScores:
        """Return (z_+, z_-): class y is misclassified with probability Phi(z_y).

        An l-infinity adversary of radius eps lowers y(w.x + b) by exactly eps ||w||_1
        (Hoelder, with equality), so for both classes

            z_+ = (-b - w.mean + eps ||w||_1) / (K sigma ||w||_2)
            z_- = (+b - w.mean + eps ||w||_1) / (sigma ||w||_2)

        Args:
            mixture: the class-conditional distributions, with d = len(weights).
            eps: radius, in units of x, a number or a text such as 8/255; 0 gives the natural error.

        Raises:
            InputError: eps is no radius.
        """
        eps = check_radius("eps", eps)
        wide, narrow = mixture.scales
        margin = mixture.eta * self.weights.sum() - eps * np.abs(self.weights).sum()
        norm = np.linalg.norm(self.weights)
        return (float((-self.bias - margin) / (wide * norm)), float((self.bias - margin) / (narrow * norm)))

    def errors(self, mixture: GaussianMixture, eps: Radius = 0.0) -> GaussianErrors:
        """Return natural, boundary and robust error of both classes; arguments as of `z_scores`.

        >>> mixture = GaussianMixture(dim=4, eta=0.5, sigma=1.0, K=2.0)
        >>> LinearClassifier(np.ones(4), 0.0).errors(mixture, "8/255").natural
        (0.3085375387259869, 0.15865525393145707)
        """
        return GaussianErrors(self.z_scores(mixture), self.z_scores(mixture, eps))


def between(low: float, high: float) -> float:
    """Return Phi(high) - Phi(low) for low <= high, without cancellation where both are near 1."""
    return float(ndtr(-low) - ndtr(-high) if low > 0 else ndtr(high) - ndtr(low))


def error(z: float) -> float:
    """Return the error Phi(z); it underflows to 0 below z = -38, where `log_error` does not."""
    return float(ndtr(z))


def log_error(z: float) -> float:
    """Return ln Phi(z), accurate in both tails."""
    return float(log_ndtr(z))
