"""Theorem 2.1 for p below 1/2."""

import numpy as np

from theory.claims.simulation import Simulation
from theory.claims.statement import Setting, Statement, symbol
from theory.theorems.tsipras2019_theorem_2_1 import errors
from theory.variants.tsipras import TsiprasModel, linear_accuracy, linear_error

__all__ = ["STATEMENT"]


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw p below 1/2 and eta below 1/2."""
    return {"p": rng.uniform(0.01, 0.49), "eta": rng.uniform(0.01, 0.49)}


def slack(s: Setting) -> float:
    """Return p / (1 - p) delta less the robust accuracy of sign(-x_1) at radius 2 eta."""
    model = TsiprasModel(dim=1, p=s["p"], eta=s["eta"])
    delta = linear_error(model, -1.0, 0.0)
    return s["p"] / (1 - s["p"]) * delta - linear_accuracy(model, -1.0, 0.0, eps=2 * s["eta"])


STATEMENT = Statement(
    claim="Theorem 2.1 for any p.",
    source="Tsipras et al., 2019",
    status="refuted",
    note=(
        "sign(-x_1) has standard and robust accuracy 1 - p, so delta = p and the bound p^2 / (1 - p) is "
        "smaller."
    ),
    kind=">=",
    assumptions={"0 < p < 1/2": lambda s: 0 < s["p"] < 0.5, "2 eta < 1": lambda s: s["eta"] < 0.5},
    draw=draw,
    residual=slack,
    symbolic=lambda: symbol("p") ** 2 / (1 - symbol("p")) - (1 - symbol("p")),
    control=lambda s: slack(s) - 1,
    simulation=lambda s: Simulation(
        rates=errors({**s, "d": 1.0}, np.array([-1.0, 0.0])),
        claim=lambda p: s["p"] / (1 - s["p"]) * p[0] - (1 - p[1]),
    ),
    counterexample={"p": 0.3, "eta": 0.2},
)
