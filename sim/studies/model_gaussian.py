"""Any means, norm, priors, costs and class radii: the four classifiers of `theory.gaussian.problem`.

The classes are sampled and attacked in full dimension. Radii of class +1 and -1 differ in every other
setting (Remargin), priors and costs in all but the first, which is the setting of Xu et al. (2021).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import ndtr

from sim.sampling.draws import isotropic
from sim.studies.study import Setting, SimulationStudy, StudyOutcome
from sim.testing.bands import NamedVerdict
from sim.testing.counting import SAMPLES, compare_errors
from theory.gaussian.adversary import NORMS
from theory.gaussian.linear import LinearClassifier
from theory.gaussian.problem import GaussianClassifier, Problem, Uniform

__all__ = ["STUDY"]

MODERATE = 1.9
"""Largest |z| of an error that is counted: errors from 0.03 to 0.97."""


def settings(n: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return the setting of Xu et al., then random ones whose errors are moderate."""
    found: list[dict[str, Any]] = [
        {"dim": 20, "eta": 0.4, "sigma": 1.0, "K": 2.0, "norm": "linf", "eps": 0.15}
    ]
    while len(found) < n:
        setting = _draw(rng, NORMS[len(found) % 3], class_radii=len(found) % 2 == 0)
        if _moderate(setting):
            found.append(setting)
    return found[:n]


def _draw(rng: np.random.Generator, norm: str, *, class_radii: bool) -> dict[str, Any]:
    d = int(rng.integers(3, 30))
    theta = rng.uniform(0.2, 1, d) * rng.choice([-1.0, 1.0], d)
    theta *= rng.uniform(1, 2) / np.linalg.norm(theta)
    size = np.linalg.norm(theta, {"linf": np.inf, "l2": 2, "l1": 1}[norm])
    eps = float(rng.uniform(0.1, 0.4) * size)
    return {
        "theta": [round(float(v), 4) for v in theta],
        "sigma": round(float(rng.uniform(0.5, 1.2)), 3),
        "K": round(float(rng.uniform(1, 3)), 3),
        "norm": norm,
        "prior_pos": round(float(rng.uniform(0.3, 0.7)), 3),
        "cost": [round(float(rng.uniform(0.7, 1.4)), 3), 1.0],
        "eps": round(eps, 4),
    } | ({"train_eps": [round(1.2 * eps, 4), round(0.6 * eps, 4)]} if class_radii else {})


def _solve(setting: Setting) -> tuple[Problem, Mapping[str, GaussianClassifier]]:
    theta = tuple(setting["theta"]) if "theta" in setting else Uniform(setting["dim"], setting["eta"])
    given = {k: setting[k] for k in ("sigma", "K", "norm", "prior_pos") if k in setting}
    problem = Problem(theta=theta, cost=tuple(setting.get("cost", (1.0, 1.0))), **given)
    return problem, problem.classifiers(setting["eps"], setting.get("train_eps"))


def _moderate(setting: Setting) -> bool:
    _, solutions = _solve(setting)
    z = [s.z_scores(eps) for s in solutions.values() for eps in (0.0, setting["eps"])]
    return bool(np.abs(z).max() <= MODERATE)


def run(setting: Setting, rng: np.random.Generator, alpha: float) -> StudyOutcome:
    """Count the natural and robust errors of both classes under each of the four classifiers."""
    problem, solutions = _solve(setting)
    samples = isotropic(problem).draw(rng, SAMPLES)
    eps = setting["eps"]
    found: list[NamedVerdict] = []
    for name, solution in solutions.items():
        radius = 0.0 if name == "natural" else sum(setting.get("train_eps", (eps, eps))) / 2
        weights = problem.direction(radius).weights
        if not len(weights):  # the mean is eta 1
            weights = np.full(samples[0].shape[1], samples[0].shape[1] ** -0.5)
        predicted = {
            e: (float(ndtr(plus)), float(ndtr(minus)))
            for e in (0.0, eps)
            for plus, minus in [solution.z_scores(e)]
        }
        classifier = LinearClassifier(weights, solution.bias)
        found += compare_errors(
            name, classifier, samples, predicted, norm=problem.norm, alpha=alpha / len(solutions)
        )
    return StudyOutcome(found)


STUDY = SimulationStudy(
    summary="For any mean, norm, priors, costs and radii the errors of attacked samples are those of theory.",
    settings=settings,
    run=run,
    seconds=0.4,
)
