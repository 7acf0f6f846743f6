"""The ratio of robust errors grows with the radius."""

import numpy as np
import sympy as sp
from scipy.special import log_ndtr

from theory.claims import optimum_certificates as c
from theory.claims import symbolic
from theory.claims.certificates import Certificate
from theory.claims.domains import LOSS, at_both_margins, draw_loss, rates_at_both
from theory.claims.simulation import Simulation
from theory.claims.statement import Setting, Statement, symbol

__all__ = ["CERTIFICATE", "STATEMENT"]


def ratio(s: Setting) -> float:
    """Return ln(R_+ / R_-) at the smaller margin less that at the larger one."""
    few, many = at_both_margins(s)
    return float(np.subtract(*log_ndtr(few)) - np.subtract(*log_ndtr(many)))


def symbolic_form() -> sp.Expr:
    """Return ln(R_+ / R_-) at the smaller margin less that at the larger one."""
    plus, minus = symbolic.class_errors()
    ratio = sp.log(plus) - sp.log(minus)
    return ratio - ratio.subs(symbolic.m, symbolic.m + symbol("loss"))


CERTIFICATE = Certificate(
    argument=(
        "The slope of ln(R_+ / R_-) in a has the sign of g = (K t - 1) Phi(z_+) - K (K - t) Phi(z_-), since "
        "phi(z_+) = K phi(z_-). g' = K t' (Phi(z_+) + Phi(z_-)), as z_+' (K t - 1) = z_-' (K - t), and "
        "t' = 2 kappa ln K / T^3 > 0: g grows with a. It tends to 0 as a does to infinity, so g < 0."
    ),
    box={"K": ("1.1", "8"), "a": ("0.1", "8")},
    identities=lambda: [
        c.STATIONARY,
        sp.diff(c.plus, c.a) * (c.K * c.t - 1) - sp.diff(c.minus, c.a) * (c.K - c.t),
        sp.diff(c.t, c.a) - 2 * c.kappa * c.log_K / c.T**3,
    ],
    positive=lambda: [2 * c.kappa * c.log_K],
    direct=lambda: (
        c.K * (c.K - c.t) * symbolic.normal_cdf(c.minus) - (c.K * c.t - 1) * symbolic.normal_cdf(c.plus)
    ),
    direct_box={"K": ("1.1", "6"), "a": ("0.1", "6")},
)

STATEMENT = Statement(
    claim="R_+ / R_- is larger at the smaller margin.",
    source="ours",
    status="confirmed",
    note="So disparity in relative terms grows with eps too, from its floor K.",
    kind=">=",
    assumptions=LOSS,
    draw=draw_loss,
    residual=ratio,
    symbolic=symbolic_form,
    control=lambda s: -ratio(s),
    simulation=lambda s: Simulation(
        rates=rates_at_both(s), claim=lambda p: float(np.log(p[0] / p[1]) - np.log(p[2] / p[3]))
    ),
    certificate=CERTIFICATE,
)
