"""The class with the larger variance has the larger error."""

from theory.claims import optimum_certificates as c
from theory.claims import symbolic
from theory.claims.certificates import Certificate
from theory.claims.domains import MARGIN, draw_margin, optimum, z_scores
from theory.claims.simulation import Simulation, rates_of
from theory.claims.statement import Statement

__all__ = ["STATEMENT"]

STATEMENT = Statement(
    claim="R_+ > R_- for the optimal natural and the optimal robust classifier.",
    source="Xu et al., 2021",
    status="confirmed",
    note=(
        "With equal priors, for every K > 1 and every margin; among linear classifiers "
        "(`ours_wide_class_pays_is_linear`)."
    ),
    kind=">=",
    assumptions=MARGIN,
    draw=draw_margin,
    residual=lambda s: z_scores(s)[0] - z_scores(s)[1],
    symbolic=lambda: symbolic.z_plus() - symbolic.z_minus(),
    control=lambda s: z_scores(s)[1] - z_scores(s)[0],
    simulation=lambda s: Simulation(rates=rates_of(optimum(s)), claim=lambda p: p[0] - p[1]),
    certificate=Certificate(
        argument="z_+ - z_- = 2 (K + 1) ln K / (T + a).",
        box=c.BOX,
        identities=lambda: [c.plus - c.minus - 2 * (c.K + 1) * c.log_K / (c.T + c.a)],
        positive=lambda: [2 * (c.K + 1) * c.log_K / (c.T + c.a)],
        direct=lambda: symbolic.normal_cdf(c.plus) - symbolic.normal_cdf(c.minus),
        direct_box=c.DIRECT_BOX,
    ),
)
