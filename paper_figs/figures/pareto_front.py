"""Pareto fronts of the average and the worst robust error of linear classifiers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.special import ndtr, ndtri

from paper_figs.archive import Archive
from paper_figs.marks import MARKERS, points
from paper_figs.readers.simulated import MITIGATIONS, Trained, average, sizes, trained, worst
from theory.common.digits import rounded
from theory.gaussian.constrained import ParetoFront, pareto_front
from theory.gaussian.fairness import bias_z_scores
from theory.gaussian.mixture import GaussianMixture

__all__ = ["CLAIMS", "COMMAND", "SECTION", "TITLE", "Data", "Front", "caption", "compute", "draw", "finding"]

SECTION = "theory"
TITLE = "Average against worst robust error"
CLAIMS = ("folklore_reweighting_always_reaches",)
COMMAND = ""

Array = npt.NDArray[np.float64]

MIXTURE, RATIOS, RADII = (
    GaussianMixture(dim=20, eta=0.4, sigma=1.0, K=2.0),
    (1.5, 2.0, 3.0),
    (0.08, 0.16, 0.24),
)
"""What is drawn where there is no simulation."""


@dataclass(frozen=True)
class Front:
    """The front of one mixture at one radius.

    Args:
        K: ratio of the standard deviations.
        eps: radius of training and of the errors.
        front: from the smallest average to equal errors.
        beyond: average and worst error of the biases beyond equal errors, as far as points lie there, shape
            (q, 2).
        points: counted, for each of `MITIGATIONS`, (value, low, high) of average and worst error, shape
            (p, 2, 3), without constant classifiers.
    """

    K: float
    eps: float
    front: ParetoFront
    beyond: Array
    points: Mapping[str, Array]


@dataclass(frozen=True)
class Data:
    """Fronts by radius and K, what they share, and how much was sampled."""

    title: str
    fronts: tuple[Front, ...]
    sizes: str


def compute(archive: Archive) -> list[Data]:
    """Return the fronts at the mixtures and radii of the simulation, or at fixed ones where there is none."""
    groups: dict[tuple[int, float, float], dict[tuple[float, float], list[Trained]]] = {}
    for run in trained(archive.records, MITIGATIONS):
        m = run.mixture
        groups.setdefault((m.dim, m.eta, m.sigma), {}).setdefault((run.eps, m.K), []).append(run)
    if not groups:
        groups = {(MIXTURE.dim, MIXTURE.eta, MIXTURE.sigma): {key: [] for key in product(RADII, RATIOS)}}
    return [
        Data(
            f"d = {dim}, eta = {eta:g}, sigma = {sigma:g}",
            tuple(
                _front(GaussianMixture(dim=dim, eta=eta, sigma=sigma, K=K), eps, members[eps, K])
                for eps, K in sorted(members)
            ),
            sizes(run for runs in members.values() for run in runs) if any(members.values()) else "",
        )
        for (dim, eta, sigma), members in groups.items()
    ]


def _front(mixture: GaussianMixture, eps: float, runs: Sequence[Trained]) -> Front:
    interior = [run for run in runs if run.errors.rates("robust_error").max() < 1]
    counted = {
        rule: np.array(
            [
                [statistic(run.errors, "robust_error") for statistic in (average, worst)]
                for run in interior
                if run.setting["rule"] == rule
            ]
        ).reshape(-1, 2, 3)
        for rule in MITIGATIONS
    }
    margin = mixture.dim**0.5 * (mixture.eta - eps)
    front = pareto_front(margin, mixture.sigma, mixture.K, 201)
    largest = max([run.errors.rates("robust_error")[1] for run in interior], default=0.0)
    last = max(margin + mixture.sigma * float(ndtri(largest)), front.bias[-1])
    plus, minus = bias_z_scores(np.linspace(front.bias[-1], last, 100), margin, mixture.sigma, mixture.K)
    beyond = np.stack([(ndtr(plus) + ndtr(minus)) / 2, ndtr(minus)], axis=1)
    return Front(mixture.K, eps, front, beyond, counted)


def finding(data: Data) -> str:
    """Return how many fronts Reweight reaches as a whole, and where it stops farthest from the end of one."""
    stops = []
    for front in data.fronts:
        worst = np.maximum(front.front.plus, front.front.minus)
        stops.append((float(worst[front.front.reachable].min() - worst.min()), float(worst.min()), front))
    short, fair, front = max(stops, key=lambda stop: stop[0])
    whole = sum(bool(f.front.reachable.all()) for f in data.fronts)
    start = f"Theory: Reweight reaches {whole} of {len(data.fronts)} fronts as a whole"
    if whole == len(data.fronts):
        return f"{start}."
    return (
        f"{start}; at K = {front.K:g}, eps = {front.eps:g} it stops at "
        f"{rounded(100 * (fair + short), 1)} % worst error; {rounded(100 * fair, 1)} % is possible."
    )


def caption(data: Data) -> str:
    """Say what is seen."""
    sentences = (
        f"Fronts of the robust errors of linear classifiers, {data.title}: from the smallest average error "
        "(above) to equal errors of both classes, where the worst is the average (on the grey line). Thick: "
        "what Reweight reaches at some cost odds; dotted: what it jumps over. "
    )
    if not data.sizes:
        return sentences + "Theory; python -m sim.sweep --study remedies --settings 9 adds the simulation."
    return sentences + (
        f"Markers: simulation, {data.sizes}, with 95 % exact intervals; where Remargin goes too far, class "
        "-1 becomes the worst (thin). Reweight at cost odds K is not shown where it gives a constant "
        "classifier."
    )


def draw(data: Data) -> Figure:
    """Draw a panel for each radius, a front for each K."""
    radii, ratios = sorted({f.eps for f in data.fronts}), sorted({f.K for f in data.fronts})
    figure = Figure(figsize=(0.8 + 2.8 * len(radii), 4.1))
    axes = figure.subplots(1, len(radii), squeeze=False)[0]
    for front in data.fronts:
        _front_on(axes[radii.index(front.eps)], front, f"C{ratios.index(front.K) % 6}")
    for ax, eps in zip(axes, radii, strict=True):
        ax.margins(x=0.2, y=0.12)  # the names of the fronts stand to their left
        low, high = ax.get_xlim()
        ax.plot([low, high], [low, high], color="0.7", lw=0.8, zorder=0)
        ax.set(title=f"eps = {eps:g}", xlabel="average robust error (%)", xlim=(low, high))
    axes[0].set_ylabel("worst robust error (%)")
    handles = [
        Line2D([], [], color="0.3", lw=2.4, label="front, reached by Reweight"),
        Line2D([], [], color="0.3", ls=":", label="front, not reached by it"),
        Line2D([], [], color="0.3", lw=0.7, label="beyond equal errors"),
    ]
    if data.sizes:
        handles += [
            Line2D([], [], color="0.3", ls="", marker=marker, mfc="white", label=f"{name}, simulated")
            for name, marker in zip(MITIGATIONS.values(), MARKERS, strict=False)
        ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def _front_on(ax: Axes, front: Front, color: str) -> None:
    x, y = 100 * front.front.average, 100 * np.maximum(front.front.plus, front.front.minus)
    reached = np.where(front.front.reachable, y, np.nan)
    ax.plot(*(100 * front.beyond.T), color=color, lw=0.7)
    ax.plot(x, y, color=color, ls=":", lw=1.4)
    ax.plot(x, reached, color=color, lw=2.4)
    ax.annotate(f"K = {front.K:g}", (x[0], y[0]), (3, 7), textcoords="offset points", ha="right", fontsize=8)
    for rule, marker in zip(MITIGATIONS, MARKERS, strict=False):
        measured = front.points[rule]
        points(ax, measured[:, 0], measured[:, 1], color=color, marker=marker, mfc="white")
