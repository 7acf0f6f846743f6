"""Newton's method on a path of smooth problems: any loss under any adversary.

Every kink of the problem is a maximum over an interval or a ball: the hinge of p (1 - m) over 0 <= p <= 1,
the norm of u.w over the unit ball of the adversary. A logarithmic barrier of weight mu keeps the maximiser
inside and makes the maximum smooth; the minimiser of the smooth problem then gives a dual point that is
strictly feasible, with a gap in proportion to mu, which is lowered until the gap is small enough.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from sim.solvers.training_problem import Result, TrainingProblem
from theory.common.inputs import InputError
from theory.gaussian.adversary import dual_norm

__all__ = ["solve_barrier"]

Array = npt.NDArray[np.float64]

FALL = 0.2
"""Factor by which the weight of the barrier falls."""
NOISE = 1e-15
"""Newton decrement that rounding leaves."""
STEPS = 500
"""Newton steps that are allowed."""


@dataclass(frozen=True)
class _SmoothLoss:
    """The smooth loss at scores t and losses r of margin: value, slopes and curvatures in t and r.

    alpha = -d/dt and beta = d/dr of the weighted loss, each of shape (n,).
    """

    value: float
    alpha: Array
    beta: Array
    tt: Array
    tr: Array
    rr: Array


@dataclass(frozen=True)
class _Norm:
    """A smooth dual norm: value, gradient u inside the adversary's unit ball, and Hessian."""

    value: float
    u: Array
    diagonal: Array
    rank_one: tuple[float, Array]

    def times(self, weight: float) -> Array:
        """Return the Hessian times ``weight``, shape (d, d)."""
        sign, v = self.rank_one
        out = (weight * sign) * np.outer(v, v)
        out[np.diag_indices(len(v))] += weight * self.diagonal
        return out


@dataclass(frozen=True)
class _PathPoint:
    """A point of the path with Newton's equations: gradient and Hessian in (w, b)."""

    w: Array
    b: float
    value: float
    loss: _SmoothLoss
    norm: _Norm


def smooth_abs(s: Array, mu: float) -> tuple[Array, Array, Array]:
    """Return the largest of k s + mu ln(1 - k^2) over |k| < 1, the maximiser k, and its derivative in s."""
    # The derivative s - 2 mu k / (1 - k^2) is 0 at k = s / (mu + sqrt(s^2 + mu^2)), where 1 - k^2 is
    # 2 mu / (mu + root); by the envelope theorem k is also the slope in s of the maximum.
    root = np.hypot(s, mu)
    k = s / (mu + root)
    return k * s + mu * np.log(2 * mu / (mu + root)), k, mu / (root * (mu + root))


def smooth_norm(w: Array, norm: str, mu: float) -> _Norm:
    """Return the dual norm of the adversary's norm, made smooth by a barrier of weight mu.

    linf: `smooth_abs` of each weight; l2: `smooth_abs` of the length; l1: the least of
    t - mu sum ln(t^2 - w_j^2) over t, less its value at 0.
    """
    if norm == "linf":
        value, u, curvature = smooth_abs(w, mu)
        return _Norm(float(value.sum()), u, curvature, (0.0, u))
    if norm == "l2":
        # f(||w||) with f' = k: the gradient is k w / ||w|| = w / (mu + root), whose derivative is
        # I / (mu + root) less a part along w.
        length = np.array([np.linalg.norm(w)])
        value, _, _ = smooth_abs(length, mu)
        root = float(np.hypot(length[0], mu))
        inverse = 1 / (mu + root)
        return _Norm(float(value[0]), w * inverse, np.full(len(w), inverse), (-1 / root, w * inverse))
    return _smooth_max(w, mu)


