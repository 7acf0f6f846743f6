import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, t

from theory.common.files import write_atomic
from theory.common.inputs import InputError
from theory.results.counts import QUANTITIES, ClassErrors, exact_interval, mean_interval
from theory.results.protocols import Comparison, comparisons
from theory.results.records import Record, provenance, read_records, records_of, setting_id, to_jsonl

COUNTS = ClassErrors(("a", "b"), (10, 20), (1, 4), (5, 4))


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_exact_interval_is_clopper_pearson(pair):
    k, n = pair
    truth = binomtest(k, n).proportion_ci(0.95, "exact")
    np.testing.assert_allclose(exact_interval(k, n), (truth.low, truth.high), atol=1e-9)


def test_mean_interval_is_student_t():
    x = [1.0, 2.0, 4.0, 4.5, 9.0]
    low, high = t.interval(0.95, 4, np.mean(x), np.std(x, ddof=1) / 5**0.5)
    assert mean_interval(x) == pytest.approx((np.mean(x), low, high))
    assert np.isnan(mean_interval([3.0])[1:]).all() and np.isnan(mean_interval([3.0, 4.0])[1:]).all()
    assert np.isfinite(mean_interval([3.0, 4.0, 4.5])).all()


@given(
    st.integers(1, 200).flatmap(
        lambda n: st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.booleans()), min_size=n, max_size=n)
    )
)
def test_robust_is_natural_plus_boundary(samples):
    samples = [*samples, *((c, True, True) for c in range(3))]  # every class is there
    labels, natural, attacked = (np.array(v) for v in zip(*samples, strict=True))
    errors = ClassErrors.from_flags("abc", labels, natural, attacked)
    parts = [errors.counts(q) for q in QUANTITIES]
    assert (parts[0] + parts[1] == parts[2]).all() and (parts[1] >= 0).all()
    assert parts[2].sum() == (~(natural & attacked)).sum()  # wrong without an attack is wrong under it
    assert errors.average("robust_error") == pytest.approx((~(natural & attacked)).mean())


def test_a_sample_that_the_attack_sets_right_stays_wrong():
    errors = ClassErrors.from_flags("a", np.array([0, 0]), np.array([False, True]), np.array([True, True]))
    assert (errors.natural, errors.robust) == ((1,), (1,))


@pytest.mark.parametrize("n, natural, robust", [(0, 0, 0), (5, 3, 2), (5, 3, 6), (5, -1, 2)])
def test_refuses_counts_that_cannot_be(n, natural, robust):
    with pytest.raises(ValueError, match="class a"):
        ClassErrors(("a",), (n,), (natural,), (robust,))


def test_summary_and_table():
    summary = COUNTS.summary()
    assert summary["robust_error"]["per_class"] == [0.5, 0.2]
    assert summary["robust_error"]["worst_class"] == "a"
    assert summary["natural_error"]["average"] == pytest.approx(5 / 30)
    assert summary["boundary_error"]["spread"] == pytest.approx(0.2)
    assert "50.0 [18.7, 81.3]" in COUNTS.table("title").text()


def test_records_round_trip(tmp_path):
    setting = GOOD["setting"] | {"eps": 0.1, "eps_text": "1/10"}
    common = {"source": "deep", "setting": setting, "method": "pgd", "seed": 3}
    records = list(
        records_of(COUNTS, **common, provenance=provenance(seconds=1.5), attack="x", extra={"a": 1})
    )
    (tmp_path / "run").mkdir()
    write_atomic(tmp_path / "run" / "records.jsonl", to_jsonl(records))
    assert read_records(tmp_path) == records
    assert [r.label for r in records[:4]] == ["a", "b", "average", "worst"]
    weighed = list(records_of(COUNTS, {"weights": [0.5, 1.5]}, **common, attack="x", extra={"a": 1}))
    assert [r.extra for r in weighed[:3]] == [{"a": 1, "weights": 0.5}, {"a": 1, "weights": 1.5}, {"a": 1}]


def run_records(method, seed, natural, robust, **params):
    errors = ClassErrors(("a", "b"), (100, 100), natural, robust)
    setting = {"dataset": "d", "model": "m", "width": 1, "epochs": 2, "n_train": 3, "params": params}
    return records_of(errors, source="deep", setting=setting, method=method, seed=seed, attack="PGD-20")


COMMON = {
    "source": "deep",
    "setting": {"dataset": "d", "model": "m", "width": 1, "epochs": 2, "n_train": 3, "params": {}},
    "method": "pgd",
    "seed": 0,
    "attack": "x",
}
GOOD = json.loads(next(run_records("pgd", 0, (1, 2), (3, 4))).to_json())


