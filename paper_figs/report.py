"""One self-contained page: figures, tables, and the commands that made them."""

import base64
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

from theory.record import Record
from theory.table import Table

__all__ = ["Section", "commands", "page", "verdict_table"]

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em;
color: #222; } h2 { margin-top: 2em; } img { max-width: 100%; } .scroll { overflow-x: auto; } table
{ border-collapse: collapse; margin: 1em 0; font-size: 13px; } caption { text-align: left;
font-weight: 600; padding: .3em 0; } th, td { padding: .2em .7em; text-align: right; border-bottom:
1px solid #ddd; white-space: nowrap; } th:first-child, td:first-child { text-align: left; } .note,
figcaption { color: #555; font-size: 13px; } pre { background: #f5f5f5; padding: .7em; overflow-x:
auto; }
"""


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Args:
        title: heading.
        text: a paragraph that says what to see.
        figures: (caption, SVG) pairs.
        tables: tables below the figures.
        commands: command lines that made the records.
    """

    title: str
    text: str
    figures: Sequence[tuple[str, bytes]] = ()
    tables: Sequence[Table] = ()
    commands: Sequence[str] = field(default=())


def commands(records: Iterable[Record]) -> list[str]:
    """Return the distinct command lines that made the records."""
    lines = {shlex.join(r.provenance["argv"]) for r in records if "argv" in r.provenance}
    return sorted(lines)


def verdict_table(records: Iterable[Record]) -> Table:
    """Return how often theory and simulation agree, for each way of training."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        if "verdict" in record.extra:
            groups.setdefault(str(record.method), []).append(record)
    kinds = ("agrees", "differs", "cannot tell")
    rows = []
    for method, members in sorted(groups.items()):
        counts = [str(sum(r.extra["verdict"] == k for r in members)) for k in kinds]
        off = max(abs(r.value - r.extra["predicted"]) for r in members)
        seen = [r.extra["detectable"] for r in members]
        rows.append(
            [
                method,
                str(len(members)),
                *counts,
                f"{100 * off:.2f}",
                f"{100 * np.median(seen):.2f}",
                f"{100 * max(seen):.2f}",
            ]
        )
    header = ["training", "comparisons", *kinds, "largest difference", "could have seen: median", "largest"]
    note = (
        "differences in percentage points of error; each verdict is an exact binomial test whose false-alarm "
        "probability over its whole sweep is 1e-6, with a band for the chance of training"
    )
    return Table("Theory against simulation", header, rows, note)


def page(sections: Sequence[Section], footer: str) -> str:
    """Return the page as HTML that needs no other file and no network."""
    body = "\n".join(_section(s) for s in sections)
    title = "Robust fairness: theory, simulation and networks"
    return (
        f"<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        f"<meta name=viewport content='width=device-width, initial-scale=1'><title>{title}</title>"
        f"<style>{STYLE}</style></head>\n<body><h1>{title}</h1>\n{body}\n"
        f"<p class=note>{escape(footer)}</p></body></html>\n"
    )


def _section(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>", f"<p>{escape(section.text)}</p>"]
    for caption, svg in section.figures:
        data = base64.b64encode(svg).decode()
        image = f"<img alt='{escape(caption, quote=True)}' src='data:image/svg+xml;base64,{data}'>"
        parts.append(f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>")
    parts += [f"<div class=scroll>{table.html()}</div>" for table in section.tables]
    if section.commands:
        lines = escape("\n".join(section.commands))
        parts.append(f"<details><summary>The commands that made this</summary><pre>{lines}</pre></details>")
    return "\n".join(parts)
