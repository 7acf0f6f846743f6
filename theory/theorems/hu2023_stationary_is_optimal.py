"""For Cauchy noise a stationary threshold is optimal."""

import numpy as np
import sympy as sp

from theory.claims.simulation import Distribution, Simulation, Training, rates_of
from theory.claims.statement import Setting, Statement, log_uniform, symbol
from theory.variants.stable import cauchy_rootless_ratio, stable_cdf

__all__ = ["STATEMENT"]


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw a margin and a prior ratio for which a stationary threshold exists."""
    m = log_uniform(rng, 0.1, 10)
    return {"m": m, "R": float(np.exp(rng.uniform(0.02, 0.98) * np.log(cauchy_rootless_ratio(m))))}


def stationary(m: float, R: float) -> float:
    """Return the stationary bias that is a local minimum."""
    return float(-(R - 1) * (1 + m**2) / (m * (R + 1) + np.sqrt(4 * R * m**2 - (R - 1) ** 2)))


def slack(s: Setting) -> float:
    """Return (1 + R) times the error of the majority class less that at the stationary threshold."""
    m, R = s["m"], s["R"]
    b = stationary(m, R)
    return 1 - stable_cdf(-b - m, 1) - R * stable_cdf(b - m, 1)


def symbolic_form() -> sp.Expr:
    """Return the same symbolically."""
    m, R = symbol("m"), symbol("R")
    b = -(R - 1) * (1 + m**2) / (m * (R + 1) + sp.sqrt(4 * R * m**2 - (R - 1) ** 2))
    plus, minus = (sp.Rational(1, 2) + sp.atan(x) / sp.pi for x in (-b - m, b - m))
    return 1 - plus - R * minus


STATEMENT = Statement(
    claim="Where a stationary threshold exists, it has a smaller error than the constant majority class.",
    source="after Hu et al., 2023",
    status="refuted",
    note=(
        "The majority class is already better for smaller R: from 2 on at m = 1/2, where roots exist up "
        "to 2.618. So robust training can become constant while natural training is not."
    ),
    kind=">=",
    assumptions={
        "m > 0": lambda s: s["m"] > 0,
        "a root exists": lambda s: 1 < s["R"] < cauchy_rootless_ratio(s["m"]),
    },
    draw=draw,
    residual=slack,
    symbolic=symbolic_form,
    control=lambda s: slack(s) - 0.5,
    simulation=lambda s: Simulation(
        rates=rates_of(
            Training(
                distribution=Distribution(margin=s["m"], widths=(1.0, 1.0), alpha=1.0),
                rule="fixed",
                bias=stationary(s["m"], s["R"]),
            )
        ),
        claim=lambda p: 1 - p[0] - s["R"] * p[1],
    ),
    counterexample={"m": 0.5, "R": 2.3},
)
