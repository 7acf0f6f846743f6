"""Theory against counts: a band for the chance of training, an exact test for the chance of testing.

A trained classifier is random twice: its parameters depend on the training sample, its measured
error on the test sample. Theory gives a band that holds the true error of the trained classifier
except with probability alpha / 2. The count is then tested against every rate in the band with the
exact binomial distribution, at level alpha / 2. A true theory is called wrong with probability at most
alpha (the band is first order in 1 / n).
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, bdtrc, ndtr, ndtri

from sim.learning.biases import chernoff_quantile, threshold_scale
from theory.claims.simulation import Distribution, Training
from theory.gaussian.problem import GaussianClassifier
from theory.gaussian.surrogate import LogisticOptimum
from theory.results.counts import exact_interval

__all__ = ["BUDGET", "RESOLUTION", "Verdict", "bias_bands", "judge", "judge_mean", "logistic_bands"]

BUDGET = 1e-6
"""Probability that a sweep in which every theory and every claim is true says "differs" anywhere."""
RESOLUTION = 0.05
"""A comparison that could not have seen an error off by this much says "cannot tell"."""

Band = tuple[float, float]
Bands = tuple[Band, Band]


@dataclass(frozen=True)
class Verdict:
    """Outcome of one comparison of a predicted error with a count.

    Args:
        predicted: error that theory gives in the limit of many training samples.
        measured: errors / n.
        interval: 95 % exact interval of the measured error.
        p_value: largest over the band, two-sided.
        detectable: smallest difference from ``predicted`` that would have been seen.
        verdict: "agrees", "differs" or "cannot tell".
    """

    predicted: float
    measured: float
    interval: Band
    p_value: float
    detectable: float
    verdict: str


def judge(predicted: float, band: Band, errors: int, n: int, alpha: float) -> Verdict:
    """Compare a count with a prediction.

    Args:
        predicted: the predicted error.
        band: lowest and highest error that training may leave, holding with probability 1 - alpha
            / 2.
        errors: samples in error.
        n: samples tried.
        alpha: probability that a true prediction is called wrong.
    """
    low, high = band
    if errors > high * n:
        p_value = min(1.0, 2 * float(bdtrc(errors - 1, n, high)))
    elif errors < low * n:
        p_value = min(1.0, 2 * float(bdtr(errors, n, low)))
    else:
        p_value = 1.0
    lowest = exact_interval(np.floor(low * n), n, 1 - alpha / 2)[0]
    highest = exact_interval(np.ceil(high * n), n, 1 - alpha / 2)[1]
    detectable = float(max(predicted - lowest, highest - predicted))
    if p_value < alpha / 2:
        verdict = "differs"
    else:
        verdict = "agrees" if detectable <= RESOLUTION else "cannot tell"
    a, b = exact_interval(errors, n)
    return Verdict(predicted, errors / n, (float(a), float(b)), p_value, detectable, verdict)


def judge_mean(
    predicted: float, mean: float, deviation: float, alpha: float, resolution: float = RESOLUTION
) -> Verdict:
    """Compare an estimate of normal distribution with a prediction.

    Args:
        predicted: its mean in theory.
        mean: what was measured.
        deviation: its standard error.
        alpha: probability that a true prediction is called wrong.
        resolution: an estimate that would not have seen this difference says "cannot tell".
    """
    p_value = float(2 * ndtr(-abs(mean - predicted) / deviation))
    detectable = -2 * float(ndtri(alpha / 2)) * deviation
    verdict = "differs" if p_value < alpha else "agrees" if detectable <= resolution else "cannot tell"
    interval = mean - 1.96 * deviation, mean + 1.96 * deviation
    return Verdict(predicted, mean, interval, p_value, detectable, verdict)


def logistic_bands(optimum: LogisticOptimum, n: int, eps: float, alpha: float) -> Bands:
    """Return the bands of both classes for a classifier trained with the logistic loss on n samples.

    Args:
        optimum: the population minimiser.
        n: training samples, both classes together.
        eps: radius at evaluation.
        alpha: as in `judge`.

    Returns:
        For each class the band; all of [0, 1], so that the verdict is "cannot tell", where n is too small for
        the first order in 1 / n (`LogisticOptimum.first_order_holds`).
    """
    if not optimum.first_order_holds(n):
        return (0.0, 1.0), (0.0, 1.0)
    width = -float(ndtri(alpha / 4))
    plus, minus = (
        (float(ndtr(z - width * sd)), float(ndtr(z + width * sd)))
        for z, sd in zip(*optimum.sample_z_scores(n, eps), strict=True)
    )
    return plus, minus


def bias_bands(classifier: GaussianClassifier, n: int, eps: float, alpha: float) -> Bands:
    """Return the bands of both classes for the bias with the fewest errors among n training samples.

    Args:
        classifier: the optimal classifier, whose direction is used.
        n: training samples, both classes together.
        eps: radius at evaluation.
        alpha: as in `judge`.
    """
    law = Distribution(margin=classifier.margin, widths=classifier.scales)
    training = Training(distribution=law, rule="threshold", bias=classifier.bias)
    width = threshold_scale(training, n // 2) * chernoff_quantile(alpha / 2)
    scales, evaluated = np.array(classifier.scales), np.array(classifier.z_scores(eps))
    low, high = (ndtr(evaluated - width / scales), ndtr(evaluated + width / scales))
    return (float(low[0]), float(high[0])), (float(low[1]), float(high[1]))


@dataclass(frozen=True)
class NamedVerdict:
    """One verdict.

    Args:
        what: what was measured.
        verdict: prediction against measurement.
        claim: whether it judges a statement rather than a prediction.
    """

    what: str
    verdict: Verdict
    claim: bool = False
