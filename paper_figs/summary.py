"""What is said of a method's runs together: means over seeds, with intervals, and what those are in words."""

import numpy as np
import numpy.typing as npt

from theory.results.counts import exact_interval, mean_interval
from theory.results.protocols import Comparison

__all__ = ["ENOUGH", "TOGETHER", "interval", "percent", "whiskers"]

TOGETHER = ("average", "worst")
"""What follows the classes."""
ENOUGH = 3
"""From so many seeds on an interval over them is shown; that of two is 18 standard deviations wide."""


def percent(comparison: Comparison, label: str, quantity: str) -> npt.NDArray[np.float64]:
    """Return an error of every class, of their average and of the worst class, in percent.

    Returns:
        Mean over seeds, low and high, shape (C + 2, 3): see `interval`. The worst class is taken within each
        seed.
    """
    runs = [*comparison.runs[label].values()]
    counts, n = np.array([run.counts(quantity) for run in runs]), np.array(runs[0].n)
    worst = comparison.rates(label, quantity).argmax(axis=1)
    columns = [*zip(counts.T, n, strict=True), (counts.sum(axis=1), n.sum())]
    columns.append((counts[np.arange(len(runs)), worst], n[worst]))
    return 100 * np.array([interval(errors, tried) for errors, tried in columns])


def interval(errors: npt.ArrayLike, n: npt.ArrayLike) -> tuple[float, float, float]:
    """Return the mean error of runs and its 95 % interval (mean, low, high).

    From `ENOUGH` runs on it is Student's t over them; for fewer, where that says next to nothing, the exact
    one over the test images of a run with their mean error.

    Args:
        errors: of each run, shape (runs,).
        n: test images of each run.
    """
    errors, n = np.broadcast_arrays(np.asarray(errors, float), np.asarray(n, float))
    if len(errors) >= ENOUGH:
        return mean_interval(errors / n)
    mean = float((errors / n).mean())
    low, high = exact_interval(mean * n.mean(), n.mean())
    return mean, float(low), float(high)


def whiskers(comparison: Comparison, labels: tuple[str, ...]) -> str:
    """Return what the intervals of some methods are, with their seeds and test images, for a caption."""
    seeds = [len(comparison.runs[label]) for label in labels]
    several = "Student's t over seeds"
    few = f"exact over test images where there are fewer than {ENOUGH} seeds: it lacks the chance of training"
    kinds = [several] * (max(seeds) >= ENOUGH) + [few] * (min(seeds) < ENOUGH)
    counts = ", ".join(f"{label} {k}" for label, k in zip(labels, seeds, strict=True))
    if len(set(seeds)) == 1:
        counts = f"{seeds[0]} each" if len(seeds) > 1 else str(seeds[0])
    n = {size for label in labels for run in comparison.runs[label].values() for size in run.n}
    sizes = f"{min(n)}" if len(n) == 1 else f"{min(n)} to {max(n)}"
    return f"Intervals: 95 %, {' and '.join(kinds)}. Seeds: {counts}; {sizes} test images a class"
