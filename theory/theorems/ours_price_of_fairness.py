"""Equal robust errors cost average robust error."""

import sympy as sp

from theory import symbolic
from theory.fairness import fair_error, price_of_fairness
from theory.shared_settings import MARGIN, draw_margin
from theory.statement import Statement

__all__ = ["STATEMENT"]


def symbolic_price() -> sp.Expr:
    """Return 1 - (R_+ + R_-) / (2 R_fair)."""
    fair = symbolic.normal_cdf(-2 * symbolic.m / ((symbolic.K + 1) * symbolic.sigma))
    return 1 - sum(symbolic.class_errors()) / (2 * fair)


STATEMENT = Statement(
    claim="The common error of the fair classifier exceeds the smallest average error: PoF > 0.",
    source="ours",
    status="confirmed",
    note="Relative to the fair error, so that it is seen in every tail.",
    kind=">=",
    assumptions=MARGIN,
    draw=lambda rng: draw_margin(rng, 8, (1e-3, 100)),
    residual=lambda s: float(
        price_of_fairness(s["m"], s["sigma"], s["K"]) / fair_error(s["m"], s["sigma"], s["K"])
    ),
    symbolic=symbolic_price,
    control=lambda s: float(
        -price_of_fairness(s["m"], s["sigma"], s["K"]) / fair_error(s["m"], s["sigma"], s["K"])
    ),
)
