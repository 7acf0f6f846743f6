"""The regret of multiplicative weights over classes (WAT)."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import sympy as sp
from scipy.special import ndtri

from theory.claims.simulation import Simulation, counted
from theory.claims.statement import Setting, Statement, symbol
from theory.variants.class_weights import hedge_bound

__all__ = ["STATEMENT"]

ROUNDS = 3
NAMES = [f"{label}{t}" for t in range(ROUNDS) for label in ("plus", "minus")]


def excess(errors: Sequence[float]) -> float:
    """Return the worst mean error of a class less the mean weighted error; errors as in `NAMES`."""
    R = np.asarray(errors, np.float64).reshape(ROUNDS, 2)
    past = np.cumsum(R, axis=0) - R
    eta = np.sqrt(8 * np.log(2) / ROUNDS)
    q = 1 / (1 + np.exp(-eta * (past[:, 0] - past[:, 1])))
    return float(R.mean(axis=0).max() - (q * R[:, 0] + (1 - q) * R[:, 1]).mean())


def last(errors: Sequence[float]) -> float:
    """Return the worst error of the last round in place of that of the mean."""
    R = np.asarray(errors, np.float64).reshape(ROUNDS, 2)
    return float(R[-1].max() - R.mean(axis=0).max() + excess(errors))


def values(s: Setting) -> list[float]:
    """Return the errors of the setting."""
    return [s[name] for name in NAMES]


def symbolic_residual() -> sp.Expr:
    """Return the same in symbols."""
    R = [(symbol(f"plus{t}"), symbol(f"minus{t}")) for t in range(ROUNDS)]
    eta, weighted = sp.sqrt(sp.Rational(8, ROUNDS) * sp.log(2)), sp.S.Zero
    for t in range(ROUNDS):
        lead = sum((plus - minus for plus, minus in R[:t]), sp.S.Zero)
        q = 1 / (1 + sp.exp(-eta * lead))
        weighted += (q * R[t][0] + (1 - q) * R[t][1]) / ROUNDS
    worst = sp.Max(*(sum(column) / ROUNDS for column in zip(*R, strict=True)))
    return sp.sqrt(sp.log(2) / (2 * ROUNDS)) - worst + weighted


def simulation(s: Setting) -> Simulation:
    """Return the experiment: count an error of each class in each round."""
    return Simulation(
        rates=[counted(error, partial(np.greater, float(ndtri(error)))) for error in values(s)],
        claim=lambda p: hedge_bound(2, ROUNDS) - excess(p),
    )


STATEMENT = Statement(
    claim=(
        "With weights proportional to exp(eta sum of past errors) the worst mean error of a class exceeds "
        "the mean weighted error by at most sqrt(ln C / (2T))."
    ),
    source="ours, after Li and Liu 2023",
    status="confirmed",
    note=(
        "For eta = sqrt(8 ln C / T) and any errors in [0, 1]; tried for two classes and three rounds. It "
        "bounds the mean over rounds of different classifiers, not the last one, whose worst class can be "
        "far above."
    ),
    kind=">=",
    assumptions={"errors in [0, 1]": lambda s: all(0 <= s[name] <= 1 for name in NAMES)},
    draw=lambda rng: {name: float(rng.uniform(0.03, 0.97)) for name in NAMES},
    residual=lambda s: hedge_bound(2, ROUNDS) - excess(values(s)),
    symbolic=symbolic_residual,
    control=lambda s: hedge_bound(2, ROUNDS) - last(values(s)),
    simulation=simulation,
)
