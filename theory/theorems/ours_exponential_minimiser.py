"""Exponential loss: the minimiser in closed form."""

import numpy as np
import sympy as sp

from theory.claims import symbolic
from theory.claims.domains import MARGIN, draw_margin, learnt_bias
from theory.claims.statement import Setting, Statement
from theory.gaussian.surrogate import exponential_optimum

__all__ = ["STATEMENT"]


def gradient(s: Setting, factor: float) -> float:
    """Return the size of the gradient over that of its terms, at ``factor`` times the bias."""
    m, sigma, K = s["m"], s["sigma"], s["K"]
    scale, b, _ = (float(v) for v in exponential_optimum(m, sigma, K))
    b *= factor
    terms = []
    for sign, width in ((1, K * sigma), (-1, sigma)):
        log_loss = -scale * (m + sign * b) + scale**2 * width**2 / 2
        terms.append((log_loss, -(m + sign * b) + scale * width**2, -sign * scale))
    top = max(t[0] for t in terms)
    sums = [sum(np.exp(t[0] - top) * t[i] for t in terms) for i in (1, 2)]
    return float(abs(sums[0]) / m + abs(sums[1]) / scale)


def symbolic_gradient() -> sp.Expr:
    """Return the sum of both derivatives of the loss at the closed form, over the loss."""
    m, K, sigma = symbolic.m, symbolic.K, symbolic.sigma
    scale, b = sp.symbols("scale b")
    loss = sum(
        sp.exp(-scale * (m + sign * b) + scale**2 * width**2 / 2)
        for sign, width in ((1, K * sigma), (-1, sigma))
    )
    closed = {scale: 2 * m / (sigma**2 * (K**2 + 1)), b: m * (K**2 - 1) / (2 * (K**2 + 1))}
    return sum(sp.simplify((sp.diff(loss, v) / loss).subs(closed)) for v in (scale, b))


STATEMENT = Statement(
    claim="The loss is stationary at s = 2m / (sigma^2 (K^2 + 1)), b = m (K^2 - 1) / (2 (K^2 + 1)).",
    source="ours",
    status="confirmed",
    note=(
        "The loss of class y is exp(-s (m + y b) + s^2 width^2 / 2); both parts of the gradient are "
        "summed in size."
    ),
    kind="=",
    assumptions=MARGIN,
    draw=draw_margin,
    residual=lambda s: gradient(s, 1.0),
    symbolic=lambda: symbolic_gradient(),
    control=lambda s: gradient(s, 1.02),
    simulation=lambda s: learnt_bias(
        s, "exponential", float(exponential_optimum(s["m"], s["sigma"], s["K"])[1])
    ),
)
