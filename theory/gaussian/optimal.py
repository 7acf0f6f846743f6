"""The linear classifiers with the smallest natural and the smallest robust error, in closed form."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr

from theory.common.inputs import InputError, check_real
from theory.gaussian.linear import LinearClassifier, ZScores
from theory.gaussian.mixture import GaussianMixture

__all__ = [
    "OptimalClassifier",
    "beats_constants",
    "optimal_bias",
    "optimal_classifier",
    "optimal_kind",
    "optimal_z_scores",
]

Array = npt.NDArray[np.float64]


def optimal_z_scores(
    margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike, log_odds: npt.ArrayLike = 0.0
) -> tuple[Array, Array]:
    r"""Return (z_+, z_-) of the classifier with the smallest weighted error at effective margin m.

    Xu et al. (2021) give them for m = sqrt(d) eta (natural) and m = sqrt(d) (eta - eps) (robust). With
    A = 2m / ((K^2 - 1) sigma) and q = 2 ln K / (K^2 - 1) the paper's form is

        z_- = A - K sqrt(A^2 + q),    z_+ = -K A + sqrt(A^2 + q).

    Priors and costs only add to ln K: with odds r = omega_+ / omega_-, l = ln K - ln r stands in its place.
    For m > 0 the form loses all digits as K -> 1. Multiplying by the conjugate, with a = 2m / sigma and
    T = sqrt(a^2 + 2 (K^2 - 1) l), gives what is computed here:

        z_- = -(a^2 + 2 K^2 l) / (a + K T),    z_+ = (2 l - a^2) / (T + K a).

    K < 1 is K > 1 with the classes exchanged. Where `optimal_kind` is constant, so are these: (-inf, inf) for
    the classifier that always answers +1, (inf, -inf) for the other.

    Args:
        margin: m = w.mean - eps ||w||_1 of the unit vector w, of any sign; all arguments broadcast.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.
        log_odds: ln(omega_+ / omega_-), where omega is prior times cost.
    """
    problem = _Problem.of(margin, sigma, K, log_odds)
    wide, narrow = problem.z_scores()
    constant, swapped = problem.constant(), problem.swapped
    if constant.any():
        wide, narrow = (
            np.where(constant, -problem.majority, wide),
            np.where(constant, problem.majority, narrow),
        )
    if not swapped.any():
        return wide, narrow
    return np.where(swapped, narrow, wide), np.where(swapped, wide, narrow)


def optimal_bias(
    margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike, log_odds: npt.ArrayLike = 0.0
) -> Array:
    r"""Return the bias b that minimises omega_+ Phi(-(b + m) / (K sigma)) + omega_- Phi((b - m) / sigma).

    After Xu et al. (2021), with the same arguments as `optimal_z_scores`. For K > 1 it is the smaller root of

        (K^2 - 1) b^2 - 2 (K^2 + 1) m b + (K^2 - 1) m^2 - 2 K^2 sigma^2 l = 0,    l = ln K - ln r,

    multiplied by its conjugate where m > 0. It is +inf where always +1 is optimal, -inf for always -1.
    """
    p = _Problem.of(margin, sigma, K, log_odds)
    with np.errstate(all="ignore"):
        m = p.m / p.sigma  # in units of sigma no square underflows that matters
        root = 2 * p.K * np.sqrt(m**2 + p.kappa * p.level / 2)
        half = (p.K**2 + 1) * m
        conjugate = (p.kappa * m**2 - 2 * p.K**2 * p.level) / (half + root)
        bias = p.sigma * np.where(m > 0, conjugate, (half - root) / p.kappa)
    bias = np.where(p.constant(), p.majority, bias)
    return np.where(p.swapped, -bias, bias)


def optimal_kind(
    margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike, log_odds: npt.ArrayLike = 0.0
) -> npt.NDArray[np.str_]:
    """Return "interior", "always_plus" or "always_minus" for the classifier with the smallest weighted error.

    Ours, for K > 1: the optimum is constant, and then always the class with the larger variance, where the
    quadratic of `optimal_bias` has no root or where r Phi(z_+) + Phi(z_-) >= 1 at its smaller root. With
    equal priors and costs (r = 1) that never happens. At K = 1 it happens for m <= 0 alone, and the answer
    is the class with the larger weight (+1 when they are equal).

    Args:
        margin: as in `optimal_z_scores`, like all others.
        sigma: standard deviation of class -1.
        K: ratio of the standard deviations.
        log_odds: ln(omega_+ / omega_-).
    """
    p = _Problem.of(margin, sigma, K, log_odds)
    plus = np.where(p.swapped, -p.majority, p.majority) > 0
    return np.where(p.constant(), np.where(plus, "always_plus", "always_minus"), "interior")


def beats_constants(
    plus: npt.ArrayLike, minus: npt.ArrayLike, log_odds: npt.ArrayLike
) -> npt.NDArray[np.bool_]:
    """Say whether z-scores give a smaller weighted error than both constant classifiers.

    r Phi(z_+) + Phi(z_-) < min(1, r), compared in logs so that it holds in every tail:
    r Phi(z_+) < Phi(-z_-) and Phi(z_-) < r Phi(-z_+).

    Args:
        plus: z_+; all arguments broadcast.
        minus: z_-.
        log_odds: ln r.
    """
    z, u, log_r = (np.asarray(v, np.float64) for v in (plus, minus, log_odds))
    over = log_r + log_ndtr(z) < log_ndtr(-u)
    return np.asarray(over & (log_ndtr(u) < log_r + log_ndtr(-z)))


@dataclass(frozen=True)
class _Problem:
    """The problem with its classes exchanged where K < 1, so that the first class is the wide one.

    Args:
        m: margin.
        sigma: standard deviation of the narrow class.
        K: ratio of standard deviations, >= 1.
        kappa: K^2 - 1, without cancellation.
        level: l = ln K - ln r.
        log_odds: ln r, of the wide class.
        swapped: whether the classes were exchanged.
    """

    m: Array
    sigma: Array
    K: Array
    kappa: Array
    level: Array
    log_odds: Array
    swapped: npt.NDArray[np.bool_]

    @classmethod
    def of(
        cls, margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike, log_odds: npt.ArrayLike
    ) -> "_Problem":
        given = (np.asarray(v, dtype=np.float64) for v in (margin, sigma, K, log_odds))
        m, sigma, K, odds = np.broadcast_arrays(*given)
        swapped = K < 1
        odds = np.where(swapped, -odds, odds)
        with np.errstate(over="ignore"):  # callers refuse what is not finite
            excess = np.where(swapped, (1 - K) / K, K - 1)
            kappa = excess * (2 + excess)
            narrow = np.where(swapped, K * sigma, sigma)
        level = np.log1p(excess) - odds
        return cls(m, narrow, 1 + excess, kappa, level, odds, swapped)

    @property
    def majority(self) -> Array:
        """Return +inf where a constant optimum answers the first class, -inf elsewhere.

        For K > 1 that is the wide class; at K = 1 the class with the larger weight, +1 when equal.
        """
        return np.where((self.kappa > 0) | (self.log_odds >= 0), np.inf, -np.inf)

    def z_scores(self) -> tuple[Array, Array]:
        """Return the z-scores of the wide and the narrow class at the smaller root; nan without one."""
        with np.errstate(all="ignore"):
            a = 2 * self.m / self.sigma
            T = np.sqrt(a**2 + 2 * self.kappa * self.level)
            conjugate = (
                (2 * self.level - a**2) / (T + self.K * a),
                -(a**2 + 2 * self.K**2 * self.level) / (a + self.K * T),
            )
            if (self.m > 0).all():
                return conjugate
            direct = (T - self.K * a) / self.kappa, (a - self.K * T) / self.kappa
        wide, narrow = (np.where(self.m > 0, c, d) for c, d in zip(conjugate, direct, strict=True))
        return wide, narrow

    def constant(self) -> npt.NDArray[np.bool_]:
        """Say where the optimum is constant.

        For K > 1 it then answers the wide class; so r >= 1, or the other constant would be better.
        """
        if not self.log_odds.any():  # equal priors and costs: never for K > 1 (proved)
            return np.asarray((self.kappa == 0) & (self.m <= 0))
        wide, narrow = self.z_scores()
        with np.errstate(all="ignore"):
            no_root = (self.m / self.sigma) ** 2 + self.kappa * self.level / 2 < 0
            constant = no_root | ~beats_constants(wide, narrow, self.log_odds)
        constant &= self.log_odds > 0
        return np.where(self.kappa > 0, constant, self.m <= 0)


@dataclass(frozen=True)
class OptimalClassifier:
    """The linear classifier with the smallest average error under an l-infinity adversary.

    Args:
        mixture: the laws it is optimal for.
        eps: the radius it is optimal for; 0 makes it the optimal natural classifier.
        direction: "ones" (w = 1 / sqrt(d)) or "basis" (w = one basis vector, for eps > eta).
        margin: effective margin m = w.mean - eps ||w||_1.
        bias: b for ||w||_2 = 1; infinite when the classifier is constant.
        kind: "interior" or "always_plus" (constant; only for K = 1 and eps >= eta).
    """

    mixture: GaussianMixture
    eps: float
    direction: str
    margin: float
    bias: float
    kind: str

    def z_scores(self, eps: float = 0.0) -> ZScores:
        """Return (z_+, z_-) under an adversary of radius ``eps``: class y errs with probability Phi(z_y)."""
        wide, narrow = self.mixture.scales
        plus, minus = optimal_z_scores(self.margin, self.mixture.sigma, self.mixture.K)
        norm = self.mixture.dim**0.5 if self.direction == "ones" else 1.0  # ||w||_1
        shift = (eps - self.eps) * norm
        return float(plus + shift / wide), float(minus + shift / narrow)

    def linear(self) -> LinearClassifier:
        """Return the same classifier with its weights written out, shape (d,)."""
        d = self.mixture.dim
        weights = np.full(d, d**-0.5) if self.direction == "ones" else np.eye(1, d)[0]
        return LinearClassifier(weights, self.bias)


def optimal_classifier(mixture: GaussianMixture, eps: float = 0.0) -> OptimalClassifier:
    """Return the linear classifier with the smallest average robust error at radius ``eps``.

    The direction maximises the margin w.mean - eps ||w||_1 over unit vectors. It is 1 / sqrt(d)
    for eps < eta (Xu et al., 2021), unique there. At eps = eta every nonnegative w ties
    and 1 / sqrt(d) is kept. The formula does not extend beyond eta: for d > 1 the margin is then
    largest, at eta - eps, for a single basis vector. The bias is `optimal_bias`; with equal priors
    it is interior for every K != 1 (the average error falls from 1/2 at b = -inf to its minimum).

    Args:
        mixture: the class-conditional laws.
        eps: l-infinity radius, in units of x; 0 gives the optimal natural classifier.

    Raises:
        InputError: eps is not a finite number >= 0, or the margin or bias leaves double precision.
    """
    eps = check_real("eps", eps, low=0)
    ones = eps <= mixture.eta
    margin = (mixture.dim**0.5 if ones else 1.0) * (mixture.eta - eps)
    with np.errstate(over="ignore", invalid="ignore"):
        bias = float(optimal_bias(margin, mixture.sigma, mixture.K))
        z = optimal_z_scores(margin, mixture.sigma, mixture.K)
    kind = str(optimal_kind(margin, mixture.sigma, mixture.K))
    if kind == "interior" and not np.isfinite([margin, bias, float(z[0]), float(z[1])]).all():
        raise InputError(f"eps={eps!r} on {mixture} leaves the range of double precision")
    return OptimalClassifier(mixture, eps, "ones" if ones else "basis", margin, bias, kind)
