"""The explorer's generated JavaScript, run by Node, against the numbers of theory."""

import itertools
import json
import math
import shutil
import subprocess
from functools import cache

import numpy as np
import pytest
from scipy.special import log_ndtr, ndtr

from paper_figs.page import explorer
from theory.gaussian.fairness import price_of_fairness
from theory.gaussian.problem import Problem, Uniform
from theory.variants.many_classes import nearest_mean_errors
from theory.variants.max_margin import separability_threshold
from theory.variants.sample_curve import sample_curve

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="Node is not installed")
TOLERANCE = 1e-9


def node(script, call, values):
    """Return what JavaScript's function ``call`` gives for each of the values, infinities as texts."""
    infinite = "(k, v) => v === Infinity ? 'inf' : v === -Infinity ? '-inf' : v"
    code = f"{script}\nconst given = {json.dumps(values)};"
    code += f"process.stdout.write(JSON.stringify(given.map(v => {call}(v)), {infinite}));"
    command = [NODE, "--input-type=module", "-"]
    out = subprocess.run(command, input=code, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(out.stdout)


def theory_says(s):
    """Return what the page must show at the values of its sliders, computed by theory alone."""
    shared = {"theta": Uniform(s["d"], s["eta"]), "sigma": 1.0, "K": s["K"], "prior_pos": s["prior"]}
    trained = (s["eps"] * s["radius_plus"], s["eps"] * s["radius_minus"])
    found = Problem(**shared, cost=(s["cost"], 1.0)).classifiers(s["eps"], trained)
    best = Problem(**shared).optimum((s["eps"], s["eps"]))
    out = {}
    for name, key in (("natural", "natural"), ("robust", "robust"), ("fair", "fair_robust")):
        out[f"{name}_bias"] = found[key].bias
        for kind, eps in (("natural", 0.0), ("robust", s["eps"])):
            out |= class_errors(f"{name}_{kind}", found[key].z_scores(eps), s["prior"])
    smallest = class_errors("best", best.z_scores(s["eps"]), s["prior"])["best_average"]
    return out | {"price": out["fair_robust_average"] - smallest}


def class_errors(name, z, prior):
    plus, minus = (float(e) for e in ndtr(z))
    average = prior * plus + (1 - prior) * minus
    return {f"{name}_plus": plus, f"{name}_minus": minus, f"{name}_average": average}


@cache
def settings():
    """Return settings, and what theory says: a grid over the sliders' ends and starts, and random ones."""
    ends = {}
    for s in explorer.SLIDERS:
        ends[s.name] = [10**v if s.log else v for v in (s.low, s.start, s.high)]
    ends["eps"].append(0.4)  # equal to eta
    grid = [dict(zip(ends, values, strict=True)) for values in itertools.product(*ends.values())]
    rng = np.random.default_rng(0)
    chosen = [grid[i] for i in rng.choice(len(grid), 1200, replace=False)]
    for _ in range(600):
        values = {s.name: float(rng.uniform(s.low, s.high)) for s in explorer.SLIDERS}
        values |= {s.name: 10 ** values[s.name] for s in explorer.SLIDERS if s.log}
        chosen.append(values | {"d": int(values["d"])})
    return chosen, [theory_says(s) for s in chosen]


def distance(expected, got):
    """Return the largest difference of two results, infinite where a bias differs or is no number."""
    assert expected.keys() <= got.keys()
    off = 0.0
    for name, value in expected.items():
        found = math.nan if got[name] is None else float(got[name])
        scale = 1 + abs(value) if name.endswith("_bias") else 1
        off = max(off, 0.0 if found == value else abs(found - value) / scale, key=lambda v: (v != v, v))
    return math.inf if math.isnan(off) else off


def furthest(script):
    """Return the largest difference between a script and theory over the settings."""
    tried, expected = settings()
    found = node(script, "evaluate", tried)
    return max(distance(e, g) for e, g in zip(expected, found, strict=True))


@needs_node
def test_the_formulas_give_what_theory_gives():
    assert furthest(explorer.javascript()) < TOLERANCE


@needs_node
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("margin*(ratio - 1)/(ratio + 1)", "margin*(ratio - 1)/(ratio + 1.00001)"),
        ("Math.log(1 - prior)", "Math.log(1 + prior)"),
        ("odds != 0", "odds == 0"),
        ("eta >= radius", "eta > radius"),
        ("n / 2 / fraction", "n / 2.1 / fraction"),
        ("-x * x) / Math.sqrt", "-x * x) / 1.000001 / Math.sqrt"),
    ],
)
def test_a_bent_formula_is_seen(right, wrong):
    assert explorer.javascript().count(right) >= 1
    assert furthest(explorer.javascript().replace(right, wrong)) > TOLERANCE


