"""``python -m deep.link RUN...``: does the theory of Gaussian margins predict the errors of trained networks?

Of each run, the Gaussian-margin model (`theory.networks.margin_model`) is fitted to the validation split,
or to half of the test split where a class has too few validation images, and its class errors are compared
with those counted on the rest of the test split. With a natural run of the same split, the first of them,
the change of each class's natural error in each other run is compared with what the theory says of
adversarial training; where a method gives classes weights or radii of their own, as FRL does, so is what it
changes of a PGD or TRADES run that is its base. All is kept in RUN/link.json once the run is done, and in
RUN/link.npz what was measured of its network: a command that was interrupted goes on where it was.
"""

import argparse
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deep.margins.fitted_margin_model import FittedMarginModel, fit_margin_model
from deep.margins.margin_tables import direction_tables, run_tables, summary_tables
from deep.margins.resolved_changes import directions
from deep.runs.reload import Run, load_run
from deep.runs.shipped import working_copy
from theory.common.cli import Parser, caution, radius, run, whole
from theory.common.files import write_atomic
from theory.common.inputs import InputError, parse_radius
from theory.common.owner import own_folder
from theory.networks.changes import PredictedChange
from theory.results.counts import exact_interval
from theory.results.margin_report import AGREEMENTS, ERRORS, MarginReport
from theory.results.methods import labels_of
from theory.results.records import provenance
from theory.results.run_files import MARGIN_REPORT

__all__: list[str] = []


def report_of(fit: FittedMarginModel, changes: Mapping[str, list[PredictedChange]]) -> MarginReport:
    """Return what is kept of a run."""
    agreements = {q: fit.agreements[q].as_json() for q in ERRORS}
    by_name = {name: {q: agreements[q][name] for q in ERRORS} for name in agreements["natural_error"]}
    settings, size = fit.run.settings, len(fit.counted.classes)
    labels = fit.run.data.test.labels.cpu().numpy()
    counts = [np.bincount(labels * size + g, minlength=size**2).reshape(size, size) for g in fit.answers]
    details: dict[str, Any] = {"schema": 1, "id": settings.id, "method": settings.method, "label": fit.label}
    details |= {"seed": settings.seed, "dataset": settings.dataset}
    details |= {"eps": fit.attack.eps, "eps_text": fit.attack.eps_text, "attack": fit.evaluation.attack}
    details |= {"fitted_on": fit.fitted_on, "n_fitted": np.bincount(fit.margins.samples.labels).tolist()}
    details["predictors"] = {
        name: {q: {k: v for k, v in zip(AGREEMENTS, pair, strict=True) if np.isfinite(v)}
               for q, pair in scores.items()}
        for name, scores in fit.scores.items()
    }  # fmt: skip
    details["pairs"] = _pairs(fit)
    details["offsets"] = _offsets(fit)
    details["directions"] = [{"against": k} | c.as_json() for k, its in changes.items() for c in its]
    details["warnings"] = list(fit.run.warnings)
    return MarginReport(
        classes=tuple(fit.counted.classes),
        **{name: by_name.pop(name) for name in (*AGREEMENTS, "failures")},
        **_sides(fit),
        confusion={k: v.tolist() for k, v in zip(("natural", "attacked"), counts, strict=True)},
        details=details | by_name,
        provenance=provenance(torch=torch.__version__),
    )


def _sides(fit: FittedMarginModel) -> dict[str, dict[str, Any]]:
    """Return predicted and measured errors with their intervals."""
    counted, (low, high) = fit.counted, fit.prediction.interval()
    rates = {q: exact_interval(counted.counts(q), counted.n) for q in ERRORS}
    predicted: dict[str, Any] = {q: fit.prediction.value[i].tolist() for i, q in enumerate(ERRORS)}
    predicted |= {
        name: {q: end[i].tolist() for i, q in enumerate(ERRORS)}
        for name, end in (("low", low), ("high", high))
    }
    measured = {"n": list(counted.n), "errors": {q: counted.counts(q).tolist() for q in ERRORS}}
    measured |= {q: counted.rates(q).tolist() for q in ERRORS}
    measured |= {
        name: {q: rates[q][:, end].tolist() for q in ERRORS} for end, name in enumerate(("low", "high"))
    }
    return {"predicted": predicted, "measured": measured}


def _offsets(fit: FittedMarginModel) -> dict[str, Any]:
    """Return the class offsets that the model calls best, and the errors that it predicts with them."""
    predicted = fit.offsets
    return {
        "value": predicted.offsets.tolist(),
        "predicted": {q: predicted.after[i].tolist() for i, q in enumerate(ERRORS)},
    }


