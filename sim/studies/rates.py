"""How fast training approaches theory as samples grow: exponents, from slopes of logarithms.

The bias with the fewest errors converges like n^(-1/3) (Kim and Pollard, 1990), the bias of equal errors and
the parameters of logistic training like n^(-1/2), and in d dimensions the mean error of logistic training
exceeds its limit by about d / n: `theory.gaussian.surrogate.LogisticOptimum.sample_z_scores` says by how
much.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from sim.learning.biases import learn
from sim.sampling.draws import draw
from sim.solvers.solve import solve
from sim.studies.study import Setting, SimulationStudy, StudyOutcome
from sim.testing.bands import NamedVerdict, Verdict, judge_mean
from theory.claims.simulation import Distribution, Training
from theory.gaussian.linear import LinearClassifier
from theory.gaussian.mixture import GaussianMixture
from theory.gaussian.optimal import optimal_bias
from theory.gaussian.surrogate import LogisticOptimum, logistic_optimum

__all__ = ["STUDY", "slope"]

Array = npt.NDArray[np.float64]

RESOLUTION = {"bias": 1 / 6, "excess": 1 / 2}
"""Distance to the nearest other exponent: a slope that would not have seen it says "cannot tell"."""
RESAMPLES = 400
BIAS_SIZES = (500, 2000, 8000, 32_000)
"""Samples of each class from which a bias is learnt."""
LOGISTIC_SIZES = {
    "samples": ((2000, 10), (4000, 10), (8000, 10), (16_000, 10), (32_000, 10)),
    "dimensions": ((8000, 10), (8000, 20), (8000, 40), (8000, 80)),
}
"""Samples, both classes together, and dimensions in which logistic training is done."""
REPEATS = {"threshold": 500, "equal": 400, "samples": 100, "dimensions": 60}
"""Trainings at each size, by kind of setting."""


def settings(n: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return one setting of each kind in turn; logistic training is tried at K = 1, without a bias."""
    found = []
    for i in range(n):
        kind = list(REPEATS)[i % len(REPEATS)]
        margin = round(float(rng.uniform(0.8, 1.3)), 3)
        learns_bias = kind not in LOGISTIC_SIZES
        more = {"K": round(float(rng.uniform(1.5, 2.5)), 3)} if learns_bias else {"K": 1.0, "eps": 0.01}
        found.append({"kind": kind, "margin": margin, **more})
    return found


def run(setting: Setting, rng: np.random.Generator, alpha: float) -> StudyOutcome:
    """Train at several sizes, many times at each, and compare the slopes with the exponents of theory."""
    measure = _logistic_rates if setting["kind"] in LOGISTIC_SIZES else _bias_rate
    return StudyOutcome(measure(setting, rng, alpha))


def _bias_rate(setting: Setting, rng: np.random.Generator, alpha: float) -> list[NamedVerdict]:
    kind, K, m = setting["kind"], setting["K"], setting["margin"]
    bias = float(optimal_bias(m, 1.0, K)) if kind == "threshold" else m * (K - 1) / (K + 1)
    training = Training(distribution=Distribution(margin=m, widths=(K, 1.0)), rule=kind, bias=bias)
    away = [np.array([learn(training, n, rng).bias - bias for _ in range(REPEATS[kind])]) for n in BIAS_SIZES]
    exponent = -1 / 3 if kind == "threshold" else -1 / 2
    verdict = slope(BIAS_SIZES, away, _size, exponent, rng, alpha, RESOLUTION["bias"])
    return [NamedVerdict(f"exponent of the bias, {kind}", verdict)]


def _logistic_rates(setting: Setting, rng: np.random.Generator, alpha: float) -> list[NamedVerdict]:
    """Compare the excess of the mean error, and the distance of all parameters from the population's."""
    kind = setting["kind"]
    runs = [_fit(setting, n, d, rng) for n, d in LOGISTIC_SIZES[kind]]
    sizes = [n if kind == "samples" else d for n, d in LOGISTIC_SIZES[kind]]
    expected = _exponent(sizes, [r.predicted for r in runs])
    values = [r.excess for r in runs]
    excess = slope(sizes, values, np.mean, expected, rng, alpha / 2, RESOLUTION["excess"])
    found = [NamedVerdict(f"exponent of the excess error in {kind}", excess)]
    if kind == "samples":
        away = [r.distance for r in runs]
        distance = slope(sizes, away, _size, -1 / 2, rng, alpha / 2, RESOLUTION["bias"])
        found.append(NamedVerdict("exponent of the parameters, logistic", distance))
    return found


@dataclass(frozen=True)
class _Runs:
    """Trainings of one size: mean robust error beyond the limit's, its prediction, distance of parameters."""

    excess: Array
    predicted: float
    distance: Array


def _fit(setting: Setting, n: int, d: int, rng: np.random.Generator) -> _Runs:
    eps = setting["eps"]
    mixture = GaussianMixture(dim=d, eta=setting["margin"] * d**-0.5 + eps, sigma=1.0, K=setting["K"])
    optimum = logistic_optimum(mixture, eps)
    limit = optimum.linear()
    fits = [solve(*draw(mixture, n // 2, rng), eps=eps).classifier for _ in range(REPEATS[setting["kind"]])]
    base = _mean_error(limit, mixture, eps)
    excess = np.array([_mean_error(f, mixture, eps) - base for f in fits])
    moves = [np.append(f.weights - limit.weights, f.bias - limit.bias) for f in fits]
    return _Runs(excess, _expected(optimum, n, eps) - base, np.linalg.norm(moves, axis=1))


def _mean_error(classifier: LinearClassifier, mixture: GaussianMixture, eps: float) -> float:
    return float(np.mean(ndtr(classifier.z_scores(mixture, eps))))


def _expected(optimum: LogisticOptimum, n: int, eps: float) -> float:
    """Return the mean over training samples of the mean error, its z-scores being normal."""
    means, deviations = (np.array(v) for v in optimum.sample_z_scores(n, eps))
    return float(np.mean(ndtr(means / np.sqrt(1 + deviations**2))))


def slope(
    sizes: Sequence[int],
    values: Sequence[Array],
    statistic: Callable[[Array], Any],
    predicted: float,
    rng: np.random.Generator,
    alpha: float,
    resolution: float,
) -> Verdict:
    """Compare the slope of ln statistic over ln size with a prediction; its error comes from resampling.

    Args:
        sizes: increasing.
        values: repeated measurements at each size.
        statistic: a positive number from such values.
        predicted: the slope in theory.
        rng: source of the resamples.
        alpha: probability that a true prediction is called wrong.
        resolution: difference that must be visible for "agrees".
    """
    measured = _exponent(sizes, [statistic(v) for v in values])
    again = [_exponent(sizes, [statistic(rng.choice(v, len(v))) for v in values]) for _ in range(RESAMPLES)]
    return judge_mean(predicted, measured, max(float(np.std(again)), 1e-12), alpha, resolution)


def _exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Return the slope of ln value over ln size by least squares; values <= 0 count as a tiny one."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-300)), 1)[0])


def _size(values: Array) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(values**2)))


STUDY = SimulationStudy(
    summary="Trained parameters and errors approach those of theory at the rates of theory.",
    settings=settings,
    run=run,
    seconds=3.4,
)
