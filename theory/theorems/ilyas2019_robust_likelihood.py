"""Robust maximum likelihood sees sigma + eps."""

import numpy as np
import numpy.typing as npt
import sympy as sp

from theory.claims.simulation import Rate, Simulation
from theory.claims.statement import Setting, Statement, log_uniform, symbol
from theory.claims.symbolic import sigma as sigma_symbol
from theory.variants.robust_likelihood import robust_likelihood

__all__ = ["STATEMENT"]


def variance(s: Setting) -> float:
    """Return the variance of the robust model in the print's form."""
    lam, v = robust_likelihood(s["sigma"], 1.0, s["eps"]).lam, s["sigma"] ** 2
    return float(v / 2 + 1 / lam + np.sqrt(v / lam + v**2 / 4))


def symbolic_residual() -> sp.Expr:
    """Return the same in symbols."""
    sigma, eps = sigma_symbol, symbol("eps")
    inverse = eps * (sigma + eps)
    return sp.log(sigma**2 / 2 + inverse + sp.sqrt(sigma**2 * inverse + sigma**4 / 4)) - 2 * sp.log(
        sigma + eps
    )


def simulation(s: Setting) -> Simulation:
    """Return the experiment: the mean square of what the adversary makes of samples of one class."""
    sigma, eps = s["sigma"], s["eps"]

    def squares(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
        x = sigma * rng.standard_normal((n, 2))  # two each: one would leave 0.054 unseen
        attacked = x + eps * x / sigma  # |delta| proportional to |x|
        return np.asarray(((attacked / (sigma + eps)) ** 2).mean(axis=1))

    return Simulation(rates=[Rate(predicted=1.0, sample=squares)], claim=lambda p: float(np.log(p[0])))


STATEMENT = Statement(
    claim="Robust maximum likelihood gives N(theta, sigma^2) the standard deviation sigma + eps.",
    source="ours, after Ilyas et al. 2019",
    status="confirmed",
    note=(
        "For an adversary with mean square at most eps^2 in a coordinate, a budget in the mean. It is the "
        "print's sigma^2/2 + 1/lam + sqrt(sigma^2/lam + sigma^4/4) with 1/lam = eps (sigma + eps). So the "
        "ratio of two classes' deviations becomes (K sigma + eps) / (sigma + eps), nearer to 1."
    ),
    kind="=",
    assumptions={"sigma > 0": lambda s: s["sigma"] > 0, "eps > 0": lambda s: s["eps"] > 0},
    draw=lambda rng: {"sigma": log_uniform(rng, 0.1, 10), "eps": log_uniform(rng, 0.01, 10)},
    residual=lambda s: (
        float(np.log(variance(s))) - 2 * float(np.log(robust_likelihood(s["sigma"], 1.0, s["eps"]).sigma_r))
    ),
    symbolic=symbolic_residual,
    control=lambda s: float(np.log(variance(s))) - float(np.log(s["sigma"] ** 2 + s["eps"] ** 2)),
    simulation=simulation,
)
