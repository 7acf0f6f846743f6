"""Settings that many statements share: a margin, or a margin and what a radius has taken from it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from scipy.special import ndtri

from theory.claims.simulation import Distribution, Rate, Simulation, Training, rates_of
from theory.claims.statement import Setting, log_uniform
from theory.gaussian.fairness import fair_bias
from theory.gaussian.optimal import optimal_bias, optimal_z_scores

__all__ = [
    "LOSS",
    "MARGIN",
    "at_both_margins",
    "draw_loss",
    "draw_margin",
    "fair",
    "law",
    "learnt_bias",
    "optimum",
    "rates_at_both",
    "z_scores",
]

MARGIN: Mapping[str, Callable[[Setting], bool]] = {
    "m > 0": lambda s: s["m"] > 0,
    "sigma > 0": lambda s: s["sigma"] > 0,
    "K > 1": lambda s: s["K"] > 1,
}
"""Assumptions on one margin m of the mixture."""
LOSS: Mapping[str, Callable[[Setting], bool]] = {**MARGIN, "loss > 0": lambda s: s["loss"] > 0}
"""Assumptions on two margins, m and m + loss."""


def draw_margin(
    rng: np.random.Generator, largest: float = 20, excess: tuple[float, float] = (1e-6, 100)
) -> dict[str, float]:
    """Draw sigma, m / sigma from 0.01 to ``largest``, and K - 1 between the two ends of ``excess``."""
    sigma = log_uniform(rng, 0.1, 10)
    return {"m": sigma * log_uniform(rng, 0.01, largest), "sigma": sigma, "K": 1 + log_uniform(rng, *excess)}


def draw_loss(rng: np.random.Generator) -> dict[str, float]:
    """Draw the margin m that a radius, or a smaller distance, leaves of m + loss."""
    s = draw_margin(rng, 10, (1e-3, 30))
    return {**s, "loss": s["sigma"] * log_uniform(rng, 0.01, 10)}


def z_scores(s: Setting, more: float = 0.0) -> tuple[float, float]:
    """Return the z-scores (+1, -1) of the optimal classifier at margin m + more."""
    plus, minus = optimal_z_scores(s["m"] + more, s["sigma"], s["K"])
    return float(plus), float(minus)


def at_both_margins(s: Setting) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return `z_scores` at the smaller margin m and at the larger margin m + loss."""
    return z_scores(s), z_scores(s, s["loss"])


def law(s: Setting, more: float = 0.0) -> Distribution:
    """Return the distribution of the scores at margin m + more."""
    return Distribution(margin=s["m"] + more, widths=(s["K"] * s["sigma"], s["sigma"]))


def optimum(s: Setting, more: float = 0.0, log_odds: float = 0.0) -> Training:
    """Return the training of the 0/1 optimum at margin m + more."""
    bias = float(optimal_bias(s["m"] + more, s["sigma"], s["K"], log_odds))
    return Training(distribution=law(s, more), rule="threshold", bias=bias, log_odds=log_odds)


def fair(s: Setting, more: float = 0.0) -> Training:
    """Return the training of equal class errors at margin m + more."""
    return Training(distribution=law(s, more), rule="equal", bias=float(fair_bias(s["m"] + more, s["K"])))


def rates_at_both(s: Setting) -> tuple[Rate, ...]:
    """Return the errors (+1, -1) of the optimum at margin m, then of that at m + loss."""
    return *rates_of(optimum(s)), *rates_of(optimum(s, s["loss"]))


def learnt_bias(s: Setting, rule: Literal["exponential", "hinge"], bias: float) -> Simulation:
    """Return the simulation of a bias that a loss should lead to, seen in the error of class +1."""

    def claim(p: Sequence[float]) -> float:
        return (-s["K"] * float(ndtri(p[0])) * s["sigma"] - s["m"] - bias) / s["sigma"]

    return Simulation(rates=rates_of(Training(distribution=law(s), rule=rule, bias=bias))[:1], claim=claim)
