"""Errors of every class under each training method (after Xu et al., 2021, figure 1).

Methods that do not look at classes are bars side by side; each mitigation has a row of its own, over the bars
of the method that it is compared with.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.archive import Archive, TrainedNetworks
from paper_figs.marks import HATCHES, TURNED, error_bars, legend_name, rotation
from paper_figs.summary import TOGETHER, few_classes, overlap, percent, subject, whiskers, with_interval

__all__ = ["COMMAND", "SECTION", "TITLE", "Bars", "caption", "compute", "draw", "finding"]

SECTION = "networks"
TITLE = "Errors of every class"
COMMAND = "python -m deep.train --method pgd"
MOST = 6
"""Mitigations below each other: more are taller than a page."""
SHOWN = 12
"""Mitigations that are drawn; the tables have all."""
PANELS = {"natural_error": "natural error", "robust_error": "robust error"}


@dataclass(frozen=True)
class Bars:
    """Errors in percent.

    Args:
        key: name of the figure among its like.
        title: the protocol.
        subject: the data set and the seeds.
        whiskers: what the intervals are.
        selection: which classes are shown, where there are too many; else empty.
        classes: names, then "average" and "worst"; length C + 2.
        heights: for each quantity and method the mean over seeds and its interval, shape (C + 2, 3).
        base_of: the method that each mitigation is compared with, in a row for each; all are side by side
            where there is none.
    """

    key: str
    title: str
    subject: str
    whiskers: str
    selection: str
    classes: tuple[str, ...]
    heights: Mapping[str, Mapping[str, npt.NDArray[np.float64]]]
    base_of: Mapping[str, str]


def compute(archive: Archive) -> list[Bars]:
    """Return the bars of each protocol: base methods together, then the mitigations that train."""
    out = []
    for trained in archive.trained:
        methods = trained.comparison.methods
        base_of = {m: base for m, base in trained.base_of.items() if methods[m].retrains}
        if trained.bases:
            out.append(_bars(trained, trained.key, trained.bases, {}))
        moved = _moved_most(trained, base_of)
        for start in range(0, len(moved), MOST):
            some = {m: base_of[m] for m in moved[start : start + MOST]}
            key = f"{trained.key}_mitigations" + (f"_{start // MOST + 1}" if start else "")
            out.append(_bars(trained, key, (*some.values(), *some), some))
        alone = [m for m in trained.mitigations if methods[m].retrains]
        if alone and not base_of:
            out.append(_bars(trained, f"{trained.key}_mitigations", alone, {}))
    return out


def _moved_most(trained: TrainedNetworks, base_of: Mapping[str, str]) -> list[str]:
    """Return the mitigations that move the largest robust error of a class most, as many as are shown."""
    worst = {m: percent(trained.comparison, m, "robust_error")[-1, 0] for m in {*base_of, *base_of.values()}}
    order = sorted(base_of, key=lambda m: -abs(worst[m] - worst[base_of[m]]))
    return [m for m in base_of if m in order[:SHOWN]]


def _bars(trained: TrainedNetworks, key: str, labels: Sequence[str], base_of: Mapping[str, str]) -> Bars:
    comparison, labels = trained.comparison, tuple(dict.fromkeys(labels))
    heights = {q: {m: percent(comparison, m, q) for m in labels} for q in PANELS}
    about = comparison.title, subject(comparison, labels), whiskers(comparison, labels)
    return Bars(key, *about, *few_classes(comparison.classes, heights), base_of)


def finding(data: Bars) -> str:
    """Return the worst class of the most robust method, or what the mitigation does that lowers it most."""
    robust = {method: values[-2:] for method, values in data.heights["robust_error"].items()}
    if not data.base_of:
        method = min(robust, key=lambda m: float(robust[m][0, 0]))
        average, worst = robust[method]
        return (
            f"{data.subject}: {method}'s robust error is {with_interval(average)} on average, "
            f"{with_interval(worst)} in the worst class{overlap(worst, average)}."
        )
    method = min(data.base_of, key=lambda m: float(robust[m][1, 0] - robust[data.base_of[m]][1, 0]))
    before, after = robust[data.base_of[method]][1], robust[method][1]
    if after[0] >= before[0]:
        return (
            f"{data.subject}: no mitigation here has a lower robust error in the worst class than its base."
        )
    return (
        f"{data.subject}: {method} lowers the worst robust error most, {with_interval(before)} to "
        f"{with_interval(after)}{overlap(before, after)}."
    )


def caption(data: Bars) -> str:
    """Return what is seen."""
    what = "Natural and robust error of every class"
    if data.base_of:
        what += (
            f": each mitigation (points) over its base (bars), of the {SHOWN} that move the largest robust "
            "error most"
        )
    shown = f"{data.title}.{data.selection}"
    return f"{what}. {shown} The worst class is taken within each seed. {data.whiskers}."


def draw(data: Bars) -> Figure:
    """Draw the methods side by side, or each over the reference."""
    return _in_rows(data) if data.base_of else _together(data)


def _together(data: Bars) -> Figure:
    """Draw a panel for each quantity, in it a group of bars for each class."""
    figure = Figure(figsize=(8.4, 5.2))
    axes = figure.subplots(len(PANELS), 1, sharex=True)
    where = _places(len(data.classes))
    for ax, (quantity, title) in zip(axes, PANELS.items(), strict=True):
        methods = data.heights[quantity]
        width = 0.84 / len(methods)
        for i, (name, values) in enumerate(methods.items()):
            x = where + (i - (len(methods) - 1) / 2) * width
            style = {"color": f"C{i % 6}", "hatch": HATCHES[i % len(HATCHES)], "edgecolor": "white"}
            ax.bar(x, values[:, 0], width, label=legend_name(name), linewidth=0, **style)
            _whiskers(ax, x, values)
        ax.set(ylabel=f"{title} (%)", ylim=(0, _top(methods.values())))
        _divide(ax, where)
    axes[0].legend(ncols=6, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    axes[-1].set_xticks(where, data.classes, **rotation(data.classes, longest=7))
    return figure


def _in_rows(data: Bars) -> Figure:
    """Draw a row for each method, with the natural errors on the left and the robust ones on the right."""
    methods = [*data.base_of]
    upright = len(data.classes) > TURNED
    figure = Figure(figsize=(8.4, 0.9 + 1.2 * len(methods) + 0.8 * upright))
    axes = figure.subplots(len(methods), len(PANELS), sharex=True, sharey="col", squeeze=False)
    where = _places(len(data.classes))
    for row, method in zip(axes, methods, strict=True):
        for ax, quantity in zip(row, PANELS, strict=True):
            base, values = (data.heights[quantity][m] for m in (data.base_of[method], method))
            ax.bar(where, base[:, 0], 0.8, color="0.82", label="its base")
            _whiskers(ax, where - 0.22, base, color="0.55")
            style = {"color": "C0", "marker": "o", "markersize": 4, "linestyle": "none"}
            ax.plot(where + 0.12, values[:, 0], **style, label="the mitigation")
            _whiskers(ax, where + 0.12, values, color="C0")
            ax.set_ylim(0, _top(data.heights[quantity].values()))
            _divide(ax, where)
        row[0].set_ylabel(f"{method}\nover {data.base_of[method]}", rotation=0, ha="right", va="center")
    for ax, title in zip(axes[0], PANELS.values(), strict=True):
        ax.set_title(f"{title} (%)")
    for ax in axes[-1]:
        ax.set_xticks(where, data.classes, **rotation(data.classes, longest=3), fontsize=7)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure


def _places(groups: int) -> npt.NDArray[np.float64]:
    """Return where the groups stand: those of the classes together stand apart."""
    return np.arange(groups) + 0.6 * (np.arange(groups) >= groups - len(TOGETHER))


def _whiskers(
    ax: Axes, x: npt.NDArray[np.float64], values: npt.NDArray[np.float64], color: str = "k"
) -> None:
    style = {"fmt": "none", "ecolor": color, "elinewidth": 0.7, "capsize": 1.5, "capthick": 0.7}
    ax.errorbar(x, values[:, 0], error_bars(values), **style)


def _top(methods: Iterable[npt.NDArray[np.float64]]) -> float:
    """Return the end of an axis: what means and intervals need, and at most twice what means do."""
    values = np.concatenate([*methods])
    mean = float(values[:, 0].max())
    return max(1.0, min(100.0, 2 * mean, 1.05 * float(np.nanmax(values[:, ::2]))))


def _divide(ax: Axes, where: npt.NDArray[np.float64]) -> None:
    """Draw a line between the classes and what is said of them together."""
    ax.axvline((where[-3] + where[-2]) / 2, color="0.6", linewidth=0.7, linestyle=":")
