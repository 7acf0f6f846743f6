"""Newton's method on orthants for many problems that share their samples: one product serves them all.

The steps are those of `sim.orthant`, taken by all problems together, so that products of the samples with a
vector of each problem become products of two matrices. Newton's equations are solved in single precision
(`sim.conjugate`); objectives, residuals and bounds are in double precision. A problem that has its
certificate leaves the others.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sim.conjugate import Equations, Preconditioner, Rows, conjugate, widen
from sim.losses import Loss
from sim.problem import Problem
from theory.inputs import InputError

__all__ = ["Batch", "Samples", "bounds", "solve_lockstep", "store"]

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Table = npt.NDArray[np.floating]
Index = npt.NDArray[np.intp]

CLOSE = 1e-3
"""Newton decrement, relative to min(1, objective), after which the next step should be the last."""
LOOSE, TIGHT = 0.05, 1e-4
"""Part of the residual that a step on the way may leave, and a last one before it is corrected."""
SHIFT = 0.3
"""Part of the gap that is spent on keeping the dual point strictly feasible."""
STEPS, ROUNDS = 40, 4
"""Newton steps, and solutions of the equations of one step, that are allowed."""


class Samples:
    """Samples that all problems share, in double and in single precision.

    The table has the rows (y x, y, -1 if of class +1, -1 if of class -1), those of class +1 first.
    """

    def __init__(self, problem: Problem) -> None:
        """Copy the samples, the loss and the penalty of ``problem``.

        Raises:
            InputError: a sample is not finite.
        """
        self.k, self.d = problem.plus.shape
        self.n, self.loss, self.l2 = len(problem.y), problem.loss, problem.l2
        table = np.zeros((self.n, self.d + 3))
        table[: self.k, : self.d], table[self.k :, : self.d] = problem.plus, -problem.minus
        table[:, self.d] = problem.y
        table[: self.k, self.d + 1] = table[self.k :, self.d + 2] = -1.0
        if not np.isfinite(table).all():
            raise InputError("samples must be finite numbers")
        self.table, self.rough = table, table.astype(np.float32)
        size = np.sqrt(np.einsum("ij,ij->j", table, table)[: self.d + 1] / self.n)
        self.scale = 1 / np.where(size > 0, size, 1)

    def spread(self, pairs: Array) -> Array:
        """Return one value a class as one a sample, shape (P, n)."""
        return np.repeat(pairs, (self.k, self.n - self.k), axis=1)

    def margins(self, w: Array, b: Array, eps: Array) -> Array:
        """Return the robust margins, shape (P, n)."""
        return np.asarray(widen(np.column_stack([w, b]), np.sign(w), eps) @ self.table.T, np.float64)

    def pulls(self, alpha: Array) -> Array:
        """Return sum alpha_i y_i (x_i, 1) of each class, shape (2, P, d + 1)."""
        k, rows = self.k, self.table[:, : self.d + 1]
        return np.stack([alpha[:, :k] @ rows[:k], alpha[:, k:] @ rows[k:]])


@dataclass(frozen=True)
class Batch(Rows):
    """P problems, each at a classifier.

    Args:
        eps: radius of each class, shape (P, 2).
        shares: weight of each sample of each class, shape (P, 2).
        w: weights, shape (P, d).
        b: biases, shape (P,).
        objective: objectives, shape (P,).
        bound: lower bounds of them, shape (P,).
        steps: Newton steps, shape (P,).
    """

    eps: Array
    shares: Array
    w: Array
    b: Array
    objective: Array
    bound: Array
    steps: Array


@dataclass(frozen=True)
class _State(Rows):
    """Robust margins (P, n), sample weights alpha (P, n), pulls (P, d + 1) and radii of the dual (P,)."""

    margins: Array
    alpha: Array
    pull: Array
    radius: Array


def solve_lockstep(samples: Samples, batch: Batch, gap: float) -> Batch:
    """Return the problems at their minimisers; a bound of 0 says that no certificate was found.

    Args:
        samples: the samples.
        batch: problems with a positive radius at the classifiers to start from.
        gap: gap to reach, relative to max(1, objective).
    """
    live, work, inverse = np.arange(len(batch.b)), np.inf, None
    done = batch.take(live)
    batch, margins = _place(samples, done, done.w, done.b)
    state = _state(samples, batch, margins)
    for count in range(1, STEPS + 1):
        exact, residual = _equations(samples, batch, state)
        if inverse is None or work > samples.d / 2:
            inverse = Preconditioner(samples.rough, exact, samples.l2, samples.scale)
        batch, margins, work = _step(samples, batch, state, exact, residual, inverse, gap)
        batch = replace(batch, steps=np.full(len(live), float(count)))
        reached = batch.objective - batch.bound <= gap * np.maximum(1, batch.objective)
        hopeless = (margins.min(axis=1) > 0) & (samples.l2 == 0) | ~np.isfinite(batch.objective)
        store(done, live, batch)
        rest = ~(reached | hopeless)
        if not rest.any():
            break
        if not rest.all():
            live, batch, margins = live[rest], batch.take(rest), margins[rest]
        state = _state(samples, batch, margins)
    return done


def store(done: Batch, rows: Index, batch: Batch) -> None:
    """Copy what was found into the rows of ``done``."""
    for name in ("w", "b", "objective", "bound", "steps"):
        getattr(done, name)[rows] = getattr(batch, name)


def _place(samples: Samples, batch: Batch, w: Array, b: Array) -> tuple[Batch, Array]:
    """Return the problems at (w, b), and the robust margins there."""
    margins = samples.margins(w, b, batch.eps)
    value, k = samples.loss.value(margins), samples.k
    objective = batch.shares[:, 0] * value[:, :k].sum(axis=1) + batch.shares[:, 1] * value[:, k:].sum(axis=1)
    if samples.l2 > 0:
        objective += samples.l2 / 2 * np.einsum("ij,ij->i", w, w)
    return replace(batch, w=w, b=b, objective=objective), margins


def _state(samples: Samples, batch: Batch, margins: Array) -> _State:
    """Return the sample weights and pulls at these margins."""
    alpha = samples.loss.slope(margins) * samples.spread(batch.shares)
    return _State(margins, alpha, samples.pulls(alpha).sum(axis=0), _radii(samples, batch, alpha))


def _radii(samples: Samples, batch: Batch, alpha: Array) -> Array:
    """Return the radius of the ball that the pull of alpha must be in, shape (P,)."""
    k = samples.k
    radius: Array = batch.eps[:, 0] * alpha[:, :k].sum(axis=1) + batch.eps[:, 1] * alpha[:, k:].sum(axis=1)
    return radius


def _equations(samples: Samples, batch: Batch, state: _State) -> tuple[Equations, Array]:
    """Return Newton's equations and their residual, shape (P, d + 1)."""
    assert samples.loss.curvature is not None
    a = samples.spread(batch.shares)
    h = a * samples.loss.curvature(state.alpha / a)
    pull = state.pull[:, :-1]
    signs = np.where(batch.w != 0, np.sign(batch.w), np.sign(pull))
    free = np.ones_like(state.pull)
    free[:, :-1] = (batch.w != 0) | (np.abs(pull) > state.radius[:, None])
    equations = Equations(h, signs, free, batch.eps)
    return equations, _residual(samples, equations, batch.w, state.pull, state.radius)


