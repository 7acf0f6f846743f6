"""That the wide class pays is a fact about linear classifiers: a ball has both errors small."""

import numpy as np
import numpy.typing as npt
import sympy as sp

from theory.claims.simulation import Rate, Simulation
from theory.claims.statement import Setting, Statement, log_uniform, symbol
from theory.claims.symbolic import K
from theory.variants.ball_classifier import ball_errors, ball_radius_limit

__all__ = ["STATEMENT"]


def radii(s: Setting) -> tuple[float, float]:
    """Return r, half way between the two spheres that the classes live near, and eps."""
    root = s["dim"] ** 0.5
    return root * s["sigma"] * (1 + s["K"]) / 2, s["share"] * ball_radius_limit(
        int(s["dim"]), s["sigma"], s["K"]
    )


def errors(s: Setting, ratio: float | None = None) -> tuple[float, float]:
    """Return the robust errors of the ball, for the setting's K or for another."""
    r, eps = radii(s)
    return ball_errors(int(s["dim"]), 0.0, s["sigma"], s["K"] if ratio is None else ratio, 0.0, r, eps)


def symbolic_residual() -> sp.Expr:
    """Return the same in symbols."""
    d, share = symbol("dim"), symbol("share")
    half = sp.sqrt(d) * (K - 1) / 2
    inner, outer = sp.sqrt(d) + half * (1 - share), (sp.sqrt(d) + half * (1 + share)) / K

    def chance(x: sp.Expr) -> sp.Expr:
        """Return the chi distribution function, P(d/2, x^2/2) by Kummer's series."""
        power = d / 2 * sp.log(x**2 / 2) - x**2 / 2 - sp.loggamma(d / 2 + 1)
        return sp.exp(power, evaluate=False) * sp.hyper([1], [d / 2 + 1], x**2 / 2)

    return (chance(inner) - chance(outer)) / 2


def simulation(s: Setting) -> Simulation:
    """Return the experiment: count the points that an adversary takes out of, or into, the ball."""
    r, eps = radii(s)
    plus, minus = errors(s)

    def lengths(rng: np.random.Generator, n: int, width: float) -> npt.NDArray[np.float64]:
        return np.asarray(width * np.sqrt(rng.chisquare(s["dim"], n)))

    return Simulation(
        rates=[
            Rate(
                predicted=plus,
                sample=lambda rng, n: np.asarray(lengths(rng, n, s["K"] * s["sigma"]) < r + eps, np.float64),
            ),
            Rate(
                predicted=minus,
                sample=lambda rng, n: np.asarray(lengths(rng, n, s["sigma"]) > r - eps, np.float64),
            ),
        ],
        claim=lambda p: (1 - p[0] - p[1]) / 2,
    )


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw a setting where each class is at least 1.5 of its own deviations from the sphere of radius r."""
    share, ratio = float(rng.uniform(0, 0.8)), 1 + log_uniform(rng, 0.1, 3)
    least = (3 * ratio / ((1 - share) * (ratio - 1))) ** 2
    dim = float(np.ceil(least * log_uniform(rng, 1.01, 3)))
    return {"dim": dim, "sigma": log_uniform(rng, 0.1, 10), "K": ratio, "share": share}


STATEMENT = Statement(
    claim=(
        "That the wide class pays is a fact about linear classifiers: at equal means, where each of them has "
        "average error 1/2, a ball has a smaller robust error for eps < (K - 1) sigma sqrt(d) / 2 in enough "
        "dimensions."
    ),
    source="ours",
    status="confirmed",
    note=(
        "So the order of the classes, and that the wide class pays, are facts about linear classifiers; a "
        "network need not follow them. Enough: (1 - share) (K - 1) sqrt(d) / (2 K) >= 3/2, where share is "
        "eps over its limit."
    ),
    kind=">=",
    assumptions={
        "d >= 1": lambda s: s["dim"] >= 1,
        "sigma > 0": lambda s: s["sigma"] > 0,
        "K > 1": lambda s: s["K"] > 1,
        "0 <= share < 1": lambda s: 0 <= s["share"] < 1,
        "enough dimensions": lambda s: (1 - s["share"]) * (s["K"] - 1) * s["dim"] ** 0.5 >= 3 * s["K"],
    },
    draw=draw,
    residual=lambda s: (1 - sum(errors(s))) / 2,
    symbolic=symbolic_residual,
    control=lambda s: (1 - sum(errors(s, 1.0))) / 2,
    simulation=simulation,
)
