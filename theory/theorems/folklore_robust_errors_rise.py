"""The robust errors of both classes rise with the radius."""

from theory.claims import symbolic
from theory.claims.domains import LOSS, at_both_margins, draw_loss, rates_at_both
from theory.claims.simulation import Simulation
from theory.claims.statement import Statement, symbol

__all__ = ["STATEMENT"]

STATEMENT = Statement(
    claim="R_rob(f_rob, -1) is larger at the larger radius.",
    source="folklore",
    status="refuted",
    note=(
        "True of class +1 and of the average. The narrow class peaks at Phi(-sqrt(2 ln K)) and then "
        "gains, as the classifier gives the wide class up."
    ),
    kind=">=",
    assumptions=LOSS,
    draw=draw_loss,
    residual=lambda s: at_both_margins(s)[0][1] - at_both_margins(s)[1][1],
    symbolic=lambda: symbolic.z_minus() - symbolic.z_minus().subs(symbolic.m, symbolic.m + symbol("loss")),
    control=lambda s: at_both_margins(s)[1][1] - at_both_margins(s)[0][1],
    simulation=lambda s: Simulation(rates=rates_at_both(s)[1::2], claim=lambda p: p[0] - p[1]),
    counterexample={"m": 0.05, "sigma": 1.0, "K": 1.3, "loss": 0.31},
)
