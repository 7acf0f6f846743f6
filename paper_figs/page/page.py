"""One self-contained page: statements, the explorer, figures, tables, and the commands that made them."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import count
from pathlib import Path

import numpy as np

from paper_figs.page.svg import inline
from theory.common.table import Table
from theory.common.verdict_words import VERDICTS, shown
from theory.results.records import Record

__all__ = ["Drawn", "Missing", "Part", "Section", "commands", "figure", "folded", "page", "verdict_table"]


@dataclass(frozen=True)
class Drawn:
    """A figure on the page.

    Args:
        name: of its file, and its anchor.
        title: its topic, short.
        finding: what it shows, a sentence computed from its data.
        caption: what is seen.
        svg: as a vector image.
        png: as pixels.
        key: of its data, which begins with the key of its networks; empty where there is but one figure.
    """

    name: str
    title: str
    finding: str
    caption: str
    svg: bytes
    png: bytes
    key: str = ""

    @property
    def heading(self) -> str:
        """Return the title, with what tells it from other figures of the title."""
        return f"{self.title}: {self.key.replace('_', ' ')}" if self.key else self.title


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
class Part:
    """A part of a section, under a heading of its own.

    Args:
        name: its anchor.
        title: heading.
        text: what it is about, plain.
        points: sentences, folded.
        figures: what was drawn.
        tables: folded.
        opened: whether the first figure is open.
    """

    name: str
    title: str
    text: str = ""
    points: Sequence[str] = ()
    figures: Sequence[Drawn] = ()
    tables: Sequence[Table] = ()
    opened: bool = True


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Args:
        name: its anchor.
        title: heading.
        text: a paragraph that says what to see, as HTML.
        content: HTML below the text.
        figures: what was drawn; the first is open.
        missing: what was not.
        tables: tables below the figures.
        parts: below those.
        commands: command lines that made the records.
    """

    name: str
    title: str
    text: str = ""
    content: str = ""
    figures: Sequence[Drawn] = ()
    missing: Sequence[Missing] = ()
    tables: Sequence[Table] = ()
    parts: Sequence[Part] = ()
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
    numbers = count()
    body = "\n".join(_section(s, numbers) for s in sections)
    style, script = (Path(__file__).with_name(f"page.{kind}").read_text("utf-8") for kind in ("css", "js"))
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        f"<meta name=viewport content='width=device-width, initial-scale=1'><title>{escape(title)}</title>\n"
        f"<style>\n{style}</style></head>\n<body><a class=skip href='#main'>To the content</a>\n"
        f"<header><h1>{escape(title)}</h1></header>\n{_contents(sections)}\n"
        f"<main id=main>\n{body}\n</main>\n<footer><p class=note>{escape(footer)}</p></footer>"
        f"<script>\n{script}</script></body></html>\n"
    )


def _contents(sections: Sequence[Section]) -> str:
    """Return the table of contents: sections and their parts."""
    items = []
    for section in sections:
        parts = "".join(f"<li><a href='#{p.name}'>{escape(p.title)}</a></li>" for p in section.parts)
        below = f"<ul>{parts}</ul>" if parts else ""
        items.append(f"<li><a href='#{section.name}'>{escape(section.title)}</a>{below}</li>")
    return f"<nav aria-label='Table of contents'><ul>{''.join(items)}</ul></nav>"


def folded(title: str, content: str, *, level: int = 3, name: str = "", opened: bool = False) -> str:
    """Return content that is shown when its heading is pressed.

    Args:
        title: plain.
        content: HTML.
        level: of the heading, 2 to 6.
        name: anchor, if any.
        opened: whether it is shown at first.
    """
    anchor = f" id={name}" if name else ""
    heading = f"<h{level}>{escape(title)}</h{level}>"
    return f"<details{anchor}{' open' * opened}><summary>{heading}</summary>{content}</details>"


def _section(section: Section, numbers: Iterator[int]) -> str:
    name = section.name
    parts = [f"<section id={name} aria-labelledby={name}-title>"]
    parts += [f"<h2 id={name}-title>{escape(section.title)}</h2>"]
    parts += [f"<p>{section.text}</p>"] if section.text else []
    parts += [section.content] if section.content else []
    parts += _figures(section.figures, 3, numbers, opened=not section.parts)
    parts += [folded(table.title, _scrolled(table)) for table in section.tables]
    parts += [_part(part, numbers) for part in section.parts]
    if section.missing:
        rows = "".join(
            f"<li>{escape(m.title)}: <code>{escape(m.command)}</code></li>" for m in section.missing
        )
        parts.append(f"<p>Not drawn, for want of records, which these commands make:</p><ul>{rows}</ul>")
    if section.commands:
        lines = escape("\n".join(section.commands))
        listing = f"<pre role=region aria-label=Commands tabindex=0>{lines}</pre>"
        parts.append(folded("The commands that made this", listing))
    return "\n".join([*parts, "</section>"])


def _part(part: Part, numbers: Iterator[int]) -> str:
    """Return a part: what it is about, perhaps its first figure, and the rest folded."""
    parts = [f"<section id={part.name} aria-labelledby={part.name}-title>"]
    parts += [f"<h3 id={part.name}-title>{escape(part.title)}</h3>"]
    parts += [f"<p class=note>{escape(part.text)}</p>"] if part.text else []
    parts += _figures(part.figures, 4, numbers, opened=part.opened)
    if part.points:
        items = "".join(f"<li>{escape(point)}</li>" for point in part.points)
        parts.append(folded(f"What changed, in {len(part.points)} sentences", f"<ul>{items}</ul>", level=4))
    parts += [folded(_short(table.title, part.text), _scrolled(table), level=4) for table in part.tables]
    return "\n".join([*parts, "</section>"])


def _short(title: str, context: str) -> str:
    """Return a title without what stands above it anyway."""
    return title.replace(context, "").strip(" .") or "Errors of every class" if context else title


def _scrolled(table: Table) -> str:
    label = escape(table.title, quote=True)
    return f"<div class=scroll role=region aria-label='{label}' tabindex=0>{table.html()}</div>"


def _figures(figures: Sequence[Drawn], level: int, numbers: Iterator[int], *, opened: bool) -> list[str]:
    """Return figures, the first of them open if any is to be."""
    return [
        folded(f.heading, figure(f, f"f{next(numbers)}"), level=level, opened=opened and not i)
        for i, f in enumerate(figures)
    ]


def figure(drawn: Drawn, prefix: str) -> str:
    """Return a figure with its finding, topic and caption; it is scrolled where the screen is narrow.

    Args:
        drawn: what is shown.
        prefix: begins the ids within the drawing.
    """
    title, finding, caption = (escape(t, quote=True) for t in (drawn.title, drawn.finding, drawn.caption))
    drawing = inline(drawn.svg, prefix, drawn.title)
    plot = f"<div class=plot role=region aria-label='{title}' tabindex=0>{drawing}</div>"
    words = f"<figcaption><b>{finding}</b> {title}. {caption}</figcaption>"
    return f"<figure id={drawn.name}>{plot}{words}</figure>"
