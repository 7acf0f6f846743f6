"""Reweighting can always equalise robust errors."""

import numpy as np
import sympy as sp

from theory.claims import symbolic
from theory.claims.domains import MARGIN, draw_margin, fair
from theory.claims.simulation import Simulation, rates_of
from theory.claims.statement import Statement
from theory.gaussian.fairness import fair_error

__all__ = ["STATEMENT"]

STATEMENT = Statement(
    claim="At cost odds K the classifier with equal robust errors beats the constant ones.",
    source="folklore",
    status="refuted",
    note=(
        "It needs m > (K + 1) (sigma / 2) Phi^-1(K / (K + 1)). Below that margin the reweighted 0/1 "
        "optimum jumps to always +1. A convex surrogate does not jump."
    ),
    kind=">=",
    assumptions=MARGIN,
    draw=draw_margin,
    residual=lambda s: -np.log1p(s["K"]) - float(fair_error(s["m"], s["sigma"], s["K"], log=True)),
    symbolic=lambda: (
        -sp.log(1 + symbolic.K)
        - sp.log(symbolic.normal_cdf(-2 * symbolic.m / ((symbolic.K + 1) * symbolic.sigma)))
    ),
    control=lambda s: np.log1p(s["K"]) - 1 + float(fair_error(s["m"], s["sigma"], s["K"], log=True)),
    simulation=lambda s: Simulation(
        rates=rates_of(fair(s)), claim=lambda p: float(-np.log1p(s["K"]) - np.log((p[0] + p[1]) / 2))
    ),
    counterexample={"m": 0.5, "sigma": 1.0, "K": 2.0},
)
