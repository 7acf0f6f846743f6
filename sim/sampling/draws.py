"""Samples of data models: each has a method ``draw(rng, n)`` that returns n samples of each class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from theory.gaussian.linear import LinearClassifier
from theory.gaussian.mixture import GaussianMixture
from theory.gaussian.problem import Problem, Uniform
from theory.variants.tsipras import TsiprasModel, draw_features

__all__ = [
    "Gaussians",
    "Model",
    "Stable",
    "Tsipras",
    "draw",
    "draw_scores",
    "isotropic",
    "shared_covariance",
    "stable_noise",
]

Array = npt.NDArray[np.float64]
Pair = tuple[Array, Array]


class Model(Protocol):
    """A distribution of samples for each class."""

    def draw(self, rng: np.random.Generator, n: int) -> tuple[Array, ...]:
        """Return n samples of each class, each of shape (n, d); of two classes +1 comes first."""


@dataclass(frozen=True, eq=False)
class Gaussians:
    """Classes N(mean, A A').

    Args:
        means: of each class, shape (C, d).
        factors: A of each class, shape (d, d), or a standard deviation s for A = s I.
    """

    means: Array
    factors: Sequence[float | Array]

    def draw(self, rng: np.random.Generator, n: int) -> tuple[Array, ...]:
        """Return n samples of each class, each of shape (n, d)."""
        return tuple(
            mean + (A * z if np.ndim(A) == 0 else z @ np.transpose(A))
            for mean, A in zip(self.means, self.factors, strict=True)
            for z in [rng.standard_normal((n, len(mean)))]
        )


def isotropic(problem: Problem) -> Gaussians:
    """Return the classes N(theta, (K sigma)^2 I) and N(-theta, sigma^2 I)."""
    t = problem.theta
    theta = np.full(t.dim, t.eta) if isinstance(t, Uniform) else np.array(t)
    return Gaussians(np.stack([theta, -theta]), problem.scales)


def shared_covariance(theta: npt.ArrayLike, covariance: npt.ArrayLike) -> Gaussians:
    """Return the classes N(theta, S) and N(-theta, S) of Hu et al. (2023); priors weight their errors.

    Args:
        theta: mean of class +1, shape (d,).
        covariance: S, symmetric positive definite, shape (d, d).
    """
    t, factor = np.asarray(theta, np.float64), np.linalg.cholesky(np.asarray(covariance, np.float64))
    return Gaussians(np.stack([t, -t]), [factor, factor])


@dataclass(frozen=True, eq=False)
class Stable:
    """Classes y theta + scale Z, with independent coordinates of characteristic function exp(-|t|^alpha).

    Args:
        theta: mean (median, for alpha = 1) of class +1, shape (d,).
        scale: of the noise, > 0.
        alpha: index, above 0 and at most 2; 1 is Cauchy, 2 is N(0, 2).
    """

    theta: Array
    scale: float
    alpha: float

    def draw(self, rng: np.random.Generator, n: int) -> Pair:
        """Return n samples of class +1 and n of class -1, each of shape (n, d)."""
        plus, minus = (
            y * self.theta + self.scale * stable_noise(self.alpha, (n, len(self.theta)), rng) for y in (1, -1)
        )
        return plus, minus


@dataclass(frozen=True)
class Tsipras:
    """The classes of Tsipras et al. (2019), the strong feature first."""

    model: TsiprasModel

    def draw(self, rng: np.random.Generator, n: int) -> Pair:
        """Return n samples of class +1 and n of class -1, each of shape (n, 1 + d)."""
        return draw_features(self.model, rng, n), -draw_features(self.model, rng, n)


def stable_noise(alpha: float, shape: int | tuple[int, ...], rng: np.random.Generator) -> Array:
    """Return symmetric alpha-stable noise after Chambers, Mallows and Stuck (1976).

    Args:
        alpha: index of the characteristic function exp(-|t|^alpha), above 0 and at most 2; 2 is N(0, 2).
        shape: of the result.
        rng: source of the noise.
    """
    angle, wait = rng.uniform(-np.pi / 2, np.pi / 2, shape), rng.standard_exponential(shape)
    noise = np.sin(alpha * angle) / np.cos(angle) ** (1 / alpha)
    noise *= (np.cos((1 - alpha) * angle) / wait) ** ((1 - alpha) / alpha)
    return np.asarray(noise)


def draw(mixture: GaussianMixture, n: int, rng: np.random.Generator) -> Pair:
    """Return n samples of class +1 and n of class -1, each of shape (n, d).

    Args:
        mixture: the classes.
        n: samples of each.
        rng: source of randomness.

    Examples:
        >>> mixture = GaussianMixture(dim=3, eta=0.5, sigma=1.0, K=2.0)
        >>> plus, minus = draw(mixture, 1000, np.random.default_rng(0))
        >>> plus.shape, bool(plus.std() > minus.std())
        ((1000, 3), True)
    """
    mean = np.full(mixture.dim, mixture.eta)
    plus, minus = Gaussians(np.stack([mean, -mean]), mixture.scales).draw(rng, n)
    return plus, minus


def draw_scores(mixture: GaussianMixture, linear: LinearClassifier, n: int, rng: np.random.Generator) -> Pair:
    """Return the scores w.x + b of n samples of class +1 and n of class -1, each of shape (n,).

    The projection of a Gaussian is Gaussian, so the distribution is that of projected samples, without
    drawing their other d - 1 coordinates.
    """
    wide, narrow = mixture.scales
    norm = np.linalg.norm(linear.weights)
    mean = mixture.eta * linear.weights.sum()
    return (
        mean + linear.bias + wide * norm * rng.standard_normal(n),
        -mean + linear.bias + narrow * norm * rng.standard_normal(n),
    )
