"""The gap between robust errors grows with the radius."""

import numpy as np
import sympy as sp
from scipy.special import ndtr

from theory.claims import optimum_certificates as c
from theory.claims import symbolic
from theory.claims.certificates import Certificate
from theory.claims.domains import LOSS, at_both_margins, draw_loss, rates_at_both
from theory.claims.simulation import Simulation
from theory.claims.statement import Setting, Statement, symbol

__all__ = ["STATEMENT"]


def gap(s: Setting) -> float:
    """Return the gap at the smaller margin less that at the larger one."""
    few, many = at_both_margins(s)
    return float(np.subtract(*ndtr(few)) - np.subtract(*ndtr(many)))


def symbolic_form() -> sp.Expr:
    """Return the gap at the smaller margin less that at the larger one."""
    plus, minus = symbolic.class_errors()
    return (plus - minus) - (plus - minus).subs(symbolic.m, symbolic.m + symbol("loss"))


STATEMENT = Statement(
    claim="R_rob(f_rob, +1) - R_rob(f_rob, -1) is larger at the larger radius.",
    source="ours; observed by Ma et al., 2022",
    status="confirmed",
    note=(
        "The derivative in m is 2 / ((K^2 - 1) sigma) phi(z_+) (2t - K - 1/K) < 0. It fails for "
        "exponential and logistic training."
    ),
    kind=">=",
    assumptions=LOSS,
    draw=draw_loss,
    residual=gap,
    symbolic=symbolic_form,
    control=lambda s: -gap(s),
    simulation=lambda s: Simulation(rates=rates_at_both(s), claim=lambda p: (p[0] - p[1]) - (p[2] - p[3])),
    certificate=Certificate(
        argument=(
            "The derivative of the gap in a is phi(z_+) (z_+' - z_-' / K), since phi(z_+) = K phi(z_-), and "
            "that is -phi(z_+) bracket / (K kappa) < 0; a falls as eps grows."
        ),
        box=c.BOX,
        identities=lambda: [
            c.STATIONARY,
            c.bracket - (c.K**2 + 1 - 2 * c.K * c.t),
            sp.diff(c.plus, c.a) - sp.diff(c.minus, c.a) / c.K + c.bracket / (c.K * c.kappa),
        ],
        positive=lambda: [c.bracket, c.kappa],
    ),
)
