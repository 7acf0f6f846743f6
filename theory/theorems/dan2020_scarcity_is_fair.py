"""To first order averaging few samples costs both classes the same."""

import numpy as np
import numpy.typing as npt
import sympy as sp
from scipy.special import ndtr

from theory.claims import symbolic
from theory.claims.domains import MARGIN, draw_margin
from theory.claims.simulation import Rate, Simulation
from theory.claims.statement import Setting, Statement, symbol
from theory.gaussian.fairness import fair_bias
from theory.gaussian.optimal import optimal_bias
from theory.variants.averaging import excess_coefficients

__all__ = ["STATEMENT"]

DIMENSION, SAMPLES = 50, 10**7


def residual(s: Setting) -> float:
    """Return ln of the ratio of the two coefficients; m is |theta| - eps."""
    plus, minus, _ = excess_coefficients(s["m"] + s["eps"], s["sigma"], s["K"], s["eps"])
    return float(np.log(plus / minus))


def symbolic_residual() -> sp.Expr:
    """Return the same in symbols: ln of phi(z_+) / (K phi(z_-))."""
    return (symbolic.z_minus() ** 2 - symbolic.z_plus() ** 2) / 2 - sp.log(symbolic.K) + 0 * symbol("eps")


def at_fair_bias(s: Setting) -> float:
    """Return the same at the bias with equal robust errors: -ln K."""
    b = float(fair_bias(s["m"], s["K"]))
    plus, minus = (b + s["m"]) / (s["K"] * s["sigma"]), (b - s["m"]) / s["sigma"]
    return float((minus**2 - plus**2) / 2 - np.log(s["K"]))


def simulation(s: Setting) -> Simulation:
    """Return the experiment: the excess of both classes over draws of averages, times n / (d - 1)."""
    theta, b = s["m"] + s["eps"], float(optimal_bias(s["m"], s["sigma"], s["K"]))
    plus, minus, _ = excess_coefficients(theta, s["sigma"], s["K"], s["eps"])
    noise = s["sigma"] * np.sqrt((s["K"] ** 2 + 1) / (2 * SAMPLES))

    def excess(label: int, width: float) -> Rate:
        def sample(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
            along = theta + noise * rng.standard_normal(n)
            across = noise**2 * rng.chisquare(DIMENSION - 1, n)
            length = np.sqrt(along**2 + across)
            taken = theta * across / (length * (length + along))
            z = (-label * b - s["m"]) / width
            return np.asarray((ndtr(z + taken / width) - ndtr(z)) * SAMPLES / (DIMENSION - 1))

        return Rate(predicted=plus if label > 0 else minus, sample=sample)

    return Simulation(
        rates=[excess(1, s["K"] * s["sigma"]), excess(-1, s["sigma"])],
        claim=lambda p: (p[0] - p[1]) / plus,
    )


STATEMENT = Statement(
    claim=(
        "To first order in d / n averaging at the optimal bias adds the same to the robust errors of both "
        "classes."
    ),
    source="ours, after Dan et al. 2020",
    status="confirmed",
    note=(
        "C (d - 1) / n with C = phi(z_-) sigma (K^2 + 1) / (4 |theta|), because phi(z_+) = K phi(z_-) at "
        "the optimum. The disparity of few samples comes from the estimated or re-optimised bias."
    ),
    kind="=",
    assumptions={**MARGIN, "eps >= 0": lambda s: s["eps"] >= 0},
    draw=lambda rng: {**draw_margin(rng, 3, (0.05, 4)), "eps": float(rng.uniform(0, 1))},
    residual=residual,
    symbolic=symbolic_residual,
    control=at_fair_bias,
    simulation=simulation,
)
