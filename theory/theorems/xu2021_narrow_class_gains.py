"""Adversarial training lowers the natural error of the narrow class."""

from theory.shared_settings import LOSS, draw_loss
from theory.statement import Statement
from theory.theorems.xu2021_wide_class_pays import twin, z

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
    symbolic=lambda: -twin(-1),
    control=lambda s: z(s)[1][1] - z(s)[0][1],
)
