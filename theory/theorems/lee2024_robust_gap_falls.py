"""The robust gap falls as the classes move apart."""

from theory.claims.domains import LOSS, draw_loss
from theory.claims.statement import Statement
from theory.theorems import ours_robust_gap_grows
from theory.theorems.ours_robust_gap_grows import gap, symbolic_form

__all__ = ["STATEMENT"]

STATEMENT = Statement(
    claim="R_rob(f_rob, +1) - R_rob(f_rob, -1) is smaller where class -1 is further away.",
    source="Lee et al., 2024",
    status="confirmed",
    note=(
        "Re-centred, a larger distance is a larger margin: loss = sqrt(d) (alpha' - alpha) eta / 2. It "
        "fails where the classifier is not re-optimised for the attack."
    ),
    kind=">=",
    assumptions=LOSS,
    draw=draw_loss,
    residual=gap,
    symbolic=symbolic_form,
    control=lambda s: -gap(s),
    simulation=ours_robust_gap_grows.STATEMENT.simulation,
    certificate=ours_robust_gap_grows.STATEMENT.certificate,
)
