"""Gap of the robust class errors against the number of samples per dimension, for each way of training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paper_figs.archive import Archive
from paper_figs.marks import LINES, MARKERS, arms
from paper_figs.readers.sampled_errors import SampledErrors
from paper_figs.readers.simulated import between
from theory.common.digits import rounded
from theory.variants.sample_curve import SampleCurve, sample_curve

__all__ = ["COMMAND", "SECTION", "TITLE", "Data", "Panel", "caption", "compute", "draw", "finding"]

SECTION = "theory"
TITLE = "Gap against the number of samples"
COMMAND = ""

MIXTURE = {"norm_theta": 1.5, "sigma": 1.0, "eps": 0.3}
RATIOS = (2.0, 3.0)
"""The settings of the study, see `sim.studies.few_samples`."""
GRID = tuple(float(a) for a in np.geomspace(0.4, 40, 17))
TICKS = (0.5, 1, 2, 5, 10, 20, 40)
CURVES = {
    "midpoint": "averaging",
    "reoptimised": "averaging, best bias",
    "max_margin": "max-margin",
    "logistic": "adversarial logistic",
}
METHODS = {"averaging": "midpoint", "max-margin": "max_margin", "logistic": "logistic"}
"""Ways of training in the simulation, and their curves."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """One ratio of widths.

    Args:
        K: the ratio.
        curves: theory's gap for each of `CURVES`, (n / d, gap), shape (p, 2), where there is one.
        population: gap of the optimal robust classifier.
        thresholds: n / d up to which classes separate, and up to which they do by more than the radius.
        points: for each curve the simulation's (n / d, gap, low, high, d), shape (q, 5).
    """

    K: float
    curves: Mapping[str, Array]
    population: float
    thresholds: tuple[float, float]
    points: Mapping[str, Array]


@dataclass(frozen=True)
class Data:
    """A panel for each ratio of widths."""

    panels: tuple[Panel, ...]


def compute(archive: Archive) -> list[Data]:
    """Return the curves of theory with the points of the simulation, where there are any."""
    return [Data(tuple(_panel(K, archive.sampled) for K in RATIOS))]


@cache
def _curve(K: float) -> SampleCurve:
    return sample_curve(**MIXTURE, K=K, alpha=GRID)


def _panel(K: float, sampled: Sequence[SampledErrors]) -> Panel:
    curve, setting = _curve(K), {**MIXTURE, "K": K}
    curves = {}
    for name in CURVES:
        gap = np.column_stack([GRID, getattr(curve, name) @ [1, -1]])
        curves[name] = gap[~np.isnan(gap[:, 1])]
    rows: dict[str, list[list[float]]] = {name: [] for name in CURVES}
    for point in sampled:
        if point.method in METHODS and setting.items() <= dict(point.setting).items():
            gap = between(*point.errors)
            rows[METHODS[point.method]].append([point.setting["alpha"], *gap, point.setting["dim"]])
    points = {name: np.array(values).reshape(-1, 5) for name, values in rows.items()}
    ends = curve.separable, curve.robustly_separable
    return Panel(K, curves, float(curve.population @ [1, -1]), ends, points)


def finding(data: Data) -> str:
    """Return what samples do to the gap of averaging, at the largest ratio."""
    panel = max(data.panels, key=lambda panel: panel.K)
    (few, first), (many, last) = panel.curves["midpoint"][[0, -1]]
    moves = "falls" if last < first else "rises" if last > first else "stays"
    start, end, optimum = (rounded(100 * v, 1) for v in (first, last, panel.population))
    return (
        f"Theory, K = {panel.K:g}: the robust gap of averaging {moves} from {start} points at n / d = "
        f"{few:g} to {end} at {many:g}; optimum {optimum}."
    )


def caption(data: Data) -> str:
    """Say what is seen."""
    dims = sorted({int(d) for panel in data.panels for p in panel.points.values() for d in p[:, 4]})
    markers = (
        f"Markers: linear classifiers trained in d = {' and '.join(map(str, dims))}, means over data sets of "
        "their exact errors, with intervals of at least 95 % from those of both classes"
        if dims
        else "Their simulation is made by python -m sim.sweep --study few_samples --settings 10"
    )
    return (
        "Robust error of class +1, which has K times the deviation, less that of class -1, for a classifier "
        "trained on n samples in d dimensions, half of each class, as both grow; |theta| = "
        f"{MIXTURE['norm_theta']:g}, sigma = {MIXTURE['sigma']:g}, l2 radius eps = {MIXTURE['eps']:g}. "
        "Separable: n / d up to which a hyperplane separates the samples; robustly: by more than eps. "
        "Max-margin training has a limit below the first, adversarial logistic training beyond the second. "
        f"Optimum: the optimal robust classifier, which averaging with the best bias tends to. {markers}."
    )


def draw(data: Data) -> Figure:
    """Draw a panel for each ratio."""
    figure = Figure(figsize=(1.2 + 3.2 * len(data.panels), 3.6))
    axes = figure.subplots(1, len(data.panels), sharey=True, squeeze=False)[0]
    for ax, panel in zip(axes, data.panels, strict=True):
        _draw_panel(ax, panel)
    axes[0].set_ylim(bottom=0)
    axes[0].set_ylabel("robust gap (percentage points)")
    handles = [
        Line2D([], [], color=f"C{i}", ls=LINES[i], marker=MARKERS[i] if name in METHODS.values() else "")
        for i, name in enumerate(CURVES)
    ]
    figure.legend(handles, CURVES.values(), loc="outside upper center", ncols=len(CURVES))
    return figure


def _draw_panel(ax: Axes, panel: Panel) -> None:
    for i, name in enumerate(CURVES):
        curve, points = panel.curves[name], panel.points[name]
        ax.plot(curve[:, 0], 100 * curve[:, 1], color=f"C{i}", ls=LINES[i])
        error = arms(100 * points[:, 1:4])
        style = {"color": f"C{i}", "marker": MARKERS[i], "ls": "", "zorder": 4}
        ax.errorbar(points[:, 0], 100 * points[:, 1], yerr=error, **style)
    style = {"color": "0.35", "fontsize": 7}
    for threshold, name in zip(panel.thresholds, ("separable", "robustly separable"), strict=True):
        ax.axvline(threshold, color="0.7", lw=0.8, zorder=0)
        across, side = (1.04, "left") if name == "separable" else (0.96, "right")
        ax.text(
            threshold * across,
            0.98,
            name,
            **style,
            rotation=90,
            ha=side,
            va="top",
            transform=ax.get_xaxis_transform(),
        )
    ax.axhline(100 * panel.population, color="0.7", lw=0.8, zorder=0)
    ax.text(GRID[0], 100 * panel.population + 0.7, "optimum", **style)
    ax.set(xscale="log", xlabel="n / d, samples per dimension", title=f"K = {panel.K:g}")
    ax.set_xticks(TICKS, [f"{t:g}" for t in TICKS])
    ax.minorticks_off()
