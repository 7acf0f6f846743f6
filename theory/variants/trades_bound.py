"""The bound of TRADES on the mixture with K = 1, taken apart.

After Zhang et al. (2019), https://arxiv.org/abs/1901.08573: R_rob - R*_nat is at most the excess of the
surrogate risk plus the mass of points whose prediction can be flipped. With the identity R_rob = R_nat +
boundary it is Bartlett's bound for R_nat plus the mass of points that are wrong and flippable; it has no
class-wise form.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from theory.common.inputs import check_real
from theory.gaussian.normal import normal_difference
from theory.variants.tsipras import hinge

__all__ = ["TradesBound", "trades_bound"]


@dataclass(frozen=True)
class TradesBound:
    """The terms for the hinge loss.

    Args:
        lhs: R_rob - R*_nat.
        hinge_excess: hinge risk less the smallest of any function, 2 R*_nat.
        flippable: probability that the adversary can change the prediction, right or wrong.
        rhs: hinge_excess + flippable.
        boundary: R_rob - R_nat.
    """

    lhs: float
    hinge_excess: float
    flippable: float
    rhs: float
    boundary: float


def trades_bound(theta: float, sigma: float, eps: float, scale: float, b: float) -> TradesBound:
    """Return the terms of the bound for f = scale (w.x + b), w the unit vector of the means.

    Args:
        theta: |theta|, > 0; the classes are N(+-theta, sigma^2 I) with equal priors.
        sigma: standard deviation, > 0.
        eps: l2 radius, >= 0.
        scale: > 0.
        b: bias.

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> terms = trades_bound(1.5, 1.0, 0.3, 1.0, 0.0)
        >>> terms.lhs <= terms.rhs
        True
    """
    for name, value in (("theta", theta), ("sigma", sigma), ("scale", scale)):
        check_real(name, value, low=0, strict=True)
    check_real("eps", eps, low=0)
    means = np.array([theta + b, theta - b]) / sigma
    e = eps / sigma
    # R_nat - R*_nat and R_rob - R_nat, each as a difference of nearby probabilities
    excess = float(normal_difference(-means, -theta / sigma).mean())
    boundary = float(normal_difference(e - means, -means).mean())
    flippable = float(normal_difference(e - means, -e - means).mean())
    risk = float(hinge(scale * sigma * means, scale * sigma).mean()) - 2 * float(ndtr(-theta / sigma))
    return TradesBound(excess + boundary, risk, flippable, risk + flippable, boundary)
