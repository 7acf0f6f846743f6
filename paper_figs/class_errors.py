"""Errors of every class under each training method, side by side (after Xu et al., 2021, figure 1)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from theory.comparison import Comparison
from theory.errors import mean_interval

__all__ = ["Bars", "compute", "draw"]

HATCHES = ("", "//", "..", "xx", "\\\\", "++")
PANELS = {"natural_error": "natural error", "robust_error": "robust error"}


@dataclass(frozen=True)
class Bars:
    """Heights in percent.

    Args:
        title: the protocol.
        classes: names, length C.
        heights: for each quantity and method the mean over seeds and its 95 % t interval, shape
            (C, 3).
    """

    title: str
    classes: tuple[str, ...]
    heights: Mapping[str, Mapping[str, npt.NDArray[np.float64]]]


def compute(comparison: Comparison) -> Bars:
    """Return the heights of the bars."""
    heights = {
        q: {m: 100 * np.array([mean_interval(c) for c in comparison.rates(m, q).T]) for m in comparison.runs}
        for q in PANELS
    }
    return Bars(comparison.title, comparison.classes, heights)


def draw(bars: Bars) -> Figure:
    """Draw one panel for each quantity."""
    figure = Figure(figsize=(8.4, 5.6))
    axes = figure.subplots(len(PANELS), 1, sharex=True)
    where = np.arange(len(bars.classes))
    for ax, (quantity, title) in zip(axes, PANELS.items(), strict=True):
        methods = bars.heights[quantity]
        width = 0.8 / len(methods)
        for i, (name, values) in enumerate(methods.items()):
            mean, low, high = values.T
            x = where + (i - (len(methods) - 1) / 2) * width
            error = np.nan_to_num([mean - np.maximum(low, 0), np.minimum(high, 100) - mean])
            style = {"hatch": HATCHES[i % len(HATCHES)], "edgecolor": "white", "linewidth": 0}
            ax.bar(x, mean, width, yerr=error, error_kw={"lw": 0.7}, label=name, **style)
        ax.set(ylabel=f"{title} (%)", ylim=(0, None))
    axes[0].legend(ncols=len(bars.heights["natural_error"]), loc="upper center", bbox_to_anchor=(0.5, 1.22))
    axes[-1].set_xticks(where, bars.classes, rotation=30 if max(map(len, bars.classes)) > 3 else 0)
    axes[-1].set_xlabel("class (bars: mean over seeds; whiskers: 95 % t interval)")
    return figure
