"""Theorem 2.2 without a condition on eta."""

import numpy as np
import sympy as sp

from theory import symbolic
from theory.statement import Setting, Statement, symbol
from theory.tsipras import TsiprasModel, hinge_loss

__all__ = ["STATEMENT"]


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw p, eta and a radius from eta to 1."""
    p = rng.uniform(0.51, 0.99)
    eta = rng.uniform(0.01, 0.99)
    return {"p": p, "eta": eta, "eps": rng.uniform(eta, 0.999), "d": 3.0}


def model(s: Setting) -> TsiprasModel:
    """Return the model of a setting."""
    return TsiprasModel(dim=int(s["d"]), p=s["p"], eta=s["eta"])


def slack(s: Setting) -> float:
    """Return the adversarial hinge loss of one weak feature less that of x_1."""
    weak = np.zeros(int(s["d"]))
    weak[0] = 1.0
    return hinge_loss(model(s), 0.0, weak, eps=s["eps"]) - hinge_loss(model(s), 1.0, 0 * weak, eps=s["eps"])


def twin() -> sp.Expr:
    """Return the same symbolically."""
    p, eta, eps = (symbol(n) for n in ("p", "eta", "eps"))
    gap = 1 - eta + eps
    weak = gap * symbolic.normal_cdf(gap) + sp.exp(-(gap**2) / 2) / sp.sqrt(2 * sp.pi)
    return weak - (p * eps + (1 - p) * (2 + eps))


STATEMENT = Statement(
    claim="Theorem 2.2 for any eta <= eps < 1.",
    source="Tsipras et al., 2019",
    status="refuted",
    note=("At p = 0.6, eta = 0.45, eps = 0.9 one weak feature has the loss 1.483, x_1 alone 1.7."),
    kind=">=",
    assumptions={"0 < eta <= eps < 1": lambda s: 0 < s["eta"] <= s["eps"] < 1},
    draw=draw,
    residual=slack,
    symbolic=twin,
    control=lambda s: slack(s) - 1,
    counterexample={"p": 0.6, "eta": 0.45, "eps": 0.9, "d": 79.0},
)
