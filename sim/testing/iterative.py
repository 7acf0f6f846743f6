"""An iterative attack on linear scores, against the exact criterion of robustness.

With two classes the gradient of the loss never turns, so steepest ascent finds the exact maximum. With more
it climbs the cross entropy, a mixture of the margins to all wrong classes, and may end in a corner of the
ball where none is lost although another corner loses one: it then calls a sample robust that is not. The
exact criterion needs no attack: class k is robust at x iff every (w_k - w_j).x + b_k - b_j exceeds
eps ||w_k - w_j||.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from theory.common.inputs import InputError, check_real
from theory.gaussian.adversary import NORMS, best_direction, dual_norm
from theory.gaussian.linear import LinearClassifier

__all__ = ["Decisions", "attack", "compare", "exact_margins", "margins", "two_scores"]

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Decisions:
    """How many samples are not robust.

    Args:
        n: samples.
        exact: samples that are not robust.
        found: those for which the attack finds a wrong class.
        missed: not robust, yet not found.
        wrong: found, yet robust: 0 but for rounding.
    """

    n: int
    exact: int
    found: int
    missed: int
    wrong: int


def two_scores(classifier: LinearClassifier) -> tuple[Array, Array]:
    """Return weights (2, d) and bias (2,) of scores whose difference is w.x + b; label 0 is class +1."""
    half = np.array([0.5, -0.5])
    return half[:, None] * classifier.weights, half * classifier.bias


def margins(weights: Array, bias: Array, x: Array, labels: Labels) -> Array:
    """Return the score of the right class minus that of each class, infinite at itself, shape (n, C)."""
    scores = x @ weights.T + bias
    rows = np.arange(len(x))
    out = scores[rows, labels][:, None] - scores
    out[rows, labels] = np.inf
    return out


def exact_margins(
    weights: Array, bias: Array, x: Array, labels: Labels, eps: float, norm: str = "linf"
) -> Array:
    """Return what the worst attack leaves of the smallest margin of each sample, shape (n,)."""
    _check(weights, bias, x, labels, eps, norm)
    taken = np.array([[dual_norm(row - other, norm) for other in weights] for row in weights])
    worst: Array = (margins(weights, bias, x, labels) - eps * taken[labels]).min(axis=1)
    return worst


def attack(
    weights: Array,
    bias: Array,
    x: Array,
    labels: Labels,
    eps: float,
    norm: str = "linf",
    *,
    steps: int = 20,
    restarts: int = 1,
    seed: int = 0,
) -> Array:
    """Return for each sample the attacked point with the smallest margin among all points visited.

    Projected steepest ascent of the cross entropy with steps of 2.5 eps / steps (Madry et al., 2018); the
    first start is the sample, further ones are random points of its ball.

    Args:
        weights: a row for each class, shape (C, d).
        bias: shape (C,).
        x: samples, shape (n, d).
        labels: right classes from 0 to C - 1, shape (n,).
        eps: radius.
        norm: linf, l2 or l1.
        steps: steps of each start, >= 1.
        restarts: starts, >= 1.
        seed: seed of the random starts.

    Raises:
        InputError: shapes do not fit or a number is outside its domain.
    """
    _check(weights, bias, x, labels, eps, norm)
    check_real("steps", steps, low=1)
    check_real("restarts", restarts, low=1)
    rng = np.random.default_rng(seed)
    best, low = x.copy(), margins(weights, bias, x, labels).min(axis=1)
    for start in range(restarts):
        shift = rng.uniform(-eps, eps, x.shape) if start else np.zeros_like(x)
        shift = _project(shift, eps, norm)
        for _ in range(steps):
            wrong = softmax(-margins(weights, bias, x + shift, labels), axis=1)
            gradient = wrong @ weights - weights[labels]
            shift = _project(shift + 2.5 * eps / steps * _steepest(gradient, norm), eps, norm)
            now = margins(weights, bias, x + shift, labels).min(axis=1)
            better = now < low
            best[better], low[better] = (x + shift)[better], now[better]
    return best


def compare(
    weights: Array,
    bias: Array,
    x: Array,
    labels: Labels,
    eps: float,
    norm: str = "linf",
    *,
    steps: int = 20,
    restarts: int = 1,
    seed: int = 0,
) -> Decisions:
    """Attack every sample and compare with the exact criterion; arguments as in `attack`."""
    exact = exact_margins(weights, bias, x, labels, eps, norm) <= 0
    points = attack(weights, bias, x, labels, eps, norm, steps=steps, restarts=restarts, seed=seed)
    found = margins(weights, bias, points, labels).min(axis=1) <= 0
    missed, wrong = exact & ~found, found & ~exact
    return Decisions(len(x), int(exact.sum()), int(found.sum()), int(missed.sum()), int(wrong.sum()))


def _steepest(gradient: Array, norm: str) -> Array:
    """Return the point of each unit ball that goes furthest along the gradient, shape (n, d)."""
    if norm == "linf":
        return np.sign(gradient)
    if norm == "l2":
        unit: Array = gradient / np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-300)
        return unit
    out, rows = np.zeros_like(gradient), np.arange(len(gradient))
    largest = np.abs(gradient).argmax(axis=1)
    out[rows, largest] = np.sign(gradient[rows, largest])
    return out


def _project(shift: Array, eps: float, norm: str) -> Array:
    """Return the nearest point of the ball, shape (n, d)."""
    if norm == "linf":
        return np.clip(shift, -eps, eps)
    if norm == "l2":
        length = np.linalg.norm(shift, axis=1, keepdims=True)
        inside: Array = shift * np.minimum(1, eps / np.maximum(length, 1e-300))
        return inside
    out = shift.copy()
    for i in np.flatnonzero(np.abs(shift).sum(axis=1) > eps):
        nearest = best_direction(shift[i], eps, "l1")  # points from the ball to the shift
        out[i] -= nearest.margin * nearest.weights
    return out


def _check(weights: Array, bias: Array, x: Array, labels: Labels, eps: float, norm: str) -> None:
    check_real("eps", eps, low=0)
    if norm not in NORMS:
        raise InputError(f"norm must be one of {', '.join(NORMS)}, got {norm!r:.60}")
    classes, d = weights.shape if weights.ndim == 2 else (0, 0)
    fit = classes >= 2 and bias.shape == (classes,) and x.ndim == 2 and x.shape[1] == d
    if not fit or labels.shape != (len(x),) or (len(x) and not 0 <= labels.min() <= labels.max() < classes):
        raise InputError(
            "weights (C >= 2, d), bias (C,), x (n, d) and labels (n,) below C must fit, "
            f"got {weights.shape}, {bias.shape}, {x.shape} and {labels.shape}"
        )
