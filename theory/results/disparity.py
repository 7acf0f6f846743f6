"""How far apart the classes of networks are, beside how accurate the networks are.

Classes differ more where there are more errors to share out, so networks are compared at equal average error.
Intervals are of the parametric bootstrap: errors of each class are drawn anew from binomial laws, of each
network for itself, which makes intervals of differences too wide where networks share test images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from theory.results.counts import ClassErrors

__all__ = ["Estimate", "excess_spread", "same_order", "spread"]

Array = npt.NDArray[np.float64]
DRAWS = 2000


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


def spread(errors: ClassErrors, quantity: str, seed: int = 0) -> Estimate:
    """Return the standard deviation of an error over classes.

    >>> counted = ClassErrors(("a", "b"), (1000, 1000), (100, 300), (100, 300))
    >>> round(spread(counted, "natural_error").value, 6)
    0.1
    """
    return _estimate((errors,), quantity, seed, lambda rates: rates[0].std(-1))


def same_order(a: ClassErrors, b: ClassErrors, quantity: str, seed: int = 0) -> Estimate:
    """Return the share of the pairs of classes that two networks put into one order; a tie counts half.

    It is (1 + tau) / 2 with Kendall's tau: 1/2 for networks that have nothing to do with each other. The
    bootstrap adds noise to orders, so the interval is of percentiles about the value, not centred on it.
    """
    upper = np.triu_indices(len(a.classes), 1)

    def share(rates: Sequence[Array]) -> Array:
        orders = [np.sign(r[..., :, None] - r[..., None, :])[(..., *upper)] for r in rates]
        return np.asarray((1 + (orders[0] * orders[1]).mean(-1)) / 2)

    return _estimate((a, b), quantity, seed, share, basic=False)


def excess_spread(
    network: ClassErrors, ladder: Sequence[ClassErrors], quantity: str, seed: int = 0
) -> Estimate | None:
    """Return the spread of a network minus that of others at the same average error.

    Args:
        network: its errors.
        ladder: errors of networks of another kind, from better to worse; between two neighbours of the
            average the spread is taken from the straight line through them.
        quantity: one of `theory.results.counts.QUANTITIES`.
        seed: of the draws.

    Returns:
        None where the average error of the network is not between those of the ladder.
    """
    average = network.average(quantity)
    ordered = sorted(ladder, key=lambda errors: errors.average(quantity))
    pairs = [
        pair
        for pair in zip(ordered, ordered[1:], strict=False)
        if pair[0].average(quantity) <= average <= pair[1].average(quantity)
    ]
    if not pairs:
        return None

    def excess(rates: Sequence[Array]) -> Array:
        at, below, above = (r.mean(-1) for r in rates)
        gap = np.where(above > below, above - below, 1.0)
        weight = (at - below) / gap
        line = (1 - weight) * rates[1].std(-1) + weight * rates[2].std(-1)
        return np.asarray(rates[0].std(-1) - line)

    return _estimate((network, *pairs[0]), quantity, seed, excess)


def _estimate(
    networks: Sequence[ClassErrors],
    quantity: str,
    seed: int,
    statistic: Callable[[Sequence[Array]], Array],
    *,
    basic: bool = True,
) -> Estimate:
    """Return a statistic of the rates of classes with its bootstrap interval.

    Args:
        networks: what its argument has the rates of, shape (..., C) each.
        quantity: which error.
        seed: of the draws.
        statistic: the function.
        basic: whether the interval is reflected about the value, which takes the bias of the draws away.
    """
    rng = np.random.default_rng(seed)
    rates = [errors.rates(quantity) for errors in networks]
    drawn = [
        rng.binomial(errors.n, r, (DRAWS, len(r))) / np.array(errors.n)
        for errors, r in zip(networks, rates, strict=True)
    ]
    value = float(statistic(rates))
    low, high = np.quantile(statistic(drawn), [0.025, 0.975])
    return Estimate(
        value, *((2 * value - high, 2 * value - low) if basic else (min(low, value), max(high, value)))
    )
