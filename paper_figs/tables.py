"""``python -m paper_figs.tables``: the tables of docs/results.md, from the committed records alone."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from paper_figs.archive import TrainedNetworks, read_archive
from theory.common.cli import Parser, run
from theory.common.digits import exact_mean, percent, rounded
from theory.common.table import Code, Strong, Table
from theory.results.attacks import AUTOATTACK
from theory.results.counts import mean_interval
from theory.results.findings import ROBUST, WORST, Finding, findings, interval
from theory.results.flags import Evaluation
from theory.results.margin_report import AGREEMENTS, ERRORS, MarginReport
from theory.results.methods import MethodId
from theory.results.runs import RunFiles
from theory.results.study import Study, read_studies

__all__ = ["RECORDS", "auto_attack", "brief", "flags", "headline", "summary", "tables", "with_margins"]

RECORDS = Path(__file__).with_name("records")
PUBLISHED = {"automobile": "7 / 33", "cat": "35 (41) / 83"}  # 1 - accuracy, Xu et al. (2021), abstract


def flags(study: Study) -> dict[str, str]:
    """Return for each method the words of its command that not all trainings of the study have."""
    words: dict[str, list[str]] = {}
    trained: list[set[str]] = []
    for label, runs in study.runs.items():
        argv = [str(w) for w in runs[min(runs)].records[0].provenance.get("argv", [])]
        words[label] = [w for w in argv if not w.startswith(("--seed", "--data-dir", "runs/"))]
        trained += [] if _staged(study, label) else [set(argv)]
    shared = {"python", "-m"}.union(set.intersection(*trained) if trained else ())
    return {label: " ".join(w for w in command if w not in shared) for label, command in words.items()}


def summary(study: Study) -> Table:
    """Return one row a method: its errors, and what it changed in the worst class of its base."""
    worst = {f.method: f for f in findings(study) if f.name == WORST}
    commands, strong = flags(study), auto_attack(study)
    rows = []
    for label, runs in study.runs.items():
        row = [label, str(len(runs)), *_errors(study, label)]
        row += [strong.get(label, "")] * bool(strong)
        rows.append([*row, *_change(worst.get(label)), Code(commands[label])])
    header = ["method", "seeds", *(f"{q}: average, worst" for q in ("natural", "boundary", "robust"))]
    header += ["AutoAttack: average, worst (added)"] * bool(strong)
    header += ["base", "its worst class: change of robust error", "flags"]
    sizes = {n for runs in study.comparison.runs.values() for counted in runs.values() for n in counted.n}
    note = (
        f"Errors in percent of {_range(sorted(sizes))} test images a class, mean over seeds, ± a 95 % t "
        "interval where there are 3 seeds or more; worst: the largest of a class within each seed. The "
        "change is in points, paired on test images, with a 95 % interval over images and seeds; bold"
        " if it is more than noise, at a family-wise level of 5 % over all comparisons of the protocol "
        "(Holm). Base: PGD, or TRADES at the method's beta or the nearest there is; its worst class is "
        f"that in validation.{_alone(study)}" + (_samples(study) if strong else "")
    )
    return Table(study.comparison.title, header, rows, note)


def brief(study: Study) -> Table:
    """Return the methods with their published hyper-parameters, and repaired bases, for the README."""
    whole = summary(study)
    columns = ["method", "robust: average, worst", "base", "its worst class: change of robust error"]
    places = [whole.header.index(name) for name in columns]
    published = {label for label, words in flags(study).items() if len(words.split()) == 1}
    plain = {label for label in published if study.comparison.methods[label].is_base}
    published |= {method for base, method in study.against if base in plain and _staged(study, method)}
    rows = [
        [row[i] for i in places]
        for label, row in zip(study.runs, whole.rows, strict=True)
        if label in published
    ]
    seeds = sorted({len(runs) for runs in study.runs.values()})
    note = (
        f"Errors and changes in percent, {_seeds(seeds)}, 95 % intervals; bold: beyond chance by Holm."
        f"{_alone(study)}"
    )
    return Table(study.comparison.protocol["dataset"], columns, rows, note)


def auto_attack(study: Study) -> dict[str, str]:
    """Return for each method the robust error when AutoAttack is added, and what it adds to the average.

    It is empty where no run has a report of `deep.report` with AutoAttack.
    """
    cells = {}
    for label, runs in study.runs.items():
        reports = _reports(runs.values())
        if reports:
            classes = study.comparison.classes
            counted = [report.errors(classes) for report in reports]
            before = [report.errors(classes, *report.without(AUTOATTACK)) for report in reports]
            average = [e.average(ROBUST) for e in counted]
            worst = [e.rates(ROBUST).max() for e in counted]
            added = exact_mean(average) - exact_mean(e.average(ROBUST) for e in before)
            cells[label] = f"{_percent(average)}, {_percent(worst)} ({percent(added, signed=True)})"
    return cells


def _reports(runs: Iterable[RunFiles]) -> list[Evaluation]:
    return [r.report for r in runs if r.report and AUTOATTACK in r.report.kinds]


def _samples(study: Study) -> str:
    """Return of which samples AutoAttack's errors are, in words."""
    reports = [report for runs in study.runs.values() for report in _reports(runs.values())]
    sizes = sorted({int(n) for report in reports for n in np.bincount(report.labels)})
    seeds = sorted({len(reported) for runs in study.runs.values() if (reported := _reports(runs.values()))})
    return (
        f" AutoAttack: the robust error when it is added to both attacks, over the first "
        f"{_range(sizes)} test images of each class of {_seeds(seeds)}; in "
        "brackets the points that it adds to the average there."
    )


