"""What natural and robust networks look at: gradients and far adversarial examples (Tsipras et al., 2019)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.archive import Archive, Saliency

__all__ = ["COMMAND", "SECTION", "TITLE", "Pictures", "caption", "compute", "draw", "finding"]

SECTION = "networks"
TITLE = "What networks look at"
COMMAND = "python -m deep.portrait NATURAL_RUN ROBUST_RUN... --out runs/deep/portrait.npz"
COLUMNS = 6
"""Images at most."""


@dataclass(frozen=True)
class Pictures:
    """Saliency maps and large-eps examples of some networks.

    Args:
        key: name of the figure among its like.
        pictures: of every network.
    """

    key: str
    pictures: Saliency


def compute(archive: Archive) -> list[Pictures]:
    """Return all saliency maps."""
    names = [p.protocol.split(";")[0] for p in archive.saliency]
    keys = [name if names.count(name) == 1 else f"{name}_{i + 1}" for i, name in enumerate(names)]
    return [Pictures(key, p) for key, p in zip(keys, archive.saliency, strict=True)]


def finding(data: Pictures) -> str:
    """Return how many attacked images each network takes for another class."""
    p = data.pictures
    shown = slice(None, COLUMNS)
    wrong = [int((taken[shown] != p.labels[shown]).sum()) for taken in p.predicted]
    counts = ", ".join(f"{name} {k}" for name, k in zip(p.networks, wrong, strict=True))
    return (
        f"{data.key}, one run each: of {len(p.labels[shown])} attacked images these are taken for another "
        f"class: {counts}."
    )


def caption(data: Pictures) -> str:
    """Return what is seen."""
    p = data.pictures
    runs = ", ".join(f"{n} (run {r})" for n, r in zip(p.networks, p.runs, strict=True))
    return (
        "For each network the gradient of its loss at the image (grey: 0; clipped at 3 root mean squares) "
        f"and where an attack takes the image, with the class it is then taken for. {p.protocol}. One run "
        f"each: {runs}; {min(len(p.labels), COLUMNS)} test images, the first of their classes, not chosen. "
        "No statistics."
    )


def draw(data: Pictures) -> Figure:
    """Draw a column for each image."""
    p = data.pictures
    columns = min(len(p.labels), COLUMNS)
    rows = 1 + 2 * len(p.networks)
    figure = Figure(figsize=(1.3 + 0.72 * columns, 0.2 + 0.86 * rows))
    axes = figure.subplots(rows, columns, squeeze=False)
    _row(axes[0], p.images, "image", [p.classes[y] for y in p.labels])
    for m, name in enumerate(p.networks):
        _row(axes[1 + 2 * m], p.gradients[m], f"{name}\ngradient")
        taken = [p.classes[y] for y in p.predicted[m]]
        _row(axes[2 + 2 * m], p.adversarial[m], f"{name}\nattacked", taken)
    return figure


def _row(
    axes: npt.NDArray[np.object_], pictures: npt.NDArray[np.uint8], label: str, names: list[str] | None = None
) -> None:
    """Draw a row of pictures, each with a name below it."""
    for i, ax in enumerate(axes):
        _show(ax, pictures[i])
        if names:
            ax.set_xlabel(names[i], fontsize=7, labelpad=1)
    axes[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)


def _show(ax: Axes, picture: npt.NDArray[np.uint8]) -> None:
    grey = len(picture) == 1
    image = picture[0] if grey else np.moveaxis(picture[:3], 0, -1)
    ax.imshow(image, cmap="gray" if grey else None, vmin=0, vmax=255, interpolation="none")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
