"""Newton's equations on an orthant, solved without forming the Hessian where it is large.

The Hessian is A'DA + l2 I with the rows (y x - e s, y) of A, the signs s of the weights and the curvatures D.
Conjugate gradients apply it in single precision; whoever needs more corrects the residual in double
precision.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from sim.solvers.training_problem import TrainingProblem

__all__ = ["TIGHT", "Dual", "Point", "SampleTable", "NewtonStep"]

Array = npt.NDArray[np.float64]
Table = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]
Index = npt.NDArray[np.intp]

TIGHT = 1e-4
"""Part of the residual that single precision surely removes the rest of."""
FEW = 40
"""Number of weights up to which the equations are solved by elimination."""
NEAR, COVER, FULL = 0.95, 0.75, 0.85
"""Columns where the dual vector is more than a part of the radius are copied with the free ones; a copy is
renewed where a smaller part of it is free, and is the whole table where it would hold a larger part."""
ITERATIONS = 300
"""Steps of conjugate gradients before elimination."""
REPAIRS = 5
"""Times that Newton's equations are solved again without the weights that would change their sign."""


@dataclass(frozen=True)
class Point:
    """A classifier with its objective, robust margins and weights alpha of the samples."""

    w: Array
    b: float
    objective: float
    margins: Array
    alpha: Array

    @classmethod
    def of(cls, problem: TrainingProblem, w: Array, b: float, margins: Array | None = None) -> "Point":
        """Return the point (w, b); its margins may be known."""
        m = problem.margins(w, b) if margins is None else margins
        objective = float(problem.a @ problem.loss.value(m)) + problem.l2 / 2 * float(w @ w)
        return cls(w, b, objective, m, problem.a * problem.loss.slope(m))


@dataclass(frozen=True)
class Dual:
    """Weights alpha of the samples, dual vectors sum alpha_i x_i by class and in all, and their radius."""

    alpha: Array
    class_vectors: tuple[Array, Array]
    vector: Array
    radius: float

    @classmethod
    def of(cls, problem: TrainingProblem, alpha: Array) -> "Dual":
        """Return the point alpha."""
        plus, minus = problem.dual_vectors(alpha)
        return cls(alpha, (plus, minus), plus - minus, float(problem.e @ alpha))

    def bound(self, problem: TrainingProblem, w: Array) -> float:
        """Return the lower bound of the objective that the point gives (`TrainingProblem.bound`)."""
        return problem.bound(self.alpha, self.alpha, self.class_vectors, 2 * float(np.abs(w).sum()))


class SampleTable:
    """Copy of the samples with a column 1 and a column -y e, in single precision unless small."""

    def __init__(self, problem: TrainingProblem) -> None:
        """Copy the samples of ``problem``."""
        # Products with the table take nearly all of the time, and half of it in single precision. Below `FEW`
        # weights the Hessian is formed and eliminated, which is fast and needs the digits.
        k, d = problem.plus.shape
        self.table: Table = self._fill(problem, np.float64 if d <= FEW else np.float32)
        # Columns are scaled to size 1 before conjugate gradients (Jacobi's preconditioner); 128 samples of
        # each class know a size well enough for that.
        some = np.concatenate([self.table[:128, :-1], self.table[k : k + 128, :-1]])
        size = np.sqrt(np.einsum("ij,ij->j", some, some) / len(some))
        self.scale = 1 / np.where(size > 0, size, 1).astype(np.float64)
        self.problem = replace(problem, plus=self.table[:k, :d], minus=self.table[k:, :d])
        self.exact = problem
        self.index, self.part = np.arange(d + 2), self.table

    @staticmethod
    def _fill(problem: TrainingProblem, kind: type[np.floating]) -> Table:
        k, d = problem.plus.shape
        table = np.empty((len(problem.y), d + 2), kind)
        table[:k, :d], table[k:, :d] = problem.plus, problem.minus
        table[:, d], table[:, d + 1] = 1.0, -problem.y * problem.e
        return table

    def in_double(self) -> Table:
        """Return the covering columns in double precision."""
        return self._fill(self.exact, np.float64)[:, self.index]

    def covering(self, free: Mask, near: Mask) -> tuple[Index, Table]:
        """Return columns that cover the free weights and the bias, and their table."""
        # A product with a copy of the columns costs what the copy has, not what is free in it. So the copy is
        # kept while most of it is free, and renewed, with some columns that are about to become free, when
        # it is too wide or lacks one. Bias and radius, the last two columns, are always in it.
        d = len(free)
        outside = np.ones(d + 2, bool)
        outside[self.index] = False
        if free.sum() + 2 < COVER * len(self.index) or (free & outside[:-2]).any():
            wanted = np.flatnonzero(free | near)
            if len(wanted) < FULL * d:
                self.index = np.append(wanted, [d, d + 1])
                self.part = np.take(self.table, self.index, axis=1)
            else:
                self.index, self.part = np.arange(d + 2), self.table
        return self.index[:-1], self.part


