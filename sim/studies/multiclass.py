"""Class errors of linear argmax classifiers with three to six classes, natural and robust.

A sample is robust iff its scores beat those of each other class by more than the adversary can take from
that difference; the exact probability is a multivariate normal one. The claim is that a class error lies
between its largest pairwise error and their sum.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, bdtrc

from sim.sampling.draws import Gaussians
from sim.studies.study import Setting, SimulationStudy, StudyOutcome
from sim.testing.bands import NamedVerdict, Verdict, judge
from sim.testing.counting import SAMPLES
from theory.gaussian.adversary import NORMS, dual_norm
from theory.results.counts import exact_interval
from theory.variants.multiclass import class_error, error_bounds, pair_z_scores

__all__ = ["STUDY", "judge_bound"]

Array = npt.NDArray[np.float64]


def settings(n: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return random settings with 3, 4, 5 and 6 classes and the norms in turn."""
    return [_draw(rng, 3 + i % 4, NORMS[i % 3]) for i in range(n)]


def _draw(rng: np.random.Generator, classes: int, norm: str) -> dict[str, Any]:
    """Return random means, covariances A A' and a classifier near the discriminant w_k ~ mean_k."""
    d = int(rng.integers(classes, 10))
    means = rng.standard_normal((classes, d)) * 2 / np.sqrt(d) * rng.uniform(1.0, 1.4)
    weights = means + 0.15 * rng.standard_normal((classes, d))
    apart = np.linalg.norm(means[:, None] - means, axis=-1)
    eps = 0.1 * np.median(apart[apart > 0]) * {"linf": d**-0.5, "l2": 1.0, "l1": 1.5}[norm]
    factors = 0.9 * np.eye(d) + 0.3 * rng.standard_normal((classes, d, d)) / np.sqrt(d)
    return {
        "means": means.tolist(),
        "factors": factors.tolist(),
        "weights": weights.tolist(),
        "bias": (-(means**2).sum(axis=1) / 2 + 0.2 * rng.standard_normal(classes)).tolist(),
        "norm": norm,
        "eps": round(float(eps), 4),
    }


def run(setting: Setting, rng: np.random.Generator, alpha: float) -> StudyOutcome:
    """Count the natural and robust errors of each class, and compare them with theory and its bounds."""
    means, factors, W, b = (np.array(setting[k]) for k in ("means", "factors", "weights", "bias"))
    share = alpha / (6 * len(means))  # of each class and radius: the error and its two bounds
    found = []
    for label, x in enumerate(Gaussians(means, list(factors)).draw(rng, SAMPLES)):
        covariance = factors[label] @ factors[label].T
        for eps, name in ((0.0, "natural"), (setting["eps"], "robust")):
            scores = pair_z_scores(W, b, means[label], covariance, label, eps, setting["norm"])
            errors, n = _count(x, W, b, label, eps, setting["norm"]), len(x)
            p, what = class_error(*scores), f"{name} error of class {label}"
            found.append(NamedVerdict(what, judge(p, (p, p), errors, n, share)))
            for bound, sign, word in zip(error_bounds(scores[0]), (1, -1), ("above", "below"), strict=True):
                verdict = judge_bound(p, bound, sign, errors, n, share)
                found.append(NamedVerdict(f"{what} {word} its bound", verdict, claim=True))
    return StudyOutcome(found)


def _count(x: Array, W: Array, b: Array, label: int, eps: float, norm: str) -> int:
    """Return how many samples of a class lose a pairwise margin to the adversary."""
    differences = np.delete(W[label] - W, label, axis=0)
    taken = eps * np.array([dual_norm(row, norm) for row in differences])
    margins = x @ differences.T + np.delete(b[label] - b, label)
    return int((margins <= taken).any(axis=1).sum())


def judge_bound(predicted: float, bound: float, sign: int, errors: int, n: int, alpha: float) -> Verdict:
    """Say whether an error is above (``sign`` 1) or below (-1) a bound, in terms of what is to be >= 0.

    Args:
        predicted: the error in theory.
        bound: what it is compared with.
        sign: side of the bound.
        errors: samples in error.
        n: samples tried.
        alpha: probability that a true claim is called wrong.
    """
    high = min(bound, 1.0)
    p_value = float(bdtr(errors, n, high) if sign > 0 else bdtrc(errors - 1, n, high) if errors else 1.0)

    def slack(confidence: float) -> tuple[float, float]:
        ends = sorted(sign * (float(v) - bound) for v in exact_interval(errors, n, confidence))
        return ends[0], ends[1]

    value, sure = sign * (errors / n - bound), slack(1 - alpha)
    verdict = "differs" if p_value < alpha else "agrees" if sure[0] >= 0 else "cannot tell"
    detectable = max(sure[1] - value, value - sure[0])
    return Verdict(sign * (predicted - bound), value, slack(0.95), p_value, detectable, verdict)


STUDY = SimulationStudy(
    summary="Errors of classifiers with several classes are those of theory, and lie between its bounds.",
    settings=settings,
    run=run,
    seconds=2.2,
)
