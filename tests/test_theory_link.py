"""The Gaussian-margin model where it is exact, linear classifiers on Gaussian classes, and its judgement."""

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import spearmanr

from theory.common.inputs import InputError
from theory.gaussian.adversary import dual_norm
from theory.gaussian.optimal import optimal_bias
from theory.gaussian.problem import Problem
from theory.networks.agreement import agreement, explained_variance, pair_ratios, rank_correlation
from theory.networks.changes import bias_shift, error_change, judged, tally
from theory.networks.margin_model import PREDICTORS, MarginModel, MarginSamples, predict_errors
from theory.variants.multiclass import class_error, error_bounds, pair_z_scores, variance_ratio

EPS = 0.15


def network(classes=4, dim=6, seed=0):
    """Return weights, biases, means and scales of a linear network on Gaussian classes."""
    rng = np.random.default_rng(seed)
    mean = 1.2 * rng.normal(size=(classes, dim))
    weights = mean + 0.3 * rng.normal(size=(classes, dim))
    return weights, -(weights * mean).sum(1) / 2, mean, rng.uniform(0.5, 1.3, classes)


def gaussian(weights, bias, mean, scales, eps=EPS):
    """Return the exact margin model of a linear network."""
    size = len(weights)
    gaps = weights[:, None] - weights  # (i, j, d)
    return MarginModel(
        np.einsum("ijd,id->ij", gaps, mean) + bias[:, None] - bias,
        np.einsum("ijd,ikd->ijk", gaps, gaps) * scales[:, None, None] ** 2,
        eps * np.array([[dual_norm(gaps[i, j], "linf") for j in range(size)] for i in range(size)]),
    )


def sampled(n, weights, bias, mean, scales, *, norm="linf", seed=0, eps=EPS):
    """Return margins of n samples of each class, and what an adversary of a norm takes of each."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(weights)), n)
    x = mean[labels] + scales[labels, None] * rng.normal(size=(len(labels), mean.shape[1]))
    scores = x @ weights.T + bias
    gaps = weights[labels][:, None] - weights
    drop = eps * np.array([[dual_norm(g, norm) for g in row] for row in gaps])
    return MarginSamples(labels, scores[np.arange(len(labels)), labels][:, None] - scores, drop)


def exact(weights, bias, mean, scales, attacked, eps=EPS):
    out = []
    for k in range(len(weights)):
        z, R = pair_z_scores(weights, bias, mean[k], scales[k] ** 2, k, eps * attacked)
        out.append(class_error(z, R))
    return np.array(out)


@pytest.mark.parametrize("attacked", [False, True])
def test_a_linear_network_is_predicted_exactly(attacked):
    given = network()
    np.testing.assert_allclose(gaussian(*given).errors(attacked=attacked), exact(*given, attacked), atol=1e-4)
    samples = sampled(4000, *given)
    fitted = MarginModel.fit(samples).errors(attacked=attacked)
    np.testing.assert_allclose(fitted, exact(*given, attacked), atol=0.02)
    others = {name: rule(samples, attacked) for name, rule in PREDICTORS.items()}
    np.testing.assert_allclose(others["joint Gaussian"], fitted)
    assert (others["worst pair"] <= fitted + 1e-3).all() and (fitted <= others["sum of pairs"] + 1e-3).all()
    np.testing.assert_allclose(others["each sample"], fitted, atol=0.025)
    for k, z in enumerate(gaussian(*given).z_scores(attacked=attacked)):
        low, high = error_bounds(np.delete(z, k))
        assert low - 2e-4 <= exact(*given, attacked)[k] <= high + 2e-4


def counted(samples):
    left = samples.margin - samples.drop
    left[np.arange(len(left)), samples.labels] = np.inf
    size = left.shape[1]
    errors = np.array([(left.min(1) <= 0)[samples.labels == c].sum() for c in range(size)])
    return errors, np.bincount(samples.labels)


@pytest.mark.parametrize(("norm", "fails"), [("linf", False), ("l2", True)])
def test_a_wrong_norm_is_seen(norm, fails):
    given = network(classes=5, seed=1)
    fitted = predict_errors(sampled(400, *given, norm=norm, seed=2), replicates=30, seed=0)
    errors, n = counted(sampled(1000, *given, seed=3))
    found = agreement(fitted.value[1], fitted.replicates[:, 1], errors, n, seed=0)
    assert (len(found.failures) > 2) == fails and (found.explained[0] < 0.95) == fails
    assert found.rank[1] <= found.rank[0] <= found.rank[2]
    if not fails:
        low, mean, high = found.if_right
        assert low <= found.rank[0] <= high and 0.5 < mean <= 1
        ends = fitted.interval()
        assert (ends[0] <= fitted.value).all() and (fitted.value <= ends[1]).all()
        truth = exact(*given, True)
        assert ((ends[0][1] - 0.02 <= truth) & (truth <= ends[1][1] + 0.02)).all()


def paper(K=2.0, eps=0.1, bias=0.3, dim=10, eta=0.4, sigma=1.0):
    """Return the two classes of Xu et al. with a linear classifier, and the exact margins."""
    w = np.full(dim, dim**-0.5)
    weights, biases = np.stack([w, -w]) / 2, np.array([bias, -bias]) / 2
    mean = np.stack([np.full(dim, eta), np.full(dim, -eta)])
    return gaussian(weights, biases, mean, np.array([K * sigma, sigma]), eps)


@pytest.mark.parametrize("K", [0.5, 2.0, 3.0])
def test_K_comes_from_the_margins_and_from_four_counts(K):
    model = paper(K)
    assert model.width_ratio[0, 1] == pytest.approx(K) and model.width_ratio[1, 0] == pytest.approx(1 / K)
    n, rng = 40_000, np.random.default_rng(0)
    before, after = (ndtr(model.z_scores(attacked=a)) for a in (False, True))
    assert variance_ratio(
        (before[0, 1], before[1, 0]), (after[0, 1], after[1, 0])
    ) == pytest.approx(K)  # fmt: skip
    uniform = rng.uniform(size=(n, 2, 2))
    natural, robust = ((uniform < p).sum(0) for p in (before, after))
    value, low, high = pair_ratios(natural, robust, [n, n], draws=500, seed=0)
    assert low[0, 1] < K < high[0, 1] and low[0, 1] < value[0, 1] < high[0, 1]
    assert not low[0, 1] < 1.5 * K < high[0, 1] and not low[0, 1] < 1 < high[0, 1]
    assert value[1, 0] == pytest.approx(1 / value[0, 1]) and value[0, 0] == 1


def test_K_cannot_be_told_from_no_errors():
    _, low, high = pair_ratios(np.zeros((2, 2)), np.array([[0, 3], [1, 0]]), [40, 40], draws=500, seed=0)
    assert low[0, 1] < 1 < high[0, 1]


def pair(mean, spreads, drop):
    """Return the model of two classes with the same mean margin."""
    off = 1 - np.eye(2)
    covariance = np.zeros((2, 2, 2))
    covariance[0, 1, 1], covariance[1, 0, 0] = np.square(spreads)
    return MarginModel(mean * off, covariance, drop * off)


@pytest.mark.parametrize("spreads", [(2.0, 1.0), (0.7, 1.4), (1.01, 1.0)])
@pytest.mark.parametrize(
    ("kind", "before"),  # beyond 2.5 the margin is negative, and weights may make a constant optimal
    [("radius", 0.0), ("radius", 1.0), ("radius", 4.0), ("radii", 1.0), ("radii", 4.0), ("weights", 1.0)],
)
def test_the_shift_is_the_derivative_of_the_optimal_bias(spreads, kind, before):
    mean, rho, step = 1.5, 0.6, 1e-6
    sigma, K = spreads[1], spreads[0] / spreads[1]
    radii, weights = np.full(2, before), np.zeros(2)
    radii = radii + step * {"radius": np.ones(2), "radii": np.array([1.0, -0.5]), "weights": 0}[kind]
    weights = weights + step * np.array([0.7, -0.2]) * (kind == "weights")
    found = bias_shift(pair(mean, spreads, rho), before, radii, weights)
    after = optimal_bias(mean - rho * radii.mean(), sigma, K, weights[0] - weights[1])
    expected = after + rho * (radii[0] - radii[1]) / 2 - optimal_bias(mean - rho * before, sigma, K)
    assert found[0, 1] == pytest.approx(float(expected), rel=1e-3)
    assert found[1, 0] == pytest.approx(-found[0, 1]) and found[0, 0] == 0


@pytest.mark.parametrize("K", [0.4, 1.7])
def test_the_wide_class_pays_as_the_closed_form_says(K):
    eps, problem = 1e-5, Problem(theta=(0.3,) * 9, sigma=0.8, K=K)
    first, then = (ndtr(problem.optimum((e, e)).z_scores()) for e in (0.0, eps))
    best = problem.optimum()
    model = pair(best.margin, best.scales, eps * best.rho)
    model.mean[0, 1] += best.bias
    model.mean[1, 0] -= best.bias
    change = error_change(model, bias_shift(model, 0.0, 1.0), attacked=False)
    np.testing.assert_allclose(change, then - first, rtol=1e-3)
    assert change[0] * np.log(K) > 0 > change[1] * np.log(K)


def test_scores_are_those_of_the_textbook():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, 30), rng.normal(size=30)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert np.isnan(rank_correlation(np.ones(4), np.arange(4))) and np.isnan(
        explained_variance([1, 2], [3, 3])
    )
    assert explained_variance([0.1, 0.4], [0.1, 0.4]) == 1
    assert explained_variance([0.25, 0.25], [0.1, 0.4]) == pytest.approx(0)


def test_what_is_undefined_is_absent():
    same = agreement(np.full(3, 0.1), np.full((20, 3), 0.1), [0, 0, 0], [50] * 3, seed=0).as_json()
    assert same["rank_correlation"] == {} and same["explained_variance"] == {}
    assert agreement([0.1, 0.2], np.full((20, 2), 0.1), [5, 9], [50] * 2, seed=0).as_json()[
        "rank_correlation"
    ] == {"value": pytest.approx(1.0)}  # fmt: skip


@pytest.mark.parametrize(("predicted", "fails"), [(1e-6, []), (0.2, [1, 0])])
def test_no_error_where_none_is_predicted_is_no_failure(predicted, fails):
    value = np.array([predicted, 1 - predicted - 0.01 * bool(fails)])
    found = agreement(value, np.tile(value, (50, 1)), [0, 60], [60, 60], seed=0)
    assert found.failures == fails and found.rank == pytest.approx((1.0, 1.0, 1.0))


def test_verdicts():
    before = np.zeros(40, bool)
    after = np.arange(40) < 12
    up, down, none = (0.1, 0.0, 0.2), (-0.1, -0.2, 0.0), (0.0, 0.0, 0.0)
    changes = [
        judged("a", "natural_error", up, before, after),
        judged("b", "natural_error", down, before, after),
        judged("c", "natural_error", up, before, before),
        judged("d", "natural_error", none, before, after),
    ]
    assert [c.verdict for c in changes] == ["differs", "agrees", "cannot tell", "cannot tell"]
    assert changes[0].measured[0] == -0.3 and changes[0].as_json()["verdict"] == "differs"
    counts, interval = tally(changes)
    assert counts == {"agrees": 1, "differs": 1, "cannot tell": 2} and interval[0] < 0.5 < interval[1]
    assert tally(changes[2:])[1] is None


def test_what_cannot_be_fitted_is_refused():
    labels, good = np.repeat([0, 1], 3), np.arange(12.0).reshape(6, 2)
    for given in (
        (labels, good, good[:, :1]),
        (labels[:5], good, good),
        (labels, np.where(good == 3, np.nan, good), good),
        (np.array([0, 0, 0, 0, 0, 1]), good, good),
        (labels + 1, good, good),
    ):
        with pytest.raises(InputError):
            MarginSamples(*given)
    with pytest.raises(InputError, match="class 0 over class 1"):
        MarginModel.fit(MarginSamples(labels, np.ones((6, 2)), good))
