"""With the linear loss more data hurts from a number of samples on."""

import numpy as np
import numpy.typing as npt
import sympy as sp

from theory.claims.simulation import Rate, Simulation
from theory.claims.statement import Setting, Statement, log_uniform, symbol
from theory.claims.symbolic import normal_cdf
from theory.variants.linear_loss import linear_loss, most_useful_samples

__all__ = ["STATEMENT"]


def gain(s: Setting, n: float) -> float:
    """Return P at n samples."""
    return linear_loss(s["eta"], s["sigma"], s["eps"], n).P


def star(s: Setting) -> float:
    """Return n*."""
    return most_useful_samples(s["eta"], s["sigma"], s["eps"])


def symbolic_residual() -> sp.Expr:
    """Return the same in symbols."""
    eta, sigma, eps, n = map(symbol, ("eta", "sigma", "eps", "n"))

    def P(samples: sp.Expr) -> sp.Expr:
        root = sp.sqrt(samples) / sigma
        return normal_cdf(root * (eta - eps)) - normal_cdf(-root * (eta + eps))

    return P(sigma**2 * sp.log((eps + eta) / (eps - eta)) / (2 * eps * eta)) - P(n)


def simulation(s: Setting) -> Simulation:
    """Return the experiment: what sample means of either size say of a coordinate."""

    def signs(n: float) -> Rate:
        deviation = s["sigma"] / n**0.5

        def sample(rng: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
            mean = s["eta"] + deviation * rng.standard_normal(count)
            return np.asarray(np.sign(mean) * (abs(mean) > s["eps"]))

        return Rate(predicted=gain(s, n), sample=sample)

    return Simulation(rates=[signs(star(s)), signs(s["n"])], claim=lambda p: p[0] - p[1])


def draw(rng: np.random.Generator) -> dict[str, float]:
    """Draw a radius beyond the mean, and a number of samples."""
    eta, sigma = log_uniform(rng, 0.2, 2), log_uniform(rng, 0.5, 2)
    eps = eta * (1 + log_uniform(rng, 0.02, 2))
    return {
        "eta": eta,
        "sigma": sigma,
        "eps": eps,
        "n": most_useful_samples(eta, sigma, eps) * log_uniform(rng, 0.1, 10),
    }


STATEMENT = Statement(
    claim=(
        "For eps > eta what n samples are worth to adversarial training with the linear loss is largest at "
        "n = sigma^2 ln((eps + eta)/(eps - eta)) / (2 eps eta)."
    ),
    source="ours, after Min et al. 2021 and Chen et al. 2020",
    status="confirmed",
    note=(
        "More data hurts beyond; for eps <= eta it never does. The linear loss is unbounded and not the 0/1 "
        "error; the print's double descent needs coordinates on both sides of eps."
    ),
    kind=">=",
    assumptions={
        "eps > eta > 0": lambda s: s["eps"] > s["eta"] > 0,
        "sigma > 0": lambda s: s["sigma"] > 0,
        "n > 0": lambda s: s["n"] > 0,
    },
    draw=draw,
    residual=lambda s: gain(s, star(s)) - gain(s, s["n"]),
    symbolic=symbolic_residual,
    control=lambda s: gain(s, 2 * star(s)) - gain(s, s["n"]),
    simulation=simulation,
)
