"""What problems on the same samples share, and what each has: tables of samples, classifiers and bounds."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

from sim.solvers.losses import Loss
from sim.solvers.training_problem import TrainingProblem
from theory.common.inputs import InputError

__all__ = ["Batch", "PerProblem", "Samples", "bounds", "widen"]

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]
Table = npt.NDArray[np.floating]


class PerProblem:
    """Mixin of a dataclass of arrays with one row a problem."""

    def take(self, rows: npt.NDArray[np.integer] | Mask) -> Self:
        """Return those problems only."""
        return type(self)(*(getattr(self, f.name)[rows] for f in fields(self)))  # type: ignore[arg-type]


def widen(x: Table, signs: Table, eps: Table) -> Table:
    """Return (x, e s.x of each class), which a table (y x, y, -1 of each class) turns into A x."""
    taken = np.einsum("ij,ij->i", signs, x[:, :-1])
    wide: Table = np.concatenate([x, eps * taken[:, None]], axis=1)
    return wide


class Samples:
    """Samples that all problems share, in double and in single precision.

    The table has the rows (y x, y, -1 if of class +1, -1 if of class -1), those of class +1 first.
    """

    def __init__(self, table: Array, k: int, loss: Loss, l2: float) -> None:
        """Copy the ``table``, whose first ``k`` rows are of class +1."""
        self.k, self.loss, self.l2 = k, loss, l2
        self.n, self.d = len(table), table.shape[1] - 3
        self.table, self.rough = table, table.astype(np.float32)
        size = np.sqrt(np.einsum("ij,ij->j", table, table)[: self.d + 1] / self.n)
        self.scale = 1 / np.where(size > 0, size, 1)

    @classmethod
    def of_problem(cls, problem: TrainingProblem) -> "Samples":
        """Return the samples, the loss and the penalty of ``problem``.

        Raises:
            InputError: a sample is not finite.
        """
        k, d = problem.plus.shape
        table = np.zeros((len(problem.y), d + 3))
        table[:k, :d], table[k:, :d] = problem.plus, -problem.minus
        table[:, d] = problem.y
        table[:k, d + 1] = table[k:, d + 2] = -1.0
        if not np.isfinite(table).all():
            raise InputError("samples must be finite numbers")
        return cls(table, k, problem.loss, problem.l2)

    def of(self, columns: Index) -> "Samples":
        """Return those columns only."""
        index = np.concatenate([columns, self.d + np.arange(3)])
        return Samples(np.take(self.table, index, axis=1), self.k, self.loss, self.l2)

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
class Batch(PerProblem):
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

    def store(self, rows: Index, batch: "Batch") -> None:
        """Copy what was found into the rows of these."""
        for name in ("w", "b", "objective", "bound", "steps"):
            getattr(self, name)[rows] = getattr(batch, name)

    def radii(self, samples: Samples, alpha: Array) -> Array:
        """Return the radius of the ball that the pull of alpha must be in, shape (P,)."""
        k = samples.k
        radius: Array = self.eps[:, 0] * alpha[:, :k].sum(axis=1) + self.eps[:, 1] * alpha[:, k:].sum(axis=1)
        return radius


def bounds(samples: Samples, batch: Batch, alpha: Array, pulls: Array) -> Array:
    """Return a number of each problem that none of its objectives is below, as `TrainingProblem.bound` does.

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
