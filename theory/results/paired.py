"""What training differently changes, on the same test images and seeds: estimate, intervals, p-values.

A change is the mean over seeds of an error rate with the method minus that of its base. Two things vary:
which images are tested and how training goes. Seeds share test images, in whole or in part, so that neither
images times seeds nor seeds alone are independent draws. With psi_is what image i adds to the mean in seed
s, three variances are taken (two-way clustering, Cameron, Gelbach and Miller, 2011):

    images  V_I = sum_i (sum_s psi_is)^2        these networks on other images
    seeds   V_S = variance over seeds / S       other trainings
    both    V = max(V_I, V_S, V_I + V_S - V_0), V_0 = sum_is psi_is^2, which is in both of the others

V_I has Agresti and Min's half samples: for one seed it gives `theory.results.intervals.paired_interval`. A
handful of seeds tells little about their own variance, so V_S is the larger of the method's own and of the
mean over all methods with the same base, and Student's t has the degrees of freedom of that mean, as though
all of V were of the seeds. That makes intervals over both too wide rather than too narrow. `holm` is for
several rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtr, stdtrit

from theory.results.counts import mean_interval

__all__ = ["Change", "Pair", "Weigh", "average_over", "change_of", "holm", "largest", "pooled_variance"]

Array = npt.NDArray[np.float64]
Weigh = Callable[[npt.NDArray[np.int64], npt.NDArray[np.bool_]], Sequence[int] | None]
"""Of labels and errors, shape (n,), the classes whose mean error is the statistic; None is all samples."""
SHARED = 0.25
"""Correlation between the variances over seeds of two methods that are compared with one base.

