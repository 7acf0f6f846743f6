"""Exact linear training: the certificate, independent routes to the optimum, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from sim.sampling.draws import draw
from sim.solvers import barrier, orthant
from sim.solvers.barrier import smooth_abs, smooth_norm
from sim.solvers.losses import LOSSES
from sim.solvers.newton import Dual
from sim.solvers.solve import solve
from sim.solvers.training_problem import TrainingProblem
from theory.common.inputs import InputError
from theory.gaussian.adversary import NORMS, dual_norm
from theory.gaussian.linear import LinearClassifier
from theory.gaussian.mixture import GaussianMixture
from theory.gaussian.surrogate import exponential_optimum, hinge_optimum, logistic_optimum, squared_optimum

MIXTURE = GaussianMixture(dim=5, eta=0.8, sigma=1.0, K=2.0)
CASES = [(loss, norm) for loss in LOSSES for norm in NORMS]


def sample(seed=0, n=(60, 50), d=5, K=2.0):
    rng = np.random.default_rng(seed)
    theta = rng.uniform(0, 1, d)
    return theta + K * rng.standard_normal((n[0], d)), -theta + rng.standard_normal((n[1], d))


def objective(w, b, plus, minus, loss, norm, eps, weights=(1.0, 1.0), l2=0.0):
    """Return the objective from its definition; the squared loss is the larger of both ends of the attack."""
    total = 0.0
    for x, y, e, c in zip((plus, minus), (1, -1), eps, weights, strict=True):
        t, r = y * (x @ w + b), e * dual_norm(w, norm)
        value = {
            "logistic": lambda m: np.logaddexp(0, -m),
            "hinge": lambda m: np.maximum(0, 1 - m),
            "exponential": lambda m: np.exp(-m),
            "squared": lambda m: (1 - m) ** 2,
        }[loss]
        total += c * np.maximum(value(t - r), value(t + r)).sum()
    return total / (weights[0] * len(plus) + weights[1] * len(minus)) + l2 / 2 * w @ w


@pytest.mark.parametrize("loss, norm", CASES)
@pytest.mark.parametrize(
    "eps, l2", [((0.1, 0.3), 0.0), ((0.2, 0.0), 0.05), ((5.0, 5.0), 0.0), ((0.0, 0.0), 0.1)]
)
def test_no_classifier_is_below_the_certified_bound(loss, norm, eps, l2):
    """Neither random neighbours nor a derivative-free search from the solution get below objective - gap."""
    plus, minus = sample()
    setting = {"loss": loss, "norm": norm, "eps": eps, "weights": (1.0, 2.0), "l2": l2}
    found = solve(plus, minus, **setting)
    w, b = found.classifier.weights, found.classifier.bias
    value = objective(w, b, plus, minus, **setting)
    assert value == pytest.approx(found.objective, abs=1e-12)
    assert 0 <= found.gap + 1e-12 and found.gap <= 1e-8
    rng = np.random.default_rng(1)
    for scale in (1.0, 1e-2, 1e-4):
        for step in scale * rng.standard_normal((40, len(w) + 1)):
            assert objective(w + step[:-1], b + step[-1], plus, minus, **setting) >= value - found.gap - 1e-12
    best = minimize(
        lambda v: objective(v[:-1], v[-1], plus, minus, **setting),
        np.append(w, b),
        method="Nelder-Mead",
        options={"maxfev": 300},
    )
    assert best.fun >= value - found.gap - 1e-12


@pytest.mark.parametrize("norm", NORMS)
def test_smooth_losses_reach_the_optimum_of_a_general_solver(norm):
    plus, minus = sample(3)
    for loss in ("logistic", "exponential"):
        setting = {"loss": loss, "norm": norm, "eps": (0.1, 0.2), "l2": 0.01}
        found = solve(plus, minus, **setting)
        start = np.append(0.9 * found.classifier.weights + 0.05, found.classifier.bias)
        other = minimize(
            lambda v, s=setting: objective(v[:-1], v[-1], plus, minus, **s),
            start,
            method="Powell",
            options={"xtol": 1e-10, "ftol": 1e-14, "maxiter": 10_000, "maxfev": 20_000},
        )
        assert found.objective - 1e-8 <= other.fun <= found.objective + 1e-5


@pytest.mark.parametrize("eps", [0.0, 0.15, 2.0])
def test_hinge_training_is_the_linear_programme(eps):
    """Under linf with w = u - v: minimise the mean of xi >= 1 - y (w.x + b) + eps sum(u + v)."""
    plus, minus = sample(4)
    signed = np.concatenate([plus, -minus])
    (n, d), y = signed.shape, np.repeat([1.0, -1.0], [len(plus), len(minus)])
    cost = np.concatenate([np.zeros(2 * d + 1), np.full(n, 1 / n)])
    rows = np.hstack([eps - signed, eps + signed, -y[:, None], -np.eye(n)])
    bounds = [(0, None)] * (2 * d) + [(None, None)] + [(0, None)] * n
    programme = linprog(cost, rows, np.full(n, -1.0), bounds=bounds)
    assert solve(plus, minus, loss="hinge", eps=eps).objective == pytest.approx(programme.fun, abs=2e-8)


def test_natural_squared_training_is_least_squares():
    plus, minus = sample(5)
    rows = np.column_stack([np.concatenate([plus, minus]), np.ones(len(plus) + len(minus))])
    w = np.linalg.lstsq(rows, np.repeat([1.0, -1.0], [len(plus), len(minus)]))[0]
    found = solve(plus, minus, loss="squared").classifier
    np.testing.assert_allclose(np.append(found.weights, found.bias), w, rtol=1e-9)


def test_natural_logistic_training_is_logistic_regression():
    linear_model = pytest.importorskip("sklearn.linear_model")
    plus, minus = sample(6)
    x, y = np.concatenate([plus, minus]), np.repeat([1, -1], [len(plus), len(minus)])
    model = linear_model.LogisticRegression(C=1 / (len(x) * 0.05), tol=1e-10, solver="newton-cholesky")
    oracle = model.fit(x, y)
    found = solve(plus, minus, l2=0.05).classifier
    np.testing.assert_allclose(found.weights, oracle.coef_[0], atol=1e-4)
    assert found.bias == pytest.approx(float(oracle.intercept_[0]), abs=1e-4)


@pytest.mark.parametrize("eps", [0.3, 0.5, 0.7])
def test_weights_at_zero_and_away_from_it_are_stationary(eps):
    """Subgradient condition of the l1 norm in 60 dimensions, where many weights are exactly 0."""
    plus, minus = sample(7, n=(300, 300), d=60)
    found = solve(plus, minus, eps=eps, gap=1e-12).classifier
    w, reach = found.weights, eps * np.abs(found.weights).sum()
    t = np.concatenate([plus @ w + found.bias, -(minus @ w + found.bias)]) - reach
    alpha = 1 / (1 + np.exp(t))
    vector = alpha[:300] @ plus - alpha[300:] @ minus
    radius = eps * alpha.sum()
    assert 3 < (w != 0).sum() < 60
    np.testing.assert_allclose(vector[w != 0], (radius * np.sign(w))[w != 0], rtol=1e-4)
    assert (np.abs(vector[w == 0]) <= radius).all()
    assert alpha[:300].sum() == pytest.approx(alpha[300:].sum(), rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_training_approaches_the_population_minimiser(loss):
    """With sixteen times the samples the distance to the population minimiser falls clearly."""
    eps, d = (0.0 if loss == "squared" else 0.3), MIXTURE.dim
    margin = d**0.5 * (MIXTURE.eta - eps)
    if loss == "logistic":
        optimum = logistic_optimum(MIXTURE, eps)
        scale, bias = optimum.scale, optimum.bias
    else:
        form = {"hinge": hinge_optimum, "exponential": exponential_optimum, "squared": squared_optimum}[loss]
        scale, bias = (float(v) for v in form(margin, MIXTURE.sigma, MIXTURE.K)[:2])
        bias *= scale
    target = np.append(np.full(d, scale / d**0.5), bias)
    rng = np.random.default_rng(0)

    def distance(n):
        found = solve(*draw(MIXTURE, n, rng), loss=loss, eps=eps, gap=1e-6).classifier
        return np.linalg.norm(np.append(found.weights, found.bias) - target) / np.linalg.norm(target)

    near, far = (np.median([distance(n) for _ in range(5)]) for n in (8000, 500))
    assert near < 0.5 * far and near < 0.1


def dual_of(plus, minus, eps, gap=1e-8):
    """Return a problem with its certified optimum and dual point."""
    n = len(plus) + len(minus)
    problem = TrainingProblem(plus, minus, LOSSES["logistic"], "linf", (eps, eps), (1 / n, 1 / n), 0.0)
    point = orthant.Point.of(problem, np.zeros(plus.shape[1]), 0.0)
    found, dual, bound, _ = orthant._newton(problem, point, None, gap)
    return problem, found, dual, bound


@pytest.mark.parametrize("d", [5, 60, 170])
def test_the_dual_point_is_strictly_feasible(d):
    """So the bound holds for all classifiers, not only for those up to twice the norm of the one found."""
    problem, found, dual, bound = dual_of(*sample(8, n=(300, 300), d=d, K=3.0), 0.6)
    k = len(problem.plus)
    assert np.abs(dual.vector).max() < dual.radius
    assert dual.alpha[:k].sum() == pytest.approx(dual.alpha[k:].sum(), rel=1e-6)
    assert problem.bound(dual.alpha, dual.alpha, dual.class_vectors, 1e12) == bound
    assert 0 <= found.objective - bound <= 1e-8


def test_a_wrong_dual_point_certifies_nothing():
    """The slopes at a bad classifier, or a dual for another radius, leave a gap far above the tolerance."""
    problem, found, dual, _ = dual_of(*sample(9, n=(200, 200)), 0.3)
    slopes = Dual.of(problem, orthant.Point.of(problem, 1.1 * found.w, found.b).alpha)
    assert found.objective - slopes.bound(problem, found.w) > 1e-4
    smaller = replace(problem, eps=(0.29, 0.29))
    assert found.objective - Dual.of(smaller, dual.alpha).bound(smaller, found.w) > 1e-4


@pytest.mark.parametrize("eps", [0.0, 0.2])
def test_an_infeasible_dual_point_certifies_nothing_where_w_is_0(eps):
    """At w = 0 every dual value equals the objective, and no multiple of ||w|| could tell a wrong one."""
    plus, minus = sample(15)
    n = len(plus) + len(minus)
    problem = TrainingProblem(plus, minus, LOSSES["logistic"], "linf", (eps, eps), (1 / n, 1 / n), 0.0)
    start = orthant.Point.of(problem, np.zeros(5), 0.0)
    assert Dual.of(problem, start.alpha).bound(problem, start.w) == 0
    assert solve(plus, minus, eps=eps, l2=0.0).objective < start.objective - 0.01


def test_strongly_correlated_columns_are_solved():
    """Weights keep changing their signs on the way of orthants; the barrier takes over."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1500, 30)) @ rng.standard_normal((30, 60))
    right = x[:, 0] + 2 * rng.standard_normal(1500) > 0
    assert solve(x[right], x[~right], eps=0.05).gap <= 1e-8


