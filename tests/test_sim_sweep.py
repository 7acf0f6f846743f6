"""Sweeps of named studies: interrupted ones go on, and a study that is not as it should be is seen."""

import dataclasses
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sim import sweep
from sim.studies import frl as frl_study
from sim.studies import studies
from sim.studies import tasks as tasks_module
from sim.studies.study import SimulationStudy, StudyOutcome
from sim.studies.tasks import execute, tasks
from sim.testing.bands import BUDGET, NamedVerdict, judge
from sim.verdicts import Summary, report
from theory.common.inputs import InputError
from theory.gaussian.constrained import frl
from theory.theorems import statements

FAST = ["ours_estimate_of_K", "tsipras2019_theorem_2_1_any_p", "tsipras2019_theorem_2_2"]
COMMAND = ["--study", *FAST, "--settings", "3", "--jobs", "1"]


def lines(folder):
    return [json.loads(line) for line in (folder / "verdicts.jsonl").read_text().splitlines()]


def timeless(found):
    return [{k: v for k, v in line.items() if k != "seconds"} for line in found]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    assert sweep.main([*COMMAND, "--out", str(folder)]) == 0
    return folder


def test_every_statement_is_a_study(invoke):
    assert set(statements()) < set(studies()) and {"grid", "frl"} <= set(studies())
    code, out, _ = invoke(sweep.main, "--study", "all", "--dry-run")
    assert code == 0 and all(name in out for name in studies()) and "workers" in out


def test_an_interrupted_sweep_loses_and_doubles_nothing(finished, tmp_path, invoke):
    """A sweep killed at any byte of its file goes on to the same verdicts."""
    content = (finished / "verdicts.jsonl").read_bytes()
    for cut in (0, 1, len(content) // 3, content.index(b"\n") + 1, len(content) - 1, len(content)):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / "sweep.json").write_bytes((finished / "sweep.json").read_bytes())
        (folder / "verdicts.jsonl").write_bytes(content[:cut])
        code, _, err = invoke(sweep.main, *COMMAND, "--out", folder)
        assert code == 0 and timeless(lines(folder)) == timeless(lines(finished))
        assert lines(folder)[: content[:cut].count(b"\n")] == lines(finished)[: content[:cut].count(b"\n")]
        assert ("there already" in err) == (b"\n" in content[:cut])


def test_verdicts_do_not_depend_on_jobs(finished, tmp_path):
    assert sweep.main([*COMMAND[:-1], "2", "--out", str(tmp_path)]) == 0
    assert timeless(lines(tmp_path)) == timeless(lines(finished))


def test_a_task_that_is_there_twice_is_refused(finished, tmp_path, refuses):
    """As two sweeps left it that wrote at once; the line is named."""
    (tmp_path / "sweep.json").write_bytes((finished / "sweep.json").read_bytes())
    first, *others = (finished / "verdicts.jsonl").read_text().splitlines(keepends=True)
    for doubled in ([first, first, *others], [first, *others, first]):
        (tmp_path / "verdicts.jsonl").write_text("".join(doubled))
        refuses(
            sweep.main, *COMMAND, "--out", tmp_path, says=["twice", f"line {doubled[1:].index(first) + 2}"]
        )
        with pytest.raises(InputError, match="twice"):
            report(tmp_path)
        assert (tmp_path / "verdicts.jsonl").read_text() == "".join(doubled)


def test_a_full_disk_names_the_file_of_verdicts(tmp_path, refuses, monkeypatch):
    class Full(io.FileIO):
        def write(self, content):
            raise OSError(28, "No space left on device")

    original = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, *a, **k: Full(path, "ab") if a == ("ab",) else original(path, *a, **k)
    )
    refuses(sweep.main, *COMMAND, "--out", tmp_path, says=["No space left", str(tmp_path / "verdicts.jsonl")])


def test_the_budget_is_shared():
    todo = list(tasks(FAST, 3, 0, {}))
    assert sum(task.alpha for task in todo) <= BUDGET * 1.0001
    assert [task.key for task in todo[:4]] == [*(f"{FAST[0]} {i}" for i in range(3)), f"{FAST[1]} 0"]


def test_a_damaged_or_foreign_file_is_refused(finished, tmp_path, refuses):
    (tmp_path / "sweep.json").write_bytes((finished / "sweep.json").read_bytes())
    for content in ("{}\n", "nonsense\n", '{"task": "grid 0"}\n', "\x00\n"):
        (tmp_path / "verdicts.jsonl").write_text(content)
        refuses(sweep.main, *COMMAND, "--out", tmp_path, says=["verdicts.jsonl"])
        assert (tmp_path / "verdicts.jsonl").read_text() == content
    (tmp_path / "sweep.json").write_text('{"id": "another"}')
    refuses(sweep.main, *COMMAND, "--out", tmp_path, says=["other settings"])


