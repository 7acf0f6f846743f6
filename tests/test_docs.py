"""What the documents say can be done, done."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from paper_figs.tables import RECORDS, tables
from theory.__main__ import main as theory_main

ROOT = Path(__file__).parent.parent
SMALL = "--epochs 1 --train-per-class 30 --test-per-class 10 --threads 1".split()


def section(path, heading):
    """Return the text below a heading of second order."""
    return re.split(rf"^## {re.escape(heading)}$", path.read_text(), flags=re.MULTILINE)[1].split("\n## ")[0]


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def python(folder, *words):
    done = subprocess.run(
        [sys.executable, "-m", *map(str, words)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (words, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def test_a_method_added_as_the_readme_says_has_flags_tests_and_a_row(tmp_path):
    for name in ("theory", "deep", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (code,) = blocks(section(ROOT / "README.md", "Add a method"), "python")
    (tmp_path / "deep" / "methods" / "smooth.py").write_text(code)
    runs = {"smooth": ["--method", "smooth", "--smoothing", "0.2"], "pgd": ["--method", "pgd"]}
    for name, words in runs.items():
        python(tmp_path, "deep.train", *words, *SMALL, "--out", f"runs/{name}")
    assert "SMOOTH" in python(tmp_path, "deep.compare", "runs")
    tried = python(tmp_path, "pytest", "-q", "-k", "smooth", "tests/test_deep_methods.py")
    assert re.search(r"[3-9] passed", tried), tried


def commands():
    """Return every command of the README and the guide, as one line without its comment."""
    found = []
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for block in blocks(path.read_text(), "sh"):
            lines = block.replace("\\\n", " ").splitlines()
            found += [" ".join(line.split("#")[0].split()) for line in lines]
    return [line for line in dict.fromkeys(found) if line]


HERE = [
    "python -m theory errors --dim 20 --eta 0.4 --sigma 1 --K 2 --eps 0.16",
    "python -m theory errors --dim 100 --eta 0.13 --sigma 0.95 --K 1.5 --eps 0.05",
    "python -m theory errors --theta 0.3 -0.1 0.2 --sigma 1 --K 2 --eps 0.1 --norm l2 --prior-pos 0.3 "
    "--cost 2 --train-eps 0.15 0.05",
    "python -m theory certify",
    "python -m theory check ours_ratio_above_K",
    "python -m theory latex ours_ratio_above_K",
]
"""Run as they stand, by the test below."""
ELSEWHERE = {
    "python -m theory derive": "test_theory_symbolic.py",
    "python -m theory check": "test_theory_statements.py",
    "python -m sim.sweep": "test_sim_sweep.py",
    "python -m sim.sweep --study ours_ratio_above_K": "test_sim_sweep.py",
    "python -m sim.features --data-dir DIR --pair 5 6": "test_sim_features.py",
    "python -m deep.train --method frl": "test_deep_train.py",
    "python -m deep.report RUN --attacks autoattack": "test_deep_sanity.py",
    "python -m deep.report RUN --attacks pgd targeted autoattack": "test_deep_sanity.py",
    "python -m deep.sanity RUN": "test_deep_sanity.py",
    "python -m deep.grid FILE.toml --jobs 2": "test_deep_grid.py",
    "python -m deep.compare runs/deep": "test_deep_compare.py",
    "python -m deep.link RUN...": "test_deep_link.py",
    "python -m deep.portrait NATURAL ROBUST --out portrait.npz": "test_deep_promote.py",
    "python -m deep.promote RUN... --to DIR": "test_deep_promote.py",
    "python -m paper_figs": "test_figs.py",
    "python -m paper_figs --records runs": "test_figs.py",
    "python -m deep.train --method pgd --dataset cifar10 --data-dir DIR --width 8 --train-per-class 500 "
    "--test-per-class 100 --epochs 10": "test_deep_data.py",
}
"""Run by the tests of a file, on less data."""
REASONS = {
    "make demo": "takes minutes; all that it runs is tested by itself",
    "make test": "is what runs this test",
    "python3 -m venv .venv": "is what CI does before the tests, as are the next two",
    ".venv/bin/python -m pip install -c constraints.txt -e '.[dev]'": "see above",
    ".venv/bin/python -m pytest": "see above",
    "python -m sim.sweep --study all": "takes minutes; the tests run each study with fewer settings",
    "python -m deep.train --method pgd --dataset cifar10 --data-dir DIR": "takes days without a GPU",
    "python -m deep.grid paper_figs/records/fairness.toml --out runs/fairness --jobs 2": "takes 20 minutes",
    "python -m deep.compare runs/fairness": "needs those runs",
    "python -m deep.promote runs/fairness --to paper_figs/records/fairness": "likewise",
}
"""Not run by any test, and why."""


def test_every_command_of_the_documents_is_run_or_says_why_not():
    assert sorted(commands()) == sorted([*HERE, *ELSEWHERE, *REASONS])
    for command, file in ELSEWHERE.items():
        module = command.split()[2].split(".")[-1]
        assert re.search(rf"\b{module}\b", (ROOT / "tests" / file).read_text()), (command, file)


def test_commands_that_take_no_time_work_as_they_stand(invoke):
    for command in HERE:
        code, out, err = invoke(theory_main, *shlex.split(command)[3:])
        assert code == 0 and out and not err, command


def test_the_example_of_the_guide_works():
    (code,) = blocks((ROOT / "docs" / "guide.md").read_text(), "python")
    exec(compile(code, "guide", "exec"), {})


def test_the_tables_of_the_readme_are_those_of_the_records():
    readme = (ROOT / "README.md").read_text()
    found = [*tables(RECORDS)]
    assert len(found) >= 3
    for table in found:
        assert table.markdown() in readme, table.title
    assert found[0].markdown().replace("| 2 |", "| 3 |", 1) not in readme  # the check can fail
