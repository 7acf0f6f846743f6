"""Beyond a radius the best average error gives the middle class up."""

import numpy as np
import sympy as sp
from scipy.special import ndtr

from theory.claims.simulation import Simulation, counted
from theory.claims.statement import Setting, Statement, log_uniform, symbol
from theory.claims.symbolic import normal_cdf
from theory.variants.three_in_a_row import middle_class_radius, three_in_a_row

__all__ = ["STATEMENT"]


def advantage(s: Setting, eps: float) -> float:
    """Return three times the average error with thresholds at +-t, less that without the middle class."""
    z = (s["t"] - eps) / s["sigma"], (s["theta"] - s["t"] - eps) / s["sigma"]
    with_it = 2 * ndtr(-z[0]) + 2 * ndtr(-z[1])
    return float(with_it - 1 - 2 * ndtr(-(s["theta"] - eps) / s["sigma"]))


def residual(s: Setting) -> float:
    """Return `advantage` with the errors of the optimum that the package finds."""
    rule = three_in_a_row(s["theta"], s["sigma"], s["eps"])
    assert rule.kind == "middle given up"
    z = (s["t"] - s["eps"]) / s["sigma"], (s["theta"] - s["t"] - s["eps"]) / s["sigma"]
    return float(2 * ndtr(-z[0]) + 2 * ndtr(-z[1]) - 3 * rule.objective)


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw a radius beyond the jump, and thresholds that leave the middle class a robust point."""
    sigma = log_uniform(rng, 0.3, 3)
    theta = sigma * log_uniform(rng, 0.5, 6)
    jump = middle_class_radius(theta, sigma)
    eps = jump + float(rng.uniform(0.01, 0.99)) * (theta / 2 - jump)
    return {
        "theta": theta,
        "sigma": sigma,
        "eps": eps,
        "t": eps + float(rng.uniform(0, 1)) * (theta - 2 * eps),
    }


def symbolic_residual() -> sp.Expr:
    """Return the same in symbols."""
    theta, sigma, eps, t = map(symbol, ("theta", "sigma", "eps", "t"))
    with_it = 2 * normal_cdf(-(t - eps) / sigma) + 2 * normal_cdf(-(theta - t - eps) / sigma)
    return with_it - 1 - 2 * normal_cdf(-(theta - eps) / sigma)


def simulation(s: Setting) -> Simulation:
    """Return the experiment: count the middle and an outer class with thresholds, and the outer without."""
    inner, outer, alone = (
        v / s["sigma"] for v in (s["t"] - s["eps"], s["theta"] - s["t"] - s["eps"], s["theta"] - s["eps"])
    )
    return Simulation(
        rates=[
            counted(2 * float(ndtr(-inner)), lambda x: abs(x) > inner),
            counted(float(ndtr(-outer)), lambda x: x < -outer),
            counted(float(ndtr(-alone)), lambda x: x < -alone),
        ],
        claim=lambda p: p[0] + 2 * p[1] - 1 - 2 * p[2],
    )


STATEMENT = Statement(
    claim=(
        "Of three classes in a row, beyond a radius the classifier with the smallest average robust error "
        "never answers the middle one."
    ),
    source="ours",
    status="confirmed",
    note=(
        "The radius solves 4 Phi(-(theta/2 - eps)/sigma) = 1 + 2 Phi(-(theta - eps)/sigma) and the middle "
        "class jumps from twice the outer error to 1. The smallest worst class error has no jump."
    ),
    kind=">=",
    assumptions={
        "theta > 0": lambda s: s["theta"] > 0,
        "sigma > 0": lambda s: s["sigma"] > 0,
        "eps_c < eps < theta / 2": lambda s: (
            middle_class_radius(s["theta"], s["sigma"]) < s["eps"] < s["theta"] / 2
        ),
        "eps <= t": lambda s: s["eps"] <= s["t"],
    },
    draw=draw,
    residual=residual,
    symbolic=symbolic_residual,
    control=lambda s: advantage(s, 0.0),
    simulation=simulation,
)
