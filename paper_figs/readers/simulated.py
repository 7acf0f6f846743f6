"""Classifiers of the simulation: their counts, and exact intervals of what is made of them."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from theory.common.inputs import InputError, check_real
from theory.gaussian.mixture import CLASSES, GaussianMixture
from theory.gaussian.problem import optimal_classifier
from theory.gaussian.surrogate import logistic_optimum
from theory.results.counts import ClassErrors, exact_interval
from theory.results.records import Record

__all__ = [
    "BOTH",
    "CHANCE",
    "COUNTED",
    "MITIGATIONS",
    "RULES",
    "Trained",
    "average",
    "between",
    "cells",
    "each",
    "gap",
    "sizes",
    "theory_errors",
    "trained",
    "worst",
]

Array = npt.NDArray[np.float64]

COUNTED = ("natural_error", "robust_error")
RULES = {"threshold": "0/1 optimum (closed form)", "logistic": "logistic training (population minimiser)"}
"""Training for the smallest loss, and what theory predicts for it."""
MITIGATIONS = {"reweight": "Reweight", "remargin": "Remargin", "equal": "equal errors"}
"""Training at cost odds, at a radius for each class, and for equal robust errors."""
CHANCE = (
    "Intervals are of the count, and do not hold the chance of training: thresholds converge like n^(-1/3)."
)
BOTH = 0.95**0.5
"""Confidence of each of two intervals of independent counts that both hold with 95 %."""


@dataclass(frozen=True)
class Trained:
    """One trained classifier, evaluated at one radius.

    Args:
        setting: of its records.
        seed: of its draws.
        errors: counted.
    """

    setting: Mapping[str, Any]
    seed: int
    errors: ClassErrors

    @property
    def mixture(self) -> GaussianMixture:
        """Return the distributions of the classes."""
        return GaussianMixture(**{k: self.setting[k] for k in ("dim", "eta", "sigma", "K")})

    @property
    def eps(self) -> float:
        """Return the radius of the evaluation."""
        return float(self.setting["eps"])

    @property
    def train_eps(self) -> float:
        """Return the radius of training; the mean of both classes' where they differ."""
        return float(self.setting["train_eps"])


def trained(records: Iterable[Record], rules: Iterable[str]) -> list[Trained]:
    """Return the classifiers of some rules, in the order of their records.

    Raises:
        InputError: a rule is unknown, a setting is out of its domain, or a classifier lacks an error of a
            class or has two.
    """
    wanted, allowed = set(rules), (*RULES, *MITIGATIONS)
    groups: dict[tuple[str, int], dict[tuple[str, str], Record]] = {}
    for record in records:
        if record.source != "sim" or record.label not in CLASSES or record.quantity not in COUNTED:
            continue
        if record.setting["rule"] not in allowed:
            raise InputError(
                f"setting.rule must be one of {', '.join(allowed)}, got {record.setting['rule']}"
            )
        if record.setting["rule"] in wanted:
            name = json.dumps(record.setting, sort_keys=True), record.seed or 0
            kept = groups.setdefault(name, {}).setdefault((record.quantity, record.label), record)
            if (kept.errors, kept.n) != (record.errors, record.n):
                raise InputError(f"the simulation at {name[0]}, seed {name[1]}, is there with other counts")
    return [_classifier(seed, group) for (_, seed), group in groups.items()]


def _classifier(seed: int, group: Mapping[tuple[str, str], Record]) -> Trained:
    setting = next(iter(group.values())).setting
    where = f"the simulation at K = {setting['K']:g}, {setting['rule']}"
    needed = [(q, y) for q in COUNTED for y in CLASSES]
    missing = [f"{q} of class {y}" for q, y in needed if (q, y) not in group]
    if missing:
        raise InputError(f"{where}, has no record of {', '.join(missing)}")
    if setting["rule"] in MITIGATIONS:
        check_real("setting.cost_odds", setting.get("cost_odds"), low=0, strict=True)
        check_real("setting.eps", setting["eps"], low=0, high=setting["eta"])
    counts = [group[key].errors or 0 for key in needed]
    sizes = [group[key].n or 1 for key in needed]
    try:
        if sizes[:2] != sizes[2:]:
            raise ValueError(f"natural and robust errors need the same samples, got {sizes}")
        errors = ClassErrors(CLASSES, tuple(sizes[:2]), tuple(counts[:2]), tuple(counts[2:]))
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    return Trained(setting, seed, errors)


def each(errors: ClassErrors, quantity: str, confidence: float = 0.95) -> Array:
    """Return (error, low, high) of class +1 and of class -1, shape (2, 3), with exact intervals."""
    interval = exact_interval(errors.counts(quantity), errors.n, confidence)
    return np.column_stack([errors.rates(quantity), interval])


def average(errors: ClassErrors, quantity: str, confidence: float = 0.95) -> Array:
    """Return (error, low, high) over all samples.

    The count of two classes varies less than a binomial one with the same mean (Hoeffding, 1956), so that the
    exact interval of the latter holds.
    """
    interval = exact_interval(errors.counts(quantity).sum(), sum(errors.n), confidence)
    return np.array([errors.average(quantity), *interval])


def between(first: Array, second: Array) -> Array:
    """Return (value, low, high) of first - second from those of both; at `BOTH` each, with 95 %."""
    return np.array([first[0] - second[0], first[1] - second[2], first[2] - second[1]])


def gap(errors: ClassErrors, quantity: str) -> Array:
    """Return the error of class +1 less that of class -1, and what holds it with 95 %."""
    plus, minus = each(errors, quantity, BOTH)
    return between(plus, minus)


def worst(errors: ClassErrors, quantity: str) -> Array:
    """Return the larger class error, and what holds it with 95 %."""
    return np.asarray(each(errors, quantity, BOTH).max(axis=0))


def cells(
    runs: Iterable[Trained], key: Callable[[Trained], float]
) -> Iterator[tuple[str, list[list[Trained]]]]:
    """Yield, for each (d, eta, sigma), these in words, and lists of the runs that share a rule and a key."""
    groups: dict[str, dict[tuple[int, float], list[Trained]]] = {}
    for run in runs:
        m = run.mixture
        title = f"d = {m.dim}, eta = {m.eta:g}, sigma = {m.sigma:g}"
        cell = [*RULES, *MITIGATIONS].index(run.setting["rule"]), key(run)
        groups.setdefault(title, {}).setdefault(cell, []).append(run)
    for title, by_cell in groups.items():
        yield title, [by_cell[cell] for cell in sorted(by_cell)]


def sizes(runs: Iterable[Trained]) -> str:
    """Say how much was sampled, for a caption."""
    listed = list(runs)
    n = sorted({n for run in listed for n in run.errors.n})
    seeds = len({run.seed for run in listed})
    return (
        f"counted on n = {' or '.join(f'{v:,}' for v in n)} fresh samples of each class "
        f"({seeds} seed{'s' * (seeds > 1)}, one training for each point)"
    )


def theory_errors(rule: str, mixture: GaussianMixture, eps: float) -> Array:
    """Return theory's (natural, robust) x (+1, -1) errors of what one of `RULES` gives at ``eps``.

    Raises:
        InputError: theory has no such classifier.
    """
    if rule == "logistic":
        linear = logistic_optimum(mixture, eps).linear()
        return np.asarray(ndtr([linear.z_scores(mixture, e) for e in (0.0, eps)]))
    optimum = optimal_classifier(mixture, eps)
    return np.asarray(ndtr([optimum.z_scores(e) for e in (0.0, eps)]))
