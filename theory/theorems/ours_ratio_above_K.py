"""The ratio of the class errors never falls to K."""

import numpy as np
import sympy as sp
from scipy.special import log_ndtr

from theory.claims import optimum_certificates as c
from theory.claims import symbolic
from theory.claims.certificates import Certificate
from theory.claims.domains import MARGIN, draw_margin, optimum, z_scores
from theory.claims.simulation import Simulation, rates_of
from theory.claims.statement import Statement
from theory.theorems import ours_ratio_falls_with_margin

__all__ = ["STATEMENT"]

STATEMENT = Statement(
    claim="R_+ / R_- > K for the optimal classifier, at every margin.",
    source="ours",
    status="confirmed",
    note=(
        "The ratio falls with the margin and tends to K; disparity in relative terms has a floor that no "
        "margin removes."
    ),
    kind=">=",
    assumptions=MARGIN,
    draw=draw_margin,
    residual=lambda s: float(np.subtract(*log_ndtr(z_scores(s))) - np.log(s["K"])),
    symbolic=lambda: (
        sp.log(symbolic.class_errors()[0]) - sp.log(symbolic.class_errors()[1]) - sp.log(symbolic.K)
    ),
    control=lambda s: float(np.subtract(*log_ndtr(z_scores(s))) - 2 * np.log(s["K"])),
    simulation=lambda s: Simulation(
        rates=rates_of(optimum(s)), claim=lambda p: float(np.log(p[0] / p[1] / s["K"]))
    ),
    certificate=Certificate(
        argument=(
            "The ratio falls with a (`ours_ratio_falls_with_margin`), so it exceeds its limit. That "
            "is, by l'Hopital's rule, the limit at t = 1 of "
            "phi(z_+) z_+' / (phi(z_-) z_-') = K (t - K) / (1 - K t): K."
        ),
        box=c.BOX,
        identities=lambda: [
            *ours_ratio_falls_with_margin.CERTIFICATE.identities(),
            sp.diff(c.plus, c.a) / sp.diff(c.minus, c.a) - (c.t - c.K) / (1 - c.K * c.t),
            c.K * (1 - c.K) / (1 - c.K) - c.K,
        ],
        positive=ours_ratio_falls_with_margin.CERTIFICATE.positive,
        direct=lambda: symbolic.normal_cdf(c.plus) - c.K * symbolic.normal_cdf(c.minus),
        direct_box=c.DIRECT_BOX,
    ),
)
