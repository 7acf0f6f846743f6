"""Class errors with n / d fixed: averaging, max-margin, adversarial logistic training; more data can hurt."""

import mpmath
import numpy as np
import pytest
from golden import agrees, golden
from scipy.optimize import minimize, minimize_scalar
from scipy.special import ndtr

from theory.common.inputs import InputError
from theory.gaussian.class_distance import gap_slope
from theory.gaussian.mixture import GaussianMixture
from theory.gaussian.surrogate import logistic_optimum
from theory.variants import averaging as a
from theory.variants.linear_loss import linear_loss, most_useful_samples
from theory.variants.logistic_limit import logistic_limit
from theory.variants.max_margin import max_margin, separability_threshold, squared_excess
from theory.variants.sample_curve import sample_curve

FINE = {"xatol": 1e-10, "fatol": 1e-15}


@golden("E6")
def test_averaging(case, value):
    assert agrees(vars(a.averaging(**case)), value)


@golden("E6inf")
def test_averaging_linf(case, value):
    assert agrees(vars(a.averaging_linf(**case)), value)


def test_scarcity_acts_like_radius():
    """With the bias re-optimised n samples are worth an extra radius, and the gap falls with n."""
    few = a.averaging(1.5, 1.0, 2.0, 1.0, 1.0, 0.3)
    many = a.averaging(1.5, 1.0, 2.0, 1e12, 1e12, 0.3 + few.extra_radius)
    assert few.R_rob_plus_reoptimised == pytest.approx(many.R_rob_plus_reoptimised, rel=1e-9)
    assert few.R_rob_minus_reoptimised == pytest.approx(many.R_rob_minus_reoptimised, rel=1e-9)

    def gap(alpha):
        errors = a.averaging(1.5, 1.0, 2.0, alpha, alpha, 0.3)
        return errors.R_rob_plus_reoptimised - errors.R_rob_minus_reoptimised, errors.cosine

    (g1, c1), (g2, c2) = gap(2.0), gap(2.0 + 1e-5)
    slope = float(gap_slope(1.5 * c1 - 0.3, 1.0, 2.0)) * 1.5 * (c2 - c1)
    assert g2 - g1 == pytest.approx(slope, rel=1e-3) and slope < 0


def test_the_midpoint_rule_leans_against_the_class_with_the_larger_variance_per_sample():
    assert a.averaging(1.5, 1.0, 2.0, 4.0, 1.0, 0.0).b_midpoint == pytest.approx(0, abs=1e-15)
    assert (
        a.averaging(1.5, 1.0, 2.0, 1.0, 1.0, 0.0).b_midpoint
        < 0
        < a.averaging(1.5, 1.0, 1.0, 2.0, 1.0, 0.0).b_midpoint
    )


def drawn(d, alpha_plus, alpha_minus, norm_theta, K, rng):
    """Return margin per unit w and midpoint bias of averaging real samples of d coordinates."""
    theta = np.zeros(d)
    theta[0] = norm_theta
    plus = theta + K * rng.standard_normal(d) / np.sqrt(alpha_plus * d)
    minus = -theta + rng.standard_normal(d) / np.sqrt(alpha_minus * d)
    w = (plus - minus) / 2
    length = np.linalg.norm(w)
    return w @ theta / length, -w @ (plus + minus) / 2 / length


def test_averaging_of_samples_in_many_dimensions():
    rng = np.random.default_rng(0)
    limit = a.averaging(1.5, 1.0, 2.0, 1.0, 1.0, 0.3)
    draws = np.array([drawn(20_000, 1.0, 1.0, 1.5, 2.0, rng) for _ in range(30)])
    errors = np.stack([ndtr((-draws[:, 1] - draws[:, 0] + 0.3) / 2), ndtr(draws[:, 1] - draws[:, 0] + 0.3)])
    for measured, predicted in zip(errors, (limit.R_rob_plus, limit.R_rob_minus), strict=True):
        spread = measured.std(ddof=1) / 30**0.5
        assert abs(measured.mean() - predicted) < 5 * spread + 2e-4 < 0.01
    # control: without the d / n term of the bias
    assert abs(errors[0].mean() - ndtr((-limit.cosine * 1.5 + 0.3) / 2)) > 0.05