def _range(values: Sequence[int]) -> str:
    return str(values[0]) if values[0] == values[-1] else f"{values[0]} to {values[-1]}"


def _staged(study: Study, label: str) -> bool:
    return bool(study.comparison.methods[label].stage)


def _seeds(counts: Sequence[int]) -> str:
    return f"{_range(counts)} seed{'s' * (counts[-1] > 1)}"


def _alone(study: Study) -> str:
    """Return what an interval says where a method has one seed; nothing where none has."""
    alone = any(f.both[0] != f.both[0] for f in findings(study) if f.name == WORST)
    return " †: of one seed, over its images alone, which says nothing of other networks." * alone


def headline(study: Study) -> Table | None:
    """Return the classes of the paper's abstract beside ours; None without PGD on CIFAR-10."""
    comparison = study.comparison
    plain = [label for label, method in comparison.methods.items() if method == MethodId("pgd")]
    if comparison.protocol["dataset"] != "cifar10" or not plain:
        return None
    (pgd,) = plain
    rows = []
    for name, published in PUBLISHED.items():
        measured = [comparison.rates(pgd, q)[:, comparison.classes.index(name)] for q in ERRORS]
        rows.append([name, published, " / ".join(_percent(values) for values in measured)])
    header = ["natural / robust error (%) under PGD training", "Xu et al. (2021), abstract", "here"]
    note = (
        f"Here: {comparison.title}; mean over {_seeds([len(comparison.runs[pgd])])}. There: ResNet-18 on all "
        "training images; in brackets the first submission."
    )
    return Table("The two classes of the paper's abstract", header, rows, note)


def with_margins(trained: TrainedNetworks) -> Table | None:
    """Return how well Gaussian margins predict class errors, a row a method; None without `deep.link`."""
    rows = []
    for label, runs in trained.with_margins().items():
        reports = [run.margins for run in runs if run.margins is not None]
        if reports:
            cells = [_agreement(reports, name, q) for q in ERRORS for name in AGREEMENTS]
            failed = [str(len(report.failures["robust_error"])) for report in reports]
            rows.append([label, str(len(reports)), *cells, ", ".join(failed)])
    if not rows:
        return None
    header = [
        "method",
        "seeds",
        "natural: rank",
        "explained",
        "robust: rank",
        "explained",
        "classes that fail",
    ]
    note = (
        "Class errors predicted by deep.link beside those measured. Rank: Spearman's correlation over "
        "classes; explained: 1 - residual / total sum of squares over classes; mean over seeds with its "
        "range, or for one seed a 95 % bootstrap interval over images. Classes that fail, for each seed: "
        "whose robust error is not the predicted one beyond noise. - where all classes have the same error."
    )
    return Table(f"Theory and networks. {trained.comparison.title}", header, rows, note)


def _agreement(reports: Sequence[MarginReport], name: str, quantity: str) -> str:
    agreements = [report.agreement(name, quantity) for report in reports]
    values = [agreement["value"] for agreement in agreements if "value" in agreement]
    if not values:
        return "-"
    low, high = (
        (min(values), max(values))
        if len(values) > 1
        else (agreements[0].get("low"), agreements[0].get("high"))
    )
    return rounded(exact_mean(values)) + (f" [{rounded(low)}, {rounded(high)}]" if low is not None else "")


def _errors(study: Study, label: str) -> list[str]:
    """Return average and worst of each quantity."""
    statistics = study.statistics(label)
    return [
        f"{_percent(statistics[f'{q} average'])}, {_percent(statistics[f'{q} worst'])}"
        for q in ("natural", "boundary", "robust")
    ]


def _percent(values: Sequence[float]) -> str:
    mean, low, _ = mean_interval(values)
    return percent(mean) if np.isnan(low) else f"{percent(mean)} ± {percent(mean - low)}"


def _change(finding: Finding | None) -> list[str]:
    """Return the base and what changed in its worst class."""
    if finding is None:
        return ["", ""]
    many = finding.both[0] == finding.both[0]
    ends = interval(finding.both) if many else f"{interval(finding.change.over_images())}†"
    text = f"{finding.error.label}: {finding.points} {ends}"
    return [finding.base, Strong(text) if finding.resolved else text]


def tables(folder: Path) -> Iterator[Table]:
    """Yield the summary of every protocol among the runs below a folder, then what margins predict."""
    for study in read_studies(folder):
        yield summary(study)
        if top := headline(study):
            yield top
    yield from (table for trained in read_archive(folder).trained if (table := with_margins(trained)))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = Parser(prog="paper_figs.tables", description=__doc__)
    parser.add_argument("--records", type=Path, default=RECORDS, help="folder with records below it")
    for table in tables(parser.parse_args(argv).records):
        print(table.markdown())
    return 0


if __name__ == "__main__":
    run(main)
