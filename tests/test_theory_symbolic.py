import mpmath
import numpy as np
import pytest
import sympy as sp

from theory.claims import symbolic
from theory.gaussian.mixture import GaussianMixture
from theory.gaussian.optimal import optimal_bias
from theory.gaussian.problem import optimal_classifier


def test_sympy_confirms_every_step():
    steps = symbolic.derivation()
    assert [step.residual for step in steps] == [0] * len(steps)


@pytest.mark.parametrize("factor", [sp.Rational(99, 100), -1])
def test_sympy_rejects_a_wrong_optimum(factor):
    steps = symbolic.derivation(factor * symbolic.bias())
    assert {s.claim.split(":")[0] for s in steps if s.residual != 0} >= {"stationarity", "second order"}


@pytest.mark.parametrize("K", [1 + 1e-6, 1.5, 40.0])
@pytest.mark.parametrize("margin", [0.01, 1.3, 20.0])
def test_twins_agree_with_the_numbers(K, margin):
    sigma = 0.7
    values = {
        symbolic.m: sp.Float(margin, 60),
        symbolic.sigma: sp.Float(sigma, 60),
        symbolic.excess: sp.Float(K, 60) - 1,
    }
    exact = float(symbolic.bias().subs(values).evalf(50))
    assert float(optimal_bias(margin, sigma, K)) == pytest.approx(exact, rel=1e-13)
    mixture = GaussianMixture(dim=1, eta=margin, sigma=sigma, K=K)
    for eps, shift in ((0.0, 0), (margin / 3, sp.Float(margin / 3, 60))):
        z = optimal_classifier(mixture).z_scores(eps)
        for number, symbolic_form in zip(z, symbolic.class_errors(shift), strict=True):
            argument = sp.sqrt(2) * symbolic_form.args[1].args[1].args[0] if symbolic_form.is_Add else None
            assert argument is not None
            assert number == pytest.approx(float(argument.subs(values).evalf(50)), rel=1e-12)


def log_cdf(z):
    if isinstance(z, mpmath.mpc):
        return mpmath.nan  # of a root that is not there, as in doubles
    tail = mpmath.erfc(abs(z) / mpmath.sqrt(2)) / 2
    return mpmath.log(tail) if z < 0 else mpmath.log1p(-tail)


def weighted_twin():
    """Return `theory.claims.symbolic.weighted_bias` as a function of (m, sigma, K, ln r) at 50 digits."""
    arguments = sp.symbols("m sigma K lambda", real=True)
    modules = [{"LogPhi": log_cdf}, "mpmath"]
    symbolic_form = sp.lambdify(arguments, symbolic.weighted_bias(*arguments), modules)

    def call(*values):
        with mpmath.workdps(50):
            return float(symbolic_form(*map(mpmath.mpf, values)))

    return call


@pytest.mark.parametrize("wrong", [0.0, 1e-6])
def test_weighted_twin_agrees_with_the_numbers(wrong):
    rng, symbolic_form, same = np.random.default_rng(0), weighted_twin(), []
    for K in (1.0, 1.001, 1.05, 2.0, 8.0):
        for margin, odds in [(0.0, 0.0), (-2.0, 0.0), *rng.uniform((-3, -4), (6, 4), (40, 2))]:
            exact, number = (
                symbolic_form(margin, 0.7, K, odds + wrong),
                float(optimal_bias(margin, 0.7, K, odds)),
            )
            same.append(number == pytest.approx(exact, rel=1e-12, abs=1e-12))
    assert all(same) == (not wrong)


def test_weighted_twin_contains_the_bias_of_the_paper():
    symbolic_form = symbolic.weighted_bias(symbolic.m, symbolic.sigma, symbolic.K, sp.S.Zero)
    assert sp.simplify(symbolic_form - symbolic.bias()) == 0
