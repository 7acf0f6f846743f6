"""A full covariance that both classes share, and unequal priors: Hu et al. (2023)."""

from typing import Any

import numpy as np
from scipy.special import ndtr

from sim.sampling.draws import shared_covariance
from sim.studies.study import Setting, SimulationStudy, StudyOutcome
from sim.testing.bands import NamedVerdict
from sim.testing.counting import SAMPLES, compare_errors
from theory.gaussian.adversary import NORMS
from theory.gaussian.linear import LinearClassifier
from theory.variants.imbalance import covariance_direction, effects

__all__ = ["STUDY"]


def settings(n: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return random settings, the norms in turn."""
    return [_draw(rng, NORMS[i % 3]) for i in range(n)]


def _draw(rng: np.random.Generator, norm: str) -> dict[str, Any]:
    d = int(rng.integers(2, 9))
    A = rng.standard_normal((d, d)) / np.sqrt(d) + 0.5 * np.eye(d)
    S = A @ A.T + 0.2 * np.eye(d)
    theta = rng.uniform(0.3, 1, d) * rng.choice([-1.0, 1.0], d)
    theta *= rng.uniform(0.9, 1.4) / np.sqrt(theta @ np.linalg.solve(S, theta))
    size = float(np.linalg.norm(theta, {"linf": np.inf, "l2": 2, "l1": 1}[norm]))
    return {
        "theta": theta.tolist(),
        "covariance": S.tolist(),
        "norm": norm,
        "eps": round(float(rng.uniform(0.1, 0.3) * size), 4),
        "R": round(float(np.exp(rng.uniform(-0.6, 0.6))), 3),
    }


def run(setting: Setting, rng: np.random.Generator, alpha: float) -> StudyOutcome:
    """Count the errors of both classes under the natural and under the robust optimum."""
    theta, S, eps, norm = (setting[k] for k in ("theta", "covariance", "eps", "norm"))
    samples = shared_covariance(theta, S).draw(rng, SAMPLES)
    w0, mu0, _ = covariance_direction(theta, S, 0.0, norm)
    w, margin, mu = covariance_direction(theta, S, eps, norm)
    accuracies = effects(mu0, mu, margin, setting["R"])
    shift = np.log(setting["R"]) / 2
    taken = eps * np.linalg.norm(w0, {"linf": 1, "l2": 2, "l1": np.inf}[norm])
    attacked = [float(ndtr(taken - mu0 + y * shift / mu0)) for y in (1, -1)]
    cases = {
        "natural": (w0, mu0, {0.0: _errors(accuracies.standard), eps: (attacked[0], attacked[1])}),
        "robust": (w, margin, {0.0: _errors(accuracies.robust_trained), eps: _errors(accuracies.robust)}),
    }
    found: list[NamedVerdict] = []
    for name, (weights, m, predicted) in cases.items():
        classifier = LinearClassifier(weights, float(-shift / m))
        found += compare_errors(name, classifier, samples, predicted, norm=norm, alpha=alpha / 2)
    return StudyOutcome(found)


def _errors(accuracies: tuple[float, float]) -> tuple[float, float]:
    return 1 - accuracies[0], 1 - accuracies[1]


STUDY = SimulationStudy(
    summary="With a full covariance and unequal priors the errors of attacked samples are those of theory.",
    settings=settings,
    run=run,
    seconds=0.1,
)