def test_a_gap_that_is_not_reached_is_named(monkeypatch):
    monkeypatch.setattr(orthant, "STEPS", 1)
    monkeypatch.setattr(barrier, "STEPS", 1)
    with pytest.raises(InputError, match="logistic .* 1e-08"):
        solve(*sample(), eps=0.3)


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.sampled_from(["logistic", "exponential"]), st.floats(0.01, 0.5))
def test_repeating_samples_is_weighting_them(seed, loss, eps):
    plus, minus = sample(seed)
    one = solve(plus, minus, loss=loss, eps=eps, weights=(3.0, 1.0), l2=0.01)
    three = solve(np.concatenate([plus] * 3), minus, loss=loss, eps=eps, l2=0.01)
    assert one.objective == pytest.approx(three.objective, abs=3e-8)


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.sampled_from(CASES), st.sampled_from([1e-6, 0.3, 1e5]))
def test_permutations_signs_units_and_classes_do_not_matter(seed, case, unit):
    """Renaming coordinates, changing units and exchanging the classes lead to the same optimum."""
    loss, norm = case
    plus, minus = sample(seed, d=4)
    rng = np.random.default_rng(seed)
    order, flip = rng.permutation(4), rng.choice([-1.0, 1.0], 4)
    one = solve(plus, minus, loss=loss, norm=norm, eps=(0.1, 0.2), l2=0.1)
    changed = [unit * flip * x[:, order] for x in (minus, plus)]
    eps = (0.2 * unit, 0.1 * unit)
    two = solve(*changed, loss=loss, norm=norm, eps=eps, l2=0.1 * unit**2)
    assert one.objective == pytest.approx(two.objective, abs=2e-8)
    expected = -flip * one.classifier.weights[order]
    np.testing.assert_allclose(unit * two.classifier.weights, expected, atol=2e-3)


