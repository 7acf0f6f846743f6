"""The relative price of fairness has a floor that depends on K alone."""

import numpy as np
import sympy as sp
from scipy.special import log_ndtr

from theory.claims import symbolic
from theory.claims.domains import MARGIN, draw_margin, fair, optimum, z_scores
from theory.claims.simulation import Simulation, rates_of
from theory.claims.statement import Setting, Statement
from theory.gaussian.fairness import fair_error

__all__ = ["STATEMENT"]


def log_limit(K: float) -> float:
    """Return ln(2 K^(K/(K+1)) / (K + 1))."""
    return float(np.log(2) + K / (K + 1) * np.log(K) - np.log(K + 1))


def ratio(s: Setting) -> float:
    """Return the log of the ratio over its limit."""
    K = s["K"]
    average = np.logaddexp(*log_ndtr(z_scores(s))) - np.log(2)
    return float(fair_error(s["m"], s["sigma"], K, log=True) - average - log_limit(K))


def symbolic_ratio() -> sp.Expr:
    """Return the log of the ratio over its limit."""
    K = symbolic.K
    limit = sp.log(2) + K / (K + 1) * sp.log(K) - sp.log(K + 1)
    fair = symbolic.normal_cdf(-2 * symbolic.m / ((K + 1) * symbolic.sigma))
    return sp.log(fair) - sp.log(sum(symbolic.class_errors()) / 2) - limit


STATEMENT = Statement(
    claim="fair error / smallest average error >= 2 K^(K/(K+1)) / (K + 1), its limit for large margins.",
    source="ours",
    status="open",
    note=(
        "Proved in the limit only; no setting tried falls below it. So fairness costs at least this "
        "factor, which is below 2 for every K and 1 at K = 1."
    ),
    kind=">=",
    assumptions=MARGIN,
    draw=lambda rng: draw_margin(rng, 8, (1e-3, 100)),
    residual=ratio,
    symbolic=symbolic_ratio,
    control=lambda s: ratio(s) - np.log(1.05),
    simulation=lambda s: Simulation(
        rates=[*rates_of(fair(s)), *rates_of(optimum(s))],
        claim=lambda p: float(np.log((p[0] + p[1]) / (p[2] + p[3])) - log_limit(s["K"])),
    ),
)
