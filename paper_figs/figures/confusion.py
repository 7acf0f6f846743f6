"""Which classes an attack turns into which, before and after a mitigation (after Lee et al., 2024: DAFA)."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.archive import Archive, TrainedNetworks
from paper_figs.marks import rotation
from paper_figs.summary import MOST, interval, overlap, subject, verb, with_interval
from theory.results.runs import RunFiles

__all__ = ["COMMAND", "SECTION", "TITLE", "Maps", "caption", "compute", "draw", "finding"]

SECTION = "networks"
TITLE = "Confusion under attack"
COMMAND = "python -m deep.link RUN..."
SHOWN: Collection[tuple[str, str | None]] = {("dafa", None), ("frl", "both")}
"""Names and variants of the methods that are shown where they are; otherwise the first there is."""
LONG = 12
"""Names of more letters need room."""
FEW = 12
"""At most so many classes are shown where there are too many for all."""
SAID = 3.0
"""Shares and changes from so many percent on are written as numbers."""
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Maps:
    """Shares in percent of the images of a class (row) that are taken for a class (column) under attack.

    Args:
        key: name of the figure among its like.
        title: the protocol.
        subject: the data set and the seeds.
        names: of the two methods.
        classes: names, length C.
        shares: of both methods, mean over seeds, shape (2, C, C).
        seeds: number of runs of both methods.
        n: smallest number of images of a class.
        cell: true class and another that it is taken for, whose share changes most, by their names.
        moved: its share before and after in percent, each with its interval, shape (2, 3).
    """

    key: str
    title: str
    subject: str
    names: tuple[str, str]
    classes: tuple[str, ...]
    shares: Array
    seeds: tuple[int, int]
    n: int
    cell: tuple[str, str]
    moved: Array


def compute(archive: Archive) -> list[Maps]:
    """Return the maps of each protocol and mitigation whose margins have been measured."""
    out = []
    for trained in archive.trained:
        with_margins, methods = trained.with_margins(), trained.comparison.methods
        pairs = [(base, m) for m, base in trained.base_of.items() if with_margins[m] and with_margins[base]]
        chosen = [(base, m) for base, m in pairs if (methods[m].name, methods[m]["variant"]) in SHOWN]
        chosen = chosen or pairs[:1]
        out += [_maps(trained, names, (with_margins[names[0]], with_margins[names[1]])) for names in chosen]
    return out


def _maps(
    trained: TrainedNetworks, names: tuple[str, str], runs: tuple[Sequence[RunFiles], Sequence[RunFiles]]
) -> Maps:
    classes = trained.comparison.classes
    counts = [[run.margins.confused("attacked") for run in members if run.margins] for members in runs]
    shares = [
        100 * np.mean([c / c.sum(axis=1, keepdims=True) for c in members], axis=0) for members in counts
    ]
    n = int(min(c.sum(axis=1).min() for members in counts for c in members))
    key = f"{trained.key}_{names[1].replace(' ', '_')}"
    sizes = len(runs[0]), len(runs[1])
    change = np.where(np.eye(len(classes), dtype=bool), 0.0, np.abs(shares[1] - shares[0]))
    i, j = (int(k) for k in np.unravel_index(change.argmax(), change.shape))
    moved = [interval([c[i, j] for c in members], [c[i].sum() for c in members]) for members in counts]
    shown = _confused(np.array(shares))
    about = trained.comparison.title + (
        f"; of {len(classes)} classes those with the largest confusions" if len(shown) < len(classes) else ""
    )
    return Maps(
        key,
        about,
        subject(trained.comparison, names),
        names,
        tuple(classes[k] for k in shown),
        np.array(shares)[:, shown][:, :, shown],
        sizes,
        n,
        (classes[i], classes[j]),
        100 * np.array(moved),
    )


def _confused(shares: Array) -> list[int]:
    """Return the classes that are shown: all, or those of the largest confusions."""
    count = shares.shape[1]
    if count <= MOST:
        return [*range(count)]
    largest = np.where(np.eye(count, dtype=bool), -1.0, shares.max(axis=0))
    classes: list[int] = []
    for cell in np.argsort(-largest, axis=None):
        classes += [k for k in map(int, divmod(int(cell), count)) if k not in classes]
        if len(classes) >= FEW - 1:
            return sorted(classes)
    return sorted(classes)


def finding(data: Maps) -> str:
    """Return which confusion changes most."""
    before, after = data.moved
    true, other = data.cell
    return (
        f"{data.subject}: {data.names[1]} {verb(before, after)} {true} taken for {other} most, "
        f"{with_interval(before)} to {with_interval(after)}{overlap(before, after)}."
    )


def caption(data: Maps) -> str:
    """Return what is seen, and how much of it is noise."""
    half = 196 * np.sqrt(0.1 * 0.9 / data.n)
    return (
        "What attacked images of a class (row) are taken for (column), in percent of the class: "
        f"{data.names[0]}, {data.names[1]}, and the change in percentage points. On the diagonal, in "
        f"italics, those that stay right. {data.title}. Mean over {data.seeds[0]} and {data.seeds[1]} "
        f"seeds; {data.n} images a class or more, so that a share of 10 % in one run is known to about "
        f"+-{half:.0f} points (95 %)."
    )


def draw(data: Maps) -> Figure:
    """Draw both maps and their difference."""
    figure = Figure(figsize=(10.4, 4.3 + 0.4 * (max(map(len, data.classes)) > LONG)))
    axes = figure.subplots(1, 3, sharey=True)
    off = ~np.eye(len(data.classes), dtype=bool)
    change = data.shares[1] - data.shares[0]
    top = max(float(data.shares[:, off].max()), 1.0)
    largest = max(float(np.abs(change).max()), 1.0)
    for ax, name, shares in zip(axes, data.names, data.shares, strict=False):
        image = _map(ax, np.where(off, shares, np.nan), data.classes, cmap="Blues", vmin=0, vmax=top)
        _numbers(ax, shares, "{:.0f}", dark=shares > 0.55 * top)
        ax.set_title(name)
    figure.colorbar(image, ax=axes[:2], label="taken for another class (%)", shrink=0.8, location="bottom")
    image = _map(axes[2], change, data.classes, cmap="PuOr_r", vmin=-largest, vmax=largest)
    _numbers(axes[2], change, "{:+.0f}", dark=np.abs(change) > 0.65 * largest)
    axes[2].set_title("change")
    figure.colorbar(image, ax=axes[2], label="percentage points", shrink=0.8, location="bottom")
    axes[0].set_ylabel("true class")
    return figure


def _map(ax: Axes, values: Array, classes: Sequence[str], **style: object) -> object:
    where = np.arange(len(classes))
    image = ax.imshow(values, **style)
    ax.set_xticks(where, classes, **rotation(tuple(classes), longest=3))
    ax.set_yticks(where, classes)
    ax.tick_params(length=0)
    ax.set_xlabel("taken for")
    return image


def _numbers(ax: Axes, values: Array, form: str, dark: npt.NDArray[np.bool_]) -> None:
    """Write the numbers that matter, so that no colour is needed to read them."""
    if len(values) > 20:
        return
    for i, j in _large(values):
        right = i == j and form == "{:.0f}"
        style = {"style": "italic", "color": "0.45"} if right else {"color": "w" if dark[i, j] else "k"}
        ax.text(j, i, form.format(values[i, j]), ha="center", va="center", fontsize=7, **style)


def _large(values: Array) -> Iterable[tuple[int, int]]:
    return ((int(i), int(j)) for i, j in np.argwhere(np.abs(values) >= SAID))