@golden("E7")
def test_max_margin(case, value):
    assert agrees(vars(max_margin(**case)), value, rel=1e-10)


@golden("E7c")
def test_separability_threshold(case, value):
    assert agrees(vars(separability_threshold(**case)), value, rel=1e-10)


def test_the_threshold_is_where_the_margin_is_the_radius():
    for eps in (0.0, 0.2):
        limit = separability_threshold(1.5, 1.0, 2.0, eps, 0.3)
        near = max_margin(1.5, 1.0, 2.0, limit.alpha_c * (1 - 1e-9), share=0.3)
        assert near.kappa == pytest.approx(eps, abs=1e-7)
        assert near.cosine == pytest.approx(limit.cosine, abs=1e-7)
    with pytest.raises(InputError, match="below 3.95"):
        max_margin(1.5, 1.0, 2.0, 4.0)


def test_the_margin_is_a_minimum_by_another_route():
    def objective(x, kappa):
        t = (kappa - x[0] * 1.5 - np.array([1, -1]) * x[1]) / np.array([2.0, 1.0])
        return 0.8 * squared_excess(t).mean() - 1 + x[0] ** 2

    result = max_margin(1.5, 1.0, 2.0, 0.8)
    found = minimize(objective, [0.1, 0.1], args=(result.kappa,), method="Nelder-Mead", options=FINE)
    assert found.fun == pytest.approx(0, abs=1e-12)
    assert found.x == pytest.approx([result.cosine, result.bias], abs=1e-6)
    wrong = max_margin(1.5, 1.0, 1.0, 0.8)  # control: one width in the formula
    assert abs(wrong.bias - result.bias) > 0.5 and wrong.bias == pytest.approx(0, abs=1e-12)


def test_class_radii_shift_the_bias_of_max_margin_and_nothing_else():
    """kappa - eps_y in place of kappa: substitute b."""
    result, (plus, minus) = max_margin(1.5, 1.0, 2.0, 0.8), (0.5, 0.1)

    def objective(x, kappa):
        t = (kappa + np.array([plus, minus]) - x[0] * 1.5 - np.array([1, -1]) * x[1]) / np.array([2.0, 1.0])
        return 0.8 * squared_excess(t).mean() - 1 + x[0] ** 2

    kappa = result.kappa - (plus + minus) / 2
    found = minimize(objective, [0.1, 0.1], args=(kappa,), method="Nelder-Mead", options=FINE)
    assert found.fun == pytest.approx(0, abs=1e-12)
    assert found.x == pytest.approx([result.cosine, result.bias + (plus - minus) / 2], abs=1e-6)


@golden("E8")
def test_logistic_limit(case, value):
    result = logistic_limit(**case)
    measured = {k: v if abs(v) > 1e-12 else 0.0 for k, v in vars(result).items()}
    expected = {k: v if abs(v) > 1e-12 else 0.0 for k, v in value.items()}
    assert agrees(measured, expected, rel=1e-8) and result.residual < 1e-10


def test_the_logistic_limit_tends_to_the_population_minimiser():
    population = logistic_optimum(GaussianMixture(dim=1, eta=1.5, sigma=1.0, K=2.0), 0.3)
    result = logistic_limit(1.5, 1.0, 2.0, 1e6, 0.3)
    assert result.bias == pytest.approx(population.bias / population.scale, abs=1e-5)
    assert result.u == pytest.approx(population.scale, abs=1e-5) and result.cosine == pytest.approx(
        1, abs=1e-5
    )


def test_the_gap_of_logistic_training_falls_with_n():
    errors = [logistic_limit(1.5, 1.0, 2.0, alpha, 0.3) for alpha in (3.5, 5.0, 10.0, 30.0)]
    gaps = [e.R_rob_plus - e.R_rob_minus for e in errors]
    assert gaps == pytest.approx([0.140, 0.125, 0.107, 0.094], abs=1e-3)


