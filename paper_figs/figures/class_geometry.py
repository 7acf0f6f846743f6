"""Which classes are near each other, and the robust errors that their distances alone predict."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from scipy.spatial.distance import cdist

from paper_figs.archive import Archive, TrainedNetworks
from paper_figs.marks import error_bars
from paper_figs.summary import MOST, chosen_classes, percent, subject, whiskers
from theory.networks.agreement import rank_correlation
from theory.networks.margin_model import FEW_POINTS, POINTS, MarginModel
from theory.results.margin_report import MarginReport
from theory.variants.many_classes import means_of_distances

__all__ = [
    "COMMAND",
    "SECTION",
    "TITLE",
    "Data",
    "caption",
    "compute",
    "draw",
    "finding",
    "geometry",
    "nearest_mean_model",
]

SECTION = "networks"
TITLE = "Distances of the classes and their robust errors"
COMMAND = "python -m deep.link RUN..."
ON_MAP = 6
"""So many classes are named on the map where there are too many for all, the worst."""
HALO = [withStroke(linewidth=2, foreground="white")]
SMALLEST = 1e-3
"""Distance of two classes, in standard deviations, whose margins are lost more often than not."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Data:
    """The classes of one adversarially trained network; lengths are in standard deviations.

    Args:
        key: name of the figure among its like.
        title: data set and method.
        subject: the data set, the seeds and the method.
        classes: names, length C.
        means: shape (C, C - 1), the largest extent first.
        misfit: root mean square of the distances of the means less the fitted ones.
        eps: radius.
        predicted: robust errors of nearest-mean classification in percent, shape (C,).
        measured: those counted, with low and high, shape (C, 3).
        whiskers: what the intervals are.
    """

    key: str
    title: str
    subject: str
    classes: tuple[str, ...]
    means: Array
    misfit: float
    eps: float
    predicted: Array
    measured: Array
    whiskers: str


def compute(archive: Archive) -> list[Data]:
    """Return the first base of each protocol that is trained adversarially and whose margins are measured."""
    out = []
    for trained in archive.trained:
        reports = {
            label: [run.margins for run in runs if run.margins is not None and "pairs" in run.margins.details]
            for label, runs in trained.runs.items()
        }
        for label in trained.bases:
            if reports[label] and not trained.comparison.methods[label].is_natural:
                out.append(_data(trained, label, reports[label]))
                break
    return out


def _data(trained: TrainedNetworks, label: str, reports: Sequence[MarginReport]) -> Data:
    fitted = [geometry(*(report.pairs(name) for name in ("mean", "spread", "drop"))) for report in reports]
    distances = np.mean([distances for distances, _ in fitted], axis=0)
    eps = float(np.mean([eps for _, eps in fitted]))
    means = means_of_distances(distances)
    off = ~np.eye(len(means), dtype=bool)
    comparison = trained.comparison
    points = POINTS if len(means) <= MOST else FEW_POINTS  # with them the memory grows as C^2
    return Data(
        key=trained.key,
        title=f"{comparison.protocol['dataset']}, {label}",
        subject=f"{subject(comparison, (label,))}, {label}",
        classes=comparison.classes,
        means=means,
        misfit=float(np.sqrt(np.mean((_distances(means) - distances)[off] ** 2))),
        eps=eps,
        predicted=100 * nearest_mean_model(means, eps).errors(attacked=True, points=points),
        measured=percent(comparison, label, "robust_error")[: len(comparison.classes)],
        whiskers=whiskers(comparison, (label,)),
    )


def geometry(mean: Array, spread: Array, drop: Array) -> tuple[Array, float]:
    """Return the distances of the classes and the radius, both in standard deviations.

    Of nearest-mean classification the margin of a pair at the distance delta has mean delta^2 / 2 and spread
    sigma delta, and an adversary takes eps delta of it: mean / spread is delta / (2 sigma), seen from either
    class, and drop / spread is eps / sigma.

    Args:
        mean: of the margin of class i over class j, shape (C, C).
        spread: its standard deviation; both are 0 on the diagonal.
        drop: what the adversary takes of it.
    """
    off = ~np.eye(len(mean), dtype=bool)
    score = np.zeros_like(mean)
    score[off] = mean[off] / spread[off]
    distances = np.where(off, np.maximum(score + score.T, SMALLEST), 0.0)
    return distances, float(np.mean(drop[off] / spread[off]))


