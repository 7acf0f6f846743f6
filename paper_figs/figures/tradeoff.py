"""What each method pays: its average error against that of its worst class, natural and robust."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.archive import Archive
from paper_figs.marks import MARKERS, error_bars, legend_name
from paper_figs.summary import overlap, percent, subject, whiskers, with_interval

__all__ = ["COMMAND", "SECTION", "TITLE", "Plane", "caption", "compute", "draw", "finding"]

SECTION = "networks"
TITLE = "Average against worst class"
COMMAND = "python -m deep.train --method frl"
BETTER = "\N{LEFTWARDS ARROW} better"
"""Turned with the label of the vertical axis, it points down."""
PANELS = {"natural_error": "natural error", "robust_error": "robust error"}


@dataclass(frozen=True)
class Plane:
    """Errors in percent.

    Args:
        key: name of the figure among its like.
        title: the protocol.
        subject: the data set and the seeds.
        whiskers: what the intervals are.
        bases: methods that do not look at classes.
        points: for each quantity and method the average over classes and the error of the worst class, each
            with its interval, shape (2, 3).
    """

    key: str
    title: str
    subject: str
    whiskers: str
    bases: tuple[str, ...]
    points: Mapping[str, Mapping[str, npt.NDArray[np.float64]]]


def compute(archive: Archive) -> list[Plane]:
    """Return the plane of each protocol with at least two robust methods."""
    return [
        Plane(
            trained.key,
            trained.comparison.title,
            subject(trained.comparison, labels),
            whiskers(trained.comparison, labels),
            trained.bases,
            {q: {m: percent(trained.comparison, m, q)[-2:] for m in labels} for q in PANELS},
        )
        for trained in archive.trained
        for labels in [tuple(m for m in (*trained.bases, *trained.mitigations) if m != "natural")]
        if len(labels) > 1
    ]


def finding(data: Plane) -> str:
    """Return which methods have the smallest robust errors of the average and of the worst class."""
    points = data.points["robust_error"]
    fairest = min(points, key=lambda m: (float(points[m][1, 0]), float(points[m][0, 0])))
    best = min(points, key=lambda m: (float(points[m][0, 0]), m != fairest))
    worst, other = points[fairest][1], points[best][1]
    start = f"{data.subject}: {fairest} has the lowest worst robust error, {with_interval(worst)}"
    if fairest == best:
        return f"{start}, and the lowest average, {with_interval(points[best][0])}."
    return f"{start}; {best} (lowest average) {with_interval(other)}{overlap(worst, other)}."


def caption(data: Plane) -> str:
    """Return what is seen."""
    return (
        "Average error against the error of the worst class, taken within each seed; lower and further "
        "left is better. Filled: methods that do not look at classes; hollow or half filled: mitigations; on "
        "the dashed line all classes are equal. Natural training is left out; long intervals leave the "
        "frame. "
        f"{data.title}. {data.whiskers}."
    )


def draw(data: Plane) -> Figure:
    """Draw a panel for each quantity."""
    figure = Figure(figsize=(8.4, 4.4))
    axes = figure.subplots(1, len(PANELS))
    for ax, (quantity, title) in zip(axes, PANELS.items(), strict=True):
        points = data.points[quantity]
        faint = {"elinewidth": 0.8, "alpha": 0.55} if len(points) <= 8 else {"elinewidth": 0.6, "alpha": 0.3}
        for i, (name, values) in enumerate(points.items()):
            (x, y), color = values[:, 0], f"C{i % 6}"
            right, up = error_bars(values).T[:, :, None]
            ax.errorbar(x, y, up, right, fmt="none", color=color, capsize=0, **faint)
            fill = {"markerfacecolor": color if name in data.bases else "white"}
            if i >= len(MARKERS):  # the shapes are used up: half filled
                fill = {"markerfacecolor": color, "markerfacecoloralt": "white", "fillstyle": "bottom"}
            style = {"marker": MARKERS[i % len(MARKERS)], "markersize": 7.5, "linestyle": "none", "zorder": 3}
            ax.plot(x, y, label=legend_name(name), color=color, clip_on=False, **style, **fill)
        _frame(ax, np.array([*points.values()]))
        ax.set(xlabel=f"average {title} (%)  {BETTER}", ylabel=f"{title} of the worst class (%)  {BETTER}")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 4))
    return figure


def _frame(ax: Axes, points: npt.NDArray[np.float64]) -> None:
    """Set the limits by the points and what is near of their intervals."""
    for axis, values in (("x", points[:, 0]), ("y", points[:, 1])):
        means = values[:, 0]
        margin = max(0.6 * float(np.ptp(means)), 1.5)
        low = max(float(means.min()) - margin, float(values.min()) - 0.5, 0)
        high = min(float(means.max()) + margin, float(values.max()) + 0.5, 100)
        ax.set(**{f"{axis}lim": (low, high)})
    ax.axline((0, 0), slope=1, color="0.6", linewidth=0.8, linestyle="--", zorder=1)
