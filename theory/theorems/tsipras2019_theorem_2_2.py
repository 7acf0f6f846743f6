"""The adversarial SVM uses the robust feature alone."""

import numpy as np
import numpy.typing as npt
import sympy as sp

from theory.claims import symbolic
from theory.claims.simulation import Rate, Simulation
from theory.claims.statement import Setting, Statement, symbol
from theory.variants.tsipras import TsiprasModel, draw_features, hinge_loss

__all__ = ["STATEMENT"]


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw p, eta and a radius from eta to 1."""
    p = rng.uniform(0.51, 0.99)
    eta = rng.uniform(0.01, min(2 * p - 1, 0.99))
    return {"p": p, "eta": eta, "eps": rng.uniform(eta, 0.999), "d": 3.0}


def model(s: Setting) -> TsiprasModel:
    """Return the model of a setting."""
    return TsiprasModel(dim=int(s["d"]), p=s["p"], eta=s["eta"])


def slack(s: Setting) -> float:
    """Return the adversarial hinge loss of one weak feature less that of x_1."""
    weak = np.zeros(int(s["d"]))
    weak[0] = 1.0
    return hinge_loss(model(s), 0.0, weak, eps=s["eps"]) - hinge_loss(model(s), 1.0, 0 * weak, eps=s["eps"])


def symbolic_form() -> sp.Expr:
    """Return the same symbolically."""
    p, eta, eps = (symbol(n) for n in ("p", "eta", "eps"))
    gap = 1 - eta + eps
    weak = gap * symbolic.normal_cdf(gap) + sp.exp(-(gap**2) / 2) / sp.sqrt(2 * sp.pi)
    return weak - (p * eps + (1 - p) * (2 + eps))


def simulation(s: Setting) -> Simulation:
    """Average the adversarial hinge losses of one weak feature and of the strong one."""

    def rate(feature: int) -> Rate:
        weights = np.eye(1 + int(s["d"]))[feature]

        def loss(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
            features = draw_features(model(s), rng, n) - s["eps"]
            return np.maximum(0.0, 1 - features[:, feature])

        return Rate(predicted=hinge_loss(model(s), weights[0], weights[1:], eps=s["eps"]), sample=loss)

    return Simulation(rates=[rate(1), rate(0)], claim=lambda p: p[0] - p[1])


STATEMENT = Statement(
    claim="Of unit-norm classifiers sign(x_1) has the smallest adversarial hinge loss.",
    source="Tsipras et al., 2019, theorem 2.2",
    status="corrected",
    note=(
        "Checked against a single weak feature. Proved for eta <= eps < 1 and eta <= 2p - 1, by Jensen; "
        "the strongest competitor is sparse. The print asks for less."
    ),
    kind=">=",
    assumptions={
        "0 < eta <= eps < 1": lambda s: 0 < s["eta"] <= s["eps"] < 1,
        "eta <= 2p - 1": lambda s: s["eta"] <= 2 * s["p"] - 1,
    },
    draw=draw,
    residual=slack,
    symbolic=symbolic_form,
    control=lambda s: slack(s) - 1,
    simulation=simulation,
)
