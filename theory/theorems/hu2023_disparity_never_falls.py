"""Under imbalance robust training never lowers the accuracy disparity."""

import numpy as np
import sympy as sp

from theory.claims import symbolic
from theory.claims.simulation import Distribution, Rate, Simulation, Training, rates_of
from theory.claims.statement import Setting, Statement, log_uniform, symbol
from theory.variants.imbalance import accuracy_disparity

__all__ = ["STATEMENT"]


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw a robust margin m, a natural one of the same direction, and that of the natural direction."""
    m = log_uniform(rng, 0.05, 4)
    mu = m + log_uniform(rng, 0.01, 3)
    return {"m": m, "mu": mu, "best": mu + log_uniform(rng, 1e-3, 2), "R": log_uniform(rng, 1.01, 50)}


def change(s: Setting) -> float:
    """Return the disparity of robust training less that of natural training."""
    return float(
        accuracy_disparity(s["mu"], s["m"], s["R"]) - accuracy_disparity(s["best"], s["best"], s["R"])
    )


def symbolic_form() -> sp.Expr:
    """Return the same symbolically."""
    half = sp.log(symbol("R")) / 2

    def disparity(mu: sp.Expr, m: sp.Expr) -> sp.Expr:
        return symbolic.normal_cdf(mu + half / m) - symbolic.normal_cdf(mu - half / m)

    return disparity(symbol("mu"), symbol("m")) - disparity(symbol("best"), symbol("best"))


def rates(mu: float, margin: float, R: float) -> tuple[Rate, Rate]:
    """Return the natural errors of training at a robust margin, with R samples of class -1 for one of +1."""
    training = Training(
        distribution=Distribution(margin=margin, widths=(1.0, 1.0)),
        rule="threshold",
        bias=-float(np.log(R)) / (2 * margin),
        log_odds=-float(np.log(R)),
    )
    return rates_of(training, Distribution(margin=mu, widths=(1.0, 1.0)))


STATEMENT = Statement(
    claim="AD of robust training >= AD of natural training, for equal covariances and prior ratio R.",
    source="Hu et al., 2023",
    status="confirmed",
    note=(
        "Margins in standard deviations: m robust and mu natural of the robust direction, best of the "
        "natural one. The disparity falls with mu and rises with |ln R| / (2m)."
    ),
    kind=">=",
    assumptions={
        "0 < m <= mu <= best": lambda s: 0 < s["m"] <= s["mu"] <= s["best"],
        "R > 1": lambda s: s["R"] > 1,
    },
    draw=draw,
    residual=change,
    symbolic=symbolic_form,
    control=lambda s: -change(s),
    simulation=lambda s: Simulation(
        rates=[r for mu, m in ((s["mu"], s["m"]), (s["best"], s["best"])) for r in rates(mu, m, s["R"])],
        claim=lambda p: (p[0] - p[1]) - (p[2] - p[3]),
    ),
)
