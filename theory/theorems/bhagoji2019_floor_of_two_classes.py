"""No classifier of two Gaussian classes of one covariance beats the linear optimum."""

import numpy as np
import sympy as sp
from scipy.special import ndtr

from theory.claims.simulation import Distribution, Simulation, Training, rates_of
from theory.claims.statement import Setting, Statement, log_uniform, symbol
from theory.claims.symbolic import normal_cdf
from theory.variants.floors import Floor, two_class_floor

__all__ = ["STATEMENT"]


def floor(s: Setting) -> Floor:
    """Return the floor of the setting."""
    return two_class_floor([s["theta"]], s["sigma"], s["share"] * s["theta"], prior=s["prior"])


def margin(s: Setting) -> float:
    """Return the robust margin of a direction with the given cosine to the means."""
    return (s["cosine"] - s["share"]) * s["theta"]


def error(s: Setting) -> float:
    """Return the average robust error of the classifier of that direction and bias."""
    plus, minus = ndtr((-s["bias"] - margin(s)) / s["sigma"]), ndtr((s["bias"] - margin(s)) / s["sigma"])
    return float(s["prior"] * plus + (1 - s["prior"]) * minus)


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw a classifier, whose bias is near that of the optimum as often as not."""
    sigma = log_uniform(rng, 0.3, 3)
    theta, share, prior = (
        sigma * log_uniform(rng, 0.1, 4),
        float(rng.uniform(0, 0.95)),
        float(rng.uniform(0.2, 0.5)),
    )
    best = sigma**2 * np.log((1 - prior) / prior) / (2 * theta * (1 - share))
    return {
        "theta": theta,
        "sigma": sigma,
        "share": share,
        "prior": prior,
        "cosine": float(1 - rng.uniform(0, 1) ** 3),
        "bias": float(best + 1e-3) * log_uniform(rng, 0.3, 3),
    }


def symbolic_residual() -> sp.Expr:
    """Return the same in symbols."""
    theta, sigma, share, prior, cosine, bias = map(
        symbol, ("theta", "sigma", "share", "prior", "cosine", "bias")
    )
    m, a = (cosine - share) * theta, (1 - share) * theta / sigma
    shift = sp.log((1 - prior) / prior) / (2 * a)
    return (
        prior * (normal_cdf((-bias - m) / sigma) - normal_cdf(-a + shift))
        + (1 - prior) * (normal_cdf((bias - m) / sigma) - normal_cdf(-a - shift))
    )  # fmt: skip


def simulation(s: Setting) -> Simulation:
    """Return the experiment: count the errors of the classifier."""
    law = Distribution(margin=margin(s), widths=(s["sigma"], s["sigma"]))
    least = floor(s).R
    return Simulation(
        rates=rates_of(Training(distribution=law, rule="fixed", bias=s["bias"])),
        claim=lambda p: s["prior"] * p[0] + (1 - s["prior"]) * p[1] - least,
    )


STATEMENT = Statement(
    claim=(
        "Any classifier of N(theta, sigma^2 I) and N(-theta, sigma^2 I) has robust error at least "
        "pi_+ Phi(-a + L/(2a)) + pi_- Phi(-a - L/(2a)), a = (norm of theta - eps) / sigma, L = ln(pi_-/pi_+)."
    ),
    source="ours, after Bhagoji et al. 2019 and Dobriban et al. 2023",
    status="confirmed",
    note=(
        "A linear classifier attains it, so that for equal widths no network can do better. Tried here on "
        "linear classifiers of any direction and bias; the proof is for all."
    ),
    kind=">=",
    assumptions={
        "theta > 0": lambda s: s["theta"] > 0,
        "sigma > 0": lambda s: s["sigma"] > 0,
        "0 <= eps / theta < 1": lambda s: 0 <= s["share"] < 1,
        "0 < pi_+ < 1": lambda s: 0 < s["prior"] < 1,
        "cosine from -1 to 1": lambda s: abs(s["cosine"]) <= 1,
    },
    draw=draw,
    residual=lambda s: error(s) - floor(s).R,
    symbolic=symbolic_residual,
    control=lambda s: error(s) - 2 * floor(s).R,
    simulation=simulation,
)
