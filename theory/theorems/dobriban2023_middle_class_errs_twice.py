"""The middle one of three classes in a row errs twice as often as an outer one."""

import numpy as np
import sympy as sp

from theory.claims.simulation import Simulation, counted
from theory.claims.statement import Setting, Statement, log_uniform, symbol
from theory.claims.symbolic import normal_cdf
from theory.variants.three_in_a_row import ThreeInARow, middle_class_radius, three_in_a_row

__all__ = ["STATEMENT"]


def best(s: Setting, p0: float = 1 / 3) -> ThreeInARow:
    """Return the optimum at a radius below the one where the middle class is given up."""
    return three_in_a_row(s["theta"], s["sigma"], s["eps"], p0)


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw a setting below the jump."""
    sigma = log_uniform(rng, 0.3, 3)
    theta = sigma * log_uniform(rng, 0.5, 6)
    return {
        "theta": theta,
        "sigma": sigma,
        "eps": float(rng.uniform(0, 0.99)) * middle_class_radius(theta, sigma),
    }


def symbolic_residual() -> sp.Expr:
    """Return ln of the ratio at the stationary threshold, less ln 2."""
    theta, sigma, eps, t = symbol("theta"), symbol("sigma"), symbol("eps"), sp.Symbol("t")
    inner, outer = -((t - eps) ** 2), -((theta - t - eps) ** 2)
    (best_t,) = sp.solve(sp.expand(inner - outer), t)  # equal densities at the threshold
    ratio = 2 * normal_cdf(-(best_t - eps) / sigma) / normal_cdf(-(theta - best_t - eps) / sigma)
    return sp.log(ratio) - sp.log(2)


def simulation(s: Setting) -> Simulation:
    """Return the experiment: count the points of the middle and of an outer class."""
    rule = best(s)
    inner, outer = (rule.t - s["eps"]) / s["sigma"], (s["theta"] - rule.t - s["eps"]) / s["sigma"]
    return Simulation(
        rates=[counted(rule.R_middle, lambda x: abs(x) > inner), counted(rule.R_outer, lambda x: x < -outer)],
        claim=lambda p: float(np.log(p[0] / p[1] / 2)),
    )


STATEMENT = Statement(
    claim="Of three equally frequent classes in a row the middle one has twice the error of an outer one.",
    source="ours, after Dobriban et al. 2023",
    status="confirmed",
    note=(
        "At every radius below the one where the best classifier gives the middle class up "
        "(`ours_middle_class_is_given_up`)."
    ),
    kind="=",
    assumptions={
        "theta > 0": lambda s: s["theta"] > 0,
        "sigma > 0": lambda s: s["sigma"] > 0,
        "0 <= eps < eps_c": lambda s: 0 <= s["eps"] < middle_class_radius(s["theta"], s["sigma"]),
    },
    draw=draw,
    residual=lambda s: float(np.log(best(s).R_middle / best(s).R_outer) - np.log(2)),
    symbolic=symbolic_residual,
    control=lambda s: float(np.log(best(s, 0.34).R_middle / best(s, 0.34).R_outer) - np.log(2)),
    simulation=simulation,
)
