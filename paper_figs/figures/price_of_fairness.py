"""Price of fairness: what equal robust errors cost on average, against K and the margin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.special import log_ndtr

from paper_figs.archive import Archive
from paper_figs.marks import LINES, MARKERS, points
from paper_figs.readers.simulated import BOTH, MITIGATIONS, Trained, average, between, sizes, trained
from paper_figs.summary import with_interval
from theory.gaussian.fairness import fair_error, price_of_fairness
from theory.gaussian.optimal import optimal_z_scores

__all__ = [
    "CLAIMS",
    "COMMAND",
    "SECTION",
    "TITLE",
    "Data",
    "caption",
    "compute",
    "draw",
    "finding",
    "limit",
    "ratio",
]

SECTION = "theory"
TITLE = "Price of fairness"
CLAIMS = ("ours_price_of_fairness", "ours_price_ratio")
COMMAND = ""

Array = npt.NDArray[np.float64]

MARGINS, RATIOS = (0.5, 1.0, 2.0, 4.0), (1.5, 2.0, 3.0, 6.0)
"""Margins m / sigma and ratios K of the curves where there are no points."""


@dataclass(frozen=True)
class Data:
    """Curves, and points of the simulation if there are any; m is in units of sigma.

    Args:
        K: ratios of the first panel's axis, shape (p,).
        m: margins of the other panels' axis, shape (q,).
        over_K: for each margin the price, shape (p,).
        over_m: for each K the price, shape (q,).
        ratios: for each K the fair error over the smallest average error, shape (q,).
        limits: for each K the ratio at large margins.
        points: counted (K, m, price, low, high, ratio, low, high), shape (n, 8).
        sizes: how much was sampled.
    """

    K: Array
    m: Array
    over_K: Mapping[float, Array]
    over_m: Mapping[float, Array]
    ratios: Mapping[float, Array]
    limits: Mapping[float, float]
    points: Array
    sizes: str


def ratio(margin: npt.ArrayLike, K: npt.ArrayLike) -> Array:
    """Return the fair error over the smallest average error, at sigma = 1; all arguments broadcast."""
    smallest = np.logaddexp(*log_ndtr(optimal_z_scores(margin, 1.0, K))) - np.log(2)
    return np.asarray(np.exp(fair_error(margin, 1.0, K, log=True) - smallest))


def limit(K: float) -> float:
    """Return 2 K^(K/(K+1)) / (K + 1), the `ratio` at large margins (ours)."""
    return float(2 * K ** (K / (K + 1)) / (K + 1))


def compute(archive: Archive) -> list[Data]:
    """Return the curves at the margins and ratios of the simulation, or at fixed ones where there is none."""
    runs = trained(archive.records, MITIGATIONS)
    pairs = _pairs(runs)
    counted = np.array([_point(fair, best) for fair, best in pairs]).reshape(-1, 8)
    margins = sorted({*np.round(counted[:, 1], 6).tolist()}) or MARGINS
    ratios = sorted({*counted[:, 0].tolist()}) or RATIOS
    K, m = np.linspace(1, 1.2 * max(ratios), 80), np.linspace(0.05, 6, 120)
    return [
        Data(
            K=K,
            m=m,
            over_K={margin: price_of_fairness(margin, 1.0, K) for margin in margins},
            over_m={k: price_of_fairness(m, 1.0, k) for k in ratios},
            ratios={k: ratio(m, k) for k in ratios},
            limits={k: limit(k) for k in ratios},
            points=counted,
            sizes=sizes(run for pair in pairs for run in pair) if pairs else "",
        )
    ]


def _pairs(runs: Sequence[Trained]) -> list[tuple[Trained, Trained]]:
    """Return the classifier of equal errors and the best one of each mixture, radius and seed."""
    by_setting: dict[tuple[object, ...], dict[str, Trained]] = {}
    for run in runs:
        key = run.mixture, run.eps, run.seed
        if run.setting["rule"] == "equal" or (run.setting["rule"], run.setting["cost_odds"]) == (
            "reweight",
            1,
        ):
            by_setting.setdefault(key, {})[run.setting["rule"]] = run
    return [(pair["equal"], pair["reweight"]) for pair in by_setting.values() if len(pair) == 2]


def _point(fair: Trained, best: Trained) -> Array:
    """Return a row of `Data.points`; both intervals of the averages hold with 95 %."""
    mixture = fair.mixture
    margin = mixture.dim**0.5 * (mixture.eta - fair.eps) / mixture.sigma
    first, second = (average(run.errors, "robust_error", BOTH) for run in (fair, best))
    quotient = first / np.maximum(second[[0, 2, 1]], 1e-12)
    return np.array([mixture.K, margin, *between(first, second), *quotient])


def finding(data: Data) -> str:
    """Return the largest price that is counted, or else the largest of the curves."""
    if len(data.points):
        K, margin, *price = data.points[data.points[:, 2].argmax(), :5]
        price, source = 100 * np.array(price), "Simulation"
        none = price[1] <= 0
    else:
        margin, curve = max(data.over_K.items(), key=lambda item: float(item[1].max()))
        K, price = data.K[curve.argmax()], np.array([100 * curve.max(), np.nan, np.nan])
        source, none = "Theory", curve.max() <= 0
    costs = "do not cost more than noise" if none else "cost most"
    points = with_interval(price, " points")
    return (
        f"{source}: equal robust errors {costs} at K = {K:g}, m / sigma = {margin:.3g}: {points} on average."
    )


def caption(data: Data) -> str:
    """Say what is seen."""
    sentences = (
        "Price of fairness: by how much the average robust error of the linear classifier with equal robust "
        "errors exceeds the smallest one, and the ratio of the two, with its limit 2 K^(K/(K+1)) / (K + 1) "
        "for large margins m (dotted). "
    )
    if not len(data.points):
        return sentences + "Theory; python -m sim.sweep --study remedies --settings 9 adds the simulation."
    return sentences + (
        f"Lines: theory; markers: simulation, {data.sizes}, with intervals of at least 95 % from the exact "
        "ones of both averages; they do not hold the chance of training."
    )


def draw(data: Data) -> Figure:
    """Draw the price against K, the price and the ratio against the margin."""
    figure = Figure(figsize=(8.8, 3.3))
    left, middle, right = figure.subplots(1, 3)  # right: a ratio, not percent
    _curves(left, data.K, data.over_K, "m/sigma = {:.3g}", data.points[:, [1, 0, 2, 3, 4]])
    _curves(middle, data.m, data.over_m, "K = {:g}", data.points[:, [0, 1, 2, 3, 4]])
    _curves(right, data.m, data.ratios, "K = {:g}", data.points[:, [0, 1, 5, 6, 7]], scale=1)
    for i, value in enumerate(data.limits.values()):
        right.axhline(value, color=f"C{i % 6}", ls=":", lw=1)
    left.set(xlabel="K, ratio of standard deviations", ylabel="price of fairness (percentage points)")
    middle.set(xlabel="robust margin m / sigma", ylabel="price of fairness (percentage points)")
    right.set(xlabel="robust margin m / sigma", ylabel="fair error / smallest average error")
    return figure


def _curves(
    ax: Axes, x: Array, curves: Mapping[float, Array], label: str, measured: Array, *, scale: float = 100
) -> None:
    """Draw a family of curves with its points, rows of (member, x, value, low, high)."""
    handles = []
    for i, (member, y) in enumerate(curves.items()):
        color, line, marker = f"C{i % 6}", LINES[i % len(LINES)], MARKERS[i % len(MARKERS)]
        ax.plot(x, scale * y, color=color, ls=line)
        of_member = measured[np.isclose(measured[:, 0], member)]
        points(ax, of_member[:, 1], scale / 100 * of_member[:, 2:], color=color, marker=marker)
        handles.append(Line2D([], [], color=color, ls=line, marker=marker, label=label.format(member)))
        if not len(of_member):
            handles[-1].set_marker("")
    ax.legend(handles=handles)
