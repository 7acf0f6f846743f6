import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import expit, ndtr

from sim.sampling.draws import draw
from sim.solvers.solve import solve
from theory.common.inputs import InputError
from theory.gaussian.mixture import GaussianMixture
from theory.gaussian.problem import optimal_classifier
from theory.gaussian.surrogate import logistic_optimum


def gradient(mixture, eps, scale, bias):
    """Return the gradient of the population loss by adaptive quadrature, an independent route."""
    margin = mixture.dim**0.5 * (mixture.eta - eps)

    def term(width, sign, power):
        def integrand(t):
            feature = margin + width * t
            weight = np.exp(-t * t / 2) / np.sqrt(2 * np.pi)
            return -expit(-(scale * feature + sign * bias)) * weight * (feature if power else sign)

        return quad(integrand, -12, 12, epsabs=1e-12, limit=400)[0]

    return np.array(
        [sum(term(w, s, p) for w, s in zip(mixture.scales, (1, -1), strict=True)) / 2 for p in (1, 0)]
    )


@given(st.floats(0.05, 4), st.floats(0.3, 5))
def test_the_gradient_vanishes_at_the_optimum(ratio, K):
    mixture = GaussianMixture(dim=4, eta=ratio / 2, sigma=1.0, K=K)
    optimum = logistic_optimum(mixture, 0.3 * mixture.eta)
    assert np.abs(gradient(mixture, optimum.eps, optimum.scale, optimum.bias)).max() < 1e-9
    off = gradient(mixture, optimum.eps, optimum.scale * 1.01, optimum.bias + 0.01)
    assert np.abs(off).max() > 1e-7  # the check can fail


def test_logistic_training_is_not_the_closed_form():
    """At margin sigma and K = 2 its gap between the classes is less than half of that of the 0/1 optimum."""
    mixture = GaussianMixture(dim=1, eta=1.0, sigma=1.0, K=2.0)
    gaps = [
        float(np.subtract(*ndtr(z)))
        for z in (
            logistic_optimum(mixture).linear().z_scores(mixture),
            optimal_classifier(mixture).z_scores(),
        )
    ]
    assert gaps == pytest.approx([0.0936, 0.2436], abs=5e-5)


def test_finite_samples_vary_as_predicted():
    """Mean and deviation of the z-scores over 150 training sets, against the prediction of first order."""
    mixture, eps, n = GaussianMixture(dim=20, eta=0.4, sigma=1.0, K=2.0), 0.15, 2000
    rng = np.random.default_rng(0)
    z = np.array(
        [solve(*draw(mixture, n // 2, rng), eps=eps).classifier.z_scores(mixture, eps) for _ in range(150)]
    )
    (means, deviations) = map(np.array, logistic_optimum(mixture, eps).sample_z_scores(n, eps))
    error = z.std(axis=0, ddof=1) / np.sqrt(len(z))
    assert (np.abs(z.mean(axis=0) - means) < 5 * error + 0.01 / np.sqrt(n)).all()
    assert (np.abs(z.std(axis=0, ddof=1) / deviations - 1) < 4 / np.sqrt(2 * len(z))).all()
    population = np.array(logistic_optimum(mixture, eps).linear().z_scores(mixture, eps))
    assert (np.abs(z.mean(axis=0) - population) > 5 * error).any()  # the shift is there and is needed


def test_refuses_where_there_is_no_direction():
    mixture = GaussianMixture(dim=4, eta=0.5, sigma=1.0, K=2.0)
    with pytest.raises(InputError, match="eps < eta"):
        logistic_optimum(mixture, 0.5)
