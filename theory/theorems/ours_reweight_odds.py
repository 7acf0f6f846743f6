"""Equal robust errors need the cost odds K."""

import numpy as np
import sympy as sp

from theory import symbolic
from theory.fairness import fair_bias, reweight_odds
from theory.statement import Setting, Statement, log_uniform

__all__ = ["STATEMENT"]


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw m / sigma from 0.01 to 20 and K - 1 from 1e-6 to 100."""
    sigma = log_uniform(rng, 0.1, 10)
    return {"m": sigma * log_uniform(rng, 0.01, 20), "sigma": sigma, "K": 1 + log_uniform(rng, 1e-6, 100)}


def odds(s: Setting) -> float:
    """Return ln r at the fair bias."""
    return float(reweight_odds(fair_bias(s["m"], s["K"]), s["m"], s["sigma"], s["K"]))


def symbolic_odds() -> sp.Expr:
    """Return the log of the ratio of the class densities at the fair bias."""
    b = symbolic.m * (symbolic.K - 1) / (symbolic.K + 1)
    plus, minus = -(b + symbolic.m) / (symbolic.K * symbolic.sigma), (b - symbolic.m) / symbolic.sigma
    return (plus**2 - minus**2) / 2


STATEMENT = Statement(
    claim="At the bias with equal robust errors the stationary cost odds are K, whatever the margin.",
    source="ours",
    status="confirmed",
    note=(
        "True for any symmetric unimodal noise of one family. Stationary is not optimal: see "
        "folklore_reweighting_always_reaches."
    ),
    kind="=",
    assumptions={
        "m > 0": lambda s: s["m"] > 0,
        "sigma > 0": lambda s: s["sigma"] > 0,
        "K > 1": lambda s: s["K"] > 1,
    },
    draw=draw,
    residual=lambda s: odds(s) - np.log(s["K"]),
    symbolic=symbolic_odds,
    control=lambda s: odds(s) - 1.1 * np.log(s["K"]),
)
