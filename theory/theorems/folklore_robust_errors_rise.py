"""The robust errors of both classes rise with the radius."""

import numpy as np

from theory import symbolic
from theory.optimal import optimal_z_scores
from theory.statement import Setting, Statement, log_uniform, symbol

__all__ = ["STATEMENT"]


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw the margin after a radius, and the margin that radius has cost."""
    sigma = log_uniform(rng, 0.1, 10)
    lost = sigma * log_uniform(rng, 0.01, 10)
    m = sigma * log_uniform(rng, 0.01, 10)
    return {"m": m, "sigma": sigma, "K": 1 + log_uniform(rng, 1e-3, 30), "loss": lost}


def z(s: Setting) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the z-scores under attack at the smaller margin m and at the larger margin m + loss."""
    few, many = (optimal_z_scores(m, s["sigma"], s["K"]) for m in (s["m"], s["m"] + s["loss"]))
    return (float(few[0]), float(few[1])), (float(many[0]), float(many[1]))


STATEMENT = Statement(
    claim="R_rob(f_rob, -1) is larger at the larger radius.",
    source="folklore",
    status="refuted",
    note=(
        "True of class +1 and of the average. The narrow class peaks at Phi(-sqrt(2 ln K)) and then "
        "gains, as the classifier gives the wide class up."
    ),
    kind=">=",
    assumptions={
        "m > 0": lambda s: s["m"] > 0,
        "sigma > 0": lambda s: s["sigma"] > 0,
        "K > 1": lambda s: s["K"] > 1,
        "0 < loss": lambda s: s["loss"] > 0,
    },
    draw=draw,
    residual=lambda s: z(s)[0][1] - z(s)[1][1],
    symbolic=lambda: symbolic.z_minus() - symbolic.z_minus().subs(symbolic.m, symbolic.m + symbol("loss")),
    control=lambda s: z(s)[1][1] - z(s)[0][1],
    counterexample={"m": 0.1, "sigma": 1.0, "K": 2.0, "loss": 0.4},
)
