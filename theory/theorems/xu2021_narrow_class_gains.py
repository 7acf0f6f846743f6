"""Adversarial training lowers the natural error of the narrow class."""

import sympy as sp

from theory.claims import optimum_certificates as c
from theory.claims.certificates import Certificate
from theory.claims.domains import LOSS, draw_loss, law, optimum
from theory.claims.simulation import Simulation, rates_of
from theory.claims.statement import Statement
from theory.theorems.xu2021_wide_class_pays import symbolic_form, z

__all__ = ["STATEMENT"]

STATEMENT = Statement(
    claim="R_nat(f_rob, -1) <= R_nat(f_nat, -1).",
    source="Xu et al., 2021",
    status="confirmed",
    note="The other half of the corollary; with the first it says that the natural gap grows with eps.",
    kind=">=",
    assumptions=LOSS,
    draw=draw_loss,
    residual=lambda s: z(s)[0][1] - z(s)[1][1],
    symbolic=lambda: -symbolic_form(-1),
    control=lambda s: z(s)[1][1] - z(s)[0][1],
    simulation=lambda s: Simulation(
        rates=[rates_of(t, law(s, s["loss"]))[1] for t in (optimum(s), optimum(s, s["loss"]))],
        claim=lambda p: p[1] - p[0],
    ),
    certificate=Certificate(
        argument=(
            "At a fixed natural margin the natural z-score of class -1 is z_-(a) + a / 2 and a constant. Its "
            "derivative in a is bracket / (2 kappa) > 0, and a falls as eps grows."
        ),
        box=c.BOX,
        identities=lambda: [
            c.bracket - (c.K**2 + 1 - 2 * c.K * c.t),
            sp.diff(c.minus, c.a) + sp.Rational(1, 2) - c.bracket / (2 * c.kappa),
        ],
        positive=lambda: [c.bracket, c.kappa],
    ),
)
