"""Logistic training reaches the closed form."""

import numpy as np
import sympy as sp
from scipy.special import ndtri

from theory.claims import symbolic
from theory.claims.domains import law
from theory.claims.simulation import Simulation, Training, rates_of
from theory.claims.statement import Setting, Statement, log_uniform, symbol
from theory.gaussian.mixture import GaussianMixture
from theory.gaussian.surrogate import logistic_optimum

__all__ = ["STATEMENT"]


def logistic_bias(s: Setting) -> float:
    """Return the bias of the logistic population minimiser, for the unit direction."""
    optimum = logistic_optimum(GaussianMixture(dim=1, eta=s["m"], sigma=s["sigma"], K=s["K"]))
    return optimum.bias / optimum.scale


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw m / sigma from 0.1 to 4 and K from 1.1 to 5, and compute the logistic bias b."""
    sigma = log_uniform(rng, 0.1, 10)
    s = {"m": sigma * log_uniform(rng, 0.1, 4), "sigma": sigma, "K": log_uniform(rng, 1.1, 5)}
    return {**s, "b": logistic_bias(s)}


def stationarity(s: Setting, b: float) -> float:
    """Return the log of the ratio of the class densities at a threshold, 0 where it is stationary."""
    plus, minus = -(b + s["m"]) / (s["K"] * s["sigma"]), (b - s["m"]) / s["sigma"]
    return float(np.log(s["K"]) + (plus**2 - minus**2) / 2)


def symbolic_form() -> sp.Expr:
    """Return the same symbolically."""
    b, m, K, sigma = symbol("b"), symbolic.m, symbolic.K, symbolic.sigma
    return sp.log(K) + (((b + m) / (K * sigma)) ** 2 - ((b - m) / sigma) ** 2) / 2


STATEMENT = Statement(
    claim="The bias of logistic training is stationary for the 0/1 error.",
    source="folklore",
    status="refuted",
    note=(
        "It is another bias: at m = sigma and K = 2 the gap between the classes is 0.094, not 0.244. A "
        "simulation of logistic training must be compared with theory.gaussian.surrogate."
    ),
    kind="=",
    assumptions={
        "K > 1": lambda s: s["K"] > 1,
        "b is the logistic bias": lambda s: bool(np.isclose(s["b"], logistic_bias(s))),
    },
    draw=draw,
    residual=lambda s: stationarity(s, s["b"]),
    symbolic=symbolic_form,
    control=lambda s: stationarity(s, 1.1 * s["b"] + 0.1),
    simulation=lambda s: Simulation(
        rates=rates_of(Training(distribution=law(s), rule="logistic", bias=s["b"])),
        claim=lambda p: float(np.log(s["K"]) + (ndtri(p[0]) ** 2 - ndtri(p[1]) ** 2) / 2),
    ),
    counterexample=draw(np.random.default_rng(0)),
)
