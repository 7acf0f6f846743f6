"""Adversarial training raises the natural error of the wide class."""

import sympy as sp

from theory.claims import optimum_certificates as c
from theory.claims import symbolic
from theory.claims.certificates import Certificate
from theory.claims.domains import LOSS, draw_loss, law, optimum
from theory.claims.simulation import Simulation, rates_of
from theory.claims.statement import Setting, Statement, symbol
from theory.gaussian.optimal import optimal_z_scores

__all__ = ["STATEMENT"]


def z(s: Setting) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the natural z-scores of the optimal natural and of the optimal robust classifier."""
    natural = optimal_z_scores(s["m"] + s["loss"], s["sigma"], s["K"])
    robust = optimal_z_scores(s["m"], s["sigma"], s["K"])
    shifted = robust[0] - s["loss"] / (s["K"] * s["sigma"]), robust[1] - s["loss"] / s["sigma"]
    return (float(natural[0]), float(natural[1])), (float(shifted[0]), float(shifted[1]))


def symbolic_form(sign: int) -> sp.Expr:
    """Return the natural z-score of a class under robust training less that under natural training."""
    m, loss = symbolic.m, symbol("loss")
    width = symbolic.sigma * (symbolic.K if sign > 0 else 1)
    form = symbolic.z_plus() if sign > 0 else symbolic.z_minus()
    return form - loss / width - form.subs(m, m + loss)


STATEMENT = Statement(
    claim="R_nat(f_rob, +1) >= R_nat(f_nat, +1).",
    source="Xu et al., 2021",
    status="confirmed",
    note=(
        "For equal priors, K > 1 and eps < eta, without further condition, and increasingly so with eps. "
        "With prior odds above K it can reverse, and for classifiers that are not linear "
        "(`ours_wide_class_pays_is_linear`). loss = sqrt(d) eps."
    ),
    kind=">=",
    assumptions=LOSS,
    draw=draw_loss,
    residual=lambda s: z(s)[1][0] - z(s)[0][0],
    symbolic=lambda: symbolic_form(1),
    control=lambda s: z(s)[0][0] - z(s)[1][0],
    simulation=lambda s: Simulation(
        rates=[rates_of(t, law(s, s["loss"]))[0] for t in (optimum(s), optimum(s, s["loss"]))],
        claim=lambda p: p[0] - p[1],
    ),
    certificate=Certificate(
        argument=(
            "At a fixed natural margin the natural z-score of class +1 is z_+(a) + a / (2K) and a constant. "
            "Its derivative in a is -bracket / (2K kappa) < 0, and a falls as eps grows."
        ),
        box=c.BOX,
        identities=lambda: [
            c.bracket - (c.K**2 + 1 - 2 * c.K * c.t),
            sp.diff(c.plus, c.a) + 1 / (2 * c.K) + c.bracket / (2 * c.K * c.kappa),
        ],
        positive=lambda: [c.bracket, c.kappa],
    ),
)
