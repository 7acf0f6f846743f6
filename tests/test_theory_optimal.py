import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import ndtr
from strategies import ANY_K, K_ABOVE_1, exact_log_error, exact_z_scores, mixtures

from theory.common.inputs import InputError
from theory.gaussian.linear import LinearClassifier, error, log_error
from theory.gaussian.mixture import GaussianMixture
from theory.gaussian.optimal import optimal_bias, optimal_kind, optimal_z_scores
from theory.gaussian.problem import optimal_classifier

RADII = st.one_of(st.just(0.0), st.floats(0, 0.999), st.just(1.0), st.floats(1.001, 3))
"""eps / eta."""


def closed_form_agrees(mixture, eps, constant=2):
    """Say whether the z-scores and log errors agree with 400 digits to 1e-10."""
    exact = exact_z_scores(mixture, eps, constant=constant)
    for z, truth in zip(optimal_classifier(mixture, eps).z_scores(eps), exact, strict=True):
        if not -1e6 < truth < 25:
            continue
        if abs(log_error(z) / exact_log_error(truth) - 1) > 1e-10:
            return False
    return True


@given(mixtures(ANY_K.filter(lambda K: K != 1)), RADII)
def test_closed_form_equals_400_digits_in_logs(mixture, ratio):
    assert closed_form_agrees(mixture, ratio * mixture.eta)


def test_a_wrong_constant_in_the_closed_form_is_seen():
    mixture = GaussianMixture(dim=100, eta=0.13, sigma=0.95, K=1.5)
    assert closed_form_agrees(mixture, 0.05)
    assert not closed_form_agrees(mixture, 0.05, constant=2.001)


@given(mixtures(ANY_K), st.one_of(st.floats(0, 0.999), st.floats(1.001, 2)), st.floats(0, 2))
def test_written_out_weights_give_the_same_errors(mixture, train, attack):
    classifier = optimal_classifier(mixture, train * mixture.eta)
    assume(classifier.kind == "interior" and abs(classifier.bias) < 1e6 * mixture.sigma)
    closed = classifier.z_scores(attack * mixture.eta)
    plain = classifier.linear().z_scores(mixture, attack * mixture.eta)
    scale = 1 + mixture.dim**0.5 * mixture.eta / min(mixture.scales) * 3
    np.testing.assert_allclose(closed, plain, atol=1e-11 * scale * max(1, mixture.K), rtol=1e-9)


@given(st.floats(-3, 8), K_ABOVE_1)
def test_no_bias_does_better(m, K):
    assume(m > 0 or K > 1.001)
    b = float(optimal_bias(m, 1.0, K))
    grid = np.concatenate([np.linspace(-40, 40, 4001) * (1 + abs(b)) / 20, b + np.linspace(-1, 1, 2001)])

    def average(bias):
        return (ndtr(-(bias + m) / K) + ndtr(bias - m)) / 2

    assert average(b) <= average(grid).min() + 1e-15
    if 1e-9 < average(b) < 0.49 and K < 10:  # the check can fail
        assert average(b) < min(average(b + 0.5), average(b - 0.5))


@pytest.mark.parametrize("ratio", [0.0, 0.4, 0.9, 1.3, 2.5])
@pytest.mark.parametrize("dim", [2, 3])
def test_no_direction_does_better(dim, ratio):
    mixture = GaussianMixture(dim=dim, eta=1.0, sigma=0.8, K=1.7)
    rng = np.random.default_rng(dim)

    def average(classifier):
        return np.mean([error(z) for z in classifier.z_scores(mixture, ratio)])

    best = average(optimal_classifier(mixture, ratio).linear())
    weights = rng.standard_normal((400, dim))
    biases = rng.uniform(-6, 6, 400)
    assert (
        best
        <= min(
            average(LinearClassifier(w / np.linalg.norm(w), b)) for w, b in zip(weights, biases, strict=True)
        )
        + 1e-12
    )
    if ratio > 1:  # where the direction of the paper, 1 / sqrt(d), is not optimal
        margin = dim**0.5 * (1 - ratio)
        paper = LinearClassifier(np.full(dim, dim**-0.5), float(optimal_bias(margin, 0.8, 1.7)))
        assert average(paper) > best


