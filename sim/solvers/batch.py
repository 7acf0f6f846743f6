"""Many problems of linear training that share their samples: a grid of radii and class weights at a time.

A few problems that are far from each other are solved first; the others start from a local polynomial through
the nearest solutions, from which one or two Newton steps lead to the optimum. Neighbours are solved together
(`sim.solvers.lockstep`), and each solution has its own certificate.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from sim.solvers.lockstep import solve_lockstep
from sim.solvers.shared import Batch, Samples
from sim.solvers.solve import Pair, Solution, is_smooth, problem_of, setting_of, solve
from theory.common.inputs import InputError, check_real
from theory.gaussian.linear import LinearClassifier

__all__ = ["solve_many"]

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

TOGETHER = 64
"""Largest number of problems that are solved together."""
LEVELS = 4, 16, 64, 256, 1024
"""Number of problems that are solved before the next ones start from them."""
NEIGHBOURS = 20
"""Solutions through which a start is laid: twice what a quadratic of three variables needs."""
RIDGE = 1e-7
"""Part of the trace that keeps the fit defined where points lie on a line or a plane."""


def solve_many(
    plus: Array,
    minus: Array,
    *,
    loss: str = "logistic",
    norm: str = "linf",
    eps: Sequence[float | Pair],
    weights: Sequence[Pair] | None = None,
    l2: float = 0.0,
    gap: float = 1e-8,
) -> list[Solution]:
    """Solve one problem for each item of ``eps`` and ``weights``, as `sim.solvers.solve` does one by one.

    Problems with a smooth loss and a positive radius under linf are solved together; `solve` takes the others
    and those that found no certificate.

    Args:
        plus: samples of class +1, shape (n_+, d).
        minus: samples of class -1, shape (n_-, d).
        loss: logistic, hinge, exponential or squared.
        norm: norm of the adversary: linf, l2 or l1.
        eps: radius of each problem, or those of class +1 and -1, >= 0, in units of x.
        weights: weight of each sample of class +1 and -1 of each problem, > 0; 1 without.
        l2: penalty, >= 0, in units of x^2.
        gap: largest duality gap, relative to max(1, objective).

    Raises:
        InputError: an argument is outside its domain, or a problem, which is named, cannot be solved.
    """
    weights = [(1.0, 1.0)] * len(eps) if weights is None else weights
    if len(eps) != len(weights):
        raise InputError(
            f"eps and weights must have one item a problem each, got {len(eps)} and {len(weights)}"
        )
    check_real("gap", gap, low=0, strict=True)
    radii, shares = np.empty((len(eps), 2)), np.empty((len(eps), 2))
    for i, (e, c) in enumerate(zip(eps, weights, strict=True)):
        with _naming(i):
            radii[i], shares[i] = setting_of(e, c, len(plus), len(minus))
    found: dict[int, Solution] = {}
    together = np.flatnonzero(radii.any(axis=1))
    if len(together):
        some = int(together[0])
        problem, unit = problem_of(plus, minus, loss, norm, eps[some], weights[some], l2)
        if is_smooth(problem):
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                batch = _solve(Samples.of_problem(problem), radii[together] / unit, shares[together], gap)
            found = _certified(batch, together, unit, gap)
    for i in range(len(eps)):
        if i not in found:
            with _naming(i):
                found[i] = solve(
                    plus, minus, loss=loss, norm=norm, eps=eps[i], weights=weights[i], l2=l2, gap=gap
                )
    return [found[i] for i in range(len(eps))]


@contextmanager
def _naming(i: int) -> Iterator[None]:
    """Name the problem that is refused."""
    try:
        yield
    except InputError as error:
        raise InputError(f"problem {i}: {error}") from None


def _certified(batch: Batch, index: Index, unit: float, gap: float) -> dict[int, Solution]:
    """Return the solutions that reached the gap."""
    reached = batch.objective - batch.bound
    return {
        int(index[row]): Solution(
            LinearClassifier(batch.w[row] / unit, float(batch.b[row])),
            float(batch.objective[row]),
            float(reached[row]),
            int(batch.steps[row]),
        )
        for row in np.flatnonzero(reached <= gap * np.maximum(1, batch.objective))
    }


def _solve(samples: Samples, eps: Array, shares: Array, gap: float) -> Batch:
    """Solve all problems, level by level."""
    total, none = len(eps), np.zeros(len(eps))
    points = np.column_stack([eps, np.log(shares[:, 0] / shares[:, 1])])
    spans = np.ptp(points, axis=0)
    points = (points - points.min(axis=0)) / np.where(spans > 0, spans, 1)
    batch = Batch(eps, shares, np.zeros((total, samples.d)), none, none.copy(), none.copy(), none.copy())
    order, first = _spread(points, min(total, LEVELS[-1])), 0
    for last in [level for level in LEVELS if level < total] + [total]:
        for rows in _groups(points, order[first:last], TOGETHER):
            if first:
                mix, near = _polynomial(points[rows], points[order[:first]])
                w = batch.w[order[near]]
                zero = np.einsum("ij,ijk->ik", np.abs(mix), np.where(w == 0, 1.0, -1.0)) > 0
                batch.w[rows] = np.where(zero, 0.0, np.einsum("ij,ijk->ik", mix, w))
                batch.b[rows] = np.einsum("ij,ij->i", mix, batch.b[order[near]])
            batch.store(rows, solve_lockstep(samples, batch.take(rows), gap))
        first = last
    return batch


def _spread(points: Array, count: int) -> Index:
    """Return an order of which the first ``count`` each are as far as can be from those before."""
    order, away = np.empty(len(points), np.intp), np.full(len(points), np.inf)
    row = 0
    for i in range(count):
        order[i] = row
        away = np.minimum(away, ((points - points[row]) ** 2).sum(axis=1))
        away[row] = -1.0
        row = int(away.argmax())
    order[count:] = np.flatnonzero(away >= 0)
    return order


def _groups(points: Array, rows: Index, size: int) -> list[Index]:
    """Return the rows in groups of neighbours, halved across their longest side."""
    if len(rows) <= size:
        return [rows]
    axis = int(np.ptp(points[rows], axis=0).argmax())
    rows = rows[points[rows, axis].argsort(kind="stable")]
    half = size * -(-len(rows) // (2 * size))
    return _groups(points, rows[:half], size) + _groups(points, rows[half:], size)


def _polynomial(points: Array, known: Array) -> tuple[Array, Index]:
    """Return the weights of the nearest known points in a local quadratic fit, and which they are.

    Args:
        points: where the fit is wanted, shape (P, 3).
        known: points at which the function is known, shape (m, 3).
    """
    square = ((points[:, None] - known) ** 2).sum(axis=2)
    near = square.argsort(axis=1)[:, :NEIGHBOURS]
    delta = known[near] - points[:, None]
    reach = np.sqrt((delta**2).sum(axis=2))
    far = np.maximum(reach.max(axis=1), 1e-300)
    x = delta / far[:, None, None]
    one, i, j = np.ones((*near.shape, 1)), *np.triu_indices(x.shape[2])
    basis = np.concatenate([one, x, x[..., i] * x[..., j]], axis=2)
    weighted = basis / (1e-4 + (reach / far[:, None]) ** 2)[..., None] ** 2
    gram = np.swapaxes(weighted, 1, 2) @ basis
    ridge = RIDGE * np.einsum("ijj->i", gram)
    gram += ridge[:, None, None] * np.eye(gram.shape[1])
    unit = np.zeros((len(points), gram.shape[1], 1))
    unit[:, 0] = 1.0
    mix = (weighted @ np.linalg.solve(gram, unit))[..., 0]
    return mix / mix.sum(axis=1, keepdims=True), near
