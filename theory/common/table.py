"""A table of strings: for a terminal, as HTML, Markdown, LaTeX and CSV."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Code", "Strong", "Table", "paragraph"]

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

    def text(self) -> str:
        """Return the table with aligned columns."""
        lines = [list(self.header), *(list(row) for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.header))]

        def join(line: Sequence[str]) -> str:
            first, *others = (
                f"{c:>{w}}" if i else f"{c:<{w}}" for i, (c, w) in enumerate(zip(line, widths, strict=True))
            )
            return " | ".join([first, *others]).rstrip()

        rule = "-+-".join("-" * w for w in widths)
        parts = [self.title, join(lines[0]), rule, *(join(line) for line in lines[1:]), self.note]
        return "\n".join(part for part in parts if part)

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
        """Return the table as a LaTeX table environment for the package booktabs."""

        def join(cells: Sequence[str]) -> str:
            return " & ".join(map(latex_text, cells)) + r" \\"

        lines = [
            r"\begin{table}",
            rf"\caption{{{latex_text(f'{self.title}. {self.note}')}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(self.header) - 1)}}}",
            r"\toprule",
            join(self.header),
            r"\midrule",
            *(join(row) for row in self.rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        """Return header and rows as comma-separated values (RFC 4180, lines ended by a newline)."""
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([self.header, *self.rows])
        return out.getvalue()