def test_a_larger_radius_costs_more_and_one_class_alone_can_be_protected():
    plus, minus = sample(10, n=(400, 400))

    def errors(eps):
        c = solve(plus, minus, eps=eps).classifier
        reach = 0.3 * np.abs(c.weights).sum()
        return (plus @ c.weights + c.bias <= reach).mean(), (-(minus @ c.weights + c.bias) <= reach).mean()

    values = [solve(plus, minus, eps=e).objective for e in (0.0, 0.1, (0.1, 0.3), 0.3)]
    assert values == sorted(values) and len(set(values)) == 4
    both, more = errors((0.3, 0.3)), errors((0.6, 0.0))
    assert more[0] < both[0] and more[1] > both[1]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss", LOSSES)
def test_beyond_some_radius_nothing_is_learned(loss, norm):
    found = solve(*sample(11), loss=loss, norm=norm, eps=50.0)
    assert np.abs(found.classifier.weights).max() < 1e-7 and found.gap <= 1e-8


def test_a_warm_start_takes_fewer_steps_to_the_same_optimum():
    plus, minus = sample(12, n=(500, 500), d=30)
    near = solve(plus, minus, eps=0.2).classifier
    cold, warm = solve(plus, minus, eps=0.21), solve(plus, minus, eps=0.21, start=near)
    assert warm.iterations < cold.iterations
    assert warm.objective == pytest.approx(cold.objective, abs=2e-8)


