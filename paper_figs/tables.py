"""``python -m paper_figs.tables``: the tables of the README, from the committed records alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from theory.cli import Parser, run
from theory.comparison import comparisons
from theory.errors import mean_interval
from theory.measured import read_measured
from theory.remedies import Study, study_of
from theory.table import Table
from theory.verdicts import WORST, Finding, findings, interval

__all__ = ["RECORDS", "flags", "studies", "summary"]

RECORDS = Path(__file__).with_name("records")


def studies(folder: Path) -> list[Study]:
    """Return the study of every protocol among the runs below a folder."""
    runs = read_measured([folder])
    return [study_of(found, runs) for found in comparisons(record for one in runs for record in one.records)]


def flags(study: Study) -> dict[str, str]:
    """Return for each method the words of its command that not all runs of the study have."""
    words = {
        label: [w for w in runs[min(runs)].records[0].provenance.get("argv", []) if "--seed" not in w]
        for label, runs in study.runs.items()
    }
    shared = set.intersection(*map(set, words.values()))
    return {label: " ".join(w for w in own if w not in shared) for label, own in words.items()}


def summary(study: Study) -> Table:
    """Return one row a method: its errors, and what it changed in the worst class of its base."""
    found = {f.method: f for f in findings(study) if f.name == WORST}
    own = flags(study)
    rows = [
        [label, str(len(runs)), *_errors(study, label), *_change(found.get(label)), f"`{own[label]}`"]
        for label, runs in study.runs.items()
    ]
    quantities = ("natural", "boundary", "robust")
    header = ["method", "seeds", *(f"{q}: average, worst" for q in quantities)]
    header += ["base", "its worst class: change of robust error", "flags"]
    note = (
        "Errors in percent, mean over seeds, ± a 95 % t interval where there are 3 seeds or more; worst: the "
        "largest of a class within each seed. The change is in points, paired on test images, with a 95 % "
        "interval over images and seeds; **bold** if it is more than noise, at a family-wise level of 5 % "
        "over all comparisons of the protocol (Holm). The worst class is that of the base in validation."
    )
    return Table(study.comparison.title, header, rows, note)


def _errors(study: Study, label: str) -> list[str]:
    """Return average and worst of each quantity."""
    found = study.statistics(label)
    return [
        f"{_percent(found[f'{q} average'])}, {_percent(found[f'{q} worst'])}"
        for q in ("natural", "boundary", "robust")
    ]


def _percent(values: Sequence[float]) -> str:
    mean, low, _ = mean_interval(values)
    few = len(values) < 3 or np.isnan(low)
    return f"{100 * mean:.1f}" if few else f"{100 * mean:.1f} ± {100 * (mean - low):.1f}"


def _change(finding: Finding | None) -> list[str]:
    """Return the base and what changed in its worst class."""
    if finding is None:
        return ["", ""]
    name = finding.words.removeprefix("the robust error of ").split(",")[0]
    ends = interval(finding.both) if finding.both[0] == finding.both[0] else "one seed"
    said = f"{name}: {100 * finding.change.mean:+.1f} {ends}"
    return [finding.base, f"**{said}**" if finding.resolved else said]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = Parser(prog="paper_figs.tables", description=__doc__)
    parser.add_argument("--records", type=Path, default=RECORDS, help="folder with records below it")
    for study in studies(parser.parse_args(argv).records):
        print(summary(study).markdown())
    return 0


if __name__ == "__main__":
    run(main)
