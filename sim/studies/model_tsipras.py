"""One strong and many weak features: Tsipras et al. (2019).

Four classifiers: the natural SVM of theorem 2.2, its adversarial SVM sign(x_1), the mean of the weak
features, and random weights. They have no bias, so both classes have the same error.
"""

from typing import Any

import numpy as np

from sim.sampling.draws import Tsipras
from sim.studies.study import Setting, SimulationStudy, StudyOutcome
from sim.testing.bands import NamedVerdict
from sim.testing.counting import SAMPLES, compare_errors
from theory.gaussian.linear import LinearClassifier
from theory.variants.tsipras import TsiprasModel, linear_error, natural_svm

__all__ = ["STUDY"]


def settings(n: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return random settings with a radius below, at and above eta, up to 2 eta, in turn."""
    return [_draw(rng, (0.5, 1.0, 1.5, 2.0)[i % 4]) for i in range(n)]


def _draw(rng: np.random.Generator, ratio: float) -> dict[str, Any]:
    d = int(rng.integers(4, 40))
    eta = round(float(rng.uniform(1, 2) / np.sqrt(d)), 4)
    return {
        "dim": d,
        "p": round(float(rng.uniform(0.7, 0.95)), 3),
        "eta": eta,
        "eps": round(min(ratio * eta, 0.9), 4),
        "w1": round(float(rng.uniform(0.2, 1)), 3),
        "weights": [round(float(v), 3) for v in rng.uniform(0, 0.5, d)],
    }


def run(setting: Setting, rng: np.random.Generator, alpha: float) -> StudyOutcome:
    """Count the natural and robust errors of both classes under each classifier."""
    model = TsiprasModel(dim=setting["dim"], p=setting["p"], eta=setting["eta"])
    root = float(np.sqrt(model.dim))
    phi = natural_svm(model.p, model.eta * root).phi
    classifiers = {
        "natural SVM": (np.cos(phi), np.full(model.dim, np.sin(phi) / root)),
        "strong feature": (1.0, np.zeros(model.dim)),
        "weak features": (0.0, np.full(model.dim, 1 / root)),
        "random weights": (setting["w1"], np.array(setting["weights"])),
    }
    samples = Tsipras(model).draw(rng, SAMPLES)
    found: list[NamedVerdict] = []
    for name, (w1, weights) in classifiers.items():
        predicted = {
            e: (p, p) for e in (0.0, setting["eps"]) for p in [linear_error(model, w1, weights, 0.0, e)]
        }
        classifier = LinearClassifier(np.concatenate([[w1], weights]), 0.0)
        share = alpha / len(classifiers)
        found += compare_errors(name, classifier, samples, predicted, norm="linf", alpha=share)
    return StudyOutcome(found)


STUDY = SimulationStudy(
    summary="With one strong and many weak features the errors of attacked samples are those of theory.",
    settings=settings,
    run=run,
    seconds=0.3,
)
