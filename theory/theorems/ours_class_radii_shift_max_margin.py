"""Class radii shift the bias of max-margin and nothing else; cost weights change nothing."""

import numpy as np
import numpy.typing as npt
import sympy as sp

from theory.claims.simulation import Rate, Simulation
from theory.claims.statement import Setting, Statement, log_uniform, symbol
from theory.claims.symbolic import normal_cdf, normal_density
from theory.variants.max_margin import squared_excess

__all__ = ["STATEMENT"]


def arguments(s: Setting, shift: float, radii: bool = True) -> tuple[float, float]:
    """Return the arguments of psi of the two classes at a bias, with the class radii or without."""
    eps = (s["eps_plus"], s["eps_minus"]) if radii else (0.0, 0.0)
    kappa = s["kappa"] - (eps[0] + eps[1]) / 2
    plus = (kappa + eps[0] - s["u"] - s["b"] - shift) / (s["K"] * s["sigma"])
    return plus, (kappa + eps[1] - s["u"] + s["b"] + shift) / s["sigma"]


def residual(s: Setting, share: float = 1.0) -> float:
    """Return what the radii add to Gordon's objective at the shifted bias, relative to it."""
    shift = share * (s["eps_plus"] - s["eps_minus"]) / 2
    after, before = (float(squared_excess(t).mean()) for t in (arguments(s, shift), arguments(s, 0.0, False)))
    return after / before - 1


def symbolic_residual() -> sp.Expr:
    """Return the same in symbols."""
    kappa, u, b, sigma, plus, minus = map(symbol, ("kappa", "u", "b", "sigma", "eps_plus", "eps_minus"))
    K = 1 + symbol("K")

    def psi(t: sp.Expr) -> sp.Expr:
        return (1 + t**2) * normal_cdf(t) + t * normal_density(t, sp.S.Zero, sp.S.One)

    smaller, shifted = kappa - (plus + minus) / 2, b + (plus - minus) / 2
    after = psi((smaller + plus - u - shifted) / (K * sigma)) + psi((smaller + minus - u + shifted) / sigma)
    return after / (psi((kappa - u - b) / (K * sigma)) + psi((kappa - u + b) / sigma)) - 1


PAIRS = 4
"""Noises of both signs in a value of the simulation, for each class: one leaves half the settings open."""


def simulation(s: Setting) -> Simulation:
    """Return the experiment: the mean squared shortfall of margins, with and without class radii.

    In units of the one without, which the claim is about; noise is drawn with both signs, to be smaller.
    """
    shift = (s["eps_plus"] - s["eps_minus"]) / 2
    after, before = arguments(s, shift), arguments(s, 0.0, False)
    unit = float(squared_excess(before).mean())

    def shortfall(t: tuple[float, float]) -> Rate:
        def sample(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
            half = rng.standard_normal((n, 2, PAIRS))
            noise = np.concatenate([half, -half], axis=2)
            return np.asarray((np.maximum(0, np.array(t)[:, None] + noise) ** 2).mean(axis=(1, 2)) / unit)

        return Rate(predicted=float(squared_excess(t).mean()) / unit, sample=sample)

    return Simulation(rates=[shortfall(after), shortfall(before)], claim=lambda p: p[0] - p[1])


STATEMENT = Statement(
    claim=(
        "Class radii leave the direction of the robust max-margin classifier as it is, and shift its bias "
        "by (eps_+ - eps_-) / 2."
    ),
    source="ours, after Javanmard and Soltanolkotabi 2022",
    status="confirmed",
    note=(
        "l2 radii; of every data set, seen here on the objective whose minimum gives the limit of n / d "
        "fixed. Where classes separate robustly, positive cost weights change nothing in the limit of small "
        "loss: reweighting does nothing and remargining does. u stands for the cosine times |theta|."
    ),
    kind="=",
    assumptions={
        "sigma > 0": lambda s: s["sigma"] > 0,
        "K > 0": lambda s: s["K"] > 0,
        "radii >= 0": lambda s: s["eps_plus"] >= 0 and s["eps_minus"] >= 0,
    },
    draw=lambda rng: {
        "kappa": log_uniform(rng, 0.2, 2),
        "u": log_uniform(rng, 0.2, 2),
        "b": log_uniform(rng, 0.05, 1),
        "sigma": log_uniform(rng, 0.5, 2),
        "K": log_uniform(rng, 0.5, 4),
        "eps_plus": log_uniform(rng, 0.05, 1),
        "eps_minus": log_uniform(rng, 0.05, 1),
    },
    residual=residual,
    symbolic=symbolic_residual,
    control=lambda s: residual(s, 0.0),
    simulation=simulation,
)