def _residual(samples: Samples, exact: Equations, w: Array, pull: Array, radius: Array) -> Array:
    """Return the gradient on what is free, shape (P, d + 1)."""
    out = -pull
    out[:, :-1] += radius[:, None] * exact.signs + samples.l2 * w
    out *= exact.free
    return out


def _step(
    samples: Samples,
    batch: Batch,
    state: _State,
    exact: Equations,
    residual: Array,
    inverse: Preconditioner,
    gap: float,
) -> tuple[Batch, Array, int]:
    """Take one step; return the problems, the robust margins and the work of solving the equations."""
    rough = exact.rough()
    close = inverse.decrement(residual, exact.free) < CLOSE * np.minimum(1, batch.objective)
    x, work = conjugate(samples.rough, rough, inverse, samples.l2, residual, np.where(close, TIGHT, LOOSE))
    last = np.flatnonzero(close & ~_crossed(batch.w - x[:, :-1], exact.signs).any(axis=1))
    bound = np.zeros(len(x))
    if len(last):
        parts = batch.take(last), state.take(last), exact.take(last), rough.take(last)
        x[last], bound[last], more = _certify(samples, *parts, inverse, x[last], gap)
        work += more
    new, margins = _search(samples, batch, exact, residual, x)
    return replace(new, bound=bound), margins, work


