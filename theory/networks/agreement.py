"""How well predicted class errors agree with counted ones, and K of each pair from its four error rates."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri
from scipy.stats import rankdata

__all__ = ["Agreement", "agreement", "explained_variance", "pair_ratios", "rank_correlation"]

Array = npt.NDArray[np.float64]


def rank_correlation(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return Spearman's rank correlation, ties sharing their mean rank; nan where either is constant.

    >>> round(rank_correlation([0.1, 0.2, 0.3, 0.4], [0.1, 0.3, 0.2, 0.4]), 3)
    0.8
    """
    ranks = [rankdata(v) for v in (first, second)]
    if any(np.ptp(r) == 0 for r in ranks):
        return float("nan")
    return float(np.corrcoef(ranks)[0, 1])


def explained_variance(predicted: npt.ArrayLike, measured: npt.ArrayLike) -> float:
    """Return 1 - sum (measured - predicted)^2 / sum (measured - mean)^2; nan where measured is constant.

    Nothing is fitted: it is negative where the mean of what was measured would have predicted better.

    >>> round(explained_variance([0.1, 0.2, 0.3], [0.1, 0.25, 0.3]), 3)
    0.885
    """
    p, m = np.asarray(predicted, np.float64), np.asarray(measured, np.float64)
    total = float(((m - m.mean()) ** 2).sum())
    return 1 - float(((m - p) ** 2).sum()) / total if total > 0 else float("nan")


@dataclass(frozen=True)
class Agreement:
    """Predicted against measured class errors.

    Args:
        rank: Spearman's correlation over classes, its 95 % bootstrap interval over the samples of both parts
            (value, low, high); nan where a constant side leaves it undefined. The bootstrap adds noise that
            the value has already: the interval reaches lower than it need, and is widened to hold the value.
        if_right: 2.5 %, mean and 97.5 % of that correlation were the model right: classes of equal
            error are ordered by chance, so it is below 1, and a value below it refutes the model.
        explained: explained variance (value, low, high), likewise.
        residual: measured minus predicted error of each class, shape (C,).
        residual_interval: 95 % intervals, each of a class by itself, shape (C, 2).
    """

    rank: tuple[float, float, float]
    if_right: tuple[float, float, float]
    explained: tuple[float, float, float]
    residual: Array
    residual_interval: Array

    @property
    def failures(self) -> list[int]:
        """Return the classes whose residual is beyond noise, the largest first."""
        low, high = self.residual_interval.T
        order = np.argsort(-np.abs(self.residual), kind="stable")
        return [int(i) for i in order if low[i] > 0 or high[i] < 0]

    def as_json(self) -> dict[str, Any]:
        """Return the agreement as JSON; what is undefined is absent."""
        named = {"rank_correlation": self.rank, "explained_variance": self.explained}
        out: dict[str, Any] = {k: _interval_json(v) for k, v in named.items()}
        low, mean, high = self.if_right
        out["rank_correlation_if_right"] = _interval_json((mean, low, high))
        return out | {
            "residual": self.residual.tolist(),
            "residual_interval": self.residual_interval.tolist(),
            "failures": self.failures,
        }


def _interval_json(value: tuple[float, float, float]) -> dict[str, float]:
    named = zip(("value", "low", "high"), value, strict=True)
    return {name: float(v) for name, v in named if np.isfinite(v)}


def agreement(
    predicted: npt.ArrayLike, replicates: npt.ArrayLike, errors: npt.ArrayLike, n: npt.ArrayLike, seed: int
) -> Agreement:
    """Compare predicted class errors with counted ones.

    Args:
        predicted: error of each class, shape (C,).
        replicates: the same from resampled data, shape (B, C).
        errors: counted errors of other samples, shape (C,).
        n: how many of these there are of each class, shape (C,).
        seed: seed of the resampling.
    """
    value, others = np.asarray(predicted, np.float64), np.asarray(replicates, np.float64)
    k, n = np.asarray(errors, np.int64), np.asarray(n, np.int64)
    rng, rates = np.random.default_rng(seed), k / n
    again = rng.binomial(n, np.broadcast_to(rates, others.shape)) / n
    if_right = rng.binomial(n, others.clip(0, 1)) / n
    plausible = rng.beta(k + 0.5, n - k + 0.5, others.shape)  # Jeffreys: none of 60 is not never
    residual = rates - value
    low, high = np.quantile(plausible - others, [0.025, 0.975], axis=0)
    residuals = np.stack([np.minimum(low, residual), np.maximum(high, residual)], axis=1)
    ranks = [rank_correlation(p, m) for p, m in zip(others, again, strict=True)]
    right = np.array([rank_correlation(value, m) for m in if_right])
    variances = [explained_variance(p, m) for p, m in zip(others, again, strict=True)]
    mean = float(np.nanmean(right)) if np.isfinite(right).any() else float("nan")
    mean, lowest, highest = _interval(mean, right)
    return Agreement(
        _interval(rank_correlation(value, rates), ranks),
        (lowest, mean, highest),
        _interval(explained_variance(value, rates), variances),
        residual,
        residuals,
    )


def _interval(value: float, values: npt.ArrayLike) -> tuple[float, float, float]:
    """Return a value with the 95 % percentile interval of its replicates, widened to hold it.

    Replicates that are not defined do not count; where half of them are not, there is no interval.
    """
    x = np.asarray(values, np.float64)
    finite = x[np.isfinite(x)]
    if 2 * len(finite) <= len(x) or not np.isfinite(value):
        return value, float("nan"), float("nan")
    low, high = np.quantile(finite, [0.025, 0.975])
    return value, min(float(low), value), max(float(high), value)


def pair_ratios(
    natural: npt.ArrayLike, robust: npt.ArrayLike, n: npt.ArrayLike, *, draws: int, seed: int
) -> tuple[Array, Array, Array]:
    """Return K of each pair from its four error rates, whatever the bias, with 95 % intervals.

    As `theory.variants.multiclass.variance_ratio` (ours): K_ij = (z_rob - z_nat) of class j over that of
    class i, where class i errs in the pair if it loses to class j. Half a sample is added to each kind of
    outcome, so that K is defined for counts of 0; the interval is that of a posterior with this prior, and
    wide there.

    Args:
        natural: samples of class i that lose to class j, shape (C, C).
        robust: those that lose to it with or without an attack, shape (C, C).
        n: samples of each class, shape (C,).
        draws: from the posterior.
        seed: seed of the draws.

    Returns:
        K, low and high, shape (C, C); 1 on the diagonal.
    """
    k, r = np.asarray(natural, np.int64), np.asarray(robust, np.int64)
    size = np.broadcast_to(np.asarray(n, np.int64)[:, None], k.shape)
    weight = np.stack([k, r - k, size - r], axis=-1) + 0.5
    off = ~np.eye(len(k), dtype=bool)

    def ratios(shares: Array) -> Array:
        before, kept = shares[..., 0], shares[..., 2]
        loss = np.where(off, -ndtri(kept) - ndtri(before), 1.0)
        return np.asarray(loss.swapaxes(-1, -2) / loss)

    drawn = np.random.default_rng(seed).standard_gamma(weight, (draws, *weight.shape))
    low, high = np.quantile(ratios(drawn / drawn.sum(-1, keepdims=True)), [0.025, 0.975], axis=0)
    return ratios(weight / weight.sum(-1, keepdims=True)), low, high