@pytest.mark.parametrize("d", [30, 80])
def test_repeated_empty_and_badly_scaled_columns_are_solved(d):
    plus, minus = sample(13, n=(400, 400), d=d, K=4.0)
    scales = 10.0 ** np.linspace(-3, 3, d)
    spread = [np.hstack([x * scales, x * scales, 0 * x]) for x in (plus, minus)]
    plain = solve(plus * scales, minus * scales, eps=1.0)
    assert solve(*spread, eps=1.0).objective == pytest.approx(plain.objective, abs=3e-8)


@pytest.mark.parametrize("loss", ["logistic", "exponential"])
@pytest.mark.parametrize("norm", NORMS)
def test_separable_classes_need_a_penalty(loss, norm):
    plus, minus = sample(14)
    plus, minus = plus + 9, minus - 9
    with pytest.raises(InputError, match="separable .* l2"):
        solve(plus, minus, loss=loss, norm=norm, eps=0.1)
    assert solve(plus, minus, loss=loss, norm=norm, eps=0.1, l2=1e-3).gap <= 1e-8
    assert solve(plus, minus, loss="hinge", norm=norm, eps=0.1).objective < 2e-8


@pytest.mark.parametrize(
    "change, says",
    [
        ({"loss": "absolute"}, "loss must be one of"),
        ({"norm": "l3"}, "norm must be one of"),
        ({"eps": -0.1}, "eps"),
        ({"eps": (0.1, float("nan"))}, "eps"),
        ({"eps": (0.1, 0.2, 0.3)}, "eps must be a number or one of each class"),
        ({"weights": (1.0, 0.0)}, "weights"),
        ({"l2": -1.0}, "l2"),
        ({"gap": 0.0}, "gap"),
        ({"start": LinearClassifier(np.ones(3), 0.0)}, "start must have 5 weights"),
        ({"plus": np.ones((4, 3))}, "samples must be two tables"),
        ({"plus": np.ones((0, 5))}, "samples must be two tables"),
        ({"plus": np.ones(5)}, "samples must be two tables"),
        ({"minus": np.full((4, 5), np.nan)}, "samples must be finite"),
        ({"minus": np.full((4, 5), np.inf)}, "samples must be finite"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(change, says):
    plus, minus = sample()
    with pytest.raises(InputError, match=says) as refused:
        solve(**({"plus": plus, "minus": minus} | change))
    assert "\n" not in str(refused.value)


@given(st.floats(-50, 50), st.floats(1e-6, 1))
def test_the_smooth_absolute_value_is_a_barrier_maximum(s, mu):
    value, k, curvature = (float(v[0]) for v in smooth_abs(np.array([s]), mu))
    assert abs(k) < 1 and curvature > 0
    inside = np.tanh(np.linspace(-12, 12, 4001))
    assert value >= (inside * s + mu * np.log1p(-(inside**2))).max() - 1e-9 * (1 + abs(s))


@given(st.integers(0, 10**6), st.sampled_from(NORMS), st.floats(1e-3, 1))
def test_smooth_norms_have_their_gradients_and_stay_inside_the_ball(seed, norm, mu):
    rng = np.random.default_rng(seed)
    w, h = rng.standard_normal(4), 1e-5 * mu
    here = smooth_norm(w, norm, mu)
    ball = {"linf": "l1", "l2": "l2", "l1": "linf"}[norm]
    assert dual_norm(here.u, ball) < 1
    steps = h * np.eye(4)
    around = [(smooth_norm(w + s, norm, mu), smooth_norm(w - s, norm, mu)) for s in steps]
    slopes = [(p.value - m.value) / (2 * h) for p, m in around]
    np.testing.assert_allclose(slopes, here.u, atol=1e-5)
    second = [(p.u - m.u) / (2 * h) for p, m in around]
    np.testing.assert_allclose(second, here.times(1.0), atol=1e-4 / mu)


@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_a_barrier_step_solves_newtons_equations(loss):
    """Along the step the gradient falls at the rate of the gradient itself: H x = g, by differences."""
    plus, minus = sample(16)
    n = len(plus) + len(minus)
    problem = TrainingProblem(plus, minus, LOSSES[loss], "linf", (0.2, 0.5), (1 / n, 1 / n), 0.3)
    rows = problem.y[:, None] * np.column_stack([np.vstack([plus, minus]), np.ones(n)])
    w, b = np.random.default_rng(1).standard_normal(plus.shape[1]) / 2, 0.1

    def equations(step):
        return barrier._equations(
            problem, rows, barrier._state(problem, rows, w + step[:-1], b + step[-1], 0.1)
        )

    gradient, x = equations(np.zeros(len(w) + 1))
    slope = (equations(1e-5 * x)[0] - equations(-1e-5 * x)[0]) / 2e-5
    np.testing.assert_allclose(slope, gradient, rtol=1e-5, atol=1e-7)


def test_the_radius_of_a_dual_point_weighs_the_radii_of_the_classes():
    plus, minus = sample(17)
    n, k = len(plus) + len(minus), len(plus)
    problem = TrainingProblem(plus, minus, LOSSES["logistic"], "linf", (0.2, 0.5), (1 / n, 1 / n), 0.0)
    dual = Dual.of(problem, np.linspace(0, 1, n))
    assert dual.radius == pytest.approx(0.2 * dual.alpha[:k].sum() + 0.5 * dual.alpha[k:].sum())
