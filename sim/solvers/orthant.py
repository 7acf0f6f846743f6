"""Newton's method on orthants: margin losses under an l-infinity adversary, or none.

Where the signs s of the weights are known, ||w||_1 = s.w is linear and the problem smooth. Each step solves
Newton's equations on the weights that are not held at 0, and stops weights where they would change their
sign (two-metric projection, Bertsekas, 1982). Only columns that may matter are looked at. The way is walked
in single precision, its end in double precision.

The last equations also give the certificate. Newton's step x from the sample weights alpha makes
alpha - D A x feasible for the dual, and both objectives at its end are off by the fourth order of its length.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from sim.solvers.newton import TIGHT, Dual, NewtonStep, Point, SampleTable
from sim.solvers.training_problem import Result, TrainingProblem
from theory.common.inputs import InputError

__all__ = ["solve_orthant"]

Array = npt.NDArray[np.float64]

CLOSE = 1e-2
"""Newton decrement, relative to min(1, objective), after which the next step should be the last."""
LOOSE = 0.01, 0.1
"""Least and largest part of the residual that a step on the way may leave."""
SHIFT = 0.3
"""Part of the gap that is spent on keeping the dual point strictly feasible."""
NEAR, SPARSE = 0.7, 0.6
"""Columns where the dual vector is less than a part of the radius are left out, if that leaves few enough."""
STEPS = 60
"""Newton steps that are allowed."""


def solve_orthant(problem: TrainingProblem, w: Array, b: float, gap: float) -> Result:
    """Minimise the objective of a loss that has a curvature.

    Args:
        problem: the problem, with an l-infinity adversary or radii 0.
        w: weights to start from.
        b: bias to start from.
        gap: gap to reach, in units of the objective.

    Raises:
        InputError: the classes are separable and the objective has no minimiser, or a sample is not finite.
    """
    point = Point.of(problem, w, b)
    dual = Dual.of(problem, point.alpha)
    seen, steps = np.zeros(len(w), bool), 0
    if not np.isfinite(dual.vector).all():
        raise InputError("samples must be finite numbers")
    # Working sets: the problem is solved on the columns whose dual vector is near its bound, the largest
    # always among them. The dual point of the few is tried on all columns; those that it violates join, until
    # none does. Most columns of images are never looked at.
    while True:
        seen |= (point.w != 0) | (np.abs(dual.vector) > NEAR * dual.radius)
        seen[np.abs(dual.vector).argmax()] = True
        kept = np.flatnonzero(seen)
        if len(kept) > SPARSE * len(w):
            point, _, bound, count = _newton(problem, point, dual, gap)
            return Result(point.w, point.b, point.objective, bound, steps + count)
        few = replace(
            problem, plus=np.take(problem.plus, kept, axis=1), minus=np.take(problem.minus, kept, axis=1)
        )
        found, dual, _, count = _newton(few, replace(point, w=point.w[kept]), None, gap)
        steps += count
        w = np.zeros(len(w))
        w[kept] = found.w
        point, dual = replace(found, w=w), Dual.of(problem, dual.alpha)
        bound = dual.bound(problem, w)
        if point.objective - bound <= gap or not (np.abs(dual.vector) > dual.radius)[~seen].any():
            return Result(w, point.b, point.objective, bound, steps)


def _newton(
    problem: TrainingProblem, point: Point, dual: Dual | None, gap: float
) -> tuple[Point, Dual, float, int]:
    """Return the minimiser, a dual point with its bound, and the number of steps."""
    # Two phases. On the way steps are inexact (the forcing term of inexact Newton methods: the residual
    # itself, between the bounds of `LOOSE`) and in single precision. Close to the end, in double precision, a
    # step is solved as exactly as the certificate needs.
    rows = SampleTable(problem)
    way, close = rows.problem, False
    dual = dual or Dual.of(way, point.alpha)
    best = point, dual, 0.0
    for count in range(1, STEPS + 1):
        step = NewtonStep(problem, rows, point, dual, _shift(point, dual, gap) if close else 0.0)
        if close:
            x = step.within(point.w, TIGHT)
        else:
            x = step.solve(step.residual, float(np.clip(2 * step.size(), *LOOSE)))
        # A full step that stays in its orthant minimises the quadratic model there: its end is certified.
        if close and not step.crossed(point.w - x[:-1]).any():
            new, dual = _certify(problem, step, point, x)
            bound = dual.bound(problem, new.w)
            if new.objective - bound < best[0].objective - best[2]:
                best = new, dual, bound
            if new.objective - bound <= gap:
                return *best, count
            point = new if new.objective < point.objective else _search(problem, step, point, x)
        else:
            # From w = 0 the direction is right but the length is not: curvature falls away from 0.
            if not point.w.any():
                x = _stretch(way, step, point, x)
            # residual.x is Newton's decrement: twice what the model says is left to gain
            close = close or count > STEPS // 4
            close = close or float(step.residual @ x) < CLOSE * min(1.0, point.objective)
            way = problem if close else way
            point = _search(way, step, point, x)
        problem.refuse_separated(point.margins)
        dual = Dual.of(way, point.alpha)
    return *best, STEPS


def _shift(point: Point, dual: Dual, gap: float) -> float:
    """Return the part of the radius that the dual point can do without at the cost of a part of the gap.

    Its dual vector is then shorter than allowed, and rounding does not leave it infeasible.
    """
    cost = float(np.abs(point.w).sum()) * dual.radius
    return min(1e-6, SHIFT * gap / cost) if cost > 0 else 0.0


def _search(problem: TrainingProblem, step: NewtonStep, point: Point, x: Array) -> Point:
    """Return the first point w - t x, with weights of a wrong sign set to 0, that is low enough."""
    # Armijo's rule along the projected path (Bertsekas, 1982): the fall that is asked for is that of the
    # gradient times the way actually moved, after weights of a wrong sign stopped at 0.
    t = 1.0
    while True:
        w, b = point.w - t * x[:-1], point.b - t * float(x[-1])
        w[step.crossed(w)] = 0.0
        with np.errstate(over="ignore"):
            new = Point.of(problem, w, b)
        fall = float(step.residual[:-1] @ (point.w - w)) + float(step.residual[-1]) * (point.b - b)
        if new.objective <= point.objective - 1e-4 * fall or t < 1e-9:
            return new
        t /= 2


def _stretch(problem: TrainingProblem, step: NewtonStep, point: Point, x: Array) -> Array:
    """Return the first step, made as long as is best with the best bias."""
    assert problem.loss.curvature is not None
    # w is the step without weights of a wrong sign; margins are c_0 (margins of w) + c_1 y. Three Newton
    # steps on the two numbers c minimise the objective over length and bias, at the price of one product.
    w = -x[:-1] * (x[:-1] * step.signs <= 0)
    rows = np.stack([problem.margins(w, 0.0), problem.y])
    penalty = np.diag([problem.l2 * float(w @ w), 0.0])
    c = np.array([1.0, point.b - float(x[-1])])
    for _ in range(3):
        with np.errstate(over="ignore"):
            slope = problem.loss.slope(c @ rows)
        h = problem.a * problem.loss.curvature(slope)
        hessian, gradient = (rows * h) @ rows.T + penalty, penalty @ c - rows @ (problem.a * slope)
        if not np.isfinite(hessian).all() or np.linalg.det(hessian) <= 0:
            return x
        c = c - np.linalg.solve(hessian, gradient)
    return np.append(-c[0] * w, point.b - c[1]) if np.isfinite(c).all() and c[0] > 0 else x


def _certify(problem: TrainingProblem, step: NewtonStep, point: Point, x: Array) -> tuple[Point, Dual]:
    """Solve Newton's equations to the end and return the new point and its dual point."""
    # The dual point alpha - D A x, of the linearised sample weights at the end of the step, has the gradient
    # of the model there as its violation: 0 if the equations are solved exactly. Each round solves for what
    # the last has left, measured in double precision (iterative refinement), until the violation is within
    # half of what the shift keeps in reserve.
    total, moved = np.zeros_like(x), np.zeros_like(point.alpha)
    for _ in range(6):
        total += x
        moved += step.images(x, problem)
        dual = Dual.of(problem, point.alpha + step.h * moved)
        residual = step.residual_of(dual, point.w - total[:-1])
        left, allowed = float(np.abs(residual).max()), 0.5 * step.shift * dual.radius
        if left <= allowed:
            break
        x = step.solve(residual, max(TIGHT, 0.2 * allowed / left))
    # Margins of the new point are the old ones less A x, which is at hand, unless refinement crossed a sign.
    w, b = point.w - total[:-1], point.b - float(total[-1])
    crossed = step.crossed(w)
    if crossed.any():
        w[crossed] = 0.0
        return Point.of(problem, w, b), dual
    return Point.of(problem, w, b, point.margins - moved), dual
