"""The optimal threshold balances the two class densities."""

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
    claim="At the optimal bias z_-^2 - z_+^2 = 2 ln K.",
    source="Xu et al., 2021",
    status="confirmed",
    note=(
        "The densities of the classes, weighted equally, cross at the threshold. It is the only condition"
        " that the optimal threshold must meet, so it is the closed form in another guise."
    ),
    kind="=",
    assumptions={
        "m > 0": lambda s: s["m"] > 0,
        "sigma > 0": lambda s: s["sigma"] > 0,
        "K > 1": lambda s: s["K"] > 1,
    },
    draw=draw,
    residual=lambda s: (z(s)[1] ** 2 - z(s)[0] ** 2 - 2 * np.log(s["K"])) / (1 + z(s)[1] ** 2),
    symbolic=lambda: (
        (symbolic.z_minus() ** 2 - symbolic.z_plus() ** 2 - 2 * sp.log(symbolic.K))
        / (1 + symbolic.z_minus() ** 2)
    ),
    control=lambda s: (z(s)[1] ** 2 - z(s)[0] ** 2 - 1.9 * np.log(s["K"])) / (1 + z(s)[1] ** 2),
)
