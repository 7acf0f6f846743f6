"""The methods of one protocol side by side: errors, cost, and which method is the base of which."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from theory.common.digits import exact_mean, percent
from theory.common.inputs import InputError
from theory.common.table import Table
from theory.results.counts import QUANTITIES, mean_interval
from theory.results.methods import bases_of
from theory.results.paired import Pair
from theory.results.protocols import Comparison, comparisons
from theory.results.runs import RunFiles, read_runs

__all__ = ["Study", "base_labels", "rho", "read_studies", "study_of"]

Array = npt.NDArray[np.float64]
COST = {"images a second": "images_per_second", "forward passes per image per epoch": "passes"}
"""What training cost, by its name in the provenance of records."""


def rho(worst: float, average: float, base_worst: float, base_average: float) -> float:
    """Return the relative gain in the worst class plus that in the average, of Li and Liu (WAT, 2023).

    rho = (w - w_0) / w_0 + (a - a_0) / a_0 with accuracies w of the worst class and a on average; Lee et al.
    (DAFA, 2024) report it too. 0 is the base, larger is better.

    Args:
        worst: error of the worst class, a fraction.
        average: average error.
        base_worst: that of the base; nan is returned if it is 1.
        base_average: that of the base.
    """
    if base_worst == 1 or base_average == 1:
        return np.nan
    return (base_worst - worst) / (1 - base_worst) + (base_average - average) / (1 - base_average)


@dataclass(frozen=True)
class Study:
    """Runs of one protocol.

    Args:
        comparison: their counted errors.
        runs: by the label of the method and the seed.
        against: pairs (base, method) of labels that are compared.
    """

    comparison: Comparison
    runs: Mapping[str, Mapping[int, RunFiles]]
    against: Sequence[tuple[str, str]]

    @property
    def bases(self) -> list[str]:
        """Return the labels of the bases."""
        return list(dict.fromkeys(base for base, _ in self.against))

    def statistics(self, label: str) -> dict[str, Array]:
        """Return what is said of a method in each seed, by name, shape (seeds,)."""
        runs = [*self.comparison.runs[label].values()]
        out = {}
        for q in QUANTITIES:
            name = q.removesuffix("_error")
            out[f"{name} average"] = np.array([e.average(q) for e in runs])
            out[f"{name} worst"] = np.array([e.rates(q).max() for e in runs])
            out[f"{name} worst {runs[0].tail}"] = np.array([e.tail_mean(q) for e in runs])
        return out

    def cost(self, label: str) -> dict[str, float]:
        """Return the mean over seeds of what training cost; what no run says is absent."""
        measured = {
            name: [c for run in self.runs[label].values() if (c := run.provenance(key)) is not None]
            for name, key in COST.items()
        }
        return {name: exact_mean(values) for name, values in measured.items() if values}

    def rho(self, label: str, base: str, quantity: str) -> float:
        """Return `rho` of the means over seeds, of natural_error or robust_error."""
        name = quantity.removesuffix("_error")
        of_method, of_base = (
            [exact_mean(self.statistics(m)[f"{name} {s}"]) for s in ("worst", "average")]
            for m in (label, base)
        )
        return rho(*of_method, *of_base)

    def pairs(self, label: str, base: str, quantity: str) -> list[Pair]:
        """Return the networks of a method and of its base in each seed that both have flags of.

        Raises:
            InputError: two of one seed were tested on other samples or by other attacks.
        """
        out = []
        for seed, run in self.runs[label].items():
            other = self.runs[base].get(seed)
            if other is None or run.evaluation is None or other.evaluation is None:
                continue
            mine, its = run.evaluation, other.evaluation
            if not mine.is_of_same(its):
                raise InputError(
                    f"{other.path} and {run.path} were not tested on the same samples and attacks"
                )
            errors = [~(e.ok_natural if quantity == "natural_error" else e.ok_attacked) for e in (its, mine)]
            out.append(Pair(mine.index, mine.labels, errors[0], errors[1]))
        return out

    def validation(self, label: str) -> Array | None:
        """Return the robust validation error of every class, mean over seeds, or None if a run has none."""
        by_seed = [v for run in self.runs[label].values() if (v := run.validation) is not None]
        if len(by_seed) < len(self.runs[label]):
            return None
        return np.array([exact_mean(of_class) for of_class in zip(*by_seed, strict=True)])

    def collapsed(self, label: str) -> dict[int, str]:
        """Return by seed what shows that a network of a method is no better than a guess, where it is not."""
        return {seed: run.collapse for seed, run in self.runs[label].items() if run.collapse}

    def methods_table(self) -> Table:
        """Return errors and cost of every method, means over seeds."""
        rows, collapsed = [], []
        for label, runs in self.runs.items():
            cost = self.cost(label)
            if seeds := self.collapsed(label):
                collapsed.append(f"{label}, {len(seeds)} of {len(runs)}")
            cells = [_percent(v) for v in self.statistics(label).values()]
            costs = [f"{cost[name]:.4g}" if name in cost else "-" for name in COST]
            rows.append([label, str(len(self.runs[label])), *cells, *costs])
        names = [*self.statistics(next(iter(self.runs)))]
        note = (
            "errors in percent, mean over seeds with its 95 % t interval and, in brackets, the standard "
            "deviation over seeds; worst: the largest of a class within each seed; worst 2 and the like: "
            "mean of so many classes"
        )
        if collapsed:
            note += f". COLLAPSED to a guess, networks of: {'; '.join(collapsed)}"
        return Table(f"Methods. {self.comparison.title}", ["method", "seeds", *names, *COST], rows, note)

    def methods_numbers(self) -> Iterator[list[str]]:
        """Yield method, seed, name and value of everything that was measured, for a program."""
        for label, runs in self.runs.items():
            for name, values in self.statistics(label).items():
                for seed, value in zip(runs, values, strict=True):
                    yield [label, str(seed), f"{name} error", repr(float(value))]
            for seed, run in runs.items():
                for key in COST.values():
                    value = run.provenance(key)
                    if value is not None:
                        yield [label, str(seed), key, repr(value)]

    def to_json(self) -> dict[str, Any]:
        """Return errors and cost of every method, and its `rho` against its bases."""
        out: dict[str, dict[str, Any]] = {}
        for label, runs in self.runs.items():
            statistics = {k: v.tolist() for k, v in self.statistics(label).items()}
            cost = {COST[k]: v for k, v in self.cost(label).items()}
            out[label] = {"seeds": [*runs], "errors": statistics, **cost}
            if seeds := self.collapsed(label):
                out[label]["collapsed"] = {str(seed): sentence for seed, sentence in seeds.items()}
        for base, label in self.against:
            gains = {q: self.rho(label, base, q) for q in ("natural_error", "robust_error")}
            defined = {q.removesuffix("_error"): v for q, v in gains.items() if not np.isnan(v)}
            out[label].setdefault("rho", {})[base] = defined
        return out


def study_of(comparison: Comparison, runs: Sequence[RunFiles], names: Sequence[str] | None = None) -> Study:
    """Return the study of the runs of one protocol.

    Args:
        comparison: the protocol.
        runs: all runs; those of other protocols are left out.
        names: names of base methods, as in `Comparison.paired_tables`; of each method its own base if None,
            see `theory.results.methods.bases_of`.
    """
    by_label: dict[str, dict[int, RunFiles]] = {label: {} for label in comparison.runs}
    for run in runs:
        label = comparison.label_of(run.records[0])
        if label is not None:
            kept = by_label[label].get(run.seed)
            if kept is None or kept.evaluation is None:
                by_label[label][run.seed] = run
    ordered = {label: dict(sorted(seeds.items())) for label, seeds in by_label.items()}
    if names is None:
        bases = base_labels(comparison)
        against = [(bases[label], label) for label in ordered if label in bases]
    else:
        chosen = [label for name in names for label in comparison.named(name)]
        against = [
            (base, label)
            for i, base in enumerate(chosen)
            for label in comparison.adversarial
            if label not in chosen[: i + 1]
        ]
    return Study(comparison, ordered, sorted(against, key=lambda pair: [*ordered].index(pair[0])))


def read_studies(*paths: Path | str) -> list[Study]:
    """Return the study of each protocol among runs of ``deep.train``: methods beside their bases.

    `theory.results.findings.findings` says what every method changes, with intervals over images and seeds.

    Args:
        paths: files of records, or folders with runs below them.

    Raises:
        InputError: there is no run, a file is damaged, or two runs of one name have other counts.

    Examples:
        >>> from importlib.util import find_spec
        >>> folder = Path(find_spec("paper_figs").origin).parent / "records" / "fairness"
        >>> (study,) = read_studies(folder)
        >>> study.rho("WAT beta=6 rate=0.8", "TRADES beta=6", "robust_error") > 0
        True
    """
    runs = read_runs(paths)
    records = (record for run in runs for record in run.records)
    return [study_of(comparison, runs) for comparison in comparisons(records)]


def base_labels(comparison: Comparison) -> dict[str, str]:
    """Return the label of the base of each method that has one, see `theory.results.methods.bases_of`."""
    labels = {method: label for label, method in comparison.methods.items()}
    return {labels[m]: labels[base] for m, base in bases_of(labels).items()}


def _percent(values: Array) -> str:
    mean, low, _ = mean_interval(values)
    if np.isnan(low):
        return percent(mean)
    return f"{percent(mean)} ±{percent(mean - low)} ({percent(values.std(ddof=1))})"
