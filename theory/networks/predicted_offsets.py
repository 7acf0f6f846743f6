"""What class offsets will do to a network, from the Gaussian model of its margins, before they are tried.

Ours. Offsets b move the margin of class i over class j by b_i - b_j, and leave its spread and what an
adversary takes of it as they are (`theory.networks.class_offsets`), so the model says the errors of every b.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import logsumexp

from theory.networks.margin_model import FEW_POINTS, MarginModel

__all__ = ["PredictedOffsets", "predict_offsets", "shifted"]

Array = npt.NDArray[np.float64]
SHARPNESS = (10.0, 1000.0)
"""Of the soft maximum over classes, first and last: an error 0.001 below the largest weighs e^-1 of it in the
end."""


@dataclass(frozen=True)
class PredictedOffsets:
    """Offsets that the model of the margins calls best.

    Args:
        offsets: shape (C,), of mean 0, in units of the logits.
        before: natural and robust errors that the model predicts without them, shape (2, C).
        after: the same with them.
    """

    offsets: Array
    before: Array
    after: Array


def shifted(model: MarginModel, offsets: Array) -> MarginModel:
    """Return the margins of a network whose logits have offsets added, shape (C,)."""
    return replace(model, mean=model.mean + offsets[:, None] - offsets)


def predict_offsets(model: MarginModel, t: float = 0.5) -> PredictedOffsets:
    """Return the offsets with the smallest (1 - t) average + t worst robust error of the model.

    Args:
        model: margins of every class.
        t: weight of the worst class, from 0 to 1.

    Examples:
        >>> margin = np.array([[0.0, 1.0], [1.0, 0.0]])
        >>> covariance = np.zeros((2, 2, 2))
        >>> covariance[0, 1, 1], covariance[1, 0, 0] = 1.0, 9.0  # class 1 is three times as wide
        >>> left = predict_offsets(MarginModel(margin, covariance, np.zeros((2, 2))), t=1.0)
        >>> float(np.diff(left.offsets)[0].round(2)), left.after[1].round(2).tolist()
        (0.5, [0.31, 0.31])
    """
    size = len(model.mean)
    unit = float(np.median(model.spread[~np.eye(size, dtype=bool)]))

    def cost(moved: Array, sharpness: float) -> float:
        errors = shifted(model, unit * moved).errors(attacked=True, points=FEW_POINTS)
        worst = (logsumexp(sharpness * errors) - np.log(size)) / sharpness
        return float((1 - t) * errors.mean() + t * worst)

    moved = np.zeros(size)
    for sharpness in np.geomspace(*SHARPNESS, 3):
        moved = minimize(cost, moved, (sharpness,), method="L-BFGS-B", options={"maxiter": 50}).x
    offsets = unit * (moved - moved.mean())
    before, after = (
        np.array([m.errors(attacked=attacked) for attacked in (False, True)])
        for m in (model, shifted(model, offsets))
    )
    return PredictedOffsets(offsets, before, after)