def test_logistic_training_has_no_limit_where_classes_separate():
    limit = separability_threshold(1.5, 1.0, 2.0, 0.3).alpha_c
    with pytest.raises(InputError, match="above 2.71"):
        logistic_limit(1.5, 1.0, 2.0, limit * 0.99, 0.3)
    near = logistic_limit(1.5, 1.0, 2.0, limit * 1.02, 0.3)
    margin = max_margin(1.5, 1.0, 2.0, limit * 0.999, 0.3)
    assert near.u > 8 and near.cosine == pytest.approx(margin.cosine, abs=0.05)


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_shares_of_classes(share):
    """Exchanging the classes exchanges the errors."""
    one, other = (
        logistic_limit(1.5, 1.0, 1.0, 12.0, 0.2, share),
        logistic_limit(1.5, 1.0, 1.0, 12.0, 0.2, 1 - share),
    )
    assert one.bias == pytest.approx(-other.bias, rel=1e-8) and one.residual < 1e-10
    assert one.R_rob_plus == pytest.approx(other.R_rob_minus, rel=1e-8)
    first, second = max_margin(1.5, 1.0, 1.0, 1.0, 0.2, share), max_margin(1.5, 1.0, 1.0, 1.0, 0.2, 1 - share)
    assert first.bias == pytest.approx(-second.bias, rel=1e-8) and (first.bias > 0) == (share > 0.5)


@golden("E9")
def test_samples_of_schmidt(case, value):
    measured = {"n_half": a.schmidt_samples(**case), "leading": a.schmidt_samples_leading(**case)}
    assert agrees(measured, value)


@golden("E9r")
def test_errors_of_schmidt(case, value):
    natural, robust = a.schmidt_errors(**case)
    assert agrees({"R_nat": natural, "R_rob": robust}, value)


def test_half_the_robust_points_are_lost_at_n_half():
    for c, eps, d in ((1.0, 0.5, 10**6), (3.0, 0.999, 10**4), (30.0, 0.01, 10**8)):
        n = a.schmidt_samples(c, eps, d)
        v = (c * d**0.25) ** 2 / n
        assert eps * a.folded_mean(1.0, v) == pytest.approx(1, rel=1e-12)
    assert a.schmidt_samples(1.0, 0.0, 100) == 0  # control
    assert a.schmidt_samples(1.0, 1e-4, 10**6) == pytest.approx(
        a.schmidt_samples_leading(1.0, 1e-4, 10**6), rel=1e-3
    )
    with mpmath.workdps(40):
        for t in (0.01, 1.0, 8.0, 30.0):
            exact = 2 * (mpmath.npdf(t) - t * mpmath.ncdf(-t))
            assert a.folded_mean(0.0, 1.0) == pytest.approx(np.sqrt(2 / np.pi))
            assert a._folded_excess(t) == pytest.approx(float(exact), rel=1e-10)


@golden("E10")
def test_excess_of_averaging(case, value):
    plus, minus, z = a.excess_coefficients(**case)
    assert agrees({"coefficient_plus": plus, "coefficient_minus": minus, "Z_plus": z}, value)


def test_the_excess_is_that_of_draws():
    """n / (d - 1) times the mean excess at large n, by the exact law of the sample means."""
    rng, d, n = np.random.default_rng(1), 50, 40_000
    theta, K, eps = 1.5, 2.0, 0.3
    plus, minus, z = a.excess_coefficients(theta, 1.0, K, eps)
    b = -z * K - (theta - eps)
    noise = np.sqrt((K**2 + 1) / (2 * n))  # of each coordinate of w
    along = theta + noise * rng.standard_normal(400_000)
    across = noise**2 * rng.chisquare(d - 1, 400_000)
    mu = theta * along / np.sqrt(along**2 + across)
    for width, sign, coefficient in ((K, -1, plus), (1.0, 1, minus)):
        excess = ndtr((sign * b - mu + eps) / width) - ndtr((sign * b - theta + eps) / width)
        measured, spread = excess.mean() * n / (d - 1), excess.std() / 400_000**0.5 * n / (d - 1)
        assert abs(measured - coefficient) < 5 * spread + 0.01 * coefficient < 0.05 * coefficient
    assert plus == pytest.approx(minus, rel=1e-12)


