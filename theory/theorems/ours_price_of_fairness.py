"""Equal robust errors cost average robust error."""

import sympy as sp

from theory.claims import optimum_certificates as c
from theory.claims import symbolic
from theory.claims.certificates import Certificate
from theory.claims.domains import MARGIN, draw_margin, fair, optimum
from theory.claims.simulation import Simulation, rates_of
from theory.claims.statement import Statement
from theory.gaussian.fairness import fair_error, price_of_fairness

__all__ = ["STATEMENT"]


def symbolic_price() -> sp.Expr:
    """Return 1 - (R_+ + R_-) / (2 R_fair)."""
    fair = symbolic.normal_cdf(-2 * symbolic.m / ((symbolic.K + 1) * symbolic.sigma))
    return 1 - sum(symbolic.class_errors()) / (2 * fair)


def log_density_ratio(bias: sp.Expr) -> sp.Expr:
    """Return g, the log of the ratio of the narrow to the wide density at a bias given as 2 b / sigma."""
    return c.log_K + (bias + c.a) ** 2 / (8 * c.K**2) - (bias - c.a) ** 2 / 8


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
    simulation=lambda s: Simulation(
        rates=[*rates_of(fair(s)), *rates_of(optimum(s))], claim=lambda p: (p[0] + p[1] - p[2] - p[3]) / 2
    ),
    certificate=Certificate(
        argument=(
            "The average error F falls up to b*, rises up to the larger root of the quadratic g (`theory "
            "derive`) and g > 0 exactly between its roots. At the fair bias g = ln K > 0: F rises from "
            "b* to it."
        ),
        box={"K": ("1.1", "6"), "a": ("0.2", "8")},
        identities=lambda: [
            log_density_ratio(c.a * (c.K - 1) / (c.K + 1)) - c.log_K,
            log_density_ratio(c.a + 2 * c.minus),
        ],
        positive=lambda: [c.log_K, c.kappa],
        direct=lambda: (
            symbolic.normal_cdf(-c.a / (c.K + 1))
            - (symbolic.normal_cdf(c.plus) + symbolic.normal_cdf(c.minus)) / 2
        ),
    ),
)
