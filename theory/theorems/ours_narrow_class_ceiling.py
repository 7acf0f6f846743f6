"""The robust error of the narrow class has a ceiling."""

import numpy as np
import sympy as sp
from scipy.special import ndtr

from theory.claims import optimum_certificates as c
from theory.claims import symbolic
from theory.claims.certificates import Certificate
from theory.claims.domains import MARGIN, draw_margin, optimum, z_scores
from theory.claims.simulation import Simulation, rates_of
from theory.claims.statement import Statement

__all__ = ["STATEMENT"]

STATEMENT = Statement(
    claim="R_- <= Phi(-sqrt(2 ln K)): z_- never exceeds -sqrt(2 ln K).",
    source="ours",
    status="confirmed",
    note=(
        "Attained at m = sigma sqrt(ln K / 2), where the wide class errs half of the time. It is why a "
        "radius of the wide class alone cannot always equalise natural errors."
    ),
    kind=">=",
    assumptions=MARGIN,
    draw=draw_margin,
    residual=lambda s: -np.sqrt(2 * np.log(s["K"])) - z_scores(s)[1],
    symbolic=lambda: -sp.sqrt(2 * sp.log(symbolic.K)) - symbolic.z_minus(),
    control=lambda s: -np.sqrt(2.2 * np.log(s["K"])) - z_scores(s)[1],
    simulation=lambda s: Simulation(
        rates=rates_of(optimum(s))[1:], claim=lambda p: float(ndtr(-np.sqrt(2 * np.log(s["K"])))) - p[0]
    ),
    certificate=Certificate(
        argument="z_- = -(a^2 + 2 K^2 ln K) / (a + K T) < 0 and z_-^2 = z_+^2 + 2 ln K >= 2 ln K.",
        box=c.BOX,
        identities=lambda: [c.STATIONARY, c.minus * (c.a + c.K * c.T) + c.a**2 + 2 * c.K**2 * c.log_K],
        positive=lambda: [c.a**2 + 2 * c.K**2 * c.log_K],
    ),
)
