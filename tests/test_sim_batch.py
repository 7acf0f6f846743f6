"""Many problems solved in lockstep: equal to those solved one by one, each with an honest certificate."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.solvers import batch, lockstep
from sim.solvers.batch import solve_many
from sim.solvers.conjugate import Equations, Preconditioner, conjugate
from sim.solvers.lockstep import solve_lockstep
from sim.solvers.losses import LOSSES
from sim.solvers.shared import Batch, Samples, bounds
from sim.solvers.solve import setting_of, solve
from sim.solvers.training_problem import TrainingProblem
from theory.common.inputs import InputError
from theory.gaussian.linear import LinearClassifier

EPS = [(0.2, 0.2), (0.3, 0.2), (0.25, 0.0), (0.2, 0.4), (9.0, 9.0)]
WEIGHTS = [(1.0, 1.0), (2.0, 1.0), (1.0, 3.0), (1.0, 1.0), (1.0, 1.0)]


def sample(seed=0, n=(130, 110), d=25, K=2.0):
    rng = np.random.default_rng(seed)
    theta = rng.uniform(0, 1, d)
    return theta + 3 * K * rng.standard_normal((n[0], d)), -theta + K * rng.standard_normal((n[1], d))


@pytest.fixture
def alone(monkeypatch):
    """Count the problems that are solved alone."""
    taken = []
    monkeypatch.setattr(
        batch, "solve", lambda *data, **options: taken.append(options) or solve(*data, **options)
    )
    return taken


def objective(found: LinearClassifier, plus, minus, loss, eps, weights, l2):
    """Return the objective from its definition."""
    total, reach = 0.0, np.abs(found.weights).sum()
    for x, y, e, c in zip((plus, minus), (1, -1), eps, weights, strict=True):
        m = y * (x @ found.weights + found.bias) - e * reach
        total += c * (np.logaddexp(0, -m) if loss == "logistic" else np.exp(-m)).sum()
    mean = total / (weights[0] * len(plus) + weights[1] * len(minus))
    return mean + l2 / 2 * found.weights @ found.weights


@pytest.mark.parametrize("unit", [1.0, 1e-5])
@pytest.mark.parametrize("loss", ["logistic", "exponential"])
@pytest.mark.parametrize("l2", [0.0, 0.02])
def test_all_problems_are_solved_as_if_alone(alone, loss, l2, unit):
    """Radii 9 leave w = 0; objectives are those of the definition, and no optimum is below its bound."""
    plus, minus = (unit * x for x in sample())
    eps = [(unit * a, unit * b) for a, b in EPS]
    setting = {"loss": loss, "l2": unit**2 * l2}
    found = solve_many(plus, minus, eps=eps, weights=WEIGHTS, **setting)
    assert not alone
    assert not found[-1].classifier.weights.any() and all(f.classifier.weights.any() for f in found[:-1])
    for f, e, c in zip(found, eps, WEIGHTS, strict=True):
        one = solve(plus, minus, eps=e, weights=c, gap=1e-11, **setting)
        value = objective(f.classifier, plus, minus, loss, e, c, unit**2 * l2)
        assert value == pytest.approx(f.objective, abs=1e-12)
        assert f.objective - f.gap <= one.objective + 1e-12 and f.objective >= one.objective - 1e-11
        assert -1e-15 <= f.gap <= 1e-8 * max(1, f.objective)


def test_a_grid_starts_from_its_neighbours(alone):
    """Those of the last level take fewer steps than those that start from 0, to the same optimum."""
    plus, minus = sample(1)
    eps = [(a, b) for a in np.linspace(0.2, 0.3, 9).tolist() for b in np.linspace(0.2, 0.3, 9).tolist()]
    found = solve_many(plus, minus, eps=eps)
    steps = [f.iterations for f in found]
    assert sorted(steps)[40] <= 2 < max(steps) and not alone
    for i in (0, 40, 57):
        assert found[i].objective == pytest.approx(solve(plus, minus, eps=eps[i]).objective, abs=1e-8)


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.01]))
def test_a_problem_does_not_depend_on_those_solved_with_it(seed, l2):
    plus, minus = sample(seed, d=8)
    many = solve_many(plus, minus, eps=EPS, weights=WEIGHTS, l2=l2, gap=1e-12)
    for i in range(len(EPS)):
        one = solve_many(plus, minus, eps=EPS[i : i + 1], weights=WEIGHTS[i : i + 1], l2=l2, gap=1e-12)[0]
        assert one.objective == pytest.approx(many[i].objective, abs=2e-11)
        size = max(1.0, float(np.abs(one.classifier.weights).max()))
        np.testing.assert_allclose(one.classifier.weights, many[i].classifier.weights, atol=1e-6 * size)


def samples_of(plus, minus, l2=0.0):
    n = len(plus) + len(minus)
    problem = TrainingProblem(plus, minus, LOSSES["logistic"], "linf", (0.2, 0.2), (1 / n, 1 / n), l2)
    return problem, Samples.of_problem(problem)


def batch_of(eps, shares, d):
    none = np.zeros(len(eps))
    return Batch(np.array(eps), np.array(shares), np.zeros((len(eps), d)), none, none, none, none)


@pytest.mark.parametrize("l2", [0.0, 10.0])
def test_the_bounds_are_those_of_one_problem(l2):
    """Also of points that are not feasible, which bound nothing without a penalty."""
    plus, minus = sample(2, d=6)
    problem, samples = samples_of(plus, minus, l2)
    shares = [setting_of(e, c, len(plus), len(minus))[1] for e, c in zip(EPS, WEIGHTS, strict=True)]
    many = batch_of(EPS, shares, 6)
    rng = np.random.default_rng(0)
    alpha = samples.spread(many.shares) * rng.uniform(0.2, 0.6, (len(EPS), samples.n))
    found = bounds(samples, many, alpha, samples.pulls(alpha))
    for i, e in enumerate(EPS):
        one = replace(problem, eps=e, weights=tuple(shares[i]))
        expected = one.bound(alpha[i], alpha[i], one.pulls(alpha[i]), np.inf)
        assert found[i] == pytest.approx(expected, abs=1e-12)
    assert found[-1] > 0 and (found == 0).any() == (l2 == 0)


def test_a_wrong_step_certifies_nothing(monkeypatch, alone):
    """Where the equations are solved wrongly no bound is near, and each problem is solved alone."""
    plus, minus = sample(3, d=6)
    truth = lockstep.conjugate

    def wrong(*arguments):
        x, work = truth(*arguments)
        return 0.9 * x, work

    monkeypatch.setattr(lockstep, "conjugate", wrong)
    monkeypatch.setattr(lockstep, "ROUNDS", 1)
    monkeypatch.setattr(lockstep, "STEPS", 6)
    found = solve_many(plus, minus, eps=EPS[:3])
    assert len(alone) == 3
    assert [f.objective for f in found] == [solve(plus, minus, eps=e).objective for e in EPS[:3]]


def test_what_is_not_smooth_or_not_attacked_is_solved_alone(alone):
    plus, minus = sample(4, d=4)
    for change in ({"loss": "hinge"}, {"norm": "l2"}, {"loss": "squared"}):
        found = solve_many(plus, minus, eps=[(0.1, 0.2), (0.2, 0.2)], **change)
        assert found[1].objective == solve(plus, minus, eps=0.2, **change).objective
    assert len(alone) == 6
    mixed = solve_many(plus, minus, eps=[0.2, 0.0, 0.3])
    assert len(alone) == 7 and mixed[0].objective > mixed[1].objective
    assert solve_many(plus, minus, eps=[]) == []


def test_conjugate_gradients_solve_all_equations_up_to_their_accuracy():
    plus, minus = sample(5, d=12)
    _, samples = samples_of(plus, minus)
    rng = np.random.default_rng(0)
    eps, free = rng.uniform(0, 0.5, (3, 2)), np.ones((3, 13))
    free[1, :5] = 0
    signs = rng.choice([-1.0, 1.0], (3, 12))
    equations = Equations(rng.uniform(0.1, 1, (3, samples.n)), signs, free, eps)
    inverse = Preconditioner(samples.rough, equations, 0.1, samples.scale)
    right = rng.standard_normal((3, 13)) * free
    right[2] = 0
    x, _ = conjugate(samples.rough, equations.rough(), inverse, 0.1, right, np.full(3, 1e-4))
    for i in range(2):
        rows = samples.table[:, :13] + (samples.table[:, 13:] @ eps[i])[:, None] * np.append(signs[i], 0)
        hessian = rows.T @ (equations.h[i][:, None] * rows) + 0.1 * np.diag(np.append(np.ones(12), 0))
        inside = free[i] > 0
        expected = np.linalg.solve(hessian[np.ix_(inside, inside)], right[i, inside])
        np.testing.assert_allclose(x[i, inside], expected, atol=1e-3 * np.abs(expected).max())
        assert not x[i, ~inside].any()
    assert not x[2].any()


def test_columns_that_were_left_out_are_taken_in_where_they_matter(monkeypatch, alone):
    """At w = 0 few columns pull with almost the strength of the attack, but more weights are learned."""
    plus, minus = sample(9, n=(300, 300), d=60)
    monkeypatch.setattr(lockstep, "NEAR", 1.0)
    monkeypatch.setattr(lockstep, "SPARSE", 2.0)
    looked, eps = [], [(0.5, 0.5), (0.6, 0.5), (0.5, 0.7)]
    truth = Samples.of
    monkeypatch.setattr(
        Samples, "of", lambda self, columns: looked.append(len(columns)) or truth(self, columns)
    )
    found = solve_many(plus, minus, eps=eps)
    assert looked[0] < looked[-1] < 60 and looked == sorted(looked) and not alone
    for f, e in zip(found, eps, strict=True):
        assert f.objective == pytest.approx(solve(plus, minus, eps=e).objective, abs=2e-8)


def test_columns_that_repeat_or_are_empty_are_solved():
    plus, minus = (np.hstack([x, x, 0 * x]) for x in sample(6, d=10))
    found = solve_many(plus, minus, eps=EPS)
    for f, e in zip(found, EPS, strict=True):
        assert f.objective == pytest.approx(solve(plus, minus, eps=e).objective, abs=2e-8)


def test_strongly_correlated_columns_are_solved():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1500, 30)) @ rng.standard_normal((30, 60))
    right = x[:, 0] + 2 * rng.standard_normal(1500) > 0
    assert all(f.gap <= 1e-8 for f in solve_many(x[right], x[~right], eps=[0.05, 0.06, 0.2]))


def test_separable_classes_are_refused_by_the_name_of_the_problem():
    plus, minus = sample(7)
    plus, minus = plus + 30, minus - 30
    with pytest.raises(
        InputError, match="^problem 1: the classes are separable .* l2 must be > 0"
    ) as refused:
        solve_many(plus, minus, eps=[50.0, 0.1, 60.0])
    assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match="^problem 0: the classes are separable"):
        solve_many(plus, minus, eps=[0.1], gap=0.5)  # a loss of 0 would be near enough, but no minimiser
    assert all(f.gap <= 1e-8 for f in solve_many(plus, minus, eps=[50.0, 0.1, 60.0], l2=1e-3))


@pytest.mark.parametrize(
    "change, says",
    [
        ({"eps": [0.1, -0.1]}, "^problem 1: eps"),
        ({"eps": [0.1, (0.1, 0.2, 0.3)]}, "^problem 1: eps must be a number or one of each class"),
        ({"weights": [(1.0, 1.0), (1.0, 0.0)]}, "^problem 1: weights"),
        ({"weights": [(1.0, 1.0)]}, "eps and weights must have one item a problem each, got 2 and 1"),
        ({"loss": "absolute"}, "loss must be one of"),
        ({"norm": "l3"}, "norm must be one of"),
        ({"l2": -1.0}, "l2"),
        ({"gap": 0.0}, "gap"),
        ({"plus": np.ones((4, 3))}, "samples must be two tables"),
        ({"plus": np.ones((0, 25))}, "samples must be two tables"),
        ({"plus": np.ones(25)}, "samples must be two tables"),
        ({"minus": np.full((4, 25), np.nan)}, "samples must be finite"),
        ({"minus": np.full((4, 25), np.inf)}, "samples must be finite"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(change, says):
    plus, minus = sample()
    with pytest.raises(InputError, match=says) as refused:
        solve_many(**({"plus": plus, "minus": minus, "eps": [0.1, 0.2]} | change))
    assert "\n" not in str(refused.value)


def test_lockstep_leaves_what_it_is_given_as_it_was():
    plus, minus = sample(8, d=6)
    _, samples = samples_of(plus, minus)
    given_batch = batch_of(EPS[:2], [(1 / 240, 1 / 240)] * 2, 6)
    found = solve_lockstep(samples, given_batch, 1e-8)
    assert found.w.any() and not given_batch.w.any() and not given_batch.b.any()
    assert (found.objective - found.bound <= 1e-8).all()
