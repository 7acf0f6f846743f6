"""Linear training at many radii on the same samples: the path of solutions, each with its certified gap."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sim.solvers.solve import Pair, Radii, Solution, solve
from theory.common.inputs import InputError, check_radii

__all__ = ["path"]

Array = npt.NDArray[np.float64]


def path(
    plus: Array,
    minus: Array,
    eps: Sequence[Radii],
    *,
    loss: str = "logistic",
    norm: str = "linf",
    weights: Pair = (1.0, 1.0),
    l2: float = 0.0,
    gap: float = 1e-8,
) -> list[Solution]:
    """Return the classifier trained at each radius, as `sim.solvers.solve.solve` gives it.

    Each training starts where that at the next larger radius ended, which saves Newton steps. Every solution
    has a certificate of its own, so that no error is handed on.

    Args:
        plus: samples of class +1, shape (n_+, d).
        minus: samples of class -1, shape (n_-, d).
        eps: radii in units of x, in any order: each a number, a text such as 8/255, or one of each class.
        loss: logistic, hinge, exponential or squared.
        norm: norm of the adversary: linf, l2 or l1.
        weights: weight of each sample of class +1 and -1, > 0.
        l2: penalty, >= 0, in units of x^2.
        gap: largest duality gap of each solution, relative to max(1, objective).

    Raises:
        InputError: an argument is outside its domain, or a problem, whose radius is named, cannot be solved.

    >>> plus = np.array([[1.0, 0.2], [2.0, -1.0], [-0.5, 0.1]])
    >>> minus = np.array([[-1.0, 0.3], [0.4, -0.2]])
    >>> [round(s.objective, 3) for s in path(plus, minus, [0, "1/4", 0.5])]
    [0.502, 0.619, 0.67]
    """
    radii = [check_radii("eps", e) for e in eps]
    solutions: dict[int, Solution] = {}
    start = None
    # From the largest radius down features enter one after another, as along the path of the lasso. On the
    # way up they would have to leave, and a weight that should be 0 could stay within the gap of it.
    for i in sorted(range(len(radii)), key=lambda i: -sum(radii[i])):
        try:
            solutions[i] = solve(
                plus, minus, loss=loss, norm=norm, eps=radii[i], weights=weights, l2=l2, gap=gap, start=start
            )
        except InputError as error:
            raise InputError(f"training at eps = {eps[i]}: {error}") from None
        start = solutions[i].classifier
    return [solutions[i] for i in range(len(radii))]
