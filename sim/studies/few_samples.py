"""Few samples: the class errors of theory for n / d fixed against exact linear training in d dimensions.

Averaging is tried everywhere, max-margin (the hinge loss with a small penalty) where classes separate,
adversarial logistic training where they do not. The errors of a trained classifier are exact; they are
averaged over data sets.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtrit

from sim.solvers.solve import solve
from sim.studies.study import Setting, SimulationStudy, StudyOutcome
from sim.testing.bands import NamedVerdict, Verdict, judge_mean
from theory.variants.averaging import averaging
from theory.variants.errors import errors_at
from theory.variants.logistic_limit import logistic_limit
from theory.variants.max_margin import max_margin, separability_threshold

__all__ = ["STUDY"]

Array = npt.NDArray[np.float64]
Train = Callable[[Array, Array, float], tuple[Array, float]]

DRAWS, FEWEST = (50, 20), 10
"""Data sets of a setting in 300 dimensions, for n <= d and for n > d, and their least number in more."""
FINITE = 1.0
"""d times the bias that a finite dimension may leave in a mean class error, twice the largest measured.

The error is a smooth function of means over d coordinates and n samples, so that its bias is about c / d.
At K = 2 and 3, n / d from 0.5 to 30, c is at most 0.45 +- 0.02 for averaging (d from 100 to 1000), 0.4 +- 0.1
for max-margin training and 0.13 +- 0.05 for logistic training (d = 40).
"""
NEAR = (0.8, 1.6)
"""n / d over the threshold of separability between which a finite dimension is far from the limit."""


def settings(n: int, rng: np.random.Generator) -> list[dict[str, float]]:
    """Return n / d from 0.5 to 30 in 300 and 1000 dimensions, at two widths; then random ones in 300."""
    fixed = [
        {"dim": dim, "alpha": alpha, "K": K}
        for dim, alpha, K in [
            (300, 0.5, 2.0), (300, 6.0, 2.0), (1000, 1.0, 3.0), (300, 30.0, 3.0), (1000, 6.0, 2.0),
            (300, 1.0, 2.0), (300, 10.0, 2.0), (300, 10.0, 3.0), (300, 0.5, 3.0), (300, 30.0, 2.0),
        ]
    ]  # fmt: skip
    while len(fixed) < n:
        alpha, K = float(np.exp(rng.uniform(np.log(0.5), np.log(30)))), float(rng.uniform(1, 3))
        fixed.append({"dim": 300, "alpha": round(alpha, 3), "K": round(K, 3)})
    return [setting | {"norm_theta": 1.5, "sigma": 1.0, "eps": 0.3} for setting in fixed[:n]]


def _average(plus: Array, minus: Array, eps: float) -> tuple[Array, float]:
    means = plus.mean(axis=0), minus.mean(axis=0)
    w = (means[0] - means[1]) / 2
    return w, float(-w @ (means[0] + means[1]) / 2)


def _max_margin(plus: Array, minus: Array, eps: float) -> tuple[Array, float]:
    # A penalty of 0.005 moves the errors by 0.01 near `NEAR` in every dimension; a smaller one needs the gap.
    classifier = solve(plus, minus, loss="hinge", norm="l2", l2=1e-4, gap=1e-9).classifier
    return classifier.weights, classifier.bias


def _logistic(plus: Array, minus: Array, eps: float) -> tuple[Array, float]:
    classifier = solve(plus, minus, norm="l2", eps=eps, gap=1e-6).classifier
    return classifier.weights, classifier.bias


def _predictions(setting: Setting) -> Mapping[str, tuple[Train, tuple[float, float]]]:
    """Return how each method trains, and the robust errors that theory gives it."""
    theta, sigma, K, alpha, eps = (setting[k] for k in ("norm_theta", "sigma", "K", "alpha", "eps"))
    mean = averaging(theta, sigma, K, alpha / 2, alpha / 2, eps)
    found: dict[str, tuple[Train, tuple[float, float]]] = {
        "averaging": (_average, (mean.R_rob_plus, mean.R_rob_minus))
    }
    if alpha < NEAR[0] * separability_threshold(theta, sigma, K).alpha_c:
        margin = max_margin(theta, sigma, K, alpha, eps)
        found["max-margin"] = (_max_margin, (margin.R_rob_plus, margin.R_rob_minus))
    if alpha > NEAR[1] * separability_threshold(theta, sigma, K, eps).alpha_c:
        limit = logistic_limit(theta, sigma, K, alpha, eps)
        found["logistic"] = (_logistic, (limit.R_rob_plus, limit.R_rob_minus))
    return found


def _data(setting: Setting, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return n / 2 samples of each class, whose means lie along the first coordinate."""
    d = int(setting["dim"])
    n = int(setting["alpha"] * d / 2)
    plus, minus = (
        width * rng.standard_normal((n, d)) for width in (setting["K"] * setting["sigma"], setting["sigma"])
    )
    plus[:, 0] += setting["norm_theta"]
    minus[:, 0] -= setting["norm_theta"]
    return plus, minus


def _errors(w: Array, b: float, setting: Setting) -> tuple[float, float]:
    """Return the exact robust errors of a classifier."""
    length = float(np.linalg.norm(w))
    margin = float(w[0]) / length * setting["norm_theta"] - setting["eps"]
    return errors_at(b / length, margin, setting["sigma"], setting["K"])


def _judge(predicted: float, values: Array, dim: float, alpha: float) -> Verdict:
    """Compare the mean of a class error over data sets with theory's, up to `FINITE` / d.

    The standard error is scaled so that a normal quantile is that of Student's law.
    """
    n, mean = len(values), float(values.mean())
    student = float(stdtrit(n - 1, alpha / 2) / ndtri(alpha / 2))
    deviation = float(values.std(ddof=1)) / n**0.5 * student
    nearest = float(np.clip(mean, predicted - FINITE / dim, predicted + FINITE / dim))
    return replace(judge_mean(nearest, mean, deviation, alpha), predicted=predicted)


def run(setting: Setting, rng: np.random.Generator, alpha: float) -> StudyOutcome:
    """Train on `DRAWS` data sets and compare both class errors of each method."""
    methods = _predictions(setting)
    draws = max(FEWEST, int(DRAWS[setting["alpha"] > 1] * min(1.0, 300 / setting["dim"])))
    errors: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    for _ in range(draws):
        plus, minus = _data(setting, rng)
        for name, (train, _) in methods.items():
            errors[name].append(_errors(*train(plus, minus, setting["eps"]), setting))
    share = alpha / (2 * len(methods))
    return StudyOutcome(
        [
            NamedVerdict(
                f"{name}, robust error of {label}",
                _judge(predicted[k], np.array(errors[name])[:, k], setting["dim"], share),
            )
            for name, (_, predicted) in methods.items()
            for k, label in enumerate(("+1", "-1"))
        ]
    )


STUDY = SimulationStudy(
    summary="Class errors of training with n / d fixed are those of theory: averaging, max-margin, logistic.",
    settings=settings,
    run=run,
    seconds=60,
)
