"""How lines and points are told apart: by line style and marker as well as by colour."""

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

__all__ = ["LINES", "MARKERS", "arms", "points"]

LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P")


def points(ax: Axes, x: npt.ArrayLike, y: npt.ArrayLike, **style: Any) -> None:
    """Draw points in percent with their intervals.

    Args:
        ax: where.
        x: places, shape (n,), or (value, low, high) as fractions, shape (n, 3).
        y: (value, low, high) as fractions, shape (n, 3).
        style: of matplotlib's errorbar.
    """
    across, up = np.asarray(x, np.float64), 100 * np.asarray(y, np.float64)
    error = {"yerr": arms(up)}
    if across.ndim == 2:
        across = 100 * across
        error["xerr"], across = arms(across), across[:, 0]
    ax.errorbar(across, up[:, 0], **error, **{"ls": "", "zorder": 4, **style})


def arms(triples: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the lengths of error bars, shape (2, n), of rows of (value, low, high)."""
    value, low, high = triples.T
    return np.maximum([value - low, high - value], 0)
