"""An iterative attack on linear scores: exact for two classes, and by how much it misses for several.

Decisions are compared sample by sample, so nothing is left to chance: for two classes the attack must find
every sample that is not robust; for any number it must never find one that is.
"""

from typing import Any

import numpy as np

from sim.studies.study import Setting, SimulationStudy, StudyOutcome
from sim.testing.bands import NamedVerdict, Verdict
from sim.testing.iterative import compare
from theory.gaussian.adversary import NORMS
from theory.results.counts import exact_interval

__all__ = ["STUDY"]

SAMPLES = 2000


def settings(n: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return settings with 2, 3, 5 and 10 classes and the norms in turn."""
    classes = (2, 2, 3, 5, 10)
    return [{"classes": classes[i % 5], "norm": NORMS[i % 3], "dim": 10} for i in range(n)]


def run(setting: Setting, rng: np.random.Generator, alpha: float) -> StudyOutcome:
    """Attack random samples of random scores at a radius where about a third of them are not robust."""
    classes, d, norm = setting["classes"], setting["dim"], setting["norm"]
    weights = rng.standard_normal((classes, d))
    x = rng.standard_normal((SAMPLES, d)) + 0.5
    labels = (x @ weights.T).argmax(axis=1)
    eps = {"linf": 0.2, "l2": 0.45, "l1": 0.9}[norm] * (0.5 if classes > 2 else 1.0)
    found = compare(weights, np.zeros(classes), x, labels, eps, norm)
    name = f"{classes} classes, {norm}, {found.exact} not robust"
    comparisons = [_none(f"{name}, {found.missed} missed: found although robust", found.wrong)]
    if classes == 2:
        comparisons.append(_none(f"{name}: missed", found.missed))
    return StudyOutcome(comparisons)


def _none(what: str, count: int) -> NamedVerdict:
    """Compare a number of samples that theory says is 0."""
    low, high = exact_interval(count, SAMPLES)
    verdict = "differs" if count else "agrees"
    interval, p_value = (float(low), float(high)), float(not count)
    return NamedVerdict(what, Verdict(0.0, count / SAMPLES, interval, p_value, 1 / SAMPLES, verdict))


STUDY = SimulationStudy(
    summary="Steepest ascent is exact on linear scores of two classes, and misses some of several.",
    settings=settings,
    run=run,
    seconds=0.5,
)
