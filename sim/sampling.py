"""Samples of the Gaussian mixture."""

import numpy as np
import numpy.typing as npt

from theory.linear import LinearClassifier
from theory.mixture import GaussianMixture

__all__ = ["draw", "draw_scores"]

Array = npt.NDArray[np.float64]
Pair = tuple[Array, Array]


def draw(mixture: GaussianMixture, n: int, rng: np.random.Generator) -> Pair:
    """Return n samples of class +1 and n of class -1, each of shape (n, d)."""
    wide, narrow = mixture.scales
    shape = (n, mixture.dim)
    return mixture.eta + wide * rng.standard_normal(shape), -mixture.eta + narrow * rng.standard_normal(shape)


def draw_scores(mixture: GaussianMixture, linear: LinearClassifier, n: int, rng: np.random.Generator) -> Pair:
    """Return the scores w.x + b of n samples of class +1 and n of class -1, each of shape (n,).

    The projection of a Gaussian is Gaussian, so the law is that of projected samples, without
    drawing their other d - 1 coordinates.
    """
    wide, narrow = mixture.scales
    norm = np.linalg.norm(linear.weights)
    mean = mixture.eta * linear.weights.sum()
    return (
        mean + linear.bias + wide * norm * rng.standard_normal(n),
        -mean + linear.bias + narrow * norm * rng.standard_normal(n),
    )
