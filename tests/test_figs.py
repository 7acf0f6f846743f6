"""The command line of the figures, and the page that it makes."""

import io
import json
import re
import shutil
from dataclasses import dataclass
from html import escape

import matplotlib
import pytest
from matplotlib.figure import Figure
from test_theory_errors import run_records

from deep.compare import block_of
from paper_figs import __main__ as command
from paper_figs.__main__ import main
from paper_figs.archive import Archive, read_archive
from paper_figs.drawing import LIST
from paper_figs.page.claim_table import read_verdicts
from paper_figs.page.page import verdict_table
from paper_figs.page.svg import inline
from sim import sweep
from sim.studies import grid_runs as experiment
from theory.common.files import write_atomic
from theory.results.protocols import comparisons
from theory.results.records import read_records, to_jsonl
from theory.results.runs import read_runs
from theory.results.study import study_of
from theory.theorems import statements

MODULES = command.modules()
PAGE = 11, 9
"""Width and height of the largest figure, in inches."""


class Toy:
    """A figure module that draws quickly: a page of records takes no time in most tests."""

    SECTION, TITLE, COMMAND = "networks", "A toy", "python -m deep.train --method toy"
    CLAIMS = ("ours_price_ratio",)

    @dataclass(frozen=True)
    class Data:
        key: str

    @staticmethod
    def compute(archive):
        return [Toy.Data(f"{t.key} / a") for t in archive.trained] * 2

    @staticmethod
    def finding(data):
        return f"It shows {data.key} & more."

    @staticmethod
    def caption(data):
        return f"What <{data.key}> is."

    @staticmethod
    def draw(data):
        figure = Figure(figsize=(1, 1))
        figure.add_subplot().plot([0, 1])
        return figure


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(command, "modules", lambda: {"toy": Toy})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with records of a small sweep and of runs of two methods."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "SAMPLES", {"threshold": (5000, 5000), "logistic": (2000, 5000)})
        grid = ["--K", "1.5", "2", "--eps", "0.1", "0.2", "--jobs", "1", "--out", str(folder / "sim")]
        sweep.main(grid)
    networks = [
        r
        for seed in range(3)
        for r in [
            *run_records("pgd", seed, (5, 6), (30 + seed, 70)),
            *run_records("frl", seed, (5, 6), (40, 60 - seed), variant="both"),
        ]
    ]
    (folder / "deep").mkdir()
    write_atomic(folder / "deep" / "records.jsonl", to_jsonl(networks))
    return folder


@pytest.fixture
def records(made, tmp_path):
    """Return a copy of the folder of records."""
    return shutil.copytree(made, tmp_path / "records")


