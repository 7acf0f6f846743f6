"""One self-contained page: statements, the explorer, figures, tables, and the commands that made them."""

import base64
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from theory.common.table import Table
from theory.common.verdict_words import VERDICTS, shown
from theory.results.records import Record

__all__ = ["Drawn", "Missing", "Section", "commands", "page", "verdict_table"]

LARGEST_SVG = 400_000
"""Bytes; a larger drawing is shown as PNG."""


@dataclass(frozen=True)
class Drawn:
    """A figure on the page.

    Args:
        name: of its file, and its anchor.
        title: short.
        caption: what is seen.
        svg: as a vector image.
        png: as pixels.
    """

    name: str
    title: str
    caption: str
    svg: bytes
    png: bytes


@dataclass(frozen=True)
class Missing:
    """A figure without records.

    Args:
        title: of the figure.
        command: makes the records.
    """

    title: str
    command: str


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Args:
        name: its anchor.
        title: heading.
        text: a paragraph that says what to see, as HTML.
        content: HTML below the text.
        figures: what was drawn.
        missing: what was not.
        tables: tables below the figures.
        commands: command lines that made the records.
    """

    name: str
    title: str
    text: str = ""
    content: str = ""
    figures: Sequence[Drawn] = ()
    missing: Sequence[Missing] = ()
    tables: Sequence[Table] = ()
    commands: Sequence[str] = ()


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
    rows = []
    for method, members in sorted(groups.items()):
        counts = [str(sum(r.extra["verdict"] == k for r in members)) for k in VERDICTS]
        off = max(abs(r.value - r.extra["predicted"]) for r in members)
        seen = [r.extra["detectable"] for r in members]
        sizes = (f"{100 * v:.2f}" for v in (off, np.median(seen), max(seen)))
        rows.append([method, str(len(members)), *counts, *sizes])
    names = ["largest difference", "minimum detectable: median", "largest"]
    header = ["training", "comparisons", *map(shown, VERDICTS), *names]
    note = (
        "differences in percentage points of error; each verdict is an exact binomial test whose false-alarm "
        "probability over its whole sweep is 1e-6, with a band for the chance of training"
    )
    return Table("Theory against simulation", header, rows, note)


def page(title: str, sections: Sequence[Section], footer: str) -> str:
    """Return the page as HTML that needs no other file and no network."""
    links = "".join(f"<a href='#{s.name}'>{escape(s.title)}</a> " for s in sections)
    body = "\n".join(_section(s) for s in sections)
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        f"<meta name=viewport content='width=device-width, initial-scale=1'><title>{escape(title)}</title>\n"
        f"<style>\n{style}</style></head>\n<body><header><h1>{escape(title)}</h1>\n"
        f"<nav aria-label='Sections'>{links}</nav></header>\n<main>\n{body}\n</main>\n"
        f"<footer><p class=note>{escape(footer)}</p></footer></body></html>\n"
    )


def _section(section: Section) -> str:
    name = section.name
    parts = [f"<section id={name} aria-labelledby={name}-title>"]
    parts += [f"<h2 id={name}-title>{escape(section.title)}</h2>"]
    parts += [f"<p>{section.text}</p>"] if section.text else []
    parts += [section.content] if section.content else []
    parts += [_figure(figure) for figure in section.figures]
    parts += [_scrolled(table) for table in section.tables]
    if section.missing:
        rows = "".join(
            f"<li>{escape(m.title)}: <code>{escape(m.command)}</code></li>" for m in section.missing
        )
        parts.append(f"<p>Not drawn, for want of records, which these commands make:</p><ul>{rows}</ul>")
    if section.commands:
        lines = escape("\n".join(section.commands))
        listing = f"<pre role=region aria-label=Commands tabindex=0>{lines}</pre>"
        parts.append(f"<details><summary>The commands that made this</summary>{listing}</details>")
    return "\n".join([*parts, "</section>"])


def _scrolled(table: Table) -> str:
    label = escape(table.title, quote=True)
    return f"<div class=scroll role=region aria-label='{label}' tabindex=0>{table.html()}</div>"


def _figure(figure: Drawn) -> str:
    small = len(figure.svg) <= LARGEST_SVG
    kind, content = ("svg+xml", figure.svg) if small else ("png", figure.png)
    data = base64.b64encode(content).decode()
    title, caption = escape(figure.title, quote=True), escape(figure.caption)
    image = f"<img alt='{title}' src='data:image/{kind};base64,{data}'>"
    return f"<figure id={figure.name}>{image}<figcaption><b>{title}.</b> {caption}</figcaption></figure>"
