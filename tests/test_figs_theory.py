"""Figures of theory and simulation: curves are theory's, points are the records', bad records are refused."""

import dataclasses
import io
import json
import shutil

import matplotlib.style
import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.special import ndtr, ndtri

from paper_figs.archive import Archive, read_archive
from paper_figs.figures import (
    class_errors_vs_eps,
    gap_vs_K,
    gap_vs_samples,
    pareto_front,
    price_of_fairness,
    reachable,
    tsipras_features,
)
from paper_figs.readers import simulated
from sim import features, sweep
from sim.studies import grid_runs as experiment
from sim.studies import remedies
from theory.common.inputs import InputError
from theory.gaussian.constrained import frl
from theory.gaussian.fairness import (
    bias_z_scores,
    fair_bias,
    fair_error,
    natural_fairness_by_remargin,
    reachable_bias,
)
from theory.gaussian.fairness import price_of_fairness as price
from theory.gaussian.mixture import GaussianMixture
from theory.gaussian.optimal import optimal_bias
from theory.gaussian.problem import optimal_classifier
from theory.gaussian.surrogate import logistic_optimum
from theory.results.counts import exact_interval
from theory.results.records import Record
from theory.variants.logistic_limit import logistic_limit

FIGURES = [class_errors_vs_eps, gap_vs_K, pareto_front, price_of_fairness, reachable, tsipras_features]
MIXTURE = {"dim": 20, "eta": 0.4, "sigma": 1.0}
NOTHING = Archive(records=())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a small sweep of each kind and a run of sim.features."""
    out = tmp_path_factory.mktemp("records")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "SAMPLES", {"threshold": (5000, 5000), "logistic": (2000, 5000)})
        patch.setattr(remedies, "N", 20_000)
        grid = ["--K", "1.5", "2", "--eps", "0.1", "0.2"]
        study = ["--study", "remedies", "--settings", "9"]
        for name, argv in (("grid", grid), ("remedies", study)):
            sweep.main([*argv, "--jobs", "1", "--out", str(out / name)])
        fast = ["--data", "digits", "--samples", "40", "--resamples", "2"]
        assert features.main([*fast, "--out", str(out / "features")]) == 0
    return out


@pytest.fixture(scope="module")
def archive(folder):
    return read_archive(folder)


def of(archive, **setting):
    """Return the records of a setting: errors and n by quantity and class."""
    return {
        (r.quantity, r.label): (r.errors, r.n)
        for r in archive.records
        if all(r.setting.get(k) == v for k, v in setting.items())
    }


def changed(archive, change):
    """Return the archive with each record of the simulation changed, or left out where that gives nothing."""
    return Archive(tuple(r for r in map(change, archive.records) if r is not None))


def test_curves_are_theory_and_points_are_counts(archive):
    (data,) = class_errors_vs_eps.compute(archive)
    assert [(p.rule, p.K) for p in data.panels] == [(r, K) for r in simulated.RULES for K in (1.5, 2.0)]
    panel, logistic = data.panels[1], data.panels[3]
    mixture, eps = GaussianMixture(**MIXTURE, K=2.0), float(panel.eps[30])
    z = optimal_classifier(mixture, eps).z_scores(eps)
    assert panel.curves["+1", "robust_error"][30] == pytest.approx(float(ndtr(z[0])))
    z = logistic_optimum(mixture, eps).linear().z_scores(mixture, 0.0)
    assert logistic.curves["-1", "natural_error"][30] == pytest.approx(float(ndtr(z[1])))
    for panel in data.panels:
        assert set(panel.points) == set(panel.curves)
        for key, points in panel.points.items():
            np.testing.assert_allclose(points[:, 0], [0, 0.1, 0.2])
            assert (points[:, 2] <= points[:, 1]).all() and (points[:, 1] <= points[:, 3]).all()
            curve = np.interp(points[:, 0], panel.eps, panel.curves[key])
            assert np.abs(curve - points[:, 1]).max() < 0.15
    errors, n = of(archive, K=2.0, rule="logistic", eps=0.2, train_eps=0.2)["robust_error", "-1"]
    low, high = exact_interval(errors, n)
    np.testing.assert_allclose(logistic.points["-1", "robust_error"][2], [0.2, errors / n, low, high])


def test_gaps_are_differences_of_both_classes(archive):
    (data,) = gap_vs_K.compute(archive)
    assert [(p.rule, p.eps) for p in data.panels] == [(r, e) for r in simulated.RULES for e in (0.1, 0.2)]
    panel = data.panels[1]
    robust = optimal_classifier(GaussianMixture(**MIXTURE, K=float(panel.K[25])), 0.2)
    for name, eps in (("adversarial", 0.0), ("robust", 0.2)):
        plus, minus = ndtr(robust.z_scores(eps))
        assert panel.curves[name][25] == pytest.approx(plus - minus)
    natural = data.panels[0].curves["natural"]
    np.testing.assert_array_equal(natural, panel.curves["natural"])  # whatever the radius
    assert panel.K[0] == 1 and abs(panel.curves["robust"][0]) < 1e-9
    counts = of(archive, K=1.5, rule="threshold", eps=0.2, train_eps=0.2)
    (plus, n), (minus, _) = counts["natural_error", "+1"], counts["natural_error", "-1"]
    K, gap, low, high = panel.points["adversarial"][0]
    assert (K, gap) == pytest.approx((1.5, (plus - minus) / n))
    counts = of(archive, K=1.5, rule="threshold", eps=0.2, train_eps=0.0)
    (first, _), (second, _) = counts["natural_error", "+1"], counts["natural_error", "-1"]
    assert panel.points["natural"][0, 1] == pytest.approx((first - second) / n)
    ends = exact_interval([plus, minus], n)
    assert low < ends[0, 0] - ends[1, 1] and high > ends[0, 1] - ends[1, 0]  # both at once
    assert all(len(points) == 2 for p in data.panels for points in p.points.values())


def test_intervals_of_gap_and_worst_hold_as_often_as_said():
    rng = np.random.default_rng(0)
    p, n, tries = np.array([0.3, 0.2]), 100, 1000
    held = np.zeros(3)
    for _ in range(tries):
        counts = tuple(int(k) for k in rng.binomial(n, p))
        errors = simulated.ClassErrors(("+1", "-1"), (n, n), counts, counts)
        values = [f(errors, "natural_error") for f in (simulated.gap, simulated.worst, simulated.average)]
        truths = p[0] - p[1], p.max(), p.mean()
        held += [low <= truth <= high for (_, low, high), truth in zip(values, truths, strict=True)]
    assert (held / tries > 0.94).all() and held[2] / tries < 0.999  # the last is not empty of content


def test_the_price_is_the_excess_of_the_fair_classifier(archive):
    (data,) = price_of_fairness.compute(archive)
    margins, ratios = list(data.over_K), list(data.over_m)
    np.testing.assert_allclose(margins, 20**0.5 * np.array([0.16, 0.24, 0.32]), atol=1e-6)
    assert ratios == [1.5, 2.0, 3.0] and len(data.points) == 9
    assert data.over_K[margins[1]][40] == pytest.approx(float(price(margins[1], 1.0, data.K[40])))
    m = data.m[60]
    smallest = float(fair_error(m, 1.0, 3.0) - price(m, 1.0, 3.0))
    assert data.ratios[3.0][60] == pytest.approx(float(fair_error(m, 1.0, 3.0)) / smallest)
    assert price_of_fairness.limit(2) == pytest.approx(1.0583, abs=5e-5)
    assert price_of_fairness.limit(4) == pytest.approx(1.2126, abs=5e-5)
    assert price_of_fairness.ratio(60, 2) == pytest.approx(price_of_fairness.limit(2), rel=2e-3)
    fair = of(archive, K=2.0, eps=0.16, rule="equal")["robust_error", "average"]
    best = of(archive, K=2.0, eps=0.16, rule="reweight", cost_odds=1.0)["robust_error", "average"]
    (row,) = [r for r in data.points if r[0] == 2 and r[1] == pytest.approx(20**0.5 * 0.24)]
    assert row[2] == pytest.approx((fair[0] - best[0]) / fair[1]) and row[3] < row[2] < row[4]
    assert row[5] == pytest.approx(fair[0] / best[0]) and row[6] < row[5] < row[7]


def few_samples_line(**changes):
    """Return a verdict line of the study of few samples."""
    setting = {"dim": 300, "alpha": 6.0, "K": 2.0, "norm_theta": 1.5, "sigma": 1.0, "eps": 0.3}
    errors = {"+1": [0.4, 0.39, 0.42], "-1": [0.2, 0.18, 0.21]}
    verdicts = [
        {"what": f"logistic, robust error of {y}", "measured": m, "interval": ends}
        for y, (m, *ends) in errors.items()
    ]
    return json.dumps({"task": "few_samples 0", "setting": setting, "verdicts": verdicts} | changes) + "\n"


def test_the_gap_of_few_samples_is_that_of_theory_and_of_the_study(folder, tmp_path):
    (bare,) = gap_vs_samples.compute(NOTHING)
    panel = bare.panels[0]
    assert [p.K for p in bare.panels] == [2, 3] and not any(len(p) for p in panel.points.values())
    alpha, gap = panel.curves["logistic"][-1]
    limit = logistic_limit(1.5, 1.0, 2.0, alpha, 0.3)
    assert gap == pytest.approx(limit.R_rob_plus - limit.R_rob_minus, rel=1e-9)
    optimum = ndtr(optimal_classifier(GaussianMixture(dim=1, eta=1.5, sigma=1.0, K=2.0), 0.3).z_scores(0.3))
    assert panel.population == pytest.approx(optimum[0] - optimum[1])
    best = panel.curves["reoptimised"][:, 1]
    assert (np.diff(best) < 0).all() and best[-1] > panel.population
    assert panel.curves["max_margin"][-1, 0] < panel.thresholds[0]
    assert panel.curves["logistic"][0, 0] > panel.thresholds[1]
    shutil.copytree(folder / "grid", tmp_path / "grid")
    (tmp_path / "grid" / "verdicts.jsonl").write_text(few_samples_line())
    (data,) = gap_vs_samples.compute(read_archive(tmp_path))
    np.testing.assert_allclose(data.panels[0].points["logistic"], [[6, 0.2, 0.18, 0.24, 300]])
    assert sum(len(p) for panel in data.panels for p in panel.points.values()) == 1
    for found, says in ((bare, "sim.sweep"), (data, "d = 300")):
        assert says in gap_vs_samples.caption(found)
        gap_vs_samples.draw(found).savefig(io.BytesIO(), format="svg")
    (looks,) = legend_looks(gap_vs_samples.draw(data))
    assert len(set(looks)) == len(looks) == 4


@pytest.mark.parametrize(
    "changes", [{"setting": {}}, {"setting": []}, {"verdicts": 3}, {"verdicts": [{"what": "x"}]}]
)
def test_damaged_lines_of_few_samples_are_refused(folder, tmp_path, changes):
    shutil.copytree(folder / "grid", tmp_path / "grid")
    (tmp_path / "grid" / "verdicts.jsonl").write_text(few_samples_line(**changes))
    with pytest.raises(InputError, match=r"verdicts\.jsonl, line 1"):
        read_archive(tmp_path)


def test_reachable_sets_are_those_of_theory(archive):
    (data,) = reachable.compute(archive)
    assert [(p.quantity, p.K) for p in data.panels] == [
        (q, K) for q in simulated.COUNTED for K in (1.5, 2.0, 3.0)
    ]
    for panel in data.panels:
        margin = 20**0.5 * (0.4 - (0.16 if panel.quantity == "robust_error" else 0))
        for curve in (
            panel.all,
            panel.reweight,
            panel.remargin,
            *(np.array([v]) for v in panel.marks.values()),
        ):
            inside = curve[(curve > 1e-12).all(axis=1) & (curve < 1 - 1e-6).all(axis=1)]
            np.testing.assert_allclose(ndtri(inside) @ [panel.K, 1], -2 * margin, rtol=1e-6)
        jump = reachable_bias(20**0.5 * 0.24, 1.0, panel.K)[0]
        np.testing.assert_allclose(panel.reweight[-1], ndtr(bias_z_scores(jump, margin, 1.0, panel.K)))
        equal = panel.marks["fair_robust" if panel.quantity == "robust_error" else "fair_natural"]
        assert equal[0] == pytest.approx(equal[1])
    counts = of(archive, K=3.0, eps=0.16, rule="remargin", radii=[0.32, 0.0])
    seen = data.panels[5].points["remargin"][:, :, 0]
    expected = [counts["robust_error", y][0] / counts["robust_error", y][1] for y in ("+1", "-1")]
    assert (np.abs(seen - expected).max(axis=1) < 1e-12).any()


def test_remargin_reaches_its_biases_and_no_others():
    mixture, rng = GaussianMixture(**MIXTURE, K=2.0), np.random.default_rng(1)
    low, high = reachable.remargin_biases(mixture)
    plus, minus = rng.uniform(0, 0.8, (2, 20_000))
    plus, minus = np.stack([plus, minus])[:, plus + minus < 0.8]
    biases = optimal_bias(20**0.5 * (0.4 - (plus + minus) / 2), 1.0, 2.0) + (plus - minus) * 20**0.5 / 2
    assert low - 1e-9 < biases.min() < low + 0.1 and high - 0.1 < biases.max() < high + 1e-3
    for K in (1.5, 2.0, 2.02, 2.05, 3.0):  # the last that reaches equal natural errors is 2
        most = reachable.remargin_biases(GaussianMixture(**MIXTURE, K=K))[1]
        mu = 20**0.5 * 0.4
        assert (fair_bias(mu, K) <= most) == natural_fairness_by_remargin(mu, 1.0, K)


def test_fronts_begin_at_the_optimum_and_end_at_equal_errors(archive):
    (data,) = pareto_front.compute(archive)
    assert [(f.eps, f.K) for f in data.fronts] == [
        (e, K) for e in (0.08, 0.16, 0.24) for K in (1.5, 2.0, 3.0)
    ]
    for front in data.fronts:
        margin = 20**0.5 * (0.4 - front.eps)
        assert front.front.average[0] == pytest.approx(float(frl(margin, 1.0, front.K, 0.5).objective))
        assert front.front.average[-1] == pytest.approx(float(fair_error(margin, 1.0, front.K)))
        assert front.beyond[0] == pytest.approx(front.front.average[-1])
    low, high = data.fronts[0], data.fronts[5]
    assert len(low.points["reweight"]) == 3 and len(high.points["reweight"]) == 2  # odds 3 give a constant
    assert low.front.reachable.all() and not high.front.reachable[-1]
    counts = of(archive, K=1.5, eps=0.08, rule="equal")
    (point,) = low.points["equal"]
    assert point[0, 0] == pytest.approx(np.divide(*counts["robust_error", "average"]))
    assert point[1, 0] == pytest.approx(np.divide(*counts["robust_error", "worst"]))
    assert (point[:, 1] < point[:, 0]).all() and (point[:, 0] < point[:, 2]).all()


def test_weights_are_those_of_the_run(archive, folder):
    (data,) = tsipras_features.compute(archive)
    written = json.loads((folder / "features" / "features.json").read_text())
    assert data.title == "digits, 5 against 6" and data.resamples == 2 and data.n == 120
    for training, weights in data.weights.items():
        assert weights.shape == data.correlation.shape
        assert np.abs(weights).sum() == pytest.approx(1) and data.shares[training][
            :, 0
        ].sum() == pytest.approx(1)
        strong = np.abs(weights[np.abs(data.correlation) >= 0.3]).sum()
        assert strong == pytest.approx(written[training]["leaning"]["strong"])
        assert strong == pytest.approx(data.shares[training][2, 0])
        robust = written[training]["errors"][2]
        assert data.errors[training][2, 1] == sum(robust["robust"]) / sum(robust["n"])


@pytest.mark.parametrize("module", FIGURES, ids=lambda m: m.__name__.rpartition(".")[2])
def test_figures_keep_the_contract(archive, module):
    """They are drawn without a warning, with and without records, or say which command is missing."""
    assert module.SECTION in ("theory", "simulation", "networks") and module.TITLE
    assert bool(module.compute(NOTHING)) == (module.COMMAND == "")
    for found in (archive, NOTHING):
        for data in module.compute(found):
            assert dataclasses.is_dataclass(data) and data.__dataclass_params__.frozen
            figure = module.draw(data)
            assert isinstance(figure, Figure)
            with matplotlib.style.context("paper_figs/style.mplstyle"):
                figure = module.draw(data)
                figure.savefig(io.BytesIO(), format="svg")
            said = module.caption(data)
            words = ("interval", "20,000", "seed") if found is archive else ("python -m sim.sweep",)
            if module is tsipras_features:
                words = ("intervals", "120 test images", "2 trainings")
            elif module.COMMAND:
                words = ("interval", "5,000", "1 seed")
            assert all(word in said for word in words), said


def legend_looks(figure):
    """Return what tells the entries of each legend apart without colour."""
    for legend in [*figure.legends, *(ax.get_legend() for ax in figure.axes)]:
        if legend is not None:
            yield [
                (h.get_linestyle(), h.get_marker(), h.get_markerfacecolor() == "white", h.get_linewidth())
                if hasattr(h, "get_marker")
                else h.get_hatch()
                for h in legend.legend_handles
            ]


@pytest.mark.parametrize("module", FIGURES, ids=lambda m: m.__name__.rpartition(".")[2])
def test_nothing_is_told_by_colour_alone(archive, module):
    looks = [look for data in module.compute(archive) for look in legend_looks(module.draw(data))]
    assert looks and all(len(set(look)) == len(look) for look in looks)


def half(record):
    """Return a natural error of class -1 as if twice as many samples had been counted."""
    if (record.label, record.quantity) != ("-1", "natural_error"):
        return record
    return dataclasses.replace(record, n=2 * record.n, value=record.value / 2)


def all_wrong(record):
    if record.quantity != "natural_error":
        return record
    return dataclasses.replace(record, errors=record.n, value=1.0)


@pytest.mark.parametrize("module", [class_errors_vs_eps, price_of_fairness])
@pytest.mark.parametrize(
    "change, says",
    [
        (lambda r: r if r.label != "+1" else None, "no record of"),
        (lambda r: dataclasses.replace(r, setting={**r.setting, "rule": "guess"}), "guess"),
        (lambda r: dataclasses.replace(r, setting={**r.setting, "dim": 0}), "dim"),
        (half, "same samples"),
        (all_wrong, "natural <= robust"),
    ],
)
def test_wrong_records_are_refused(archive, module, change, says):
    with pytest.raises(InputError, match=says):
        module.compute(changed(archive, change))


def test_records_that_contradict_each_other_are_refused(archive):
    twice = Archive(archive.records * 2)
    assert len(class_errors_vs_eps.compute(twice)[0].panels[0].points["+1", "natural_error"]) == 3
    other = dataclasses.replace(archive.records[0], errors=0, value=0.0)
    with pytest.raises(InputError, match="other counts"):
        class_errors_vs_eps.compute(Archive((*archive.records, other)))


@pytest.mark.parametrize("setting", [{"cost_odds": None}, {"cost_odds": -1.0}, {"eps": 0.5}])
def test_remedies_outside_their_domain_are_refused(archive, setting):
    wrong = changed(archive, lambda r: dataclasses.replace(r, setting={**r.setting, **setting}))
    with pytest.raises(InputError, match=next(iter(setting))):
        price_of_fairness.compute(Archive(tuple(r for r in wrong.records if r.setting["rule"] == "equal")))


def test_records_of_networks_are_not_the_simulations(archive):
    assert isinstance(archive.records[0], Record)
    deep = {"dataset": "d", "model": "m", "width": 1, "epochs": 1, "n_train": 1, "params": {}}
    networks = changed(archive, lambda r: dataclasses.replace(r, source="deep", setting=deep))
    assert class_errors_vs_eps.compute(networks) == gap_vs_K.compute(networks) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: (f / "features.json").write_text("{}"),
        lambda f: (f / "features.json").write_text("nonsense"),
        lambda f: (f / "features.npz").unlink(),
        lambda f: (f / "features.npz").write_bytes(b"PK"),
        lambda f: np.savez(f / "features.npz", correlation=np.zeros(3)),
        lambda f: np.savez(f / "features.npz", **arrays(3, 4)),
        lambda f: np.savez(f / "features.npz", **arrays(3, 3, np.nan)),
        lambda f: np.savez(f / "features.npz", **arrays(3, 3, 2.0)),
    ],
)
def test_damaged_features_are_refused(folder, tmp_path, damage):
    shutil.copytree(folder / "features", tmp_path / "features")
    shutil.copytree(folder / "grid", tmp_path / "grid")
    read_archive(tmp_path)
    damage(tmp_path / "features")
    with pytest.raises(InputError, match="features.json"):
        read_archive(tmp_path)


def arrays(first, second, correlation=0.5):
    return {
        "correlation": np.full(first, correlation),
        "natural_weights": np.ones(second),
        "adversarial_weights": np.ones(second),
    }
