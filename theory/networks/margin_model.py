"""The Gaussian-margin model: class errors of a classifier from the distribution of its margins.

A sample of class i has the margin f_i - f_j over each other class j. For a linear classifier on Gaussian
classes these margins are jointly Gaussian, an adversary takes eps times the dual norm of their constant
gradient, and the class errors are exact (`theory.variants.multiclass`). For a network both are
approximations, whose worth is what `theory.networks.agreement` measures. The prediction was fixed before
any network was looked at: margins are jointly Gaussian with the mean and covariance of the class, and the
adversary takes from each pair the mean of what it takes to first order, within the bounds of the data.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri
from scipy.stats.qmc import Sobol

from theory.common.inputs import InputError

__all__ = ["PREDICTORS", "MarginModel", "MarginSamples", "MarginPrediction", "predict_errors"]

Array = npt.NDArray[np.float64]
POINTS, FEW_POINTS = 8192, 512
"""Of the integral behind a prediction, accurate to about 1e-4, and behind one of its replicates, to 1e-3."""


@dataclass(frozen=True)
class MarginSamples:
    """Pairwise margins of n samples of C classes.

    Args:
        labels: class of each sample, shape (n,).
        margin: f_y - f_j, shape (n, C); 0 at j = y.
        drop: what the adversary takes from each margin to first order, >= 0, shape (n, C).

    Raises:
        InputError: shapes do not fit, a class has fewer than 2 samples, or a number is not finite.
    """

    labels: npt.NDArray[np.int64]
    margin: Array
    drop: Array

    def __post_init__(self) -> None:
        """Refuse what cannot be fitted."""
        shape = self.margin.shape
        if len(shape) != 2 or self.labels.shape != shape[:1] or self.drop.shape != shape or shape[1] < 2:
            raise InputError(
                f"margins (n, C) and drops (n, C) of n labels must fit, got {shape}, {self.drop.shape} "
                f"and {self.labels.shape}"
            )
        if not (np.isfinite(self.margin).all() and np.isfinite(self.drop).all()):
            raise InputError("margins and what an adversary takes of them must be finite numbers")
        counts = np.bincount(self.labels, minlength=shape[1])
        if len(counts) > shape[1] or counts.min() < 2:
            raise InputError(f"each of {shape[1]} classes needs at least 2 samples, got {counts.tolist()}")

    def resampled(self, rng: np.random.Generator) -> "MarginSamples":
        """Return as many samples of each class, drawn with replacement."""
        members = [np.flatnonzero(self.labels == c) for c in range(self.margin.shape[1])]
        chosen = np.concatenate([rng.choice(m, len(m)) for m in members])
        return MarginSamples(self.labels[chosen], self.margin[chosen], self.drop[chosen])


@dataclass(frozen=True)
class MarginModel:
    """Gaussian margins of every class.

    Args:
        mean: of the margin of class i over class j, shape (C, C); 0 on the diagonal.
        covariance: of the margins of class i, shape (C, C, C); row and column i are 0.
        drop: what the adversary takes from them, shape (C, C).
    """

    mean: Array
    covariance: Array
    drop: Array

    @classmethod
    def fit(cls, samples: MarginSamples) -> "MarginModel":
        """Return the model with the mean, covariance and mean drop of each class.

        Raises:
            InputError: a margin has no spread.
        """
        groups = [samples.labels == c for c in range(samples.margin.shape[1])]
        model = cls(
            np.array([samples.margin[g].mean(0) for g in groups]),
            np.array([np.cov(samples.margin[g], rowvar=False) for g in groups]),
            np.array([samples.drop[g].mean(0) for g in groups]),
        )
        flat = np.argwhere((model.spread <= 1e-9 * np.abs(model.mean)) & ~np.eye(len(groups), dtype=bool))
        for i, j in flat[:1]:
            raise InputError(f"the margin of class {i} over class {j} has no spread: the output is constant")
        return model

    @property
    def spread(self) -> Array:
        """Return the standard deviations, shape (C, C); 0 on the diagonal."""
        return np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))

    def z_scores(self, *, attacked: bool) -> Array:
        """Return the z-score of losing to each other class, shape (C, C); -inf on the diagonal."""
        z = np.full(self.mean.shape, -np.inf)
        off = ~np.eye(len(z), dtype=bool)
        z[off] = -(self.mean - attacked * self.drop)[off] / self.spread[off]
        return z

    def errors(self, *, attacked: bool, points: int = POINTS) -> Array:
        """Return the chance that some margin is lost, for each class, shape (C,).

        Args:
            attacked: whether the adversary takes its part.
            points: evaluations of the integral at most.
        """
        z, size = self.z_scores(attacked=attacked), len(self.mean)
        order = np.argsort(-z, axis=1)[:, : size - 1]  # the likeliest loss first; the class itself is last
        row = np.arange(size)[:, None]
        spread = self.spread[row, order]
        covariance = self.covariance[row[:, :, None], order[:, :, None], order[:, None, :]]
        correlation = covariance / (spread[:, :, None] * spread[:, None, :])
        return _joint_errors(z[row, order], correlation, points)

    @property
    def width_ratio(self) -> Array:
        """Return K of each pair: spread over drop in class i, over the same in class j, shape (C, C).

        A class is wide for an adversary that takes little of its spread. This is what the four error rates
        of a pair measure (`theory.variants.multiclass.variance_ratio`); 1 on the diagonal.
        """
        width = np.ones_like(self.mean)
        off = ~np.eye(len(width), dtype=bool)
        width[off] = self.spread[off] / np.maximum(self.drop[off], 1e-300)
        return width / width.T


def _joint_errors(z: Array, correlation: Array, points: int) -> Array:
    """Return P(some X_k < z_k) of standard normal X for each of C problems, shape (C,).

    The method of Genz (1992), "Numerical Computation of Multivariate Normal Probabilities", on all problems
    at once over one Sobol sequence; `theory.variants.multiclass.class_error` does one at a time, more
    accurately.

    Args:
        z: shape (C, d).
        correlation: shape (C, d, d).
        points: of the sequence, a power of 2.
    """
    size, d = z.shape
    factor = np.linalg.cholesky(correlation + 1e-9 * np.eye(d))  # few samples make it singular
    uniform = Sobol(max(d - 1, 1), rng=np.random.default_rng(0)).random(points)
    normal, kept = np.zeros((size, points, d)), np.ones((size, points))
    for k in range(d):
        conditional = np.einsum("cpj,cj->cp", normal[:, :, :k], factor[:, k, :k])
        share = ndtr((-z[:, k, None] - conditional) / factor[:, k, k, None])
        kept *= share
        if k < d - 1:
            normal[:, :, k] = ndtri(np.clip(uniform[:, k] * share, 1e-300, 1 - 1e-16))
    return np.asarray(1 - kept.mean(1))


def _bound(combine: Callable[[Array], Array]) -> Callable[[MarginSamples, bool], Array]:
    def predictor(samples: MarginSamples, attacked: bool) -> Array:
        return combine(ndtr(MarginModel.fit(samples).z_scores(attacked=attacked)))

    return predictor


def _each_sample(samples: MarginSamples, attacked: bool) -> Array:
    left = samples.margin - attacked * samples.drop
    left[np.arange(len(left)), samples.labels] = np.inf
    lost = left.min(1) <= 0
    return np.array([lost[samples.labels == c].mean() for c in range(left.shape[1])])


PREDICTORS: Mapping[str, Callable[[MarginSamples, bool], Array]] = {
    "joint Gaussian": lambda samples, attacked: MarginModel.fit(samples).errors(attacked=attacked),
    "worst pair": _bound(lambda p: np.asarray(p.max(1))),
    "independent pairs": _bound(lambda p: np.asarray(1 - (1 - p).prod(1))),
    "sum of pairs": _bound(lambda p: np.minimum(p.sum(1), 1.0)),
    "each sample": _each_sample,
}
"""Class errors from fitted samples and whether they are attacked, shape (C,); the first is the prediction.

