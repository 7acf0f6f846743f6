"""Methods side by side: one protocol, the same images and seeds, and nothing claimed within noise."""

import csv
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from deep import compare, grid
from deep.methods import METHODS
from theory.networks.predictions import predictions, theory_table
from theory.results.counts import ClassErrors
from theory.results.findings import WORST, findings, sentences
from theory.results.flags import Evaluation
from theory.results.intervals import paired_interval
from theory.results.paired import Pair, average_over, change_of, holm, largest, pooled_variance
from theory.results.protocols import comparisons
from theory.results.records import records_of, to_jsonl
from theory.results.runs import read_runs
from theory.results.study import rho, study_of

RECORDS = Path(__file__).parent.parent / "paper_figs" / "records"
CLASSES = ("a", "b", "c", "d")
N = 200
"""Test images of each class."""
SETTING = {"dataset": "d", "model": "m", "width": 1, "epochs": 2, "n_train": 3, "eps": 0.1}
NATURAL = (0.05, 0.10, 0.15, 0.2)
ROBUST = (0.3, 0.4, 0.5, 0.6)


def draw(seed, rates=ROBUST, salt=0):
    """Return whether images err without and with an attack; images share luck over methods and seeds."""
    labels = np.repeat(np.arange(len(CLASSES)), N)
    image = np.random.default_rng(99).random(len(labels))
    own = np.random.default_rng([seed, salt]).random(len(labels))
    luck = np.where(np.random.default_rng([seed, salt, 1]).random(len(labels)) < 0.7, image, own)
    return luck < np.array(NATURAL)[labels], luck < np.maximum(np.array(rates), NATURAL)[labels]


def write_run(folder, method, seed, errors, *, extra=None, history=True, flags=True, **more):
    """Write what a run of deep.train leaves for a comparison."""
    natural, robust = errors
    labels = np.repeat(np.arange(len(CLASSES)), N)
    ok = ~np.stack([natural, natural | robust])
    left = Evaluation(("clean", "PGD-20"), np.arange(len(labels)), labels, ok)
    setting = SETTING | {"params": more.get("params", {})} | more.get("setting", {})
    folder.mkdir(parents=True)
    records = records_of(
        left.errors(CLASSES),
        extra or {},
        source="deep",
        setting=setting,
        method=method,
        seed=seed,
        attack=more.get("attack", "PGD-20"),
        provenance=more.get("provenance", {}),
    )
    (folder / "records.jsonl").write_text(to_jsonl(records))
    if flags:
        (folder / "flags.npz").write_bytes(left.to_bytes())
    if history:
        line = {"epoch": 1, "robust_error": list(ROBUST)}
        (folder / "history.jsonl").write_text(f"{json.dumps(line)}\n{json.dumps({'epoch': 2})}\n")
    return folder


@pytest.fixture
def runs(tmp_path):
    """Return a folder of runs: PGD; TRADES like it by chance; FAIR, with a better worst class and b worse."""
    folder = tmp_path / "runs"
    cost = {"provenance": {"passes": 11.0, "images_per_second": 500.0}}
    for s in range(5):
        write_run(folder / f"pgd-{s}", "pgd", s, draw(s), **cost)
        write_run(folder / f"trades-{s}", "trades", s, draw(s, salt=1), params={"beta": 6.0})
        write_run(
            folder / f"fair-{s}",
            "fair",
            s,
            draw(s, (0.3, 0.6, 0.5, 0.3), salt=2),
            params={"base": "trades", "beta": 6.0},
            extra={"weights": [1.0, 1.0, 1.0, 2.0], "radii": [1.0, 1.0, 1.0, 1.1]},
        )
    return folder


def studied(folder, **more):
    measured = read_runs([folder])
    (comparison,) = comparisons(r for run in measured for r in run.records)
    return study_of(comparison, measured, **more)


