"""A table of strings: for a terminal, as HTML, Markdown, LaTeX and CSV."""

import csv
import io
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Code", "Strong", "Table", "paragraph", "terminal_width"]

COLUMN = 52
"""Letters of \\footnotesize beside each other in a column of two on a page, with the space between cells."""
NARROW = 12
"""Letters that a column keeps when its cells are broken."""
PAGE = 40
"""Rows of a table on a page."""

LATEX = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
)
MARKDOWN = re.compile(r"[\\`*|$~]|<(?=[\w/!?])|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])|(?<=\])[(:]")
"""What could begin or end markup within a line: an underscore not within a word, what follows a bracket."""


class Code(str):
    """A cell that is a command or a part of one."""


class Strong(str):
    """A cell that stands out."""


def paragraph(text: str) -> str:
    """Return a text as a paragraph of Markdown that shows it as it is: no heading, list or quotation."""
    return re.sub(r"^(\d*)([#>+=.)-])", r"\1\\\2", _inline(text))


def _inline(text: str) -> str:
    return MARKDOWN.sub(r"\\\g<0>", " ".join(text.split()))


def _markdown_cell(cell: str) -> str:
    if isinstance(cell, Code) and cell.strip():
        fence = "`" * (1 + max(map(len, re.findall("`+", cell)), default=0))
        text = " ".join(cell.split()).replace("|", "\\|")
        space = " " if text.startswith("`") or text.endswith("`") else ""
        return f"{fence}{space}{text}{space}{fence}"
    strong = isinstance(cell, Strong) and cell.strip()
    return f"**{_inline(cell)}**" if strong else _inline(cell)


def latex_text(text: str) -> str:
    """Return a text as LaTeX that shows it as it is, and is no option of the end of a row before it."""
    plain = " ".join(text.split()).translate(LATEX)
    return f"{{}}{plain}" if plain.startswith(("[", "*")) else plain


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        title: what it shows, with units.
        header: names of the columns.
        rows: cells, each row as long as the header; the first column is left-aligned.
        note: what a reader must know to read it right.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def text(self, width: int | None = None) -> str:
        """Return the table with aligned columns, no line longer than ``width``.

        Where a table is wider, its longest cells are broken, then columns go on below, each time after the
        first one.

        Args:
            width: letters, at least 40; of the terminal if None, and without one as many as there are.
        """
        limit = terminal_width() if width is None else width
        head, note = ([*textwrap.wrap(t, limit)] if limit else [t] for t in (self.title, self.note))
        blocks = [b for columns in self._blocks(limit) for b in ([""], self._aligned(columns, limit))][1:]
        return "\n".join(line for lines in (head, *blocks, note) for line in lines if line or lines == [""])

    def _width(self, i: int) -> int:
        return max(len(line[i]) for line in (self.header, *self.rows))

    def _blocks(self, limit: int, gap: int = 3) -> Iterator[list[int]]:
        """Yield the columns that stand beside each other, of which the first is always that of the table."""
        widths = [
            min(self._width(i), max(NARROW, limit // 3)) if limit else 0 for i in range(len(self.header))
        ]
        block = [0]
        for i in range(1, len(widths)):
            if len(block) > 1 and sum(widths[j] + gap for j in [*block, i]) - gap > limit > 0:
                yield block
                block = [0]
            block.append(i)
        yield block

    def _aligned(self, columns: Sequence[int], limit: int) -> list[str]:
        """Return the lines of some columns."""
        widths = {i: self._width(i) for i in columns}
        while limit and sum(w + 3 for w in widths.values()) - 3 > limit and max(widths.values()) > NARROW:
            longest = max(widths, key=lambda i: widths[i])
            widths[longest] -= 1
        lines = []
        for number, row in enumerate((self.header, *self.rows)):
            cells = [
                textwrap.wrap(row[i], max(w, 1)) if len(row[i]) > w else [row[i]] for i, w in widths.items()
            ]
            for k in range(max(map(len, cells))):
                parts = [cell[k] if k < len(cell) else "" for cell in cells]
                first, *others = (
                    f"{c:>{w}}" if i else f"{c:<{w}}" for (i, w), c in zip(widths.items(), parts, strict=True)
                )
                lines.append(" | ".join([first, *others]).rstrip())
            if not number:
                lines.append("-+-".join("-" * w for w in widths.values()))
        return lines

    def html(self) -> str:
        """Return the table as HTML."""
        head = "".join(f"<th>{escape(c)}</th>" for c in self.header)
        body = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in self.rows)
        note = f"<p class=note>{escape(self.note)}</p>" if self.note else ""
        caption = f"<caption>{escape(self.title)}</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"

    def markdown(self) -> str:
        """Return the table as a pipe table, the first column left-aligned."""

        def join(cells: Sequence[str]) -> str:
            return "| " + " | ".join(map(_markdown_cell, cells)) + " |"

        rule = "|" + "|".join(["---", *["---:"] * (len(self.header) - 1)]) + "|"
        table = "\n".join([join(self.header), rule, *(join(row) for row in self.rows)])
        parts = (paragraph(self.title), table, paragraph(self.note))
        return "\n\n".join(part for part in parts if part) + "\n"

    def latex(self) -> str:
        """Return the table as LaTeX for the package booktabs, as wide as a column of two on a page.

        Columns that have no room go on below, after the first one; of many rows there are several tables.
        """
        groups = [self.rows[k : k + PAGE] for k in range(0, max(len(self.rows), 1), PAGE)]
        tabulars = [self._tabular(columns, rows) for columns in self._blocks(COLUMN) for rows in groups]
        if sum(map(len, tabulars)) <= PAGE + 6:
            tabulars = [[line for tabular in tabulars for line in tabular]]
        parts = []
        for number, tabular in enumerate(tabulars):
            title = self.title if not number else f"{self.title} (continued)"
            note = self.note if number == len(tabulars) - 1 else ""
            caption = latex_text(f"{title}. {note}")
            begin = [r"\begin{table}", rf"\caption{{{caption}}}", r"\footnotesize\setlength{\tabcolsep}{3pt}"]
            parts += [*begin, *tabular, r"\end{table}"]
        return "\n".join(parts) + "\n"

    def _tabular(self, columns: Sequence[int], rows: Sequence[Sequence[str]]) -> list[str]:
        """Return some columns; the cells of one with a long one are broken into lines."""

        def join(cells: Sequence[str]) -> str:
            return " & ".join(latex_text(cells[i]) for i in columns) + r" \\"

        widths = {i: self._width(i) for i in columns}
        room = COLUMN - 3 * (len(columns) - 1)
        while sum(widths.values()) > room and max(widths.values()) > NARROW:
            widths[max(widths, key=lambda i: widths[i])] -= 1
        kinds = [
            ("r" if i else "l")
            if w == self._width(i)
            else rf"p{{{w / (room + 3 * len(columns)):.2f}\linewidth}}"
            for i, w in widths.items()
        ]
        begin = rf"\begin{{tabular}}{{{''.join(kinds)}}}"
        body = [r"\toprule", join(self.header), r"\midrule", *map(join, rows), r"\bottomrule"]
        return [begin, *body, r"\end{tabular}", ""]

    def csv(self) -> str:
        """Return header and rows as comma-separated values (RFC 4180, lines ended by a newline)."""
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([self.header, *self.rows])
        return out.getvalue()


def terminal_width() -> int:
    """Return the letters of a line of the terminal that is printed to, 0 where there is none."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit():
        return max(40, shutil.get_terminal_size().columns)
    return 0
