"""Class errors that theory predicts from a network's margins, against those that were counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.archive import Archive, TrainedNetworks
from paper_figs.summary import ENOUGH, MOST, subject
from theory.results.counts import mean_interval
from theory.results.runs import RunFiles

__all__ = ["COMMAND", "SECTION", "TITLE", "Scatter", "caption", "compute", "draw", "finding"]

SECTION = "networks"
TITLE = "Predicted and measured class errors"
COMMAND = "python -m deep.link RUN..."
QUANTITIES = {"natural_error": "natural error", "robust_error": "robust error"}
COLUMNS = 3
"""Methods in one figure."""
NAMED = 10
"""Classes that are named where there are too many for all."""
Array = npt.NDArray[np.float64]
Key = tuple[str, str]
"""A method and an error."""


@dataclass(frozen=True)
class Scatter:
    """Errors in percent.

    Args:
        key: name of the figure among its like.
        title: data set and attack.
        subject: the data set and the seeds.
        classes: names, length C.
        seeds: number of runs of each method.
        points: predicted and measured error of each class, each with its interval, shape (2, C, 3).
        fails: classes where they differ by more than noise in at least half of the runs, bool of shape (C,).
        ranks: rank correlation over classes of each run, as far as it is defined.
    """

    key: str
    title: str
    subject: str
    classes: tuple[str, ...]
    seeds: Mapping[str, int]
    points: Mapping[Key, Array]
    fails: Mapping[Key, npt.NDArray[np.bool_]]
    ranks: Mapping[Key, tuple[float, ...]]


def compute(archive: Archive) -> list[Scatter]:
    """Return the points of each protocol whose margins have been measured, some methods at a time."""
    out = []
    for trained in archive.trained:
        ordered = (*trained.bases, *trained.mitigations)
        with_margins = trained.with_margins()
        labels = [m for m in ordered if with_margins[m]]
        for start in range(0, len(labels), COLUMNS):
            key = trained.key if start == 0 else f"{trained.key}_{start // COLUMNS + 1}"
            out.append(_scatter(key, trained, {m: with_margins[m] for m in labels[start : start + COLUMNS]}))
    return out


def _scatter(key: str, trained: TrainedNetworks, runs: Mapping[str, Sequence[RunFiles]]) -> Scatter:
    classes = trained.comparison.classes
    points, fails, ranks = {}, {}, {}
    for label, members in runs.items():
        reports = [run.margins for run in members if run.margins is not None]
        for quantity in QUANTITIES:
            cell = label, quantity
            points[cell] = 100 * _points([report.errors(quantity) for report in reports])
            failures = [[c in report.failures[quantity] for c in range(len(classes))] for report in reports]
            fails[cell] = np.mean(failures, axis=0) >= 0.5
            values = [report.agreement("rank_correlation", quantity).get("value") for report in reports]
            ranks[cell] = tuple(float(v) for v in values if v is not None)
    title = f"{trained.comparison.protocol['dataset']}; {trained.comparison.protocol['attack']}"
    seeds = {m: len(r) for m, r in runs.items()}
    return Scatter(key, title, subject(trained.comparison, runs), classes, seeds, points, fails, ranks)


def _points(runs: Sequence[Array]) -> Array:
    """Return the mean over runs and its interval: Student's t, or for few runs the mean of theirs."""
    values = np.array(runs)
    if len(runs) < ENOUGH:
        return np.asarray(values.mean(axis=0))
    centre = values[..., 0].reshape(len(runs), -1)
    return np.array([mean_interval(column) for column in centre.T]).reshape(*values.shape[1:3], 3)


def finding(data: Scatter) -> str:
    """Return how well robust errors are ranked, and how many are not met."""
    key = "robust_error"
    ranks = {m: float(np.mean(data.ranks[m, key])) for m in data.seeds if data.ranks[m, key]}
    ends = [min(ranks, key=lambda m: ranks[m]), max(ranks, key=lambda m: ranks[m])] if ranks else []
    said = " to ".join(f"{ranks[m]:.2f} ({m})" for m in dict.fromkeys(ends)) or "undefined"
    fails = [data.fails[m, key] for m in data.seeds]
    return (
        f"{data.subject}: margins rank the robust errors with r = {said}; "
        f"{sum(int(f.sum()) for f in fails)} of {sum(map(len, fails))} differ beyond noise."
    )


