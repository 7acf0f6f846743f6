"""One problem of linear adversarial training: its data, its objective and its dual bound.

The adversary of radius eps lowers every y (w.x + b) by exactly eps ||w|| in the dual norm, so training is the
convex problem

    minimise  sum_i a_i loss(y_i (w.x_i + b) - e_i ||w||) + l2 / 2 ||w||_2^2    over (w, b)

with sample weights a_i that add to 1. The squared loss is not decreasing: its largest value over the ball is
(|1 - y (w.x + b)| + e ||w||)^2. A dual point weighs the samples by alpha_i = a_i p_i (and beta_i = a_i q_i
with beta_i >= |alpha_i|, equal for a margin loss). If sum y_i alpha_i = 0, then every (w, b) has

    objective >= sum_i a_i dual(p_i, q_i) - dist^2 / (2 l2)

where dist is the Euclidean distance from sum y_i alpha_i x_i to the ball of radius sum e_i beta_i of the
adversary's norm; without a penalty it must be 0 (Fenchel duality).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from sim.solvers.losses import Loss
from theory.common.inputs import InputError
from theory.gaussian.adversary import best_direction, dual_norm

__all__ = ["TrainingProblem", "Result"]

Array = npt.NDArray[np.float64]
Samples = npt.NDArray[np.floating]
Pair = tuple[float, float]

BALL = {"linf": "l1", "l2": "l2", "l1": "linf"}
"""For each norm of the adversary, the norm whose dual it is."""

ROUNDING = 1e-9
"""Part of the dual vectors of both classes that may be left of their difference where it should be 0."""


@dataclass(frozen=True)
class Result:
    """A classifier with its objective, a lower bound of all objectives, and the steps that it took."""

    w: Array
    b: float
    objective: float
    bound: float
    steps: int


@dataclass(frozen=True, eq=False)
class TrainingProblem:
    """Data and objective; samples of class +1 come first, then those of class -1.

    Args:
        plus: samples of class +1, shape (n_+, d); their precision is that of all products with them.
        minus: samples of class -1, shape (n_-, d).
        loss: the loss.
        norm: norm of the adversary.
        eps: radius of each class, in units of x.
        weights: weight of each sample of each class; they add to 1 over all samples.
        l2: penalty, in units of x^2.
    """

    plus: Samples
    minus: Samples
    loss: Loss
    norm: str
    eps: Pair
    weights: Pair
    l2: float

    @cached_property
    def y(self) -> Array:
        """Labels, shape (n,)."""
        return self.spread((1.0, -1.0))

    @cached_property
    def a(self) -> Array:
        """Sample weights, shape (n,)."""
        return self.spread(self.weights)

    @cached_property
    def e(self) -> Array:
        """Radii, shape (n,)."""
        return self.spread(self.eps)

    def spread(self, pair: Pair) -> Array:
        """Return one value a class as one value a sample, shape (n,)."""
        out = np.empty(len(self.plus) + len(self.minus))
        out[: len(self.plus)], out[len(self.plus) :] = pair
        return out

    def scores(self, w: Array, b: float) -> Array:
        """Return y (w.x + b), shape (n,)."""
        if not w.any():
            return b * self.y
        out = np.empty(len(self.plus) + len(self.minus))
        w = w.astype(self.plus.dtype, copy=False)
        out[: len(self.plus)] = self.plus @ w
        out[len(self.plus) :] = self.minus @ -w
        out += b * self.y
        return out

    def dual_vectors(self, alpha: Array) -> tuple[Array, Array]:
        """Return the dual vector sum alpha_i x_i of each class, shape (d,)."""
        alpha = alpha.astype(self.plus.dtype, copy=False)
        return alpha[: len(self.plus)] @ self.plus, alpha[len(self.plus) :] @ self.minus

    def margins(self, w: Array, b: float) -> Array:
        """Return the robust margins, shape (n,)."""
        length = float(np.abs(w).sum()) if self.norm == "linf" else dual_norm(w, self.norm)
        return self.scores(w, b) - self.e * length

    def losses(self, w: Array, b: float) -> Array:
        """Return the largest loss that the adversary can cause at each sample, shape (n,)."""
        taken, scores = self.e * dual_norm(w, self.norm), self.scores(w, b)
        if self.loss.name == "squared":
            return (np.abs(1 - scores) + taken) ** 2
        return self.loss.value(scores - taken)

    def objective(self, w: Array, b: float) -> float:
        """Return the objective."""
        return float(self.a @ self.losses(w, b)) + self.l2 / 2 * float(w @ w)

    def bound(
        self, alpha: Array, beta: Array, class_vectors: tuple[Array, Array], largest_norm: float
    ) -> float:
        """Return a number that no objective is below; 0 bounds them all.

        The class with more weight is scaled down to balance the classes. Without a penalty the dual vector
        must be in its ball. Natural training shrinks the ball to a point, which rounding misses: then the
        bound holds for all w with ||w|| <= ``largest_norm`` only.

        Args:
            alpha: slopes at the scores, shape (n,).
            beta: slopes at what the attack takes, shape (n,), >= |alpha|.
            class_vectors: `dual_vectors` of alpha.
            largest_norm: largest ||w|| of interest.
        """
        k = len(self.plus)
        sums = float(alpha[:k].sum()), float(alpha[k:].sum())
        if min(sums) <= 0:
            return 0.0
        scale = self.spread((min(1.0, sums[1] / sums[0]), min(1.0, sums[0] / sums[1])))
        vector, radius = (
            scale[0] * class_vectors[0] - scale[-1] * class_vectors[1],
            float(self.e @ (scale * beta)),
        )
        value = float(self.a @ self.loss.dual(scale * alpha / self.a, scale * beta / self.a))
        if self.l2 > 0:
            outside = best_direction(vector, radius, self.norm).margin if vector.any() else 0.0
            return max(value - max(outside, 0.0) ** 2 / (2 * self.l2), 0.0)
        ball = BALL[self.norm]
        excess = dual_norm(vector, ball) - radius
        if excess <= 0:
            return max(value, 0.0)
        if radius > 0 or excess > ROUNDING * max(dual_norm(p, ball) for p in class_vectors):
            return 0.0
        return max(value - excess * largest_norm, 0.0)

    def refuse_separated(self, margins: Array) -> None:
        """Raise where a growing classifier lowers the loss for ever.

        Raises:
            InputError: all robust margins are positive and there is no penalty.
        """
        if self.l2 == 0 and self.loss.endless and margins.min() > 0:
            raise InputError(
                f"the classes are separable under attack, where the {self.loss.name} loss has no minimiser "
                "without a penalty: l2 must be > 0, got 0"
            )