def test_a_true_change_is_found_and_none_is_called_noise(runs):
    study = studied(runs)
    assert study.against == [("PGD", "TRADES beta=6"), ("TRADES beta=6", "FAIR beta=6")]
    found = {(f.method.split()[0], f.name): f for f in findings(study)}
    worst = found["FAIR", "worst class"]
    assert worst.error.label == "d" and worst.resolved
    assert worst.both[0] < -0.3 < worst.both[1] < 0 and worst.change.mean == pytest.approx(-0.3, abs=0.04)
    for name in ("worst class", "robust average", "natural average", "largest of a class"):
        assert not found["TRADES", name].resolved and "not significant" in found["TRADES", name].phrase
    assert not found["FAIR", "natural average"].resolved
    trades, fair = sentences(study, [*found.values()])
    assert "falls by" not in trades and "rises" not in trades
    assert re.findall(r"(falls|rises) by (\d\d\.\d) points", fair.split("of d", 1)[1])[0] == (
        "falls",
        f"{-100 * worst.change.mean:.1f}",
    )


def test_what_was_measured_is_what_is_said(runs):
    """The change is the mean over seeds of the difference of counted rates."""
    study = studied(runs)
    (f,) = (f for f in findings(study) if f.method.startswith("FAIR") and f.name == "largest of a class")
    rates = [study.comparison.rates(m, "robust_error").max(axis=1) for m in ("FAIR beta=6", "TRADES beta=6")]
    assert f.change.seeds == pytest.approx(rates[0] - rates[1])
    (f,) = (f for f in findings(study) if f.method.startswith("FAIR") and f.name == "worst class")
    d = [study.comparison.rates(m, "robust_error")[:, 3] for m in ("FAIR beta=6", "TRADES beta=6")]
    assert f.change.seeds == pytest.approx(d[0] - d[1])


def test_the_files_and_the_printed_tables(runs, invoke, tmp_path):
    code, out, err = invoke(compare.main, runs, "--out", tmp_path / "out")
    assert (code, err) == (0, "")
    for word in ("Methods. d: m", "Against TRADES beta=6", "Two-group proxy", "not significant", "Holm"):
        assert word in out
    assert [*re.finditer(r"^class +\|", out, re.M)][-1].start() > out.index(
        "FAIR beta=6 against"
    )  # comes last
    said = json.loads((tmp_path / "out" / "compare.json").read_text())
    (block,) = said["protocols"]
    assert (
        block["methods"]["PGD"]["images_per_second"] == 500
        and "passes" not in block["methods"]["FAIR beta=6"]
    )
    assert set(block["methods"]["FAIR beta=6"]["rho"]) == {"TRADES beta=6"}
    assert len(block["verdicts"]) == 2 and all(len(c["over_both"]) == 2 for c in block["changes"])
    rows = list(csv.DictReader((tmp_path / "out" / "compare.csv").read_text().splitlines()))
    value = next(r for r in rows if (r["method"], r["seed"], r["name"]) == ("PGD", "0", "robust worst error"))
    assert float(value["value"]) == pytest.approx(draw(0)[1][3 * N :].mean())
    assert {p.suffix for p in (tmp_path / "out").iterdir()} == {".json", ".csv", ".md", ".tex"}
    assert "| FAIR beta=6 | robust error of d" in (tmp_path / "out" / "compare.md").read_text()


@pytest.mark.parametrize(
    "changed, says",
    [
        ({"setting": {"epochs": 3}}, "epochs (2; 3)"),
        ({"setting": {"imbalance": 10.0}}, "imbalance (none; 10.0)"),
        ({"attack": "PGD-10"}, "attack (PGD-20; PGD-10)"),
    ],
)
def test_protocols_are_not_mixed(tmp_path, refuses, invoke, changed, says):
    write_run(tmp_path / "one", "pgd", 0, draw(0))
    write_run(tmp_path / "two", "frl", 1, draw(1), **changed)
    refuses(
        compare.main, tmp_path, says=[says, str(tmp_path / "one"), str(tmp_path / "two"), "--each-protocol"]
    )
    code, out, _ = invoke(compare.main, tmp_path, "--each-protocol", "--out", tmp_path / "out")
    assert code == 0 and out.count("Methods.") == 2
    assert len(json.loads((tmp_path / "out" / "compare.json").read_text())["protocols"]) == 2


