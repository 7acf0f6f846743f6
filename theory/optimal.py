"""The linear classifiers with the smallest natural and the smallest robust error, in closed form."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from theory.inputs import InputError, check_real
from theory.linear import LinearClassifier, ZScores
from theory.mixture import GaussianMixture

__all__ = ["OptimalClassifier", "optimal_bias", "optimal_classifier", "optimal_z_scores"]

Array = npt.NDArray[np.float64]


def optimal_z_scores(margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike) -> tuple[Array, Array]:
    r"""Return (z_+, z_-) of the classifier with the smallest average error at effective margin m.

    Xu et al. (2021) give them for m = sqrt(d) eta (natural) and m = sqrt(d) (eta - eps) (robust). With
    A = 2m / ((K^2 - 1) sigma) and q = 2 ln K / (K^2 - 1) the paper's form is

        z_- = A - K sqrt(A^2 + q),    z_+ = -K A + sqrt(A^2 + q).

    For m > 0 it loses all digits as K -> 1. Multiplying by the conjugate, with a = 2m / sigma and
    T = sqrt(a^2 + 2 (K^2 - 1) ln K), gives the form computed here:

        z_- = -(a^2 + 2 K^2 ln K) / (a + K T),    z_+ = (2 ln K - a^2) / (T + K a).

    K < 1 is K > 1 with the classes exchanged. At K = 1 and m <= 0 every constant classifier is
    optimal and the one that always answers +1 is returned: z = (-inf, inf).

    Args:
        margin: m = w.mean - eps ||w||_1 of the unit vector w, of any sign; broadcasts with the
            others.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.
    """
    m, sigma, excess, swapped = _wide_class_first(margin, sigma, K)
    K, kappa, log_K = 1 + excess, excess * (2 + excess), np.log1p(excess)
    a = 2 * m / sigma
    T = np.sqrt(a**2 + 2 * kappa * log_K)
    with np.errstate(divide="ignore", invalid="ignore"):
        conjugate = (2 * log_K - a**2) / (T + K * a), -(a**2 + 2 * K**2 * log_K) / (a + K * T)
        direct = (T - K * a) / kappa, (a - K * T) / kappa
    wide, narrow = (np.where(m > 0, c, d) for c, d in zip(conjugate, direct, strict=True))
    plus, minus = np.where(swapped, narrow, wide), np.where(swapped, wide, narrow)
    tie = (kappa == 0) & (m <= 0)
    return np.where(tie, -np.inf, plus), np.where(tie, np.inf, minus)


def optimal_bias(margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike) -> Array:
    r"""Return the bias b that minimises Phi(-(b + m) / (K sigma)) + Phi((b - m) / sigma).

    After Xu et al. (2021), with the same arguments as `optimal_z_scores`. It is the smaller
    root of

        (K^2 - 1) b^2 - 2 (K^2 + 1) m b + (K^2 - 1) m^2 - 2 K^2 sigma^2 ln K = 0,

    multiplied by its conjugate where m > 0. It is +inf at K = 1 and m <= 0 (always +1).
    """
    m, sigma, excess, swapped = _wide_class_first(margin, sigma, K)
    K, kappa, log_K = 1 + excess, excess * (2 + excess), np.log1p(excess)
    root = 2 * K * np.sqrt(m**2 + kappa * sigma**2 * log_K / 2)
    half = (K**2 + 1) * m
    with np.errstate(divide="ignore", invalid="ignore"):
        conjugate = (kappa * m**2 - 2 * K**2 * sigma**2 * log_K) / (half + root)
        bias = np.where(m > 0, conjugate, (half - root) / kappa)
    return np.where((kappa == 0) & (m <= 0), np.inf, np.where(swapped, -bias, bias))


def _wide_class_first(
    margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike
) -> tuple[Array, Array, Array, npt.NDArray[np.bool_]]:
    """Return (margin, sigma of the narrow class, K - 1 >= 0, classes were exchanged), broadcast."""
    m, sigma, K = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (margin, sigma, K)))
    swapped = K < 1
    excess = np.where(swapped, (1 - K) / K, K - 1)
    return m, np.where(swapped, K * sigma, sigma), excess, swapped


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
    and 1 / sqrt(d) is kept. For eps > eta the paper's direction is wrong: the margin is then
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
    constant = mixture.K == 1 and margin <= 0
    if not constant and not np.isfinite([margin, bias, float(z[0]), float(z[1])]).all():
        raise InputError(f"eps={eps!r} on {mixture} leaves the range of double precision")
    kind = "always_plus" if constant else "interior"
    return OptimalClassifier(mixture, eps, "ones" if ones else "basis", margin, bias, kind)
