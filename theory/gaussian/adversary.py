"""Directions that keep the largest margin under an lp adversary, for any mean vector."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from theory.common.inputs import InputError, Radius, check_radius

__all__ = ["NORMS", "Direction", "best_direction", "dual_norm", "uniform_direction"]

Array = npt.NDArray[np.float64]

NORMS = ("linf", "l2", "l1")
"""Norms whose ball an adversary may move in."""


@dataclass(frozen=True)
class Direction:
    """A unit vector w and what an adversary leaves of its margin.

    Args:
        weights: w with ||w||_2 = 1, shape (d,).
        mu: w.theta, the margin without an adversary.
        rho: ||w|| in the dual norm; an adversary of radius eps takes eps rho.
        margin: m = mu - eps rho.
        eps: the radius.
    """

    weights: Array = field(compare=False)
    mu: float
    rho: float
    margin: float
    eps: float


def dual_norm(weights: npt.ArrayLike, norm: str) -> float:
    """Return what a unit ball of ``norm`` takes from a score: ||w||_1 for linf, ||w||_2, ||w||_inf for l1.

    Raises:
        InputError: the norm is not one of `NORMS`.

    >>> dual_norm([3.0, -4.0], "linf"), dual_norm([3.0, -4.0], "l2")
    (7.0, 5.0)
    """
    w = np.asarray(weights, np.float64)
    _check_norm(norm)
    return float({"linf": np.abs(w).sum(), "l2": np.linalg.norm(w), "l1": np.abs(w).max()}[norm])


def best_direction(theta: Sequence[float] | Array, eps: Radius, norm: str = "linf") -> Direction:
    """Return the unit vector with the largest margin w.theta - eps ||w||_dual.

    The largest margin is the signed Euclidean distance of theta to the boundary of the adversary's ball of
    radius eps, positive outside. Outside, w points from the projection of theta on the ball to theta:

    - linf: w is proportional to theta, soft-thresholded at eps (sparse);
    - l2: w is proportional to theta for every eps, inside too;
    - l1: w is proportional to theta, clipped at the level where the rest has l1 norm eps (dense).

    Inside, w is the outward normal of the nearest face: a basis vector for linf, signs / sqrt(d) for l1.
    The reduction to this problem holds for any variances of the form K^2 sigma^2 I and sigma^2 I, priors
    and costs (ours; for theta = eta 1 and linf it contains the direction of Xu et al., 2021).

    Args:
        theta: mean of class +1, shape (d,), not all zero; class -1 has its negative.
        eps: radius, in units of theta, a number or a text such as 8/255.
        norm: one of `NORMS`.

    Raises:
        InputError: theta, eps or the norm is outside its domain.

    >>> best_direction((3.0, 0.5), 0.5).weights.round(3).tolist()
    [1.0, 0.0]
    """
    t = np.asarray(theta, np.float64)
    _check_norm(norm)
    eps = check_radius("eps", eps)
    if t.ndim != 1 or not np.isfinite(t).all() or not t.any():
        raise InputError(f"theta must be a vector of finite numbers, not all 0, got {theta!r:.60}")
    size = np.abs(t)
    if norm == "linf":
        largest = size.max()
        w = _basis(t) if eps > largest else _shrink(t, eps)
        w = np.sign(t) * (size == largest) if eps == largest else w  # all ties on the boundary: the limit
    elif norm == "l2":
        w = t
    else:
        inside = eps > size.sum()
        level = 0.0 if inside else _clip_level(size, eps)
        w = np.clip(t, -level, level) if level > 0 else np.where(t < 0, -1.0, 1.0)
    w = w / np.abs(w).max()
    w = w / np.linalg.norm(w)
    mu, rho = float(w @ t), dual_norm(w, norm)
    return Direction(w, mu, rho, _margin(t, eps, norm, mu - eps * rho), eps)


def uniform_direction(
    dim: npt.ArrayLike, eta: npt.ArrayLike, eps: npt.ArrayLike
) -> tuple[Array, Array, Array]:
    """Return (mu, rho, margin) of the best direction for theta = eta 1 and linf, without its weights.

    It is 1 / sqrt(d) for eps <= eta (all nonnegative w tie at eps = eta), a basis vector beyond.

    Args:
        dim: d; all arguments broadcast.
        eta: coordinate of theta, > 0.
        eps: radius, >= 0.
    """
    d, eta, eps = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (dim, eta, eps)))
    rho = np.where(eps <= eta, np.sqrt(d), 1.0)
    return rho * eta, rho, rho * (eta - eps)


def _check_norm(norm: str) -> None:
    if norm not in NORMS:
        raise InputError(f"norm must be one of {', '.join(NORMS)}, got {norm!r:.60}")


def _basis(t: Array) -> Array:
    w = np.zeros_like(t)
    j = int(np.abs(t).argmax())
    w[j] = np.sign(t[j])
    return w


def _shrink(t: Array, level: float) -> Array:
    """Return the soft threshold of t."""
    return np.sign(t) * np.maximum(np.abs(t) - level, 0)


def _length(t: Array) -> float:
    """Return ||t||_2, also where its square is no double."""
    largest = np.abs(t).max()
    return float(largest * np.linalg.norm(t / largest))


def _clip_level(size: Array, eps: float) -> float:
    """Return the level above which the l1 norm of what is cut off equals eps <= ||t||_1."""
    ordered = np.sort(size)[::-1]
    count = np.arange(1, len(ordered) + 1)
    levels = (np.cumsum(ordered) - eps) / count  # if the largest ``count`` are cut
    cut = np.flatnonzero(levels < ordered)
    return float(max(levels[cut[-1] if len(cut) else 0], 0.0))


def _margin(t: Array, eps: float, norm: str, plain: float) -> float:
    """Return the margin without the cancellation of mu - eps rho where there is a closed form."""
    if norm == "linf":
        largest = np.abs(t).max()
        return float(_length(_shrink(t, eps)) if eps < largest else largest - eps)
    if norm == "l2":
        return float(_length(t) - eps)
    return plain