The worst pair bounds the joint error of the same model from below, the sum of pairs from above. "Each sample"
has no Gaussian: it counts the samples whose own margin does not exceed their own drop.
"""


@dataclass(frozen=True)
class MarginPrediction:
    """Predicted class errors.

    Args:
        model: the fitted model.
        value: natural and robust error of each class, shape (2, C).
        replicates: the same from resampled data, shape (B, 2, C).
        models: the resampled models, length B.
    """

    model: MarginModel
    value: Array
    replicates: Array
    models: tuple[MarginModel, ...]

    def interval(self, confidence: float = 0.95) -> tuple[Array, Array]:
        """Return the percentile interval of the value over samples, two arrays of shape (2, C).

        It speaks of the samples that were fitted, not of how well the model describes them.
        """
        tail = (1 - confidence) / 2
        low, high = np.quantile(self.replicates, [tail, 1 - tail], axis=0)
        return np.minimum(low, self.value), np.maximum(high, self.value)


def predict_errors(samples: MarginSamples, *, replicates: int = 200, seed: int = 0) -> MarginPrediction:
    """Return the class errors that the Gaussian-margin model predicts.

    Args:
        samples: margins that it is fitted to.
        replicates: bootstrap samples, drawn within each class.
        seed: seed of the bootstrap.

    Raises:
        InputError: a margin has no spread.

    Examples:
        >>> rng, labels = np.random.default_rng(0), np.repeat([0, 1], 500)
        >>> margin = np.zeros((1000, 2))
        >>> margin[np.arange(1000), 1 - labels] = rng.normal(2.0, 1.0 + labels)
        >>> drop = np.where(np.arange(2) == labels[:, None], 0.0, 0.5)
        >>> natural, robust = predict_errors(MarginSamples(labels, margin, drop), replicates=5).value
        >>> bool(robust[1] > robust[0] > natural[0])
        True
    """
    rng = np.random.default_rng(seed)
    model = MarginModel.fit(samples)
    models = tuple(MarginModel.fit(samples.resampled(rng)) for _ in range(replicates))

    def both(fitted: MarginModel, points: int) -> list[Array]:
        return [fitted.errors(attacked=attacked, points=points) for attacked in (False, True)]

    bootstrap = np.array([both(fitted, FEW_POINTS) for fitted in models])
    return MarginPrediction(model, np.array(both(model, POINTS)), bootstrap, models)
