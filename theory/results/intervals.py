"""What counts allow one to say: which class is the worst, is a gap more than chance, did anything change."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, gammaln, ndtri

__all__ = ["mcnemar", "null_gap", "paired_interval", "worst_set"]

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
SAME = 1e-9  # rates closer than this are the same multiple of 1 / n


def _cdf(k: Array, n: Array, rate: float) -> Array:
    """Return P(count <= k) of a binomial count; k may be negative."""
    return np.where(k < 0, 0.0, bdtr(np.clip(k, 0, n), n.astype(np.int64), rate))


def null_gap(n: npt.ArrayLike, rate: float, gap: float) -> tuple[float, float]:
    """Return what chance alone makes of the gap, the largest minus the smallest error rate of a class.

    Were every class's true error ``rate``, with counts independent and binomial, what is the expected gap,
    and how probable is one of at least ``gap``? Both are exact sums over the largest and smallest rate.

    Args:
        n: samples of each class, each > 0.
        rate: common error rate.
        gap: observed gap.

    >>> [round(v, 3) for v in null_gap([1000] * 10, 0.5, 0.071)]
    [0.049, 0.051]
    """
    sizes = np.unique(np.asarray(n, np.int64))
    grid = np.unique(np.concatenate([np.arange(size + 1) / size for size in sizes]).round(12))
    n = np.asarray(n, float)[:, None]
    below = _cdf(np.ceil(grid * n - SAME) - 1, n, rate)  # P(rate of class < t), shape (C, grid)
    upto = _cdf(np.floor(grid * n + SAME), n, rate)
    largest = upto.prod(0) - below.prod(0)
    smallest = (1 - below).prod(0) - (1 - upto).prod(0)
    within = _cdf(np.ceil((grid + gap) * n - SAME) - 1, n, rate)  # P(rate of class < t + gap)
    narrower = (within - below).clip(0).prod(0) - (within - upto).clip(0).prod(0)
    return float(grid @ (largest - smallest)), float(np.clip(1 - narrower.sum(), 0, 1))


def _exceeds(k: int, n: int, other: Index, other_n: Index) -> Array:
    """Return Fisher's one-sided p-values that one error rate is not larger than each of some others.

    That is the hypergeometric probability of at least k of the k + other errors among the first n samples.
    """
    log_factorial = gammaln(np.arange(n + other_n.max() + 1) + 1.0)
    errors, total = (k + other)[:, None], (n + other_n)[:, None]
    count = np.arange(k, n + 1)
    rest = errors - count
    inside = (rest >= 0) & (rest <= other_n[:, None])
    rest = np.where(inside, rest, 0)

    def log_choose(top: Any, bottom: Any) -> Array:
        return np.asarray(log_factorial[top] - log_factorial[bottom] - log_factorial[top - bottom])

    log_p = log_choose(n, count) + log_choose(other_n[:, None], rest) - log_choose(total, errors)
    return np.asarray(np.where(inside, np.exp(log_p), 0).sum(1).clip(0, 1))


def worst_set(errors: npt.ArrayLike, n: npt.ArrayLike, confidence: float = 0.95) -> list[int]:
    """Return the classes that may be the one of largest error: a confidence set for it.

    A class is left out if some other's error is larger by Fisher's exact test at (1 - confidence) / (C - 1).
    For the truly worst class each of these C - 1 tests is of a true hypothesis: by Bonferroni it is left
    out with probability at most 1 - confidence. The class of the largest observed error is always in.

    Among classes of equally many samples the p-value falls with the errors of the larger one and rises with
    those of the other, so that only the largest of each size is a rival, and those it leaves out are found by
    bisection: the time is linear in the samples and does not grow with the classes unless their sizes differ.

    Args:
        errors: errors of each class, shape (C,).
        n: samples of each class, each > 0, shape (C,).
        confidence: coverage.

    >>> worst_set([300, 290, 150], [1000] * 3)
    [0, 1]
    """
    k, size = np.asarray(errors, np.int64), np.asarray(n, np.int64)
    alpha = (1 - confidence) / max(1, len(k) - 1)
    groups = [np.flatnonzero(size == value) for value in np.unique(size)]
    ranked = [group[k[group].argsort(kind="stable")] for group in groups]
    sizes, out = np.array([len(group) for group in ranked]), np.zeros(len(ranked), np.int64)
    rivals = sorted((group[-1] for group in ranked), key=lambda c: 1 / np.sqrt(size[c]) - k[c] / size[c])
    for rival in rivals:  # of each group, the first classes are out: how many at least and at most?
        low, high = out.copy(), sizes.copy()
        while (open_ := np.flatnonzero(low < high)).size:
            middle = (low[open_] + high[open_]) // 2
            at = np.array([ranked[g][m] for g, m in zip(open_, middle, strict=True)])
            larger = k[rival] * size[at] > k[at] * size[rival]
            beaten = larger & (_exceeds(k[rival], size[rival], k[at], size[at]) <= alpha)
            low[open_[beaten]] = middle[beaten] + 1
            high[open_[~beaten]] = middle[~beaten]
        out = low
    kept = np.concatenate([group[count:] for group, count in zip(ranked, out, strict=True)])
    return sorted(map(int, kept))


def mcnemar(lost: npt.ArrayLike, won: npt.ArrayLike) -> Array:
    """Return McNemar's exact two-sided p-value that two classifiers err equally often.

    Args:
        lost: samples that only the second gets wrong.
        won: samples that only the first gets wrong.

    >>> round(float(mcnemar(30, 12)), 4)
    0.0079
    """
    b, c = np.asarray(lost, np.int64), np.asarray(won, np.int64)
    return np.asarray(np.minimum(1, 2 * bdtr(np.minimum(b, c).astype(float), b + c, 0.5)))


def paired_interval(
    lost: npt.ArrayLike, won: npt.ArrayLike, n: npt.ArrayLike, confidence: float = 0.95
) -> Array:
    """Return the interval of the second error rate minus the first on the same samples, shape (..., 2).

    Wald's, with half a sample added to each of the four cells (Agresti and Min, 2005).

    Args:
        lost: samples that only the second gets wrong.
        won: samples that only the first gets wrong.
        n: samples.
        confidence: nominal coverage.

    >>> paired_interval(30, 12, 1000).round(4).tolist()
    [0.0052, 0.0307]
    """
    b, c, size = np.asarray(lost) + 0.5, np.asarray(won) + 0.5, np.asarray(n) + 2.0
    change = (b - c) / size
    half = ndtri((1 + confidence) / 2) * np.sqrt((b + c) / size - change**2) / np.sqrt(size)
    return np.stack([np.maximum(change - half, -1), np.minimum(change + half, 1)], axis=-1)
