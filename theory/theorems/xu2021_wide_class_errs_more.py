"""The class with the larger variance has the larger error."""

import numpy as np

from theory import symbolic
from theory.optimal import optimal_z_scores
from theory.statement import Setting, Statement, log_uniform

__all__ = ["STATEMENT"]


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw m / sigma from 0.01 to 20 and K - 1 from 1e-6 to 100."""
    sigma = log_uniform(rng, 0.1, 10)
    return {"m": sigma * log_uniform(rng, 0.01, 20), "sigma": sigma, "K": 1 + log_uniform(rng, 1e-6, 100)}


def z(s: Setting) -> tuple[float, float]:
    """Return the z-scores of the optimal classifier."""
    plus, minus = optimal_z_scores(s["m"], s["sigma"], s["K"])
    return float(plus), float(minus)


STATEMENT = Statement(
    claim="R_+ > R_- for the optimal natural and the optimal robust classifier.",
    source="Xu et al., 2021",
    status="confirmed",
    note=("With equal priors, for every K > 1 and every margin."),
    kind=">=",
    assumptions={
        "m > 0": lambda s: s["m"] > 0,
        "sigma > 0": lambda s: s["sigma"] > 0,
        "K > 1": lambda s: s["K"] > 1,
    },
    draw=draw,
    residual=lambda s: z(s)[0] - z(s)[1],
    symbolic=lambda: symbolic.z_plus() - symbolic.z_minus(),
    control=lambda s: z(s)[1] - z(s)[0],
)
