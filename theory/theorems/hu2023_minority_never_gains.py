"""The imbalance effect on the minority is never positive."""

import numpy as np
import sympy as sp

from theory.claims import symbolic
from theory.claims.simulation import Simulation
from theory.claims.statement import Setting, Statement, log_uniform, symbol
from theory.theorems.hu2023_disparity_never_falls import rates
from theory.variants.imbalance import effects

__all__ = ["STATEMENT"]


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw margins in standard deviations and a prior ratio, up to extreme imbalance."""
    m = log_uniform(rng, 0.05, 3)
    mu = m + log_uniform(rng, 0.01, 2)
    return {"m": m, "mu": mu, "best": mu + log_uniform(rng, 0.01, 1), "R": log_uniform(rng, 1.1, 1000)}


def slack(s: Setting) -> float:
    """Return minus the imbalance effect on the minority."""
    return -effects(s["best"], s["mu"], s["m"], s["R"]).imbalance[0]


def symbolic_form() -> sp.Expr:
    """Return the same symbolically."""
    half, mu, best = sp.log(symbol("R")) / 2, symbol("mu"), symbol("best")
    cdf = symbolic.normal_cdf
    total = cdf(mu - half / symbol("m")) - cdf(best - half / best)
    return cdf(mu) - cdf(best) - total


STATEMENT = Statement(
    claim="What imbalance adds to the change of the minority accuracy is <= 0.",
    source="after Hu et al., 2023",
    status="refuted",
    note=(
        "It is positive under extreme imbalance, where the minority is all but lost before and after, so "
        "that the inherent loss cannot be taken from it."
    ),
    kind=">=",
    assumptions={
        "0 < m <= mu <= best": lambda s: 0 < s["m"] <= s["mu"] <= s["best"],
        "R > 1": lambda s: s["R"] > 1,
    },
    draw=draw,
    residual=slack,
    symbolic=symbolic_form,
    control=lambda s: slack(s) - 0.5,
    simulation=lambda s: Simulation(
        rates=[
            rates(mu, m, R)[0] for R in (s["R"], 1.0) for mu, m in ((s["best"], s["best"]), (s["mu"], s["m"]))
        ],
        claim=lambda p: (p[2] - p[3]) - (p[0] - p[1]),
    ),
    counterexample={"m": 0.2, "mu": 0.6, "best": 0.9, "R": 400.0},
)
