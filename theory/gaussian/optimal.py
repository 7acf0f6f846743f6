"""The bias with the smallest weighted error along one direction, in closed form, and its z-scores."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr

__all__ = ["beats_constants", "optimal_bias", "optimal_kind", "optimal_z_scores"]

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

    >>> [round(float(z), 4) for z in optimal_z_scores(1.0, 1.0, 2.0)]
    [-0.3812, -1.2376]
    """
    return _exchanged(_WideFirst.best_z_scores, margin, sigma, K, log_odds)


def optimal_bias(
    margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike, log_odds: npt.ArrayLike = 0.0
) -> Array:
    r"""Return the bias b that minimises omega_+ Phi(-(b + m) / (K sigma)) + omega_- Phi((b - m) / sigma).

    After Xu et al. (2021), with the same arguments as `optimal_z_scores`. For K > 1 it is the smaller root of

        (K^2 - 1) b^2 - 2 (K^2 + 1) m b + (K^2 - 1) m^2 - 2 K^2 sigma^2 l = 0,    l = ln K - ln r,

    multiplied by its conjugate where m > 0. It is +inf where always +1 is optimal, -inf for always -1.

    >>> round(float(optimal_bias(1.0, 1.0, 2.0)), 4)
    -0.2376
    """
    return _exchanged(_WideFirst.best_bias, margin, sigma, K, log_odds)[0]


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

    >>> str(optimal_kind(0.5, 1.0, 2.0, log_odds=1.5))
    'always_plus'
    """
    answer = _exchanged(_WideFirst.answer, margin, sigma, K, log_odds)[0]
    constant = np.where(answer > 0, "always_plus", "always_minus")
    return np.where(answer == 0, "interior", constant)


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


def _exchanged(
    part: Callable[["_WideFirst"], tuple[Array, Array]],
    margin: npt.ArrayLike,
    sigma: npt.ArrayLike,
    K: npt.ArrayLike,
    log_odds: npt.ArrayLike,
) -> tuple[Array, Array]:
    """Return a part of the optimum as class +1 and as class -1 sees it.

    The only place where classes are exchanged: ``part`` has the wide class first.
    """
    arrays = (np.asarray(v, dtype=np.float64) for v in (margin, sigma, K, log_odds))
    m, sigma, K, odds = np.broadcast_arrays(*arrays)
    # x -> -x maps the classes on each other, with 1 / K for K, K sigma for sigma and 1 / r for r.
    swapped = K < 1
    with np.errstate(over="ignore"):  # callers refuse what is not finite
        excess = np.where(swapped, (1 - K) / K, K - 1)
        narrow = np.where(swapped, K * sigma, sigma)
    first, second = part(_WideFirst.of(m, narrow, excess, np.where(swapped, -odds, odds)))
    if not swapped.any():
        return first, second
    return np.where(swapped, second, first), np.where(swapped, first, second)


@dataclass(frozen=True)
class _WideFirst:
    """The problem whose first class, +1, is at least as wide as the second.

    Args:
        m: margin.
        sigma: standard deviation of the narrow class.
        K: ratio of standard deviations, >= 1.
        kappa: K^2 - 1, without cancellation.
        level: l = ln K - ln r.
        log_odds: ln r, of the wide class.
    """

    m: Array
    sigma: Array
    K: Array
    kappa: Array
    level: Array
    log_odds: Array

    @classmethod
    def of(cls, m: Array, sigma: Array, excess: Array, log_odds: Array) -> "_WideFirst":
        """Return the problem with K = 1 + ``excess``, whose functions near K = 1 lose no digits."""
        with np.errstate(over="ignore"):
            kappa = excess * (2 + excess)
        return cls(m, sigma, 1 + excess, kappa, np.log1p(excess) - log_odds, log_odds)

    def best_z_scores(self) -> tuple[Array, Array]:
        """Return the z-scores of the wide and of the narrow class at the optimum."""
        wide, narrow = self.z_scores()
        constant = self.constant()
        if not constant.any():
            return wide, narrow
        # z = -inf: the class that is always answered never errs
        return np.where(constant, -self.majority, wide), np.where(constant, self.majority, narrow)

    def best_bias(self) -> tuple[Array, Array]:
        """Return the optimal bias b, and -b, which is that of the other class."""
        bias = np.where(self.constant(), self.majority, self.bias())
        return bias, -bias

    def answer(self) -> tuple[Array, Array]:
        """Return inf where the first class is always answered, -inf the second, else 0; and minus it."""
        answer = np.where(self.constant(), self.majority, 0.0)
        return answer, -answer

    @property
    def majority(self) -> Array:
        """Return +inf where a constant optimum answers the first class, -inf elsewhere.

        For K > 1 that is the wide class; at K = 1 the class with the larger weight, +1 when equal.
        """
        return np.where((self.kappa > 0) | (self.log_odds >= 0), np.inf, -np.inf)

    def bias(self) -> Array:
        """Return the smaller root of the quadratic of `optimal_bias`; nan without one."""
        with np.errstate(all="ignore"):
            m = self.m / self.sigma  # in units of sigma no square underflows that matters
            root = 2 * self.K * np.sqrt(m**2 + self.kappa * self.level / 2)
            half = (self.K**2 + 1) * m
            # half - root cancels where m > 0; times its conjugate it is the quotient of the other two terms
            conjugate = (self.kappa * m**2 - 2 * self.K**2 * self.level) / (half + root)
            return self.sigma * np.where(m > 0, conjugate, (half - root) / self.kappa)

    def z_scores(self) -> tuple[Array, Array]:
        """Return the z-scores of the wide and the narrow class at the smaller root; nan without one."""
        with np.errstate(all="ignore"):
            # The paper's form is (T - K a, a - K T) / kappa with A = a / kappa. Times the conjugate,
            # (T - K a)(T + K a) = T^2 - K^2 a^2 = kappa (2 l - a^2), and kappa cancels; likewise
            # (a - K T)(a + K T) = a^2 - K^2 T^2 = -kappa (a^2 + 2 K^2 l).
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
        # r Phi(z_+) + Phi(z_-) at the stationary point against 1, the error of always answering wide
        wide, narrow = self.z_scores()
        with np.errstate(all="ignore"):
            no_root = (self.m / self.sigma) ** 2 + self.kappa * self.level / 2 < 0
            constant = no_root | ~beats_constants(wide, narrow, self.log_odds)
        constant &= self.log_odds > 0
        return np.where(self.kappa > 0, constant, self.m <= 0)