def test_what_may_differ(tmp_path, invoke):
    write_run(tmp_path / "one", "pgd", 0, draw(0), setting={"threads": 1})
    write_run(tmp_path / "two", "pgd", 0, draw(0, salt=1), setting={"threads": 2, "init": "abc"})
    write_run(tmp_path / "three", "trades", 1, draw(1), params={"beta": 6.0})
    code, out, _ = invoke(compare.main, tmp_path)
    assert code == 0 and "PGD init=abc" in out and "PGD init=None" in out


def test_flags_and_histories_of_something_else_are_refused(runs, refuses):
    other = runs / "pgd-0" / "flags.npz"
    kept = other.read_bytes()
    other.write_bytes((runs / "fair-1" / "flags.npz").read_bytes())
    refuses(compare.main, runs, says=["pgd-0", "counts"])
    left = Evaluation.read(runs / "pgd-1" / "flags.npz")
    other.write_bytes(kept)
    moved = Evaluation(left.attacks, left.index + 1, left.labels, left.ok)
    (runs / "pgd-1" / "flags.npz").write_bytes(moved.to_bytes())
    refuses(compare.main, runs, says=["pgd-1", "trades-1", "same samples"])
    (runs / "pgd-1" / "flags.npz").write_bytes(left.to_bytes())
    (runs / "pgd-1" / "history.jsonl").write_text('{"epoch": 1, "robust_error": [0.1, "x"]}\n')
    refuses(compare.main, runs, says=["history.jsonl, line 1", "4 numbers"])
    (runs / "pgd-1" / "history.jsonl").unlink()
    refuses(compare.main, runs, "--base", "NOTHING", says=["--base", "NOTHING"])
    records = runs / "fair-0" / "records.jsonl"
    text = records.read_text()
    for old, new, word in (
        ('"radii": 1.0', '"radii": "x"', "radii"),
        ('"eps": 0.1', '"eps": NaN', "finite"),
    ):
        records.write_text(text.replace(old, new))
        refuses(compare.main, runs, says=["fair-0", word])


def test_without_flags_seeds_are_paired(tmp_path, invoke):
    for s in range(2):
        write_run(tmp_path / f"pgd-{s}", "pgd", s, draw(s), flags=False)
        write_run(tmp_path / f"trades-{s}", "trades", s, draw(s, salt=1), flags=False, params={"beta": 6.0})
    code, out, _ = invoke(compare.main, tmp_path)
    assert code == 0 and out.count("flags.npz") == 1


def test_one_seed_tells_nothing_and_no_history_no_worst_class(tmp_path, invoke):
    write_run(tmp_path / "pgd", "pgd", 0, draw(0), history=False)
    write_run(tmp_path / "trades", "trades", 0, draw(0, (0, 0, 0, 0), salt=1), params={"beta": 6.0})
    code, out, _ = invoke(compare.main, tmp_path)
    changes = findings(studied(tmp_path))
    assert code == 0 and changes and {len(f.change.seeds) for f in changes} == {1}
    assert all(np.isnan(f.both).all() and not f.resolved for f in changes)
    assert WORST not in {f.name for f in changes} and "of d" not in out


def test_each_method_has_its_own_base(tmp_path):
    write_run(tmp_path / "0", "natural", 0, draw(0))
    write_run(tmp_path / "1", "pgd", 0, draw(0))
    for i, beta in enumerate((1.0, 6.0)):
        write_run(tmp_path / f"t{i}", "trades", 0, draw(0), params={"beta": beta})
    write_run(tmp_path / "2", "frl", 0, draw(0), params={"beta": 1.5, "variant": "both"})
    write_run(tmp_path / "3", "cfa", 0, draw(0), params={"beta": 6.0, "base": "trades"})
    write_run(tmp_path / "4", "cfa", 0, draw(0), params={"beta": 6.0, "base": "pgd"})
    write_run(tmp_path / "5", "other", 0, draw(0))
    pairs = {(m, b) for b, m in studied(tmp_path).against}
    assert pairs == {
        ("TRADES beta=1", "PGD"),
        ("TRADES beta=6", "PGD"),
        ("FRL both", "TRADES beta=1"),
        ("CFA beta=6", "TRADES beta=6"),
        ("CFA pgd", "PGD"),
        ("OTHER", "PGD"),
    }
    given = studied(tmp_path, names=["trades"]).against
    assert ("TRADES beta=1", "PGD") in given and ("TRADES beta=6", "TRADES beta=1") not in given


