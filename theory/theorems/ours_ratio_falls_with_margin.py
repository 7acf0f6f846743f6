"""The ratio of robust errors grows with the radius."""

import numpy as np
import sympy as sp
from scipy.special import log_ndtr

from theory import symbolic
from theory.shared_settings import LOSS, at_both_margins, draw_loss
from theory.statement import Setting, Statement, symbol

__all__ = ["STATEMENT"]


def ratio(s: Setting) -> float:
    """Return ln(R_+ / R_-) at the smaller margin less that at the larger one."""
    few, many = at_both_margins(s)
    return float(np.subtract(*log_ndtr(few)) - np.subtract(*log_ndtr(many)))


def twin() -> sp.Expr:
    """Return ln(R_+ / R_-) at the smaller margin less that at the larger one."""
    plus, minus = symbolic.class_errors()
    ratio = sp.log(plus) - sp.log(minus)
    return ratio - ratio.subs(symbolic.m, symbolic.m + symbol("loss"))


STATEMENT = Statement(
    claim="R_+ / R_- is larger at the smaller margin.",
    source="ours",
    status="confirmed",
    note="So disparity in relative terms grows with eps too, from its floor K.",
    kind=">=",
    assumptions=LOSS,
    draw=draw_loss,
    residual=ratio,
    symbolic=twin,
    control=lambda s: -ratio(s),
)
