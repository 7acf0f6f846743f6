"""What a sweep found, from its file of verdicts, read line by line."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sim.studies import studies
from sim.studies.study import SimulationStudy
from sim.testing.bands import BUDGET
from theory.common import inputs
from theory.common.files import write_atomic
from theory.common.inputs import InputError, parse_object
from theory.common.table import Table
from theory.common.verdict_words import VERDICTS, shown
from theory.results.records import Record, to_jsonl
from theory.results.run_files import RECORDS, VERDICT_LINES

__all__ = ["Summary", "read_lines", "report"]

DETAILED = 300
"""Most verdicts that are printed one by one."""


@dataclass
class Summary:
    """Verdicts of one study.

    Args:
        predictions: how many predictions got each verdict.
        claims: how many settings the claim got each verdict at.
        first: the claim's verdict at the first setting, which is a refuted claim's counterexample.
        p_value: smallest of a prediction.
        detectable: of each prediction, the minimum detectable difference.
        seconds: time taken.
    """

    settings: int = 0
    predictions: dict[str, int] = field(default_factory=lambda: dict.fromkeys(VERDICTS, 0))
    claims: dict[str, int] = field(default_factory=lambda: dict.fromkeys(VERDICTS, 0))
    first: str | None = None
    p_value: float = 1.0
    detectable: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, line: Mapping[str, Any]) -> None:
        """Count the verdicts of a line."""
        self.settings += 1
        self.seconds += line["seconds"]
        for verdict in line["verdicts"]:
            if verdict["claim"]:
                self.claims[verdict["verdict"]] += 1
                self.first = self.first or verdict["verdict"]
            else:
                self.predictions[verdict["verdict"]] += 1
                self.p_value = min(self.p_value, verdict["p_value"])
                self.detectable.append(verdict["detectable"])

    def conclusion(self, study: SimulationStudy) -> str:
        """Return what to think of a study; "DIFFERS" and "NOT REFUTED" are failures."""
        if self.predictions["differs"] or (self.claims["differs"] and not study.refuted):
            return "DIFFERS"
        if study.refuted:
            return "refuted" if self.first == "differs" else "NOT REFUTED"
        seen = self.claims if any(self.claims.values()) else self.predictions
        return "agrees" if seen["agrees"] else "cannot tell"


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a file of verdicts.

    Raises:
        InputError: a line is not of a sweep, or of the task of a line before it (file and line are named).
    """
    lines: dict[object, int] = {}
    for number, text in inputs.read_lines(path):
        line = dict(parse_object(text, f"{path}, line {number}"))
        if not _is_task(line):
            raise InputError(f"{path}, line {number} is not one of sim.sweep")
        first = lines.setdefault(line["task"], number)
        if first != number:
            raise InputError(
                f"{path}, line {number} has the task of line {first}, which is twice there: two "
                "sweeps have written to it; delete it and give the command again"
            )
        yield line


def _is_task(line: Mapping[str, Any]) -> bool:
    task, verdicts, records = line.get("task"), line.get("verdicts"), line.get("records", [])
    return (
        isinstance(task, str)
        and task.split()[:1] in [[name] for name in studies()]
        and isinstance(line.get("setting"), dict)
        and isinstance(line.get("seconds"), (int, float))
        and isinstance(verdicts, list)
        and all(map(_is_verdict, verdicts))
        and isinstance(records, list)
        and all(isinstance(r, dict) for r in records)
    )


def _is_verdict(row: Any) -> bool:
    if (
        not isinstance(row, dict)
        or row.get("verdict") not in VERDICTS
        or not isinstance(row.get("claim"), bool)
    ):
        return False
    ends = row.get("interval")
    numbers = [row.get(k) for k in ("predicted", "measured", "p_value", "detectable")]
    numbers += ends if isinstance(ends, list) and len(ends) == 2 else [None]
    return isinstance(row.get("what"), str) and all(isinstance(v, (int, float)) for v in numbers)


def report(folder: Path) -> int:
    """Print what a finished sweep found and write its records; 1 if something is not as it should be."""
    path = folder / VERDICT_LINES
    found: dict[str, Summary] = {}
    for line in read_lines(path):
        found.setdefault(line["task"].split()[0], Summary()).add(line)
    if sum(len(s.detectable) for s in found.values()) <= DETAILED and len(found) == 1:
        print(_details(path).text() + "\n")
    print(_table(found).text())
    print(_sentence(found))
    written = [Record.of(r) for line in read_lines(path) for r in line.get("records", ())]
    if written:
        write_atomic(folder / RECORDS, to_jsonl(written))
        print(f"records: {folder / RECORDS}")
    print(f"verdicts: {path}")
    conclusions = {summary.conclusion(studies()[name]) for name, summary in found.items()}
    return int(bool(conclusions & {"DIFFERS", "NOT REFUTED"}))


def _details(path: Path) -> Table:
    rows = []
    for line in read_lines(path):
        for i, v in enumerate(line["verdicts"]):
            setting = {k: x for k, x in line["setting"].items() if k not in ("seed", "evaluate")}
            values = ", ".join(
                f"{k}={x:.4g}" if isinstance(x, float) else f"{k}={x}" for k, x in setting.items()
            )
            low, high = v["interval"]
            numbers = [f"{v['predicted']:.4f}", f"{v['measured']:.4f}", f"[{low:.4f}, {high:.4f}]"]
            tests = [f"{v['p_value']:.2g}", f"{v['detectable']:.4f}", shown(v["verdict"])]
            rows.append([values if i == 0 else "", v["what"], *numbers, *tests])
    header = ["setting", "what", "predicted", "measured", "95 % interval", "p", "detectable", "verdict"]
    return Table("Theory against simulation", header, rows)


def _table(found: Mapping[str, Summary]) -> Table:
    rows = []
    for name, s in found.items():
        counts = ["/".join(str(part[k]) for k in VERDICTS) for part in (s.predictions, s.claims)]
        median = sorted(s.detectable)[len(s.detectable) // 2] if s.detectable else 0.0
        rows.append(
            [name, str(s.settings), *counts, f"{s.p_value:.1e}", f"{median:.4f}", f"{s.seconds:.1f}",
             shown(s.conclusion(studies()[name]))]
        )  # fmt: skip
    header = [
        "study",
        "settings",
        "predictions",
        "claim",
        "smallest p",
        "detectable",
        "seconds",
        "conclusion",
    ]
    note = (
        "predictions and claim: how often agrees/differs/inconclusive; detectable: the minimum detectable "
        "difference, median over predictions"
    )
    return Table("Studies", header, rows, note)


def _sentence(found: Mapping[str, Summary]) -> str:
    total = {k: sum(s.predictions[k] + s.claims[k] for s in found.values()) for k in VERDICTS}
    parts = ", ".join(f"{n} {shown(k)}" for k, n in total.items())
    return (
        f"{sum(total.values())} comparisons: {parts}. True theories and claims are called wrong anywhere "
        f"with probability at most {BUDGET:g}, to first order in 1 / n."
    )
