"""What figures say of runs together: means over seeds, with intervals, and what those are in words."""

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from theory.common.digits import rounded
from theory.results.counts import exact_interval, mean_interval
from theory.results.protocols import Comparison

__all__ = [
    "ENOUGH",
    "MOST",
    "TOGETHER",
    "chosen_classes",
    "data_name",
    "difference",
    "few_classes",
    "interval",
    "overlap",
    "percent",
    "subject",
    "verb",
    "whiskers",
    "with_interval",
]

TOGETHER = ("average", "worst")
"""What follows the classes."""
MOST = 20
"""So many classes are shown one by one; of more, the `WORST` and the `BEST`."""
WORST, BEST = 12, 4
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


def chosen_classes(errors: npt.NDArray[np.float64]) -> tuple[list[int], str]:
    """Return the classes that are shown, and a sentence on which they are if there are others.

    Args:
        errors: of every class, by which they are chosen, shape (C,).
    """
    if len(errors) <= MOST:
        return [*range(len(errors))], ""
    order = np.argsort(-errors, kind="stable")
    sentence = (
        f" Of {len(errors)} classes those {WORST} with the largest and {BEST} with the smallest robust error "
        "(here, mean over the methods), the worst first."
    )
    return [int(i) for i in (*order[:WORST], *order[-BEST:])], sentence


def few_classes(
    classes: tuple[str, ...], heights: Mapping[str, Mapping[str, npt.NDArray[np.float64]]]
) -> tuple[str, tuple[str, ...], dict[str, dict[str, npt.NDArray[np.float64]]]]:
    """Return which classes are chosen in words, their names with `TOGETHER`, and their rows.

    Args:
        classes: names, length C.
        heights: for each quantity and method what `percent` returns, shape (C + 2, 3).
    """
    errors = np.mean([values[:-2, 0] for values in heights["robust_error"].values()], axis=0)
    chosen, sentence = chosen_classes(errors)
    rows = {q: {m: v[[*chosen, -2, -1]] for m, v in methods.items()} for q, methods in heights.items()}
    return sentence, (*(classes[i] for i in chosen), *TOGETHER), rows


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


def data_name(comparison: Comparison) -> str:
    """Return the data set, and whether it is a pilot on a part of the images."""
    pilot = " pilot" if "train_per_class" in comparison.protocol else ""
    return f"{comparison.protocol['dataset']}{pilot}"


def subject(comparison: Comparison, labels: Iterable[str]) -> str:
    """Return the data set and the seeds of some methods, which a finding begins with."""
    seeds = sorted({len(comparison.runs[label]) for label in labels})
    counts = "one seed" if seeds == [1] else " to ".join(map(str, sorted({seeds[0], seeds[-1]}))) + " seeds"
    return f"{data_name(comparison)}, {counts}"


def with_interval(triple: npt.ArrayLike, unit: str = " %") -> str:
    """Return a value with its interval, if it has one; that of an error in percent is cut at 0 and 100.

    >>> with_interval([84.44, 74.2, 94.6])
    '84.4 % [74.2, 94.6]'
    """
    numbers = np.asarray(triple, float)
    if unit == " %":
        numbers = np.clip(numbers, 0, 100)
    value, low, high = (rounded(float(v), 1) for v in numbers)
    return f"{value}{unit}" + (f" [{low}, {high}]" if low != "nan" else "")


def difference(first: npt.ArrayLike, second: npt.ArrayLike) -> int:
    """Return 1 where the interval of the first is above that of the second, -1 where it is below, else 0.

    Args:
        first: value, low and high; without an interval it is apart from nothing.
        second: likewise.

    >>> difference([3, 2, 4], [1, 0, 2]), difference([3, 2, 4], [5, 4.5, 6]), difference([3, 2, 4], [3, 1, 5])
    (0, -1, 0)
    """
    (_, low, high), (_, bottom, top) = np.asarray(first, float), np.asarray(second, float)
    return int(low > top) - int(high < bottom)


def overlap(first: npt.ArrayLike, second: npt.ArrayLike) -> str:
    """Return what is said after two values that are not apart."""
    return "" if difference(first, second) else "; intervals overlap"


def verb(before: npt.ArrayLike, after: npt.ArrayLike) -> str:
    """Return what takes one value to another does to it."""
    change = float(np.asarray(after)[0] - np.asarray(before)[0])
    return "lowers" if change < 0 else "raises" if change > 0 else "does not change"
