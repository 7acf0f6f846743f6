"""The direction 1 / sqrt(d) for radii beyond eta."""

import numpy as np
import sympy as sp

from theory.adversary import uniform_direction
from theory.statement import Setting, Statement, log_uniform, symbol

__all__ = ["STATEMENT"]


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw a dimension, eta, and eps from eta to three times eta."""
    eta = log_uniform(rng, 0.01, 10)
    return {"d": float(rng.integers(2, 1000)), "eta": eta, "eps": eta * rng.uniform(1.01, 3)}


def slack(s: Setting) -> float:
    """Return the margin of 1 / sqrt(d) less the largest one, over eta."""
    return (
        float(s["d"] ** 0.5 * (s["eta"] - s["eps"]) - uniform_direction(s["d"], s["eta"], s["eps"])[2])
        / s["eta"]
    )


STATEMENT = Statement(
    claim="1 / sqrt(d) is the optimal robust direction for every eps.",
    source="after Xu et al., 2021",
    status="refuted",
    note=(
        "For eps > eta a single coordinate keeps more: eta - eps against sqrt(d) (eta - eps). Natural "
        "errors jump there. For eps < eta the direction is optimal and unique."
    ),
    kind=">=",
    assumptions={"eps > eta": lambda s: s["eps"] > s["eta"], "d >= 2": lambda s: s["d"] >= 2},
    draw=draw,
    residual=slack,
    symbolic=lambda: (sp.sqrt(symbol("d")) - 1) * (symbol("eta") - symbol("eps")) / symbol("eta"),
    control=lambda s: slack(s) - 1,
    counterexample={"d": 4.0, "eta": 1.0, "eps": 1.5},
)
