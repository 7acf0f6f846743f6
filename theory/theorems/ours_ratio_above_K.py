"""The ratio of the class errors never falls to K."""

import numpy as np
import sympy as sp
from scipy.special import log_ndtr

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
    claim="R_+ / R_- > K for the optimal classifier, at every margin.",
    source="ours",
    status="confirmed",
    note=(
        "The ratio falls with the margin and tends to K; disparity in relative terms has a floor that no "
        "margin removes."
    ),
    kind=">=",
    assumptions={
        "m > 0": lambda s: s["m"] > 0,
        "sigma > 0": lambda s: s["sigma"] > 0,
        "K > 1": lambda s: s["K"] > 1,
    },
    draw=draw,
    residual=lambda s: float(np.subtract(*log_ndtr(z(s))) - np.log(s["K"])),
    symbolic=lambda: (
        sp.log(symbolic.class_errors()[0]) - sp.log(symbolic.class_errors()[1]) - sp.log(symbolic.K)
    ),
    control=lambda s: float(np.subtract(*log_ndtr(z(s))) - 2 * np.log(s["K"])),
)
