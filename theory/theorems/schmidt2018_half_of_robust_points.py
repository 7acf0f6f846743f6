"""How many samples averaging needs for half of the points to be robust."""

import numpy as np
import sympy as sp

from theory.claims.simulation import Rate, Simulation
from theory.claims.statement import Setting, Statement, log_uniform, symbol
from theory.claims.symbolic import normal_cdf, normal_density
from theory.variants.averaging import folded_mean, schmidt_samples

__all__ = ["STATEMENT"]

DIMENSION = 10_000


def variance(s: Setting) -> float:
    """Return v = sigma^2 / n_half."""
    return float((s["c"] * DIMENSION**0.25) ** 2) / schmidt_samples(s["c"], s["eps"], DIMENSION)


def symbolic_residual() -> sp.Expr:
    """Return E|N(1, v)| from its integral by erf, less its form by Mills' ratio; v is that of eps."""
    v = symbol("eps")  # any v: the identity does not depend on it
    t = 1 / sp.sqrt(v)
    by_erf = sp.sqrt(2 * v / sp.pi) * sp.exp(-1 / (2 * v)) + sp.erf(t / sp.sqrt(2))
    return by_erf - 1 - 2 * sp.sqrt(v) * (normal_density(t, sp.S.Zero, sp.S.One) - t * normal_cdf(-t))


def simulation(s: Setting) -> Simulation:
    """Return the experiment: the mean size of a coordinate of the average, times eps."""
    deviation = variance(s) ** 0.5
    rate = Rate(
        predicted=1.0,
        sample=lambda rng, n: np.asarray(s["eps"] * abs(1 + deviation * rng.standard_normal(n))),
    )
    return Simulation(rates=[rate], claim=lambda p: p[0] - 1)


STATEMENT = Statement(
    claim="The robust error of averaging passes 1/2 where E|N(1, sigma^2 / n)| = 1 / eps.",
    source="ours, after Schmidt et al. 2018",
    status="confirmed",
    note=(
        "theta = 1, sigma = c d^(1/4), l-infinity: n is (2/pi) eps^2 c^2 sqrt(d) for small eps. With two "
        "widths sigma^2 (K^2 + 1) / 2 takes the place of sigma^2, and both classes pass 1/2 together."
    ),
    kind="=",
    assumptions={"c > 0": lambda s: s["c"] > 0, "0 < eps < 1": lambda s: 0 < s["eps"] < 1},
    draw=lambda rng: {"c": log_uniform(rng, 0.1, 10), "eps": float(rng.uniform(0.05, 0.95))},
    residual=lambda s: s["eps"] * folded_mean(1.0, variance(s)) - 1,
    symbolic=symbolic_residual,
    control=lambda s: s["eps"] * folded_mean(1.0, np.pi / 2 / s["eps"] ** 2) - 1,
    simulation=simulation,
)