@needs_node
def test_the_normal_distribution_is_accurate_in_both_tails():
    z = [*np.linspace(-37, 9, 4001).tolist(), 0.0, 2 * 2**0.5, -2 * 2**0.5]
    got = np.array(node(explorer.javascript(), "(z => [Phi(z), LogPhi(z)])", z))
    np.testing.assert_allclose(got[:, 0], ndtr(z), rtol=1e-12)
    np.testing.assert_allclose(got[:, 1], log_ndtr(z), rtol=1e-12)
    far = [-1e4, -100.0, 40.0]
    np.testing.assert_allclose(node(explorer.javascript(), "LogPhi", far), log_ndtr(far), rtol=1e-12)
    assert node(explorer.javascript(), "(s => Phi(s * Infinity))", [1, -1]) == [1, 0]


@needs_node
def test_the_start_is_the_model_of_the_paper():
    s = {s.name: 10**s.start if s.log else s.start for s in explorer.SLIDERS}
    (now,) = node(explorer.javascript(), "evaluate", [s])
    margin = s["d"] ** 0.5 * (s["eta"] - s["eps"])
    assert now["price"] == pytest.approx(float(price_of_fairness(margin, 1.0, s["K"])), abs=TOLERANCE)
    assert now["fair_robust_plus"] == pytest.approx(now["fair_robust_minus"], abs=TOLERANCE)


def plane_settings():
    """Return random means of three classes, two in a row, and radii up to where a mean is itself lost."""
    rng = np.random.default_rng(0)
    random = [
        {"means": rng.normal(0, 2, (3, 2)).tolist(), "eps": float(rng.uniform(0, 1))} for _ in range(30)
    ]
    row = [{"means": [[-2, 0], [0, 0], [2, 0]], "eps": eps} for eps in (0.0, 0.5, 0.9)]
    return random + row + [{"means": [[0, 0], [1, 0.2], [3, 1]], "eps": eps} for eps in (0.6, 1.4)]


def furthest_in_the_plane(script):
    tried = plane_settings()
    expected = [[c.R for c in nearest_mean_errors(s["means"], 1.0, s["eps"])] for s in tried]
    return np.abs(np.array(node(script, "nearestMeanErrors", tried)) - expected).max()


@needs_node
def test_errors_of_classes_in_the_plane_are_those_of_theory():
    script = explorer.javascript()
    assert furthest_in_the_plane(script) < 2e-6  # of the trapezoid rule where an interval ends at a kink
    (error,) = node(
        script, "(s => nearestMeanErrors(s)[1])", [{"means": [[-2, 0], [0, 0], [2, 0]], "eps": 0.5}]
    )
    assert error == pytest.approx(2 * ndtr(-0.5), abs=1e-6)
    for right, wrong in (
        ("delta / 2 - eps", "delta / 2 - 1.001 * eps"),
        ("Math.max(low", "Math.min(low"),
        ("Math.min(high", "Math.max(high"),
    ):
        assert script.count(right) == 1
        assert furthest_in_the_plane(script.replace(right, wrong)) > 1e-5


@cache
def few_samples():
    """Return settings of few samples, n / d on both sides of where samples separate, and what theory says."""
    rng = np.random.default_rng(0)
    tried, expected = [{"K": 2.0, "theta": 1.5, "share": 0.2, "alphas": [2.0, 3.0, 100.0]}], []
    for _ in range(4):
        s = {"K": rng.uniform(1, 4), "theta": rng.uniform(0.5, 3), "share": rng.uniform(0, 0.9)}
        limit = separability_threshold(s["theta"], 1.0, s["K"], s["share"] * s["theta"]).alpha_c
        tried.append({**s, "alphas": [0.7 * limit, 1.5 * limit]})
    for s in tried:
        curve = sample_curve(s["theta"], 1.0, s["K"], s["share"] * s["theta"], s["alphas"])
        separate = curve.alpha[:, None] < curve.robustly_separable
        adversarial = np.where(separate, curve.max_margin, curve.logistic)
        expected.append((curve, np.stack([curve.midpoint, curve.reoptimised, adversarial], axis=1)))
    return tried, expected