def test_theory_agrees_and_disagrees(runs, tmp_path):
    told = {p.finding.name: p for p in predictions(studied(runs))}
    assert set(told) == {"hard natural", "hard robust", "easy natural", "easy robust"}
    hard, easy = told["hard robust"], told["easy robust"]
    assert hard.action.odds == pytest.approx(1.5) and hard.action.radii == pytest.approx((1.05, 1.0))
    assert hard.predicted < 0 < easy.predicted and (hard.agree, easy.agree) == ("yes", "yes")
    assert told["hard natural"].agree == "cannot tell"
    for s in range(5):  # one that does the same, by weights for the easy classes: CFA's case
        more = {"params": {"base": "trades", "beta": 6.0, "x": 1.0}, "extra": {"radii": [1.3, 1.3, 0.8, 0.8]}}
        write_run(runs / f"easy-{s}", "easy", s, draw(s, (0.3, 0.6, 0.5, 0.3), salt=2), **more)
        write_run(runs / f"none-{s}", "none", s, draw(s, (0.3, 0.6, 0.5, 0.3), salt=2), params={"beta": 6.0})
    told = predictions(studied(runs))
    assert {p.agree for p in told if p.finding.method == "EASY beta=6" and p.finding.resolved} == {"no"}
    none = [p for p in told if p.finding.method == "NONE beta=6"]
    assert {p.action.kind for p in none} == {"neither"} and {p.predicted for p in none} == {0.0}
    labels = [row[0] for row in theory_table(told).rows]
    assert any(v.startswith("NONE") for v in labels) and not any(v.startswith("TRADES") for v in labels)


TABLE = [  # Lee et al. (2024), CIFAR-10: accuracy, average and worst, and rho; clean, then robust
    (82.97, 71.94, 0.11, 44.68, 25.84, 0.11),
    (79.81, 65.18, -0.04, 50.78, 27.62, 0.32),
    (87.16, 74.02, 0.19, 45.89, 17.82, -0.24),
    (80.97, 70.57, 0.06, 46.30, 28.55, 0.27),
    (81.63, 67.90, 0.03, 49.05, 30.53, 0.42),
]


@pytest.mark.parametrize("row", TABLE)
def test_rho_is_that_of_the_published_table(row):
    def error(percent):
        return 1 - percent / 100

    clean = rho(error(row[1]), error(row[0]), error(65.70), error(82.04))
    robust = rho(error(row[4]), error(row[3]), error(21.31), error(49.80))
    assert (clean, robust) == pytest.approx((row[2], row[5]), abs=0.0051)


def test_rho_of_the_base_is_0_and_nothing_without_accuracy():
    assert rho(0.5, 0.2, 0.5, 0.2) == 0
    assert np.isnan(rho(0.5, 0.2, 1.0, 0.2))


def pair(rng, n=300, change=0.0):
    base = rng.random(n) < 0.4
    method = np.where(rng.random(n) < 0.7, base, rng.random(n) < 0.4 + change)
    return Pair(np.arange(n), np.arange(n) % 3, base, method)


def test_one_seed_has_the_interval_of_pairs():
    one = pair(np.random.default_rng(0))
    for classes, chosen in ((None, slice(None)), ([1], one.labels == 1)):
        lost, won = (~one.base & one.method)[chosen].sum(), (one.base & ~one.method)[chosen].sum()
        change = change_of([one], average_over(classes))
        assert change.mean * one.base[chosen].size == pytest.approx(lost - won)
        truth = paired_interval(lost, won, one.base[chosen].size)
        assert change.over_images() == pytest.approx(tuple(truth), abs=1e-12)
        assert np.isnan(change.p(pooled_variance([change])))


def test_the_same_images_again_add_nothing():
    """Two seeds with equal networks tell of images what one tells; two of other images tell twice as much."""
    one = pair(np.random.default_rng(1))
    other = Pair(one.index + 1000, one.labels, one.base, one.method)
    widths = [np.ptp(change_of(p, average_over()).over_images()) for p in ([one], [one, one], [one, other])]
    assert widths[1] == pytest.approx(widths[0])
    assert widths[2] == pytest.approx(widths[0] / 2**0.5, rel=0.01)


