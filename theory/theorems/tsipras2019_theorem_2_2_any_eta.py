"""Theorem 2.2 without a condition on eta."""

import numpy as np

from theory.claims.statement import Statement
from theory.theorems.tsipras2019_theorem_2_2 import simulation, slack, symbolic_form

__all__ = ["STATEMENT"]


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw p, eta and a radius from eta to 1."""
    p = rng.uniform(0.51, 0.99)
    eta = rng.uniform(0.01, 0.99)
    return {"p": p, "eta": eta, "eps": rng.uniform(eta, 0.999), "d": 3.0}


STATEMENT = Statement(
    claim="Theorem 2.2 for any eta <= eps < 1.",
    source="Tsipras et al., 2019",
    status="refuted",
    note="At p = 0.6, eta = 0.45, eps = 0.9 one weak feature has the loss 1.483, x_1 alone 1.7.",
    kind=">=",
    assumptions={"0 < eta <= eps < 1": lambda s: 0 < s["eta"] <= s["eps"] < 1},
    draw=draw,
    residual=slack,
    symbolic=symbolic_form,
    control=lambda s: slack(s) - 1,
    simulation=simulation,
    counterexample={"p": 0.6, "eta": 0.45, "eps": 0.9, "d": 79.0},
)
