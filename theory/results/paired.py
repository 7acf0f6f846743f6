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
"""Correlation between the squares of two differences from one base, where half of the noise is the base's."""


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
        n = len(self.images)
        centre = n * self.mean / (n + 2)
        half = float(ndtri((1 + confidence) / 2)) * self._image_variance**0.5
        return max(centre - half, -1.0), min(centre + half, 1.0)

    @property
    def _image_variance(self) -> float:
        n = len(self.images)
        x = n * self.images + self.mean
        return float(((x @ x + 1) / (n + 2) - (n * self.mean / (n + 2)) ** 2) / (n + 2))

    def _variance(self, pooled: tuple[float, float]) -> float:
        """Return V."""
        of_seeds = max(pooled[0], float(self.seeds.var(ddof=1))) / len(self.seeds)
        of_images = self._image_variance
        return max(of_seeds, of_images, of_seeds + of_images - self.single)

    def over_both(self, pooled: tuple[float, float], confidence: float = 0.95) -> tuple[float, float]:
        """Return the interval over images and seeds; nan for one seed.

        Args:
            pooled: see `pooled_variance`.
            confidence: nominal coverage.
        """
        if len(self.seeds) < 2:
            return np.nan, np.nan
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
        for errors in (pair.method, pair.base):
            rate, weights = _rate(pair.labels, errors, weigh(pair.labels, errors))
            rates.append(rate)
            influences.append(weights * (errors - float(rate)))
            used |= weights > 0
        seeds.append(rates[0] - rates[1])
        index.append(pair.index[used])
        parts.append((influences[0] - influences[1])[used] / len(pairs))
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
    free = sum(len(s) - 1 for s in several)
    variance = sum(float(s.var(ddof=1)) * (len(s) - 1) for s in several) / free
    return variance, free / (1 + SHARED * (len(several) - 1))


def holm(p: Sequence[float]) -> list[float]:
    """Return Holm's (1979) adjusted p-values: at most a share alpha of families has a true null at <= alpha.

    Args:
        p: p-values of a family; nan is what was not tested, and stays.
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values)[: int(np.isfinite(values).sum())]
    factors = len(order) - np.arange(len(order))
    out = np.full(len(values), np.nan)
    out[order] = np.minimum(1, np.maximum.accumulate(values[order] * factors))
    return [float(v) for v in out]
