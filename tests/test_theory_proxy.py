"""What theory predicts for a method."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import ndtr

from theory.common.inputs import InputError
from theory.networks.proxy import ERRORS, STATED, MethodAction, TwoGroups, fitted, predicted

positive = {"allow_nan": False, "allow_infinity": False}
CLASSES = TwoGroups(2.0, 2.5, 0.8)


def errors(classes, bias, eps):
    """Return the errors of (+1, -1) at a bias, written out."""
    return np.array([ndtr((-bias - classes.mu + eps) / classes.K), ndtr(bias - classes.mu + eps)])


@given(
    K=st.floats(0.3, 4, **positive),
    mu=st.floats(0.5, 3, **positive),
    share=st.floats(0.05, 0.95, **positive),
    bias=st.floats(-1, 1, **positive),
)
def test_the_gaussians_are_found_from_their_four_errors(K, mu, share, bias):
    truth = TwoGroups(K, mu, share * mu)
    found = fitted(tuple(errors(truth, bias, 0.0)), tuple(errors(truth, bias, truth.eps)))
    assert not found.stated
    assert (found.K, found.mu, found.eps) == pytest.approx((truth.K, truth.mu, truth.eps), rel=1e-6)


@pytest.mark.parametrize(
    "natural, robust",
    [
        ((0.0, 0.1), (0.3, 0.2)),
        ((0.1, 0.1), (1.0, 0.2)),
        ((0.4, 0.4), (0.95, 0.95)),
        ((0.2, 0.2), (0.2, 0.3)),
    ],
)
def test_errors_that_no_gaussians_have_get_the_stated_ones(natural, robust):
    assert fitted(natural, robust) is STATED and STATED.stated


@pytest.mark.parametrize(
    "action",
    [MethodAction(1.6), MethodAction(0.7), MethodAction(1.0, (1.4, 0.9)), MethodAction(1.3, (0.8, 1.5))],
)
def test_the_prediction_is_the_optimum_found_by_search(action):
    def best(odds, radii):
        def cost(b):
            robust = [errors(CLASSES, b, r * CLASSES.eps)[i] for i, r in enumerate(radii)]
            return odds * robust[0] + robust[1]

        found = minimize_scalar(cost, bounds=(-4, 4), method="bounded", options={"xatol": 1e-10})
        return np.concatenate([errors(CLASSES, found.x, 0.0), errors(CLASSES, found.x, CLASSES.eps)])

    change = (best(action.odds, action.radii) - best(1.0, (1.0, 1.0)))[[0, 2, 1, 3]]
    assert [predicted(CLASSES, action)[k] for k in ERRORS] == pytest.approx(change, abs=1e-6)


@pytest.mark.parametrize("K", [0.7, 1.5, 3.0])
@pytest.mark.parametrize(
    "action, sign",
    [
        (MethodAction(1.3), [-1, -1, 1, 1]),  # costs for the hard: FRL's Reweight, WAT
        (MethodAction(1.0, (1.2, 0.8)), [-1, -1, 1, 1]),  # larger radii for the hard: DAFA
        (MethodAction(1.0, (0.8, 1.2)), [1, 1, -1, -1]),  # and for the easy: CFA's margins
        (MethodAction(), [0, 0, 0, 0]),  # BAT
    ],
)
def test_directions(K, action, sign):
    change = predicted(TwoGroups(K, 2.0, 0.7), action)
    assert [int(np.sign(change[k])) for k in ERRORS] == sign


def test_what_it_acts_by_is_said():
    assert MethodAction().kind == "neither" == MethodAction(1.0005, (1.0, 0.9995)).kind
    assert MethodAction(1.5).kind == "cost odds 1.50"
    assert MethodAction(1.5, (1.2, 0.9)).kind == MethodAction(1.5).kind + ", radii 1.20 and 0.90"
    assert "fitted" in CLASSES.summary and "stated" in STATED.summary


@pytest.mark.parametrize(
    "make",
    [
        lambda: MethodAction(0.0),
        lambda: MethodAction(1.0, (-0.1, 1.0)),
        lambda: TwoGroups(0, 1, 1),
        lambda: TwoGroups(2, 1, 2),
    ],
)
def test_what_makes_no_sense_is_refused(make):
    with pytest.raises(InputError):
        make()
