"""Which class gains and which pays when training changes: the Gaussian theory's answer, pair by pair.

Between two Gaussian classes only the bias moves (`theory.gaussian.problem`), towards the wide class by
weight and radius, away from it by the adversary. A class of many takes part in a pair with each other
class; its error changes by the sum over pairs, each weighted by how many of its samples lie at that
boundary. All of it is to first order: it says a direction and an order of classes, not a size.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from theory.common.verdict_words import VERDICTS
from theory.networks.margin_model import MarginModel
from theory.results.counts import exact_interval
from theory.results.intervals import mcnemar, paired_interval

__all__ = ["PredictedChange", "bias_shift", "error_change", "judged", "tally"]

Array = npt.NDArray[np.float64]


def bias_shift(
    model: MarginModel, before: float, radii: npt.ArrayLike, log_weights: npt.ArrayLike | float = 0.0
) -> Array:
    r"""Return by how much the optimal bias of each pair moves towards class i, to first order, shape (C, C).

    With K, sigma and the mean margin mu of the pair, rho what the adversary takes at radius 1 and
    m = mu - rho ``before``, D = sqrt(m^2 + (K^2 - 1) sigma^2 ln K / 2), the optimal bias of
    `theory.gaussian.optimal.optimal_bias` has the derivatives

        db/dm = (K - 1) / (K + 1) + K sigma^2 ln K / (D (D + m)),    db/d ln r = K sigma^2 / (2 D),

    and radii e_i, e_j add (e_i - e_j) rho / 2 to it (ours; the signs for K > 1 are those of Xu et al., 2021).

    Args:
        model: the margins, where the drop is that of radius 1.
        before: radius of the training before, for every class.
        radii: those after, one for all or shape (C,).
        log_weights: logarithms of the weights of the classes after, shape (C,); equal before.
    """
    size = len(model.mean)
    off = ~np.eye(size, dtype=bool)
    e, w = (np.broadcast_to(np.asarray(v, np.float64), size) for v in (radii, log_weights))
    spread = np.where(off, model.spread, 1.0)
    mu, rho = (model.mean + model.mean.T) / 2, (model.drop + model.drop.T) / 2
    K, sigma, m = spread / spread.T, spread.T, np.where(off, mu - rho * before, 1.0)
    log_K = np.log(K)
    D = np.sqrt(m**2 + (K**2 - 1) * sigma**2 * log_K / 2)
    with np.errstate(divide="ignore", invalid="ignore"):  # each form where it does not cancel
        slope = np.where(m > 0, sigma**2 * log_K / (D * (D + m)), 2 * (D - m) / (D * (K - 1) * (K + 1)))
    by_margin = (K - 1) / (K + 1) + K * slope
    fall = rho * ((e[:, None] + e) / 2 - before)
    shift = -by_margin * fall + rho * (e[:, None] - e) / 2 + K * sigma**2 / (2 * D) * (w[:, None] - w)
    return np.where(off, shift, 0.0)


def error_change(model: MarginModel, shift: Array, *, attacked: bool) -> Array:
    """Return how much the error of each class changes when its margins rise by ``shift``, shape (C,).

    -sum_j phi(z_ij) / spread_ij shift_ij: the derivative of the sum of pairwise errors.
    """
    off = ~np.eye(len(shift), dtype=bool)
    density = np.exp(-(model.z_scores(attacked=attacked) ** 2) / 2) / np.sqrt(2 * np.pi)
    return -np.asarray((density / np.where(off, model.spread, 1.0) * shift).sum(1))


@dataclass(frozen=True)
class PredictedChange:
    """The predicted and the measured change of an error of a class.

    Args:
        label: the class.
        quantity: natural_error or robust_error.
        predicted: to first order; only its sign is compared, (value, low, high) over fitted samples.
        measured: change of the error rate on the same test samples, with a 95 % interval for pairs.
        p: McNemar's exact p-value that nothing changed.
    """

    label: str
    quantity: str
    predicted: tuple[float, float, float]
    measured: tuple[float, float, float]
    p: float

    @property
    def verdict(self) -> Literal["agrees", "differs", "cannot tell"]:
        """Say whether both have the same sign; it is inconclusive for a change within noise (p > 0.05)."""
        if self.p > 0.05 or self.predicted[0] == 0:
            return "cannot tell"
        return "agrees" if (self.predicted[0] > 0) == (self.measured[0] > 0) else "differs"

    def as_json(self) -> dict[str, Any]:
        """Return the change as JSON."""
        named = {"predicted": self.predicted, "measured": self.measured}
        parts = {k: dict(zip(("value", "low", "high"), v, strict=True)) for k, v in named.items()}
        whose = {"class": self.label, "quantity": self.quantity}
        return {**whose, **parts, "p": self.p, "verdict": self.verdict}


def judged(
    label: str,
    quantity: str,
    predicted: tuple[float, float, float],
    before: npt.NDArray[np.bool_],
    after: npt.NDArray[np.bool_],
) -> PredictedChange:
    """Return the change of a class from whether each of its samples is right before and after, shape (n,)."""
    lost, won, n = int((before & ~after).sum()), int((~before & after).sum()), len(before)
    low, high = (float(v) for v in paired_interval(lost, won, n))
    return PredictedChange(
        label, quantity, predicted, ((lost - won) / n, low, high), float(mcnemar(lost, won))
    )


def tally(changes: list[PredictedChange]) -> tuple[dict[str, int], tuple[float, float] | None]:
    """Return how many changes have each verdict, and the exact interval of the share that agrees.

    The interval is of those that tell, None if none does. Classes of a network are not independent, so it is
    narrower than it should be.
    """
    counts = {v: sum(c.verdict == v for c in changes) for v in VERDICTS}
    tried = counts["agrees"] + counts["differs"]
    if not tried:
        return counts, None
    low, high = exact_interval(counts["agrees"], tried)
    return counts, (float(low), float(high))
