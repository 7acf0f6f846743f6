"""What the page begins with: the findings, computed from the records, and one picture."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from paper_figs.page.page import Drawn, Section, figure
from paper_figs.summary import data_name, subject
from theory.common.digits import percent
from theory.common.verdict_words import VERDICTS, shown
from theory.results.counts import mean_interval
from theory.results.findings import ROBUST, WORST, Finding
from theory.results.records import Record
from theory.results.study import Study
from theory.theorems import statements

__all__ = ["front"]

MOST = 3
"""Changes that are told here; the part of the protocol has all."""


def front(
    records: Iterable[Record],
    studies: Sequence[tuple[Study, Sequence[Finding]]],
    pictures: Sequence[Drawn],
) -> Section:
    """Return the summary: a sentence for each finding, and the errors of every class.

    Args:
        records: those of simulations are counted by verdict.
        studies: networks of each protocol, and what changed.
        pictures: shown here and not below.
    """
    sentences = [*_networks(studies), *_claims(), *_simulated(records)]
    items = "".join(f"<li>{sentence}</li>" for sentence in sentences)
    content = f"<ul class=findings>{items}</ul>"
    content += "".join(figure(p, "front") for p in pictures)
    return Section("summary", "Summary", content=content)


def _networks(studies: Sequence[tuple[Study, Sequence[Finding]]]) -> Iterator[str]:
    """Yield what PGD training and a repair behind it leave, and which changes of a worst class are most."""
    for study, changes in studies:
        comparison = study.comparison
        name = escape(data_name(comparison))
        for label, method in comparison.methods.items():
            if method.name == "pgd":
                rates = comparison.rates(label, ROBUST)
                average = _spread([e.average(ROBUST) for e in comparison.runs[label].values()])
                seeds = subject(comparison, [label]).removeprefix(data_name(comparison))
                yield (
                    f"<a href='#networks'>{name}</a>{seeds}: {'with' if method.stage else 'under'} "
                    f"{escape(label)} the worst class has a robust error of "
                    f"<b>{_spread(rates.max(axis=1))} %</b>, the average class {average} %."
                )
        worst = [f for f in changes if f.name == WORST and f.p == f.p]
        resolved = sorted((f for f in worst if f.resolved), key=lambda f: -abs(f.change.mean))
        if worst:
            most = "; ".join(f"{escape(f.method)} on {escape(f.base)} {f.phrase}" for f in resolved[:MOST])
            yield (
                f"{name}: of {len(worst)} changes of a worst class {len(resolved) or 'none'} "
                f"{'are' if len(resolved) > 1 else 'is'} significant after Holm's correction"
                f"{', the largest: ' * (len(resolved) > 1) + ': ' * (len(resolved) == 1) + most}."
            )


def _spread(rates: Iterable[float]) -> str:
    mean, low, _ = mean_interval([*rates])
    return percent(mean) if low != low else f"{percent(mean)} ± {percent(mean - low)}"


def _claims() -> Iterator[str]:
    counts = Counter(s.status for s in statements().values())
    words = ", ".join(f"{n} {status}" for status, n in counts.most_common())
    total = counts.total()
    yield f"<a href='#claims'>{total} statements</a> of the field, each with a check that can fail: {words}."


def _simulated(records: Iterable[Record]) -> Iterator[str]:
    counts = Counter(r.extra["verdict"] for r in records if "verdict" in r.extra)
    if counts:
        words = ", ".join(f"{shown(kind)} {counts[kind]}" for kind in VERDICTS if counts[kind])
        yield f"<a href='#simulation'>Simulation against theory</a>, {counts.total()} comparisons: {words}."
