"""Three classes in a row, and many classes under nearest-mean."""

import mpmath
import numpy as np
import pytest
from golden import agrees, golden
from scipy.integrate import quad
from scipy.special import ndtr
from scipy.stats import norm

from theory.common.inputs import InputError
from theory.variants import many_classes as m
from theory.variants.floors import average_floor, worst_class_floor
from theory.variants.plane_cells import plane_error
from theory.variants.three_in_a_row import middle_class_radius, min_max_row, three_in_a_row


@golden("E3")
def test_three_in_a_row(case, value):
    assert agrees(vars(three_in_a_row(case["theta"], case["sigma"], case["eps"], case["p0"])), value)


@golden("E3c")
def test_radius_of_the_middle_class(case, value):
    measured = {"eps_c_over_sigma": middle_class_radius(case["theta_over_sigma"])}
    assert agrees(measured, value)
    assert middle_class_radius(case["theta_over_sigma"] * 3, 3.0) == pytest.approx(
        3 * value["eps_c_over_sigma"]
    )


@pytest.mark.parametrize("theta", [1e-4, 0.03, 0.999, 1.001, 8.0, 60.0])
def test_radius_of_the_middle_class_keeps_its_digits(theta):
    with mpmath.workdps(60):
        t = mpmath.mpf(theta)
        excess = lambda e: 4 * mpmath.ncdf(e - t / 2) - 1 - 2 * mpmath.ncdf(e - t)  # noqa: E731
        exact = float(mpmath.findroot(excess, (0, t / 2), solver="anderson", tol=1e-90))
    assert middle_class_radius(theta) == pytest.approx(exact, rel=1e-10) and exact > 0


def best_of_all_thresholds(theta, eps, p0):
    """Return the smallest objective over pairs of thresholds and which classes are answered, by search."""
    p1 = (1 - p0) / 2
    grid = np.r_[-30, np.linspace(-theta - 4, theta + 4, 161), 30]
    low, high = np.meshgrid(grid, grid, indexing="ij")
    keep = low <= high
    middle = np.where(high - low > 2 * eps, 1 - ndtr(high - eps) + ndtr(low + eps), 1.0)
    left, right = 1 - ndtr(low - eps + theta), ndtr(high + eps - theta)
    objective = np.where(keep, p0 * middle + p1 * (left + right), 2)
    return min(objective.min(), 2 * p1)


@pytest.mark.parametrize("theta", [0.5, 2.0, 3.0])
@pytest.mark.parametrize("p0", [0.1, 1 / 3, 0.7])
def test_the_two_rules_are_the_best_of_all_thresholds(theta, p0):
    for eps in (0.0, 0.1, 0.4, 0.9, 1.6, 3.5):
        searched = best_of_all_thresholds(theta, eps, p0)
        assert three_in_a_row(theta, 1.0, eps, p0).objective == pytest.approx(searched, abs=2e-3)
        assert three_in_a_row(theta, 1.0, eps, p0).objective <= searched + 1e-12


def test_the_jump_is_where_the_radius_says_and_never_without_an_adversary():
    for theta in (0.2, 1.0, 2.0, 5.0):
        jump = middle_class_radius(theta)
        assert three_in_a_row(theta, 1.0, jump * (1 - 1e-6)).kind == "interior"
        assert three_in_a_row(theta, 1.0, jump * (1 + 1e-6)).kind == "middle given up"
        assert three_in_a_row(theta, 1.0, 0.0).kind == "interior"  # control
        around = [min_max_row(theta, 1.0, jump * (1 + s)).R_middle for s in (-1e-6, 1e-6)]
        assert abs(around[1] - around[0]) < 1e-5  # min-max does not jump
    equal = three_in_a_row(2.0, 1.0, 0.2)
    assert equal.R_middle == pytest.approx(2 * equal.R_outer) and equal.t == pytest.approx(1.0)


@golden("wedge")
def test_wedge(case, value):
    measured = m.wedge(case["rho"], case["al1"], case["al2"], case["s"], case["eps"])
    assert agrees(vars(measured), value)


def test_wedge_is_nearest_mean_on_a_circle():
    angles = np.array([0.0, 0.7, -2.0])
    means = 3 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert m.nearest_mean_errors(means, 1.0, 0.5)[0].R == pytest.approx(
        m.wedge(3.0, 0.7, 2.0, 1.0, 0.5).R, rel=1e-12
    )


@golden("sphereB")
def test_orthogonal_neighbours(case, value):
    R = m.orthogonal_neighbours(case["rho"], case["psi"], case["N"], case["s"], case["eps"])
    assert agrees({"R": R}, value)


@golden("simplex")
def test_simplex(case, value):
    assert agrees({"R": m.simplex(case["C"], case["delta"], case["sigma"], case["eps"])}, value)


