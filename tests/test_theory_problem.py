"""The general problem: any mean, norm, priors, costs and class radii, against written-out weights."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

from theory.__main__ import main
from theory.common.inputs import InputError
from theory.gaussian.adversary import NORMS, best_direction, dual_norm
from theory.gaussian.class_distance import distant_classes
from theory.gaussian.linear import between
from theory.gaussian.mixture import GaussianMixture
from theory.gaussian.problem import Problem, Uniform, fair_classifier, optimal_classifier
from theory.gaussian.surrogate import logistic_optimum
from theory.variants.imbalance import covariance_direction
from theory.variants.multiclass import pair_z_scores
from theory.variants.stable import stable_margin
from theory.variants.tsipras import TsiprasModel, linear_error

settings_of_a_problem = st.fixed_dictionaries(
    {
        "theta": st.lists(st.floats(-1, 1).filter(lambda v: abs(v) > 0.01), min_size=1, max_size=4).map(
            tuple
        ),
        "sigma": st.floats(0.3, 2),
        "K": st.floats(0.3, 3),
        "norm": st.sampled_from(NORMS),
        "prior_pos": st.floats(0.2, 0.8),
        "cost": st.tuples(st.floats(0.5, 2), st.floats(0.5, 2)),
    }
)


def errors(problem, w, b, radii):
    """Class errors of sign(w.x + b) at a radius for each class, from the definition."""
    w = np.asarray(w)
    margin = w @ np.array(problem.theta)
    taken = [r * dual_norm(w, problem.norm) for r in radii]
    size = np.linalg.norm(w)
    wide, narrow = problem.scales
    return ndtr((-b - margin + taken[0]) / (wide * size)), ndtr((b - margin + taken[1]) / (narrow * size))


@given(settings_of_a_problem, st.tuples(st.floats(0, 0.8), st.floats(0, 0.8)), st.integers(0, 2**32))
def test_no_linear_classifier_beats_the_optimum(setting, radii, seed):
    problem, rng = Problem(**setting), np.random.default_rng(seed)
    weight = np.array([problem.prior_pos, 1 - problem.prior_pos]) * problem.cost
    best = problem.optimum(radii)
    here = weight @ ndtr([best.z[0], best.z[1]])
    w = best_direction(problem.theta, sum(radii) / 2, problem.norm).weights
    if np.isfinite(best.bias):
        assert here == pytest.approx(weight @ np.array(errors(problem, w, best.bias, radii)), rel=1e-9)
    for size in (0.01, 0.1, 1.0):
        for _ in range(5):
            other = w + size * rng.standard_normal(len(w))
            bias = (best.bias if np.isfinite(best.bias) else 0.0) + 3 * size * rng.standard_normal()
            assert weight @ np.array(errors(problem, other, bias, radii)) >= here - 1e-12
    assert here <= weight.min() + 1e-12  # the constant classifiers


@given(settings_of_a_problem, st.floats(0, 0.5), st.floats(0, 1))
def test_fair_classifiers_are_fair_and_nowhere_else_equal(setting, eps, other):
    problem = Problem(**setting)
    found = problem.classifiers(eps, (other, other / 2))
    for name, radius in (("fair_natural", 0.0), ("fair_robust", eps)):
        plus, minus = found[name].z_scores(radius)
        assert plus == pytest.approx(minus, rel=1e-9, abs=1e-12)
    if eps > 0.01 and abs(problem.K - 1) > 0.01:
        plus, minus = found["fair_natural"].z_scores(eps)
        assert abs(plus - minus) > 1e-6


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("eps", [0.0, 0.1, 0.39])
def test_a_mean_that_is_not_written_out_is_the_same(norm, eps):
    written = Problem(theta=(0.4,) * 9, sigma=1.3, K=2.0, norm=norm, prior_pos=0.4)
    short = Problem(theta=Uniform(9, 0.4), sigma=1.3, K=2.0, norm=norm, prior_pos=0.4)
    for name, solution in short.classifiers(eps, (eps, 0.0)).items():
        other = written.classifiers(eps, (eps, 0.0))[name]
        assert solution.z_scores(0.2) == pytest.approx(other.z_scores(0.2), rel=1e-12)
        assert solution.bias == pytest.approx(other.bias, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    "change",
    [{"norm": "l3"}, {"prior_pos": 0.0}, {"prior_pos": 1.0}, {"cost": (0.0, 1.0)}, {"K": 0}, {"sigma": -1}],
)
def test_bad_problems_are_refused(change):
    with pytest.raises(InputError, match=next(iter(change))):
        Problem(**({"theta": (1.0,), "sigma": 1.0, "K": 2.0} | change))


def test_a_radius_below_0_is_refused():
    with pytest.raises(InputError, match="eps must be"):
        Problem(theta=(1.0,), sigma=1.0, K=2.0).optimum((0.1, -0.1))


MIXTURE = GaussianMixture(dim=9, eta=0.4, sigma=1.3, K=2.0)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("eps", [0.1, 0.39, 0.5])
def test_the_errors_of_a_classifier_are_those_of_its_weights(norm, eps):
    """By the definition of the error, with weights written out, at priors, costs and radii of each class."""
    best = optimal_classifier(MIXTURE, (eps, eps / 2), norm=norm, prior_pos=0.4, cost=1.2)
    written = Problem(theta=(0.4,) * 9, sigma=1.3, K=2.0, norm=norm)
    linear, exact = best.linear(), best.errors(0.2)
    for z, radius in ((exact.natural, 0.0), (exact.robust, 0.2)):
        assert z == pytest.approx(errors(written, linear.weights, linear.bias, (radius, radius)), rel=1e-9)
    for natural, boundary, robust in zip(exact.natural, exact.boundary, exact.robust, strict=True):
        assert natural + boundary == pytest.approx(robust, rel=1e-14) and boundary > 0
    if norm == "linf":
        assert linear.errors(MIXTURE, 0.2).boundary == pytest.approx(exact.boundary, rel=1e-9)


def test_a_small_boundary_error_near_certain_errors_keeps_its_digits():
    assert between(9.0, 9.5) == pytest.approx(ndtr(-9.0) - ndtr(-9.5), rel=1e-12) and between(9.0, 9.5) > 0
    assert between(-1.0, 2.0) == ndtr(2.0) - ndtr(-1.0)
    assert between(np.inf, np.inf) == between(-np.inf, -np.inf) == 0.0


def test_priors_costs_and_class_radii_are_those_of_the_problem():
    general = Problem(theta=Uniform(9, 0.4), sigma=1.3, K=2.0, norm="l2", prior_pos=0.3, cost=(2.0, 1.0))
    best = optimal_classifier(MIXTURE, (0.2, 0.1), norm="l2", prior_pos=0.3, cost=2.0)
    assert best == general.optimum((0.2, 0.1))
    assert best != optimal_classifier(MIXTURE, (0.2, 0.1), norm="l2").bias
    fair = fair_classifier(MIXTURE, 0.1).errors(0.1)
    assert fair.robust[0] == pytest.approx(fair.robust[1], rel=1e-12)


def test_radii_are_numbers_of_numpy_or_texts_and_mixtures_take_numbers_of_numpy():
    mixture = GaussianMixture(dim=np.int64(9), eta=np.float32(0.5), sigma=np.float64(1.3), K=np.int32(2))
    assert mixture == GaussianMixture(dim=9, eta=0.5, sigma=1.3, K=2.0) and type(mixture.dim) is int
    json.dumps(vars(mixture))
    best = optimal_classifier(mixture, "8/255")
    assert best.bias == optimal_classifier(mixture, 8 / 255).bias
    assert best.errors("8/255").robust == best.errors(np.float64(8) / 255).robust
    assert best.linear().errors(mixture, "1/4") == best.linear().errors(mixture, np.float32(0.25))
    both = Problem(theta=[0.5, np.float64(-0.2)], sigma=1, K=2).optimum(("1/10", np.float32(0.5)))
    assert both.radii == (0.1, 0.5) and both.problem.theta == (0.5, -0.2)


@pytest.mark.parametrize(
    "call",
    [
        lambda eps: best_direction((0.5, -0.2), eps).margin,
        lambda eps: distant_classes(MIXTURE, 1.0, eps).bias,
        lambda eps: logistic_optimum(MIXTURE, eps).bias,
        lambda eps: stable_margin((0.5, 0.4), eps, 1.5),
        lambda eps: covariance_direction((0.5, 0.4), np.eye(2), eps)[1],
        lambda eps: linear_error(TsiprasModel(dim=np.int64(5), p=0.9, eta=0.5), 1.0, 0.1, 0.0, eps),
        lambda eps: float(pair_z_scores([[1.0, 0], [0, 1]], [0, 0], [1.0, 0], 1.0, 0, eps)[0][0]),
    ],
)
def test_every_radius_may_be_a_text(call):
    assert call("1/4") == call(0.25) == call(np.float32(0.25)) != call(0.2)
    with pytest.raises(InputError, match="eps"):
        call("quarter")


@pytest.mark.parametrize(
    "eps", ["-1", "x", "1/0", -0.1, np.nan, True, None, (0.1, 0.2, 0.3), (0.1, "x"), b"1"]
)
def test_what_is_no_radius_is_refused(eps):
    for call in (
        lambda: optimal_classifier(MIXTURE, eps),
        lambda: fair_classifier(MIXTURE, eps),
        lambda: optimal_classifier(MIXTURE).errors(eps),
        lambda: optimal_classifier(MIXTURE).linear().z_scores(MIXTURE, eps),
    ):
        with pytest.raises(InputError, match="eps"):
            call()


GENERAL = ["--theta", "0.5", "-0.2", "--sigma", "1", "--K", "2", "--eps", "1/10"]


def test_command_line_of_a_general_problem(invoke):
    more = ["--norm", "l2", "--prior-pos", "0.3", "--cost", "2", "--train-eps", "0.2", "1/20", "--json"]
    code, out, _ = invoke(main, "errors", *GENERAL, *more)
    result = json.loads(out)
    assert code == 0 and set(result) == {"setting", "natural", "robust", "fair_natural", "fair_robust"}
    assert result["setting"]["train_eps"] == [0.2, 0.05] and result["setting"]["cost"] == [2.0]
    problem = Problem(theta=(0.5, -0.2), sigma=1.0, K=2.0, norm="l2", prior_pos=0.3, cost=(2.0, 1.0))
    robust = problem.optimum((0.2, 0.05))
    assert result["robust"]["bias"] == robust.bias
    assert result["robust"]["robust_error"]["+1"] == ndtr(robust.z_scores(0.1)[0])
    fair = result["fair_robust"]["robust_error"]
    assert fair["+1"] == fair["-1"]
    assert "theta of 2" in invoke(main, "errors", *GENERAL)[1]


@pytest.mark.parametrize(
    "argv, says",
    [
        ([*GENERAL, "--dim", "2"], ["dim"]),
        ([*GENERAL, "--norm", "l3"], ["l3", "linf"]),
        ([*GENERAL, "--prior-pos", "1.5"], ["prior_pos", "1.5"]),
        ([*GENERAL, "--cost", "1", "2", "3"], ["cost", "3"]),
        ([*GENERAL, "--cost", "-1"], ["cost"]),
        ([*GENERAL, "--train-eps", "-1"], ["-1"]),
        (["--theta", "0", *GENERAL[3:]], ["theta"]),
        (["--theta", "0.5", "--sigma", "1"], ["--K", "--eps"]),
    ],
)
def test_bad_general_problems_are_refused(refuses, argv, says):
    refuses(main, "errors", *argv, says=says)


def test_general_problems_from_a_file(invoke, refuses, tmp_path):
    path = tmp_path / "settings.jsonl"
    line = {"theta": [0.5, -0.2], "sigma": 1, "K": 2, "eps": "1/10", "train_eps": "1/20", "cost": [1, 2]}
    path.write_text(json.dumps(line) + "\n")
    code, out, _ = invoke(main, "errors", "--from", path)
    assert code == 0 and json.loads(out)["setting"]["train_eps"] == [0.05]
    for wrong in (
        {"theta": []},
        {"theta": "x"},
        {"cost": {}},
        {"norm": 3},
        {"train_eps": [1, 2, 3]},
        {"e": 1},
    ):
        path.write_text(json.dumps(line | wrong) + "\n")
        refuses(main, "errors", "--from", path, says=["line 1"])
