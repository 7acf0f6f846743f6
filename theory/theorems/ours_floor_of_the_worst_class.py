"""The worst of many classes cannot be better than the closest pair allows."""

import sympy as sp
from scipy.special import ndtr

from theory.claims.simulation import Simulation, counted
from theory.claims.statement import Setting, Statement, log_uniform, symbol
from theory.claims.symbolic import normal_cdf
from theory.variants.floors import worst_class_floor

__all__ = ["STATEMENT"]


def floor(s: Setting) -> float:
    """Return the floor of three classes in a row."""
    means = [[-s["delta1"]], [0.0], [s["delta2"]]]
    return worst_class_floor(means, s["sigma"], s["share"] * min(s["delta1"], s["delta2"]) / 2)


def distances(s: Setting) -> list[tuple[float, float]]:
    """Return for each gap the distance of its threshold from the middle and from the outer mean, less eps."""
    eps = s["share"] * min(s["delta1"], s["delta2"]) / 2
    spaces = [(s["q1"], s["delta1"] - 2 * eps), (s["q2"], s["delta2"] - 2 * eps)]
    return [(q * space / s["sigma"], (1 - q) * space / s["sigma"]) for q, space in spaces]


def errors(s: Setting) -> tuple[float, float, float]:
    """Return the robust errors of the outer, the middle and the other outer class."""
    (left, outer1), (right, outer2) = distances(s)
    return float(ndtr(-outer1)), float(ndtr(-left) + ndtr(-right)), float(ndtr(-outer2))


def symbolic_residual() -> sp.Expr:
    """Return the same in symbols."""
    d1, d2, sigma, share, q1, q2 = map(symbol, ("delta1", "delta2", "sigma", "share", "q1", "q2"))
    a = sp.Min(d1, d2) * (1 - share) / 2 / sigma
    w1, w2 = ((d - share * sp.Min(d1, d2)) / sigma for d in (d1, d2))
    outer1, outer2 = normal_cdf(-(1 - q1) * w1), normal_cdf(-(1 - q2) * w2)
    return sp.Max(outer1, normal_cdf(-q1 * w1) + normal_cdf(-q2 * w2), outer2) - normal_cdf(-a)


def simulation(s: Setting) -> Simulation:
    """Return the experiment: count the points of each class that are not eps inside their interval."""
    (left, outer1), (right, outer2) = distances(s)
    predicted, least = errors(s), floor(s)
    return Simulation(
        rates=[
            counted(predicted[0], lambda x: x > outer1),
            counted(predicted[1], lambda x: (x < -left) | (x > right)),
            counted(predicted[2], lambda x: x < -outer2),
        ],
        claim=lambda p: max(p) - least,
    )


STATEMENT = Statement(
    claim="The worst class of any classifier has robust error at least Phi(-a), a that of the closest pair.",
    source="ours, after Bhagoji et al. 2019",
    status="confirmed",
    note=(
        "Cat and dog bound each other from below: R_i + R_j >= 2 Phi(-a_ij), whatever the other classes, the "
        "classifier and its training. Tried here on three classes in a row with any thresholds."
    ),
    kind=">=",
    assumptions={
        "distances > 0": lambda s: s["delta1"] > 0 and s["delta2"] > 0,
        "sigma > 0": lambda s: s["sigma"] > 0,
        "0 <= 2 eps / smallest distance < 1": lambda s: 0 <= s["share"] < 1,
        "thresholds between the means": lambda s: 0 < s["q1"] < 1 and 0 < s["q2"] < 1,
    },
    draw=lambda rng: {
        "delta1": log_uniform(rng, 0.5, 6),
        "delta2": log_uniform(rng, 0.5, 6),
        "sigma": log_uniform(rng, 0.5, 2),
        "share": float(rng.uniform(0, 0.95)),
        "q1": float(rng.uniform(0.2, 0.8)),
        "q2": float(rng.uniform(0.2, 0.8)),
    },
    residual=lambda s: max(errors(s)) - floor(s),
    symbolic=symbolic_residual,
    control=lambda s: max(errors(s)) - 2 * floor(s),
    simulation=simulation,
)
