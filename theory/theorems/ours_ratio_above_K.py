"""The ratio of the class errors never falls to K."""

import numpy as np
import sympy as sp
from scipy.special import log_ndtr

from theory import symbolic
from theory.shared_settings import MARGIN, draw_margin, z_scores
from theory.statement import Statement

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
)