def _smooth_max(w: Array, mu: float) -> _Norm:
    # max |w_j| is the least t with |w_j| <= t. At the minimum the barrier forces mu / (t - |w_j|) and
    # mu / (t + |w_j|) add to 1, the slope of t. Their sum falls in t: bisection, on t - max |w| so that no
    # digit of the smallest distance is lost.
    size, d = np.abs(w), len(w)
    top = float(size.max())
    rest = top - size
    low, high = mu, 2 * mu * d  # t - max |w| lies between
    for _ in range(100):
        middle = (low + high) / 2
        above = (mu / (middle + rest)).sum() + (mu / (middle + rest + 2 * size)).sum() > 1
        low, high = (middle, high) if above else (low, middle)
    near, far = low + rest, low + rest + 2 * size  # t - |w_j| and t + |w_j|
    t = top + low
    at_zero = 2 * mu * d - 2 * mu * d * np.log(2 * mu * d)
    value = t - mu * float(np.log(near).sum() + np.log(far).sum()) - at_zero
    # u_j is the difference of the two forces at w_j: their sum over all j is 1, so ||u||_1 < 1, strictly
    # inside. The Hessian is that at fixed t less what the motion of t takes (implicit function theorem), a
    # rank one.
    one, two = mu / near, mu / far
    total = float(one.sum() + two.sum())
    diagonal = (one / near + two / far) / total
    across = np.sign(w) * (one / near - two / far) / total
    return _Norm(value, np.sign(w) * (one - two) / total, diagonal, (-1 / float(diagonal.sum()), across))


def smooth_loss(problem: TrainingProblem, t: Array, r: Array, mu: float) -> _SmoothLoss:
    """Return the smooth loss at scores t from which an attack takes r."""
    a, loss = problem.a, problem.loss
    if loss.name == "squared":
        # (|1 - t| + r)^2, the largest squared error over the ball, with a smooth absolute value
        size, k, curvature = smooth_abs(1 - t, mu)
        whole = size + r
        return _SmoothLoss(
            float(a @ whole**2), 2 * a * whole * k, 2 * a * whole, 2 * a * (k**2 + whole * curvature),
            -2 * a * k, 2 * a,
        )  # fmt: skip
    if loss.curvature is not None:
        value, p = loss.value(t - r), loss.slope(t - r)
        h = a * loss.curvature(p)
    else:  # max(0, s) = (|s| + s) / 2
        s = 1 - (t - r)
        size, k, curvature = smooth_abs(s, 2 * mu)
        value, h = (size + s) / 2, a * curvature / 2
        # (1 + k) / 2 cancels where k is near -1: there it is written without the difference
        p = np.where(
            s < 0, mu * (1 + 2 * mu / (np.hypot(s, 2 * mu) - s)) / (2 * mu + np.hypot(s, 2 * mu)), (1 + k) / 2
        )
    return _SmoothLoss(float(a @ value), a * p, a * p, h, -h, h)


def solve_barrier(problem: TrainingProblem, w: Array, b: float, gap: float) -> Result:
    """Minimise the objective.

    Args:
        problem: the problem, in units in which the samples are of order 1.
        w: weights to start from.
        b: bias to start from.
        gap: gap to reach, in units of the objective.

    Raises:
        InputError: the classes are separable and the objective has no minimiser, or a sample is not finite.
    """
    rows = np.column_stack([problem.y[:, None] * np.concatenate([problem.plus, problem.minus]), problem.y])
    if not np.isfinite(rows).all():
        raise InputError("samples must be finite numbers")
    # Path following: Newton's steps at one weight mu of the barrier until the decrement is small against mu,
    # then a fifth of the weight. Not every point of the path is needed exactly: a dual point is tried as
    # soon as the end of a full step would be near the path, since the gap there is of the order of mu.
    mu, best = 0.5, Result(w, b, problem.objective(w, b), -np.inf, 0)
    state = _state(problem, rows, w, b, mu)
    for steps in range(1, STEPS + 1):
        gradient, x = _equations(problem, rows, state)
        decrement = float(gradient @ x)
        if decrement <= 0.1 * mu:
            result = _certify(problem, rows, state, x, steps)
            if result.objective - result.bound < best.objective - best.bound:
                best = result
            if best.objective - best.bound <= gap or mu < 1e-3 * gap:
                break
        # mu falls once a tenth of a sample's share mu / n of the barrier is left to gain, not earlier.
        if decrement > max(0.1 * mu / len(rows), NOISE):
            state = _search(problem, rows, state, x, decrement, mu)
            margins = problem.margins(state.w, state.b)
            problem.refuse_separated(margins)
            least = float(margins.min())
            if least > 0 and problem.l2 == 0 and problem.loss.name == "hinge":  # a multiple has no loss
                return Result(state.w / least, state.b / least, 0.0, 0.0, steps)
        else:
            mu *= FALL
            state = _state(problem, rows, state.w, state.b, mu)
    return best