def _crossed(w: Array, signs: Table) -> Mask:
    """Say which weights have changed their sign."""
    mask: Mask = w * signs < 0
    return mask


def _search(
    samples: Samples, batch: Batch, exact: Equations, residual: Array, x: Array
) -> tuple[Batch, Array]:
    """Return the first points w - t x, with weights of a wrong sign set to 0, that are low enough."""

    def move(old: Batch, rows: Index, t: float) -> tuple[Batch, Array, Mask]:
        w, b = old.w - t * x[rows, :-1], old.b - t * x[rows, -1]
        w[_crossed(w, exact.signs[rows])] = 0.0
        new, margins = _place(samples, old, w, b)
        fall = np.einsum("ij,ij->i", residual[rows, :-1], old.w - w) + residual[rows, -1] * (old.b - b)
        return new, margins, new.objective <= old.objective - 1e-4 * fall + 1e-15

    t, rows = 1.0, np.arange(len(x))
    new, margins, low = move(batch, rows, t)
    rows = rows[~low]
    while len(rows) and t > 1e-9:
        t /= 2
        part, m, low = move(batch.take(rows), rows, t)
        store(new, rows, part)
        margins[rows] = m
        rows = rows[~low]
    return new, margins


def _certify(
    samples: Samples,
    batch: Batch,
    state: _State,
    exact: Equations,
    rough: Equations,
    inverse: Preconditioner,
    x: Array,
    gap: float,
) -> tuple[Array, Array, int]:
    """Solve Newton's equations to the end; return the step, the bounds of its dual points, and the work."""
    total, moved, work = np.zeros_like(x), np.zeros_like(state.alpha), 0
    cost = np.abs(batch.w).sum(axis=1) * state.radius
    shift = np.minimum(1e-6, SHIFT * gap / np.maximum(cost, 1e-30)) * (cost > 0)
    for turn in range(ROUNDS):
        total += x
        moved += widen(x, exact.signs, exact.eps) @ samples.table.T
        alpha = state.alpha - exact.h * -moved
        pulls, radius = samples.pulls(alpha), _radii(samples, batch, alpha)
        w = batch.w - total[:, :-1]
        residual = _residual(samples, exact, w, pulls.sum(axis=0), (1 - shift) * radius)
        left, allowed = np.abs(residual).max(axis=1), 0.5 * shift * radius
        over = left > allowed
        if turn == ROUNDS - 1 or not over.any():
            break
        residual[~over] = 0.0
        accuracy = np.maximum(TIGHT, 0.2 * allowed / np.maximum(left, 1e-300))
        x, more = conjugate(samples.rough, rough, inverse, samples.l2, residual, accuracy)
        work += more
    return total, bounds(samples, batch, alpha, pulls), work


def bounds(samples: Samples, batch: Batch, alpha: Array, pulls: Array) -> Array:
    """Return a number of each problem that none of its objectives is below, as `Problem.bound` does.

    Args:
        samples: the samples.
        batch: the problems.
        alpha: dual points, shape (P, n).
        pulls: their pulls, of which the bias is y.alpha of each class, shape (2, P, d + 1).
    """
    loss: Loss = samples.loss
    sums = np.stack([pulls[0, :, -1], -pulls[1, :, -1]], axis=1)
    good = sums.min(axis=1) > 0
    scale = np.minimum(1, sums[:, ::-1] / np.where(good[:, None], sums, 1.0))
    pull = scale[:, :1] * pulls[0, :, :-1] + scale[:, 1:] * pulls[1, :, :-1]
    radius = (batch.eps * scale * sums).sum(axis=1)
    p = samples.spread(scale / batch.shares) * alpha
    value, k = loss.dual(p, p), samples.k
    bound = batch.shares[:, 0] * value[:, :k].sum(axis=1) + batch.shares[:, 1] * value[:, k:].sum(axis=1)
    outside = np.maximum(np.abs(pull) - radius[:, None], 0)
    if samples.l2 > 0:
        bound = bound - np.einsum("ij,ij->i", outside, outside) / (2 * samples.l2)
    else:
        good = good & ~outside.any(axis=1)
    return np.where(good & np.isfinite(bound), np.maximum(bound, 0), 0.0)