def _pairs(fit: FittedMarginModel) -> dict[str, Any]:
    """Return the fitted margins of each pair of classes, and its K by both routes."""
    model, named = fit.prediction.model, ("value", "low", "high")
    classes = range(len(fit.counted.classes))
    return {
        **{"mean": model.mean.tolist(), "spread": model.spread.tolist()},
        "dual_norm": [fit.margins.norm[fit.margins.samples.labels == c].mean(0).tolist() for c in classes],
        "drop": model.drop.tolist(),
        "K": {k: v.tolist() for k, v in zip(named, fit.width_ratios, strict=True)},
        "K_from_errors": {k: v.tolist() for k, v in zip(named, fit.ratios, strict=True)},
        "losses": {k: v.tolist() for k, v in fit.losses._asdict().items()},
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Predict, compare, write link.json into each folder and print the tables."""
    args = _parser().parse_args(argv)
    torch.use_deterministic_algorithms(True, warn_only=True)
    runs = [load_run(folder, data_dir=args.data_dir, device=args.device) for folder in args.runs]
    _check(args.runs, runs, args.eps)
    with ExitStack() as owned:
        for folder in args.runs:
            owned.enter_context(own_folder(folder))
        _fit_all(args, runs)
    return 0


def _fit_all(args: argparse.Namespace, runs: Sequence[Run]) -> None:
    """Fit the margin model of each run, write and print."""
    for sentence in dict.fromkeys(sentence for trained in runs for sentence in trained.warnings):
        caution(sentence)
    labels = labels_of(trained.settings.method_id for trained in runs)
    fits: list[FittedMarginModel] = []
    predicted: dict[int, dict[str, list[PredictedChange]]] = {}
    for folder, trained in sorted(zip(args.runs, runs, strict=True), key=lambda pair: _turn(pair[1])):
        torch.set_num_threads(trained.settings.threads)
        label = labels[trained.settings.method_id]
        chosen = {"eps": args.eps, "per_class": args.per_class, "replicates": args.replicates}
        fits.append(fit_margin_model(folder, trained, label, **chosen))
        changes = directions(fits, fits[-1]) if args.eps is None else {}
        if changes:
            predicted[len(fits) - 1] = changes
        write_atomic(folder / MARGIN_REPORT, report_of(fits[-1], changes).to_json())
        title = f"{fits[-1].label}, seed {trained.settings.seed}"
        for table in [*run_tables(fits[-1]), *direction_tables(title, changes)]:
            print(table.text() + "\n")
    print("\n\n".join(table.text() for table in summary_tables(fits, predicted)))
    if not predicted and args.eps is None and not all(map(_is_natural, runs)):
        print("no directions: they need a natural run of the same split among the runs")


def _turn(run: Run) -> int:
    """Return when a run has its turn: after those that it is compared with."""
    method = run.settings.method_id
    return 2 - method.is_base - method.is_natural


def _check(folders: Sequence[Path], runs: Sequence[Run], eps: str | None) -> None:
    """Refuse runs that cannot be looked at together, and a radius that cannot be.

    Raises:
        InputError: a run is there twice, is of other data or another radius than the first, or natural runs
            are there and none of its split.
    """
    if eps is not None and parse_radius(eps) > 1:
        raise InputError(f"--eps must be from 0 to 1, since inputs lie in [0, 1], got {eps}")
    first = runs[0]
    for i, (folder, other) in enumerate(zip(folders, runs, strict=True)):
        if other.settings.id in [r.settings.id for r in runs[:i]]:
            raise InputError(f"{folder} is the same run as one before it; give each once")
        if other.data.sha256 != first.data.sha256:
            raise InputError(
                f"{folder} is of {other.settings.dataset}, {folders[0]} of {first.settings.dataset}; runs "
                "must be of the same data"
            )
        if eps is None and other.settings.attack.eps != first.settings.attack.eps:
            raise InputError(
                f"{folder} has eps={other.settings.eps}, {folders[0]} eps={first.settings.eps}; runs must "
                "have the same, or give --eps"
            )
    natural = {
        str(f): other.data.to_json() for f, other in zip(folders, runs, strict=True) if _is_natural(other)
    }
    for folder, other in zip(folders, runs, strict=True):
        if natural and eps is None and other.data.to_json() not in natural.values():
            raise InputError(
                f"{folder} (seed {other.settings.seed}) needs a natural run of its own split, or none at "
                f"all; given: {', '.join(natural)}"
            )


def _is_natural(run: Run) -> bool:
    return run.settings.method_id.is_natural


def _parser() -> Parser:
    parser = Parser(prog="deep.link", description=__doc__)
    add = parser.add_argument
    add("runs", nargs="+", type=working_copy, metavar="RUN", help="folders of runs of deep.train")
    add("--eps", type=radius, help="radius looked at, such as 8/255, without directions; the run's if None")
    add("--per-class", type=whole(1), default=100, help="test samples of each class attacked pair by pair")
    add("--replicates", type=whole(20), default=200, help="bootstrap samples behind each interval")
    add("--data-dir", type=Path, help="folder of the data files; the one that the run had if None")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    return parser


if __name__ == "__main__":
    run(main)
