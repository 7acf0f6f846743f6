"""The tables of an audit: errors of every class, of each attack and threat, and how sure the model is."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from deep.strength.check_results import check_table
from theory.common.digits import percent, rounded
from theory.common.table import Table
from theory.results.class_tables import worst_classes
from theory.results.counts import QUANTITIES, ClassErrors
from theory.results.flags import CLEAN
from theory.results.worst import worst_interval

if TYPE_CHECKING:
    from deep.audits.result import Audit

__all__ = ["error_table", "every_table", "threat_table", "worst_cell"]


def error_table(audit: "Audit") -> Table:
    """Return the errors of every class, with exact 95 % intervals, and of the worst."""
    title = " and ".join(t.name for t in audit.threats) + (", exact" if audit.exact else "")
    table = audit.errors().table(title)
    worst = [audit.worst(q) for q in QUANTITIES]
    cells = [
        f"{percent(w['error'])} [{percent(w['interval'][0])}, {percent(w['interval'][1])}] ({w['class']})"
        for w in worst
    ]
    spreads = [
        f"{percent(w['spread']['value'])} ({percent(w['spread']['by_chance'])}, p={w['spread']['p']:.2g})"
        for w in worst
    ]
    replaced = {"worst": ["worst", "", *cells], "spread": ["spread (by chance)", "", *spreads]}
    rows = [row if row[1] else replaced.get(row[0], row) for row in table.rows]
    note = table.note + "; the interval of the worst allows for its having been picked"
    return replace(table, rows=rows, note=note)


def every_table(audit: "Audit") -> list[Table]:
    """Return all tables: errors, each attack alone, each threat, confidence, checks of strength."""
    made = [error_table(audit), _attacks(audit)]
    if len(audit.threats) > 1:
        made.append(threat_table(audit.threat_errors(), audit.errors()))
    made.append(_confidence(audit))
    made += [_sparsity(audit, name) for name in audit.sparsity]
    for threat in audit.threats:
        checks = [check for name, check in audit.strength if name == threat.name]
        if checks:
            made.append(check_table(f"Is the attack strong enough? {threat.name}", checks))
    return made


def _attacks(audit: "Audit") -> Table:
    rows = []
    for place in range(len(audit.threats)):
        for attack in audit.evaluation(place).attacks[bool(place) :]:  # clean once
            errors = audit.errors(place, attack)
            rates = errors.rates("robust_error")
            worst = f"{percent(rates.max())} ({errors.classes[rates.argmax()]})"
            rows.append([attack, percent(errors.average("robust_error")), worst])
    note = "errors in percent; a sample is robust if it withstands all of them"
    return Table("Error under each attack alone", ["attack", "average", "worst class"], rows, note)


def worst_cell(threats: Mapping[str, ClassErrors]) -> dict[str, Any]:
    """Return the class and threat of largest robust error, with an interval that allows for the pick.

    Args:
        threats: the errors of the same classes under each threat, by its name.
    """
    names, tables = [*threats], [*threats.values()]
    counts = np.concatenate([e.counts("robust_error") for e in tables])
    cell, low, high = worst_interval(counts, np.concatenate([e.n for e in tables]))
    threat, place = divmod(cell, len(tables[0].classes))
    return {
        "class": tables[0].classes[place],
        "threat": names[threat],
        "error": float(tables[threat].rates("robust_error")[place]),
        "interval": [low, high],
    }


def threat_table(threats: Mapping[str, ClassErrors], union: ClassErrors) -> Table:
    """Return the robust errors of each class under each threat, by its name, and their union."""
    tables = [*threats.values(), union]
    rates = [e.rates("robust_error") for e in tables]
    rows = [[name, *(percent(r[i]) for r in rates)] for i, name in enumerate(union.classes)]
    rows.append(["average", *(percent(e.average("robust_error")) for e in tables)])
    columns = dict(enumerate(rates, start=1))
    cell = worst_cell(threats)
    low, high = cell["interval"]
    note = (
        f"errors in percent; worst cell: {cell['class']} under {cell['threat']}, "
        f"{percent(cell['error'])} "
        f"[{percent(low)}, {percent(high)}], a 95 % interval that allows for its having been picked"
    )
    table = Table("Robust error by threat", ["class", *threats, "any"], rows, note)
    return worst_classes(table, rates[-1], columns, percent, "robust error")


def _confidence(audit: "Audit") -> Table:
    """Return calibration of each class without and under attack, and its margin score."""
    header = ["class", "calibration error", "over-confidence", "when wrong", "margin score"]
    for threat in audit.threats:
        header += [f"{q}, {threat.name}" for q in ("over-confidence", "when wrong")]
    rows = []
    for name, found in audit.confidence().items():
        cells = [percent(found[CLEAN][q]) for q in ("ece", "overconfidence", "wrong")]
        cells.append(rounded(found["margin_score"], 3))
        for threat in audit.threats:
            cells += [percent(found[threat.name][q]) for q in ("overconfidence", "wrong")]
        rows.append([name, *(("-" if cell == "nan" else cell) for cell in cells)])
    note = (
        "in percent: expected calibration error in 15 bins; mean confidence minus accuracy; mean "
        "confidence "
        "where wrong; after the threat's name the same at the attacked inputs. Margin score: mean of "
        "sqrt(pi/2) "
        "(p_y - max p_j)_+, from 0 to 1.25, which is a bound of no distance here"
    )
    robust = audit.errors().rates("robust_error")
    return worst_classes(Table("Confidence", header, rows, note), robust, {}, percent, "robust error")


def _sparsity(audit: "Audit", threat: str) -> Table:
    """Return how many coordinates an attack needs of the samples of each class."""
    values, labels, rows = audit.sparsity[threat], audit.outcome.labels, []
    for c in audit.present:
        some = values[(labels == c) & np.isfinite(values)]
        cells = [f"{some.mean():.1f}", f"{some.min():.1f}", f"{some.max():.1f}"] if len(some) else ["-"] * 3
        rows.append([audit.classes[c], str(len(some)), *cells])
    note = (
        "mean, smallest and largest over samples that are right without an attack; of a sample, the mean "
        "over random orders in which its coordinates are freed. Few: nearly every way breaks it. All: it "
        "withstands"
    )
    header = ["class", "n", "mean", "smallest", "largest"]
    table = Table(f"How many coordinates an attack needs, {threat}", header, rows, note)
    return worst_classes(table, audit.errors().rates("robust_error"), {}, percent, "robust error")
