"""TRADES' bound of the robust error."""

import numpy as np
import numpy.typing as npt
import sympy as sp
from scipy.special import ndtr

from theory.claims.simulation import Rate, Simulation
from theory.claims.statement import Setting, Statement, log_uniform, symbol
from theory.claims.symbolic import normal_cdf, normal_density
from theory.variants.trades_bound import TradesBound, trades_bound

__all__ = ["STATEMENT"]


def terms(s: Setting) -> TradesBound:
    """Return the terms of the bound."""
    return trades_bound(s["theta"], s["sigma"], s["eps"], s["scale"], s["b"])


def symbolic_residual() -> sp.Expr:
    """Return the same in symbols."""
    theta, sigma, eps, scale, b = map(symbol, ("theta", "sigma", "eps", "scale", "b"))

    def chance(mean: sp.Expr, level: sp.Expr) -> sp.Expr:
        """Return P(N(mean, sigma^2) < level)."""
        return normal_cdf((level - mean) / sigma)

    total = sp.S.Zero
    for mean in (theta + b, theta - b):
        t = (1 - scale * mean) / (scale * sigma)
        hinge = scale * sigma * (t * normal_cdf(t) + normal_density(t, sp.S.Zero, sp.S.One))
        flippable = chance(mean, eps) - chance(mean, -eps)
        total += (hinge + flippable - chance(mean, eps)) / 2
    return total - normal_cdf(-theta / sigma)


def simulation(s: Setting) -> Simulation:
    """Return the experiment: hinge risk, flippable points and robust errors of samples of both classes."""
    risk = terms(s).hinge_excess + 2 * float(ndtr(-s["theta"] / s["sigma"]))
    natural = float(ndtr(-s["theta"] / s["sigma"]))

    def margins(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
        signs = rng.choice([-1.0, 1.0], n)
        return np.asarray(s["theta"] + signs * s["b"] + s["sigma"] * rng.standard_normal(n))

    return Simulation(
        rates=[
            Rate(predicted=risk, sample=lambda rng, n: np.maximum(0, 1 - s["scale"] * margins(rng, n))),
            Rate(
                predicted=terms(s).flippable,
                sample=lambda rng, n: np.asarray(abs(margins(rng, n)) < s["eps"], np.float64),
            ),
            Rate(
                predicted=terms(s).lhs + natural,
                sample=lambda rng, n: np.asarray(margins(rng, n) < s["eps"], np.float64),
            ),
        ],
        claim=lambda p: p[0] - 2 * natural + p[1] - (p[2] - natural),
    )


STATEMENT = Statement(
    claim=(
        "The robust error exceeds the smallest natural error by at most the excess hinge risk plus the "
        "probability that an adversary can change the prediction."
    ),
    source="ours, after Zhang et al. 2019",
    status="confirmed",
    note=(
        "For two classes of one width. With robust = natural + boundary it is Bartlett's bound of the "
        "natural error plus the mass of points that are wrong and can be flipped: it has no form for one "
        "class and bounds none."
    ),
    kind=">=",
    assumptions={
        "theta > 0": lambda s: s["theta"] > 0,
        "sigma > 0": lambda s: s["sigma"] > 0,
        "eps >= 0": lambda s: s["eps"] >= 0,
        "scale > 0": lambda s: s["scale"] > 0,
    },
    draw=lambda rng: {
        "theta": log_uniform(rng, 0.3, 3),
        "sigma": log_uniform(rng, 0.3, 2),
        "eps": log_uniform(rng, 0.02, 1),
        "scale": log_uniform(rng, 0.2, 4),
        "b": log_uniform(rng, 0.01, 1),
    },
    residual=lambda s: terms(s).rhs - terms(s).lhs,
    symbolic=symbolic_residual,
    control=lambda s: terms(s).flippable - terms(s).lhs,
    simulation=simulation,
)
