"""The page of an audit: one file of HTML with its style and chart inside, for whoever opens it."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from theory.common.digits import percent
from theory.common.table import Table

__all__ = ["bars", "page"]

Rates = tuple[Sequence[float], Sequence[Sequence[float]]]
"""Of each class, and their intervals."""
ROW = 40  # pixels of a class in the chart
WIDEST = 20
"""Classes of a confusion matrix that is shown whole; of more only the most frequent confusions are."""
LONG = 28  # letters of a cell that may be broken; numbers with their intervals have fewer
STYLE = """
:root { color-scheme: light dark; --text: #1d1d1f; --quiet: #56565c; --page: #fff; --line: #d9d9de;
  --soft: #f4f4f6; --natural: #0072b2; --robust: #e69f00; --bad: #a33b00; }
@media (prefers-color-scheme: dark) { :root { --text: #ececf0; --quiet: #a9a9b2; --page: #17171a;
  --line: #3a3a41; --soft: #222227; --natural: #56b4e9; --robust: #b87000; --bad: #ff9d6b; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60em; margin: 0 auto; padding: 1em;
  color: var(--text); background: var(--page); overflow-wrap: anywhere; }
h1 { font-size: 1.4em; line-height: 1.3; } h2 { font-size: 1.15em; margin-top: 2em; }
.finding { font-size: 1.15em; } .warning { color: var(--bad); font-weight: 600; }
p, li { max-width: 46em; } .note { color: var(--quiet); font-size: .87em; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin: .6em 0; font-size: .87em; }
caption { text-align: left; font-weight: 600; padding: .3em 0; }
th, td { padding: .25em .7em; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap;
  font-variant-numeric: tabular-nums; vertical-align: top; overflow-wrap: normal; }
th:first-child, td:first-child { text-align: left; padding-left: 0; position: sticky; left: 0;
  background: var(--page); }
.long { white-space: normal; min-width: 13em; }
h3 { font-size: 1em; margin: 1.6em 0 .2em; } summary { cursor: pointer; color: var(--quiet); margin: .6em 0; }
.confusion td { padding: .25em .45em; } .confusion th { font-weight: 400; }
svg { display: block; width: 100%; } svg text { font-size: 14px; fill: var(--text); }
.track { fill: var(--soft); } .natural { fill: var(--natural); } .robust { fill: var(--robust); }
.range { stroke: var(--text); stroke-width: 2; } .average { stroke: var(--text); stroke-dasharray: 4 4; }
.key { max-width: none; } .key span { display: inline-block; margin-right: 1.2em; }
.key i.range, .key i.average { height: 0; width: 1.6em; border-top: 2px solid; vertical-align: .25em; }
.key i.average { border-top: 2px dashed; }
.key i { display: inline-block; width: 1em; height: .8em; margin-right: .4em; }
pre { background: var(--soft); padding: .8em; overflow-x: auto; font-size: .8em; white-space: pre-wrap; }
@media print { :root { color-scheme: light; --text: #000; --quiet: #444; --page: #fff; --line: #bbb;
    --soft: #eee; --natural: #0072b2; --robust: #e69f00; --bad: #a33b00; }
  body { font-size: 10pt; max-width: none; padding: 0; print-color-adjust: exact; }
  .scroll { overflow: visible; } th, td { white-space: normal; padding: .15em .4em; }
  tr, h2, h3 { break-inside: avoid; break-after: auto; } h2, h3 { break-after: avoid; }
  details::details-content { content-visibility: visible; display: block; } summary { display: none; } }
"""


def bars(classes: Sequence[str], natural: Rates, robust: Rates, average: float) -> str:
    """Return a chart of the errors of each class as SVG, the largest robust error first; folded after many.

    Lengths are in percent of the width, so that it is as wide as its place and its letters keep their size.

    Args:
        classes: their names.
        natural: errors without an attack.
        robust: errors with or without the attack, and their intervals.
        average: robust error over all samples, marked by a line.
    """
    order = np.argsort([-rate for rate in robust[0]], kind="stable").tolist()
    first = _rows(order[:WIDEST], classes, natural, robust, average)
    if len(order) <= WIDEST:
        return first
    rest = _rows(order[WIDEST:], classes, natural, robust, average)
    return first + _folded(f"the other {len(order) - WIDEST} classes, of smaller error", rest)


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>{content}</details>"


def _rows(order: Sequence[int], classes: Sequence[str], natural: Rates, robust: Rates, average: float) -> str:
    """Return the chart of some classes, see `bars`."""
    parts = []
    for row, i in enumerate(order):
        top, (low, high) = row * ROW, robust[1][i]
        middle = top + 27
        value = f"{percent(robust[0][i])} % [{percent(low)}, {percent(high)}]"
        parts += [
            f'<text x="0" y="{top + 15}">{escape(classes[i])}</text>',
            f'<text x="100%" y="{top + 15}" text-anchor="end">{value}</text>',
            f'<rect class="track" x="0" y="{top + 20}" width="100%" height="14"/>',
            f'<rect class="robust" x="0" y="{top + 20}" width="{100 * robust[0][i]:.2f}%" height="14"/>',
            f'<rect class="natural" x="0" y="{top + 20}" width="{100 * natural[0][i]:.2f}%" height="14"/>',
            f'<line class="range" x1="{100 * low:.2f}%" x2="{100 * high:.2f}%" y1="{middle}" y2="{middle}"/>',
        ]
    height, at = len(order) * ROW, f"{100 * average:.2f}%"
    parts.append(f'<line class="average" x1="{at}" x2="{at}" y1="0" y2="{height}"/>')
    label = "errors of each class, which the table below has as numbers"
    return f'<svg height="{height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def page(
    finding: str,
    notes: Sequence[str],
    doubts: Sequence[str],
    classes: Sequence[str],
    rates: Mapping[str, Rates],
    average: float,
    confusions: Mapping[str, tuple[Sequence[str], npt.NDArray[np.int64]]],
    tables: Sequence[Table],
    origin: Mapping[str, Any],
) -> str:
    """Return the page.

    Args:
        finding: what was found in a sentence.
        notes: what a reader must know.
        doubts: why the numbers may not be trusted.
        classes: names of those in the chart.
        rates: natural_error and robust_error of each.
        average: robust error over all samples.
        confusions: names of all classes, and how many samples of each are given each, for each threat.
        tables: all tables.
        origin: what made the numbers.
    """
    paragraphs = [f"<p class=warning>Warning: {escape(doubt)}.</p>" for doubt in doubts]
    paragraphs += [f"<p class=note>Note: {escape(note)}.</p>" for note in notes]
    errors = _table(tables[0])
    if len(classes) > WIDEST:
        errors = _folded(f"the errors of all {len(classes)} classes as numbers", errors)
    chart = bars(classes, rates["natural_error"], rates["robust_error"], average)
    body = [
        "<h1>Which class is this model unsafe for?</h1>",
        f"<p class=finding>{escape(finding)}</p>",
        *paragraphs,
        EXPLAINED,
        "<h2>Errors of each class</h2>",
        KEY,
        chart,
        errors,
        "<h2>What a class is taken for under attack</h2>",
        *(_confusion(name, *found) for name, found in confusions.items()),
        "<h2>More</h2>",
        *map(_table, tables[1:]),
        "<h2>What this is made of</h2>",
        f"<pre>{escape(_origin(origin))}</pre>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Robustness of each class</title><style>{STYLE}</style></head><body>"
        + "\n".join(body)
        + "</body></html>\n"
    )


KEY = (
    '<p class="key note"><span><i style="background:var(--natural)"></i>wrong without an attack</span> '
    '<span><i style="background:var(--robust)"></i>wrong only under attack</span> '
    "<span><i class=range></i>95 % interval of both together</span> "
    "<span><i class=average></i>average of all samples</span></p>"
)
EXPLAINED = (
    "<p>An attack changes an input by less than the radius eps, so little that a person would not answer "
    "differently, until the model is wrong. The natural error is the share of samples that are wrong without "
    "an attack, the boundary error the share that only an attack makes wrong, the robust error both. "
    "Attacks may miss: the true robust error is at least what is said here, and equal to it where it is "
    "called exact. Intervals say how far other samples of the same kind might differ.</p>"
)


def _confusion(title: str, classes: Sequence[str], matrix: npt.NDArray[np.int64]) -> str:
    """Return a confusion matrix as a table, or of many classes the most frequent confusions."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    names = [*classes, "not finite"]
    if len(classes) > WIDEST:
        places = [divmod(int(i), len(names)) for i in np.argsort(-wrong, axis=None, kind="stable")[:WIDEST]]
        sizes = matrix.sum(1)
        rows = [
            [f"{names[i]} taken for {names[j]}", str(wrong[i, j]), f"{percent(wrong[i, j] / sizes[i])} %"]
            for i, j in places
            if wrong[i, j]
        ]
        table = Table(f"The most frequent, {title}", ["", "samples", "of the class"], rows)
        return _table(table)
    names = names[: len(names) - (not matrix[:, -1].any())]
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    most = max(1, int(wrong.max()))
    body = []
    for i, name in enumerate(classes):
        if matrix[i].any():
            cells = "".join(_cell(int(matrix[i, j]), wrong[i, j] / most) for j in range(len(names)))
            body.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    caption = (
        f"<h3>{escape(title)}</h3><p class=note>Rows are true classes, columns what they are taken for.</p>"
    )
    table_ = f"<table class=confusion><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(body)}"
    return f"{caption}<div class=scroll>{table_}</tbody></table></div>"


def _table(table: Table) -> str:
    """Return a table, which is scrolled if it is too wide; its title and note are not."""

    def row(cells: Sequence[str], kind: str) -> str:
        long = [" class=long" if len(cell) > LONG else "" for cell in cells]
        parts = [f"<{kind}{c}>{escape(cell)}</{kind}>" for c, cell in zip(long, cells, strict=True)]
        return f"<tr>{''.join(parts)}</tr>"

    body = "".join(row(cells, "td") for cells in table.rows)
    note = f"<p class=note>{escape(table.note)}</p>" if table.note else ""
    inner = f"<table><thead>{row(table.header, 'th')}</thead><tbody>{body}</tbody></table>"
    return f"<h3>{escape(table.title)}</h3><div class=scroll>{inner}</div>{note}"


def _cell(count: int, share: float) -> str:
    """Return a cell whose colour says how frequent a confusion is; of right answers it has none."""
    shade = f' style="background:rgb(230 159 0/{share:.2f})"' if share else ""
    return f"<td{shade}>{count or ''}</td>"


def _origin(origin: Mapping[str, Any]) -> str:
    def shown(value: Any) -> str:
        if isinstance(value, Mapping):
            return ", ".join(f"{k} {v}" for k, v in value.items())
        return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)

    return "\n".join(f"{key}: {shown(value)}" for key, value in origin.items())
