"""The midpoint rule leans against the class with the larger variance per sample."""

import sympy as sp

from theory.claims.simulation import Rate, Simulation
from theory.claims.statement import Setting, Statement, symbol
from theory.theorems.dan2020_scarcity_acts_like_radius import FEW, draw_samples, sample_means
from theory.variants.averaging import averaging

__all__ = ["STATEMENT"]


def bias(s: Setting) -> float:
    """Return the midpoint bias in units of |theta|."""
    limit = averaging(s["theta"], s["sigma"], s["K"], s["alpha_plus"], s["alpha_minus"], 0.0)
    return limit.b_midpoint / s["theta"]


def lean(s: Setting) -> float:
    """Return the same from the squared lengths of the two sample means."""
    wide, narrow = (s["K"] * s["sigma"]) ** 2 / s["alpha_plus"], s["sigma"] ** 2 / s["alpha_minus"]
    lengths = s["theta"] ** 2 + wide, s["theta"] ** 2 + narrow
    return float(-(lengths[0] - lengths[1]) / 4 / (s["theta"] ** 2 + (wide + narrow) / 4) ** 0.5 / s["theta"])


def symbolic_residual() -> sp.Expr:
    """Return the same in symbols."""
    theta, sigma, plus, minus = map(symbol, ("theta", "sigma", "alpha_plus", "alpha_minus"))
    wide, narrow = (1 + symbol("K")) ** 2 * sigma**2 / plus, sigma**2 / minus
    W = sp.sqrt(theta**2 + (wide + narrow) / 4)
    lengths = theta**2 + wide, theta**2 + narrow
    return (-(wide - narrow) / (4 * W) + (lengths[0] - lengths[1]) / (4 * W)) / theta


def simulation(s: Setting) -> Simulation:
    """Return the experiment: the midpoint biases of averages."""
    rate = Rate(predicted=bias(s), sample=lambda rng, n: sample_means(s, rng, n)[1] / s["theta"])
    return Simulation(rates=[rate], claim=lambda p: p[0] - lean(s))


STATEMENT = Statement(
    claim=(
        "The midpoint rule of averaging has bias -(K^2 sigma^2 / alpha_+ - sigma^2 / alpha_-) / (4 W): it "
        "leans against the class with the larger variance per sample."
    ),
    source="ours",
    status="confirmed",
    note=(
        "d to infinity with n / d fixed. Against the wide class at equal sizes, against the rarer one at "
        "equal widths, though priors play no part in it; it vanishes iff n_+ / n_- = K^2."
    ),
    kind="=",
    assumptions=FEW,
    draw=draw_samples,
    residual=lambda s: bias(s) - lean(s),
    symbolic=symbolic_residual,
    control=bias,
    simulation=simulation,
)
