"""The ratio of two classes' errors falls with the radius."""

import numpy as np
import sympy as sp

from theory.claims.simulation import Distribution, Rate, Simulation, Training, rates_of
from theory.claims.statement import Setting, Statement, log_uniform, symbol
from theory.claims.symbolic import normal_cdf
from theory.variants.many_classes import pair_gap

__all__ = ["DISTANCES", "STATEMENT", "draw_distances", "rate_of"]

DISTANCES = {
    "0 < delta_k < delta_l": lambda s: 0 < s["delta_k"] < s["delta_l"],
    "sigma > 0": lambda s: s["sigma"] > 0,
    "eps >= 0": lambda s: s["eps"] >= 0,
}
"""Assumptions on two classes with one neighbour each."""


def draw_distances(rng: np.random.Generator) -> dict[str, float]:
    """Draw the distances of the nearest neighbours of two classes, and a radius."""
    near, sigma = log_uniform(rng, 0.3, 6), log_uniform(rng, 0.5, 2)
    far = near * log_uniform(rng, 1.05, 3)
    return {"delta_k": near, "delta_l": far, "sigma": sigma, "eps": float(rng.uniform(0, 0.6)) * far}


def rate_of(s: Setting, delta: str, eps: float) -> Rate:
    """Return the robust error of a class with one neighbour."""
    law = Distribution(margin=s[delta] / 2 - eps, widths=(s["sigma"], s["sigma"]))
    return rates_of(Training(distribution=law, rule="fixed", bias=0.0))[0]


def log_ratio(s: Setting, eps: float) -> float:
    """Return ln(R_k / R_l)."""
    return float(np.log(pair_gap(s["delta_k"], s["delta_l"], s["sigma"], eps).ratio))


def symbolic_residual() -> sp.Expr:
    """Return the same in symbols."""
    near, far, sigma, eps, more = map(symbol, ("delta_k", "delta_l", "sigma", "eps", "more"))

    def ratio(radius: sp.Expr) -> sp.Expr:
        errors = [sp.log(normal_cdf(-(delta / 2 - radius) / sigma)) for delta in (near, far)]
        return errors[0] - errors[1]

    return ratio(eps) - ratio(eps + more)


def simulation(s: Setting) -> Simulation:
    """Return the experiment: both classes at both radii."""
    return Simulation(
        rates=[rate_of(s, delta, s["eps"] + e) for e in (0, s["more"]) for delta in ("delta_k", "delta_l")],
        claim=lambda p: float(np.log(p[0] * p[3] / (p[1] * p[2]))),
    )


STATEMENT = Statement(
    claim="The ratio R_k / R_l of a class with a near and one with a far neighbour falls with the radius.",
    source="ours, after Lee et al. 2024",
    status="confirmed",
    note=(
        'Of equal widths, at every radius, because phi / Phi is decreasing; so that "adversarial training '
        'amplifies disparity" is false for ratios. For gaps see `ours_pair_gap_is_largest`.'
    ),
    kind=">=",
    assumptions={**DISTANCES, "more > 0": lambda s: s["more"] > 0},
    draw=lambda rng: {**draw_distances(rng), "more": log_uniform(rng, 0.05, 2)},
    residual=lambda s: log_ratio(s, s["eps"]) - log_ratio(s, s["eps"] + s["more"]),
    symbolic=symbolic_residual,
    control=lambda s: log_ratio(s, s["eps"] + s["more"]) - log_ratio(s, s["eps"]),
    simulation=simulation,
)