@pytest.mark.parametrize(
    "argv, says",
    [
        (["--study", "nonsense"], ["nonsense", "frl"]),
        (["--K", "1e-320"], ["K sigma"]),
        (["--K", "1e160", "--sigma", "1e160"], ["K sigma"]),
        (["--study", "frl", "--K", "2"], ["--study"]),
        (["--study", "frl", "--settings", "0"], ["0"]),
        (["--backend", "mpi"], ["mpi", "loky"]),
    ],
)
def test_bad_requests_are_refused(refuses, argv, says):
    refuses(sweep.main, *argv, says=says)


def test_a_backend_that_is_not_installed_is_refused(refuses, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.util", None)
    monkeypatch.setitem(sys.modules, "ray.util.joblib", None)
    refuses(sweep.main, *COMMAND, "--backend", "ray", "--out", tmp_path, says=["pip install", "ray"])


def test_dask_gives_the_same_verdicts(finished, tmp_path):
    pytest.importorskip("distributed")
    argv = [sys.executable, "-W", "ignore", "-m", "sim.sweep", *COMMAND[:-1], "2", "--backend", "dask"]
    done = subprocess.run([*argv, "--out", str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert timeless(lines(tmp_path)) == timeless(lines(finished))


def summary(predicted, claims, refuted):
    verdicts = [{"claim": False, "verdict": v, "p_value": 0.5, "detectable": 0.01} for v in predicted]
    verdicts += [{"claim": True, "verdict": v} for v in claims]
    out = Summary()
    out.add({"seconds": 1.0, "verdicts": verdicts})
    return out.conclusion(SimulationStudy(summary="", settings=lambda n, rng: [], run=None, refuted=refuted))


def test_conclusions():
    assert summary(["agrees"], ["agrees"], False) == "agrees"
    assert summary(["agrees"], ["cannot tell"], False) == "cannot tell"
    assert summary(["agrees"], ["differs"], False) == "DIFFERS"
    assert summary(["differs"], ["agrees"], False) == "DIFFERS"
    assert summary(["agrees"], ["differs", "agrees"], True) == "refuted"
    assert summary(["agrees"], ["agrees", "differs"], True) == "NOT REFUTED"
    assert summary(["differs"], ["differs"], True) == "DIFFERS"


def test_a_study_that_differs_makes_the_sweep_fail(monkeypatch, tmp_path, invoke):
    wrong = SimulationStudy(
        summary="A coin that is not fair.",
        settings=lambda n, rng: [{"p": 0.5}],
        run=lambda s, rng, alpha: StudyOutcome(
            [NamedVerdict("heads", judge(0.5, (0.5, 0.5), 600, 1000, alpha))]
        ),
    )
    monkeypatch.setattr(tasks_module, "studies", lambda: {"coin": wrong})
    monkeypatch.setattr(sweep, "studies", lambda: {"coin": wrong})
    monkeypatch.setattr("sim.verdicts.studies", lambda: {"coin": wrong})
    code, out, _ = invoke(sweep.main, "--study", "coin", "--jobs", 1, "--out", tmp_path)
    assert code == 1 and "DIFFERS" in out


@pytest.mark.parametrize("i", [0, 3, 5])
def test_dual_ascent_does_what_theory_says(i):
    outcome = frl_study.run(frl_study.SETTINGS[i], np.random.default_rng(i), 1e-7)
    assert {c.verdict.verdict for c in outcome.comparisons} == {"agrees"}


def test_a_wrong_solution_of_the_dual_is_seen(monkeypatch):
    monkeypatch.setattr(frl_study, "frl", lambda m, sigma, K, tau: frl(m, sigma, 1.2 * K, tau))
    outcome = frl_study.run(frl_study.SETTINGS[1], np.random.default_rng(1), 1e-7)
    assert "differs" in {c.verdict.verdict for c in outcome.comparisons}
    gap = {**frl_study.SETTINGS[0], "loss": "0/1"}  # settles, where a gap is claimed
    monkeypatch.setattr(
        frl_study, "frl", lambda *s: dataclasses.replace(frl(*s), duality_gap=np.asarray(True))
    )
    outcome = frl_study.run(gap, np.random.default_rng(1), 1e-7)
    assert "differs" in {c.verdict.verdict for c in outcome.comparisons}


def test_a_line_has_all_it_takes():
    line = execute(next(iter(tasks(["ours_estimate_of_K"], 1, 3, {}))))
    assert json.loads(json.dumps(line, allow_nan=False)) == line
    assert {"task", "setting", "seed", "alpha", "seconds", "verdicts"} <= set(line)
