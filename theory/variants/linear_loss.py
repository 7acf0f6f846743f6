"""More data can hurt: adversarial training with the linear loss.

After Min, Chen and Karbasi (2021), https://arxiv.org/abs/2002.11080, and Chen et al. (2020); the formulas are
ours.
"""

from dataclasses import dataclass

import numpy as np

from theory.common.inputs import check_real
from theory.gaussian.normal import normal_difference

__all__ = ["LinearLoss", "linear_loss", "most_useful_samples"]


@dataclass(frozen=True)
class LinearLoss:
    """What n samples are worth to adversarial training with the linear loss.

    Args:
        P: the mean natural gain of a coordinate is eta P.
        gap: that of natural training, less eta P.
        n_star: number of samples beyond which more data hurts; infinite for eps <= eta.
    """

    P: float
    gap: float
    n_star: float


def most_useful_samples(eta: float, sigma: float, eps: float) -> float:
    """Return n* = sigma^2 ln((eps + eta) / (eps - eta)) / (2 eps eta), infinite for eps <= eta.

    Args:
        eta: mean of a coordinate, > 0.
        sigma: standard deviation, > 0.
        eps: l-infinity radius, >= 0.

    Raises:
        InputError: an argument is outside its domain.
    """
    for name, value in (("eta", eta), ("sigma", sigma)):
        check_real(name, value, low=0, strict=True)
    if check_real("eps", eps, low=0) <= eta:
        return float(np.inf)
    # ln((eps + eta) / (eps - eta)) = ln(1 + 2 eta / (eps - eta))
    return float(sigma**2 * np.log1p(2 * eta / (eps - eta)) / (2 * eps * eta))


def linear_loss(eta: float, sigma: float, eps: float, n: float) -> LinearLoss:
    """Return what |w|_inf <= 1 learns from n samples with the loss -y w.x and an l-infinity adversary.

    w_j = sign(a_j) where the sample mean a_j exceeds eps in size, else 0, so that
    P = Phi(sqrt(n) (eta - eps) / sigma) - Phi(-sqrt(n) (eta + eps) / sigma). It rises with n for eps <= eta;
    for eps > eta it rises to n* and falls to 0 after. With two widths put sqrt((K^2 + 1) / 2) sigma for
    sigma.

    Args:
        eta: mean of a coordinate, > 0.
        sigma: standard deviation, > 0.
        eps: l-infinity radius, >= 0.
        n: number of samples, > 0.

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> [round(linear_loss(0.5, 1.0, 0.6, n).P, 4) for n in (3, 50)]
        [0.4029, 0.2398]
    """
    star = most_useful_samples(eta, sigma, eps)
    root = float(np.sqrt(check_real("n", n, low=0, strict=True))) / sigma
    P = float(normal_difference(root * (eta - eps), -root * (eta + eps)))
    # 1 - 2 Phi(-a) - P = (Phi(e - a) - Phi(-a)) - (Phi(-a) - Phi(-e - a)), a = root eta, e = root eps
    a, e = root * eta, root * eps
    gap = eta * float(normal_difference(e - a, -a) - normal_difference(-a, -e - a))
    if e < 1e-3:  # there the two differences nearly cancel: e^2 a phi(a), to relative O(e^2 (1 + a^2))
        density = float(np.exp(-a * a / 2) / np.sqrt(2 * np.pi))
        gap = eta * density * a * e**2 * (1 + e**2 * (a * a - 3) / 12 + e**4 * (a**4 - 10 * a * a + 15) / 360)
    return LinearLoss(P, gap, star)
