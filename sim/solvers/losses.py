"""Losses of a linear classifier under its worst attack, with what duality needs of them.

A margin loss falls with the robust margin m = y (w.x + b) - eps ||w||. Its slope p = -loss'(m) weighs the
sample, and the least that p m + loss(m) can be, the dual value, bounds the loss from below.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import entr, expit

from theory.common.inputs import InputError

__all__ = ["LOSSES", "Loss", "loss_of"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Loss:
    """A convex loss.

    Args:
        name: its name.
        value: robust margins m to the loss, each of shape (n,).
        slope: m to p.
        curvature: p to the second derivative of the loss in m; None where it has kinks.
        dual: (p, q) to the dual value of a sample with slope p at its score and q >= |p| at what
            the attack takes from it; a margin loss has q = p.
        endless: the loss falls towards 0 for ever, so separable classes have no minimiser.
    """

    name: str
    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    curvature: Callable[[Array], Array] | None
    dual: Callable[[Array, Array], Array]
    endless: bool = False


def _softplus(m: Array) -> Array:
    """Return ln(1 + exp(-m)), without overflow and faster than logaddexp."""
    value: Array = np.log1p(np.exp(-np.abs(m))) - np.minimum(m, 0)
    return value


def _entropy(p: Array, q: Array) -> Array:
    value: Array = entr(p) + entr(1 - p)
    return value


LOSSES = {
    loss.name: loss
    for loss in (
        Loss("logistic", _softplus, lambda m: expit(-m), lambda p: p * (1 - p), _entropy, endless=True),
        Loss(
            "hinge", lambda m: np.maximum(1 - m, 0), lambda m: np.where(m < 1, 1.0, 0.0), None, lambda p, q: p
        ),
        Loss(
            "exponential",
            lambda m: np.exp(-m),
            lambda m: np.exp(-m),
            lambda p: p,
            lambda p, q: entr(p) + p,
            endless=True,
        ),
        Loss(
            "squared",
            lambda m: (1 - m) ** 2,
            lambda m: 2 * (1 - m),
            lambda p: np.full_like(p, 2.0),
            lambda p, q: p - q**2 / 4,
        ),
    )
}
"""The losses by name."""


def loss_of(name: str) -> Loss:
    """Return the loss of that name.

    Raises:
        InputError: there is none.
    """
    if name not in LOSSES:
        raise InputError(f"loss must be one of {', '.join(LOSSES)}, got {name!r:.60}")
    return LOSSES[name]
