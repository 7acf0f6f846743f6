"""Settings of the mixture for hypothesis, and the closed form at 50 digits as an independent route."""

import math

import mpmath as mp
from hypothesis import strategies as st

from theory.gaussian.mixture import GaussianMixture

K_ABOVE_1 = st.floats(-9, 2.3).map(lambda p: 1 + 10**p)
"""K - 1 from 1e-9 to 200, evenly in its logarithm."""
ANY_K = st.one_of(K_ABOVE_1, K_ABOVE_1.map(lambda K: 1 / K), st.just(1.0))


@st.composite
def mixtures(draw, K=K_ABOVE_1):
    """Draw mixtures with sqrt(d) eta / sigma from 0.03 to 40."""
    d = draw(st.sampled_from([1, 2, 10, 100, 10_000]))
    sigma = 10 ** draw(st.floats(-1, 1))
    ratio = 10 ** draw(st.floats(-1.5, 1.6))
    return GaussianMixture(dim=d, eta=ratio * sigma / math.sqrt(d), sigma=sigma, K=draw(K))


def exact_z_scores(mixture, eps, *, constant=2):
    """Return (z_+, z_-) of the paper's form at 400 digits, K != 1; another ``constant`` is wrong."""
    with mp.workdps(400):
        d, eta, sigma, K, eps = (mp.mpf(v) for v in (*vars(mixture).values(), eps))
        m = (mp.sqrt(d) if eps <= eta else 1) * (eta - eps)
        swapped = K < 1
        if swapped:
            sigma, K = K * sigma, 1 / K
        kappa = K**2 - 1
        A, q = 2 * m / (kappa * sigma), constant * mp.log(K) / kappa
        wide, narrow = -K * A + mp.sqrt(A**2 + q), A - K * mp.sqrt(A**2 + q)
        return (narrow, wide) if swapped else (wide, narrow)


def exact_log_error(z):
    """Return ln Phi(z) at 400 digits."""
    with mp.workdps(400):
        return mp.log1p(-mp.erfc(z / mp.sqrt(2)) / 2) if z > 0 else mp.log(mp.erfc(-z / mp.sqrt(2)) / 2)
