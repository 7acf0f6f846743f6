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
from theory.results.margin_report import MarginReport
from theory.results.methods import MethodId
from theory.results.protocols import DATA, mixed
from theory.results.records import Record, read_records
from theory.results.run_files import CONFIG, FLAGS, HISTORY, MARGIN_REPORT, RECORDS, REPORT, RESULT

__all__ = ["RunFiles", "left_out", "read_runs", "record_files", "refuse_mixed", "runs_of"]

RUN = (CONFIG, RESULT)
"""What deep.train writes first and last into the folder of a run; neither is copied by deep.promote."""


@dataclass(frozen=True)
class RunFiles:
    """What a run left in its folder.

    Args:
        path: its folder or, if a file has several runs, the file with method and seed.
        records: its errors.
        evaluation: whether each test sample is robust to each attack, where that lies beside the records.
        report: the same under the attacks of deep.report, perhaps of fewer samples, where that lies there.
        history: a line an epoch, empty where there is none.
        margins: predicted class errors beside those counted, where deep.link was run.
    """

    path: str
    records: tuple[Record, ...]
    evaluation: Evaluation | None = None
    report: Evaluation | None = None
    history: tuple[Mapping[str, Any], ...] = ()
    margins: MarginReport | None = None

    @property
    def name(self) -> str:
        """Return the name of its folder."""
        return Path(self.path).name

    @property
    def method(self) -> MethodId:
        """Return the method that the network was trained by."""
        return MethodId.of_record(self.records[0])

    @property
    def seed(self) -> int:
        """Return the seed."""
        return self.records[0].seed or 0

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes."""
        return tuple(dict.fromkeys(r.label for r in self.records if r.label not in ("average", "worst")))

    @property
    def validation(self) -> npt.NDArray[np.float64] | None:
        """Return the robust error of every class on the validation split when it was last measured, or None.

        Raises:
            InputError: the history has something else there.
        """
        for line in reversed(self.history):
            if "robust_error" in line:
                return self._validation(line)
        return None

    def _validation(self, line: Mapping[str, Any]) -> npt.NDArray[np.float64]:
        try:
            values = np.asarray(line["robust_error"], np.float64)
        except (TypeError, ValueError):
            values = np.empty(0)
        size = len(self.classes)
        if values.shape != (size,) or not ((values >= 0) & (values <= 1)).all():
            place = f"{Path(self.path) / HISTORY}, line {line['epoch']}"
            raise InputError(f"{place}: robust_error must be {size} numbers from 0 to 1")
        return values

    def of_classes(self, name: str) -> npt.NDArray[np.float64] | None:
        """Return what the method left of a name for every class, such as "weights", shape (C,), or None.

        Raises:
            InputError: it is not a number >= 0.
        """
        values = {r.label: r.extra[name] for r in self.records if name in r.extra}
        if set(values) != set(self.classes):
            return None
        return np.array([check_real(f"{self.path}: extra.{name}", values[c], low=0) for c in self.classes])

    @property
    def collapse(self) -> str:
        """Return the sentence that says that the network is no better than a guess, or nothing."""
        value = self.records[0].provenance.get("collapse")
        return value if isinstance(value, str) else ""

    def provenance(self, name: str) -> float | None:
        """Return a number of the provenance, such as "passes", or None."""
        value = self.records[0].provenance.get(name)
        return float(value) if isinstance(value, (int, float)) else None


def read_runs(paths: Iterable[Path | str]) -> list[RunFiles]:
    """Return the runs in files of records, or in every ``records.jsonl`` below a folder.

    What lies beside the records of one run belongs to it.

    Raises:
        InputError: a file is damaged, or the flags beside records are not theirs.

    Examples:
        >>> from importlib.util import find_spec
        >>> folder = Path(find_spec("paper_figs").origin).parent / "records" / "mnist_pilot"
        >>> sorted({run.seed for run in read_runs([folder])})
        [0, 1]
    """
    folders = [Path(path) for path in paths]
    runs = [
        run for path in folders for file in record_files(path) for run in runs_of(file, read_records(file))
    ]
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
    reasons = []
    for path in (p for p in paths if p.is_dir()):
        for name, folders, _ in os.walk(path):
            folder = Path(name)
            if reason := _why_not(folder):
                reasons.append(f"{folder} is left out: {reason}")
            for link in (folder / inner for inner in sorted(folders)):
                if link.is_symlink() and not link.resolve().is_relative_to(path.resolve()):
                    reasons.append(
                        f"{link} is left out: it is a link to another folder; give {link.resolve()}"
                    )
    return sorted(reasons)


def _why_not(folder: Path) -> str:
    """Return why what a folder has of a run is not read, or nothing if it is or there is none."""
    records, begun, finished = (folder / name for name in (RECORDS, *RUN))
    if begun.exists() and not finished.exists():
        return f"it is not finished, it has no {finished.name}"
    if finished.exists() and not records.exists():
        return f"it is damaged, it has no {RECORDS}"
    return f"its {RECORDS} is empty" if records.is_file() and not records.stat().st_size else ""


def refuse_mixed(runs: Iterable[RunFiles]) -> None:
    """Refuse runs that do not share one protocol.

    Raises:
        InputError: two do not; it names them and the settings in which they differ.
    """
    one_of_each: dict[str, RunFiles] = {}
    for run in runs:
        record = run.records[0]
        one_of_each.setdefault(str((record.setting, record.attack, record.provenance.get(DATA))), run)
    for first, run in itertools.combinations(one_of_each.values(), 2):
        clause = mixed((first.path, first.records[0]), (run.path, run.records[0]))
        if clause:
            raise InputError(f"a table is of one protocol, but {clause}; give other runs, or --each-protocol")


def runs_of(file: Path, records: Iterable[Record]) -> Iterator[RunFiles]:
    """Yield the runs of the records of a file; what lies beside the records of one run belongs to it.

    Raises:
        InputError: a file is damaged, or not of the run.
    """
    groups: dict[tuple[str, ...], list[Record]] = {}
    for r in records:
        if r.source == "deep":
            identity = (r.method, r.seed, r.setting, r.attack, r.provenance.get(DATA))
            groups.setdefault(tuple(map(str, identity)), []).append(r)
    if len(groups) != 1:
        for (method, seed, *_), several in groups.items():
            yield RunFiles(f"{file}: {method}, seed {seed}", tuple(several))
        return
    (records_of_one,) = groups.values()
    run = RunFiles(str(file.parent), tuple(records_of_one))
    flags, report, history, margin_report = (
        file.parent / name for name in (FLAGS, REPORT, HISTORY, MARGIN_REPORT)
    )
    n = sum({r.label: r.n or 0 for r in run.records if r.label in run.classes}.values())
    evaluation = Evaluation.read(flags, n) if flags.is_file() else None
    if evaluation and not _fits(evaluation, run):
        raise InputError(f"{flags} is not of the run of {file}: its counts are others")
    left = Evaluation.read(report, n) if report.is_file() else None
    if left and not _belongs(left, run, evaluation):
        raise InputError(f"{report} is not of the run of {file}: its samples are others")
    margins = MarginReport.read(margin_report) if margin_report.exists() else None
    if margins and margins.classes != run.classes:
        raise InputError(f"{margin_report} is not of the run of {file}: its classes are others")
    epochs = tuple(_history(history)) if history.exists() else ()
    yield RunFiles(run.path, run.records, evaluation, left, epochs, margins)


def _history(path: Path) -> Iterator[Mapping[str, Any]]:
    for number, line in read_lines(path):
        epoch = parse_object(line, f"{path}, line {number}")
        if epoch.get("epoch") != number:
            raise InputError(
                f"{path}, line {number} must be of epoch {number}, got {epoch.get('epoch')!r:.60}"
            )
        yield epoch


def _fits(evaluation: Evaluation, run: RunFiles) -> bool:
    """Return whether flags have the counts of the records."""
    try:
        counted = evaluation.errors(run.classes)
    except ValueError:  # a class without samples, or samples without a class
        return False
    errors = {q: dict(zip(run.classes, counted.counts(q).tolist(), strict=True)) for q in QUANTITIES}
    sizes = dict(zip(run.classes, counted.n, strict=True))
    counted_records = [r for r in run.records if r.label in sizes]
    return all((r.errors, r.n) == (errors[r.quantity][r.label], sizes[r.label]) for r in counted_records)


def _belongs(report: Evaluation, run: RunFiles, evaluation: Evaluation | None) -> bool:
    """Return whether a report is of samples of every class of a run, with the labels they have there."""
    if np.unique(report.labels).tolist() != [*range(len(run.classes))]:
        return False
    if evaluation is None:
        return True
    labels = dict(zip(evaluation.index.tolist(), evaluation.labels.tolist(), strict=True))
    return all(labels.get(i) == c for i, c in zip(report.index.tolist(), report.labels.tolist(), strict=True))
