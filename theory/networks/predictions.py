"""Theory's prediction for every method beside what was measured."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from theory.common.digits import exact_mean, percent
from theory.common.inputs import check_real
from theory.common.table import Table
from theory.common.verdict_words import shown
from theory.networks.proxy import ERRORS, MethodAction, TwoGroups, fitted, predicted
from theory.results.findings import NATURAL, ROBUST, ErrorKind, Finding, found_of, interval
from theory.results.paired import average_over
from theory.results.study import Study

__all__ = ["Prediction", "predictions", "theory_table"]


@dataclass(frozen=True)
class Prediction:
    """Theory's prediction for a method beside what was measured.

    Args:
        action: what the method does to hard and easy classes.
        classes: the Gaussians that stand for the base's.
        predicted: change of the error.
        finding: what was measured.
    """

    action: MethodAction
    classes: TwoGroups
    predicted: float
    finding: Finding

    @property
    def agree(self) -> str:
        """Return yes, no or cannot tell, which is the answer of a change within noise."""
        if not self.finding.resolved:
            return "cannot tell"
        return "yes" if np.sign(self.predicted) == np.sign(self.finding.change.mean) else "no"

    def to_json(self) -> dict[str, Any]:
        """Return prediction and measurement."""
        acts = {"acts_by": self.action.kind, "odds": self.action.odds, "radii": [*self.action.radii]}
        model = {
            "K": self.classes.K,
            "mu": self.classes.mu,
            "eps": self.classes.eps,
            "stated": self.classes.stated,
        }
        prediction = {"predicted": self.predicted, "agree": self.agree}
        return {**acts, "classes": model, **prediction, "measured": self.finding.to_json()}


def predictions(study: Study) -> list[Prediction]:
    """Return theory's prediction for every method whose base has validation errors.

    Hard are the classes whose robust validation error of the base is above the average.
    """
    bases = {base: v for base in study.bases if (v := study.validation(base)) is not None}
    hard = {base: v > exact_mean(v) for base, v in bases.items() if not (v == exact_mean(v)).all()}

    def kinds(base: str) -> list[ErrorKind]:
        if base not in hard:
            return []
        parts = {"hard": np.flatnonzero(hard[base]), "easy": np.flatnonzero(~hard[base])}
        return [
            ErrorKind(name, f"{name} error", quantity, average_over(parts[group].tolist()))
            for name, (group, quantity) in ERRORS.items()
        ]

    out = []
    for f in found_of(study, kinds, bases_too=False):
        rates = _rates(study, f.base, hard[f.base])
        classes = fitted(rates[NATURAL], rates[ROBUST])
        action = _action(study, f.method, hard[f.base], rates)
        change = predicted(classes, action, _train_radius(study.comparison.protocol))[f.name]
        out.append(Prediction(action, classes, change, f))
    return out


def _train_radius(protocol: Mapping[str, Any]) -> float:
    """Return the training radius in units of that of the errors; 1 where a record says of neither."""
    eps = protocol.get("eps")
    train = protocol.get("train_eps", eps)
    return 1.0 if not eps or train == eps else check_real("train_eps", train, low=0) / float(eps)


def _rates(study: Study, base: str, hard: npt.NDArray[np.bool_]) -> Mapping[str, tuple[float, float]]:
    """Return the mean natural and robust error of hard and easy classes over the seeds of the base."""
    rates = {q: study.comparison.rates(base, q).mean(axis=0) for q in (NATURAL, ROBUST)}
    return {q: (float(r[hard].mean()), float(r[~hard].mean())) for q, r in rates.items()}


def _action(
    study: Study, method: str, hard: npt.NDArray[np.bool_], rates: Mapping[str, tuple[float, float]]
) -> MethodAction:
    """Return the cost odds and radii that a method ended with: means over seeds and hard or easy classes.

    Where natural and boundary error have weights of their own, of mean 1 over classes, the cost of a robust
    error is their mean by the share that each has in the robust errors of the base.
    """

    def group(name: str) -> npt.NDArray[np.float64] | None:
        values = [v for run in study.runs[method].values() if (v := run.of_classes(name)) is not None]
        if len(values) < len(study.runs[method]):
            return None
        mean = np.mean(values, axis=0)
        return np.array([mean[hard].mean(), mean[~hard].mean()]) / (
            1 if name == "radii" else mean.mean() or 1
        )

    radii = group("radii")
    cost = group("weights")
    natural, boundary = group("weights_nat"), group("weights_bndy")
    if cost is None and natural is not None and boundary is not None:
        robust = np.maximum(rates[ROBUST], 1e-12)
        share = np.minimum(np.array(rates[NATURAL]) / robust, 1)
        cost = share * natural + (1 - share) * boundary
    odds = float(cost[0] / cost[1]) if cost is not None and (cost > 0).all() else 1.0
    return MethodAction(odds, (float(radii[0]), float(radii[1])) if radii is not None else (1.0, 1.0))


def theory_table(predicted: Sequence[Prediction]) -> Table:
    """Return predicted and measured changes of every method."""
    rows = []
    for p in predicted:
        f = p.finding
        label = f"{f.method} against {f.base}"
        measured = f"{_direction(f.change.mean)} {f.points}" if f.resolved else shown("cannot tell")
        expected = (
            f"{_direction(p.predicted)} {percent(p.predicted, signed=True)}" if p.predicted else "no change"
        )
        rows.append([label, p.action.kind, f.name, expected, measured, interval(f.both), shown(p.agree)])
    header = ["method", "acts by (hard, easy)", "error", "predicted", "measured", "95 % interval", "agree"]
    models = {p.finding.base: p.classes.summary for p in predicted}
    total = Counter(p.agree for p in predicted)
    totals = ", ".join(f"{shown(answer)} {total[answer]}" for answer in ("yes", "no", "cannot tell"))
    note = (
        "changes in percentage points. Hard: classes with a robust error of the base above the average in "
        "validation. Predicted: the optimal linear classifier of two Gaussians, hard and easy, with the "
        "costs and radii that its records have; one that has neither is predicted to do nothing. "
        + "; ".join(f"{base}: {model}" for base, model in models.items())
        + ". Measured: paired, over images and seeds, a direction only if Holm's p over "
        f"{len(predicted)} rows is at most 0.05. Agree: {totals}"
    )
    return Table("Two-group proxy", header, rows, note)


def _direction(change: float) -> str:
    return "falls" if change < 0 else "rises"