def _state(problem: TrainingProblem, rows: Array, w: Array, b: float, mu: float) -> _PathPoint:
    """Return the point (w, b) of the smooth problem."""
    # the barrier of the norm is weighted by the radius in the objective: mu is shared among its d terms
    norm = smooth_norm(w, problem.norm, mu / (len(w) * max(*problem.eps, 1e-3)))
    smooth = smooth_loss(problem, rows @ np.append(w, b), problem.e * norm.value, mu)
    return _PathPoint(w, b, smooth.value + problem.l2 / 2 * float(w @ w), smooth, norm)


def _equations(problem: TrainingProblem, rows: Array, state: _PathPoint) -> tuple[Array, Array]:
    """Return the gradient and the Newton step x, shape (d + 1,)."""
    # The objective is L(t, r) with scores t = rows (w, b) and losses of margin r = e N(w), N the smooth norm
    # with gradient u. The chain rule gives rows' L_tt rows, the mixed terms rows' (L_tr e) u' and its
    # transpose, (e' L_rr e) u u', and the slope in r, the radius e.beta, times the Hessian of N.
    smooth, e, d = state.loss, problem.e, len(state.w)
    radius = float(e @ smooth.beta)
    u = np.append(state.norm.u, 0.0)
    gradient = radius * u - rows.T @ smooth.alpha
    gradient[:d] += problem.l2 * state.w
    half = rows * np.sqrt(smooth.tt)[:, None]
    across = np.outer(rows.T @ (smooth.tr * e), u)
    hessian = half.T @ half + across + across.T + float(e**2 @ smooth.rr) * np.outer(u, u)
    hessian[:d, :d] += state.norm.times(radius)
    diagonal = np.einsum("ii->i", hessian)
    diagonal[:d] += problem.l2
    # Positive in exact arithmetic; a growing ridge where rounding makes it not.
    ridge = 0.0
    while True:
        try:
            factor = cho_factor(hessian, check_finite=False)
            break
        except LinAlgError:
            ridge = max(10 * ridge, 1e-15 * float(diagonal.max()))
            diagonal += ridge
    return gradient, cho_solve(factor, gradient, check_finite=False)


def _search(
    problem: TrainingProblem, rows: Array, state: _PathPoint, x: Array, decrement: float, mu: float
) -> _PathPoint:
    """Return the first point along Newton's step that is low enough."""
    t = 1.0
    while True:
        new = _state(problem, rows, state.w - t * x[:-1], state.b - t * float(x[-1]), mu)
        if new.value <= state.value - 0.1 * t * decrement or t < 1e-9:
            return new
        t /= 2


def _certify(problem: TrainingProblem, rows: Array, state: _PathPoint, x: Array, steps: int) -> Result:
    """Return the point at the end of a small Newton step, with the bound of its dual point."""
    # Slopes at the end of the step, to first order. Newton's equation for b says that sum y alpha is 0 there;
    # the ball and the bounds of the dual hold as long as the step is small. A hinge has its bounds put in by
    # hand.
    smooth, e = state.loss, problem.e
    images, taken = rows @ x, e * float(state.norm.u @ x[:-1])
    alpha = smooth.alpha + smooth.tt * images + smooth.tr * taken
    beta = smooth.beta - smooth.tr * images - smooth.rr * taken
    if problem.loss.curvature is None:
        alpha = beta = np.clip(alpha, 0.0, problem.a)
    w, b = state.w - x[:-1], state.b - float(x[-1])
    bound = problem.bound(alpha, beta, problem.dual_vectors(alpha), 2 * dual_norm(w, problem.norm))
    return Result(w, b, problem.objective(w, b), bound, steps)
