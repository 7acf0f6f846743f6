"""Newton's equations of many problems that share their samples: conjugate gradients, one preconditioner.

The Hessian of a problem is A'DA + l2 I with the rows (y x - e s, y) of A, the signs s of the weights and the
curvatures D. A table of the samples with a column for what each class loses to the attack applies all of
them in two products of matrices, in single precision.
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dpotrf, dpotri

from sim.solvers.shared import PerProblem, widen

__all__ = ["Equations", "Preconditioner", "conjugate"]

Array = npt.NDArray[np.float64]
Table = npt.NDArray[np.floating]

ITERATIONS = 100
"""Steps of conjugate gradients that are allowed."""
RIDGE = 1e-5
"""Part of its diagonal that is added to the mean Hessian, which single precision may leave singular."""
KEPT = 0.75
"""The problems that remain are copied where they are a smaller part of those carried."""


@dataclass(frozen=True)
class Equations(PerProblem):
    """The Hessians of P problems.

    Args:
        h: weighted curvatures, shape (P, n).
        signs: signs of the weights, shape (P, d).
        free: 1 for what is not held at 0, the bias last, else 0, shape (P, d + 1).
        eps: radius of each class, shape (P, 2).
    """

    h: Table
    signs: Table
    free: Table
    eps: Table

    def rough(self) -> "Equations":
        """Return them in single precision."""
        return Equations(*(getattr(self, f.name).astype(np.float32) for f in fields(self)))


class Preconditioner:
    """Inverse of the Hessian at the mean of some problems, on the weights that are free in any of them."""

    def __init__(self, table: Table, equations: Equations, l2: float, scale: Array) -> None:
        """Invert the mean Hessian of ``equations``; ``scale`` is 1 / the size of each column."""
        d = equations.signs.shape[1]
        h = equations.h.mean(axis=0)
        self.diagonal = (scale**2 / max(float(h.sum()), 1e-30)).astype(np.float32)
        self.index = np.flatnonzero(equations.free.any(axis=0))
        signs = np.append(np.sign(equations.signs.sum(axis=0)), 0.0)[self.index].astype(np.float32)
        rows = np.take(table, self.index, axis=1)
        rows += (table[:, d + 1 :] @ equations.eps.mean(axis=0).astype(np.float32))[:, None] * signs
        rows *= np.sqrt(h).astype(np.float32)[:, None]
        hessian = (rows.T @ rows).astype(np.float64)
        diagonal = np.einsum("ii->i", hessian)
        diagonal += l2 + RIDGE * diagonal + 1e-30
        factor, failed = dpotrf(hessian, lower=1)
        inverse, wrong = (factor, failed) if failed else dpotri(factor, lower=1)
        if failed or wrong:
            self.index = self.index[:0]
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        self.inverse = inverse[: len(self.index), : len(self.index)].astype(np.float32)

    def __call__(self, r: Table, free: Table) -> Table:
        """Return the product with r, shape (P, d + 1), on what is free."""
        z = r * self.diagonal
        z[:, self.index] = r[:, self.index] @ self.inverse
        z *= free
        return z

    def decrement(self, residual: Array, free: Table) -> Array:
        """Return what Newton's step would lower the objective by, twice and roughly, shape (P,)."""
        size = np.maximum(np.abs(residual).max(axis=1), 1e-30)[:, None]
        r = (residual / size).astype(np.float32)
        out: Array = np.einsum("ij,ij->i", r, self(r, free.astype(np.float32))) * size[:, 0] ** 2
        return out


def conjugate(
    table: Table, equations: Equations, inverse: Preconditioner, l2: float, residual: Array, accuracy: Array
) -> tuple[Array, int]:
    """Return x with H x = residual up to the part ``accuracy`` of its energy norm, and the work in rows.

    Args:
        table: rows (y x, y, -1 of each class), in single precision.
        equations: the Hessians, in single precision.
        inverse: preconditioner.
        l2: penalty.
        residual: right-hand sides, 0 where not free, shape (P, d + 1).
        accuracy: of each problem, shape (P,).
    """
    size = np.abs(residual).max(axis=1)
    out, work = np.zeros_like(residual), 0
    live = np.flatnonzero(size > 0)
    eq = equations.take(live)
    r = (residual[live] / size[live, None]).astype(np.float32)
    x, z = np.zeros_like(r), inverse(r, eq.free)
    p, energy = z.copy(), np.einsum("ij,ij->i", r, z)
    stop = accuracy[live] ** 2 * energy
    for count in range(ITERATIONS + 1):
        rest = energy > stop
        if count == ITERATIONS or not rest.any():
            out[live] = x
            break
        if rest.mean() < KEPT:
            out[live[~rest]] = x[~rest]
            live, eq = live[rest], eq.take(rest)
            r, x, p, energy, stop = r[rest], x[rest], p[rest], energy[rest], stop[rest]
        q = _apply(table, eq, l2, p)
        step = (energy / np.maximum(np.einsum("ij,ij->i", p, q), 1e-37))[:, None]
        x += step * p
        r -= step * q
        z = inverse(r, eq.free)
        new = np.einsum("ij,ij->i", r, z)
        p *= (new / np.maximum(energy, 1e-37))[:, None]
        p += z
        energy = new
        work += len(live)
    return out * size[:, None], work


def _apply(table: Table, equations: Equations, l2: float, v: Table) -> Table:
    """Return H v on what is free, shape (P, d + 1)."""
    d = equations.signs.shape[1]
    image = widen(v, equations.signs, equations.eps) @ table.T
    image *= equations.h
    full = image @ table
    q: Table = full[:, : d + 1]
    q[:, :d] += equations.signs * np.einsum("ij,ij->i", equations.eps, full[:, d + 1 :])[:, None]
    if l2 > 0:
        q[:, :d] += np.float32(l2) * v[:, :d]
    q *= equations.free
    return q
