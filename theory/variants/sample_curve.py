"""The disparity of linear training as a function of the number of samples: what a figure draws."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from theory.common.inputs import InputError, check_array
from theory.gaussian.optimal import optimal_bias
from theory.variants.averaging import averaging
from theory.variants.errors import errors_at
from theory.variants.logistic_limit import logistic_limit
from theory.variants.max_margin import max_margin, separability_threshold

__all__ = ["SampleCurve", "sample_curve"]

Array = npt.NDArray[np.float64]

NEAREST = 1.005
"""n / d over the threshold of separability from which on the logistic limit is computed."""


@dataclass(frozen=True)
class SampleCurve:
    """Robust errors (+1, -1) at each n / d, shape (len(alpha), 2); nan where a method has no limit.

    Args:
        alpha: n / d of both classes together, half of each.
        midpoint: of averaging with the midpoint bias.
        reoptimised: of averaging with the best bias.
        max_margin: of max-margin training, where classes separate.
        logistic: of adversarial logistic training, where they do not separate robustly.
        population: of the optimal robust classifier, the end of many samples, shape (2,).
        separable: n / d up to which classes separate.
        robustly_separable: n / d up to which they separate by more than the radius.
    """

    alpha: Array
    midpoint: Array
    reoptimised: Array
    max_margin: Array
    logistic: Array
    population: Array
    separable: float
    robustly_separable: float


def sample_curve(norm_theta: float, sigma: float, K: float, eps: float, alpha: npt.ArrayLike) -> SampleCurve:
    """Return the robust errors of both classes against n / d, for each way of training.

    Args:
        norm_theta: |theta|, > eps.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.
        eps: l2 radius, >= 0.
        alpha: n / d, > 0, shape (n,).

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> curve = sample_curve(1.5, 1.0, 2.0, 0.3, [1.0, 10.0])
        >>> (curve.midpoint[:, 0] - curve.midpoint[:, 1]).round(3).tolist()
        [0.413, 0.192]
    """
    grid = check_array("alpha", alpha, low=0, strict=True)
    if grid.ndim != 1:
        raise InputError(f"alpha must have shape (n,), got shape {grid.shape}")
    ends = [separability_threshold(norm_theta, sigma, K, e).alpha_c for e in (0.0, eps)]
    rows: dict[str, list[tuple[float, float]]] = {k: [] for k in ("mid", "best", "margin", "logistic")}
    for a in map(float, grid):
        mean = averaging(norm_theta, sigma, K, a / 2, a / 2, eps)
        rows["mid"].append((mean.R_rob_plus, mean.R_rob_minus))
        rows["best"].append((mean.R_rob_plus_reoptimised, mean.R_rob_minus_reoptimised))
        rows["margin"].append((np.nan, np.nan))
        rows["logistic"].append((np.nan, np.nan))
        if a < ends[0]:
            margin = max_margin(norm_theta, sigma, K, a, eps)
            rows["margin"][-1] = margin.R_rob_plus, margin.R_rob_minus
        if a > NEAREST * ends[1]:
            limit = logistic_limit(norm_theta, sigma, K, a, eps)
            rows["logistic"][-1] = limit.R_rob_plus, limit.R_rob_minus
    m = norm_theta - eps
    population = errors_at(float(optimal_bias(m, sigma, K)), m, sigma, K)
    curves = [np.array(rows[k]).reshape(-1, 2) for k in ("mid", "best", "margin", "logistic")]
    return SampleCurve(
        grid, curves[0], curves[1], curves[2], curves[3], np.array(population), ends[0], ends[1]
    )
