"""The robust errors of a bias along one direction, in probabilities."""

import numpy as np
from scipy.special import ndtr

__all__ = ["errors_at"]


def errors_at(bias: float, margin: float, sigma: float, K: float) -> tuple[float, float]:
    """Return (R_+, R_-) = (Phi(-(b + m) / (K sigma)), Phi((b - m) / sigma)).

    Args:
        bias: b, for a unit vector; infinite for a constant classifier.
        margin: m; the natural margin gives natural errors.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.
    """
    return float(ndtr(-(np.float64(bias) + margin) / (K * sigma))), float(ndtr((bias - margin) / sigma))
