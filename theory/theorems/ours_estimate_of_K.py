"""K from four error rates, without the bias."""

import numpy as np
import sympy as sp
from scipy.special import ndtr

from theory.claims import symbolic
from theory.claims.domains import LOSS, law
from theory.claims.simulation import Simulation, Training, rates_of
from theory.claims.statement import Setting, Statement, log_uniform, symbol
from theory.gaussian.fairness import bias_z_scores
from theory.variants.multiclass import variance_ratio

__all__ = ["STATEMENT"]


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw settings whose four errors are far from 0 and 1."""
    sigma = log_uniform(rng, 0.1, 10)
    K = 1 + log_uniform(rng, 1e-3, 3)
    return {"m": sigma * rng.uniform(0.1, 2), "sigma": sigma, "K": K, "loss": sigma * rng.uniform(0.1, 1)}


def ratio(s: Setting) -> float:
    """Return the estimate at a bias that is optimal for neither error."""
    errors = [
        tuple(float(v) for v in ndtr(bias_z_scores(0.2 * s["sigma"], m, s["sigma"], s["K"])))
        for m in (s["m"] + s["loss"], s["m"])
    ]
    return variance_ratio((errors[0][0], errors[0][1]), (errors[1][0], errors[1][1]))


def symbolic_ratio() -> sp.Expr:
    """Return the ratio of the differences of z-scores over K, less 1."""
    b, m, K, sigma, loss = symbolic.b, symbolic.m, symbolic.K, symbolic.sigma, symbol("loss")
    plus, minus = -(b + m) / (K * sigma), (b - m) / sigma
    return sp.simplify((minus - minus.subs(m, m + loss)) / (plus - plus.subs(m, m + loss)) / K - 1)


def simulation(s: Setting) -> Simulation:
    """Estimate K from four counted error rates of one classifier."""
    fixed = Training(distribution=law(s), rule="fixed", bias=0.2 * s["sigma"])
    return Simulation(
        rates=[*rates_of(fixed, law(s, s["loss"])), *rates_of(fixed)],
        claim=lambda p: variance_ratio((p[0], p[1]), (p[2], p[3])) / s["K"] - 1,
    )


STATEMENT = Statement(
    claim="(z_rob - z_nat of class -1) / (z_rob - z_nat of class +1) = K for any bias.",
    source="ours",
    status="confirmed",
    note=(
        "Exact for a fixed linear classifier; for a network an approximation with Gaussian margins and a "
        "constant gradient norm. loss = eps rho."
    ),
    kind="=",
    assumptions=LOSS,
    draw=draw,
    residual=lambda s: ratio(s) / s["K"] - 1,
    symbolic=symbolic_ratio,
    control=lambda s: ratio(s) / s["K"] - 1.01,
    simulation=simulation,
)
