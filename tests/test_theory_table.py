"""Tables: whatever a cell holds is shown as text in each form."""

import csv
import io
import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from theory.common.table import LATEX, Code, Strong, Table, paragraph

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
    rows = [line.removesuffix(r" \\") for line in (lines[4], *lines[6:-4])]
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
