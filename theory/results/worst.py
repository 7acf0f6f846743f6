"""The worst class as what it is, the largest of several counted errors, and the spread that chance makes."""

import math

import numpy as np
import numpy.typing as npt

from theory.results.counts import exact_interval

__all__ = ["null_spread", "worst_interval"]


def worst_interval(
    errors: npt.ArrayLike, n: npt.ArrayLike, confidence: float = 0.95
) -> tuple[int, float, float]:
    """Return the group of largest error rate, with an interval that allows for its having been picked.

    The naive interval of the group picked is too high: the largest of several counts is large by chance too.
    This one covers, at once, the true rate p_w of the group w that is named and the largest true rate
    max p_c. With a = 1 - confidence and C groups:

    - low is the one-sided Clopper-Pearson bound of w at a / (2 C). By Bonferroni all C such bounds hold with
      probability 1 - a / 2, so that of w does, whichever was picked, and p_w <= max p_c.
    - high is the largest of the one-sided bounds at a / 2, with no correction: that of the truly worst group
      alone fails with probability at most a / 2, the largest bound is not below it, and max p_c >= p_w.

    Nothing is assumed of how the groups depend on each other: they may be several errors of the same samples.

    Args:
        errors: errors of each group, shape (C,).
        n: samples of each group, each > 0, shape (C,).
        confidence: coverage, at least this.

    Returns:
        The place of the group, low and high.

    Example:
        >>> worst, low, high = worst_interval([12, 30, 28], [100, 100, 100])
        >>> worst, round(low, 3), round(high, 3)
        (1, 0.196, 0.4)
    """
    k, size = np.broadcast_arrays(np.asarray(errors, float), np.asarray(n, float))
    worst, tail = int((k / size).argmax()), (1 - confidence) / 2
    low = exact_interval(k[worst], size[worst], 1 - 2 * tail / len(k))[0]
    high = exact_interval(k, size, 1 - 2 * tail)[:, 1].max()
    return worst, float(low), float(high)


def null_spread(
    errors: npt.ArrayLike, n: npt.ArrayLike, draws: int = 9999, seed: int = 0
) -> tuple[float, float]:
    """Return what chance alone makes of the spread: the standard deviation of the error rate over classes.

    Were all true errors equal, every assignment of the K = sum k_c errors to the N = sum n_c samples would be
    equally likely, whatever the common rate: k is multivariate hypergeometric. So with q = K/N (1 - K/N),
    Var(k_c/n_c) = q (N - n_c) / (n_c (N - 1)) and Cov(k_c/n_c, k_d/n_d) = -q / (N - 1), and the mean of the
    squared spread, (1/C) sum r_c^2 - (mean r)^2, is exact. The p-value is the share of the observed
    counts and of ``draws`` random assignments with a spread at least as large; it is exact as a test.

    Args:
        errors: errors of each class, shape (C,).
        n: samples of each class, each > 0, shape (C,).
        draws: random assignments.
        seed: seed of the random assignments.

    Returns:
        The root of the mean squared spread of equal classes, and the p-value.

    Example:
        >>> expected, p = null_spread([10, 10, 40], [100, 100, 100])
        >>> round(expected, 4), p < 0.001
        (0.0327, True)
    """
    k, size = np.broadcast_arrays(np.asarray(errors, np.int64), np.asarray(n, np.int64))
    total, classes = int(size.sum()), len(k)
    if total < 2:
        return 0.0, 1.0
    rate = k.sum() / total
    unit = rate * (1 - rate) / (total - 1)
    variances = unit * (total - size) / size
    of_mean = (variances.sum() - classes * (classes - 1) * unit) / classes**2
    expected = math.sqrt(max(0.0, float(variances.mean() - of_mean)))
    assigned = np.random.default_rng(seed).multivariate_hypergeometric(size, int(k.sum()), draws)
    larger = (assigned / size).std(axis=1) >= (k / size).std() - 1e-12
    return expected, float((1 + larger.sum()) / (1 + draws))
