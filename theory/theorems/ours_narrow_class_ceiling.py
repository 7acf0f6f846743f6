"""The robust error of the narrow class has a ceiling."""

import numpy as np
import sympy as sp

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
    claim="R_- <= Phi(-sqrt(2 ln K)): z_- never exceeds -sqrt(2 ln K).",
    source="ours",
    status="confirmed",
    note=(
        "Attained at m = sigma sqrt(ln K / 2), where the wide class errs half of the time. It is why a "
        "radius of the wide class alone cannot always equalise natural errors."
    ),
    kind=">=",
    assumptions={
        "m > 0": lambda s: s["m"] > 0,
        "sigma > 0": lambda s: s["sigma"] > 0,
        "K > 1": lambda s: s["K"] > 1,
    },
    draw=draw,
    residual=lambda s: -np.sqrt(2 * np.log(s["K"])) - z(s)[1],
    symbolic=lambda: -sp.sqrt(2 * sp.log(symbolic.K)) - symbolic.z_minus(),
    control=lambda s: -np.sqrt(2.2 * np.log(s["K"])) - z(s)[1],
)
