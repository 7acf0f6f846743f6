"""Class errors that Reweight and Remargin reach, in the plane of both class errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.special import ndtr, ndtri

from paper_figs.archive import Archive
from paper_figs.marks import arms
from paper_figs.readers.simulated import COUNTED, MITIGATIONS, Trained, each, sizes, trained
from theory.gaussian.fairness import bias_z_scores, reachable_bias
from theory.gaussian.mixture import GaussianMixture
from theory.gaussian.optimal import optimal_bias
from theory.gaussian.problem import Problem, Uniform

__all__ = [
    "CLAIMS",
    "COMMAND",
    "SECTION",
    "TITLE",
    "Data",
    "Panel",
    "caption",
    "compute",
    "draw",
    "finding",
    "remargin_biases",
]

SECTION = "theory"
TITLE = "What Reweight and Remargin reach"
CLAIMS = ("folklore_reweighting_always_reaches", "ours_impossibility")
COMMAND = ""

Array = npt.NDArray[np.float64]

MIXTURE, RATIOS, EPS = GaussianMixture(dim=20, eta=0.4, sigma=1.0, K=2.0), (1.5, 2.0, 3.0), 0.16
"""What is drawn where there is no simulation."""
MARKS = {"natural": "o", "robust": "s", "fair_natural": "^", "fair_robust": "D"}
SIMULATED = {"reweight": "X", "remargin": "P", "equal": "*"}
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
EDGES = -2.5, 0.35
"""Normal quantiles that are drawn, errors from 0.6 % to 64 %: those beyond are put on the edge."""


@dataclass(frozen=True)
class Panel:
    """One mixture and one kind of error; all errors are pairs of (+1, -1).

    Args:
        K: ratio of the standard deviations.
        quantity: natural_error or robust_error.
        all: errors of every bias along the best direction, shape (n, 2).
        reweight: those optimal at some cost odds, up to the jump to the constant (0, 1), shape (n, 2).
        remargin: those that are optimal at some class radii, shape (n, 2).
        marks: errors of each classifier of `MARKS`.
        points: counted, for each of `SIMULATED`, (error, low, high) of both classes, shape (p, 2, 3).
    """

    K: float
    quantity: str
    all: Array
    reweight: Array
    remargin: Array
    marks: Mapping[str, tuple[float, float]]
    points: Mapping[str, Array]


@dataclass(frozen=True)
class Data:
    """Panels by kind of error and K, what they share, and how much was sampled."""

    title: str
    panels: tuple[Panel, ...]
    sizes: str


def compute(archive: Archive) -> list[Data]:
    """Return the panels at the middle radius of the simulation, or of a fixed mixture where there is none.

    Raises:
        InputError: a mixture has K <= 1, where Reweight does not jump.
    """
    groups: dict[tuple[int, float, float], list[Trained]] = {}
    for run in trained(archive.records, MITIGATIONS):
        groups.setdefault((run.mixture.dim, run.mixture.eta, run.mixture.sigma), []).append(run)
    if not groups:
        return [_data([replace(MIXTURE, K=K) for K in RATIOS], EPS, [])]
    panels = []
    for runs in groups.values():
        radii = sorted({run.eps for run in runs})
        shown = [run for run in runs if run.eps == radii[len(radii) // 2]]
        mixtures = sorted({run.mixture for run in shown}, key=lambda mixture: mixture.K)
        panels.append(_data(mixtures, shown[0].eps, shown))
    return panels


def _data(mixtures: Sequence[GaussianMixture], eps: float, runs: Sequence[Trained]) -> Data:
    m = mixtures[0]
    panels = [
        _panel(mixture, eps, quantity, [run for run in runs if run.mixture == mixture])
        for quantity in COUNTED
        for mixture in mixtures
    ]
    title = f"d = {m.dim}, eta = {m.eta:g}, sigma = {m.sigma:g}, eps = {eps:g}"
    return Data(title, tuple(panels), sizes(runs) if runs else "")


def _panel(mixture: GaussianMixture, eps: float, quantity: str, runs: Sequence[Trained]) -> Panel:
    problem = Problem(theta=Uniform(mixture.dim, mixture.eta), sigma=mixture.sigma, K=mixture.K)
    direction, radius = problem.direction(eps), eps if quantity == "robust_error" else 0.0
    wide = mixture.K * mixture.sigma
    jump = float(reachable_bias(direction.margin, mixture.sigma, mixture.K)[0])
    low, high = (sign * (direction.mu + 5 * wide) for sign in (-1, 1))
    spans = {"all": (low, high), "reweight": (low, jump), "remargin": remargin_biases(mixture)}
    curves = {}
    for name, (first, last) in spans.items():
        z = bias_z_scores(
            np.linspace(first, last, 400), direction.mu - radius * direction.rho, mixture.sigma, mixture.K
        )
        curves[name] = np.stack([ndtr(v) for v in z], axis=1)
    solutions = problem.classifiers(eps)
    marks = {name: solutions[name].z_scores(radius) for name in MARKS}
    return Panel(
        K=mixture.K,
        quantity=quantity,
        marks={name: (float(ndtr(z[0])), float(ndtr(z[1]))) for name, z in marks.items()},
        points={
            rule: np.array([each(r.errors, quantity) for r in runs if r.setting["rule"] == rule]).reshape(
                -1, 2, 3
            )
            for rule in SIMULATED
        },
        **curves,
    )


def remargin_biases(mixture: GaussianMixture) -> tuple[float, float]:
    """Return the smallest and the largest bias that is optimal at class radii with a mean of at most eta.

    The direction is 1 / sqrt(d) at all of them. The bias depends continuously on the radii, so that all
    between are reached.
    """
    rho = mixture.dim**0.5
    mean, apart = np.meshgrid(np.linspace(0, mixture.eta, 401), [-1.0, 1.0])  # one radius is 0 at the ends
    bias = apart * mean * rho + optimal_bias(rho * (mixture.eta - mean), mixture.sigma, mixture.K)
    return float(bias.min()), float(bias.max())


def finding(data: Data) -> str:
    """Return at which K each mitigation reaches equal robust errors."""
    panels = [p for p in data.panels if p.quantity == "robust_error"]
    said = []
    for name in ("reweight", "remargin"):
        reached = [p.K for p in panels if _reaches(getattr(p, name), p.marks["fair_robust"])]
        missed = [p.K for p in panels if p.K not in reached]
        parts = [("at K = ", reached), ("not at ", missed)]
        ratios = [start + ", ".join(f"{K:g}" for K in several) for start, several in parts if several]
        said.append(f"by {MITIGATIONS[name]} {', '.join(ratios)}")
    return f"Theory: equal robust errors are reached {'; '.join(said)}."


def _reaches(errors: Array, fair: tuple[float, float]) -> bool:
    """Return whether a curve of both class errors goes through equal ones; one falls as the other rises."""
    return bool(errors[:, 0].min() <= fair[0] <= errors[:, 0].max())


def caption(data: Data) -> str:
    """Say what is seen."""
    sentences = (
        f"Errors of both classes that linear classifiers can have, {data.title}: natural above, robust "
        "below. Thin: every bias along the best direction, a line on these axes of normal quantiles. Dark: "
        "what Reweight reaches by its cost odds; dotted: its jump to the classifier that always answers +1, "
        "at the corner. Broad: what Remargin reaches by class radii with a mean up to eta. Large markers: "
        "the natural and the robust optimum and the classifiers with equal natural and with equal robust "
        "errors; equal errors lie on the diagonal. "
    )
    if not data.sizes:
        return sentences + "Theory; python -m sim.sweep --study remedies --settings 9 adds the simulation."
    return (
        sentences
        + f"Small markers: simulation, {data.sizes}, with 95 % exact intervals, mostly smaller than they."
    )


def draw(data: Data) -> Figure:
    """Draw a row of panels for each kind of error, a column for each K."""
    ratios = sorted({p.K for p in data.panels})
    figure = Figure(figsize=(0.8 + 2.9 * len(ratios), 7.0))
    axes = figure.subplots(len(COUNTED), len(ratios), sharex=True, sharey=True, squeeze=False)
    for panel in data.panels:
        ax = axes[COUNTED.index(panel.quantity), ratios.index(panel.K)]
        _panel_on(ax, panel)
    for ax, K in zip(axes[0], ratios, strict=True):
        ax.set_title(f"K = {K:g}")
    for row, quantity in zip(axes, COUNTED, strict=True):
        row[0].set_ylabel(f"{quantity.replace('_', ' ')} of class -1 (%)")
        for ax in row:
            ax.set_xlabel(f"{quantity.replace('_', ' ')} of class +1 (%)")
    figure.legend(handles=_handles(bool(data.sizes)), loc="outside upper center", ncols=3)
    return figure


BROAD = {"color": "C1", "lw": 7, "alpha": 0.5, "solid_capstyle": "butt"}
DARK = {"color": "C0", "lw": 2.2}
THIN = {"color": "0.35", "lw": 0.8}
COUNTED_LOOK = {"color": "C5", "ls": "", "ms": 7.5, "mec": "white", "mew": 0.6}
JUMP = {"color": "C0", "lw": 1.2, "ls": ":"}


def _panel_on(ax: Axes, panel: Panel) -> None:
    """Draw one panel on axes of normal quantiles, on which the classifiers of a direction are a line."""
    ax.set(xlim=EDGES, ylim=EDGES, aspect="equal")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(ndtri(TICKS), [f"{100 * t:g}" for t in TICKS])
    ax.plot(EDGES, EDGES, color="0.8", lw=0.8, zorder=0)
    for errors, style in ((panel.remargin, BROAD), (panel.all, THIN), (panel.reweight, DARK)):
        ax.plot(*ndtri(errors).T, **style)
    jump = ndtri(panel.reweight[-1])
    if (jump == np.clip(jump, *EDGES)).all():
        ax.annotate("", EDGES, jump, arrowprops=JUMP | {"arrowstyle": "->"})
        ax.annotate("always +1", EDGES, (10, 3), textcoords="offset points", color="C0", fontsize=8)
    for name, marker in MARKS.items():
        ax.plot(*ndtri(panel.marks[name]), marker, ms=8, mfc="white", mec="black", zorder=5)
    for rule, marker in SIMULATED.items():
        if not len(panel.points[rule]):
            continue
        x, y = np.clip(ndtri(panel.points[rule]), *EDGES).swapaxes(0, 1)
        style = COUNTED_LOOK | {"marker": marker, "zorder": 6, "capsize": 0, "clip_on": False}
        ax.errorbar(x[:, 0], y[:, 0], arms(y), arms(x), **style)


def _handles(simulated: bool) -> list[Line2D]:
    """Return the lines and markers of the legend."""
    lines = {"every bias": THIN, "Reweight": DARK, "jump of Reweight": JUMP, "Remargin": BROAD}
    shapes = {"natural": "natural optimum", "robust": "robust optimum"}
    shapes |= {"fair_natural": "equal natural errors", "fair_robust": "equal robust errors"}
    handles = [Line2D([], [], label=label, **style) for label, style in lines.items()]
    handles += [
        Line2D([], [], ls="", marker=MARKS[k], ms=8, mfc="white", mec="black", label=v)
        for k, v in shapes.items()
    ]
    if simulated:
        handles += [
            Line2D([], [], **COUNTED_LOOK, marker=marker, label=f"{MITIGATIONS[rule]}, simulated")
            for rule, marker in SIMULATED.items()
        ]
    return handles
