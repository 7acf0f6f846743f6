"""Where reweighting starts to reach equal robust errors."""

import sympy as sp

from theory.claims import symbolic
from theory.claims.domains import MARGIN, draw_margin, fair
from theory.claims.simulation import Simulation, rates_of
from theory.claims.statement import Statement
from theory.gaussian.fairness import critical_margin, fair_error

__all__ = ["STATEMENT"]

STATEMENT = Statement(
    claim="At m = (K + 1) (sigma / 2) Phi^-1(K / (K + 1)) the fair error is 1 / (K + 1).",
    source="ours",
    status="confirmed",
    note="Above it cost odds K equalise the robust errors, below it no odds do.",
    kind="=",
    assumptions=MARGIN,
    draw=draw_margin,
    residual=lambda s: (
        float(fair_error(critical_margin(s["sigma"], s["K"]), s["sigma"], s["K"]) * (1 + s["K"])) - 1
    ),
    symbolic=lambda: (
        sp.erf(sp.erfinv((1 - symbolic.K) / (1 + symbolic.K))) * (1 + symbolic.K) / 2 + (symbolic.K - 1) / 2
    ),
    control=lambda s: (
        float(fair_error(1.05 * critical_margin(s["sigma"], s["K"]), s["sigma"], s["K"]) * (1 + s["K"])) - 1
    ),
    simulation=lambda s: Simulation(
        rates=rates_of(fair({**s, "m": float(critical_margin(s["sigma"], s["K"]))})),
        claim=lambda p: (p[0] + p[1]) / 2 * (1 + s["K"]) - 1,
    ),
)
