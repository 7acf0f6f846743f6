"""Numbers as they are printed: the same digits on every processor."""

import math
from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal

__all__ = ["exact_mean", "percent", "rounded"]


def exact_mean(values: Iterable[float]) -> float:
    """Return the mean, whose sum is exact: no order of summation, and so no processor, changes it."""
    numbers = [float(v) for v in values]
    return math.fsum(numbers) / len(numbers)


def rounded(value: float, digits: int = 2, *, signed: bool = False) -> str:
    """Return a number with so many digits after its point; half way is rounded away from 0.

    The double of a share of counts is off by about 1e-16, and the order of sums may put it on either side of
    half way. So it is taken to 9 digits first, here 100 times the share: then it is half way if and only if
    the counts are, for shares of less than 5e7 samples.
    """
    sign = "+" if signed else ""
    if not abs(value) < 1e15:
        return f"{value:{sign}.{digits}f}"
    near = Decimal(repr(round(float(value), 9) + 0.0))  # -0.0 is 0 from the other side
    return f"{near.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):{sign}f}"


def percent(share: float, *, signed: bool = False) -> str:
    """Return a share in percent, or a change of one in points, with one digit."""
    return rounded(100 * share, 1, signed=signed)
