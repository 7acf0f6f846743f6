"""The table of statements for the page: status, verdicts of the simulation, and what shows them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from paper_figs.page.page import folded
from theory.claims.statement import Statement
from theory.claims.typeset import mathml
from theory.common.inputs import InputError, parse_object, read_lines
from theory.common.verdict_words import VERDICTS, shown
from theory.results.run_files import VERDICT_LINES
from theory.theorems import statements

__all__ = ["claim_table", "read_verdicts"]


def read_verdicts(folders: Iterable[Path]) -> Mapping[str, Counter[str]]:
    """Return how often the simulation found each verdict on each statement.

    Args:
        folders: with ``verdicts.jsonl`` of `sim.sweep --study` in or below them.

    Raises:
        InputError: a line is no verdict, or the result of a task that is there already (both are named).
    """
    tasks: dict[str, str] = {}
    counts: dict[str, Counter[str]] = {}
    for folder in folders:
        for path in sorted(folder.rglob(VERDICT_LINES)):
            for study, verdict in _read(path, tasks):
                counts.setdefault(study, Counter())[verdict] += 1
    return counts


def _read(path: Path, tasks: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the verdicts on claims, with the name of the study; ``tasks`` says where each task is."""
    for number, line in read_lines(path):
        task = parse_object(line, f"{path}, line {number}")
        name, place = str([task.get(k) for k in ("task", "seed", "setting")]), f"{path}, line {number}"
        if name in tasks:
            raise InputError(f"{place} is the task of {tasks[name]}: it would be counted twice; remove one")
        tasks[name] = place
        verdicts = task.get("verdicts")
        rows = verdicts if isinstance(verdicts, list) else [None]
        for row in rows:
            good = (
                isinstance(row, dict) and row.get("verdict") in VERDICTS and isinstance(task.get("task"), str)
            )
            if not good:
                raise InputError(f"{path}, line {number} is not a verdict of sim.sweep")
            if row.get("claim"):
                yield task["task"].split()[0], row["verdict"]


STATUSES = ("refuted", "corrected", "open", "confirmed")
"""In the order of the page; what is not as was said comes first."""


def claim_table(verdicts: Mapping[str, Counter[str]], places: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """Return every statement as a row of HTML, folded by status; its formula is folded too.

    Args:
        verdicts: from `read_verdicts`.
        places: for a statement the (anchor, title) of what shows it on the page.
    """
    header = [h for h in ("claim", "source", "simulation", "shown in") if verdicts or h != "simulation"]
    head = "".join(f"<th scope=col>{name}</th>" for name in header)
    parts = []
    for status in STATUSES:
        members = {name: s for name, s in statements().items() if s.status == status}
        rows = "\n".join(
            _row(name, s, verdicts.get(name, Counter()), places.get(name, ()), header[1:])
            for name, s in members.items()
        )
        table = f"<table class=claims><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table>"
        if members:
            parts.append(folded(f"{status}: {len(members)}", table))
    return "\n".join(parts)


def _row(
    name: str,
    s: Statement,
    counts: Mapping[str, int],
    places: Sequence[tuple[str, str]],
    header: Sequence[str],
) -> str:
    """Return the row of a statement."""
    cells = {
        "source": escape(s.source),
        "simulation": ", ".join(f"{shown(kind)} {counts[kind]}" for kind in VERDICTS if counts.get(kind)),
        "shown in": ", ".join(f"<a href='#{at}'>{escape(title)}</a>" for at, title in places),
    }
    more = "".join(
        f"<td data-label='{title}'>{cells[title]}</td>" if cells[title] else "<td class=none></td>"
        for title in header
    )
    formula = mathml(s)
    file = f"<code>{name}.py</code> <span class={s.status}>{s.status}</span>"
    if formula:
        file += f"<details><summary>formula</summary><div class=scroll tabindex=0>{formula}</div></details>"
    return f"<tr id='claim-{name}'><th scope=row>{escape(s.claim)} {file}</th>{more}</tr>"
