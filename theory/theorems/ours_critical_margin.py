"""Where reweighting starts to reach equal robust errors."""

import numpy as np
import sympy as sp

from theory import symbolic
from theory.fairness import critical_margin, fair_error
from theory.statement import Statement, log_uniform

__all__ = ["STATEMENT"]


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw m / sigma from 0.01 to 20 and K - 1 from 1e-6 to 100."""
    sigma = log_uniform(rng, 0.1, 10)
    return {"m": sigma * log_uniform(rng, 0.01, 20), "sigma": sigma, "K": 1 + log_uniform(rng, 1e-6, 100)}


STATEMENT = Statement(
    claim="At m = (K + 1) (sigma / 2) Phi^-1(K / (K + 1)) the fair error is 1 / (K + 1).",
    source="ours",
    status="confirmed",
    note=("Above it cost odds K equalise the robust errors, below it no odds do."),
    kind="=",
    assumptions={
        "m > 0": lambda s: s["m"] > 0,
        "sigma > 0": lambda s: s["sigma"] > 0,
        "K > 1": lambda s: s["K"] > 1,
    },
    draw=draw,
    residual=lambda s: (
        float(fair_error(critical_margin(s["sigma"], s["K"]), s["sigma"], s["K"]) * (1 + s["K"])) - 1
    ),
    symbolic=lambda: (
        sp.erf(sp.erfinv((1 - symbolic.K) / (1 + symbolic.K))) * (1 + symbolic.K) / 2 + (symbolic.K - 1) / 2
    ),
    control=lambda s: (
        float(fair_error(1.05 * critical_margin(s["sigma"], s["K"]), s["sigma"], s["K"]) * (1 + s["K"])) - 1
    ),
)