@golden("E11")
def test_linear_loss(case, value):
    assert agrees(vars(linear_loss(**case)), value)


def test_more_data_hurts_from_n_star_on():
    for eps, star in ((0.6, 3.99649), (0.8, 1.83292), (1.5, 0.46210)):
        best = minimize_scalar(
            lambda n, e=eps: -linear_loss(0.5, 1.0, e, n).P, bounds=(0.01, 20), method="bounded"
        )
        assert (
            most_useful_samples(0.5, 1.0, eps)
            == pytest.approx(star, abs=1e-5)
            == pytest.approx(best.x, abs=1e-3)
        )
    grows = [linear_loss(0.5, 1.0, 0.3, n).P for n in (1, 3, 10, 100, 1000)]
    assert grows == sorted(grows) and grows[-1] == pytest.approx(1)  # control: eps < eta
    assert most_useful_samples(0.5, 1.0, 0.5) == np.inf


def test_the_gap_of_the_linear_loss_keeps_its_digits():
    rng = np.random.default_rng(0)
    with mpmath.workdps(50):
        for _ in range(300):
            eta, sigma, n = (
                10 ** rng.uniform(-1, 0.5),
                10 ** rng.uniform(-0.5, 0.5),
                10 ** rng.uniform(-1, 1.5),
            )
            eps = 10 ** rng.uniform(-8, 0.5)
            A, E = (mpmath.sqrt(n) * mpmath.mpf(x) / mpmath.mpf(sigma) for x in (eta, eps))
            exact = mpmath.mpf(eta) * (mpmath.ncdf(E - A) + mpmath.ncdf(-E - A) - 2 * mpmath.ncdf(-A))
            if abs(exact) > 1e-250:
                assert linear_loss(eta, sigma, eps, n).gap == pytest.approx(float(exact), rel=1e-8)


def test_the_curve_of_the_disparity_has_the_table_of_the_reference():
    curve = sample_curve(1.5, 1.0, 2.0, 0.3, [1.0, 4.0, 10.0, 30.0])
    gaps = {
        k: np.subtract(*getattr(curve, k).T) for k in ("midpoint", "reoptimised", "max_margin", "logistic")
    }
    assert gaps["midpoint"][0] == pytest.approx(0.414, abs=1e-3)
    assert gaps["max_margin"][0] == pytest.approx(0.363, abs=1e-3) and np.isnan(gaps["max_margin"][1:]).all()
    assert gaps["logistic"][2:] == pytest.approx([0.107, 0.094], abs=1e-3) and np.isnan(gaps["logistic"][0])
    assert curve.population[0] - curve.population[1] == pytest.approx(0.194, abs=1e-3)
    assert (np.diff(gaps["reoptimised"]) < 0).all() and gaps["reoptimised"][-1] > 0.194
    assert curve.robustly_separable < curve.separable == pytest.approx(3.9555352758861)


def test_bad_input_is_refused():
    for call in (
        lambda: a.averaging(1.5, 1.0, 2.0, 0.0, 1.0, 0.3),
        lambda: a.excess_coefficients(1.0, 1.0, 2.0, 1.0),
        lambda: a.schmidt_samples(1.0, 1.0, 100),
        lambda: max_margin(1.5, 1.0, 2.0, 0.8, share=1.0),
        lambda: logistic_limit(1.5, 1.0, 2.0, 6.0, 1.5),
        lambda: linear_loss(0.5, 1.0, 0.6, 0.0),
    ):
        with pytest.raises(InputError):
            call()
