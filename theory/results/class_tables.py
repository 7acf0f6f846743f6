"""Tables with a row a class: of many classes a person sees the worst, quantiles and a histogram."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from theory.common.table import Table

__all__ = ["class_names", "worst_classes"]

MOST = 20
"""Classes that a table for people shows all of."""
WORST = 10
"""Classes that it shows of more than those."""
QUANTILES = {"10 % of classes below": 0.1, "median class": 0.5, "90 % of classes below": 0.9}
FEW = 12
"""Names of classes in a cell."""


def class_names(classes: Sequence[str]) -> str:
    """Return the names of classes, of many the first and how many more there are.

    >>> class_names(["cat", "dog"]), class_names(["a"] * 100)[-12:]
    ('cat dog', ' and 88 more')
    """
    more = f" and {len(classes) - FEW} more" if len(classes) > FEW else ""
    return " ".join(classes[:FEW]) + more


def worst_classes(
    table: Table,
    order: npt.ArrayLike,
    columns: Mapping[int, npt.ArrayLike],
    shown: Callable[[float], str],
    name: str,
) -> Table:
    """Return a table with a row a class as it is for few classes, and for many the worst and quantiles.

    Args:
        table: its first rows are the classes.
        order: of each class what says how bad it is, as a fraction; nan comes last.
        columns: for the place of a column its values, of which there are quantiles over the classes.
        shown: makes a cell of a value.
        name: of what ``order`` is.

    >>> table = Table("t", ["class", "error"], [[f"c{i}", f"{i}"] for i in range(100)] + [["average", "50"]])
    >>> few = worst_classes(table, [i / 100 for i in range(100)], {}, str, "error")
    >>> [row[0] for row in few.rows][:2], few.rows[-1][0], len(few.rows)
    (['c99', 'c98'], 'average', 11)
    """
    values = np.asarray(order, np.float64)
    if len(values) <= MOST:
        return table
    worst = np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")[:WORST].tolist()
    rows = [table.rows[i] for i in worst]
    for label, level in QUANTILES.items() if columns else ():
        cells = [""] * len(table.header)
        cells[0] = label
        for place, several in columns.items():
            cells[place] = shown(float(np.nanquantile(np.asarray(several, np.float64), level)))
        rows.append(cells)
    counts = np.histogram(values[np.isfinite(values)], 10, (0.0, 1.0))[0]
    bars = ", ".join(f"{10 * i} to {10 * i + 10} %: {n}" for i, n in enumerate(counts.tolist()) if n)
    note = f"the {WORST} of {len(values)} classes with the largest {name}; classes by {name}: {bars}"
    rows += [*table.rows[len(values) :]]
    return replace(table, rows=rows, note="; ".join(part for part in (note, table.note) if part))
