"""Linear adversarial training with the exact inner maximum.

For a linear classifier the adversary lowers every y(w.x + b) by exactly eps ||w||_1, so its loss
needs no
attack: adversarial logistic training is one convex problem, and 0/1 training of the bias one sort.
"""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from theory.inputs import InputError
from theory.linear import LinearClassifier

__all__ = ["best_threshold", "train_bias", "train_logistic"]

Array = npt.NDArray[np.float64]

TOLERANCE = 1e-7
"""Largest projected gradient at which logistic training has converged, in units of loss per weight."""


def train_logistic(plus: Array, minus: Array, eps: float, *, l2: float = 0.0) -> LinearClassifier:
    """Return the minimiser of the mean of ln(1 + exp(-(y (w.x + b) - eps ||w||_1))) plus l2 / 2 ||w||_2^2.

    With w = u - v and u, v >= 0 the norm is linear and the problem smooth: L-BFGS-B solves it.

    Args:
        plus: samples of class +1, shape (n, d).
        minus: samples of class -1, shape (n, d).
        eps: l-infinity radius at training; 0 trains naturally.
        l2: penalty, >= 0; without one, classes that a hyperplane separates have no minimiser.

    Raises:
        InputError: the projected gradient stayed above `TOLERANCE`.
    """
    unit = np.concatenate([plus, minus]).std()  # the problem is solved in units of the data
    signed, eps, l2 = np.concatenate([plus, -minus]) / unit, eps / unit, l2 / unit**2  # signed: y x, (2n, d)
    y = np.repeat([1.0, -1.0], [len(plus), len(minus)])
    n, d = signed.shape

    def objective(theta: Array) -> tuple[float, Array]:
        u, v, b = theta[:d], theta[d:-1], theta[-1]
        t = signed @ (u - v) + y * b - eps * (u + v).sum()
        p = expit(-t)
        pull = signed.T @ p - n * l2 * (u - v)
        gradient = np.concatenate([-pull, pull, [-(y @ p)]])
        gradient[:-1] += eps * p.sum()
        return float(np.logaddexp(0, -t).mean() + l2 / 2 * ((u - v) ** 2).sum()), gradient / n

    bounds = [(0, None)] * (2 * d) + [(None, None)]
    options = {"maxiter": 2000, "maxfun": 4000, "maxcor": 30, "ftol": 0, "gtol": TOLERANCE / 10}
    start = np.zeros(2 * d + 1)
    result = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    gradient = objective(result.x)[1]
    gradient[:-1] = np.where(result.x[:-1] > 0, gradient[:-1], np.minimum(gradient[:-1], 0))
    if np.abs(gradient).max() > TOLERANCE:
        raise InputError(f"logistic training did not converge: {result.message}")
    return LinearClassifier((result.x[:d] - result.x[d:-1]) / unit, float(result.x[-1]))


def train_bias(weights: Array, plus: Array, minus: Array, eps: float) -> LinearClassifier:
    """Return the classifier with the given weights and the bias that has the fewest robust training errors.

    It is infinite where a constant classifier has the fewest. A sample of class +1 is in error while
    b <= eps ||w||_1 - w.x, one of class -1 once b >= -eps ||w||_1 - w.x: one pass over the sorted thresholds
    finds the exact minimum.

    Args:
        weights: w, shape (d,).
        plus: scores w.x of class +1, shape (n,).
        minus: scores w.x of class -1, shape (n,).
        eps: l-infinity radius at training; 0 trains naturally.
    """
    reach = eps * np.abs(weights).sum()
    return LinearClassifier(weights, best_threshold(reach - plus, -reach - minus))


def best_threshold(plus: Array, minus: Array, log_odds: float = 0.0) -> float:
    """Return the bias with the smallest weighted number of errors; infinite where a constant is best.

    Args:
        plus: bias at and below which each sample of class +1 is in error, shape (n,).
        minus: bias from which each sample of class -1 is in error, shape (n,).
        log_odds: ln of the weight of an error of class +1 over one of class -1.
    """
    thresholds = np.concatenate([plus, minus])
    order = np.argsort(thresholds)
    odds = np.exp(log_odds)
    steps = np.where(order < len(plus), -odds, 1.0)
    excess = np.cumsum(steps)  # errors beyond those of always -1, just above each threshold
    best = int(np.argmin(excess))
    if excess[best] >= 0:
        return -np.inf
    if best == len(order) - 1:
        return np.inf
    return float(thresholds[order[best : best + 2]].mean())
