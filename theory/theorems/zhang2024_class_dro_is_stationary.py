"""What KL-DRO over classes (FAAL) converges to below its fair radius."""

from collections.abc import Sequence

import numpy as np
import sympy as sp
from scipy.special import expit, ndtri

from theory.claims import symbolic
from theory.claims.domains import MARGIN, draw_margin, law
from theory.claims.simulation import Simulation, Training, rates_of
from theory.claims.statement import Setting, Statement, symbol
from theory.gaussian.fairness import reweight_odds
from theory.gaussian.optimal import optimal_kind
from theory.variants.class_weights import class_dro, kl_dro

__all__ = ["STATEMENT"]


def odds(s: Setting) -> float:
    """Return p / (1 - p)."""
    return s["p"] / (1 - s["p"])


def bias(s: Setting) -> float:
    """Return the bias of the minimiser at the radius whose heavier weight is p."""
    tau = float(s["p"] * np.log(2 * s["p"]) + (1 - s["p"]) * np.log(2 * (1 - s["p"])))
    assert abs(kl_dro([0.0, 1.0], tau).value - s["p"]) < 1e-9
    return class_dro(s["m"], s["sigma"], s["K"], tau).b


def stationary(s: Setting, b: float) -> float:
    """Return ln of the cost odds at which a bias is stationary, less ln(p / (1 - p))."""
    return float(reweight_odds(b, s["m"], s["sigma"], s["K"])) - float(np.log(odds(s)))


def symbolic_residual() -> sp.Expr:
    """Return the same in symbols, at the root of the quadratic."""
    m, sigma, K, p = symbolic.m, symbolic.sigma, symbolic.K, symbol("p")
    log_odds = sp.log(p / (1 - p))
    kappa, level = K**2 - 1, sp.log(K) - log_odds
    root = sp.sqrt(m**2 + kappa * sigma**2 * level / 2)
    best = ((K**2 + 1) * m - 2 * K * root) / kappa
    plus, minus = symbolic.z_scores(best, m, sigma, K)
    return sp.log(K) + (plus**2 - minus**2) / 2 - log_odds


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw a setting and a weight between equal ones and those of the fair classifier."""
    s = draw_margin(rng, 5, (0.05, 5))
    fair = s["K"] / (s["K"] + 1)
    return {**s, "p": 0.5 + float(rng.uniform(0.05, 0.95)) * (fair - 0.5)}


TELLING = 0.6
"""Smallest p of an experiment: the control's weight, halfway to 1/2, is then outside what chance does."""


def simulation(s: Setting) -> Simulation | None:
    """Return the experiment: a threshold with these cost odds, where it is no constant.

    The claim compares p with the weight at which the errors that were counted are stationary.
    """
    log_odds = float(np.log(odds(s)))
    if s["p"] < TELLING or str(optimal_kind(s["m"], s["sigma"], s["K"], log_odds)) != "interior":
        return None
    training = Training(distribution=law(s), rule="threshold", bias=bias(s), log_odds=log_odds)

    def claim(p: Sequence[float]) -> float:
        plus, minus = (float(ndtri(x)) for x in p)
        return float(expit(np.log(s["K"]) + (plus - minus) * (plus + minus) / 2)) - s["p"]

    return Simulation(rates=rates_of(training), claim=claim)


STATEMENT = Statement(
    claim=(
        "The bias that minimises the largest mean error over class weights with KL at most tau is "
        "stationary at cost odds p / (1 - p), where p ln 2p + (1 - p) ln 2(1 - p) = tau."
    ),
    source="ours, after Zhang et al. 2024",
    status="confirmed",
    note=(
        "For tau below tau_K = ln 2 + K ln K/(K+1) - ln(K+1); from there on the minimiser has equal robust "
        "errors, whatever the margin. Unlike reweighting with fixed odds it is never constant."
    ),
    kind="=",
    assumptions={**MARGIN, "1/2 < p < K / (K + 1)": lambda s: 0.5 < s["p"] < s["K"] / (s["K"] + 1)},
    draw=draw,
    residual=lambda s: stationary(s, bias(s)),
    symbolic=symbolic_residual,
    control=lambda s: stationary(s, bias({**s, "p": (s["p"] + 0.5) / 2})),
    simulation=simulation,
)