def world(rng, *, shared, methods=4, seeds=3, per_class=60, shift=0.0):
    """Return pairs of methods that differ from their base by chance alone, but for the first one's class 3.

    Images are hard by themselves and for a method; a method and seed is better or worse in a class.
    """
    pool = per_class if shared else 3 * per_class
    image, habit = rng.normal(size=4 * pool), rng.normal(0, 0.4, (methods + 1, 4 * pool))
    out = [[] for _ in range(methods)]
    for _ in range(seeds):
        index = np.concatenate([c * pool + rng.permutation(pool)[:per_class] for c in range(4)])
        labels = index // pool
        level = np.array([-1, -0.5, 0, 0.5])[labels] + image[index]
        chance = rng.normal(0, 0.3, (methods + 1, 4))[:, labels] + rng.normal(
            0, 0.7, (methods + 1, len(index))
        )
        wrong = level + habit[:, index] + chance
        wrong[1] += shift * (labels == 3)
        for m in range(methods):
            out[m].append(Pair(index, labels, wrong[0] > 0, wrong[m + 1] > 0))
    return out


STATISTICS = (average_over(), average_over([3]), largest)


def rates(shared, repeats=100, **more):
    """Return how often any row is resolved, the first method's class 3 is, and intervals miss 0."""
    rng = np.random.default_rng(5)
    any_row, first, both, images = 0, 0, [], []
    for _ in range(repeats):
        drawn, p = world(rng, shared=shared, **more), []
        for weigh in STATISTICS:
            changes = [change_of(pairs, weigh) for pairs in drawn]
            pooled = pooled_variance(changes)
            p += [c.p(pooled) for c in changes]
            both += [not c.over_both(pooled)[0] <= 0 <= c.over_both(pooled)[1] for c in changes]
            images += [not c.over_images()[0] <= 0 <= c.over_images()[1] for c in changes]
        adjusted = np.array(holm(p))
        any_row += (adjusted <= 0.05).any()
        first += adjusted[len(drawn)] <= 0.05
    return any_row / repeats, first / repeats, np.mean(both), np.mean(images)


@pytest.mark.parametrize("shared", [True, False])
def test_chance_is_called_noise_at_the_stated_rate(shared):
    any_row, _, both, images = rates(shared)
    assert any_row <= 0.05 and both <= 0.05
    assert images > 0.15  # an interval over images alone takes the chance of training for a change


def test_a_large_change_is_seen():
    assert rates(True, repeats=30, per_class=400, shift=-2.0)[1] >= 0.8


def test_a_worst_class_chosen_on_the_test_images_seems_to_better():
    """Negative control of choosing it in validation: classes are equal, and so are the two methods."""
    rng = np.random.default_rng(2)
    chosen, fixed = [], []
    for _ in range(200):
        labels = np.repeat(np.arange(10), 60)
        base, method = rng.random((2, 600)) < 0.5
        one = Pair(np.arange(600), labels, base, method)
        worst = int(np.bincount(labels, weights=base).argmax())
        chosen.append(change_of([one], average_over([worst])).mean)
        fixed.append(change_of([one], average_over([3])).mean)
    assert np.mean(chosen) < -0.06 and abs(np.mean(fixed)) < 0.02


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # Holm (1979), by hand
    adjusted = holm([0.01, np.nan, 0.9])
    assert adjusted[0] == pytest.approx(0.02) and np.isnan(adjusted[1]) and adjusted[2] == 0.9
    assert holm([]) == []


@pytest.mark.parametrize(
    "name", ["fairness.toml", "fairness_mnist.toml", "fairness_cifar10.toml", "tradeoffs.toml"]
)
def test_the_plans_have_every_method(name, tmp_path):
    plan = tomllib.loads((RECORDS / name).read_text())
    later = [tomllib.loads((RECORDS / f"{n}.toml").read_text()) for n in ("tradeoffs", "distillation")]
    if name != "tradeoffs.toml":
        assert {*plan["method"]}.union(*(other["method"] for other in later)) == {*METHODS}
    jobs = grid.read_plan(RECORDS / name, tmp_path)
    seeds = {word for job in jobs for word in job.arguments if word.startswith("--seed=")}
    assert seeds == {f"--seed={s}" for s in range(5 if name == "fairness.toml" else 3)}
    text = (RECORDS / name).read_text()
    assert text.startswith("# Every remedy") and f"{len(jobs)} runs" in text


