"""What the documents say can be done, done."""

import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from paper_figs.archive import read_archive
from paper_figs.tables import RECORDS, auto_attack, studies, tables
from theory.__main__ import main as theory_main
from theory.networks.predictions import predictions
from theory.results.counts import exact_interval
from theory.results.findings import LARGEST, WORST, findings

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
    "python -m deep.train --train-attack nfgsm": "test_deep_train_attacks.py",
    "python -m deep.train --method trades --train-attack fgsm-rs "
    "--on-collapse stop": "test_deep_train_attacks.py",
    "python -m deep.audit --model package.module:function --weights FILE --data DIR --eps 8/255 "
    "--out audit": "test_deep_audit.py",
    "python -m deep.audit --model FILE.onnx --data FILE.npz --out DIR": "test_deep_audit.py",
    "python -m deep.audit --model mine.nets:make --weights best.safetensors --data images --eps 4/255 "
    "--out audit": "test_deep_audit.py",
    "python -m deep.audit --model model.pt2 --data test.npz --eps 8/255 0.5 --norm linf l2 "
    "--out audit": "test_deep_audit.py",
    "python -m deep.audit --model linear.npz --data test.npz --per-class 50 "
    "--out audit": "test_deep_audit.py",
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


def results():
    """Return the prose of the README's results: what is left without the tables."""
    text = section(ROOT / "README.md", "Results")
    for table in tables(RECORDS):
        text = text.replace(table.markdown(), "")
    return text


def test_the_prose_of_the_results_has_no_number_of_its_own():
    prose = re.sub("CIFAR-10|cifar10|8 x 8", "", results())
    assert "|" not in prose and not re.findall(r"\d", prose)


@pytest.fixture(scope="module")
def found():
    """Return by data set the study, and by data set and method what deep.link left of each run."""
    told = {study.comparison.protocol["dataset"]: study for study in studies(RECORDS)}
    trained = {t.comparison.protocol["dataset"]: t.runs for t in read_archive(RECORDS).trained}
    links = {
        (data, label): [run.link for run in runs if run.link is not None]
        for data, methods in trained.items()
        for label, runs in methods.items()
    }
    return told, {key: some for key, some in links.items() if some}


def test_what_is_said_of_digits_is_in_the_records(found):
    study = found[0]["digits"]
    worst = [f for f in findings(study) if f.name == WORST]
    assert [f.method for f in worst if f.resolved] == ["WAT beta=6 rate=0.8"]
    below = {f.method.split()[0] for f in worst if f.both[1] < 0}
    assert below == {"WAT", "FAAL", "CODAT", "REWEIGHT", "FRL", "DAFA"}
    above = {(f.method.split()[0], f.base) for f in worst if f.both[0] > 0}
    assert above == {("BAT", "TRADES beta=6"), ("FAT", "TRADES beta=6")}
    told = [p for p in predictions(study) if p.agree != "cannot tell"]
    assert told and {p.agree for p in told} == {"yes"}
    assert {p.finding.method.split()[0] for p in told} == {"WAT", "FAAL", "CODAT", "REWEIGHT"}
    assert {p.finding.name for p in told} == {"easy robust"} and all(p.finding.change.mean > 0 for p in told)


def test_what_is_said_of_cifar10_is_in_the_records(found):
    study = found[0]["cifar10"]
    comparison, changes = study.comparison, findings(study)
    place = comparison.classes.index

    def rates(label, quantity):
        return comparison.rates(label, quantity)

    pgd = {q: rates("PGD", q).mean(0) for q in ("natural_error", "robust_error")}
    assert pgd["robust_error"].argmax() == place("cat") and pgd["natural_error"][place("cat")] > 0.95
    assert all(pgd[q][place("automobile")] < pgd[q].mean() for q in pgd)
    apart = [rates(label, "natural_error").std(1) for label in ("PGD", "natural")]
    assert len(apart[0]) == 3 and (apart[0] > apart[1]).all()
    assert not [f for f in changes if f.resolved]
    added = auto_attack(study)
    assert set(added) == set(study.runs) and {cell.split()[-1] for cell in added.values()} == {"(+0.0)"}
    base = next(base for base, method in study.against if method == "FRL both")
    change = (rates("FRL both", "robust_error") - rates(base, "robust_error")).mean(0)
    assert change[place("bird")] < -0.1 and change[place("frog")] > 0
    said = {f.name: f for f in changes if f.method == "FRL both"}
    assert "bird" in said[WORST].words and said[LARGEST].change.mean > 0
    told = [p for p in predictions(study) if p.finding.method.split()[0] in ("FRL", "DAFA", "CFA")]
    assert {p.agree for p in told} == {"cannot tell"}
    for name, sign in (("hard robust", -1), ("easy robust", 1)):
        assert {np.sign(p.predicted) for p in told if p.finding.name == name} == {sign}


def test_what_is_said_of_the_link_is_in_the_records(found):
    links = {key: some for key, some in found[1].items() if key[1] != "natural"}
    assert {data for data, _ in links} == {"digits", "mnist", "cifar10"}

    def values(name, *keys):
        return [one[name]["robust_error"]["value"] for key in keys for one in links[key]]

    assert min(values("rank_correlation", *links)) > 0.7
    cifar = [key for key in links if key[0] == "cifar10"]
    assert all(np.mean(values("explained_variance", key)) > 0.75 for key in cifar)
    assert min(values("explained_variance", ("mnist", "PGD"), ("mnist", "FRL both"))) > 0.9
    digits = [one for key in links for one in links[key] if key[0] == "digits"]
    signs = [
        one["residual"]["robust_error"][c] > 0 for one in digits for c in one["failures"]["robust_error"]
    ]
    assert np.mean(signs) > 0.8
    for one in digits:
        free, gaussian = (one["predictors"][k]["robust_error"] for k in ("each sample", "joint Gaussian"))
        assert free["explained_variance"] > gaussian["explained_variance"]
    natural = found[1]["digits", "natural"]
    assert min(min(one["measured"]["robust_error"]) for one in natural) > 0.9


def test_what_is_said_of_the_theorem_on_networks_is_in_the_records(found):
    natural: dict[str, Counter] = {data: Counter() for data, _ in found[1]}
    repair = Counter()
    for (data, _), links in found[1].items():
        for d in (d for one in links for d in one["directions"]):
            if d["against"] == "natural":
                natural[data][d["verdict"]] += 1
            elif d["quantity"] == "robust_error":
                repair[d["verdict"]] += 1

    def share(counts):
        tried = counts["agrees"] + counts["differs"]
        return counts["agrees"] / tried, exact_interval(counts["agrees"], tried)

    assert set(natural["digits"]) == {"cannot tell"}
    assert share(natural["mnist"])[0] < 0.5 and share(natural["mnist"])[1][0] < 0.5
    assert abs(share(natural["cifar10"])[0] - 0.5) < 0.1
    assert share(repair)[0] > 0.85 and share(repair)[1][0] > 0.5