class NewtonStep:
    """Newton's equations at one point; ``shift`` is the part by which the radius is lowered."""

    def __init__(
        self, problem: TrainingProblem, rows: SampleTable, point: Point, dual: Dual, shift: float
    ) -> None:
        """Set up the equations at ``point``, whose sample weights are those of ``dual``."""
        assert problem.loss.curvature is not None
        self.problem, self.rows, self.shift = problem, rows, shift
        self.adversarial = max(problem.eps) > 0
        self.h = problem.a * problem.loss.curvature(point.alpha / problem.a)
        # On the orthant of these signs ||w||_1 = s.w is linear. A weight at 0 would move against the
        # gradient, to the side of its dual vector; it is free to if |dual_j| > radius, where 0 is not
        # optimal: the subgradient of radius |w_j| at 0 is [-radius, radius].
        self.signs = np.where(point.w != 0, np.sign(point.w), np.sign(dual.vector)) * self.adversarial
        self.free = (point.w != 0) | (np.abs(dual.vector) > dual.radius)
        self.near = np.abs(dual.vector) > NEAR * dual.radius
        self.residual = self.residual_of(dual, point.w)
        self.factor: tuple[Array, bool] | None = None

    def residual_of(self, dual: Dual, w: Array) -> Array:
        """Return the gradient at w where the samples have the weights of ``dual``, shape (d + 1,)."""
        # d/dw of the objective: alpha_i y_i x_i of every sample, less e_i s; the shift keeps a
        # part of the radius in reserve, so that rounding does not leave the dual point infeasible.
        out = np.empty(len(w) + 1)
        radius = (1 - self.shift) * dual.radius
        out[:-1] = (radius * self.signs - dual.vector + self.problem.l2 * w) * self.free
        out[-1] = -float(self.problem.y @ dual.alpha)
        return out

    def size(self) -> float:
        """Return the size of the residual, in margins."""
        return float(np.linalg.norm(self.residual * self.rows.scale))

    def crossed(self, w: Array) -> Mask:
        """Say which weights have changed their sign."""
        mask: Mask = w * self.signs < 0
        return mask

    def images(self, x: Array, problem: TrainingProblem) -> Array:
        """Return A x, shape (n,), in the precision of ``problem``."""
        return problem.scores(x[:-1], float(x[-1])) - problem.e * float(self.signs @ x[:-1])

    def within(self, w: Array, accuracy: float) -> Array:
        """Return Newton's step x that sets weights of w - x to 0 where they would change their sign."""
        # Two-metric projection would clip the weights that change their sign; Newton's step for the others
        # was computed as if they had not been. Instead they are set to 0 exactly (x_j = w_j), taken out of
        # the equations, and the others solve what that leaves: H x = residual, in turn, on fewer weights.
        x = self.solve(self.residual, accuracy)
        way = self.rows.problem
        for _ in range(REPAIRS):
            crossed = self.free & self.crossed(w - x[:-1])
            if not crossed.any():
                break
            x[:-1][crossed] = w[crossed]
            self.free &= ~crossed
            self.factor = None
            # H x = A'(D A x) + l2 x, by the same code that makes a dual vector of sample weights, here D A x
            image = Dual.of(way, self.h * self.images(x, way))
            rest = self.residual.copy()
            rest[:-1] -= image.vector - image.radius * self.signs + way.l2 * x[:-1]
            rest[:-1] *= self.free
            rest[-1] -= float(way.y @ image.alpha)
            # what is left is small against the first residual, and is solved as accurately as that was
            size = float(np.linalg.norm(rest))
            if size > 0:
                x += self.solve(rest, min(0.5, accuracy * float(np.linalg.norm(self.residual)) / size))
        return x

    def solve(self, residual: Array, accuracy: float) -> Array:
        """Return x with H x = residual up to the part ``accuracy`` of it, shape (d + 1,)."""
        x = None if len(residual) <= FEW or self.factor else self._conjugate(residual, accuracy)
        return self._eliminate(residual) if x is None else x

    def _eliminate(self, residual: Array) -> Array:
        """Solve by Cholesky's method on what is free."""
        # The factor is kept for the corrections of one step. Single precision may leave a Hessian that is not
        # positive; then it is summed in double precision, with a ridge of rounding's size.
        index, table = self.rows.covering(self.free, self.near)
        inside = np.append(self.free, True)[index]
        if self.factor is None:
            try:
                self.factor = cho_factor(self._hessian(index, table, inside), check_finite=False)
            except LinAlgError:
                hessian = self._hessian(index, self.rows.in_double(), inside)
                hessian[np.diag_indices_from(hessian)] += 1e-13 * np.trace(hessian)
                self.factor = cho_factor(hessian, check_finite=False)
        x = np.zeros(len(residual))
        x[index[inside]] = cho_solve(self.factor, residual[index[inside]], check_finite=False)
        return x

    def _hessian(self, index: Index, table: Table, inside: Mask) -> Array:
        """Return the Hessian on those columns that are ``inside``."""
        # With X the columns and c = -y e the last one, a row of A is X_i + c_i s. So A'DA is X'DX plus the
        # rank-two part s (c'DX) + its transpose + (c'Dc) s s'; the bias has no sign and takes none of it.
        half = table * np.sqrt(self.h).astype(table.dtype)[:, None]
        full = (half.T @ half).astype(np.float64)
        signs = np.append(self.signs, 0.0)[index]
        across = np.outer(signs, full[-1, :-1])
        out: Array = full[:-1, :-1] + across + across.T + full[-1, -1] * np.outer(signs, signs)
        out[np.diag_indices(len(out) - 1)] += self.problem.l2
        return out if inside.all() else out[np.ix_(inside, inside)]

    def _conjugate(self, residual: Array, accuracy: float) -> Array | None:
        """Solve by conjugate gradients in single precision; None if they do not converge."""
        index, table = self.rows.covering(self.free, self.near)
        # Everything is brought to size 1, since single precision underflows at 1e-38: unknowns by the size of
        # their columns, curvatures by their sum, the right side by its largest entry.
        unit, total = self.rows.scale[index], float(self.h.sum())
        scaled = residual[index] * unit
        size = float(np.abs(scaled).max())
        if size == 0 or total == 0:
            return np.zeros_like(residual)
        h = (self.h / total).astype(np.float32)
        signs = self.signs[index[:-1]].astype(np.float32)
        scale = (unit * np.append(self.free, True)[index]).astype(np.float32)
        l2 = np.float32(self.problem.l2 / total)
        r = (scaled / size).astype(np.float32)
        x, p, v = np.zeros_like(r), r.copy(), np.empty(len(r) + 1, np.float32)
        square = float(r @ r)
        stop = accuracy**2 * square
        for _ in range(ITERATIONS):
            # image = D A p in two products with the table: the column of the radius has the factor s.p
            np.multiply(scale, p, out=v[:-1])
            v[-1] = signs @ v[:-2]
            image = table @ v
            image *= h
            full = image @ table
            q = full[:-1]
            q[:-1] += full[-1] * signs
            if l2 > 0:
                q[:-1] += l2 * v[:-2]
            q *= scale
            # the textbook's step (Hestenes and Stiefel, 1952), in place
            step = np.float32(square / max(float(p @ q), 1e-37))
            x += step * p
            r -= step * q
            new = float(r @ r)
            if new <= stop:
                out = np.zeros_like(residual)
                out[index] = x * (size / total) * unit
                return out
            p *= np.float32(new / square)
            p += r
            square = new
        return None
