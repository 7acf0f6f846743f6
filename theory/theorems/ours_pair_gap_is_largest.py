"""The gap between two classes is largest at the mean of their half distances."""

import sympy as sp

from theory.claims.simulation import Simulation
from theory.claims.statement import Setting, Statement, symbol
from theory.claims.symbolic import normal_cdf
from theory.theorems.ours_pair_ratio_falls import DISTANCES, draw_distances, rate_of
from theory.variants.many_classes import pair_gap

__all__ = ["STATEMENT"]


def gap(s: Setting, eps: float) -> float:
    """Return R_k - R_l."""
    return pair_gap(s["delta_k"], s["delta_l"], s["sigma"], eps).gap


def symbolic_residual() -> sp.Expr:
    """Return the same in symbols."""
    near, far, sigma, eps = map(symbol, ("delta_k", "delta_l", "sigma", "eps"))

    def difference(radius: sp.Expr) -> sp.Expr:
        return normal_cdf(-(near / 2 - radius) / sigma) - normal_cdf(-(far / 2 - radius) / sigma)

    return difference((near + far) / 4) - difference(eps)


def simulation(s: Setting) -> Simulation:
    """Return the experiment: both classes at the radius of the largest gap and at another."""
    peak = (s["delta_k"] + s["delta_l"]) / 4
    return Simulation(
        rates=[rate_of(s, delta, e) for e in (peak, s["eps"]) for delta in ("delta_k", "delta_l")],
        claim=lambda p: p[0] - p[1] - (p[2] - p[3]),
    )


STATEMENT = Statement(
    claim=(
        "The gap R_k - R_l is largest at eps = (delta_k + delta_l) / 4, where it is "
        "2 Phi((delta_l - delta_k) / (4 sigma)) - 1."
    ),
    source="ours",
    status="confirmed",
    note="It grows with the radius up to there and falls after, while the ratio falls all the way.",
    kind=">=",
    assumptions=DISTANCES,
    draw=draw_distances,
    residual=lambda s: pair_gap(s["delta_k"], s["delta_l"], s["sigma"]).largest_gap - gap(s, s["eps"]),
    symbolic=symbolic_residual,
    control=lambda s: gap(s, s["delta_k"] / 4) - gap(s, s["eps"]),
    simulation=simulation,
)
