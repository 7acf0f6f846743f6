"""Accuracy bounds robust accuracy."""

import numpy as np
import numpy.typing as npt
import sympy as sp

from theory.claims import symbolic
from theory.claims.simulation import Rate, Simulation
from theory.claims.statement import Setting, Statement, log_uniform, symbol
from theory.variants.tsipras import TsiprasModel, draw_features, linear_accuracy, linear_error

__all__ = ["STATEMENT"]


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw a model and a linear classifier with weights (w, v / sqrt(d) 1)."""
    return {
        "p": rng.uniform(0.5, 0.99),
        "eta": log_uniform(rng, 0.01, 1),
        "d": float(rng.integers(1, 500)),
        "w": log_uniform(rng, 0.01, 10),
        "v": log_uniform(rng, 0.1, 10),
    }


def model(s: Setting) -> TsiprasModel:
    """Return the model of a setting."""
    return TsiprasModel(dim=int(s["d"]), p=s["p"], eta=s["eta"])


def slack(s: Setting) -> float:
    """Return p / (1 - p) delta less the robust accuracy, at radius 2 eta."""
    weak = s["v"] / s["d"] ** 0.5
    delta = linear_error(model(s), s["w"], weak)
    return s["p"] / (1 - s["p"]) * delta - linear_accuracy(model(s), s["w"], weak, eps=2 * s["eta"])


def symbolic_form() -> sp.Expr:
    """Return the same symbolically, for weights (w, v / sqrt(d) 1) with w, v > 0."""
    p, eta, d, w, v = (symbol(n) for n in ("p", "eta", "d", "w", "v"))
    strength = eta * v * sp.sqrt(d)

    def right(mean: sp.Expr, taken: sp.Expr) -> sp.Expr:
        return sum(c * symbolic.normal_cdf((x * w + mean - taken) / v) for x, c in ((1, p), (-1, 1 - p)))

    attacked = right(strength, 2 * eta * (w + v * sp.sqrt(d)))
    return p / (1 - p) * (1 - right(strength, sp.S.Zero)) - attacked


def errors(s: Setting, weights: npt.NDArray[np.float64]) -> list[Rate]:
    """Return the error of a linear classifier, and its error when every feature is attacked by 2 eta."""

    def rate(eps: float) -> Rate:
        def wrong(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
            attacked = draw_features(model(s), rng, n) - eps * np.sign(weights)
            return np.asarray(attacked @ weights <= 0, np.float64)

        return Rate(predicted=linear_error(model(s), weights[0], weights[1:], eps=eps), sample=wrong)

    return [rate(0.0), rate(2 * s["eta"])]


def simulation(s: Setting) -> Simulation:
    """Attack samples of the model feature by feature."""
    weights = np.array([s["w"], *[s["v"] / s["d"] ** 0.5] * int(s["d"])])
    return Simulation(rates=errors(s, weights), claim=lambda p: s["p"] / (1 - s["p"]) * p[0] - (1 - p[1]))


STATEMENT = Statement(
    claim="Standard accuracy >= 1 - delta implies robust accuracy <= p / (1 - p) delta at eps >= 2 eta.",
    source="Tsipras et al., 2019, theorem 2.1",
    status="corrected",
    note=(
        "Checked for linear classifiers. The proof swaps the laws of the weak features and needs p >= "
        "1/2, which the print leaves open; eps >= 2 eta is sharp for classifiers in general."
    ),
    kind=">=",
    assumptions={
        "1/2 <= p < 1": lambda s: 0.5 <= s["p"] < 1,
        "w, v > 0": lambda s: s["w"] > 0 and s["v"] > 0,
    },
    draw=draw,
    residual=slack,
    symbolic=symbolic_form,
    control=lambda s: slack(s) / 2 - 0.5,
    simulation=simulation,
)