def test_integrals_in_the_tails():
    def exact(level, slope, count):
        with mpmath.workdps(30):
            f = lambda x: mpmath.npdf(x) * -mpmath.expm1(count * mpmath.log(mpmath.ncdf(level + slope * x)))  # noqa: E731
            peak = -level * slope / (1 + slope**2)
            return float(mpmath.quad(f, [-40, peak - 4, peak, peak + 4, 40]))

    for C, delta, eps in ((4, 30.0, 0.0), (1000, 9.0, 0.1), (3, 1.0, 4.0)):
        level = np.sqrt(2) * (delta / 2 - eps)
        assert m.simplex(C, delta, 1.0, eps) == pytest.approx(exact(level, 1, C - 1), rel=1e-8)
    for psi in (0.01, 3.0):
        level, slope = (4 * np.sin(psi / 2) - 0.1) / np.cos(psi / 2), np.tan(psi / 2)
        assert m.orthogonal_neighbours(4.0, psi, 5, 1.0, 0.1) == pytest.approx(
            exact(level, slope, 5), rel=1e-8
        )


@golden("pairgap")
def test_pair_gap(case, value):
    assert agrees(vars(m.pair_gap(case["delta_k"], case["delta_l"], case["sigma"], case["eps"])), value)


def test_the_ratio_falls_everywhere_and_the_gap_grows_to_its_largest():
    pairs = [m.pair_gap(2.0, 4.0, 1.0, e) for e in np.linspace(0, 3, 61)]
    assert all(a.ratio > b.ratio for a, b in zip(pairs, pairs[1:], strict=False))
    gaps = [p.gap for p in pairs]
    assert np.argmax(gaps) == 30 and max(gaps) == pytest.approx(pairs[0].largest_gap)


def test_the_worst_class_flips_once_with_the_radius():
    """A pole with four neighbours, and a closer pair."""

    def pole_less_pair(eps):
        return m.orthogonal_neighbours(4.0, np.pi / 3, 4, 1.0, eps) - float(ndtr(-(1.25 - eps)))

    signs = [np.sign(pole_less_pair(e)) for e in np.linspace(0, 1.2, 40)]
    assert signs[0] == -1 and signs[-1] == 1 and np.count_nonzero(np.diff(signs)) == 1


def test_rows_and_neighbours():
    assert m.row_errors(4, 2.0, 1.0, 0.3) == pytest.approx(
        [c.R for c in m.nearest_mean_errors([[0.0], [2.0], [4.0]], 1.0, 0.3)][:2]
        + [2 * float(ndtr(-0.7)), float(ndtr(-0.7))]
    )
    distance, number = m.nearest_neighbours([[0, 0], [1, 0], [0, 1], [5, 0]])
    assert distance.tolist() == [1, 1, 1, 4] and number.tolist() == [2, 1, 1, 1]


def test_means_have_the_distances_they_are_made_from():
    rng = np.random.default_rng(4)
    points = rng.normal(size=(6, 4))
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    means = m.means_of_distances(distances)
    assert means.shape == (6, 5) and means.sum(axis=0) == pytest.approx(0, abs=1e-6)
    assert np.linalg.norm(means[:, None] - means[None], axis=2) == pytest.approx(distances)
    with pytest.raises(InputError):
        m.means_of_distances([[0.0, 1.0], [2.0, 0.0]])


def test_nearest_mean_is_above_every_floor():
    rng = np.random.default_rng(3)
    for _ in range(20):
        means = rng.normal(size=(3, 2)) * 2
        R = [c.R for c in m.nearest_mean_errors(means, 1.0, 0.2)]
        assert max(R) >= worst_class_floor(means, 1.0, 0.2) and np.mean(R) >= average_floor(means, 1.0, 0.2)


def test_bad_input_is_refused():
    for call in (
        lambda: three_in_a_row(2.0, 1.0, 0.1, 1.0),
        lambda: m.nearest_mean_errors([[1.0]], 1.0),
        lambda: m.orthogonal_neighbours(1.0, np.pi, 2, 1.0),
        lambda: m.pair_gap(0.0, 1.0, 1.0),
        lambda: min_max_row(2.0, 1.0, 1.5),
    ):
        with pytest.raises(InputError):
            call()


@pytest.mark.parametrize("eps", [0.0, 0.5, 1.05])
def test_four_classes_in_a_plane_are_exact(eps):
    """Class 2 of three in a row and one apart: |x| < 1.1 - eps and a slanted line, an integral over x.

    Its pairs have correlation -1, where scipy's multivariate normal law errs by 1e-4.
    """
    means = np.array([[-2.2, 0.0], [0.0, 0.0], [2.2, 0.0], [0.3, 3.0]])
    length = np.hypot(0.3, 3)

    def kept(x):
        return norm.pdf(x) * norm.cdf(((length / 2 - eps) * length - 0.3 * x) / 3)

    exact = 1 - quad(kept, eps - 1.1, 1.1 - eps, epsabs=1e-13)[0]
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0][:2]
    for mu in (means, 2 + means @ turn):
        assert m.nearest_mean_errors(3 * mu, 3.0, 3 * eps)[1].R == pytest.approx(exact, abs=3e-8)
    assert m.nearest_mean_errors(1.0001 * means, 1.0, eps)[1].R != pytest.approx(exact, abs=3e-6)


def test_a_mean_beyond_its_own_line_is_lost_at_least_half_the_time():
    """Two lines at a right angle, the first of which takes the mean itself."""
    across, room = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([-0.3, 0.8])
    assert plane_error(across, room) == pytest.approx(1 - norm.cdf(-0.3) * norm.cdf(0.8), abs=3e-8)
    assert plane_error(across[:1], room[:1]) == pytest.approx(norm.cdf(0.3), abs=3e-8)
