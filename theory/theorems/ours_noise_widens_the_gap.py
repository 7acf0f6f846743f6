"""Training with Gaussian noise widens the gap."""

import numpy as np
import sympy as sp

from theory.claims import symbolic
from theory.claims.domains import MARGIN, draw_margin, law, optimum
from theory.claims.simulation import Simulation, rates_of
from theory.claims.statement import Setting, Statement, symbol
from theory.variants.augmentation import noise_augmentation

__all__ = ["STATEMENT"]


def widening(s: Setting) -> float:
    """Return the gap of training with noise less that of plain training."""
    args = s["m"], s["sigma"], s["K"]
    return noise_augmentation(*args, s["tau"]).gap - noise_augmentation(*args, 0.0).gap


def symbolic_widening() -> sp.Expr:
    """Return the same in symbols."""
    m, sigma, K, tau = symbolic.m, symbolic.sigma, symbolic.K, symbol("tau")

    def gap(bias: sp.Expr) -> sp.Expr:
        plus, minus = symbolic.z_scores(bias, m, sigma, K)
        return symbolic.normal_cdf(plus) - symbolic.normal_cdf(minus)

    narrow, wide = sigma**2 + tau**2, K**2 * sigma**2 + tau**2
    square = wide / narrow
    root = sp.sqrt(m**2 + (square - 1) * narrow * sp.log(square) / 4)
    noisy = ((square + 1) * m - 2 * sp.sqrt(square) * root) / (square - 1)
    return gap(noisy) - gap(symbolic.bias())


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw a setting and a noise."""
    s = draw_margin(rng, 4, (1e-2, 5))
    return {**s, "tau": s["sigma"] * float(rng.uniform(0.2, 3))}


def simulation(s: Setting) -> Simulation:
    """Return the experiment: thresholds learnt on noisy and on plain inputs, counted on plain ones."""
    narrow, wide = np.hypot(s["sigma"], s["tau"]), np.hypot(s["K"] * s["sigma"], s["tau"])
    noisy = {"m": s["m"], "sigma": float(narrow), "K": float(wide / narrow)}
    return Simulation(
        rates=[*rates_of(optimum(noisy), law(s)), *rates_of(optimum(s))],
        claim=lambda p: p[0] - p[1] - (p[2] - p[3]),
    )


STATEMENT = Statement(
    claim="Adding Gaussian noise to inputs in training widens the robust gap.",
    source="ours",
    status="open",
    note=(
        "The noise hides the difference of widths that the optimum corrects for. No counterexample on "
        "random settings; not proved. A warning for randomised smoothing."
    ),
    kind=">=",
    assumptions={**MARGIN, "tau > 0": lambda s: s["tau"] > 0},
    draw=draw,
    residual=widening,
    symbolic=symbolic_widening,
    control=lambda s: -widening(s),
    simulation=simulation,
)
