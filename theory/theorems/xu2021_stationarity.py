"""The optimal threshold balances the two class densities."""

import numpy as np
import sympy as sp
from scipy.special import ndtri

from theory.claims import symbolic
from theory.claims.domains import MARGIN, draw_margin, optimum, z_scores
from theory.claims.simulation import Simulation, rates_of
from theory.claims.statement import Statement

__all__ = ["STATEMENT"]

STATEMENT = Statement(
    claim="At the optimal bias z_-^2 - z_+^2 = 2 ln K.",
    source="Xu et al., 2021",
    status="confirmed",
    note=(
        "The densities of the classes, weighted equally, cross at the threshold. It is the only condition"
        " that the optimal threshold must meet, so it is the closed form in another guise."
    ),
    kind="=",
    assumptions=MARGIN,
    draw=draw_margin,
    residual=lambda s: (
        (z_scores(s)[1] ** 2 - z_scores(s)[0] ** 2 - 2 * np.log(s["K"])) / (1 + z_scores(s)[1] ** 2)
    ),
    symbolic=lambda: (
        (symbolic.z_minus() ** 2 - symbolic.z_plus() ** 2 - 2 * sp.log(symbolic.K))
        / (1 + symbolic.z_minus() ** 2)
    ),
    control=lambda s: (
        (z_scores(s)[1] ** 2 - z_scores(s)[0] ** 2 - 1.9 * np.log(s["K"])) / (1 + z_scores(s)[1] ** 2)
    ),
    simulation=lambda s: Simulation(
        rates=rates_of(optimum(s)),
        claim=lambda p: float(
            ((ndtri(p[1]) ** 2 - ndtri(p[0]) ** 2) / 2 - np.log(s["K"])) / (1 + ndtri(p[1]) ** 2)
        ),
    ),
)
