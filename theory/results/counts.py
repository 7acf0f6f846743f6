"""Counted errors of each class: natural, boundary and robust, with exact intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, stdtrit

from theory.common.digits import exact_mean, percent
from theory.common.table import Table
from theory.results.class_tables import class_names, worst_classes
from theory.results.intervals import null_gap, worst_set

__all__ = ["QUANTITIES", "ClassErrors", "exact_interval", "mean_interval"]

QUANTITIES = ("natural_error", "boundary_error", "robust_error")
"""robust = natural + boundary, by construction (the definitions of Xu et al., 2021)."""

Array = npt.NDArray[np.float64]


FEWEST = 3
"""Values that an interval of their mean needs."""


def mean_interval(values: npt.ArrayLike, confidence: float = 0.95) -> tuple[float, float, float]:
    """Return the mean of independent values and its Student t interval (mean, low, high).

    With fewer than three values there is no interval, its ends are nan: that of two is t = 12.7 standard
    errors, hundreds of points for errors in percent, and says nothing but that they are two.

    >>> [round(v, 4) for v in mean_interval([0.30, 0.32, 0.31])]
    [0.31, 0.2852, 0.3348]
    """
    x = np.asarray(values, float)
    mean = exact_mean(x)
    if len(x) < FEWEST:
        return mean, np.nan, np.nan
    half = float(stdtrit(len(x) - 1, (1 + confidence) / 2) * x.std(ddof=1) / np.sqrt(len(x)))
    return mean, mean - half, mean + half


def exact_interval(errors: npt.ArrayLike, n: npt.ArrayLike, confidence: float = 0.95) -> Array:
    """Return the Clopper-Pearson interval of a binomial rate, shape (..., 2).

    Args:
        errors: counts, from 0 to n.
        n: number of trials, > 0.
        confidence: coverage, at least this for every true rate.

    >>> exact_interval(3, 100).round(4).tolist()
    [0.0062, 0.0852]
    """
    k, n = np.broadcast_arrays(np.asarray(errors, float), np.asarray(n, float))
    tail = (1 - confidence) / 2
    low = np.where(k == 0, 0.0, betaincinv(np.maximum(k, 0.5), n - k + 1, tail))
    high = np.where(k == n, 1.0, betaincinv(k + 1, np.maximum(n - k, 0.5), 1 - tail))
    return np.stack([low, high], axis=-1)


@dataclass(frozen=True)
class ClassErrors:
    """Counts of one classifier on one test set; every rate is derived from them.

    Args:
        classes: names, length C.
        n: samples of each class, each > 0.
        natural: samples misclassified without an attack.
        robust: samples misclassified with or without the attack, so natural <= robust <= n.
    """

    classes: tuple[str, ...]
    n: tuple[int, ...]
    natural: tuple[int, ...]
    robust: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse counts that cannot be."""
        for name, n, natural, robust in zip(self.classes, self.n, self.natural, self.robust, strict=True):
            if not 0 <= natural <= robust <= n or n == 0:
                raise ValueError(
                    f"class {name} needs 0 <= natural <= robust <= n and n > 0, got {natural}, {robust}, {n}"
                )

    @classmethod
    def from_flags(
        cls,
        classes: Sequence[str],
        labels: npt.NDArray[np.integer],
        ok_natural: npt.NDArray[np.bool_],
        ok_attacked: npt.NDArray[np.bool_],
    ) -> "ClassErrors":
        """Count flags of shape (n,); a sample that is wrong without the attack is wrong under it."""
        size = len(classes)

        def count(mask: npt.NDArray[np.bool_]) -> tuple[int, ...]:
            return tuple(int(v) for v in np.bincount(labels[mask], minlength=size))

        return cls(
            tuple(classes),
            count(np.ones(len(labels), dtype=bool)),
            count(~ok_natural),
            count(~(ok_natural & ok_attacked)),
        )

    def counts(self, quantity: str) -> npt.NDArray[np.int64]:
        """Return the errors of each class, shape (C,), for one of `QUANTITIES`."""
        natural, robust = np.array(self.natural, np.int64), np.array(self.robust, np.int64)
        return {"natural_error": natural, "boundary_error": robust - natural, "robust_error": robust}[
            quantity
        ]

    def rates(self, quantity: str) -> Array:
        """Return the error rate of each class, shape (C,)."""
        return np.asarray(self.counts(quantity) / np.array(self.n))

    def average(self, quantity: str) -> float:
        """Return the error rate over all samples."""
        return float(self.counts(quantity).sum() / sum(self.n))

    def spread(self, quantity: str) -> float:
        """Return the (population) standard deviation of the error rate over classes."""
        return float(self.rates(quantity).std())

    def gap(self, quantity: str) -> float:
        """Return the largest error rate of a class minus the smallest."""
        return float(np.ptp(self.rates(quantity)))

    @property
    def tail(self) -> int:
        """Return how many classes the tail has: a tenth of them, rounded up, and at least 2."""
        return max(2, -(-len(self.classes) // 10))

    def tail_mean(self, quantity: str) -> float:
        """Return the mean error rate of the `tail` classes with the largest."""
        return exact_mean(np.sort(self.rates(quantity))[-self.tail :])

    def summary(self) -> dict[str, Any]:
        """Return every rate with its 95 % exact interval, as JSON.

        "worst_set" are the classes that may be the worst, "null_gap" is the expected gap were all equal, and
        "gap_p" how probable a gap as large as the one found is then.
        """
        return {q: self._summary(q) for q in QUANTITIES}

    def _summary(self, quantity: str) -> dict[str, Any]:
        counts, rates = self.counts(quantity), self.rates(quantity)
        worst = int(rates.argmax())
        chance, p = null_gap(self.n, self.average(quantity), self.gap(quantity))
        return {
            "per_class": rates.tolist(),
            "interval": exact_interval(counts, self.n).tolist(),
            "average": self.average(quantity),
            "average_interval": exact_interval(counts.sum(), sum(self.n)).tolist(),
            "worst": float(rates[worst]),
            "worst_class": self.classes[worst],
            "worst_set": [self.classes[i] for i in worst_set(counts, self.n)],
            "tail_mean": self.tail_mean(quantity),
            "gap": self.gap(quantity),
            "null_gap": chance,
            "gap_p": p,
            "spread": self.spread(quantity),
            "errors": counts.tolist(),
        }

    def table(self, title: str) -> Table:
        """Return the rates in percent, with 95 % exact intervals over the samples, for a person."""

        def cell(errors: int, n: int) -> str:
            low, high = exact_interval(errors, n)
            return f"{percent(errors / n)} [{percent(low)}, {percent(high)}]"

        counts = [self.counts(q) for q in QUANTITIES]
        rows = [
            [name, str(n), *(cell(int(c[i]), n) for c in counts)]
            for i, (name, n) in enumerate(zip(self.classes, self.n, strict=True))
        ]
        total = sum(self.n)
        rows.append(["average", str(total), *(cell(int(c.sum()), total) for c in counts)])
        summaries = [self._summary(q) for q in QUANTITIES]
        rows += [
            ["worst", "", *(f"{percent(s['worst'])} ({s['worst_class']})" for s in summaries)],
            ["may be the worst", "", *(class_names(s["worst_set"]) for s in summaries)],
            [f"worst {self.tail}", "", *(percent(s["tail_mean"]) for s in summaries)],
            [
                "gap (by chance)",
                "",
                *(f"{percent(s['gap'])} ({percent(s['null_gap'])}, {_p(s['gap_p'])})" for s in summaries),
            ],
            ["spread", "", *(percent(s["spread"]) for s in summaries)],
        ]
        header = ["class", "n", *(q.replace("_", " ") for q in QUANTITIES)]
        note = (
            "errors in percent, 95 % exact intervals over samples; may be the worst: a 95 % confidence set; "
            f"worst {self.tail}: mean of the {self.tail} worst classes; gap: largest minus smallest, and "
            "what chance makes of it were all classes equal; spread: standard deviation over classes"
        )
        columns = {i + 2: self.rates(q) for i, q in enumerate(QUANTITIES)}
        robust = self.rates("robust_error")
        return worst_classes(Table(title, header, rows, note), robust, columns, percent, "robust error")

    def numbers(self) -> Table:
        """Return the counts and fractions of every class, for a program."""
        header = ["class", "n"]
        sizes = [*self.n, sum(self.n)]
        columns: list[list[Any]] = [[*self.classes, "average"], sizes]
        for quantity in QUANTITIES:
            errors = [*self.counts(quantity).tolist(), int(self.counts(quantity).sum())]
            low, high = exact_interval(errors, sizes).T
            header += [f"{quantity}s", quantity, f"{quantity}_low", f"{quantity}_high"]
            columns += [errors, [e / n for e, n in zip(errors, sizes, strict=True)], [*low], [*high]]
        return Table("", header, [[str(cell) for cell in row] for row in zip(*columns, strict=True)])


def _p(value: float) -> str:
    return f"p={value:.2g}" if value >= 0.001 else "p<0.001"
