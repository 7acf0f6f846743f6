"""Linear classification of two Gaussians in general: any mean, norm, priors, costs and class radii.

The reduction lemma (ours; Xu et al., 2021, for one setting of it): with priors and costs omega_y = pi_y c_y
and a training radius for each class, the best direction is `best_direction` at the mean radius, whatever
the rest, and the best bias solves a problem in one dimension. Fair classifiers keep the direction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from theory.common.inputs import InputError, check_real
from theory.gaussian.adversary import NORMS, Direction, best_direction, uniform_direction
from theory.gaussian.fairness import fair_bias
from theory.gaussian.linear import ZScores
from theory.gaussian.mixture import GaussianMixture
from theory.gaussian.optimal import optimal_bias, optimal_kind, optimal_z_scores

__all__ = ["Problem", "Solution", "Uniform"]


@dataclass(frozen=True)
class Uniform:
    """The mean eta 1 in d dimensions, not written out.

    Raises:
        InputError: as `theory.gaussian.mixture.GaussianMixture`.
    """

    dim: int
    eta: float

    def __post_init__(self) -> None:
        """Refuse what a mixture refuses."""
        GaussianMixture(dim=self.dim, eta=self.eta, sigma=1.0, K=1.0)


@dataclass(frozen=True)
class Solution:
    """A linear classifier with ||w||_2 = 1, by what its errors depend on.

    Args:
        bias: b; infinite for a constant classifier.
        kind: "interior", "always_plus" or "always_minus".
        margin: w.theta - radius ||w||_dual at the radius it is made for (the mean of both classes').
        rho: ||w||_dual.
        radii: what ``z`` refers to, a radius for each class (+1, -1).
        z: z-scores of (+1, -1) under an adversary of these radii.
        scales: standard deviations of the score in each class.
    """

    bias: float
    kind: str
    margin: float
    rho: float
    radii: tuple[float, float]
    z: ZScores
    scales: tuple[float, float]

    def z_scores(self, eps: float = 0.0) -> ZScores:
        """Return (z_+, z_-) under an adversary of radius ``eps``: class y errs with probability Phi(z_y)."""
        plus, minus = (
            z + (eps - radius) * self.rho / scale
            for z, radius, scale in zip(self.z, self.radii, self.scales, strict=True)
        )
        return plus, minus


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Classes N(theta, (K sigma)^2 I) and N(-theta, sigma^2 I) under an lp adversary.

    Args:
        theta: mean of class +1, not all 0.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.
        norm: one of `theory.gaussian.adversary.NORMS`.
        prior_pos: probability of class +1, in (0, 1).
        cost: costs of an error of class +1 and of class -1, > 0.

    Raises:
        InputError: an argument is outside its domain.
    """

    theta: tuple[float, ...] | Uniform
    sigma: float
    K: float
    norm: str = "linf"
    prior_pos: float = 0.5
    cost: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        """Refuse what is outside the domain."""
        check_real("sigma", self.sigma, low=0, strict=True)
        check_real("K", self.K, low=0, strict=True)
        for scale in self.scales:
            check_real("K sigma", scale, low=np.finfo(float).tiny, high=np.finfo(float).max / 4)
        if self.norm not in NORMS:
            raise InputError(f"norm must be one of {', '.join(NORMS)}, got {self.norm!r:.60}")
        check_real("prior_pos", self.prior_pos, low=0, high=1, strict=True)
        if self.prior_pos == 1:
            raise InputError("prior_pos must be a number > 0 and < 1, got 1.0")
        for value in self.cost:
            check_real("cost", value, low=0, strict=True)

    @property
    def log_odds(self) -> float:
        """ln(omega_+ / omega_-) of priors times costs."""
        plus, minus = self.cost
        return float(np.log(self.prior_pos) - np.log1p(-self.prior_pos) + np.log(plus) - np.log(minus))

    @property
    def scales(self) -> tuple[float, float]:
        """Standard deviations of the score of a unit vector in class +1 and in class -1."""
        return self.K * self.sigma, self.sigma

    def direction(self, eps: float) -> Direction:
        """Return the best direction at a radius; its weights are empty where the mean is eta 1."""
        if not isinstance(self.theta, Uniform):
            return best_direction(self.theta, eps, self.norm)
        dim, eta = self.theta.dim, self.theta.eta
        if self.norm == "linf":
            mu, rho, margin = (float(v) for v in uniform_direction(dim, eta, eps))
        else:  # 1 / sqrt(d) for every radius
            mu, rho = dim**0.5 * eta, 1.0 if self.norm == "l2" else dim**-0.5
            margin = mu - eps * rho
        return Direction(np.empty(0), mu, rho, margin)

    def optimum(self, radii: tuple[float, float] = (0.0, 0.0)) -> Solution:
        """Return the classifier with the smallest error, weighted by priors and costs.

        Args:
            radii: radius of class +1 and of class -1 (Remargin); 0 for natural errors.

        Raises:
            InputError: a radius is not a finite number >= 0, or the result leaves double precision.
        """
        for radius in radii:
            check_real("eps", radius, low=0)
        best = self.direction(radii[0] / 2 + radii[1] / 2)
        given = best.margin, self.sigma, self.K, self.log_odds
        with np.errstate(over="ignore", invalid="ignore"):
            z = tuple(float(v) for v in optimal_z_scores(*given))
            bias = float(optimal_bias(*given)) + (radii[0] - radii[1]) * best.rho / 2
        kind = str(optimal_kind(*given))
        if kind == "interior" and not np.isfinite([best.margin, bias, *z]).all():
            raise InputError(f"radii {radii} on {self!r:.200} leave the range of double precision")
        return Solution(bias, kind, best.margin, best.rho, radii, (z[0], z[1]), self.scales)

    def fair(self, eps: float, *, direction: Direction) -> Solution:
        """Return the classifier with equal errors of both classes at radius ``eps``, on a direction.

        Args:
            eps: 0 for equal natural errors.
            direction: such as that of the robust optimum.
        """
        margin = direction.mu - eps * direction.rho if eps else direction.mu
        z = -2 * margin / ((self.K + 1) * self.sigma)
        bias = float(fair_bias(margin, self.K))
        return Solution(bias, "interior", margin, direction.rho, (eps, eps), (z, z), self.scales)

    def classifiers(self, eps: float, train_eps: Sequence[float] | None = None) -> dict[str, Solution]:
        """Return the natural and the robust optimum, and the two fair classifiers on the robust direction.

        Args:
            eps: radius at which robust errors are to be equal.
            train_eps: radius of the robust optimum, one for both classes or one for each; eps if None.
        """
        radii = (eps, eps) if train_eps is None else (train_eps[0], train_eps[-1])
        direction = self.direction(radii[0] / 2 + radii[1] / 2)
        return {
            "natural": self.optimum(),
            "robust": self.optimum(radii),
            "fair_natural": self.fair(0.0, direction=direction),
            "fair_robust": self.fair(eps, direction=direction),
        }
