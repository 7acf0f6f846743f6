"""Linear classification of two Gaussians in general: any mean, norm, priors, costs and class radii.

The reduction lemma (ours; Xu et al., 2021, for one setting of it): with priors and costs omega_y = pi_y c_y
and a training radius for each class, the best direction is `best_direction` at the mean radius, whatever
the rest, and the best bias solves a problem in one dimension. Fair classifiers keep the direction.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from theory.common.inputs import InputError, Radius, check_radii, check_radius, check_real
from theory.gaussian.adversary import NORMS, Direction, best_direction, uniform_direction
from theory.gaussian.fairness import fair_bias, price_of_fairness
from theory.gaussian.linear import GaussianErrors, LinearClassifier, ZScores
from theory.gaussian.mixture import GaussianMixture
from theory.gaussian.optimal import optimal_bias, optimal_kind, optimal_z_scores

__all__ = [
    "GaussianClassifier",
    "Problem",
    "Radii",
    "Uniform",
    "fair_classifier",
    "fairness_price",
    "optimal_classifier",
]

Radii = Radius | tuple[Radius, Radius]
"""One radius for both classes, or that of class +1 and that of class -1."""


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

    def weights(self, eps: float, norm: str) -> npt.NDArray[np.float64]:
        """Return the best direction at a radius, shape (d,): 1 / sqrt(d), or a basis vector beyond eta."""
        if norm == "linf" and eps > self.eta:
            weights: npt.NDArray[np.float64] = np.eye(1, self.dim)[0]
            return weights
        return np.full(self.dim, self.dim**-0.5)


@dataclass(frozen=True)
class GaussianClassifier:
    """A linear classifier of two Gaussian classes with ||w||_2 = 1, by what its errors depend on.

    Args:
        problem: the classes and the norm of the adversary.
        direction: the unit vector w.
        bias: b; infinite for a constant classifier.
        kind: "interior", "always_plus" or "always_minus".
        margin: w.theta - radius ||w||_dual at the radius it is made for (the mean of both classes').
        radii: what ``z`` refers to, a radius for each class (+1, -1).
        z: z-scores of (+1, -1) under an adversary of these radii.
    """

    problem: "Problem"
    direction: Direction
    bias: float
    kind: str
    margin: float
    radii: tuple[float, float]
    z: ZScores

    @property
    def rho(self) -> float:
        """||w||_dual: an adversary of radius eps takes eps rho from every margin."""
        return self.direction.rho

    @property
    def scales(self) -> tuple[float, float]:
        """Standard deviations of the score in class +1 and in class -1."""
        return self.problem.scales

    def z_scores(self, eps: Radius = 0.0) -> ZScores:
        """Return (z_+, z_-) under an adversary of radius ``eps``: class y errs with probability Phi(z_y).

        Raises:
            InputError: eps is no radius.
        """
        eps = check_radius("eps", eps)
        plus, minus = (
            z + (eps - radius) * self.rho / scale
            for z, radius, scale in zip(self.z, self.radii, self.scales, strict=True)
        )
        return plus, minus

    def errors(self, eps: Radius = 0.0) -> GaussianErrors:
        """Return natural, boundary and robust error of both classes under an adversary of radius ``eps``.

        Args:
            eps: radius of the evaluation, in units of x, a number or a text such as 8/255.

        Raises:
            InputError: eps is no radius.
        """
        return GaussianErrors(self.z_scores(), self.z_scores(eps))

    def linear(self) -> LinearClassifier:
        """Return the same classifier with its weights written out, shape (d,)."""
        weights, theta = self.direction.weights, self.problem.theta
        if isinstance(theta, Uniform):
            weights = theta.weights(self.direction.eps, self.problem.norm)
        return LinearClassifier(weights, self.bias)


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

    >>> problem = Problem(theta=(0.5, -0.2), sigma=1.0, K=2.0, norm="l2", prior_pos=0.3)
    >>> best = problem.optimum(("1/10", "1/20"))
    >>> best.kind, best.linear().weights.round(3).tolist()
    ('interior', [0.928, -0.371])
    """

    theta: tuple[float, ...] | Uniform
    sigma: float
    K: float
    norm: str = "linf"
    prior_pos: float = 0.5
    cost: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        """Take numbers of numpy as those of Python, and refuse what is outside the domain."""
        if not isinstance(self.theta, Uniform):
            values = tuple(check_real("theta", v, low=-math.inf) for v in self.theta)
            object.__setattr__(self, "theta", values)
        for name in ("sigma", "K"):
            object.__setattr__(self, name, check_real(name, getattr(self, name), low=0, strict=True))
        for scale in self.scales:
            check_real("K sigma", scale, low=np.finfo(float).tiny, high=np.finfo(float).max / 4)
        if self.norm not in NORMS:
            raise InputError(f"norm must be one of {', '.join(NORMS)}, got {self.norm!r:.60}")
        prior = check_real("prior_pos", self.prior_pos, low=0, high=1, strict=True)
        object.__setattr__(self, "prior_pos", prior)
        if self.prior_pos == 1:
            raise InputError("prior_pos must be a number > 0 and < 1, got 1.0")
        cost = tuple(check_real("cost", value, low=0, strict=True) for value in self.cost)
        object.__setattr__(self, "cost", cost)

    @classmethod
    def of(
        cls,
        mixture: GaussianMixture,
        *,
        norm: str = "linf",
        prior_pos: float = 0.5,
        cost: float | tuple[float, float] = 1.0,
    ) -> "Problem":
        """Return the problem of a mixture; a single cost is that of class +1 in units of that of class -1.

        Raises:
            InputError: an argument is outside its domain.
        """
        pair = (cost[0], cost[1]) if isinstance(cost, (tuple, list)) and len(cost) == 2 else (cost, 1.0)
        theta, sigma, K = Uniform(mixture.dim, mixture.eta), mixture.sigma, mixture.K
        return cls(theta=theta, sigma=sigma, K=K, norm=norm, prior_pos=prior_pos, cost=pair)

    @property
    def log_odds(self) -> float:
        """ln(omega_+ / omega_-) of priors times costs."""
        plus, minus = self.cost
        return float(np.log(self.prior_pos) - np.log1p(-self.prior_pos) + np.log(plus) - np.log(minus))

    @property
    def scales(self) -> tuple[float, float]:
        """Standard deviations of the score of a unit vector in class +1 and in class -1."""
        return self.K * self.sigma, self.sigma

    def direction(self, eps: Radius) -> Direction:
        """Return the best direction at a radius; its weights are empty where the mean is eta 1."""
        eps = check_radius("eps", eps)
        if not isinstance(self.theta, Uniform):
            return best_direction(self.theta, eps, self.norm)
        dim, eta = self.theta.dim, self.theta.eta
        if self.norm == "linf":
            mu, rho, margin = (float(v) for v in uniform_direction(dim, eta, eps))
        else:  # 1 / sqrt(d) for every radius
            mu, rho = dim**0.5 * eta, 1.0 if self.norm == "l2" else dim**-0.5
            margin = mu - eps * rho
        return Direction(np.empty(0), mu, rho, margin, eps)

    def optimum(self, radii: Radii = 0.0) -> GaussianClassifier:
        """Return the classifier with the smallest error, weighted by priors and costs.

        Args:
            radii: radius of both classes, or that of class +1 and that of class -1 (Remargin); 0 for natural
                errors.

        Raises:
            InputError: a radius is not a finite number >= 0, or the result leaves double precision.
        """
        radii = plus, minus = check_radii("eps", radii)
        best = self.direction(plus / 2 + minus / 2)
        arguments = best.margin, self.sigma, self.K, self.log_odds
        with np.errstate(over="ignore", invalid="ignore"):
            z = tuple(float(v) for v in optimal_z_scores(*arguments))
            # class radii move the scores of both classes the same way, which the bias undoes
            bias = float(optimal_bias(*arguments)) + (plus - minus) * best.rho / 2
        kind = str(optimal_kind(*arguments))
        if kind == "interior" and not np.isfinite([best.margin, bias, *z]).all():
            raise InputError(f"radii {radii} on {self!r:.200} leave the range of double precision")
        return GaussianClassifier(self, best, bias, kind, best.margin, radii, (z[0], z[1]))

    def fair(self, eps: Radius, *, direction: Direction | None = None) -> GaussianClassifier:
        """Return the classifier with equal errors of both classes at radius ``eps``, on a direction.

        Args:
            eps: 0 for equal natural errors.
            direction: that of the optimum at this radius if None.

        Raises:
            InputError: eps is no radius.
        """
        eps = check_radius("eps", eps)
        w = self.direction(eps) if direction is None else direction
        margin = w.mu - eps * w.rho if eps else w.mu
        z = -2 * margin / ((self.K + 1) * self.sigma)
        bias = float(fair_bias(margin, self.K))
        return GaussianClassifier(self, w, bias, "interior", margin, (eps, eps), (z, z))

    def classifiers(
        self, eps: Radius, train_eps: Sequence[Radius] | None = None
    ) -> dict[str, GaussianClassifier]:
        """Return the natural and the robust optimum, and the two fair classifiers on the robust direction.

        Args:
            eps: radius at which robust errors are to be equal.
            train_eps: radius of the robust optimum, one for both classes or one for each; eps if None.

        Raises:
            InputError: a radius is not a finite number >= 0, or a result leaves double precision.
        """
        robust = self.optimum(eps if train_eps is None else (train_eps[0], train_eps[-1]))
        return {
            "natural": self.optimum(),
            "robust": robust,
            "fair_natural": self.fair(0.0, direction=robust.direction),
            "fair_robust": self.fair(eps, direction=robust.direction),
        }


def optimal_classifier(
    mixture: GaussianMixture,
    eps: Radii = 0.0,
    *,
    norm: str = "linf",
    prior_pos: float = 0.5,
    cost: float | tuple[float, float] = 1.0,
) -> GaussianClassifier:
    """Return the linear classifier with the smallest robust error, weighted by prior and cost.

    The direction maximises the margin w.mean - eps ||w||_dual over unit vectors. Under linf it is 1 / sqrt(d)
    for eps < eta (Xu et al., 2021, https://arxiv.org/abs/2010.06121), unique there. At eps = eta every
    nonnegative w ties and 1 / sqrt(d) is kept. The formula does not extend beyond eta: for d > 1 the margin
    is then largest, at eta - eps, for a single basis vector. The bias is `optimal_bias`; with equal priors
    and costs it is finite for every K != 1 (the average error falls from 1/2 at b = -inf to its minimum).

    Args:
        mixture: the classes.
        eps: radius at training in units of x, a number or a text such as 8/255; or that of class +1 and that
            of class -1. 0 gives the optimal natural classifier.
        norm: norm of the adversary: linf, l2 or l1.
        prior_pos: probability of class +1, in (0, 1).
        cost: cost of an error of class +1 in units of one of class -1, or both costs, > 0.

    Raises:
        InputError: an argument is outside its domain, or the margin or bias leaves double precision.

    >>> mixture = GaussianMixture(dim=20, eta=0.4, sigma=1.0, K=2.0)
    >>> errors = optimal_classifier(mixture, 0.16).errors(0.16)
    >>> [round(error, 4) for error in errors.robust]
    [0.3285, 0.1041]
    >>> [round(error, 4) for error in optimal_classifier(mixture, 0.16, norm="l2", cost=2).errors().natural]
    [0.1218, 0.1064]
    """
    return Problem.of(mixture, norm=norm, prior_pos=prior_pos, cost=cost).optimum(eps)


def fair_classifier(mixture: GaussianMixture, eps: Radius = 0.0, *, norm: str = "linf") -> GaussianClassifier:
    """Return the linear classifier with equal robust errors of both classes at radius ``eps``.

    It has the direction of `optimal_classifier`, and among classifiers of that direction only its bias makes
    the errors equal (ours). By how much its average error is larger is
    `theory.gaussian.fairness.price_of_fairness` at its margin.

    Args:
        mixture: the classes.
        eps: radius in units of x, a number or a text such as 8/255; 0 for equal natural errors.
        norm: norm of the adversary: linf, l2 or l1.

    Raises:
        InputError: an argument is outside its domain.

    >>> mixture = GaussianMixture(dim=20, eta=0.4, sigma=1.0, K=2.0)
    >>> [round(error, 4) for error in fair_classifier(mixture, "4/25").errors("4/25").robust]
    [0.2371, 0.2371]
    """
    return Problem.of(mixture, norm=norm).fair(eps)


def fairness_price(mixture: GaussianMixture, eps: Radius = 0.0, *, norm: str = "linf") -> float:
    """Return by how much the average robust error of `fair_classifier` exceeds the smallest.

    It is 0 only for K = 1, and less than the smallest error itself: fairness never doubles it (ours, see
    `theory.gaussian.fairness.price_of_fairness`).

    Args:
        mixture: the classes.
        eps: radius in units of x, a number or a text such as 8/255; 0 for natural errors.
        norm: norm of the adversary: linf, l2 or l1.

    Raises:
        InputError: an argument is outside its domain.

    >>> mixture = GaussianMixture(dim=20, eta=0.4, sigma=1.0, K=2.0)
    >>> round(fairness_price(mixture, "4/25"), 4)
    0.0208
    """
    fair = fair_classifier(mixture, eps, norm=norm)
    return float(price_of_fairness(fair.margin, mixture.sigma, mixture.K))
