"""What tells things apart besides their colour, for grey prints and for people who see fewer colours."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

__all__ = ["HATCHES", "MARKERS", "TURNED", "error_bars", "legend_name", "rotation"]

LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
HATCHES = ("", "//", "---", "xx", "\\\\", "++", "oo", "..")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h", "d", "8")


TURNED = 14
"""So many names are set aslant, more upright."""


def error_bars(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return how far an interval in percent reaches below and above its value, within 0 and 100.

    Args:
        values: value, low and high, shape (..., 3); low and high are nan where there is no interval.

    Returns:
        Shape (2, ...).
    """
    value, low, high = np.moveaxis(values, -1, 0)
    return np.nan_to_num([value - np.maximum(low, 0), np.minimum(high, 100) - value])


def legend_name(name: str) -> str:
    """Return a name as a legend shows it: one that begins with an underscore would be left out of it."""
    return f" {name}" if name.startswith("_") else name


def rotation(names: tuple[str, ...], *, longest: int) -> Mapping[str, object]:
    """Return how names are set below an axis that has room for so many letters each; many are upright."""
    turned = {"rotation": 35 if len(names) <= TURNED else 90, "ha": "right", "rotation_mode": "anchor"}
    if len(names) > TURNED:
        turned["va"] = "center"
    return turned if max(map(len, names)) > longest else {}


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
