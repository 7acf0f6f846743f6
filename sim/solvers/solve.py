"""Linear training against the worst attack, solved to a certified gap.

`solve` covers four losses, three adversaries, radii and weights of each class and a penalty; eps = 0 trains
naturally. `sim.solvers.training_problem` says what is minimised and why the gap is one.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sim.solvers.barrier import solve_barrier
from sim.solvers.losses import loss_of
from sim.solvers.orthant import solve_orthant
from sim.solvers.training_problem import TrainingProblem
from theory.common.inputs import InputError, Radius, check_radii, check_real
from theory.gaussian.adversary import NORMS
from theory.gaussian.linear import LinearClassifier

__all__ = ["Pair", "Radii", "Solution", "is_smooth", "problem_of", "setting_of", "solve"]

Array = npt.NDArray[np.float64]
Pair = tuple[float, float]
Radii = Radius | tuple[Radius, Radius]
"""One radius for both classes, or that of class +1 and that of class -1."""


@dataclass(frozen=True)
class Solution:
    """A trained classifier.

    Args:
        classifier: w, in units of 1 / x, and b; w is 0 where the adversary leaves nothing to learn.
        objective: value of the objective.
        gap: objective minus a lower bound of all objectives.
        iterations: Newton steps.
    """

    classifier: LinearClassifier
    objective: float
    gap: float
    iterations: int


def solve(
    plus: Array,
    minus: Array,
    *,
    loss: str = "logistic",
    norm: str = "linf",
    eps: Radii = 0.0,
    weights: Pair = (1.0, 1.0),
    l2: float = 0.0,
    gap: float = 1e-8,
    start: LinearClassifier | None = None,
) -> Solution:
    """Minimise the weighted mean of the worst losses plus l2 / 2 ||w||_2^2.

    Args:
        plus: samples of class +1, shape (n_+, d).
        minus: samples of class -1, shape (n_-, d).
        loss: logistic, hinge, exponential or squared.
        norm: norm of the adversary: linf, l2 or l1.
        eps: its radius, or those of class +1 and -1 (Remargin), >= 0, in units of x; numbers or texts such as
            8/255.
        weights: weight of each sample of class +1 and -1 (Reweight), > 0.
        l2: penalty, >= 0, in units of x^2.
        gap: largest duality gap, relative to max(1, objective).
        start: classifier to start from.

    Raises:
        InputError: an argument is outside its domain, separable classes leave the loss without a minimiser,
            or the gap is not reached.

    >>> plus, minus = np.array([[1.0, 0.2], [2.0, -1.0], [-0.5, 0.1]]), np.array([[-1.0, 0.3], [0.4, -0.2]])
    >>> solution = solve(plus, minus, eps="1/4")
    >>> solution.classifier.weights.round(3).tolist(), solution.gap <= 1e-8
    ([0.734, 0.0], True)
    """
    problem, unit = problem_of(plus, minus, loss, norm, eps, weights, l2)
    check_real("gap", gap, low=0, strict=True)
    w, b = np.zeros(problem.plus.shape[1]), 0.0
    if start is not None:
        if np.shape(start.weights) != w.shape:
            raise InputError(f"start must have {len(w)} weights, got {np.size(start.weights)}")
        w, b = start.weights * unit, start.bias
    smooth = is_smooth(problem)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        result = (solve_orthant if smooth else solve_barrier)(problem, w, b, gap)
        if smooth and result.objective - result.bound > gap:  # columns almost dependent: signs keep changing
            result = solve_barrier(problem, result.w, result.b, gap)
    reached = result.objective - result.bound
    if not reached <= gap * max(1.0, result.objective):
        raise InputError(
            f"{loss} training reached the gap {reached:.2g}, not {gap:g}, after {result.steps} steps"
        )
    return Solution(LinearClassifier(result.w / unit, result.b), result.objective, reached, result.steps)


def is_smooth(problem: TrainingProblem) -> bool:
    """Say whether the objective is smooth where the signs of the weights are known."""
    kinks = problem.loss.curvature is None or (problem.loss.name == "squared" and max(problem.eps) > 0)
    return problem.norm == "linf" and not kinks


def problem_of(
    plus: Array, minus: Array, loss: str, norm: str, eps: Radii, weights: Pair, l2: float
) -> tuple[TrainingProblem, float]:
    """Return the problem in units in which samples are of order 1, and that unit.

    Raises:
        InputError: an argument is outside its domain.
    """
    plus, minus = (np.ascontiguousarray(x, np.float64) for x in (plus, minus))
    if plus.ndim != 2 or plus.shape[1:] != minus.shape[1:] or 0 in (len(plus), len(minus), plus.shape[1]):
        raise InputError(
            "samples must be two tables (n, d) with n, d >= 1 and the same d, "
            f"got {plus.shape} and {minus.shape}"
        )
    if norm not in NORMS:
        raise InputError(f"norm must be one of {', '.join(NORMS)}, got {norm!r:.60}")
    radii, shares = setting_of(eps, weights, len(plus), len(minus))
    penalty = check_real("l2", l2, low=0)
    size = max(float(np.abs(x[:: 1 + len(x) // 64]).max()) for x in (plus, minus))
    unit = size if 0 < size <= 1e-2 or 1e3 <= size < np.inf else 1.0
    if unit != 1:
        plus, minus = plus / unit, minus / unit
    norm = norm if max(radii) > 0 else "linf"
    radii = radii[0] / unit, radii[1] / unit
    return TrainingProblem(plus, minus, loss_of(loss), norm, radii, shares, penalty / unit**2), unit


def setting_of(eps: Radii, weights: Pair, n_plus: int, n_minus: int) -> tuple[Pair, Pair]:
    """Return the radius of each class, and the weight of its samples where all weights add to 1.

    Raises:
        InputError: an argument is outside its domain.
    """
    radii = check_radii("eps", eps)
    if not isinstance(weights, (tuple, list)) or len(weights) != 2:
        raise InputError(f"weights must be one number of each class, got {weights!r:.60}")
    costs = [check_real("weights", c, low=0, strict=True) for c in weights]
    total = costs[0] * n_plus + costs[1] * n_minus
    return radii, (costs[0] / total, costs[1] / total)
