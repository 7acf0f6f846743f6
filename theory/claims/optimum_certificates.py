"""What the certificates of many statements share: the optimal z-scores in K and a = 2m / sigma alone.

With kappa = K^2 - 1 and T = sqrt(a^2 + 2 kappa ln K) the optimal classifier has z_+ = (T - K a) / kappa and
z_- = (a - K T) / kappa (`theory.gaussian.optimal.optimal_z_scores`); t = a / T is below 1.
"""

from collections.abc import Mapping

import sympy as sp

__all__ = [
    "BOX",
    "DIRECT_BOX",
    "K",
    "STATIONARY",
    "T",
    "a",
    "bracket",
    "kappa",
    "log_K",
    "minus",
    "one_minus_t",
    "plus",
    "t",
]

# With a = 2m / sigma and equal priors the optimum depends on K and a alone, and the box is a rectangle.
K, a = sp.symbols("K a", positive=True)
log_K, kappa = sp.log(K), K**2 - 1
T = sp.sqrt(a**2 + 2 * kappa * log_K)
plus, minus, t = (T - K * a) / kappa, (a - K * T) / kappa, a / T
# T^2 - a^2 = 2 kappa ln K, so 1 - t = (T - a) / T = (T^2 - a^2) / (T (T + a)): an interval of a difference of
# two near numbers is as wide as both of them together, one of a quotient is not.
one_minus_t = 2 * kappa * log_K / (T * (T + a))
"""1 - t without cancellation."""
# K^2 + 1 - 2 K t = (K - 1)^2 + 2 K (1 - t): a sum of two terms > 0
bracket = (K - 1) ** 2 + 2 * K * one_minus_t
"""K^2 + 1 - 2 K t without cancellation."""
STATIONARY = minus**2 - plus**2 - 2 * log_K
"""0: at the optimum phi(z_+) = K phi(z_-)."""
# K = 1 is the limit where kappa = 0 divides; a = 20 is, near K = 1, an error of 1e-23.
BOX: Mapping[str, tuple[str, str]] = {"K": ("1.01", "10"), "a": ("0", "20")}
DIRECT_BOX: Mapping[str, tuple[str, str]] = {"K": ("1.1", "6"), "a": ("0.1", "8")}
"""Where direct forms are proved within a minute: near K = 1 and in the tails both sides are nearly equal."""
