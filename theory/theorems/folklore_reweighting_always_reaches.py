"""Reweighting can always equalise robust errors."""

import numpy as np
import sympy as sp

from theory import symbolic
from theory.fairness import fair_error
from theory.statement import Statement, log_uniform

__all__ = ["STATEMENT"]


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw m / sigma from 0.01 to 20 and K - 1 from 1e-6 to 100."""
    sigma = log_uniform(rng, 0.1, 10)
    return {"m": sigma * log_uniform(rng, 0.01, 20), "sigma": sigma, "K": 1 + log_uniform(rng, 1e-6, 100)}


STATEMENT = Statement(
    claim="At cost odds K the classifier with equal robust errors beats the constant ones.",
    source="folklore",
    status="refuted",
    note=(
        "It needs m > (K + 1) (sigma / 2) Phi^-1(K / (K + 1)). Below that margin the reweighted 0/1 "
        "optimum jumps to always +1. A convex surrogate does not jump."
    ),
    kind=">=",
    assumptions={
        "m > 0": lambda s: s["m"] > 0,
        "sigma > 0": lambda s: s["sigma"] > 0,
        "K > 1": lambda s: s["K"] > 1,
    },
    draw=draw,
    residual=lambda s: -np.log1p(s["K"]) - float(fair_error(s["m"], s["sigma"], s["K"], log=True)),
    symbolic=lambda: (
        -sp.log(1 + symbolic.K)
        - sp.log(symbolic.normal_cdf(-2 * symbolic.m / ((symbolic.K + 1) * symbolic.sigma)))
    ),
    control=lambda s: np.log1p(s["K"]) - 1 + float(fair_error(s["m"], s["sigma"], s["K"], log=True)),
    counterexample={"m": 0.5, "sigma": 1.0, "K": 2.0},
)