def test_counts_are_those_of_the_flags(runs):
    for run in read_runs([runs]):
        counted = run.evaluation.errors(CLASSES)
        assert isinstance(counted, ClassErrors) and run.classes == CLASSES
        assert [r.errors for r in run.records if r.quantity == "robust_error"][:4] == list(counted.robust)


def of_data(sha256, published=True):
    return {"provenance": {"data_sha256": sha256 * 64, "data_published": published}}


def test_runs_on_different_data_are_never_averaged_nor_paired(tmp_path, invoke, refuses):
    folder = tmp_path / "runs"
    for s in range(2):
        write_run(folder / f"pgd-{s}", "pgd", s, draw(s), **of_data("a"))
        write_run(folder / f"fair-{s}", "fair", s, draw(s, salt=1), **of_data("ab"[s]))
    says = ["data_sha256", "fair-1", "aaaa", "bbbb"]
    refuses(compare.main, folder, "--out", tmp_path / "out", says=says)
    code, out, _ = invoke(compare.main, folder, "--each-protocol", "--out", tmp_path / "out")
    assert code == 0 and "d of SHA-256 aaaaaaaa: m" in out and "d of SHA-256 bbbbbbbb: m" in out
    one, other = json.loads((tmp_path / "out" / "compare.json").read_text())["protocols"]
    assert {m: v["seeds"] for m, v in one["methods"].items()} == {"PGD": [0, 1], "FAIR": [0]}
    assert {m: v["seeds"] for m, v in other["methods"].items()} == {"FAIR": [1]}


def test_data_that_a_run_does_not_name_may_be_those_of_the_others(tmp_path, refuses):
    folder = tmp_path / "runs"
    write_run(folder / "0", "pgd", 0, draw(0))
    write_run(folder / "1", "pgd", 1, draw(1), **of_data("a"))
    study = studied(folder)
    assert [*study.runs["PGD"]] == [0, 1] and "SHA-256" not in study.comparison.title
    write_run(folder / "2", "pgd", 2, draw(2), **of_data("b"))
    refuses(compare.main, folder, says=["data_sha256", "1", "2"])  # the first run names none
    measured = read_runs([folder])
    assert len(comparisons(r for run in measured for r in run.records)) == 3


def test_files_that_are_not_the_published_ones_are_said_in_every_title(tmp_path, invoke):
    for i, (published, said) in enumerate(((True, False), (None, False), (False, True))):
        run = write_run(tmp_path / str(i), "pgd", 0, draw(0), **of_data("a", published))
        code, out, _ = invoke(compare.main, run)
        assert code == 0 and out.count("checksums") == 2 * said


def test_runs_that_are_left_out_are_named_with_the_reason(runs, tmp_path, invoke, refuses):
    for name, file in {"pgd-0": "config.json", "pgd-1": "result.json"}.items():
        (runs / name / file).write_text("{}")
    (runs / "pgd-1" / "records.jsonl").unlink()
    (runs / "pgd-2" / "records.jsonl").write_text("")
    (runs / "elsewhere").symlink_to(write_run(tmp_path / "other", "pgd", 7, draw(7)))
    (runs / "latest").symlink_to(runs / "pgd-3")
    before = {"pgd-0": "not finished", "pgd-1": "no records.jsonl", "pgd-2": "empty", "elsewhere": "link"}
    code, out, err = invoke(compare.main, runs, "--out", tmp_path / "out")
    assert code == 0 and len(err.splitlines()) == len(before)
    for name, why in before.items():
        assert re.search(rf"^warning: {runs / name} .*{why}", err, re.M), (name, err)
    said = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert len(said["left_out"]) == 4 and said["protocols"][0]["methods"]["PGD"]["seeds"] == [3, 4]
    refuses(compare.main, runs / "pgd-0", says=["deep.train", str(runs / "pgd-0")])
