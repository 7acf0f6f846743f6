"""How far apart the classes are: DAFA (Lee et al., 2024), and the radius (Ma et al., 2022)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from theory.common.inputs import InputError, Radius, check_array, check_radius, check_real
from theory.gaussian.mixture import GaussianMixture
from theory.gaussian.optimal import optimal_bias, optimal_z_scores

__all__ = ["DistantClasses", "distant_classes", "gap_slope"]


@dataclass(frozen=True)
class DistantClasses:
    """The optimal robust classifier sign(1.x / sqrt(d) + b) when class -1 has its mean at -alpha theta.

    Args:
        bias: b, in the original coordinates.
        centered_bias: b when the origin is half way between the means.
        natural_z: z-scores of (+1, -1) without an adversary.
        robust_z: z-scores of (+1, -1) at the training radius.
    """

    bias: float
    centered_bias: float
    natural_z: tuple[float, float]
    robust_z: tuple[float, float]


def distant_classes(mixture: GaussianMixture, alpha: float, eps: Radius) -> DistantClasses:
    """Return the optimal robust classifier for means eta 1 and -alpha eta 1 (Lee et al., 2024).

    Shifting the origin by (1 - alpha) eta / 2 makes it the symmetric problem with eta (1 + alpha) / 2. Its
    robust gap, its natural gap and the ratio R_+ / R_- of its robust errors all fall as alpha grows; the
    ratio tends to K. They need not when the classifier is not re-optimised for the attack, or is trained
    with a surrogate loss.

    Args:
        mixture: distributions at alpha = 1.
        alpha: distance of class -1, > -1.
        eps: radius, at most half the distance of a coordinate, eta (1 + alpha) / 2.

    Raises:
        InputError: alpha or eps is outside its domain.

    >>> mixture = GaussianMixture(dim=20, eta=0.4, sigma=1.0, K=2.0)
    >>> [round(z, 3) for z in distant_classes(mixture, 1.5, 0.16).robust_z]
    [-0.807, -1.427]
    """
    check_real("alpha", alpha, low=-1, strict=True)
    half = mixture.eta * (1 + alpha) / 2
    eps = check_radius("eps", eps)
    if eps > half:
        raise InputError(f"eps must be at most half the distance of the classes, {half:g}, got {eps:g}")
    root = mixture.dim**0.5
    margin = root * (half - eps)
    plus, minus = (float(z) for z in optimal_z_scores(margin, mixture.sigma, mixture.K))
    centered = float(optimal_bias(margin, mixture.sigma, mixture.K))
    wide, narrow = mixture.scales
    natural = plus - root * eps / wide, minus - root * eps / narrow
    return DistantClasses(centered - root * (1 - alpha) * mixture.eta / 2, centered, natural, (plus, minus))


def gap_slope(margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return dD/dm of the robust gap D = R_+ - R_- of the optimal robust classifier at margin m.

    2 / ((K^2 - 1) sigma) phi(z_+) (2t - K - 1/K) with t = B / sqrt(B^2 + q) < 1: it is negative for K > 1, so
    the gap grows with the radius and falls with the distance of the classes. K < 1 exchanges the classes.

    Args:
        margin: m, any sign; all arguments broadcast.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0 and not 1.

    Raises:
        InputError: an argument is outside its domain.
    """
    m, sigma, K = np.broadcast_arrays(
        check_array("margin", margin, low=-np.inf),
        check_array("sigma", sigma, low=0, strict=True),
        check_array("K", K, low=0, strict=True),
    )
    if (K == 1).any():
        raise InputError("at K = 1 there is no gap; K must not be 1")
    narrow, ratio = np.where(K < 1, K * sigma, sigma), np.where(K < 1, 1 / K, K)
    kappa = (ratio - 1) * (ratio + 1)
    B, q = 2 * m / (kappa * narrow), 2 * np.log(ratio) / kappa
    t = B / np.sqrt(B**2 + q)
    plus, _ = optimal_z_scores(m, narrow, ratio)
    density = np.exp(-(plus**2) / 2) / np.sqrt(2 * np.pi)
    slope = 2 / (kappa * narrow) * density * (2 * t - ratio - 1 / ratio)
    return np.asarray(np.where(K < 1, -slope, slope))
