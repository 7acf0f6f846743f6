"""Equal robust errors cost average robust error."""

import numpy as np
import sympy as sp

from theory import symbolic
from theory.fairness import fair_error, price_of_fairness
from theory.statement import Statement, log_uniform

__all__ = ["STATEMENT"]


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw m / sigma from 0.01 to 8 and K - 1 from 1e-3 to 100."""
    sigma = log_uniform(rng, 0.1, 10)
    return {"m": sigma * log_uniform(rng, 0.01, 8), "sigma": sigma, "K": 1 + log_uniform(rng, 1e-3, 100)}


def symbolic_price() -> sp.Expr:
    """Return 1 - (R_+ + R_-) / (2 R_fair)."""
    fair = symbolic.normal_cdf(-2 * symbolic.m / ((symbolic.K + 1) * symbolic.sigma))
    return 1 - sum(symbolic.class_errors()) / (2 * fair)


STATEMENT = Statement(
    claim="The common error of the fair classifier exceeds the smallest average error: PoF > 0.",
    source="ours",
    status="confirmed",
    note=("Relative to the fair error, so that it is seen in every tail."),
    kind=">=",
    assumptions={
        "m > 0": lambda s: s["m"] > 0,
        "sigma > 0": lambda s: s["sigma"] > 0,
        "K > 1": lambda s: s["K"] > 1,
    },
    draw=draw,
    residual=lambda s: float(
        price_of_fairness(s["m"], s["sigma"], s["K"]) / fair_error(s["m"], s["sigma"], s["K"])
    ),
    symbolic=symbolic_price,
    control=lambda s: float(
        -price_of_fairness(s["m"], s["sigma"], s["K"]) / fair_error(s["m"], s["sigma"], s["K"])
    ),
)
