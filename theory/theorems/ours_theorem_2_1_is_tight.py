"""Theorem 2.1 is attained up to an exponentially small slack."""

import numpy as np
import numpy.typing as npt
import sympy as sp
from scipy.special import ndtr

from theory.claims import symbolic
from theory.claims.simulation import Rate, Simulation
from theory.claims.statement import Setting, Statement, log_uniform, symbol
from theory.variants.tsipras import TsiprasModel, draw_features, robust_bound, tight_example

__all__ = ["STATEMENT"]


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw a model with 2 eta < 1, and a threshold."""
    return {
        "p": rng.uniform(0.5, 0.95),
        "eta": rng.uniform(0.01, 0.49),
        "d": float(rng.integers(1, 300)),
        "tau": log_uniform(rng, 1e-3, 1),
    }


def model(s: Setting) -> TsiprasModel:
    """Return the model of a setting."""
    return TsiprasModel(dim=int(s["d"]), p=s["p"], eta=s["eta"])


def slack(s: Setting) -> float:
    """Return the bound less the robust accuracy of the example."""
    delta, robust = tight_example(model(s), s["tau"])
    return robust_bound(model(s), delta, 2 * s["eta"]) - robust


def difference(s: Setting, factor: float) -> float:
    """Return the slack less its closed form times a factor, relative to the bound."""
    tail = float(ndtr(-(s["eta"] + s["tau"]) * s["d"] ** 0.5))
    return (slack(s) - factor * tail * (s["p"] / (1 - s["p"]) - 1)) / (1 + slack(s))


def symbolic_form() -> sp.Expr:
    """Return the difference symbolically."""
    p, eta, d, tau = (symbol(n) for n in ("p", "eta", "d", "tau"))
    cdf, root = symbolic.normal_cdf, sp.sqrt(d)
    below, under = cdf(-(tau + eta) * root), cdf((tau - eta) * root)
    delta, robust = (1 - p) * (under - below) + below, p * under + (1 - p) * below
    return p / (1 - p) * delta - robust - below * (p / (1 - p) - 1)


def simulation(s: Setting) -> Simulation:
    """Count the errors of the example, without an attack and with every weak feature lowered by 2 eta."""

    def rate(predicted: float, eps: float) -> Rate:
        def wrong(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
            features = draw_features(model(s), rng, n)
            weak = features[:, 1:].mean(axis=1) - eps
            return np.asarray(np.where(np.abs(weak) > s["tau"], weak, features[:, 0]) <= 0, np.float64)

        return Rate(predicted=predicted, sample=wrong)

    delta, robust = tight_example(model(s), s["tau"])
    odds = s["p"] / (1 - s["p"])
    tail = float(ndtr(-(s["eta"] + s["tau"]) * s["d"] ** 0.5))
    return Simulation(
        rates=[rate(delta, 0.0), rate(1 - robust, 2 * s["eta"])],
        claim=lambda p: odds * p[0] - (1 - p[1]) - tail * (odds - 1),
    )


STATEMENT = Statement(
    claim="A classifier misses the bound by Phi(-(eta + tau) sqrt(d)) (p / (1 - p) - 1) only.",
    source="ours",
    status="confirmed",
    note=(
        "It is the sign of the mean of the weak features where its size exceeds tau, x_1 elsewhere. So no"
        " smaller function of delta can bound the robust accuracy for large d."
    ),
    kind="=",
    assumptions={"1/2 <= p < 1": lambda s: 0.5 <= s["p"] < 1, "2 eta < 1": lambda s: s["eta"] < 0.5},
    draw=draw,
    residual=lambda s: difference(s, 1.0),
    symbolic=symbolic_form,
    control=lambda s: difference(s, 1.1),
    simulation=simulation,
)
