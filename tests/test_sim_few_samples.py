"""The study of few samples: theory agrees with exact training, and wrong formulas are seen."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr

import paper_figs
from sim.studies import few_samples
from theory.variants import averaging, logistic_limit, max_margin

SETTING = {"dim": 60, "K": 2.0, "norm_theta": 1.5, "sigma": 1.0, "eps": 0.3}
ALPHA = 1e-4


@pytest.fixture(autouse=True)
def of_few_dimensions(monkeypatch):
    monkeypatch.setattr(few_samples, "DRAWS", (20, 20))


def verdicts(alpha):
    outcome = few_samples.run(SETTING | {"alpha": alpha}, np.random.default_rng(0), ALPHA)
    return {c.what: c.verdict.verdict for c in outcome.comparisons}


@pytest.mark.parametrize(("alpha", "method"), [(0.8, "max-margin"), (9.0, "logistic")])
def test_exact_training_agrees_with_theory(alpha, method):
    outcome = few_samples.run(SETTING | {"alpha": alpha}, np.random.default_rng(0), ALPHA)
    assert all(c.verdict.predicted != c.verdict.measured for c in outcome.comparisons)
    found = {c.what: c.verdict.verdict for c in outcome.comparisons}
    assert set(found) == {f"{m}, robust error of {y}" for m in ("averaging", method) for y in ("+1", "-1")}
    assert "differs" not in found.values()


@pytest.mark.parametrize(("alpha", "method"), [(0.8, "max-margin"), (9.0, "logistic")])
def test_formulas_of_one_width_are_seen(alpha, method, monkeypatch):
    """Or of twice the samples, for averaging."""
    one_width = {
        "max_margin": lambda t, s, K, a, e: max_margin.max_margin(t, s, 1.0, a, e),
        "logistic_limit": lambda t, s, K, a, e: logistic_limit.logistic_limit(t, s, 1.0, a, e),
        "averaging": lambda t, s, K, a, b, e: averaging.averaging(t, s, K, 9 * a, 9 * b, e),
    }
    for name, function in one_width.items():
        monkeypatch.setattr(few_samples, name, function)
    found = verdicts(alpha)
    assert "differs" in [v for k, v in found.items() if k.startswith(method)]
    assert alpha > 1 or "differs" in [v for k, v in found.items() if k.startswith("averaging")]


def test_the_band_of_a_finite_dimension_is_about_twice_the_largest_bias():
    """That of averaging at n / d = 1/2, class -1; its means are drawn without their samples."""
    d, n, rng = 40, 10, np.random.default_rng(0)
    plus, minus = (width * rng.standard_normal((100_000, d)) / n**0.5 for width in (2.0, 1.0))
    plus[:, 0] += 1.5
    minus[:, 0] -= 1.5
    w = (plus - minus) / 2
    length, bias = np.linalg.norm(w, axis=1), -(w * (plus + minus) / 2).sum(axis=1)
    errors = ndtr((bias - 1.5 * w[:, 0]) / length + 0.3)
    predicted = averaging.averaging(1.5, 1.0, 2.0, 0.25, 0.25, 0.3).R_rob_minus
    assert few_samples.FINITE / 4 < d * abs(errors.mean() - predicted) < few_samples.FINITE / 2


def test_the_penalty_is_small_enough_for_max_margin():
    """Near the threshold of separability every sample is still on its side, by the same margin at least."""
    plus, minus = few_samples._data(SETTING | {"alpha": 3.0}, np.random.default_rng(3))
    w, b = few_samples._max_margin(plus, minus, 0.0)
    margins = np.concatenate([plus @ w + b, -(minus @ w + b)])
    support = np.sort(margins)[:60]
    assert support[0] > 0.99 and support[40] < 1.01


def test_settings_span_few_and_many_samples():
    rng = np.random.default_rng(0)
    found = few_samples.settings(15, rng)
    assert {s["dim"] for s in found} == {300, 1000} and {s["K"] for s in found} > {2.0, 3.0}
    assert min(s["alpha"] for s in found) == 0.5 and max(s["alpha"] for s in found) == 30
    assert dataclasses.is_dataclass(few_samples.STUDY)


def test_the_interval_is_neither_too_narrow_nor_too_wide():
    """Over many sets of 20 normal values a true mean is called wrong about as often as is said."""
    rng = np.random.default_rng(0)
    values = 0.3 + 0.01 * rng.standard_normal((4000, 20))
    wrong = np.mean([few_samples._judge(0.3, v, np.inf, 0.1).verdict == "differs" for v in values])
    assert 0.08 < wrong < 0.12


def test_the_committed_errors_are_of_the_settings_of_the_study_and_none_differs():
    folder = Path(paper_figs.__file__).parent / "records" / "sim" / "few_samples"
    lines = [json.loads(line) for line in (folder / "verdicts.jsonl").read_text().splitlines()]
    assert [line["setting"] for line in lines] == few_samples.settings(10, np.random.default_rng(0))
    assert all(v["verdict"] != "differs" for line in lines for v in line["verdicts"])
    for line in lines:
        theta, sigma, K, n, eps = (line["setting"][k] for k in ("norm_theta", "sigma", "K", "alpha", "eps"))
        mean = averaging.averaging(theta, sigma, K, n / 2, n / 2, eps)
        predicted = [v["predicted"] for v in line["verdicts"][:2]]
        assert predicted == pytest.approx([mean.R_rob_plus, mean.R_rob_minus], rel=1e-9)
