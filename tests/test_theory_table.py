"""Tables: whatever a cell holds is shown as text in each form."""

import csv
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from theory.common.digits import percent
from theory.common.table import LATEX, Code, Strong, Table, paragraph
from theory.results.counts import ClassErrors

NAMES = ["$\\frac{$", "a_b", "100%", "<b>", "&lt;", "|", "\\", "*b*", "`x`", "~~x~~", "[x](y)", "_x_", "=1+1"]
LETTERS = st.text(st.sampled_from("ab1 \\`*_{}[]()<>#+-.!|$~&:;='\"/^%,\né中"))
CELLS = st.one_of(LETTERS, st.sampled_from(NAMES), st.text()).map(lambda s: s.replace("\r", " "))


@st.composite
def tables(draw):
    rows = draw(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=4))
    return Table(draw(CELLS), draw(st.tuples(CELLS, CELLS)), rows, draw(CELLS))


def flat(table):
    return [[" ".join(cell.split()) for cell in row] for row in (table.header, *table.rows)]


@given(tables())
@example(Table("", ("", ""), [("", "<<1")], ""))
def test_markdown_shows_every_cell_as_text(table):
    lines = [line for line in table.markdown().split("\n") if line.startswith("| ")]
    rows = flat(table)
    shown = lines[-len(rows) :]
    for line, row in zip(shown, rows, strict=True):
        bare = re.sub(r"\\.", "", line)
        assert not re.search(r"(?<!\\)<\w", line)  # of "<<a" only the second begins a tag
        assert bare.count("|") == 3 and not re.search(r"[*`$~\\]|&#?\w+;|\]\(|(?<!\w)_\w|\w_(?!\w)", bare)
        assert re.sub(r"\\([!-/:-@[-`{-~])", r"\1", line) == f"| {row[0]} | {row[1]} |"


@pytest.mark.parametrize("text", ["# a", "1. a", "2) a", "> a", "- a", "+ a", "* a", "=== ", "---"])
def test_a_paragraph_begins_no_block(text):
    assert re.fullmatch(r"\d*\\.*", paragraph(text)) and paragraph(text).replace("\\", "") == text.strip()


def test_cells_that_are_code_or_stand_out_say_so_and_nothing_else_does():
    table = Table("", ["h", "**h**"], [[Code("a`b|c"), Strong("x*y")], [Strong(""), "`no`"]])
    assert table.markdown().splitlines()[2:] == ["| ``a`b\\|c`` | **x\\*y** |", "|  | \\`no\\` |"]
    assert "**" not in table.text().splitlines()[2] and "<td>x*y</td>" in table.html()


@given(tables())
def test_latex_shows_every_cell_as_text(table):
    latex = table.latex()
    lines = latex.split("\n")
    rows = [line.removesuffix(r" \\") for line in lines if line.endswith(r" \\")]
    assert len(rows) == 1 + len(table.rows)
    back = {v: chr(k) for k, v in LATEX.items()}
    made = re.compile("|".join(map(re.escape, sorted(back, key=len, reverse=True))))
    for line, row in zip(rows, flat(table), strict=True):
        assert not line.startswith(("[", "*"))
        assert not re.search(r"[\\&%$#_{}~^<>|]", made.sub("", line).replace(" & ", "").replace("{}", ""))
        cells = line.split(" & ") if r"\& " not in line else re.split(r"(?<!\\) & ", line)
        assert [made.sub(lambda m: back[m[0]], c.removeprefix("{}")) for c in cells] == row


@given(tables())
@example(Table("t", ["a\nb", "</td>"], [["=1+1", "<!--"]]))
def test_html_and_csv_read_back_as_they_were(table):
    class Reader(HTMLParser):
        def __init__(self):
            super().__init__()
            self.cells, self.tags = [], set()

        def handle_starttag(self, tag, attrs):
            self.tags.add(tag)
            if tag in ("th", "td"):
                self.cells.append("")

        def handle_data(self, data):
            if self.cells and self.lasttag in ("th", "td"):
                self.cells[-1] += data

    reader = Reader()
    reader.feed(table.html().split("<p class=note>")[0])
    reader.close()
    assert reader.cells == [c for row in (table.header, *table.rows) for c in row]
    assert reader.tags <= {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    read = list(csv.reader(io.StringIO(table.csv(), newline="")))
    assert read == [list(row) for row in (table.header, *table.rows)]


def classes_table(classes, columns=3):
    """Return the errors of so many classes, a column a method."""
    rng = np.random.default_rng(0)
    names = [f"class {i} of a long name" if i % 7 == 0 else f"c{i}" for i in range(classes)]
    rows = [[name, *(f"{v:.1f} [10.0, 99.9]" for v in rng.uniform(0, 100, columns))] for name in names]
    header = ["class", *(f"FRL remargin rate={i}" for i in range(columns))]
    return Table(
        "Errors of every class", header, rows, "A note that is longer than a line of a terminal. " * 3
    )


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize(("classes", "columns"), [(2, 1), (10, 3), (100, 12), (1000, 3)])
def test_no_line_is_longer_than_the_terminal_and_no_cell_is_lost(classes, columns, width):
    table = classes_table(classes, columns)
    lines = table.text(width).splitlines()
    assert max(map(len, lines)) <= width
    text = " ".join(table.text(width).split())
    assert all(row[0].split()[0] in text and row[-1].split()[0] in text for row in table.rows)
    assert max(map(len, table.text(0).splitlines())) > 40


def test_the_width_is_that_of_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, classes_table(10, 6).text().splitlines())) <= 60
    monkeypatch.delenv("COLUMNS")
    assert max(map(len, classes_table(10, 6).text().splitlines())) > 120  # a file has whole lines


@pytest.mark.parametrize("classes", [2, 10, 100, 1000])
def test_errors_of_many_classes_are_the_worst_quantiles_and_a_histogram(classes):
    n, wrong = [50] * classes, np.arange(classes) % 51
    errors = ClassErrors([f"c{i}" for i in range(classes)], n, [0] * classes, wrong.tolist())
    table, numbers = errors.table("t"), errors.numbers()
    assert len(numbers.rows) == classes + 1  # a program has all
    if classes <= 20:
        assert [row[0] for row in table.rows[:classes]] == list(errors.classes)
        return
    assert len(table.rows) <= 20 and table.rows[0][0] == "c50"
    quantiles = {row[0]: row[4] for row in table.rows}
    assert quantiles["median class"] == percent(np.median(wrong / 50))
    counts = [int(v) for v in re.findall(r"%: (\d+)", table.note)]
    assert sum(counts) == classes
    assert max(map(len, table.text(80).splitlines())) <= 80


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_fits_a_column(tmp_path):
    """No box is overfull in one of two columns; a table without breaks is."""

    def overfull(latex):
        text = r"\documentclass[twocolumn]{article}\usepackage{booktabs}\begin{document}"
        (tmp_path / "t.tex").write_text(f"{text}{latex}\\end{{document}}")
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout[-800:]
        assert "Float too large" not in done.stdout
        return max([0.0, *map(float, re.findall(r"Overfull .hbox \(([\d.]+)pt", done.stdout))])

    tables = [classes_table(c, k) for c, k in ((2, 1), (10, 3), (100, 12), (1000, 1))]
    assert overfull("\\clearpage\n".join(t.latex() for t in tables)) < 3
    wide = classes_table(2, 6)
    row = " & ".join(wide.header)
    assert overfull(rf"\begin{{tabular}}{{{'r' * 7}}}{row}\end{{tabular}}") > 100
