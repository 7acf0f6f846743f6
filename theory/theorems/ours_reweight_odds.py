"""Equal robust errors need the cost odds K."""

import numpy as np
import sympy as sp

from theory.claims import symbolic
from theory.claims.domains import MARGIN, draw_margin, optimum
from theory.claims.simulation import Simulation, rates_of
from theory.claims.statement import Setting, Statement
from theory.gaussian.fairness import critical_margin, fair_bias, reweight_odds

__all__ = ["STATEMENT"]


def odds(s: Setting) -> float:
    """Return ln r at the fair bias."""
    return float(reweight_odds(fair_bias(s["m"], s["K"]), s["m"], s["sigma"], s["K"]))


def symbolic_odds() -> sp.Expr:
    """Return the log of the ratio of the class densities at the fair bias."""
    b = symbolic.m * (symbolic.K - 1) / (symbolic.K + 1)
    plus, minus = -(b + symbolic.m) / (symbolic.K * symbolic.sigma), (b - symbolic.m) / symbolic.sigma
    return (plus**2 - minus**2) / 2


def reweighted(s: Setting) -> Simulation | None:
    """Compare the class errors of training at cost odds K, where its optimum is not constant."""
    if s["m"] < 1.1 * float(critical_margin(s["sigma"], s["K"])):
        return None
    return Simulation(rates=rates_of(optimum(s, log_odds=float(np.log(s["K"])))), claim=lambda p: p[0] - p[1])


STATEMENT = Statement(
    claim="At the bias with equal robust errors the stationary cost odds are K, whatever the margin.",
    source="ours",
    status="confirmed",
    note=(
        "True for any symmetric unimodal noise of one family. Stationary is not optimal: see "
        "folklore_reweighting_always_reaches."
    ),
    kind="=",
    assumptions=MARGIN,
    draw=draw_margin,
    residual=lambda s: odds(s) - np.log(s["K"]),
    symbolic=symbolic_odds,
    control=lambda s: odds(s) - 1.1 * np.log(s["K"]),
    simulation=reweighted,
)
