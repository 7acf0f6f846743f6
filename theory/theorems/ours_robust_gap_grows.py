"""The gap between robust errors grows with the radius."""

import numpy as np
import sympy as sp
from scipy.special import ndtr

from theory import symbolic
from theory.optimal import optimal_z_scores
from theory.statement import Setting, Statement, log_uniform, symbol

__all__ = ["STATEMENT"]


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw the margin after a radius, and the margin that radius has cost."""
    sigma = log_uniform(rng, 0.1, 10)
    lost = sigma * log_uniform(rng, 0.01, 10)
    m = sigma * log_uniform(rng, 0.01, 10)
    return {"m": m, "sigma": sigma, "K": 1 + log_uniform(rng, 1e-3, 30), "loss": lost}


def z(s: Setting) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the z-scores under attack at the smaller margin m and at the larger margin m + loss."""
    few, many = (optimal_z_scores(m, s["sigma"], s["K"]) for m in (s["m"], s["m"] + s["loss"]))
    return (float(few[0]), float(few[1])), (float(many[0]), float(many[1]))


def gap(s: Setting) -> float:
    """Return the gap at the smaller margin less that at the larger one."""
    few, many = z(s)
    return float(np.subtract(*ndtr(few)) - np.subtract(*ndtr(many)))


def twin() -> sp.Expr:
    """Return the gap at the smaller margin less that at the larger one."""
    plus, minus = symbolic.class_errors()
    return (plus - minus) - (plus - minus).subs(symbolic.m, symbolic.m + symbol("loss"))


STATEMENT = Statement(
    claim="R_rob(f_rob, +1) - R_rob(f_rob, -1) is larger at the larger radius.",
    source="ours; observed by Ma et al., 2022",
    status="confirmed",
    note=(
        "The derivative in m is 2 / ((K^2 - 1) sigma) phi(z_+) (2t - K - 1/K) < 0. It fails for "
        "exponential and logistic training."
    ),
    kind=">=",
    assumptions={
        "m > 0": lambda s: s["m"] > 0,
        "sigma > 0": lambda s: s["sigma"] > 0,
        "K > 1": lambda s: s["K"] > 1,
        "0 < loss": lambda s: s["loss"] > 0,
    },
    draw=draw,
    residual=gap,
    symbolic=twin,
    control=lambda s: -gap(s),
)
