"""Equal natural and equal robust errors exclude each other."""

import sympy as sp
from scipy.special import ndtri

from theory.claims import symbolic
from theory.claims.domains import LOSS, draw_loss, fair, law
from theory.claims.simulation import Simulation, rates_of
from theory.claims.statement import Setting, Statement, symbol
from theory.gaussian.fairness import fair_bias

__all__ = ["STATEMENT"]


def difference(s: Setting) -> float:
    """Return the bias with equal natural errors less that with equal robust errors."""
    return float(fair_bias(s["m"] + s["loss"], s["K"]) - fair_bias(s["m"], s["K"]))


def symbolic_difference() -> sp.Expr:
    """Return the same from the two linear equations z_+ = z_-, less its closed form."""
    b, m, K, loss = symbolic.b, symbolic.m, symbolic.K, symbol("loss")
    (robust,) = sp.solve(-(b + m) - K * (b - m), b)
    return robust.subs(m, m + loss) - robust - loss * (K - 1) / (K + 1)


STATEMENT = Statement(
    claim="The biases with equal natural and equal robust errors differ by eps rho (K - 1) / (K + 1).",
    source="ours",
    status="confirmed",
    note=(
        "So no deterministic linear classifier has both equalities unless K = 1 or eps = 0; a randomised "
        "mixture of two can. loss = eps rho."
    ),
    kind="=",
    assumptions=LOSS,
    draw=draw_loss,
    residual=lambda s: difference(s) - s["loss"] * (s["K"] - 1) / (s["K"] + 1),
    symbolic=symbolic_difference,
    control=lambda s: difference(s),
    simulation=lambda s: Simulation(
        rates=[rates_of(fair(s, more), law(s))[0] for more in (s["loss"], 0.0)],
        claim=lambda p: (
            float(s["K"] * (ndtri(p[1]) - ndtri(p[0]))) - s["loss"] / s["sigma"] * (s["K"] - 1) / (s["K"] + 1)
        ),
    ),
)
