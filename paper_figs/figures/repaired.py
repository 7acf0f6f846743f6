"""Errors of every class before and after a stage that follows training, such as class offsets."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from paper_figs.archive import Archive, TrainedNetworks
from paper_figs.marks import HATCHES, error_bars, legend_name, rotation
from paper_figs.summary import TOGETHER, few_classes, overlap, percent, subject, verb, whiskers, with_interval

__all__ = ["COMMAND", "SECTION", "TITLE", "BeforeAfter", "caption", "compute", "draw", "finding"]

SECTION = "networks"
TITLE = "The worst class before and after"
COMMAND = "python -m deep.repair RUN"
PANELS = {"natural_error": "natural error", "robust_error": "robust error"}


@dataclass(frozen=True)
class BeforeAfter:
    """Errors in percent.

    Args:
        key: name of the figure among its like.
        title: the protocol.
        subject: the data set and the seeds.
        whiskers: what the intervals are.
        selection: which classes are shown, where there are too many; else empty.
        classes: names, then "average" and "worst"; length C + 2.
        heights: for each quantity and method the mean over seeds and its interval, shape (C + 2, 3); natural
            training first if there is any, then the network before, then after.
    """

    key: str
    title: str
    subject: str
    whiskers: str
    selection: str
    classes: tuple[str, ...]
    heights: Mapping[str, Mapping[str, npt.NDArray[np.float64]]]


def compute(archive: Archive) -> list[BeforeAfter]:
    """Return the bars of each network that a stage followed, by protocol."""
    return [
        _bars(trained, label, base)
        for trained in archive.trained
        for label, base in trained.base_of.items()
        if trained.comparison.methods[label].stage
    ]


def _bars(trained: TrainedNetworks, label: str, base: str) -> BeforeAfter:
    comparison = trained.comparison
    natural = [m for m, method in comparison.methods.items() if method.is_natural and not method.stage]
    labels = (*natural, base, label)
    heights = {q: {m: percent(comparison, m, q) for m in labels} for q in PANELS}
    key = f"{trained.key}_{label.replace(' ', '_').replace('=', '_')}"
    return BeforeAfter(
        key,
        comparison.title,
        subject(comparison, labels),
        whiskers(comparison, labels),
        *few_classes(comparison.classes, heights),
    )


def finding(data: BeforeAfter) -> str:
    """Return what the stage does to the robust error of the worst class."""
    label = [*data.heights["robust_error"]][-1]
    before, after = (values[-1] for values in [*data.heights["robust_error"].values()][-2:])
    return (
        f"{data.subject}: {label} {verb(before, after)} the worst robust error, {with_interval(before)} to "
        f"{with_interval(after)}{overlap(before, after)}."
    )


def caption(data: BeforeAfter) -> str:
    """Return what is seen."""
    before, after = [*data.heights["robust_error"]][-2:]
    return (
        f"Natural and robust error of every class, {before} and {after}. {data.title}.{data.selection} The "
        f"worst class is taken within each seed. {data.whiskers}."
    )


def draw(data: BeforeAfter) -> Figure:
    """Draw a panel for each quantity, in it a group of bars for each class."""
    figure = Figure(figsize=(8.4, 4.6))
    axes = figure.subplots(len(PANELS), 1, sharex=True)
    groups = len(data.classes)
    where = np.arange(groups) + 0.6 * (np.arange(groups) >= groups - len(TOGETHER))
    for ax, (quantity, title) in zip(axes, PANELS.items(), strict=True):
        methods = data.heights[quantity]
        width = 0.84 / len(methods)
        for i, (name, values) in enumerate(methods.items()):
            x = where + (i - (len(methods) - 1) / 2) * width
            style = {"color": f"C{i}", "hatch": HATCHES[i], "edgecolor": "white", "linewidth": 0}
            ax.bar(x, values[:, 0], width, label=legend_name(name), **style)
            bars = {"fmt": "none", "ecolor": "k", "elinewidth": 0.7, "capsize": 1.5, "capthick": 0.7}
            ax.errorbar(x, values[:, 0], error_bars(values), **bars)
        ax.set(ylabel=f"{title} (%)", ylim=(0, 100))
        ax.axvline((where[-3] + where[-2]) / 2, color="0.6", linewidth=0.7, linestyle=":")
    axes[0].legend(ncols=len(data.heights["robust_error"]), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    axes[-1].set_xticks(where, data.classes, **rotation(data.classes, longest=7))
    return figure