@given(mixtures(), st.lists(st.floats(0, 0.99), min_size=2, max_size=2, unique=True))
def test_the_wide_class_errs_more_and_pays_for_robustness(mixture, radii):
    """The wide class errs more, and adversarial training moves natural errors from the narrow class to it."""
    low, high = sorted(radii)
    assume(high - low > 1e-6 and mixture.K > 1 + 1e-6)
    few, many = (optimal_classifier(mixture, r * mixture.eta) for r in (low, high))
    for c in (few, many):
        plus, minus = c.z_scores(c.radii[0])
        assert plus > minus
        # ratio theorem (ours): R_+ / R_- > K, whatever the margin
        assume(minus > -1e7)
        assert log_error(plus) - log_error(minus) > math.log(mixture.K) * (1 - 1e-9) - 1e-9
    (a_plus, a_minus), (b_plus, b_minus) = few.z_scores(), many.z_scores()
    slack = 1e-12 * (1 + abs(a_plus) + abs(a_minus))
    assert b_plus >= a_plus - slack and b_minus <= a_minus + slack
    assert b_plus > a_plus or b_minus < a_minus or high - low < 1e-3


def test_that_price_needs_unequal_variances():
    """Negative control: at K = 1 adversarial training changes no natural error."""
    mixture = GaussianMixture(dim=20, eta=0.4, sigma=1.0, K=1.0)
    z = [optimal_classifier(mixture, eps).z_scores() for eps in (0.0, 0.3)]
    np.testing.assert_allclose(z[0], z[1])
    np.testing.assert_allclose(z[0], -(20**0.5) * 0.4)


def test_the_robust_error_of_the_narrow_class_is_not_monotone():
    """It peaks at Phi(-sqrt(2 ln K)), where the wide class has error 1/2, and falls after."""
    K, sigma, d, eta = 2.0, 1.0, 20, 0.4
    mixture = GaussianMixture(dim=d, eta=eta, sigma=sigma, K=K)
    peak = eta - sigma * math.sqrt(math.log(K) / (2 * d))
    z = {eps: optimal_classifier(mixture, eps).z_scores(eps) for eps in (peak - 0.05, peak, peak + 0.05)}
    assert z[peak] == pytest.approx((0, -math.sqrt(2 * math.log(K))), abs=1e-12)
    assert z[peak][1] > max(z[peak - 0.05][1], z[peak + 0.05][1])


@given(mixtures(ANY_K), RADII)
def test_exchanging_the_classes_exchanges_the_errors(mixture, ratio):
    eps = ratio * mixture.eta
    assume(mixture.K != 1)
    other = GaussianMixture(
        dim=mixture.dim, eta=mixture.eta, sigma=mixture.K * mixture.sigma, K=1 / mixture.K
    )
    here, there = (optimal_classifier(m, eps).z_scores(eps) for m in (mixture, other))
    assume(abs(mixture.K - 1) > 1e-6)  # 1 / K is rounded, which near 1 changes K - 1
    np.testing.assert_allclose(here, there[::-1], rtol=1e-6, atol=1e-6)


def test_constant_only_at_equal_variances_without_margin():
    mixture = GaussianMixture(dim=4, eta=1.0, sigma=1.0, K=1.0)
    constant = optimal_classifier(mixture, 1.5)
    assert (constant.kind, constant.bias) == ("always_plus", math.inf)
    assert constant.z_scores() == (-math.inf, math.inf)
    near = optimal_classifier(GaussianMixture(dim=4, eta=1.0, sigma=1.0, K=1 + 1e-9), 1.5)
    assert near.kind == "interior"


@pytest.mark.parametrize(
    "wrong",
    [
        {"dim": 0},
        {"dim": True},
        {"dim": 2.5},
        {"eta": 0},
        {"sigma": -1},
        {"K": math.nan},
        {"K": "2"},
        {"eta": 10**400},
    ],
)
def test_refuses_what_is_no_mixture(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        GaussianMixture(**({"dim": 2, "eta": 1.0, "sigma": 1.0, "K": 2.0} | wrong))


def test_refuses_what_leaves_double_precision():
    mixture = GaussianMixture(dim=2, eta=1e300, sigma=1e-300, K=2.0)
    with pytest.raises(InputError, match="double precision"):
        optimal_classifier(mixture, 0.0)
    with pytest.raises(InputError, match="eps"):
        optimal_classifier(mixture, -1.0)


@pytest.mark.parametrize("excess", [1e-2, 1e-6, 1e-7, 1e-12])
def test_a_lighter_wide_class_is_never_the_constant_answer(excess):
    """Near K = 1, at a negative margin, z-scores are in the millions and differ too little to compare."""
    for K, log_odds in ((1 + excess, -0.5), (1 / (1 + excess), 0.5)):
        assert optimal_kind(-2, 0.7, K, log_odds) == "interior"
        wide, narrow = sorted(optimal_z_scores(-2, 0.7, K, log_odds), reverse=True)
        assert wide > 100 and narrow < -100  # the light class is given up
        assert str(optimal_kind(-2, 0.7, K, -log_odds)).startswith("always")
