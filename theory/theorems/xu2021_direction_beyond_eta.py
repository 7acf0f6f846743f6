"""The direction 1 / sqrt(d) for radii beyond eta."""

import numpy as np
import numpy.typing as npt
import sympy as sp
from scipy.special import ndtr

from theory.claims.simulation import Rate, Simulation
from theory.claims.statement import Setting, Statement, log_uniform, symbol
from theory.gaussian.adversary import uniform_direction

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


def simulation(s: Setting) -> Simulation:
    """Attack samples of N(eta 1, eta^2 I) and count the errors of a basis vector and of 1 / sqrt(d)."""
    d = int(s["d"])

    def rate(weights: npt.NDArray[np.float64]) -> Rate:
        def wrong(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
            attacked = s["eta"] * (1 + rng.standard_normal((n, d))) - s["eps"] * np.sign(weights)
            return np.asarray(attacked @ weights <= 0, np.float64)

        margin = (s["eta"] - s["eps"]) * weights.sum()
        return Rate(predicted=float(ndtr(-margin / s["eta"])), sample=wrong)

    return Simulation(rates=[rate(np.eye(d)[0]), rate(np.full(d, d**-0.5))], claim=lambda p: p[0] - p[1])


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
    simulation=simulation,
    counterexample={"d": 4.0, "eta": 1.0, "eps": 1.5},
)
