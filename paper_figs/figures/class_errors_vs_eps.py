"""Class errors against eps: curves of theory with the simulation's counts and their intervals on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paper_figs.archive import Archive
from paper_figs.marks import points
from paper_figs.readers.simulated import (
    CHANCE,
    COUNTED,
    RULES,
    Trained,
    cells,
    each,
    sizes,
    theory_errors,
    trained,
)
from paper_figs.summary import difference, with_interval
from theory.gaussian.mixture import CLASSES

__all__ = ["CLAIMS", "COMMAND", "SECTION", "TITLE", "Data", "Panel", "caption", "compute", "draw", "finding"]

SECTION = "simulation"
TITLE = "Class errors against the radius"
CLAIMS = (
    "folklore_robust_errors_rise",
    "ours_robust_gap_grows",
    "xu2021_narrow_class_gains",
    "xu2021_wide_class_errs_more",
    "xu2021_wide_class_pays",
)
COMMAND = "python -m sim.sweep"

Key = tuple[str, str]
"""A class and a quantity."""
LOOKS: Mapping[Key, Mapping[str, Any]] = {
    (y, quantity): {"color": color, "marker": marker, "ls": line, "mfc": fill or color, "ms": size}
    for y, color, marker, size in zip(CLASSES, ("C0", "C1"), "os", (6.5, 4), strict=True)
    for quantity, line, fill in zip(COUNTED, ("--", "-"), ("white", ""), strict=True)
}


@dataclass(frozen=True)
class Panel:
    """One mixture and one way of training.

    Args:
        K: ratio of the standard deviations.
        rule: one of `RULES`.
        eps: radii of the curves, shape (m,).
        curves: theory's error of each class and quantity, shape (m,).
        points: counted (eps, error, low, high) of each class and quantity, shape (p, 4).
    """

    K: float
    rule: str
    eps: npt.NDArray[np.float64]
    curves: Mapping[Key, npt.NDArray[np.float64]]
    points: Mapping[Key, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Data:
    """Panels by rule and K, what they share, and how much was sampled."""

    title: str
    panels: tuple[Panel, ...]
    sizes: str


def compute(archive: Archive) -> list[Data]:
    """Return a set of panels for each (d, eta, sigma) among the records of the simulation.

    A classifier trained at eps is shown at eps: natural training at 0, adversarial training at its radius.

    Raises:
        InputError: a class or a quantity has no record.
    """
    shown = [r for r in trained(archive.records, RULES) if r.train_eps in (0, r.eps)]
    return [
        Data(title, tuple(map(_panel, panels)), sizes(run for cell in panels for run in cell))
        for title, panels in cells(shown, lambda run: run.mixture.K)
    ]


def _panel(runs: Sequence[Trained]) -> Panel:
    """Return the panel of one mixture and one way of training."""
    counted: dict[Key, set[tuple[float, ...]]] = {}
    for run in runs:
        for quantity in COUNTED:  # without an adversary the robust error is the natural error
            triples = each(run.errors, quantity if run.train_eps else "natural_error")
            for label, triple in zip(CLASSES, triples, strict=True):
                counted.setdefault((label, quantity), set()).add((run.train_eps, *triple))
    rule, mixture = runs[0].setting["rule"], runs[0].mixture
    largest = max(run.train_eps for run in runs)
    eps = np.linspace(0, min(0.98 * mixture.eta, 1.25 * largest + 1e-9), 41)
    errors = np.array([theory_errors(rule, mixture, float(e)) for e in eps])  # (m, quantity, class)
    curves = {(y, q): errors[:, j, i] for i, y in enumerate(CLASSES) for j, q in enumerate(COUNTED)}
    return Panel(mixture.K, rule, eps, curves, {k: np.array(sorted(v)) for k, v in counted.items()})


def finding(data: Data) -> str:
    """Return where the wide class has the larger robust error, and the largest difference."""
    rows = [
        (panel.K, plus[0], 100 * plus[1:], 100 * minus[1:])
        for panel in data.panels
        for plus, minus in zip(*(panel.points[y, "robust_error"] for y in CLASSES), strict=True)
        if panel.K > 1 and plus[0] > 0
    ]
    if not rows:
        return "Simulation: no classifier that is trained adversarially at K > 1 is shown."
    more = sum(difference(plus, minus) > 0 for *_, plus, minus in rows)
    K, eps, plus, minus = max(rows, key=lambda row: abs(row[2][0] - row[3][0]))
    return (
        f"Simulation: the wide class errs more under attack in {more} of {len(rows)} settings, "
        f"at K = {K:g}, eps = {eps:g} on {with_interval(plus)} against {with_interval(minus)}."
    )


def caption(data: Data) -> str:
    """Say what is seen."""
    return (
        f"Class errors of linear classifiers trained at radius eps, {data.title}; at K = 1 the classes "
        "coincide. Lines: theory; markers: errors of the simulation with 95 % exact intervals, "
        f"{data.sizes}. {CHANCE}"
    )


def draw(data: Data) -> Figure:
    """Draw a row of panels for each rule, a column for each K."""
    rules = list(dict.fromkeys(p.rule for p in data.panels))
    ratios = sorted({p.K for p in data.panels})
    figure = Figure(figsize=(1.2 + 2.3 * len(ratios), 0.9 + 2.2 * len(rules)))
    axes = figure.subplots(len(rules), len(ratios), sharex=True, sharey=True, squeeze=False)
    for panel in data.panels:
        ax = axes[rules.index(panel.rule), ratios.index(panel.K)]
        for (y, quantity), style in LOOKS.items():
            ax.plot(panel.eps, 100 * panel.curves[y, quantity], color=style["color"], ls=style["ls"])
            measured = panel.points[y, quantity]
            points(ax, measured[:, 0], measured[:, 1:], **style | {"ls": ""})
    for ax, K in zip(axes[0], ratios, strict=True):
        ax.set_title(f"K = {K:g}")
    for row, rule in enumerate(rules):
        axes[row, 0].set_ylabel(RULES[rule].replace(" (", "\n(") + "\nerror (%)")
    for ax in axes[-1]:
        ax.set_xlabel("training radius eps")
    names = {key: f"class {key[0]}, {key[1].replace('_', ' ')}" for key in LOOKS}
    handles = [Line2D([], [], label=names[key], **style) for key, style in LOOKS.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure
