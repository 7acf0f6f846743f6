import re

import numpy as np
import pytest
from test_theory_errors import run_records

from paper_figs import class_errors
from paper_figs.__main__ import main
from paper_figs.report import verdict_table
from paper_figs.simulated import RULES
from sim import experiment, sweep
from theory.comparison import comparisons
from theory.record import read_records, to_jsonl, write_atomic


@pytest.fixture
def records(invoke, tmp_path, monkeypatch):
    """Return a folder with records of a small sweep and of runs of two methods."""
    monkeypatch.setattr(experiment, "SAMPLES", {"threshold": (5000, 5000), "logistic": (2000, 5000)})
    folder = tmp_path / "records"
    invoke(sweep.main, "--K", 1.5, 2, "--eps", 0.1, 0.2, "--jobs", 1, "--out", folder / "sim")
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


def test_bars_are_means_over_seeds(records):
    (comparison,) = comparisons(read_records(records))
    bars = class_errors.compute(comparison)
    np.testing.assert_allclose(bars.heights["robust_error"]["PGD"][:, 0], [31, 70])
    figure = class_errors.draw(bars)
    heights = sorted(round(p.get_height()) for p in figure.axes[1].patches)
    assert heights == [31, 40, 59, 70]


def test_verdict_table_counts_verdicts(records):
    table = verdict_table(read_records(records))
    assert {row[0] for row in table.rows} == {f"{t}-{r}" for t in ("natural", "adversarial") for r in RULES}
    assert sum(int(row[1]) for row in table.rows) == 2 * 2 * 2 * 7


def test_the_page_needs_nothing_else(records, invoke, tmp_path):
    code, out, _ = invoke(main, "--records", records, "--out", tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert code == 0 and str(tmp_path / "out" / "report.html") in out
    assert not re.search(r"""(?:src|href)=['"](?!data:)""", page) and "url(" not in page
    assert page.count("<img") == 2 and "FRL both - PGD" in page and "Theory against simulation" in page
    assert {p.suffix for p in (tmp_path / "out").iterdir()} == {".svg", ".png", ".html"}


def test_what_is_missing_is_said_with_its_command(records, invoke, tmp_path):
    code, _, _ = invoke(main, "--records", records / "sim", "--out", tmp_path / "out")
    assert code == 0 and "python -m deep.train" in (tmp_path / "out" / "report.html").read_text()


def test_bad_input_is_refused(refuses, records, tmp_path):
    refuses(main, "--records", tmp_path / "nothing", says=["nothing"])
    (tmp_path / "empty").mkdir()
    refuses(main, "--records", tmp_path / "empty", says=["empty"])
    (tmp_path / "file").write_text("kept")
    refuses(main, "--records", records, "--out", tmp_path / "file")
    (records / "deep" / "records.jsonl").write_text('{"source": "deep"}\n')
    refuses(main, "--records", records, "--out", tmp_path / "out", says=["line 1"])
    kept = read_records(records / "sim")
    lacking = [r for r in kept if r.label != "+1"]
    write_atomic(records / "deep" / "records.jsonl", "")
    write_atomic(records / "sim" / "records.jsonl", to_jsonl(lacking))
    refuses(main, "--records", records, "--out", tmp_path / "out", says=["no record of", "+1"])
    assert not (tmp_path / "out").exists()
