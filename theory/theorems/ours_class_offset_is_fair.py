"""A shift of the bias leads from the optimum to equal robust errors."""

import sympy as sp
from scipy.special import ndtri

from theory.claims import symbolic
from theory.claims.domains import MARGIN, draw_margin, fair
from theory.claims.simulation import Simulation, rates_of
from theory.claims.statement import Setting, Statement
from theory.gaussian.bias_offset import fair_offset
from theory.gaussian.fairness import fair_bias
from theory.gaussian.optimal import optimal_bias

__all__ = ["STATEMENT"]


def reached(s: Setting) -> float:
    """Return the optimal bias plus the offset."""
    args = s["m"], s["sigma"], s["K"]
    return float(optimal_bias(*args) + fair_offset(*args))


def symbolic_residual() -> sp.Expr:
    """Return the same in symbols, in units of sigma."""
    m, sigma, K = symbolic.m, symbolic.sigma, symbolic.K
    offset = K * sigma**2 * sp.log(K) / (m + symbolic.root)
    return (symbolic.bias() + offset - symbolic.fair_bias(m, K)) / sigma


def simulation(s: Setting) -> Simulation:
    """Return the experiment: the bias with equal errors of samples."""
    return Simulation(
        rates=rates_of(fair(s))[:1],
        claim=lambda p: (-s["K"] * float(ndtri(p[0])) * s["sigma"] - s["m"] - reached(s)) / s["sigma"],
    )


STATEMENT = Statement(
    claim=(
        "The optimal classifier with its bias shifted by K sigma^2 ln K / (m + root) has equal robust "
        "errors, where root^2 = m^2 + (K^2 - 1) sigma^2 ln K / 2."
    ),
    source="ours",
    status="confirmed",
    note=(
        "A class offset after training is the exact fair optimum. Class errors move continuously with it, "
        "where reweighting jumps; it costs to second order, and on linear scores it commutes with targeted "
        "attacks."
    ),
    kind="=",
    assumptions=MARGIN,
    draw=lambda rng: draw_margin(rng, 10, (1e-4, 20)),
    residual=lambda s: (reached(s) - float(fair_bias(s["m"], s["K"]))) / s["sigma"],
    symbolic=symbolic_residual,
    control=lambda s: (
        (float(optimal_bias(s["m"], s["sigma"], s["K"])) - float(fair_bias(s["m"], s["K"]))) / s["sigma"]
    ),
    simulation=simulation,
)
