"""Methods that weigh classes by their errors, on the mixture: KL-DRO (FAAL) and multiplicative weights (WAT).

After Zhang et al. (2024, FAAL), https://arxiv.org/abs/2402.17729, and Li and Liu (2023, WAT),
https://arxiv.org/abs/2302.04025; what they do on the mixture is ours.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from theory.common.inputs import InputError, check_array, check_count, check_real
from theory.gaussian.fairness import fair_bias
from theory.gaussian.optimal import optimal_bias
from theory.variants.errors import errors_at

__all__ = [
    "FairRadius",
    "WorstMean",
    "Weighing",
    "class_dro",
    "fair_radius",
    "hedge_bound",
    "kl_dro",
    "multiplicative_weights",
]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class WorstMean:
    """The largest mean of losses over class weights near the uniform ones.

    Args:
        value: sum of weights times losses.
        weights: q, shape (C,).
        lam: q is proportional to exp(losses / lam); 0 where the largest losses have all the weight, infinite
            where all losses are equal.
    """

    value: float
    weights: Array
    lam: float


def kl_dro(losses: npt.ArrayLike, tau: float) -> WorstMean:
    """Return the largest sum q_k R_k over weights with KL(q | uniform) <= tau.

    It is min over lam > 0 of lam tau + lam ln mean exp(R_k / lam), and the largest loss once
    tau >= ln(C / number of largest losses).

    Args:
        losses: R_k, shape (C,).
        tau: radius in nats, >= 0.

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> round(kl_dro([0.1, 0.9], 0.5).value, 10)
        0.8614490033
    """
    R = check_array("losses", losses, low=-np.inf)
    if R.ndim != 1 or not len(R):
        raise InputError(f"losses must have shape (C,), got shape {R.shape}")
    check_real("tau", tau, low=0)
    C, away = len(R), R.max() - R
    largest = away == 0
    if largest.all() or tau == 0:
        return WorstMean(float(R.mean()), np.full(C, 1 / C), float(np.inf))
    if tau >= np.log(C / largest.sum()):
        return WorstMean(float(R.max()), largest / largest.sum(), 0.0)

    def weights(log_beta: float) -> tuple[Array, float]:
        """Return q at 1 / lam = beta, and its KL divergence, which grows with beta."""
        exponent = -np.exp(log_beta) * away
        q = np.exp(exponent)
        total = q.sum()
        q = q / total
        # mean exp(x) - 1 by expm1, so that the divergence keeps its digits at small beta
        log_mean = float(np.log1p(np.expm1(exponent).mean()))
        return q, float(q @ exponent) - log_mean

    scale = float(np.log(1 / away.max()))
    low, high = scale - 1, scale + 1
    while weights(low)[1] > tau:
        low -= 5
    while weights(high)[1] < tau:
        high += 5
    log_beta = brentq(lambda x: weights(x)[1] - tau, low, high, xtol=1e-15, rtol=8.9e-16)
    q = weights(log_beta)[0]
    return WorstMean(float(R.max() - q @ away), q, float(np.exp(-log_beta)))


def fair_radius(K: float) -> float:
    """Return tau_K = ln 2 + K ln K / (K + 1) - ln(K + 1), from which on KL-DRO has equal robust errors.

    It does not depend on the margin or the deviations: tau_2 = 0.0566, tau_3 = 0.1308.

    Args:
        K: ratio of the standard deviations, >= 1.

    Raises:
        InputError: K is outside its domain.
    """
    return _divergence((check_real("K", K, low=1) - 1) / (K + 1))


def _divergence(x: float) -> float:
    """Return KL of ((1 + x) / 2, (1 - x) / 2) from (1/2, 1/2), without the cancellation of its two terms."""
    return float(np.log1p(-x * x) / 2 + x * np.arctanh(x)) if x < 1 else float(np.log(2))


@dataclass(frozen=True)
class FairRadius:
    """The minimiser of the KL-DRO objective over biases.

    Args:
        tau_K: radius from which on it has equal robust errors.
        odds: cost odds at which it is stationary; K beyond tau_K.
        b: bias.
        R_plus: robust error of the wide class +1.
        R_minus: robust error of class -1.
    """

    tau_K: float
    odds: float
    b: float
    R_plus: float
    R_minus: float


def class_dro(m: float, sigma: float, K: float, tau: float) -> FairRadius:
    """Return the bias that minimises the largest mean of (R_+, R_-) over weights with KL <= tau.

    For tau >= `fair_radius` it has equal robust errors; below, it is stationary at cost odds p / (1 - p),
    where p ln 2p + (1 - p) ln 2(1 - p) = tau and p > 1/2. Unlike reweighting with fixed odds it never ends in
    a constant classifier.

    Args:
        m: robust margin, > 0.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 1.
        tau: radius in nats, >= 0.

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> round(class_dro(0.7, 1.0, 2.0, 0.3).b, 10), round(0.7 / 3, 10)
        (0.2333333333, 0.2333333333)
    """
    for name, value in (("m", m), ("sigma", sigma)):
        check_real(name, value, low=0, strict=True)
    check_real("K", K, low=1, strict=True)
    limit = fair_radius(K)
    if check_real("tau", tau, low=0) >= limit:
        odds, b = float(K), float(fair_bias(m, K))
    else:
        x = brentq(lambda x: _divergence(x) - tau, 0.0, (K - 1) / (K + 1), xtol=1e-300, rtol=8.9e-16)
        odds = (1 + x) / (1 - x)
        # the smaller root of the quadratic of `optimal_bias`, also where a constant would have a smaller
        # weighted error: the weights are not fixed here, and a constant's worst mean is p >= 1/2
        kappa, level = (K - 1) * (K + 1), float(np.log(K)) - 2 * float(np.arctanh(x))
        root = np.sqrt(m**2 + kappa * sigma**2 * level / 2)
        b = float((kappa * m**2 - 2 * K**2 * sigma**2 * level) / ((K**2 + 1) * m + 2 * K * root))
    return FairRadius(limit, odds, b, *errors_at(b, m, sigma, K))


def hedge_bound(C: int, T: int) -> float:
    """Return sqrt(ln C / (2 T)): by how much the worst average error may exceed the weighted average.

    Args:
        C: number of classes, >= 2.
        T: number of rounds, >= 1.

    Raises:
        InputError: an argument is outside its domain.
    """
    return float(np.sqrt(np.log(check_count("C", C, low=2)) / (2 * check_count("T", T, low=1))))


@dataclass(frozen=True)
class Weighing:
    """T rounds of multiplicative weights against the optimal classifier of each round's weights.

    Args:
        average_plus: mean over rounds of the robust error of class +1.
        average_minus: the same of class -1.
        excess_worst: larger of the two, less the mean over rounds of the weighted error.
        bound: `hedge_bound`, which the excess cannot exceed.
        last_bias: bias of the last round's classifier; infinite when it is constant.
        last_plus: its robust error of class +1.
        last_minus: its robust error of class -1.
        biases: of every round, shape (T,).
    """

    average_plus: float
    average_minus: float
    excess_worst: float
    bound: float
    last_bias: float
    last_plus: float
    last_minus: float
    biases: Array


def multiplicative_weights(m: float, sigma: float, K: float, T: int) -> Weighing:
    """Return what WAT does on the mixture: weights exp(eta sum of past errors), eta = sqrt(8 ln 2 / T).

    The bound is one of averages over rounds of different classifiers. It says nothing of the last one: below
    the critical margin the last classifier jumps to a constant one or nearly so.

    Args:
        m: robust margin, > 0.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.
        T: number of rounds, >= 1.

    Raises:
        InputError: an argument is outside its domain.
    """
    for name, value in (("m", m), ("sigma", sigma), ("K", K)):
        check_real(name, value, low=0, strict=True)
    eta = float(np.sqrt(8 * np.log(2) / check_count("T", T, low=1)))
    total, weighted, biases = np.zeros(2), 0.0, []
    errors = np.zeros(2)
    for _ in range(T):
        log_odds = eta * float(total[0] - total[1])
        b = float(optimal_bias(m, sigma, K, log_odds))
        errors = np.array(errors_at(b, m, sigma, K))
        q = 1 / (1 + np.exp(-log_odds))
        weighted += float(q * errors[0] + (1 - q) * errors[1]) / T
        total += errors
        biases.append(b)
    average = total / T
    return Weighing(
        float(average[0]),
        float(average[1]),
        float(average.max() - weighted),
        hedge_bound(2, T),
        biases[-1],
        float(errors[0]),
        float(errors[1]),
        np.array(biases),
    )
