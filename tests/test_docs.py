"""What the documents say can be done, done."""

import dataclasses
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from paper_figs.archive import read_archive
from paper_figs.drawing import draw
from paper_figs.figures import repaired
from paper_figs.tables import RECORDS, auto_attack, brief, tables, with_margins
from theory.networks.predictions import predictions
from theory.results.counts import exact_interval
from theory.results.findings import LARGEST, WORST, findings
from theory.results.study import read_studies

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


def test_a_method_added_as_the_document_says_has_flags_tests_and_a_row(tmp_path):
    for name in ("theory", "deep", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (code,) = blocks(section(ROOT / "CONTRIBUTING.md", "Add a method"), "python")
    (tmp_path / "deep" / "methods" / "smooth.py").write_text(code)
    runs = {"smooth": ["--method", "smooth", "--smoothing", "0.2"], "pgd": ["--method", "pgd"]}
    for name, words in runs.items():
        python(tmp_path, "deep.train", *words, *SMALL, "--out", f"runs/{name}")
    assert "SMOOTH" in python(tmp_path, "deep.compare", "runs")
    tried = python(tmp_path, "pytest", "-q", "-k", "smooth", "tests/test_deep_methods.py")
    assert re.search(r"[3-9] passed", tried), tried


DOCUMENTS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))


def commands(language="sh( quick)?"):
    """Return every command of Python in the blocks of a language, as one line without its comment."""
    lines = []
    for path in DOCUMENTS:
        for block in re.findall(
            rf"^```{language}\n(?P<text>.*?)^```$", path.read_text(), re.DOTALL | re.MULTILINE
        ):
            text = block[-1] if isinstance(block, tuple) else block
            lines += [line.split("#")[0].strip() for line in text.replace("\\\n", " ").splitlines()]
    return [line for line in dict.fromkeys(lines) if line.startswith("python -m ")]


@pytest.fixture(scope="module")
def help_of():
    """Return a function that says what --help of a command prints, method and preset included."""
    told = {}

    def ask(words):
        key = tuple(words)
        if key not in told:
            told[key] = python(ROOT, *words, "--help")
        return told[key]

    return ask


def test_documents_have_commands_of_both_kinds():
    assert len(commands("sh quick")) >= 5 and len(commands()) >= len(commands("sh quick")) + 15


@pytest.mark.parametrize("command", commands())
def test_the_flags_of_a_command_exist(command, help_of):
    module, *words = shlex.split(command)[2:]
    chosen = [w for flag in ("--method",) if flag in words for w in (flag, words[words.index(flag) + 1])]
    first = words[:1] if module == "theory" else []
    flags = {w.split("=")[0] for w in words if w.startswith("--")}
    allowed = set(re.findall(r"--[a-zA-Z][a-zA-Z-]*", help_of((module, *first, *chosen))))
    assert flags <= allowed
    assert "--no-such-flag" not in allowed


@pytest.mark.parametrize("command", commands("sh quick"))
def test_a_command_that_is_marked_quick_works(command, tmp_path):
    assert python(tmp_path, *shlex.split(command)[2:])


def test_the_example_of_the_guide_works():
    (code,) = blocks((ROOT / "docs" / "guide.md").read_text(), "python")
    exec(compile(code, "guide", "exec"), {})


