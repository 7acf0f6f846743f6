"""What an audit found: errors of every class, what may be said of the worst, and how they are written."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from deep.audits.attacked import Outcome
from deep.audits.audit_page import page
from deep.audits.audit_tables import error_table, every_table, worst_cell
from deep.audits.ratios import ratios
from deep.audits.threats import Threat
from deep.strength.check_results import Check
from theory.common.cli import writable_folder
from theory.common.digits import percent
from theory.common.files import write_atomic
from theory.common.table import Table
from theory.results.confidence import calibration, margin_score
from theory.results.counts import QUANTITIES, ClassErrors, exact_interval
from theory.results.flags import CLEAN, Evaluation
from theory.results.records import provenance
from theory.results.worst import null_spread, worst_interval

__all__ = ["Audit"]

SURE = 0.05
"""A gap or spread is called more than chance if equal classes show one as large with at most this
probability."""


@dataclass(frozen=True)
class Audit:
    """An audit; threats are counted from 0, and None is their union: a sample must be robust to all.

    Args:
        classes: names of the classes, in the order of the logits.
        threats: what the adversary may do.
        outcome: the flags and logits.
        exact: whether the robust errors are those of the worst possible attack, as of a linear model.
        notes: what a reader must know of the samples, a sentence each.
        doubts: why the numbers may not be trusted, a sentence each; mostly none.
        strength: checks of the attacks, with the name of their threat.
        origin: where the model and the samples are from.
        sparsity: for threats in linf, how many coordinates an attack needs of each sample, see
            `deep.audits.sparsity`; nan of those that were not tried.
    """

    classes: tuple[str, ...]
    threats: tuple[Threat, ...]
    outcome: Outcome
    exact: bool
    notes: tuple[str, ...]
    doubts: tuple[str, ...]
    strength: tuple[tuple[str, Check], ...]
    origin: Mapping[str, Any]
    sparsity: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)

    def checked(self, strength: Sequence[tuple[str, Check]]) -> "Audit":
        """Return the audit with checks of its attacks; one that fails is a doubt."""
        failed = [f"{check.name} ({threat})" for threat, check in strength if not check.passed]
        doubt = (
            f"the attacks may be too weak, so robust errors too small: the checks {', '.join(failed)} fail",
        )
        return replace(self, strength=tuple(strength), doubts=self.doubts + doubt * bool(failed))

    @property
    def present(self) -> list[int]:
        """Return the places of the classes that have samples."""
        return sorted(set(self.outcome.labels.tolist()))

    def evaluation(self, threat: int | None = None) -> Evaluation:
        """Return the flags of every sample under a threat."""
        return self.outcome.evaluation(threat)

    def errors(self, threat: int | None = None, *attacks: str) -> ClassErrors:
        """Return the counts of the classes that have samples under a threat, or under some of its attacks."""
        flags = self.evaluation(threat)
        chosen = [flags.attacks.index(a) for a in attacks or flags.attacks]
        labels = np.searchsorted(self.present, flags.labels)
        names = [self.classes[c] for c in self.present]
        return ClassErrors.from_flags(names, labels, flags.ok_natural, flags.ok[chosen].all(axis=0))

    def confusion(self, threat: int | None = None) -> npt.NDArray[np.int64]:
        """Return how many samples of each class are given each class; without an attack if None.

        Shape (C, C + 1) with the true class first; the last column has those with logits that are not finite.
        """
        size = len(self.classes)
        answers = self.outcome.answers(threat) % (size + 1)  # -1 is the last
        place = self.outcome.labels * (size + 1) + answers
        return np.bincount(place, minlength=size * (size + 1)).reshape(size, size + 1)

    def worst(self, quantity: str = "robust_error", threat: int | None = None) -> dict[str, Any]:
        """Return the class of largest error, and what may be said of it.

        "interval" covers with 95 % both its true error and the largest true error of a class, although it was
        picked (`theory.results.worst.worst_interval`); "set" has the truly worst class with 95 %; "gap" and
        "spread" are beside what classes of equal error show, "p" is how often they show as much.
        """
        errors = self.errors(threat)
        counts, said = errors.counts(quantity), errors.summary()[quantity]
        place, low, high = worst_interval(counts, errors.n)
        spread, p = null_spread(counts, errors.n)
        return {
            "class": errors.classes[place],
            "error": float(errors.rates(quantity)[place]),
            "interval": [low, high],
            "set": said["worst_set"],
            "gap": {"value": said["gap"], "by_chance": said["null_gap"], "p": said["gap_p"]},
            "spread": {"value": said["spread"], "by_chance": spread, "p": p},
        }

    def threat_errors(self) -> dict[str, ClassErrors]:
        """Return the counts of the classes that have samples under each threat, by its name."""
        return {threat.name: self.errors(place) for place, threat in enumerate(self.threats)}

    def worst_cell(self) -> dict[str, Any]:
        """Return the class and threat of largest robust error, with an interval that allows for the pick."""
        return worst_cell(self.threat_errors())

    def ratios(self, references: Mapping[str, "Audit"]) -> dict[str, Any]:
        """Return accuracies as shares of those of networks trained for each threat: `deep.audits.ratios`."""
        return ratios(self, references)

    @property
    def finding(self) -> str:
        """Return what was found in a sentence or two, for somebody who reads nothing else."""
        errors, worst = self.errors(), self.worst()
        low, high = worst["interval"]
        others = [name for name in worst["set"] if name != worst["class"]]
        kind = "in the exact worst case" if self.exact else "under the attacks tried"
        kind += f" ({' and '.join(t.name for t in self.threats)})"
        if not worst["error"]:
            sure = f"with 95 % confidence no class errs on more than {percent(high)} %"
            return f"No sample is wrong {kind}: {sure}."
        text = (
            f"Class {worst['class']} is the least safe: {percent(worst['error'])} % of its samples are "
            f"wrong {kind}, with 95 % confidence {percent(low)} to {percent(high)} %; over all classes it is "
            f"{percent(errors.average('robust_error'))} %."
        )
        if len(errors.classes) == 1:
            return text
        if worst["gap"]["p"] > SURE:
            return f"{text} Classes of equal error would often differ as much: none is shown to be worse."
        if others:
            few = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
            return f"{text} These samples cannot tell which is truly the worst: it may also be {few}."
        return f"{text} No other class may be the worst."

    def table(self) -> Table:
        """Return the errors of every class, with exact 95 % intervals, and of the worst."""
        return error_table(self)

    def tables(self) -> list[Table]:
        """Return all tables: errors, each attack alone, each threat, confidence, checks of strength."""
        return every_table(self)

    def confidence(self) -> dict[str, dict[str, Any]]:
        """Return calibration and margin score of each class, and of all samples under "average"."""
        labels, scores = self.outcome.labels, margin_score(self.outcome.clean, self.outcome.labels)
        groups = {self.classes[c]: labels == c for c in self.present} | {"average": labels >= 0}
        sources = {CLEAN: None} | {t.name: i for i, t in enumerate(self.threats)}
        found: dict[str, dict[str, Any]] = {
            name: {"margin_score": float(scores[chosen].mean())} for name, chosen in groups.items()
        }
        for source, threat in sources.items():
            logits = self.outcome.clean if threat is None else self.outcome.attacked[threat]
            finite = np.isfinite(logits).all(1)
            sure, right = np.zeros(len(labels)), self.outcome.answers(threat) == labels
            shifted = logits[finite] - logits[finite].max(1, keepdims=True)
            sure[finite] = 1 / np.exp(shifted.astype(float)).sum(1)
            for name, chosen in groups.items():
                found[name][source] = calibration(sure[chosen], right[chosen])
        return found

    def as_json(self) -> dict[str, Any]:
        """Return all numbers as JSON."""
        errors, union = self.errors(), self.evaluation()
        places = [None, *range(len(self.threats))]
        return {
            "finding": self.finding,
            "exact": self.exact,
            "attacks": union.attacks,
            "classes": errors.classes,
            "n": errors.n,
            **errors.summary(),
            "worst": {q: self.worst(q) for q in QUANTITIES},
            "each_attack": {a: self.errors(None, a).summary()["robust_error"] for a in union.attacks[1:]},
            "threats": [
                {"name": t.name, "norm": t.norm, "eps": t.eps, "eps_text": t.eps_text, "bounds": t.bounds}
                | {"robust_error": self.errors(i).summary()["robust_error"], "worst": self.worst(threat=i)}
                for i, t in enumerate(self.threats)
            ],
            "worst_cell": self.worst_cell(),
            "confusion": {
                CLEAN if t is None else self.threats[t].name: self.confusion(t).tolist() for t in places
            },
            "confidence": self.confidence(),
            "sparsity": {name: values.tolist() for name, values in self.sparsity.items()},
            "strength": [{"threat": name, **check.as_json()} for name, check in self.strength],
            "notes": self.notes,
            "warnings": self.doubts,
            "origin": dict(self.origin),
            "provenance": provenance(torch=torch.__version__),
        }

    def save(self, folder: str | Path) -> Path:
        """Write evaluation.npz, report.json, .csv, .md, .tex and the page report.html, and return the folder.

        Raises:
            InputError: the folder cannot be written.
        """
        out, tables = writable_folder(Path(folder)), self.tables()
        said = [f"{self.finding}\n", *(f"Note: {note}.\n" for note in self.notes)]
        said += [f"Warning: {doubt}.\n" for doubt in self.doubts]
        write_atomic(out / "evaluation.npz", self.evaluation().to_bytes())
        write_atomic(out / "report.csv", self.errors().numbers().csv())
        write_atomic(out / "report.md", "\n".join([*said, *(table.markdown() for table in tables)]))
        write_atomic(out / "report.tex", "\n".join(table.latex() for table in tables))
        write_atomic(out / "report.html", self.page())
        write_atomic(out / "report.json", json.dumps(_plain(self.as_json()), indent=1) + "\n")
        return out

    def page(self) -> str:
        """Return one self-contained page of HTML."""
        errors = self.errors()
        bars = {
            q: (errors.rates(q).tolist(), exact_interval(errors.counts(q), errors.n).tolist())
            for q in ("natural_error", "robust_error")
        }
        confusions = {t.name: self.confusion(i) for i, t in enumerate(self.threats)}
        return page(
            self.finding,
            [*self.notes],
            [*self.doubts],
            errors.classes,
            bars,
            errors.average("robust_error"),
            {name: (self.classes, matrix) for name, matrix in confusions.items()},
            self.tables(),
            {**self.origin, **provenance(torch=torch.__version__)},
        )

    def __str__(self) -> str:
        parts = [self.finding, *(f"note: {note}" for note in self.notes)]
        parts += [f"warning: {doubt}" for doubt in self.doubts]
        return "\n\n".join(["\n".join(parts), *(table.text() for table in self.tables())])

    def _repr_html_(self) -> str:
        return "".join(table.html() for table in self.tables()[:1])


def _plain(value: Any) -> Any:
    """Return a value with null where a number is not finite, for strict readers of JSON."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