def nearest_mean_model(means: Array, eps: float) -> MarginModel:
    """Return the margins of nearest-mean classification of classes of unit covariance."""
    apart = means[:, None] - means  # class, other class, coordinate
    distances = _distances(means)
    return MarginModel(distances**2 / 2, apart @ apart.swapaxes(1, 2), eps * distances)


def _distances(means: Array) -> Array:
    return np.asarray(cdist(means, means))


def finding(data: Data) -> str:
    """Return how well distances alone rank and meet the measured errors."""
    value, low, high = data.measured.T
    rank = rank_correlation(data.predicted, value)
    inside = int(((low <= data.predicted) & (data.predicted <= high)).sum())
    return (
        f"{data.subject}: distances alone rank the robust errors with r = {rank:.2f}; {inside} of "
        f"{len(value)} lie in the measured intervals."
    )


def caption(data: Data) -> str:
    """Say what is seen."""
    rank = rank_correlation(data.predicted, data.measured[:, 0])
    _, selection = chosen_classes(data.measured[:, 0])
    return (
        f"Left: Gaussian classes of one width, their pairs as far apart as the margins say ({data.title}), "
        "seen along the two directions in which they extend most; unit: their standard deviation, radius of "
        f"the adversary {data.eps:.2f}; a line joins each class to its nearest. In all directions the "
        f"distances are within {data.misfit:.2f} (root mean square) of the fitted ones. Right: the robust "
        "errors of nearest-mean classification of these classes, beside those counted of the network; rank "
        f"correlation {rank:.2f}. One width and one radius for all: what is not predicted is not a matter of "
        f"distances.{selection.replace(', mean over the methods', '')} {data.whiskers}."
    )


def draw(data: Data) -> Figure:
    """Draw the map of the classes, and their errors beside it."""
    figure = Figure(figsize=(8.0, 0.9 + 0.3 * max(len(_chosen(data)), 8)))
    left, right = figure.subplots(1, 2)
    _map(left, data)
    _errors(right, data)
    left.set_title(data.title)
    return figure


def _chosen(data: Data) -> list[int]:
    """Return the classes that are named."""
    return chosen_classes(data.measured[:, 0])[0]


def _map(ax: Axes, data: Data) -> None:
    plane = np.pad(data.means, ((0, 0), (0, 1)))[:, :2]
    distances = _distances(data.means) + np.diag(np.full(len(data.means), np.inf))
    ax.plot(*plane.T, "o", color="C0", markersize=4.5 if len(plane) <= MOST else 2, zorder=2)
    chosen = _chosen(data)
    for k in chosen if len(plane) <= MOST else chosen[:ON_MAP]:
        nearest = distances[k].argmin()
        ax.plot(*plane[[k, nearest]].T, color="0.7", lw=1.0, zorder=1)
        x, y = (plane[k] - plane[nearest]) / max(float(np.linalg.norm(plane[k] - plane[nearest])), 1e-12)
        side = "center" if abs(x) < 0.4 else "left" if x > 0 else "right"
        style = {
            "textcoords": "offset points",
            "fontsize": 7.5,
            "ha": side,
            "va": "center",
            "path_effects": HALO,
        }
        ax.annotate(data.classes[k], plane[k], (6 * x, 8 * y), **style)
    ax.set(aspect="equal", xlabel="first direction (standard deviations)", ylabel="second direction")
    ax.set_adjustable("datalim")
    ax.margins(0.15)


def _errors(ax: Axes, data: Data) -> None:
    chosen = np.array(_chosen(data))
    order = chosen[np.argsort(data.predicted[chosen])]
    rows = np.arange(len(order))
    measured = data.measured[order]
    ax.errorbar(
        measured[:, 0], rows, xerr=error_bars(measured), color="C5", marker="s", ls="", label="measured"
    )
    ax.plot(data.predicted[order], rows, "o", color="C0", mfc="white", zorder=5, label="from distances alone")
    ax.set_yticks(rows, [data.classes[k] for k in order])
    ax.grid(axis="y", color="0.9")
    ax.set(xlabel="robust error (%)", xlim=(-2, 102))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
