"""Runs of ``deep.train`` as they are compared: their records, and what lies beside those."""

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from theory.common.inputs import InputError, check_real, parse_object, read_lines
from theory.results.counts import QUANTITIES
from theory.results.flags import Evaluation
from theory.results.protocols import DATA, mixed
from theory.results.records import Record, read_records

__all__ = ["REPORT", "Measured", "left_out", "read_measured", "record_files", "refuse_mixed"]

RECORDS = "records.jsonl"
FLAGS = "flags.npz"
REPORT = "report/evaluation.npz"
"""Whether each test sample withstands each attack of deep.report, in the folder of a run."""
HISTORY = "history.jsonl"
RUN = ("config.json", "result.json")
"""What deep.train writes first and last into the folder of a run; neither is copied by deep.promote."""


@dataclass(frozen=True)
class Measured:
    """A run.

    Args:
        name: its folder or, if a file has several runs, the file with method and seed.
        records: its errors.
        evaluation: whether each test sample withstands each attack, where that lies beside the records.
        report: the same under the attacks of deep.report, perhaps of fewer samples, where that lies there.
        validation: robust error of every class on the validation split when it was last measured, where a
            history lies beside the records.
    """

    name: str
    records: tuple[Record, ...]
    evaluation: Evaluation | None = None
    report: Evaluation | None = None
    validation: npt.NDArray[np.float64] | None = None

    @property
    def seed(self) -> int:
        """Return the seed."""
        return self.records[0].seed or 0

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes."""
        return tuple(dict.fromkeys(r.label for r in self.records if r.label not in ("average", "worst")))

    def of_classes(self, name: str) -> npt.NDArray[np.float64] | None:
        """Return what the method left of a name for every class, such as "weights", shape (C,), or None.

        Raises:
            InputError: it is not a number >= 0.
        """
        values = {r.label: r.extra[name] for r in self.records if name in r.extra}
        if set(values) != set(self.classes):
            return None
        return np.array([check_real(f"{self.name}: extra.{name}", values[c], low=0) for c in self.classes])

    def provenance(self, name: str) -> float | None:
        """Return a number of the provenance, such as "passes", or None."""
        value = self.records[0].provenance.get(name)
        return float(value) if isinstance(value, (int, float)) else None


def read_measured(paths: Iterable[Path]) -> list[Measured]:
    """Return the runs in files of records, or in every ``records.jsonl`` below a folder.

    What lies beside the records of one run belongs to it.

    Raises:
        InputError: a file is damaged, or the flags beside records are not theirs.
    """
    folders = [*paths]
    runs = [run for path in folders for file in record_files(path) for run in _runs(file, read_records(file))]
    if not runs:
        reasons = "".join(f"; {reason}" for reason in left_out(folders))
        raise InputError(f"no run of deep.train in {', '.join(map(str, folders)):.200}{reasons}")
    return runs


def record_files(path: Path) -> list[Path]:
    """Return a file of records, or those in and below a folder, in order, but for what is `left_out`."""
    if not path.is_dir():
        return [path]
    return [file for file in sorted(path.rglob(RECORDS)) if not _why_not(file.parent)]


def left_out(paths: Iterable[Path]) -> list[str]:
    """Return a sentence for each run in or below folders that is not read, with the reason."""
    told = []
    for path in (p for p in paths if p.is_dir()):
        for name, folders, _ in os.walk(path):
            folder = Path(name)
            if reason := _why_not(folder):
                told.append(f"{folder} is left out: {reason}")
            for link in (folder / inner for inner in sorted(folders)):
                if link.is_symlink() and not link.resolve().is_relative_to(path.resolve()):
                    told.append(f"{link} is left out: it is a link to another folder; give {link.resolve()}")
    return sorted(told)


def _why_not(folder: Path) -> str:
    """Return why what a folder has of a run is not read, or nothing if it is or there is none."""
    records, begun, finished = (folder / name for name in (RECORDS, *RUN))
    if begun.exists() and not finished.exists():
        return f"it is not finished, it has no {finished.name}"
    if finished.exists() and not records.exists():
        return f"it is damaged, it has no {RECORDS}"
    return f"its {RECORDS} is empty" if records.is_file() and not records.stat().st_size else ""


def refuse_mixed(runs: Iterable[Measured]) -> None:
    """Refuse runs that do not share one protocol.

    Raises:
        InputError: two do not; it names them and the settings in which they differ.
    """
    one_of_each: dict[str, Measured] = {}
    for run in runs:
        record = run.records[0]
        one_of_each.setdefault(str((record.setting, record.attack, record.provenance.get(DATA))), run)
    for first, run in itertools.combinations(one_of_each.values(), 2):
        clause = mixed((first.name, first.records[0]), (run.name, run.records[0]))
        if clause:
            raise InputError(f"a table is of one protocol, but {clause}; give other runs, or --each-protocol")


def _runs(file: Path, records: Iterable[Record]) -> Iterator[Measured]:
    found: dict[tuple[str, ...], list[Record]] = {}
    for r in records:
        if r.source == "deep":
            told = (r.method, r.seed, r.setting, r.attack, r.provenance.get(DATA))
            found.setdefault(tuple(map(str, told)), []).append(r)
    if len(found) != 1:
        for (method, seed, *_), several in found.items():
            yield Measured(f"{file}: {method}, seed {seed}", tuple(several))
        return
    (one,) = found.values()
    run = Measured(str(file.parent), tuple(one))
    flags, history = file.with_name(FLAGS), file.with_name(HISTORY)
    n = sum({r.label: r.n or 0 for r in one if r.label in run.classes}.values())
    evaluation = Evaluation.read(flags, n) if flags.is_file() else None
    if evaluation and not _fits(evaluation, run):
        raise InputError(f"{flags} is not of the run of {file}: its counts are others")
    report = Evaluation.read(file.parent / REPORT, n) if (file.parent / REPORT).is_file() else None
    if report and not _belongs(report, run, evaluation):
        raise InputError(f"{file.parent / REPORT} is not of the run of {file}: its samples are others")
    yield Measured(run.name, run.records, evaluation, report, _validation(history, len(run.classes)))


def _fits(evaluation: Evaluation, run: Measured) -> bool:
    """Return whether flags have the counts of the records."""
    try:
        counted = evaluation.errors(run.classes)
    except ValueError:  # a class without samples, or samples without a class
        return False
    found = {q: dict(zip(run.classes, counted.counts(q).tolist(), strict=True)) for q in QUANTITIES}
    sizes = dict(zip(run.classes, counted.n, strict=True))
    told = [r for r in run.records if r.label in sizes]
    return all((r.errors, r.n) == (found[r.quantity][r.label], sizes[r.label]) for r in told)


def _belongs(report: Evaluation, run: Measured, evaluation: Evaluation | None) -> bool:
    """Return whether a report is of samples of every class of a run, with the labels they have there."""
    if np.unique(report.labels).tolist() != [*range(len(run.classes))]:
        return False
    if evaluation is None:
        return True
    there = dict(zip(evaluation.index.tolist(), evaluation.labels.tolist(), strict=True))
    return all(there.get(i) == c for i, c in zip(report.index.tolist(), report.labels.tolist(), strict=True))


def _validation(history: Path, classes: int) -> npt.NDArray[np.float64] | None:
    """Return the robust validation errors of the last line that has them."""
    if not history.is_file():
        return None
    for number, line in reversed([*read_lines(history)]):
        said: Mapping[str, Any] = parse_object(line, f"{history}, line {number}")
        if "robust_error" in said:
            try:
                values = np.asarray(said["robust_error"], np.float64)
            except (TypeError, ValueError):
                values = np.empty(0)
            if values.shape != (classes,) or not ((values >= 0) & (values <= 1)).all():
                raise InputError(
                    f"{history}, line {number}: robust_error must be {classes} numbers from 0 to 1"
                )
            return values
    return None
