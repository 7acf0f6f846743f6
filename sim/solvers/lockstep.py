"""Newton's method on orthants for many problems that share their samples: one product serves them all.

The steps are those of `sim.solvers.orthant`, taken by all problems together, so that products of the
samples with a vector of each problem become products of two matrices. Newton's equations are solved in
single precision (`sim.solvers.conjugate`); objectives, residuals and bounds are in double precision. A
problem that has its certificate leaves the others.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sim.solvers.conjugate import Equations, Preconditioner, conjugate
from sim.solvers.shared import Batch, PerProblem, Samples, bounds, widen

__all__ = ["solve_lockstep"]

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Table = npt.NDArray[np.floating]
Index = npt.NDArray[np.intp]

CLOSE = 3e-4
"""Newton decrement, relative to min(1, objective), after which the next step should be the last."""
LOOSE, TIGHT = 0.1, 1e-3
"""Part of the residual that a step on the way may leave, and a last one before it is corrected."""
SHIFT = 0.3
"""Part of the gap that is spent on keeping the dual point strictly feasible."""
NEAR, SPARSE = 0.9, 0.8
"""Columns pulled by less than a part of the radius are left out if less than a part of all are left."""
STEPS, ROUNDS = 40, 4
"""Newton steps, and solutions of the equations of one step, that are allowed."""


@dataclass(frozen=True)
class _Iterate(PerProblem):
    """Robust margins (P, n), sample weights alpha (P, n), pulls (P, d + 1) and radii of the dual (P,)."""

    margins: Array
    alpha: Array
    pull: Array
    radius: Array


def solve_lockstep(samples: Samples, batch: Batch, gap: float) -> Batch:
    """Return the problems at their minimisers; without a certificate their bound is 0, or -inf if separable.

    Only columns that may matter to one of the problems are looked at; the certificate looks at all.

    Args:
        samples: the samples.
        batch: problems with a positive radius at the classifiers to start from.
        gap: gap to reach, relative to max(1, objective).
    """
    live = np.arange(len(batch.b))
    done, seen = batch.take(live), np.zeros(samples.d, bool)
    batch, margins = _place(samples, replace(done, bound=np.full_like(done.b, -np.inf)), done.w, done.b)
    done.store(live, batch)
    state = _state(samples, batch, margins)
    while len(live):
        near = (batch.w != 0) | (np.abs(state.pull[:, :-1]) > NEAR * state.radius[:, None])
        near[:, np.abs(state.pull[:, :-1]).max(axis=0).argmax()] = True
        new = near.any(axis=0) & ~seen
        seen |= new
        if not new.any():
            break
        kept = np.flatnonzero(seen) if seen.mean() < SPARSE else np.arange(samples.d)
        few = samples if len(kept) == samples.d else samples.of(kept)
        part = replace(state, pull=np.take(state.pull, np.append(kept, samples.d), axis=1))
        found, alpha = _newton(few, replace(batch, w=np.take(batch.w, kept, axis=1)), part, gap)
        w = np.zeros((len(live), samples.d))
        w[:, kept] = found.w
        batch = replace(found, w=w)
        if few is not samples:
            whole = bounds(samples, batch, alpha, samples.pulls(alpha))
            batch = replace(batch, bound=np.minimum(batch.bound, whole))
        done.store(live, batch)
        rest = ~_reached(batch, gap) & alpha.any(axis=1)
        if few is samples or not rest.any():
            break
        live, batch = live[rest], batch.take(rest)
        state = _state(samples, batch, samples.margins(batch.w, batch.b, batch.eps))
    return done


def _reached(batch: Batch, gap: float) -> Mask:
    """Say which problems have reached the gap."""
    reached: Mask = batch.objective - batch.bound <= gap * np.maximum(1, batch.objective)
    return reached


def _newton(samples: Samples, batch: Batch, state: _Iterate, gap: float) -> tuple[Batch, Array]:
    """Return the problems at their minimisers, and their dual points, 0 where there is none."""
    live, work, inverse = np.arange(len(batch.b)), np.inf, None
    done, duals = batch.take(live), np.zeros_like(state.alpha)
    for _ in range(STEPS):
        exact, residual = _equations(samples, batch, state)
        if inverse is None or work > samples.d / 2:
            inverse = Preconditioner(samples.rough, exact, samples.l2, samples.scale)
        batch, margins, alpha, work = _step(samples, batch, state, exact, residual, inverse, gap)
        hopeless = (margins.min(axis=1) > 0) & (samples.l2 == 0) | ~np.isfinite(batch.objective)
        bound = np.where(hopeless, -np.inf, batch.bound)  # separable: there is no minimiser to certify
        batch = replace(batch, bound=bound, steps=batch.steps + 1)
        done.store(live, batch)
        reached = _reached(batch, gap)
        duals[live[reached]] = alpha[reached]
        rest = ~reached & ~hopeless
        if not rest.any():
            break
        if not rest.all():
            live, batch, margins = live[rest], batch.take(rest), margins[rest]
        state = _state(samples, batch, margins)
    return done, duals


def _place(samples: Samples, batch: Batch, w: Array, b: Array) -> tuple[Batch, Array]:
    """Return the problems at (w, b), and the robust margins there."""
    margins = samples.margins(w, b, batch.eps)
    value, k = samples.loss.value(margins), samples.k
    objective = batch.shares[:, 0] * value[:, :k].sum(axis=1) + batch.shares[:, 1] * value[:, k:].sum(axis=1)
    if samples.l2 > 0:
        objective += samples.l2 / 2 * np.einsum("ij,ij->i", w, w)
    return replace(batch, w=w, b=b, objective=objective), margins


def _state(samples: Samples, batch: Batch, margins: Array) -> _Iterate:
    """Return the sample weights and pulls at these margins."""
    alpha = samples.loss.slope(margins) * samples.spread(batch.shares)
    return _Iterate(margins, alpha, samples.pulls(alpha).sum(axis=0), batch.radii(samples, alpha))


def _equations(samples: Samples, batch: Batch, state: _Iterate) -> tuple[Equations, Array]:
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
    state: _Iterate,
    exact: Equations,
    residual: Array,
    inverse: Preconditioner,
    gap: float,
) -> tuple[Batch, Array, Array, int]:
    """Take one step; return the problems, their robust margins and dual points, and the work that it took."""
    rough = exact.rough()
    close = inverse.decrement(residual, exact.free) < CLOSE * np.minimum(1, batch.objective)
    x, work = conjugate(samples.rough, rough, inverse, samples.l2, residual, np.where(close, TIGHT, LOOSE))
    last = np.flatnonzero(close & ~_crossed(batch.w - x[:, :-1], exact.signs).any(axis=1))
    bound, alpha = np.zeros(len(x)), np.zeros_like(state.alpha)
    if len(last):
        parts = batch.take(last), state.take(last), exact.take(last), rough.take(last)
        x[last], alpha[last], bound[last], more = _certify(samples, *parts, inverse, x[last], gap)
        work += more
    new, margins = _search(samples, batch, exact, residual, x)
    return replace(new, bound=bound), margins, alpha, work


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
        new.store(rows, part)
        margins[rows] = m
        rows = rows[~low]
    return new, margins


def _certify(
    samples: Samples,
    batch: Batch,
    state: _Iterate,
    exact: Equations,
    rough: Equations,
    inverse: Preconditioner,
    x: Array,
    gap: float,
) -> tuple[Array, Array, Array, int]:
    """Solve Newton's equations to the end; return the step, its dual points, their bounds, and the work."""
    total, moved, work = np.zeros_like(x), np.zeros_like(state.alpha), 0
    cost = np.abs(batch.w).sum(axis=1) * state.radius
    shift = np.minimum(1e-6, SHIFT * gap / np.maximum(cost, 1e-30)) * (cost > 0)
    for turn in range(ROUNDS):
        total += x
        moved += widen(x, exact.signs, exact.eps) @ samples.table.T
        alpha = state.alpha - exact.h * -moved
        pulls, radius = samples.pulls(alpha), batch.radii(samples, alpha)
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
    return total, alpha, bounds(samples, batch, alpha, pulls), work