def test_the_notebook_runs_and_repairs(capsys):
    """Its cells, one after the other in one namespace; they have no outputs that could be out of date."""
    cells = json.loads((ROOT / "docs" / "notebooks" / "tour.ipynb").read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 4 and all(cell["outputs"] == [] for cell in code)
    names = {}
    for cell in code:
        exec(compile("".join(cell["source"]), "tour.ipynb", "exec"), names)
    assert names["robust"][0] > names["fair"][0] == pytest.approx(names["fair"][1])
    assert len(names["repaired"].offsets) == 10 and "worst" in capsys.readouterr().out


def test_the_grid_of_the_documents_is_one(tmp_path):
    (grid,) = blocks((ROOT / "docs" / "grid.md").read_text(), "toml")
    (tmp_path / "grid.toml").write_text(grid)
    shown = python(tmp_path, "deep.grid", "grid.toml", "--out", "runs", "--dry-run")
    assert len([line for line in shown.splitlines() if "--method" in line]) == 3 * (2 + 1 + 1)


def test_the_tables_of_the_results_are_those_of_the_records():
    document = (ROOT / "docs" / "results.md").read_text()
    found = [*tables(RECORDS)]
    assert len(found) >= 3
    for table in found:
        assert table.markdown() in document, table.title
    assert found[0].markdown().replace("| PGD |", "| FGSM |", 1) not in document  # the check can fail


def test_the_tables_of_the_readme_are_those_of_the_records():
    studies = {named(s.comparison): s for s in read_studies(RECORDS)}
    for data, least in (("digits", 10), ("cifar10", 3)):
        table = brief(studies[data]).markdown().split("\n\n")[1]
        assert len(table.splitlines()) >= 2 + least and table in (ROOT / "README.md").read_text()
        assert table.replace("PGD", "FGSM", 1) not in (ROOT / "README.md").read_text()


def test_what_the_readme_says_of_the_link_is_in_the_records():
    margins = (with_margins(t) for t in read_archive(RECORDS).trained if named(t.comparison) == "cifar10")
    ((*_, rank, explained, _),) = (row for table in margins for row in table.rows if row[0] == "PGD")
    text = " ".join((ROOT / "README.md").read_text().split())
    assert f"rank correlation {rank} and explained variance {explained} (" in text
    assert rank != explained


def coordinates(svg):
    """Return every number of the paths of a drawing, its bars and whiskers among them."""
    return np.array([float(n) for d in re.findall(r' d="([^"]*)"', svg) for n in re.findall(r"-?[\d.]+", d)])


def test_the_picture_of_the_readme_is_drawn_from_the_records():
    """Else copy it to docs/ from what ``python -m paper_figs`` draws."""
    kept = (ROOT / "docs" / "repaired.svg").read_text()
    if f"Matplotlib v{metadata.version('matplotlib')}," not in kept:
        pytest.skip("another version of matplotlib draws it a little differently")
    (data,) = (d for d in repaired.compute(read_archive(RECORDS)) if d.classes[0] == "airplane")
    now = coordinates(draw(repaired, data, "repaired").svg.decode())
    assert "docs/repaired.svg" in (ROOT / "README.md").read_text()
    np.testing.assert_allclose(coordinates(kept), now, atol=1e-3)
    lower = {m: 0.9 * v for m, v in data.heights["robust_error"].items()}
    other = dataclasses.replace(data, heights={**data.heights, "robust_error": lower})
    assert np.abs(coordinates(draw(repaired, other, "repaired").svg.decode()) - now).max() > 1


def results():
    """Return the prose of the README's results: what is left without the tables."""
    text = (ROOT / "docs" / "results.md").read_text()
    for table in tables(RECORDS):
        text = text.replace(table.markdown(), "")
    return text


def test_the_prose_of_the_results_has_no_number_of_its_own():
    prose = re.sub("CIFAR-10|cifar10|8 x 8", "", results())
    assert "|" not in prose and not re.findall(r"\d", prose)


def named(comparison):
    """Return the data set of a protocol; a pilot on a part of it has a name of its own."""
    return comparison.protocol["dataset"] + " pilot" * ("train_per_class" in comparison.protocol)


@pytest.fixture(scope="module")
def found():
    """Return by data set the study, and by data set and method what deep.link left of each run."""
    told = {named(study.comparison): study for study in read_studies(RECORDS)}
    trained = {named(t.comparison): t.runs for t in read_archive(RECORDS).trained}
    links = {
        (data, label): [run.margins for run in runs if run.margins is not None]
        for data, methods in trained.items()
        for label, runs in methods.items()
    }
    return told, {key: some for key, some in links.items() if some}


def test_what_is_said_of_digits_is_in_the_records(found):
    study = found[0]["digits"]
    changes = findings(study)
    worst = {f.method: f for f in changes if f.name == WORST}
    resolved = {label for label, f in worst.items() if f.resolved}
    assert all(worst[label].change.mean < 0 for label in resolved)
    after = {label for label in worst if label.endswith(" + offsets")}
    assert resolved - after == {
        *(
            "WAT beta=6 rate=0.1",
            "WAT beta=6 rate=0.8",
            "FAAL beta=6",
            "FAAL pgd",
            "CODAT beta=6",
            "DAFA pgd",
        ),
        *("FRL both rate_bndy=0.1", "FRL reweight rate_bndy=0.7", "REWEIGHT pgd"),
    }
    assert resolved & after == {f"{base} + offsets" for base in ("PGD", "TRADES beta=1.5", "TRADES beta=6")}
    deeper = {label for label in resolved if worst[label].change.mean < worst["PGD + offsets"].change.mean}
    assert deeper == {"WAT beta=6 rate=0.8"}
    assert all(
        abs(worst[f"{label} + offsets"].change.mean) < 0.06
        for label in ("FAAL beta=6", "FRL both rate_bndy=0.1")
    )
    assert {label for label, f in worst.items() if f.both[0] > 0} == {"BAT beta=6", "FAT beta=6"}
    paid = {f.method for f in changes if f.name == "robust average" and f.resolved and f.change.mean > 0}
    assert paid == {"CODAT beta=6", "BAT beta=6", "WAT beta=6 rate=0.8", "FRL both rate_bndy=0.7"}
    largest = {f.method: f.change.mean for f in changes if f.name == LARGEST}
    assert largest["FRL both rate_bndy=0.7"] > 0.1
    offsets = next(f for f in changes if (f.method, f.name) == ("PGD + offsets", "robust average"))
    assert offsets.both[0] > 0 and not offsets.resolved
    told = [p for p in predictions(study) if p.agree != "cannot tell"]
    assert told and {p.agree for p in told} == {"yes"}
    assert all((p.finding.change.mean > 0) == (p.finding.name == "easy robust") for p in told)
    assert {p.finding.name for p in told} == {"easy robust", "hard robust"}


def test_what_is_said_of_cifar_is_in_the_records(found):
    study = found[0]["cifar10"]
    comparison = study.comparison
    place = comparison.classes.index

    def rates(label, quantity="natural_error"):
        return comparison.rates(label, quantity)[0]

    pgd = {q: rates("PGD", q) for q in ("natural_error", "robust_error")}
    assert all(pgd[q].argmax() == place("cat") and pgd[q].argmin() == place("automobile") for q in pgd)
    published = {"automobile": (0.07, 0.33), "cat": (0.41, 0.83)}
    beyond = {name: np.array([pgd[q][place(name)] for q in pgd]) - published[name] for name in published}
    assert (np.abs(beyond["automobile"]) < 0.02).all() and (beyond["cat"] > 0.05).all()
    natural = rates("natural")
    (errors,) = comparison.runs["natural"].values()
    assert errors.summary()["natural_error"]["gap_p"] < 0.001
    assert natural.mean() < pgd["natural_error"].mean() / 2
    assert spearmanr(natural, pgd["natural_error"]).statistic > 0.9
    change = rates("PGD + offsets", "robust_error") - pgd["robust_error"]
    assert {*pgd["robust_error"].argsort()[-2:]} == {place("cat"), place("deer")}
    fallen, risen = (
        change[[place("cat"), place("deer")]],
        change[[place(c) for c in ("ship", "horse", "frog")]],
    )
    assert (fallen < -0.14).all() and (risen > 0.14).all() and sorted(change)[-3:] == sorted(risen)
    said = {f.name: f.change for f in findings(study) if f.method == "PGD + offsets"}
    assert 0.15 < said["robust average"].mean / -said[LARGEST].mean < 0.25
    assert said["robust average"].over_images()[0] > 0
    low, high = said["natural average"].over_images()
    assert low < 0 < high


def test_what_is_said_of_the_pilot_is_in_the_records(found):
    study = found[0]["cifar10 pilot"]
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
    assert said[WORST].error.label == "bird" and said[LARGEST].change.mean > 0
    told = [p for p in predictions(study) if p.finding.method.split()[0] in ("FRL", "DAFA", "CFA")]
    assert {p.agree for p in told} == {"cannot tell"}
    for name, sign in (("hard robust", -1), ("easy robust", 1)):
        assert {np.sign(p.predicted) for p in told if p.finding.name == name} == {sign}


def test_what_is_said_of_the_link_is_in_the_records(found):
    links = {key: some for key, some in found[1].items() if key[1] != "natural"}
    assert {data for data, _ in links} == {"digits", "mnist pilot", "cifar10 pilot", "cifar10"}

    def values(name, *keys):
        return [one.agreement(name, "robust_error")["value"] for key in keys for one in links[key]]

    assert min(values("rank_correlation", *links)) > 0.7
    cifar = [key for key in links if key[0] in ("cifar10 pilot", "cifar10")]
    assert all(np.mean(values("explained_variance", key)) > 0.75 for key in cifar)
    assert min(values("explained_variance", ("mnist pilot", "PGD"), ("mnist pilot", "FRL both"))) > 0.9
    digits = [one for key in links for one in links[key] if key[0] == "digits"]
    signs = [
        one.details["residual"]["robust_error"][c] > 0 for one in digits for c in one.failures["robust_error"]
    ]
    assert np.mean(signs) > 0.8
    for one in digits:
        free, gaussian = (
            one.details["predictors"][k]["robust_error"] for k in ("each sample", "joint Gaussian")
        )
        assert free["explained_variance"] > gaussian["explained_variance"]
    natural = found[1]["digits", "natural"]
    assert min(min(one.measured["robust_error"]) for one in natural) > 0.9


def test_what_is_said_of_the_theorem_on_networks_is_in_the_records(found):
    natural: dict[str, Counter] = {data: Counter() for data, _ in found[1]}
    repair = Counter()
    for (data, _), links in found[1].items():
        for d in (d for one in links for d in one.details["directions"]):
            if d["against"] == "natural":
                natural[data][d["verdict"]] += 1
            elif d["quantity"] == "robust_error":
                repair[d["verdict"]] += 1

    def share(counts):
        tried = counts["agrees"] + counts["differs"]
        return counts["agrees"] / tried, exact_interval(counts["agrees"], tried)

    assert (natural["digits"]["agrees"], natural["digits"]["differs"]) == (0, 1)
    assert share(natural["mnist pilot"])[0] < 0.5 and share(natural["mnist pilot"])[1][0] < 0.5
    assert abs(share(natural["cifar10 pilot"])[0] - 0.5) < 0.1
    assert share(natural["cifar10"])[1][0] < 0.5 < share(natural["cifar10"])[0]
    assert share(repair)[0] > 0.85 and share(repair)[1][0] > 0.5