@pytest.mark.parametrize(
    "damage",
    [
        {"source": "x"},
        {"quantity": "accuracy"},
        {"label": ["a"]},
        {"label": "\ud800"},
        {"value": 0.9},
        {"value": "0.01"},
        {"value": float("nan")},
        {"errors": 1.0},
        {"errors": 10**400},
        {"n": 0},
        {"n": True},
        {"seed": "x"},
        {"seed": None},
        {"method": ""},
        {"attack": 5},
        {"setting": {}},
        {"setting": None},
        {"setting": GOOD["setting"] | {"params": {"beta": None}}},
        {"setting": GOOD["setting"] | {"width": "16"}},
        {"provenance": {"argv": 5}},
        {"provenance": {"argv": "python"}},
        {"provenance": {"commit": [1]}},
        {"extra": {"verdict": "agrees"}},
        {"source": "sim"},
        {"more": 1},
    ],
)
def test_damaged_records_are_refused(tmp_path, damage):
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + json.dumps(GOOD | damage) + "\n")
    with pytest.raises(InputError, match="line 2"):
        read_records(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00", "[" * 100_000, '{"a": 1, "a": 2}'])
def test_what_is_no_record_is_refused(tmp_path, text):
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + text + "\n")
    with pytest.raises(InputError, match="line 2"):
        read_records(path)
    path.write_text("")
    with pytest.raises(InputError, match="no records"):
        read_records(path)


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, "old")
    monkeypatch.setattr("theory.common.files.os.replace", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_comparison_pairs_by_seed_and_tells_hyper_parameters_apart():
    records = []
    for seed in range(6):
        records += run_records("pgd", seed, (5, 5), (30 + 5 * seed, 70))
        records += run_records("frl", seed + 1, (5, 5), (31 + 5 * seed, 70), variant="both", cap=0.1)
        records += run_records("frl", seed + 1, (5, 5), (20, 70), variant="both", cap=0.9)
    (comparison,) = comparisons(records)
    assert list(comparison.runs) == ["PGD", "FRL both cap=0.1", "FRL both cap=0.9"]
    rows = {(r[0], r[1]): r[2:] for r in comparison.paired_tables(["pgd"])[0].rows}
    assert (
        rows["FRL both cap=0.1 - PGD", "robust average"][0] == "-2.0"
    )  # seed by seed: 31 against 35, and so on
    assert rows["FRL both cap=0.1 - PGD", "robust average"][3] == "5"


def test_chance_spread_is_what_equal_classes_show():
    rng = np.random.default_rng(0)
    rates = rng.binomial(60, 0.3, (4000, 10)) / 60
    n, wrong = (60,) * 10, (18,) * 10
    errors = ClassErrors(tuple("abcdefghij"), n, (0,) * 10, wrong)
    comparison = Comparison({}, {"PGD": {0: errors}})
    assert comparison.null_spread("PGD", "robust_error") == pytest.approx(
        (rates.var(axis=1).mean()) ** 0.5, rel=0.02
    )


def test_unequal_classes_are_counted_by_their_own_size():
    errors = ClassErrors(("few", "many"), (10, 1000), (0, 0), (5, 100))
    summary = errors.summary()["robust_error"]
    assert (summary["worst"], summary["worst_class"]) == (0.5, "few")
    assert summary["average"] == pytest.approx(105 / 1010)
    truth = binomtest(105, 1010).proportion_ci(0.95, "exact")
    assert summary["average_interval"] == pytest.approx([truth.low, truth.high])
    (worst,) = (r for r in records_of(errors, **COMMON) if (r.quantity, r.label) == ("robust_error", "worst"))
    assert (worst.errors, worst.n) == (5, 10) and "50.0 (few)" in errors.table("").text()


def test_comparison_refuses_runs_that_do_not_fit():
    one = list(run_records("pgd", 0, (5, 5), (30, 70)))
    with pytest.raises(InputError, match="seed 0: class a "):
        comparisons(_impossible(one))
    with pytest.raises(InputError, match="every class"):
        comparisons([r for r in one if (r.quantity, r.label) != ("robust_error", "b")])
    with pytest.raises(InputError, match="other classes"):
        comparisons([*one, *(r for r in run_records("pgd", 1, (5, 5), (30, 70)) if r.label != "b")])


def _impossible(records):
    """Return records with more natural than robust errors in class a."""
    for r in records:
        many = (r.quantity, r.label) == ("natural_error", "a")
        yield Record(**(vars(r) | {"errors": 90, "value": 0.9})) if many else r


def test_setting_id_does_not_depend_on_order():
    assert setting_id({"a": 1, "b": 2}) == setting_id({"b": 2, "a": 1}) != setting_id({"a": 1, "b": 3})


def test_comparison_pairs_seeds_and_says_what_is_resolved():
    records = []
    for seed in range(5):
        records += run_records("pgd", seed, (5, 5), (30 + seed, 70 + seed))
        records += run_records("trades", seed, (5, 5), (30 + (-1) ** seed, 70 - (-1) ** seed), beta=6.0)
        records += run_records("frl", seed, (5, 5), (40 + seed, 60 + (seed % 2)), variant="both")
    (comparison,) = comparisons(records)
    assert list(comparison.runs) == ["PGD", "FRL both", "TRADES beta=6"]
    rows = {(r[0], r[1]): r[2:] for r in comparison.paired_tables(["pgd"])[0].rows}
    assert (
        rows["FRL both - PGD", "robust spread"][0].startswith("-")
        and rows["FRL both - PGD", "robust spread"][2] == "yes"
    )
    assert rows["TRADES beta=6 - PGD", "natural average"] == ["+0.0", "[+0.0, +0.0]", "no", "5"]
    assert rows["TRADES beta=6 - PGD", "robust spread"][2] == "no"
    second = comparison.paired_tables(["pgd", "trades"])[1]
    assert {r[0] for r in second.rows} == {"FRL both - TRADES beta=6"}  # no pair twice
    (few,) = comparisons(records[: 3 * 12])
    assert {r[4] for r in few.paired_tables(["pgd"])[0].rows} == {"too few seeds"}


def test_comparison_does_not_mix_protocols_or_contradictions():
    one = list(run_records("pgd", 0, (5, 5), (30, 70)))
    other = [Record(**(vars(r) | {"attack": "PGD-10"})) for r in one]
    assert len(comparisons(one + other)) == 2
    with pytest.raises(InputError, match="other counts"):
        comparisons([*one, *run_records("pgd", 0, (5, 5), (31, 70))])
