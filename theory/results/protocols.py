"""Training methods side by side, from the records of their runs: one protocol, intervals over seeds."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from theory.common.digits import percent
from theory.common.inputs import InputError
from theory.common.table import Table
from theory.results.attacks import attack_key
from theory.results.class_tables import worst_classes
from theory.results.counts import ClassErrors, mean_interval
from theory.results.methods import MethodId, labels_of
from theory.results.records import Record

__all__ = ["Comparison", "comparisons", "mixed"]

STATISTICS: Mapping[str, Callable[[ClassErrors, str], float]] = {
    "average": lambda e, q: e.average(q),
    "worst class": lambda e, q: float(e.rates(q).max()),
    "spread": lambda e, q: e.spread(q),
}
"""What is said of the classes together; the spread is the standard deviation over classes."""
ENOUGH_SEEDS = 5
"""With fewer seeds no change is called resolved: equal counts make an interval of no width by chance."""
FREE = ("params", "threads", "init", "stage", "teachers")
"""Settings in which runs that are compared may differ, besides method and seed."""
TEXTS = ("eps_text", "train_eps_text")
"""How radii were given: their values are settings, and these are no part of a protocol."""
DATA = "data_sha256"
"""Checksum of all images and labels, in the provenance of a record; in a protocol where there are several."""
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Comparison:
    """Runs of several methods under one protocol.

    Args:
        protocol: what all runs share: data, network, epochs, radius, attack.
        runs: for each method's label, for each seed, the counted errors.
        methods: the method of each label.
        published: False if the files of the data are known not to be the published ones.
    """

    protocol: Mapping[str, Any]
    runs: Mapping[str, Mapping[int, ClassErrors]]
    methods: Mapping[str, MethodId] = field(default_factory=dict)
    published: bool = True

    def __post_init__(self) -> None:
        """Refuse runs that do not have the same classes."""
        for label, runs in self.runs.items():
            for seed, errors in runs.items():
                if errors.classes != self.classes:
                    raise InputError(f"{label}, seed {seed}: the run has other classes than the rest")

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes."""
        return next(iter(next(iter(self.runs.values())).values())).classes

    @property
    def title(self) -> str:
        """Return the protocol in words; on a part of the training images it is a pilot."""
        p = self.protocol
        data = str(p["dataset"]) + (f" of SHA-256 {p[DATA]:.8}" if DATA in p else "")
        data += "" if self.published else ", files of other checksums than the published"
        pilot = ", a pilot" if "train_per_class" in p else ""
        network = str(p["model"]) + (f" of width {p['width']}" if "width" in p else "")
        return f"{data}{pilot}: {network}, {p['epochs']} epochs on {p['n_train']} images; {p['attack']}"

    def label_of(self, record: Record) -> str | None:
        """Return the label of the method behind a record, or None if that is not of this protocol."""
        if _key(_protocol(record, DATA in self.protocol)) != _key(self.protocol):
            return None
        method = MethodId.of_record(record)
        return next((label for label, its in self.methods.items() if its == method), None)

    def named(self, name: str) -> list[str]:
        """Return the labels of the methods of a name, such as trades at every beta."""
        return [label for label, method in self.methods.items() if method.name == name]

    @property
    def adversarial(self) -> list[str]:
        """Return the labels of all methods but natural training."""
        return [label for label in self.runs if not self.methods[label].is_natural]

    def rates(self, label: str, quantity: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the error rates of a method, shape (seeds, classes)."""
        return np.array([errors.rates(quantity) for errors in self.runs[label].values()])

    def class_table(self) -> Table:
        """Return "class | natural | PGD | FRL": both errors of every class, averaged over seeds."""
        rows = []
        for i, name in enumerate(self.classes):
            natural, robust = ({m: self.rates(m, q)[:, i] for m in self.runs} for q in _BOTH)
            rows.append([name, *(f"{_percent(natural[m])} / {_percent(robust[m])}" for m in self.runs)])
        for statistic in STATISTICS:
            cells = (" / ".join(_percent(self._statistic(m, q, statistic)) for q in _BOTH) for m in self.runs)
            rows.append([statistic, *cells])
        chance = (" / ".join(percent(self.null_spread(m, q)) for q in _BOTH) for m in self.runs)
        rows.append(["spread by chance", *chance])
        seeds = ", ".join(f"{m} {len(s)}" for m, s in self.runs.items())
        note = (
            f"natural / robust error in percent, mean over seeds ({seeds}) with a 95 % t interval; "
            "worst class and spread (standard deviation over classes) are taken within each seed; by "
            "chance: what counting so few images would show if all classes were equal. Seeds share images: "
            "the intervals speak of this data set"
        )
        table = Table(self.title, ["class", *self.runs], rows, note)
        methods = self.adversarial or [*self.runs]
        mean = np.mean([self.rates(m, _BOTH[1]).mean(axis=0) for m in methods], axis=0)
        return worst_classes(table, mean, {}, percent, "mean robust error")

    def paired_tables(self, names: Sequence[str]) -> list[Table]:
        """Return, for each base method, what every other method changes on the same seeds.

        Args:
            names: names of base methods, such as trades, which stands for TRADES at any beta. A base is
                compared with those after it, and not twice; natural training is not compared.
        """
        bases = [label for name in names for label in self.named(name)]
        tables = []
        for i, base in enumerate(bases):
            others = [m for m in self.adversarial if m not in bases[: i + 1]]
            rows = [self._change(m, base, q, name) for m in others for q in _BOTH for name in STATISTICS]
            if rows:
                tables.append(_against(base, rows))
        return tables

    def _change(self, label: str, base: str, quantity: str, name: str) -> list[str]:
        """Return a row of the paired table."""
        seeds = sorted(set(self.runs[label]) & set(self.runs[base]))
        of_method, of_base = (
            [STATISTICS[name](self.runs[m][s], quantity) for s in seeds] for m in (label, base)
        )
        mean, low, high = mean_interval(np.subtract(of_method, of_base)) if seeds else [np.nan] * 3
        resolved = "yes" if low > 0 or high < 0 else "no"
        return [
            f"{label} - {base}",
            f"{quantity.split('_')[0]} {name}",
            percent(mean, signed=True),
            f"[{percent(low, signed=True)}, {percent(high, signed=True)}]" if np.isfinite(low) else "-",
            resolved if len(seeds) >= ENOUGH_SEEDS else "too few seeds",
            str(len(seeds)),
        ]

    def null_spread(self, label: str, quantity: str) -> float:
        """Return the spread over classes that counting noise alone would show if all classes were equal."""
        runs = self.runs[label].values()
        noise = [e.average(quantity) * (1 - e.average(quantity)) * np.mean(1 / np.array(e.n)) for e in runs]
        classes = len(self.classes)
        return float(np.sqrt(np.mean(noise) * (classes - 1) / classes))

    def _statistic(self, label: str, quantity: str, name: str) -> Sequence[float]:
        return [STATISTICS[name](errors, quantity) for errors in self.runs[label].values()]


_BOTH = ("natural_error", "robust_error")


def _against(base: str, rows: Sequence[Sequence[str]]) -> Table:
    header = ["paired on seeds", "error", "change", "95 % interval", "resolved", "seeds"]
    note = (
        "changes in percentage points; resolved: the interval of this row, by itself, excludes 0. With "
        f"{len(rows)} rows about {0.05 * len(rows):.1f} would be called resolved by chance alone"
    )
    return Table(f"Against {base}", header, rows, note)


def _percent(values: Sequence[float] | np.ndarray[Any, np.dtype[np.float64]]) -> str:
    mean, low, _ = mean_interval(values)
    return percent(mean) if np.isnan(low) else f"{percent(mean)} ±{percent(mean - low)}"


def comparisons(records: Iterable[Record]) -> list[Comparison]:
    """Return a comparison for each protocol among the records of networks.

    Runs are of one method only if all their hyper-parameters agree.

    Raises:
        InputError: a run lacks a class, or the same run is there twice with other counts.
    """
    counted = [r for r in records if r.source == "deep" and r.label not in ("average", "worst")]
    data: dict[str, set[str]] = {}
    for record in counted:
        data.setdefault(_key(_protocol(record)), set()).update({_data(record)} - {UNKNOWN})
    groups: dict[str, list[Record]] = {}
    for record in counted:
        several = len(data[_key(_protocol(record))]) > 1
        groups.setdefault(_key(_protocol(record, several)), []).append(record)
    return [
        _comparison(_protocol(group[0], len(data[_key(_protocol(group[0]))]) > 1), group)
        for group in groups.values()
    ]


def _protocol(record: Record, with_data: bool = False) -> dict[str, Any]:
    """Return what runs that are compared must share, but for their data if they cannot differ."""
    shared = {k: v for k, v in record.setting.items() if k not in FREE}
    return shared | {"attack": record.attack} | ({DATA: _data(record)} if with_data else {})


def _key(protocol: Mapping[str, Any]) -> str:
    """Return what is equal for protocols that are one, in whatever spelling their radii were given."""
    values = {k: v for k, v in protocol.items() if k not in TEXTS}
    return json.dumps(values | {"attack": attack_key(str(protocol["attack"]))}, sort_keys=True)


def _data(record: Record) -> str:
    return str(record.provenance.get(DATA, UNKNOWN))


def mixed(first: tuple[str, Record], second: tuple[str, Record]) -> str:
    """Return in what the protocols of two runs differ, as a clause, or nothing if they do not.

    Args:
        first: name of a run and one of its records.
        second: the same of another.
    """
    both_published = UNKNOWN not in (_data(first[1]), _data(second[1]))
    (name, left), (other, right) = (
        (n, json.loads(_key(_protocol(r, both_published)))) for n, r in (first, second)
    )
    absent = object()
    differing = [k for k in sorted({*left, *right}) if left.get(k, absent) != right.get(k, absent)]
    clauses = ", ".join(f"{k} ({left.get(k, 'none')}; {right.get(k, 'none')})" for k in differing)
    return f"{name} and {other} differ in {clauses}" if differing else ""


def _comparison(protocol: Mapping[str, Any], records: Sequence[Record]) -> Comparison:
    """Return the comparison of the class errors of one protocol."""
    methods: dict[MethodId, dict[int, dict[str, dict[str, Record]]]] = {}
    for record in records:
        by_seed = methods.setdefault(MethodId.of_record(record), {})
        by_quantity = by_seed.setdefault(record.seed or 0, {})
        kept = by_quantity.setdefault(record.quantity, {}).setdefault(record.label, record)
        if (kept.errors, kept.n) != (record.errors, record.n):
            raise InputError(f"two runs of {record.method}, seed {record.seed}, have other counts; keep one")
    labels = labels_of(methods)
    runs = {
        label: {seed: _counts(label, seed, q) for seed, q in sorted(methods[method].items())}
        for method, label in labels.items()
    }
    published = all(record.provenance.get("data_published") is not False for record in records)
    return Comparison(protocol, runs, {label: method for method, label in labels.items()}, published)


def _counts(label: str, seed: int, by_quantity: Mapping[str, Mapping[str, Record]]) -> ClassErrors:
    natural, robust = (by_quantity.get(q, {}) for q in _BOTH)
    if not natural or set(natural) != set(robust):
        raise InputError(f"{label}, seed {seed}: a run needs the natural and the robust error of every class")
    classes = tuple(natural)
    try:
        return ClassErrors(
            classes,
            tuple(natural[c].n or 0 for c in classes),
            tuple(natural[c].errors or 0 for c in classes),
            tuple(robust[c].errors or 0 for c in classes),
        )
    except ValueError as error:
        raise InputError(f"{label}, seed {seed}: {error}") from None
