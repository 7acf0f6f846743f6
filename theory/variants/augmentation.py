"""What mixing inputs of a class, and adding noise to them, does to the optimal bias and to the gap.

After Zhong and Tandon (2024), "Learning fair robustness via domain mixup"; the identity with the fair bias
and the noise are ours. All is along one unit direction with robust margin m; class +1 has deviation K sigma,
class -1 sigma.
"""

from dataclasses import dataclass

import numpy as np

from theory.common.inputs import check_real
from theory.gaussian.normal import normal_difference
from theory.gaussian.optimal import optimal_bias
from theory.variants.errors import errors_at

__all__ = ["Augmented", "mixup", "mixup_shrinkage", "noise_bias_limit", "noise_augmentation"]


@dataclass(frozen=True)
class Augmented:
    """The optimum of training on augmented inputs, and its robust errors on plain ones.

    Args:
        K: ratio of the standard deviations in training.
        b: bias.
        R_plus: robust error of the wide class +1.
        R_minus: robust error of class -1.
        gap: R_plus - R_minus.
    """

    K: float
    b: float
    R_plus: float
    R_minus: float
    gap: float


def _augmented(m: float, sigma: float, K: float, train_sigma: float, train_K: float) -> Augmented:
    b = float(optimal_bias(m, train_sigma, train_K))
    plus, minus = errors_at(b, m, sigma, K)
    gap = float(normal_difference(-(b + m) / (K * sigma), (b - m) / sigma))
    return Augmented(train_K, b, plus, minus, gap)


def mixup_shrinkage(weight: float) -> float:
    """Return c = sqrt(l^2 + (1 - l)^2): mixing two inputs of a class multiplies its deviation by c.

    Args:
        weight: l, from 0 to 1.

    Raises:
        InputError: the weight is outside its domain.
    """
    check_real("weight", weight, low=0, high=1)
    return float(np.hypot(weight, 1 - weight))


def mixup(m: float, sigma: float, K: float, c: float) -> Augmented:
    """Return the optimum of training on mixtures of inputs of one class.

    The bias is that of c sigma in place of sigma, and K is unchanged. For K > 1 the gap falls strictly with c
    and never below 0; as c tends to 0 the bias tends to that of equal robust errors. The form is for fixed
    weights: random ones give a mixture of normals.

    Args:
        m: robust margin, > 0.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.
        c: factor of the deviations, > 0; see `mixup_shrinkage`.

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> [round(mixup(0.7, 1.0, 2.0, c).gap, 4) for c in (1.0, 0.5**0.5, 0.1)]
        [0.3382, 0.2049, 0.0053]
    """
    for name, value in (("m", m), ("sigma", sigma), ("K", K), ("c", c)):
        check_real(name, value, low=0, strict=True)
    return _augmented(m, sigma, K, c * sigma, K)


def noise_augmentation(m: float, sigma: float, K: float, tau: float) -> Augmented:
    """Return the optimum of training with N(0, tau^2) noise: K_tau is nearer to 1, and the gap grows.

    K_tau^2 = (K^2 sigma^2 + tau^2) / (sigma^2 + tau^2) and sigma_tau^2 = sigma^2 + tau^2.

    Args:
        m: robust margin, > 0.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.
        tau: standard deviation of the noise, >= 0.

    Raises:
        InputError: an argument is outside its domain.
    """
    for name, value in (("m", m), ("sigma", sigma), ("K", K)):
        check_real(name, value, low=0, strict=True)
    narrow = float(np.hypot(sigma, check_real("tau", tau, low=0)))
    return _augmented(m, sigma, K, narrow, float(np.hypot(K * sigma, tau)) / narrow)


def noise_bias_limit(m: float, sigma: float, K: float) -> float:
    """Return -(K^2 - 1) sigma^2 / (4 m), the bias that `noise_augmentation` tends to as the noise grows."""
    return -(K - 1) * (K + 1) * sigma**2 / (4 * m)
