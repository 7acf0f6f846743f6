"""What a method changed: paired with its base on the same images and seeds, and beside theory.

The worst class is fixed in advance: the class in which the base has the largest robust error on the
validation splits, mean over its seeds. Were it chosen on the test images, where it is the worst partly by
bad luck, every other method would seem to better it. The largest error of a class, whichever it is in each
network, is also given.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from theory.common.digits import percent, rounded
from theory.common.table import Table
from theory.results.paired import Change, Weigh, average_over, change_of, holm, largest, pooled_variance
from theory.results.study import Study

__all__ = [
    "NATURAL",
    "ROBUST",
    "ErrorKind",
    "Finding",
    "findings",
    "found_of",
    "interval",
    "paired_tables",
    "sentences",
]

LEVEL = 0.05
NATURAL, ROBUST = "natural_error", "robust_error"
WORST, AVERAGE, PLAIN, LARGEST = "worst class", "robust average", "natural average", "largest of a class"
"""Names of what is found: robust error of the worst class fixed in advance, average robust and average
natural error, and the largest robust error of a class in each network."""


@dataclass(frozen=True)
class ErrorKind:
    """An error of a network: of some classes, or of all samples.

    Args:
        name: names it.
        description: the error in words, without an article.
        quantity: natural_error or robust_error.
        weigh: the classes that are averaged.
        label: the class, where it is one that was fixed in advance.
    """

    name: str
    description: str
    quantity: str
    weigh: Weigh
    label: str | None = None


@dataclass(frozen=True)
class Finding:
    """What a method changes in one error of its base.

    Args:
        base: label of the base.
        method: label of the method.
        error: which error.
        change: over images and seeds.
        both: its 95 % interval over images and seeds; nan for one seed.
        p: Holm's p-value among all findings of the study; nan for one seed.
    """

    base: str
    method: str
    error: ErrorKind
    change: Change
    both: tuple[float, float]
    p: float

    @property
    def name(self) -> str:
        """Return the name of the error."""
        return self.error.name

    @property
    def resolved(self) -> bool:
        """Return whether it is more than noise."""
        return bool(self.p <= LEVEL)

    @property
    def points(self) -> str:
        """Return the change in percentage points."""
        return percent(self.change.mean, signed=True)

    @property
    def phrase(self) -> str:
        """Return what happened to the error, in words."""
        if np.isnan(self.p):
            return f"one seed, {self.points} points, which tells nothing of the method"
        if not self.resolved:
            p = f"p={self.p:.2g} by Holm"
            return f"{self.points} points {interval(self.both)}, not significant after correction ({p})"
        verb = "falls" if self.change.mean < 0 else "rises"
        return f"{verb} by {self.points[1:]} points {interval(self.both)}"

    def to_json(self) -> dict[str, Any]:
        """Return it with all of its intervals; what is not known is absent."""
        intervals = {
            "over_images": self.change.over_images(),
            "over_seeds": self.change.over_seeds(),
            "over_both": self.both,
        }
        numbers = {k: [*v] for k, v in intervals.items() if not np.isnan(v[0])}
        p = {} if np.isnan(self.p) else {"p_holm": self.p}
        names = {
            "base": self.base,
            "method": self.method,
            "error": self.name,
            "words": self.error.description,
        }
        its_class = {} if self.error.label is None else {"class": self.error.label}
        seeds = self.change.seeds.tolist()
        return {
            **names,
            **its_class,
            "change": self.change.mean,
            "seeds": seeds,
            **numbers,
            **p,
            "resolved": self.resolved,
        }


def findings(study: Study) -> list[Finding]:
    """Return what every method changes in its base; the p-values are Holm's over all of them.

    Raises:
        InputError: two runs were not tested on the same samples.

    Examples:
        >>> from importlib.util import find_spec
        >>> from pathlib import Path
        >>> from theory.results.study import read_studies
        >>> folder = Path(find_spec("paper_figs").origin).parent / "records" / "fairness"
        >>> (study,) = read_studies(folder)
        >>> sorted(f.method for f in findings(study) if f.resolved and f.name == "robust average")
        ['BAT beta=6', 'CODAT beta=6', 'FRL both rate_bndy=0.7', 'WAT beta=6 rate=0.8']
    """
    return found_of(study, lambda base: _kinds(study, base))


def _kinds(study: Study, base: str) -> list[ErrorKind]:
    """Return the errors that are looked at."""
    kinds = [
        ErrorKind(AVERAGE, "average robust error", ROBUST, average_over()),
        ErrorKind(PLAIN, "average natural error", NATURAL, average_over()),
        ErrorKind(LARGEST, "largest robust error of a class", ROBUST, largest),
    ]
    validation = study.validation(base)
    if validation is None:
        return kinds
    worst = int(validation.argmax())
    label = study.comparison.classes[worst]
    description = f"robust error of {label}, the worst class"
    return [ErrorKind(WORST, description, ROBUST, average_over([worst]), label), *kinds]


def found_of(
    study: Study, kinds_of: Callable[[str], Sequence[ErrorKind]], *, bases_too: bool = True
) -> list[Finding]:
    """Return the changes of some errors, with Holm's p-values over all of them.

    Args:
        study: the runs.
        kinds_of: the errors to look at for a base.
        bases_too: whether methods that treat all classes alike are looked at as well.

    Raises:
        InputError: two runs were not tested on the same samples.
    """
    rows: list[tuple[str, str, ErrorKind, Change, tuple[float, float]]] = []
    by_label = study.comparison.methods
    for base in study.bases:
        methods = [m for b, m in study.against if b == base and (bases_too or by_label[m].retrains)]
        for kind in kinds_of(base):
            pairs = {m: study.pairs(m, base, kind.quantity) for m in methods}
            changes = {m: change_of(p, kind.weigh) for m, p in pairs.items() if p}
            pooled = pooled_variance([*changes.values()])
            rows += [(base, m, kind, change, pooled) for m, change in changes.items()]
    adjusted = holm([change.p(pooled) for *_, change, pooled in rows])
    order = {pair: i for i, pair in enumerate(study.against)}
    changed = [
        Finding(base, m, kind, change, change.over_both(pooled), p)
        for (base, m, kind, change, pooled), p in zip(rows, adjusted, strict=True)
    ]
    return sorted(changed, key=lambda f: order[f.base, f.method])


def paired_tables(study: Study, changes: Sequence[Finding]) -> list[Table]:
    """Return a table for each base method."""
    header = ["paired with the base", "error", "change", "images", "seeds", "both", "p", "resolved", "n"]
    note = (
        "changes in percentage points with 95 % intervals, each by itself: over test images (of these "
        "networks), over seeds (Student's t), and over both (two-way clustered, the spread of seeds pooled "
        "over methods where theirs is smaller); p: over both, Holm's (family-wise) over all "
        f"{len(changes)} rows of this protocol: were there no changes, any would be called resolved in at "
        "most 5 % of such comparisons; n: seeds. Worst class: that of the base in validation, not chosen on "
        "the test images. rho: relative gain in worst plus in average accuracy"
    )
    tables = []
    for base in study.bases:
        rows = []
        for f in changes:
            if f.base == base:
                rows.append([f.method, f.error.description, *_cells(f), str(len(f.change.seeds))])
        for method in dict.fromkeys(f.method for f in changes if f.base == base):
            for q in (NATURAL, ROBUST):
                value = study.rho(method, base, q)
                shown = "-" if np.isnan(value) else rounded(value, signed=True)
                seeds = str(len(study.runs[method]))
                rows.append([method, f"rho, {q.split('_')[0]}", shown, *["-"] * 5, seeds])
        if rows:
            rows.sort(key=lambda row: [m for b, m in study.against if b == base].index(row[0]))
            tables.append(Table(f"Against {base}", header, rows, note))
    return tables


def _cells(f: Finding) -> list[str]:
    p = "-" if np.isnan(f.p) else f"{f.p:.2g}"
    resolved = "one seed" if np.isnan(f.p) else ("yes" if f.resolved else "no")
    intervals = (f.change.over_images(), f.change.over_seeds(), f.both)
    return [f.points, *map(interval, intervals), p, resolved]


def interval(ends: tuple[float, float]) -> str:
    """Return an interval of fractions in percent."""
    return "-" if np.isnan(ends[0]) else f"[{', '.join(percent(e, signed=True) for e in ends)}]"


def sentences(study: Study, changes: Sequence[Finding]) -> list[str]:
    """Return a sentence for each method: what it does to the worst class, and to the averages."""
    out = []
    for base, method in study.against:
        mine = [f for f in changes if (f.base, f.method) == (base, method)]
        if not mine:
            out.append(f"{method} against {base}: no seed of both has flags.npz, so nothing is paired.")
            continue
        n = len(mine[0].change.seeds)
        parts = "; ".join(f"the {f.error.description}: {f.phrase}" for f in mine)
        out.append(f"{method} against {base} ({n} seed{'s' * (n > 1)}): {parts}.")
    return out