def furthest_of_few_samples(script):
    """Return the largest difference of a robust error, infinite where one is missing; and of the limit."""
    tried, expected = few_samples()
    off = [0.0, 0.0]
    for got, (curve, errors) in zip(node(script, "sampleCurves", tried), expected, strict=True):
        for point, row in zip(got["points"], errors, strict=True):
            if any(c is None or None in c["robust"] for c in point.values()):
                return math.inf, math.inf
            off[0] = max(off[0], np.abs(np.array([c["robust"] for c in point.values()]) - row).max())
        off[0] = max(off[0], np.abs(np.array(got["ends"]["optimum"]["robust"]) - curve.population).max())
        off[1] = max(off[1], abs(got["limit"] / curve.robustly_separable - 1))
    return off


@needs_node
def test_errors_of_few_samples_are_those_of_theory():
    errors, thresholds = furthest_of_few_samples(explorer.javascript())
    assert (
        errors < 5e-6 and thresholds < 1e-12
    )  # of the trapezoid rule, near the place where samples separate


@needs_node
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("(1 + t * t) * cdf + t * pdf", "(1 + t * t) * cdf + 1.001 * t * pdf"),
        ("bias: -(K * K - 1)", "bias: -(K * K - 1.001)"),
        ("s * noisy - eps * mean)", "s * noisy - 1.001 * eps * mean)"),
        ("s * q * x, gamma * s * s)", "s * q * x, gamma * s * s * 1.001)"),
        ("u * theta + y * b - eps * q", "u * theta + y * b - 1.001 * eps * q"),
    ],
)
def test_a_bent_equation_of_few_samples_is_seen(right, wrong):
    assert explorer.javascript().count(right) == 1
    assert furthest_of_few_samples(explorer.javascript().replace(right, wrong))[0] > 2e-5


@needs_node
def test_endless_samples_are_the_end_of_the_curves():
    s = {"K": 2.0, "theta": 1.5, "share": 0.2, "alphas": [1e6]}
    (got,) = node(explorer.javascript(), "sampleCurves", [s])
    for method, point in got["points"][0].items():
        assert point["robust"] == pytest.approx(got["ends"][method]["robust"], abs=1e-5)
        assert point["natural"] == pytest.approx(got["ends"][method]["natural"], abs=1e-5)


@needs_node
def test_there_is_an_error_at_every_place_of_the_sliders():
    """At their ends too; the equations are solved or the classifier is that of max-margin."""
    ends = [(s.low, s.start, s.high) for s in explorer.SAMPLE_SLIDERS[1:]]
    alphas = [10**v for v in np.linspace(-0.5, 2, 11)]
    tried = [
        dict(zip(("K", "theta", "share", "alphas"), (*v, alphas), strict=True))
        for v in itertools.product(*ends)
    ]
    for curves in node(explorer.javascript(), "sampleCurves", tried):
        for point in curves["points"]:
            for errors in point.values():
                assert errors and all(0 <= e <= 1 for e in errors["robust"] + errors["natural"])


def test_every_slider_and_number_is_labelled():
    html = explorer.markup()
    for s in explorer.SAMPLE_SLIDERS:
        assert f"<label for=samples-{s.name}>" in html and f"id=samples-{s.name} name={s.name}" in html
    assert html.count("<data data-of=") == 4 * len(explorer.SAMPLE_METHODS)
    for s in explorer.SLIDERS:
        assert f"<label for=explorer-{s.name}>" in html and f"id=explorer-{s.name} name={s.name}" in html
    shown = [name for name in explorer.formulas() if not name.startswith("reach")]
    assert all(f"<data data-name={name}>" in html for name in shown)
    assert "<!--" not in html and "/* FORMULAS */" not in html
