"""Gap of the class errors against K: of natural training, and natural and robust of adversarial training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paper_figs.archive import Archive
from paper_figs.marks import LINES, MARKERS, points
from paper_figs.readers.simulated import CHANCE, RULES, Trained, cells, gap, sizes, theory_errors, trained
from paper_figs.summary import difference, with_interval
from theory.gaussian.mixture import GaussianMixture

__all__ = [
    "CLAIMS",
    "COMMAND",
    "GAPS",
    "SECTION",
    "TITLE",
    "Data",
    "Panel",
    "caption",
    "compute",
    "draw",
    "finding",
]

SECTION = "simulation"
TITLE = "Gap between the classes against K"
CLAIMS = ("ours_robust_gap_grows", "xu2021_wide_class_errs_more")
COMMAND = "python -m sim.sweep"

GAPS = {
    "natural": "natural error of natural training",
    "adversarial": "natural error of adversarial training",
    "robust": "robust error of adversarial training",
}


@dataclass(frozen=True)
class Panel:
    """One radius and one way of training.

    Args:
        eps: radius of adversarial training and of the robust errors.
        rule: one of `RULES`.
        K: ratios of the curves, shape (m,).
        curves: theory's error of class +1 less that of class -1, for each of `GAPS`, shape (m,).
        points: counted (K, gap, low, high) for each of `GAPS`, shape (p, 4).
    """

    eps: float
    rule: str
    K: npt.NDArray[np.float64]
    curves: Mapping[str, npt.NDArray[np.float64]]
    points: Mapping[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Data:
    """Panels by rule and radius, what they share, and how much was sampled."""

    title: str
    panels: tuple[Panel, ...]
    sizes: str


def compute(archive: Archive) -> list[Data]:
    """Return a set of panels for each (d, eta, sigma) among the records of the simulation."""
    shown = [
        r for r in trained(archive.records, RULES) if r.train_eps in (0, r.eps) and 0 < r.eps < r.mixture.eta
    ]
    return [
        Data(title, tuple(map(_panel, panels)), sizes(run for cell in panels for run in cell))
        for title, panels in cells(shown, lambda run: run.eps)
    ]


def _panel(runs: Sequence[Trained]) -> Panel:
    """Return the panel of one radius and one way of training."""
    rule, eps = runs[0].setting["rule"], runs[0].eps
    counted: dict[str, list[list[float]]] = {name: [] for name in GAPS}
    for run in sorted(runs, key=lambda run: run.mixture.K):
        adversarial = {"adversarial": "natural_error", "robust": "robust_error"}
        for name, quantity in (adversarial if run.train_eps else {"natural": "natural_error"}).items():
            counted[name].append([run.mixture.K, *gap(run.errors, quantity)])
    ratios = [run.mixture.K for run in runs]
    K = np.linspace(min(1.0, *ratios), 1.15 * max(ratios), 41)
    gaps = np.array([_gaps(rule, replace(runs[0].mixture, K=float(k)), eps) for k in K])
    measured = {name: np.array(rows).reshape(-1, 4) for name, rows in counted.items()}
    return Panel(eps, rule, K, dict(zip(GAPS, gaps.T, strict=True)), measured)


def _gaps(rule: str, mixture: GaussianMixture, eps: float) -> list[float]:
    """Return theory's gap for each of `GAPS`."""
    rows = [theory_errors(rule, mixture, 0.0)[0], *theory_errors(rule, mixture, eps)]
    return [float(plus - minus) for plus, minus in rows]


def finding(data: Data) -> str:
    """Return where adversarial training widens the gap of the natural errors, and the largest change."""
    rows = [
        (panel.eps, natural[0], 100 * natural[1:], 100 * adversarial[1:])
        for panel in data.panels
        for natural, adversarial in zip(panel.points["natural"], panel.points["adversarial"], strict=False)
        if natural[0] == adversarial[0] > 1
    ]
    if not rows:
        return "Simulation: no gap at K > 1 is shown of both natural and adversarial training."
    wider = sum(difference(after, before) > 0 for *_, before, after in rows)
    eps, K, before, after = max(rows, key=lambda row: abs(row[3][0] - row[2][0]))
    return (
        f"Simulation: adversarial training widens the gap in {wider} of {len(rows)} settings, "
        f"{with_interval(before, '')} to {with_interval(after, ' points')} at K = {K:g}, eps = {eps:g}."
    )


def caption(data: Data) -> str:
    """Say what is seen."""
    return (
        f"Error of class +1, which has K times the deviation, less that of class -1, for linear classifiers, "
        f"{data.title}. Adversarial training widens the natural gap. Lines: theory; markers: simulation, "
        f"{data.sizes}, with intervals of at least 95 % from the exact ones of both classes. {CHANCE}"
    )


def draw(data: Data) -> Figure:
    """Draw a row of panels for each rule, a column for each radius."""
    rules = list(dict.fromkeys(p.rule for p in data.panels))
    radii = sorted({p.eps for p in data.panels})
    figure = Figure(figsize=(1.2 + 2.5 * len(radii), 0.9 + 2.2 * len(rules)))
    axes = figure.subplots(len(rules), len(radii), sharex=True, sharey=True, squeeze=False)
    for panel in data.panels:
        ax = axes[rules.index(panel.rule), radii.index(panel.eps)]
        for i, name in enumerate(GAPS):
            ax.plot(panel.K, 100 * panel.curves[name], color=f"C{i}", ls=LINES[i])
            measured = panel.points[name]
            points(ax, measured[:, 0], measured[:, 1:], color=f"C{i}", marker=MARKERS[i])
    for ax, eps in zip(axes[0], radii, strict=True):
        ax.set_title(f"eps = {eps:g}")
    for row, rule in enumerate(rules):
        axes[row, 0].set_ylabel(RULES[rule].replace(" (", "\n(") + "\ngap (percentage points)")
    for ax in axes[-1]:
        ax.set_xlabel("K, ratio of standard deviations")
    handles = [
        Line2D([], [], color=f"C{i}", ls=LINES[i], marker=MARKERS[i], label=label)
        for i, label in enumerate(GAPS.values())
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure
