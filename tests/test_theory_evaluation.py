"""What is derived from flags: confidence sets, gaps and paired changes, against enumeration and scipy."""

import csv
import io
import itertools

import numpy as np
import pytest
from scipy import stats

from theory.common.inputs import InputError
from theory.common.table import Table
from theory.results.counts import ClassErrors
from theory.results.flags import Evaluation, paired_table
from theory.results.intervals import mcnemar, null_gap, paired_interval, worst_set


def evaluation(ok, labels=None, attacks=("clean", "PGD")):
    ok = np.asarray(ok, bool)
    labels = np.zeros(ok.shape[1], np.int64) if labels is None else np.asarray(labels)
    return Evaluation(attacks, np.arange(ok.shape[1]), labels, ok)


@pytest.mark.parametrize("n, rate", [((4, 4, 4), 0.3), ((2, 5, 3), 0.6), ((6, 1), 0.0), ((3, 3), 1.0)])
def test_null_gap_against_enumeration(n, rate):
    gaps, weights = [], []
    for counts in itertools.product(*(range(size + 1) for size in n)):
        rates = [k / size for k, size in zip(counts, n, strict=True)]
        gaps.append(max(rates) - min(rates))
        weights.append(np.prod([stats.binom.pmf(k, size, rate) for k, size in zip(counts, n, strict=True)]))
    for gap in (0.0, 0.25, 1 / 3, 0.5, 1.0):
        expected, p = null_gap(n, rate, gap)
        assert expected == pytest.approx(np.dot(gaps, weights), abs=1e-9)
        assert p == pytest.approx(
            sum(w for g, w in zip(gaps, weights, strict=True) if g >= gap - 1e-9), abs=1e-9
        )


def test_null_gap_is_that_of_the_field():
    """Ten classes of 1000 images, all at .5: 4.9 points, with 7.1 at the 95th percentile."""
    expected, p = null_gap((1000,) * 10, 0.5, 0.071)
    assert expected == pytest.approx(0.049, abs=5e-4) and p == pytest.approx(0.05, abs=0.01)


def test_worst_set_uses_fishers_test():
    errors, n = [30, 22, 10], [100, 100, 90]
    kept = []
    for j in range(3):
        p = [
            stats.fisher_exact([[errors[i], n[i] - errors[i]], [errors[j], n[j] - errors[j]]], "greater")[1]
            for i in range(3)
            if i != j and errors[i] / n[i] > errors[j] / n[j]
        ]
        if not any(value <= 0.05 / 2 for value in p):
            kept.append(j)
    assert worst_set(errors, n) == kept == [0, 1]
    assert worst_set([3, 3], [3, 3]) == [0, 1] and worst_set([100, 0, 0], [100] * 3) == [0]


def test_worst_set_covers_the_worst_class_and_excludes_others():
    rng = np.random.default_rng(0)
    rates = np.array([0.55, 0.5, 0.2, 0.1])
    sets = [worst_set(rng.binomial(100, rates), [100] * 4) for _ in range(300)]
    assert np.mean([0 in s for s in sets]) > 0.94
    assert np.mean([2 in s for s in sets]) < 0.05 and np.mean([1 in s for s in sets]) > 0.5


@pytest.mark.parametrize("lost, won", [(0, 0), (3, 0), (10, 2), (7, 7), (1, 9)])
def test_mcnemar_is_the_sign_test(lost, won):
    expected = stats.binomtest(lost, lost + won).pvalue if lost + won else 1.0
    assert float(mcnemar(lost, won)) == pytest.approx(expected)


def test_paired_interval_covers():
    """The coverage at a true change of 0.1 of discordant samples is that of its name."""
    rng = np.random.default_rng(0)
    counts = rng.multinomial(60, [0.2, 0.1, 0.7], size=4000)
    low, high = paired_interval(counts[:, 0], counts[:, 1], 60).T
    assert 0.94 < ((low <= 0.1) & (0.1 <= high)).mean() < 0.975
    narrow_low, narrow_high = paired_interval(counts[:, 0], counts[:, 1], 60, 0.5).T
    assert ((narrow_low <= 0.1) & (0.1 <= narrow_high)).mean() < 0.6


def test_a_sample_must_be_robust_to_every_attack():
    ok = [[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 0]]
    found = evaluation(ok, [0, 0, 1, 1], ("clean", "A", "B"))
    assert found.errors("ab").robust == (1, 2) and found.errors("ab", "A").robust == (1, 1)
    assert found.errors("ab").natural == found.errors("ab", "clean").robust == (0, 1)
    assert found.attack == "A; and B"


def test_evaluations_round_trip_and_join(tmp_path):
    first, second = evaluation([[1, 0], [1, 0]], [1, 0]), evaluation([[1], [0]], [2])
    path = tmp_path / "flags.npz"
    path.write_bytes(Evaluation.join([first, second]).to_bytes())
    back = Evaluation.read(path)
    assert back.ok.tolist() == [[True, False, True], [True, False, False]]
    assert (back.attacks, back.labels.tolist(), back.index.tolist()) == (
        ("clean", "PGD"),
        [1, 0, 2],
        [0, 1, 0],
    )


def npz(**arrays):
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


GOOD = {
    "attacks": np.array(["clean"]),
    "index": np.arange(2),
    "labels": np.arange(2),
    "ok": np.ones((1, 2), bool),
}
PACKED = {
    "attacks": np.array(["clean", "PGD"]),
    "gaps": np.array([7, -4]),
    "labels": np.arange(2, dtype=np.int8),
    "ok": np.array([[0b11000000], [0b01000000]], np.uint8),
}


def test_flags_are_packed(tmp_path):
    """The bits and differences of a file, by hand; 10000 samples take less than two bytes each."""
    path = tmp_path / "flags.npz"
    path.write_bytes(npz(**PACKED))
    back = Evaluation.read(path)
    assert back.index.tolist() == [7, 3] and back.ok.tolist() == [[True, True], [False, True]]
    path.write_bytes(npz(**GOOD))
    assert Evaluation.read(path).ok.tolist() == [[True, True]]
    rng = np.random.default_rng(0)
    ok = rng.random((2, 10_001)) < 0.6
    ok[1] &= ok[0]
    large = evaluation(ok, rng.integers(0, 300, 10_001))
    path.write_bytes(large.to_bytes())
    back = Evaluation.read(path)
    for name in ("index", "labels", "ok"):
        np.testing.assert_array_equal(getattr(back, name), getattr(large, name))
    small = evaluation(ok, rng.integers(0, 10, 10_001)).to_bytes()
    assert len(small) < 10_000 < len(npz(ok=ok))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        npz(**GOOD)[:-30],
        npz(**GOOD)[:100],
        npz(),
        npz(**GOOD, more=np.ones(1)),
        npz(**(GOOD | {"ok": np.ones((1, 2))})),
        npz(**(PACKED | {"ok": np.zeros((2, 2), np.uint8)})),
        npz(**(PACKED | {"ok": np.zeros((2, 1), np.uint16)})),
        npz(**(PACKED | {"ok": np.array([[0b01000000], [0b11000000]], np.uint8)})),
        npz(**(PACKED | {"index": np.arange(2)})),
        npz(**(GOOD | {"ok": np.ones((2, 2), bool)})),
        npz(**(GOOD | {"labels": np.arange(3)})),
        npz(**(GOOD | {"labels": np.array([0, -1])})),
        npz(**(GOOD | {"attacks": np.array(["PGD"])})),
        npz(**(GOOD | {"attacks": np.array([None])})),
        npz(**(GOOD | {"attacks": np.array(["clean", "A"]), "ok": np.array([[0, 1], [1, 1]], bool)})),
        npz(**{k: v[..., :0] for k, v in GOOD.items() if k != "attacks"}, attacks=GOOD["attacks"]),
    ],
)
def test_what_is_no_evaluation_is_refused(tmp_path, content):
    path = tmp_path / "flags.npz"
    path.write_bytes(npz(**GOOD))
    assert len(Evaluation.read(path).labels) == 2
    path.write_bytes(content)
    with pytest.raises(InputError, match="flags.npz"):
        Evaluation.read(path)


def test_a_missing_evaluation_is_refused(tmp_path):
    with pytest.raises(InputError, match="flags.npz"):
        Evaluation.read(tmp_path / "flags.npz")
    with pytest.raises(InputError, match="label 3"):
        evaluation([[1, 1]], [0, 3], ("clean",)).errors("ab")


def test_paired_table():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 100)
    before = rng.random((1, 200)) < 0.9
    after = before.copy()
    after[0, :30] = False
    a, b = (evaluation(np.repeat(ok, 2, axis=0), labels) for ok in (before, after))
    rows = {row[0]: row[1:] for row in paired_table(("a", "b"), (a, b), ("x", "y")).rows}
    lost = int((before[0, :100] & ~after[0, :100]).sum())
    assert rows["x, robust"][2] == f"+{lost:.1f}" and rows["x, robust"][-1] == "yes"
    assert rows["y, robust"][2:] == ["+0.0", "[-1.9, +1.9]", "1", "no"]
    assert rows["average, robust"][2] == f"+{lost / 2:.1f}"
    for other in (evaluation(b.ok, 1 - labels), evaluation(b.ok, labels, ("clean", "FGSM"))):
        with pytest.raises(InputError, match="same samples"):
            paired_table(("a", "b"), (a, other), ("x", "y"))


def test_summary_of_classes():
    errors = ClassErrors(tuple("abcde"), (100,) * 5, (0,) * 5, (10, 20, 30, 60, 70))
    said = errors.summary()["robust_error"]
    assert (said["worst_class"], said["worst_set"], said["tail_mean"]) == (
        "e",
        ["d", "e"],
        pytest.approx(0.65),
    )
    assert said["gap"] == pytest.approx(0.6) and said["null_gap"] < 0.15 and said["gap_p"] < 1e-6
    many = ClassErrors(tuple(map(str, range(100))), (100,) * 100, (0,) * 100, tuple(range(100)))
    assert many.tail == 10 and many.tail_mean("robust_error") == pytest.approx(0.945)
    text = errors.table("t").text()
    assert "p<0.001" in text
    rows = list(csv.DictReader(io.StringIO(errors.numbers().csv())))
    assert [row["class"] for row in rows] == [*"abcde", "average"]
    assert float(rows[4]["robust_error"]) == 0.7 and int(rows[5]["robust_errors"]) == 190
    assert float(rows[4]["robust_error_low"]) < 0.7 < float(rows[4]["robust_error_high"])


def test_tables_are_escaped():
    table = Table("50 % of a_b", ["x|y", "n"], [["a & b", "1 ±2"], ['c,"d"', "3"]], "note^1")
    assert (
        r"50 \% of a\_b. note\textasciicircum{}1" in table.latex()
        and r"a \& b & 1 $\pm$2 \\" in table.latex()
    )
    assert table.markdown().splitlines()[2:5] == ["| x\\|y | n |", "|---|---:|", "| a & b | 1 ±2 |"]
    assert list(csv.reader(io.StringIO(table.csv()))) == [["x|y", "n"], ["a & b", "1 ±2"], ['c,"d"', "3"]]
