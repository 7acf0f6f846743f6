"""The natural gap falls as the classes move apart."""

import numpy as np
import sympy as sp
from scipy.special import ndtr

from theory.claims import optimum_certificates as c
from theory.claims import symbolic
from theory.claims.certificates import Certificate
from theory.claims.domains import LOSS, draw_loss, law, optimum
from theory.claims.simulation import Simulation, rates_of
from theory.claims.statement import Setting, Statement, log_uniform, symbol
from theory.gaussian.optimal import optimal_z_scores

__all__ = ["STATEMENT"]


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw two margins, and the shift sqrt(d) eps between natural and robust margins."""
    s = draw_loss(rng)
    return {**s, "shift": s["sigma"] * log_uniform(rng, 0.01, 5)}


def gap(s: Setting) -> float:
    """Return the natural gap at the smaller distance less that at the larger one, shift = sqrt(d) eps."""
    gaps = []
    for m in (s["m"], s["m"] + s["loss"]):
        plus, minus = optimal_z_scores(m, s["sigma"], s["K"])
        natural = plus - s["shift"] / (s["K"] * s["sigma"]), minus - s["shift"] / s["sigma"]
        gaps.append(float(np.subtract(*ndtr(natural))))
    return gaps[0] - gaps[1]


def symbolic_form() -> sp.Expr:
    """Return the same symbolically."""
    plus, minus = symbolic.class_errors(-symbol("shift"))
    return (plus - minus) - (plus - minus).subs(symbolic.m, symbolic.m + symbol("loss"))


STATEMENT = Statement(
    claim="R_nat(f_rob, +1) - R_nat(f_rob, -1) is smaller where class -1 is further away.",
    source="Lee et al., 2024",
    status="confirmed",
    note="At a fixed radius; loss = sqrt(d) (alpha' - alpha) eta / 2 is the margin gained.",
    kind=">=",
    assumptions=LOSS,
    draw=draw,
    residual=gap,
    symbolic=symbolic_form,
    control=lambda s: -gap(s),
    simulation=lambda s: Simulation(
        rates=[r for more in (0.0, s["loss"]) for r in rates_of(optimum(s, more), law(s, more + s["shift"]))],
        claim=lambda p: (p[0] - p[1]) - (p[2] - p[3]),
    ),
    certificate=Certificate(
        argument=(
            "With h = shift / sigma the derivative of the gap in a is "
            "phi(z_+ - h / K) z_+' - phi(z_- - h) z_-'. z_+' = -(K - t) / kappa < 0, so only "
            "z_-' = -(K t - 1) / kappa < 0 could make it positive. But "
            "phi(z_- - h) < phi(z_+ - h / K) / K, as z_- < z_+ / K and z_-^2 - z_+^2 = 2 ln K, and "
            "(K t - 1) / K < K - t, as bracket > 0."
        ),
        box=c.BOX,
        identities=lambda: [
            c.STATIONARY,
            c.bracket - (c.K**2 + 1 - 2 * c.K * c.t),
            sp.diff(c.plus, c.a) + (c.K - c.t) / c.kappa,
            sp.diff(c.minus, c.a) + (c.K * c.t - 1) / c.kappa,
            c.minus - c.plus / c.K + c.bracket * c.T / (c.K * c.kappa),
        ],
        positive=lambda: [c.bracket, c.kappa, c.one_minus_t],
    ),
)
