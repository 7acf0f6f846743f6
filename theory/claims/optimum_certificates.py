"""What the certificates of many statements share: the optimal z-scores in K and a = 2m / sigma alone.

With kappa = K^2 - 1 and T = sqrt(a^2 + 2 kappa ln K) the optimal classifier has z_+ = (T - K a) / kappa and
z_- = (a - K T) / kappa (`theory.gaussian.optimal.optimal_z_scores`); t = a / T is below 1.
"""

from collections.abc import Mapping

import sympy as sp

__all__ = [
    "BOX",
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

K, a = sp.symbols("K a", positive=True)
log_K, kappa = sp.log(K), K**2 - 1
T = sp.sqrt(a**2 + 2 * kappa * log_K)
plus, minus, t = (T - K * a) / kappa, (a - K * T) / kappa, a / T
one_minus_t = 2 * kappa * log_K / (T * (T + a))
"""1 - t without cancellation."""
bracket = (K - 1) ** 2 + 2 * K * one_minus_t
"""K^2 + 1 - 2 K t without cancellation."""
STATIONARY = minus**2 - plus**2 - 2 * log_K
"""0: at the optimum phi(z_+) = K phi(z_-)."""
BOX: Mapping[str, tuple[str, str]] = {"K": ("1.01", "10"), "a": ("0", "20")}