With m_j, b ~ N(., s^2) independent, the differences d_j = m_j - b have variance 2 s^2 and covariance s^2, so
a correlation of 1/2. Sample variances of normal variables of correlation r have the correlation r^2.
"""


@dataclass(frozen=True)
class Pair:
    """Two networks of one seed on the same samples.

    Args:
        index: what names each sample, shape (n,).
        labels: classes, shape (n,).
        base: whether the network of the base method errs on each, shape (n,).
        method: the same of the other network.
    """

    index: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    base: npt.NDArray[np.bool_]
    method: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Change:
    """What a method changes in one error.

    Args:
        seeds: change in each seed, shape (S,).
        mean: over seeds, from the counts.
        images: what each image adds to the mean change, less its expectation, shape (images,); sums to 0.
        single: V_0.
    """

    seeds: Array
    mean: float
    images: Array
    single: float

    def over_seeds(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return Student's t interval over seeds; nan for one seed."""
        return mean_interval(self.seeds, confidence)[1:]

    def over_images(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the interval of these networks over test images."""
        # Agresti and Min (2005) add half a sample to each cell of the 2 x 2 table of right and wrong before
        # and after: two samples more, of which half a one is a change of +1 and half a one a change of -1.
        n = len(self.images)
        centre = n * self.mean / (n + 2)
        half = float(ndtri((1 + confidence) / 2)) * self._image_variance**0.5
        return max(centre - half, -1.0), min(centre + half, 1.0)

    @property
    def _image_variance(self) -> float:
        # psi_i = (x_i - mean) / n, where x_i is the change of image i: back to x_i. With the half samples
        # the second moment is (sum x_i^2 + 1/2 + 1/2) / (n + 2) and the mean n mean / (n + 2); the
        # variance of a mean of n + 2 samples is their difference over n + 2.
        n = len(self.images)
        x = n * self.images + self.mean
        return float(((x @ x + 1) / (n + 2) - (n * self.mean / (n + 2)) ** 2) / (n + 2))

    def _variance(self, pooled: tuple[float, float]) -> float:
        """Return V."""
        # Three seeds know their variance to a factor of 40 (95 %), so the other methods of the base vouch for
        # it; a method that varies more than they do is not believed to vary less.
        of_seeds = max(pooled[0], float(self.seeds.var(ddof=1))) / len(self.seeds)
        of_images = self._image_variance
        # Two-way clustering: the sum over pairs of draws that share an image or a seed. Pairs that share
        # both, an image with itself in one seed, are in both sums and are taken off once. The difference
        # can be smaller than one of its parts, or negative, by chance: then the larger part stands.
        return max(of_seeds, of_images, of_seeds + of_images - self.single)

    def over_both(self, pooled: tuple[float, float], confidence: float = 0.95) -> tuple[float, float]:
        """Return the interval over images and seeds; nan for one seed.

        Args:
            pooled: see `pooled_variance`.
            confidence: nominal coverage.
        """
        if len(self.seeds) < 2:
            return np.nan, np.nan
        # Student's t as if V were all of the seeds, the part that is known worst. V_I has hundreds of degrees
        # of freedom, so a V of both has more than these, and the interval is too wide, not too narrow.
        half = float(stdtrit(pooled[1], (1 + confidence) / 2)) * self._variance(pooled) ** 0.5
        return self.mean - half, self.mean + half

    def p(self, pooled: tuple[float, float]) -> float:
        """Return the two-sided p-value that nothing changed, over images and seeds; nan for one seed."""
        if len(self.seeds) < 2:
            return np.nan
        return float(2 * stdtr(pooled[1], -abs(self.mean) / self._variance(pooled) ** 0.5))


def average_over(classes: Sequence[int] | None = None) -> Weigh:
    """Return the statistic of the error over all samples, or of the mean error of some classes."""
    return lambda labels, errors: classes


def largest(labels: npt.NDArray[np.int64], errors: npt.NDArray[np.bool_]) -> Sequence[int]:
    """Return the class of largest error, whichever that is in this network."""
    rates = np.bincount(labels, weights=errors) / np.bincount(labels)
    return [int(rates.argmax())]


def _rate(
    labels: npt.NDArray[np.int64], errors: npt.NDArray[np.bool_], classes: Sequence[int] | None
) -> tuple[Fraction, Array]:
    """Return a statistic, and the weights of the samples whose sum over errors it is, shape (n,)."""
    # The mean over classes of errors / samples, in fractions: a tie stays one. Its derivative in the error of
    # a sample is 1 / (samples of its class) / classes, the weight of the sample.
    groups = [np.ones(len(labels), bool)] if classes is None else [labels == c for c in classes]
    rates = [Fraction(int((errors & g).sum()), int(g.sum())) for g in groups]
    return sum(rates, Fraction()) / len(groups), np.asarray(sum(g / g.sum() for g in groups) / len(groups))


def change_of(pairs: Sequence[Pair], weigh: Weigh) -> Change:
    """Return what the method changes in a statistic.

    Args:
        pairs: one for each seed, at least one.
        weigh: the statistic.
    """
    seeds: list[Fraction] = []
    index, parts = [], []
    for pair in pairs:
        rates, influences, used = [], [], np.zeros(len(pair.labels), bool)
        # The influence of sample i on a rate is weight_i (error_i - rate), which sums to 0. Classes may be
        # chosen by the errors (`largest`), and then differ between base and method: a sample that only one of
        # the two weighs has the influence that it has there.
        for errors in (pair.method, pair.base):
            rate, weights = _rate(pair.labels, errors, weigh(pair.labels, errors))
            rates.append(rate)
            influences.append(weights * (errors - float(rate)))
            used |= weights > 0
        seeds.append(rates[0] - rates[1])
        index.append(pair.index[used])
        parts.append((influences[0] - influences[1])[used] / len(pairs))
    # psi_is, each divided by the number of seeds as the mean is. Images are matched by their index: an image
    # that several seeds tested adds what they have together, and V_I is a sum over images of squares of that.
    each = np.concatenate(parts)
    _, image = np.unique(np.concatenate(index), return_inverse=True)
    by_image = np.bincount(image, weights=each).astype(np.float64)
    mean = float(sum(seeds, Fraction()) / len(seeds))
    return Change(np.array(seeds, np.float64), mean, by_image, float(each @ each))


def pooled_variance(changes: Sequence[Change]) -> tuple[float, float]:
    """Return the variance over seeds of a seed's change, a mean over methods, and its degrees of freedom.

    Methods that are compared with the same base share its noise: for noise of equal size M of them have not M
    times the degrees of freedom of one but M / (1 + (M - 1) / 4) times.

    Args:
        changes: of one statistic, against one base; those of one seed say nothing.
    """
    several: list[Any] = [c.seeds for c in changes if len(c.seeds) > 1]
    if not several:
        return np.nan, np.nan
    # The mean of M variances of f degrees of freedom each: with the correlation `SHARED` between any two its
    # relative variance is 2 / f (1 + (M - 1) SHARED) / M. Satterthwaite's (1946) number of degrees of freedom
    # is 2 over the relative variance, M f / (1 + (M - 1) SHARED).
    free = sum(len(s) - 1 for s in several)
    variance = sum(float(s.var(ddof=1)) * (len(s) - 1) for s in several) / free
    return variance, free / (1 + SHARED * (len(several) - 1))


def holm(p: Sequence[float]) -> list[float]:
    """Return Holm's (1979) adjusted p-values: at most a share alpha of families has a true null at <= alpha.

    Args:
        p: p-values of a family; nan is what was not tested, and stays.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, np.float64)
    # The k-th smallest p-value has m - k + 1 hypotheses left to compete with. No adjusted p-value may be
    # below that of a smaller one: once a hypothesis is kept, all after it are.
    order = np.argsort(values)[: int(np.isfinite(values).sum())]  # nan is last
    factors = len(order) - np.arange(len(order))
    out = np.full(len(values), np.nan)
    out[order] = np.minimum(1, np.maximum.accumulate(values[order] * factors))
    return [float(v) for v in out]