def page_of(invoke, tmp_path, *records):
    """Return what the command prints and the page that it makes."""
    given = ["--records", *records] if records else []
    code, out, _ = invoke(main, *given, "--out", tmp_path / "out")
    assert code == 0 and f"report: {tmp_path / 'out' / 'report.html'}" in out
    return out, (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize("name", MODULES)
def test_a_figure_keeps_its_contract(name, made):
    module = MODULES[name]
    assert module.SECTION in command.SECTIONS and module.TITLE
    assert module.COMMAND == "" or module.COMMAND.startswith("python -m ")
    assert set(getattr(module, "CLAIMS", ())) <= set(statements())
    if module.COMMAND:
        assert module.compute(Archive(())) == []
    else:
        assert module.compute(Archive(()))
    for data in module.compute(read_archive(made)):
        figure, sentence = module.draw(data), module.finding(data)
        assert isinstance(figure, Figure) and len(module.caption(data)) > 20
        assert (figure.get_size_inches() <= PAGE).all()
        assert "\n" not in sentence and 30 < len(sentence) < 180 and sentence.endswith(".")


def test_the_explorer_shows_statements_that_there_are():
    assert set(command.explorer.CLAIMS) <= set(statements())


def test_verdict_table_counts_verdicts(records):
    table = verdict_table(read_records(records))
    assert {r[0] for r in table.rows} == {
        f"{t}-{r}" for t in ("natural", "adversarial") for r in ("threshold", "logistic")
    }
    assert sum(int(row[1]) for row in table.rows) == 2 * 2 * 2 * 7


def test_the_page_needs_nothing_else(records, invoke, tmp_path):
    _, page = page_of(invoke, tmp_path, records)
    linked = re.findall(r"""(?:src|href|srcset|action)=['"]?([^'"\s>]*)""", page)
    anchors = {link[1:] for link in linked if link.startswith("#")}
    assert all(link.startswith(("#", "data:")) for link in linked)
    ids = re.findall(r"""\sid=['"]?([^'"\s>]+)""", page)
    assert {target for target in re.findall(r"url\(([^)]*)", page)} <= {f"#{name}" for name in ids}
    assert len(ids) == len(set(ids)) and anchors <= set(ids)
    assert "FRL both - PGD" in page and "Theory against simulation" in page
    files = sorted(p for p in (tmp_path / "out").iterdir() if p.name != LIST)
    assert {p.suffix for p in files} == {".svg", ".png", ".html"}
    assert page.count("<figure id=") == sum(p.suffix == ".svg" for p in files)
    assert re.findall("<h[1-6]", page)[:2] == ["<h1", "<h2"] and "<math>" in page and "<text" in page
    assert anchors >= {"summary", "explorer", "claims", "theory", "simulation", "networks"}


def test_the_tables_and_sentences_are_those_of_the_comparison(toy, records, invoke, tmp_path):
    _, page = page_of(invoke, tmp_path, records)
    block = block_of(study_of(comparisons(read_records(records))[0], read_runs([records])), None)
    assert len(block.tables) > 2 and block.verdicts
    assert all(table.html() in page for table in block.tables)
    assert all(f"<li>{escape(verdict)}</li>" in page for verdict in block.verdicts)


def test_every_figure_and_every_claim_has_its_place(toy, records, invoke, tmp_path):
    out, page = page_of(invoke, tmp_path, records)
    names = sorted(p.stem for p in (tmp_path / "out").glob("*.svg"))
    assert len(names) == 2 and names[1] == names[0] + "_" and names[0].startswith("toy_")
    assert all(page.count(f"<figure id={name}>") == 1 for name in names)
    assert re.search(r"<figcaption><b>It shows [^<]*&amp; more\.</b> A toy\. What &lt;", page)
    assert "no records" not in out
    for name, statement in statements().items():
        row = page[page.index(f"id='claim-{name}'") :].split("</tr>")[0]
        assert f"{name}.py" in row and f"<span class={statement.status}>" in row
        assert (f"<a href='#{names[0]}'>A toy</a>" in row) == (name in Toy.CLAIMS)
        assert ("<a href='#explorer'>" in row) == (name in command.explorer.CLAIMS)


def test_what_is_missing_is_said_with_its_command(toy, records, invoke, tmp_path):
    out, page = page_of(invoke, tmp_path, records / "sim")
    assert all(part in out for part in (Toy.TITLE, Toy.COMMAND, "--records"))
    assert f"<li>{Toy.TITLE}: <code>{Toy.COMMAND}</code></li>" in page and "FRL both" not in page


def test_without_records_there_is_theory_alone(toy, invoke, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "COMMITTED", tmp_path / "nothing")
    out, page = page_of(invoke, tmp_path)
    assert "function weightedBias" in page and "0 records" in page and "no records for" in out


def test_the_records_of_the_package_are_the_default(toy, invoke, tmp_path, monkeypatch, records):
    monkeypatch.setattr(command, "COMMITTED", records)
    assert page_of(invoke, tmp_path) == page_of(invoke, tmp_path, records)


def test_several_folders_are_one_archive(toy, records, invoke, tmp_path):
    _, together = page_of(invoke, tmp_path, records / "sim", records / "deep")
    _, page = page_of(invoke, tmp_path, records)
    assert together == page


def test_verdicts_of_the_simulation_stand_beside_their_claims(toy, records, invoke, tmp_path, refuses):
    name = "xu2021_wide_class_pays"
    rate = {"what": "rate 1", "claim": False, "verdict": "differs"}
    lines = [
        {"task": f"{name} {i}", "verdicts": [rate, {"what": "claim", "claim": True, "verdict": verdict}]}
        for i, verdict in enumerate(("agrees", "agrees", "differs", "cannot tell"))
    ]
    (records / "sim" / "verdicts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_verdicts([records])[name] == {"agrees": 2, "differs": 1, "cannot tell": 1}
    _, page = page_of(invoke, tmp_path, records)
    row = page[page.index(f"id='claim-{name}'") :].split("</tr>")[0]
    assert re.findall(r"(\w+) (\d)", row.split("simulation'>")[1].split("<")[0]) == [
        ("agrees", "2"),
        ("differs", "1"),
        ("inconclusive", "1"),
    ]
    (records / "sim" / "verdicts.jsonl").write_text('{"task": "x 0", "verdicts": [{"verdict": "perhaps"}]}\n')
    refuses(main, "--records", records, "--out", tmp_path / "no", says=["line 1", "verdict"])
    assert not (tmp_path / "no").exists()


def test_bad_input_is_refused(toy, refuses, records, tmp_path):
    refuses(main, "--records", tmp_path / "nothing", says=["nothing"])
    (tmp_path / "empty").mkdir()
    refuses(main, "--records", tmp_path / "empty", says=["empty"])
    (tmp_path / "file").write_text("kept")
    refuses(main, "--records", records, "--out", tmp_path / "file")
    (records / "deep" / "records.jsonl").write_text('{"source": "deep"}\n')
    refuses(main, "--records", records, "--out", tmp_path / "out", says=["line 1"])
    assert not (tmp_path / "out").exists() and (tmp_path / "file").read_text() == "kept"


def test_the_committed_verdicts_are_those_of_the_statements():
    verdicts = read_verdicts([command.COMMITTED])
    for name, statement in statements().items():
        counts = verdicts[name]
        assert sum(counts.values()) >= 5 and (counts["differs"] > 0) == (statement.status == "refuted"), name


def test_a_simulation_that_is_there_twice_is_refused(records, tmp_path, refuses):
    """In one file, in a copy of it, and where folders overlap: it would be counted twice."""
    file = records / "sim" / "records.jsonl"
    once = file.read_text()
    for argv in ([records, records / "sim"], [records, records]):
        refuses(main, "--records", *argv, "--out", tmp_path / "out", says=["twice"])
    shutil.copytree(records / "sim", records / "copy")
    refuses(main, "--records", records, "--out", tmp_path / "out", says=["twice"])
    shutil.rmtree(records / "copy")
    file.write_text(once + once.splitlines(keepends=True)[0])
    refuses(main, "--records", records, "--out", tmp_path / "out", says=["twice"])
    file.write_text(once)
    verdicts = records / "sim" / "verdicts.jsonl"
    first = verdicts.read_text().splitlines(keepends=True)[0]
    (records / "deep" / "verdicts.jsonl").write_text(first)
    refuses(main, "--records", records, "--out", tmp_path / "out", says=["twice", "line 1", str(verdicts)])


def test_only_what_changed_is_drawn_again(toy, records, invoke, tmp_path, monkeypatch):
    """By the content of the records and of the files that are there; the page is then as one made anew."""
    drawn = []
    monkeypatch.setattr(
        Toy, "draw", staticmethod(lambda data, draw=Toy.draw: drawn.append(data.key) or draw(data))
    )
    first = page_of(invoke, tmp_path, records)
    assert len(drawn) == 2
    assert page_of(invoke, tmp_path, records) == first and len(drawn) == 2
    picture = next((tmp_path / "out").glob("*.svg"))
    picture.write_text("by hand")
    assert page_of(invoke, tmp_path, records) == first and len(drawn) == 3
    assert picture.read_text() != "by hand"
    (tmp_path / "out" / LIST).write_text("{")
    assert page_of(invoke, tmp_path, records) == first and len(drawn) == 5
    shutil.rmtree(records / "sim")
    _, page = page_of(invoke, tmp_path, records)
    assert page != first[1] and len(drawn) == 5
    monkeypatch.setattr(Toy, "compute", staticmethod(lambda archive: [Toy.Data("b")]))
    (records / "deep" / "note").write_text("another file")
    page_of(invoke, tmp_path, records)
    assert drawn[5:] == ["b"] and [p.stem for p in (tmp_path / "out").glob("*.png")] == ["toy_b"]


def test_progress_is_a_line_a_figure_and_quiet_is_silent(toy, records, invoke, tmp_path, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "0")
    _, _, told = invoke(main, "--records", records, "--out", tmp_path / "a")
    assert len(re.findall(r"^figure \d of 2: toy", told, flags=re.MULTILINE)) == 2
    for _ in range(2):
        _, _, told = invoke(main, "--records", records, "--out", tmp_path / "b", "--quiet")
        assert told == ""


def test_a_drawing_within_a_page_keeps_its_text_and_has_ids_of_its_own():
    figure = Figure(figsize=(2, 2))
    axes = figure.add_subplot()
    axes.errorbar([0, 1], [0, 1], [0.1, 0.1], marker="o", label="a < b")
    axes.bar([0, 1], [1, 1], hatch="//")  # its pattern is named within a style
    figure.legend()
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg")
    one, other = (inline(buffer.getvalue(), name, "x") for name in ("f1", "f2"))
    assert ">a &lt; b</text>" in one and len(one) < 0.5 * len(buffer.getvalue())
    assert 'fill="#1f77b4"' in one or "fill=#1f77b4" in one  # of the pattern: a colour is no id
    ids = [set(re.findall(r" id=\"?([\w-]+)", text)) for text in (one, other)]
    assert ids[0] and not ids[0] & ids[1]
    for text, own in zip((one, other), ids, strict=True):
        assert (
            set(re.findall(r"#([\w-]+)\)", text)) <= own and set(re.findall(r" href=#([\w-]+)", text)) <= own
        )
