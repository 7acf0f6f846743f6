"""Hinge loss: the minimiser through one equation."""

import sympy as sp

from theory.claims import symbolic
from theory.claims.domains import MARGIN, draw_margin, learnt_bias
from theory.claims.statement import Setting, Statement
from theory.gaussian.surrogate import hinge_optimum

__all__ = ["STATEMENT"]


def mismatch(s: Setting, factor: float) -> float:
    """Return how far the two classes' hinge z-scores, at ``factor`` times s, are from t."""
    m, sigma, K = s["m"], s["sigma"], s["K"]
    scale, b, t = (float(v) for v in hinge_optimum(m, sigma, K))
    plus = (1 / (scale * factor) - (m + b)) / (K * sigma)
    minus = (1 / (scale * factor) - (m - b)) / sigma
    return (abs(plus - t) + abs(minus - t)) / (1 + abs(t))


def symbolic_mismatch() -> sp.Expr:
    """Return the sum of the two differences for every t."""
    m, K, sigma, t = symbolic.m, symbolic.K, symbolic.sigma, sp.Symbol("t")
    reach, b = m + t * sigma * (K + 1) / 2, -t * sigma * (K - 1) / 2
    return sp.simplify((reach - m - b) / (K * sigma) - t) + sp.simplify((reach - m + b) / sigma - t)


STATEMENT = Statement(
    claim="At the minimum both classes have the hinge z-score t with phi(t) / Phi(t) = 2m / ((K + 1) sigma).",
    source="ours",
    status="confirmed",
    note=(
        "Stationarity in b asks for equal fractions of violated margins, stationarity in s for phi / Phi."
        " It gives b = -t sigma (K - 1) / 2 and 1 / s = m + t sigma (K + 1) / 2."
    ),
    kind="=",
    assumptions=MARGIN,
    draw=lambda rng: draw_margin(rng, 8, (1e-6, 100)),
    residual=lambda s: mismatch(s, 1.0),
    symbolic=lambda: symbolic_mismatch(),
    control=lambda s: mismatch(s, 1.01),
    simulation=lambda s: learnt_bias(s, "hinge", float(hinge_optimum(s["m"], s["sigma"], s["K"])[1])),
)
