"""The ratio of robust errors grows with the radius."""

import numpy as np
import sympy as sp
from scipy.special import log_ndtr

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


def ratio(s: Setting) -> float:
    """Return ln(R_+ / R_-) at the smaller margin less that at the larger one."""
    few, many = z(s)
    return float(np.subtract(*log_ndtr(few)) - np.subtract(*log_ndtr(many)))


def twin() -> sp.Expr:
    """Return ln(R_+ / R_-) at the smaller margin less that at the larger one."""
    plus, minus = symbolic.class_errors()
    ratio = sp.log(plus) - sp.log(minus)
    return ratio - ratio.subs(symbolic.m, symbolic.m + symbol("loss"))


STATEMENT = Statement(
    claim="R_+ / R_- is larger at the smaller margin.",
    source="ours",
    status="confirmed",
    note=("So disparity in relative terms grows with eps too, from its floor K."),
    kind=">=",
    assumptions={
        "m > 0": lambda s: s["m"] > 0,
        "sigma > 0": lambda s: s["sigma"] > 0,
        "K > 1": lambda s: s["K"] > 1,
        "0 < loss": lambda s: s["loss"] > 0,
    },
    draw=draw,
    residual=ratio,
    symbolic=twin,
    control=lambda s: -ratio(s),
)
