"""Training on mixtures of inputs of one class narrows the gap."""

import numpy as np
import sympy as sp

from theory.claims import symbolic
from theory.claims.domains import MARGIN, draw_margin, law, optimum
from theory.claims.simulation import Simulation, rates_of
from theory.claims.statement import Setting, Statement, symbol
from theory.variants.augmentation import mixup

__all__ = ["STATEMENT"]


def gain(s: Setting, c: float) -> float:
    """Return the gap of plain training less that of training with deviations times c."""
    return mixup(s["m"], s["sigma"], s["K"], 1.0).gap - mixup(s["m"], s["sigma"], s["K"], c).gap


def symbolic_gain() -> sp.Expr:
    """Return the same in symbols."""
    m, sigma, K = symbolic.m, symbolic.sigma, symbolic.K

    def gap(bias: sp.Expr) -> sp.Expr:
        plus, minus = symbolic.z_scores(bias, m, sigma, K)
        return symbolic.normal_cdf(plus) - symbolic.normal_cdf(minus)

    return gap(symbolic.bias()) - gap(symbolic.bias().subs(sigma, symbol("c") * sigma))


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw a setting and the factor of the deviations."""
    return {**draw_margin(rng, 4, (1e-2, 5)), "c": float(rng.uniform(0.3, 0.95))}


def simulation(s: Setting) -> Simulation:
    """Return the experiment: thresholds learnt on plain and on mixed inputs, counted on plain ones."""
    mixed = {**s, "sigma": s["c"] * s["sigma"]}
    return Simulation(
        rates=[*rates_of(optimum(s)), *rates_of(optimum(mixed), law(s))],
        claim=lambda p: p[0] - p[1] - (p[2] - p[3]),
    )


STATEMENT = Statement(
    claim="Mixing two inputs of the same class in training narrows the robust gap.",
    source="ours, after Zhong and Tandon 2024",
    status="confirmed",
    note=(
        "Fixed weights l and 1 - l multiply both deviations by c, the root of l^2 + (1 - l)^2; the bias "
        "moves towards that of equal robust errors, and reaches it as c tends to 0."
    ),
    kind=">=",
    assumptions={**MARGIN, "0 < c < 1": lambda s: 0 < s["c"] < 1},
    draw=draw,
    residual=lambda s: gain(s, s["c"]),
    symbolic=symbolic_gain,
    control=lambda s: gain(s, 1 / s["c"]),
    simulation=simulation,
)
