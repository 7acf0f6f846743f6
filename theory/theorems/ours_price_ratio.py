"""The relative price of fairness has a floor that depends on K alone."""

import numpy as np
import sympy as sp
from scipy.special import log_ndtr

from theory import symbolic
from theory.fairness import fair_error
from theory.optimal import optimal_z_scores
from theory.statement import Setting, Statement, log_uniform

__all__ = ["STATEMENT"]


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw m / sigma from 0.01 to 8 and K - 1 from 1e-3 to 100."""
    sigma = log_uniform(rng, 0.1, 10)
    return {"m": sigma * log_uniform(rng, 0.01, 8), "sigma": sigma, "K": 1 + log_uniform(rng, 1e-3, 100)}


def z(s: Setting) -> tuple[float, float]:
    """Return the z-scores of the optimal classifier."""
    plus, minus = optimal_z_scores(s["m"], s["sigma"], s["K"])
    return float(plus), float(minus)


def ratio(s: Setting) -> float:
    """Return the log of the ratio over its limit."""
    K = s["K"]
    limit = np.log(2) + K / (K + 1) * np.log(K) - np.log(K + 1)
    average = np.logaddexp(*log_ndtr(z(s))) - np.log(2)
    return float(fair_error(s["m"], s["sigma"], K, log=True) - average - limit)


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
    assumptions={
        "m > 0": lambda s: s["m"] > 0,
        "sigma > 0": lambda s: s["sigma"] > 0,
        "K > 1": lambda s: s["K"] > 1,
    },
    draw=draw,
    residual=ratio,
    symbolic=symbolic_ratio,
    control=lambda s: ratio(s) - np.log(1.05),
)