def caption(data: Scatter) -> str:
    """Return what is seen."""
    seeds = ", ".join(f"{m} {k}" for m, k in data.seeds.items())
    named = (
        f"Named: the {NAMED} classes farthest from it, which alone have bars. "
        if len(data.classes) > MOST
        else ""
    )
    return (
        "Class errors predicted by the Gaussian-margin model, fitted to other images, against those "
        "counted on test images. On the dashed line they are equal. "
        "Triangles: classes where they differ by more than the noise of both in at least half of the "
        f"runs. {named}r: rank correlation over classes, mean over runs and the smallest and largest "
        "of them. "
        f"{data.title}. Bars: 95 %, Student's t over seeds from {ENOUGH} seeds on, else of prediction "
        f"(bootstrap) and measurement (exact). Seeds: {seeds}."
    )


def draw(data: Scatter) -> Figure:
    """Draw a column for each method and a row for each error."""
    figure = Figure(figsize=(max(2.9 * len(data.seeds), 5.2), 5.6))
    axes = figure.subplots(len(QUANTITIES), len(data.seeds), squeeze=False)
    for j, label in enumerate(data.seeds):
        for i, (quantity, name) in enumerate(QUANTITIES.items()):
            ax, key = axes[i, j], (label, quantity)
            _panel(ax, data.points[key], data.fails[key], data.classes)
            ax.set_title("\n".join([label] * (i == 0) + [_rank(data.ranks[key])]), fontsize=8.5)
            ax.set(xlabel=f"predicted {name} (%)", ylabel=f"measured {name} (%)" if j == 0 else "")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure


def _rank(ranks: Sequence[float]) -> str:
    """Return the rank correlations of some runs in words."""
    if not ranks:
        return "r undefined"
    spread = f" ({min(ranks):.2f} to {max(ranks):.2f})" if len(ranks) > 1 else ""
    return f"r = {np.mean(ranks):.2f}{spread}"


def _panel(ax: Axes, points: Array, fails: npt.NDArray[np.bool_], classes: Sequence[str]) -> None:
    """Draw the classes of one method: predicted to the right, measured upwards."""
    (x, y), (right, up) = points[..., 0], (np.abs(p[:, 1:] - p[:, :1]).T for p in points)
    low, high = float(points[..., 0].min()), float(points[..., 0].max())
    margin = max(0.08 * (high - low), 1.0)
    ends = max(low - margin, -0.3 * margin), min(high + margin, 100 + 0.3 * margin)
    few = len(x) <= MOST
    for chosen, marker, color, side in ((~fails, "o", "C0", "within"), (fails, "^", "C5", "beyond")):
        style = {"marker": marker, "color": color, "markersize": 4.5 if few else 2.5, "linestyle": "none"}
        ax.plot(x[chosen], y[chosen], **style, label=f"difference {side} noise")
    ax.axline((low, low), slope=1, color="0.5", linewidth=0.8, linestyle="--", zorder=0)
    ax.set(xlim=ends, ylim=ends, aspect="equal")
    size = ends[1] - ends[0]
    shown = np.arange(len(x)) if few else np.argsort(-np.abs(y - x), kind="stable")[:NAMED]
    bars = {"fmt": "none", "elinewidth": 0.6, "capsize": 0, "ecolor": "0.6", "zorder": 1.5}
    ax.errorbar(x[shown], y[shown], up[:, shown], right[:, shown], **bars)
    heights = ends[0] + size * _apart((y[shown] - ends[0]) / size, 0.1)
    names = [classes[k] for k in shown]
    for name, a, b, height in zip(names, x[shown], y[shown], heights, strict=True):
        ax.plot([a, ends[1] + 0.04 * size], [b, height], color="0.6", linewidth=0.4, clip_on=False, zorder=1)
        ax.text(ends[1] + 0.06 * size, height, name, fontsize=6.5, va="center")


def _apart(heights: Array, gap: float) -> Array:
    """Return heights in the same order, from 0 to 1, and a gap apart if so many fit."""
    order, last = np.argsort(heights, kind="stable"), max(len(heights) - 1, 1)
    steps = min(gap, 1 / last) * np.arange(len(heights))
    raised = np.maximum.accumulate(heights[order] - steps)
    lowered = np.minimum.accumulate((heights[order] - steps)[::-1])[::-1]
    out = np.empty_like(heights)
    out[order] = steps + np.clip((raised + lowered) / 2, 0, 1 - steps[-1])
    return out
