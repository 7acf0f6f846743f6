"""How FRL's multipliers and training radii move over the epochs, class by class (Xu et al., 2021)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from paper_figs.archive import Archive
from paper_figs.marks import MARKERS, legend_name
from paper_figs.summary import MOST, subject
from theory.common.inputs import InputError
from theory.results.runs import RunFiles

__all__ = ["COMMAND", "SECTION", "TITLE", "Curves", "caption", "compute", "draw", "finding"]

SECTION = "networks"
TITLE = "Multipliers of Fair-Robust-Learning"
COMMAND = "python -m deep.train --method frl"
ROWS = {
    "phi_nat": "multiplier of the\nnatural error",
    "phi_bndy": "multiplier of the\nboundary error",
    "radii": "training radius\n(units of eps)",
}
SAID = {
    "phi_nat": "to a natural multiplier of {}",
    "phi_bndy": "to a boundary multiplier of {}",
    "radii": "to a radius of {} eps",
}
NEUTRAL = {"phi_nat": 0.0, "phi_bndy": 0.0, "radii": 1.0}
COLUMNS = 3
"""Variants in one figure."""
SHOWN = 6
"""So many classes have a colour; the rest is grey."""
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """What FRL's dual ascent did.

    Args:
        key: name of the figure among its like.
        title: the protocol.
        subject: the data set and the seeds.
        classes: names, length C.
        seeds: number of runs of each variant.
        curves: for each variant and key of `ROWS`, shape (seeds, epochs, C).
    """

    key: str
    title: str
    subject: str
    classes: tuple[str, ...]
    seeds: Mapping[str, int]
    curves: Mapping[str, Mapping[str, Array]]

    @property
    def moved(self) -> list[int]:
        """Return the classes whose curves move most, at most `SHOWN`, in their own order."""
        distance = np.zeros(len(self.classes))
        for row, neutral in NEUTRAL.items():
            away = [np.abs(c[row] - neutral).mean(axis=0).max(axis=0) for c in self.curves.values()]
            scale = max(float(np.max(away)), 1e-12)
            distance = np.maximum(distance, np.max(away, axis=0) / scale)
        most = np.argsort(-distance, kind="stable")[:SHOWN]
        return sorted(int(i) for i in most if distance[i] > 0.1)


def compute(archive: Archive) -> list[Curves]:
    """Return the curves of each protocol, some variants side by side.

    Raises:
        InputError: a history lacks a multiplier, or seeds have other lengths.
    """
    out = []
    for trained in archive.trained:
        with_history = {m: [r for r in trained.runs[m] if r.history] for m in trained.comparison.named("frl")}
        with_history = {m: runs for m, runs in with_history.items() if runs}
        if with_history:
            classes = trained.comparison.classes
            curves = {m: _curves(runs, len(classes)) for m, runs in with_history.items()}
            for start in range(0, len(curves), COLUMNS):
                some = dict([*curves.items()][start : start + COLUMNS])
                key = trained.key + (f"_{start // COLUMNS + 1}" if start else "")
                about = trained.comparison.title, subject(trained.comparison, some)
                seeds = {m: len(with_history[m]) for m in some}
                out.append(Curves(key, *about, classes, seeds, some))
    return out


def _curves(runs: Sequence[RunFiles], classes: int) -> dict[str, Array]:
    """Return the curves of the runs of a variant, by key of `ROWS`."""
    epochs = len(runs[0].history)
    curves = {}
    for row in ROWS:
        values = [[line.get(row) for line in run.history] for run in runs]
        try:
            curves[row] = np.array(values, np.float64)
        except (TypeError, ValueError):
            curves[row] = np.empty(0)
        if curves[row].shape != (len(runs), epochs, classes) or not np.isfinite(curves[row]).all():
            names = ", ".join(run.name for run in runs)
            raise InputError(
                f"the histories of {names} must have {row} of {classes} classes in each of {epochs} epochs"
            )
    return curves


def finding(data: Curves) -> str:
    """Return the class that is raised most in the end, in the kind of curve that moves."""
    for row in reversed(ROWS):
        ends = {m: curves[row][:, -1] for m, curves in data.curves.items()}  # (seeds, C)
        method = max(ends, key=lambda m: float(ends[m].mean(axis=0).max()))
        top = int(ends[method].mean(axis=0).argmax())
        values = ends[method][:, top]
        if values.mean() > NEUTRAL[row] + 1e-9:
            ends_at = SAID[row].format(f"{values.mean():.2f}")
            spread = f" ({values.min():.2f} to {values.max():.2f} over seeds)" if len(values) > 1 else ""
            return f"{data.subject}: {method} raises class {data.classes[top]} most, {ends_at}{spread}."
    return f"{data.subject}: no multiplier and no radius is raised in the end."


def caption(data: Curves) -> str:
    """Return what is seen."""
    seeds = ", ".join(f"{m} {k}" for m, k in data.seeds.items())
    return (
        "FRL's multipliers of the natural and the boundary error and its training radii after each epoch. "
        "A class whose validation error exceeds the average by more than tau rises. Lines: mean over "
        "seeds; bands: from the smallest to the largest of them (no interval). Grey: the classes that "
        f"move least. {data.title}. Seeds: {seeds}."
    )


def draw(data: Curves) -> Figure:
    """Draw a column for each variant and a row for each kind of curve."""
    columns = len(data.curves)
    width = max(2.8 * columns, 4.6)
    figure = Figure(figsize=(width, 5.6))
    axes = figure.subplots(len(ROWS), columns, sharex="col", sharey="row", squeeze=False)
    for j, (method, curves) in enumerate(data.curves.items()):
        for i, (row, label) in enumerate(ROWS.items()):
            _panel(axes[i, j], curves[row], data.moved, data.classes)
            axes[i, j].axhline(NEUTRAL[row], color="0.6", linewidth=0.6, zorder=0)
            if j == 0:
                axes[i, j].set_ylabel(label)
        axes[0, j].set_title(method)
        axes[-1, j].set_xlabel("epoch")
        axes[-1, j].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    longest = max(map(len, labels))
    figure.legend(
        handles, labels, loc="outside upper center", ncols=max(1, int(width / (0.6 + 0.07 * longest)))
    )
    return figure


def _panel(ax: Axes, curves: Array, moved: Sequence[int], classes: Sequence[str]) -> None:
    epochs = np.arange(1, curves.shape[1] + 1)
    mean, low, high = curves.mean(axis=0), curves.min(axis=0), curves.max(axis=0)
    unmoved = [c for c in range(len(classes)) if c not in moved]
    if len(unmoved) > MOST:
        rest = mean[:, unmoved]
        ax.fill_between(epochs, rest.min(axis=1), rest.max(axis=1), color="0.85", lw=0, label="all others")
        unmoved = []
    for c in unmoved:
        label = "all others" if c == unmoved[0] else None
        ax.plot(epochs, mean[:, c], color="0.75", linewidth=0.8, label=label)
    every = max(1, len(epochs) // 8)
    for i, c in enumerate(moved):
        ax.fill_between(epochs, low[:, c], high[:, c], color=f"C{i % 6}", alpha=0.12, linewidth=0)
        style = {"marker": MARKERS[i], "markersize": 4, "markevery": (i % every, every)}
        ax.plot(epochs, mean[:, c], color=f"C{i % 6}", label=legend_name(classes[c]), **style)
