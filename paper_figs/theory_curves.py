"""Class errors against eps: curves of theory with the simulation's counts and their intervals on them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from scipy.special import ndtr

from theory.errors import exact_interval
from theory.inputs import InputError
from theory.mixture import CLASSES, GaussianMixture
from theory.optimal import optimal_classifier
from theory.record import Record
from theory.surrogate import logistic_optimum

__all__ = ["RULES", "Curves", "Panel", "compute", "draw"]

RULES = {"threshold": "0/1 optimum (closed form)", "logistic": "logistic training (population minimiser)"}
QUANTITIES = ("natural_error", "robust_error")
Key = tuple[str, str]
"""A class and a quantity."""


@dataclass(frozen=True)
class Panel:
    """One mixture and one way of training.

    Args:
        K: ratio of the standard deviations.
        rule: key of `RULES`.
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
class Curves:
    """Panels by rule and K, and what they share."""

    title: str
    panels: tuple[Panel, ...]


def compute(records: Iterable[Record]) -> list[Curves]:
    """Return a set of panels for each (d, eta, sigma) among the records of the simulation.

    A classifier trained at eps is shown at eps: natural training at 0, adversarial training at its
    radius.
    """
    groups: dict[tuple[int, float, float], dict[tuple[str, float], list[Record]]] = {}
    for record in records:
        s = record.setting
        if record.source != "sim" or record.label not in CLASSES or record.quantity not in QUANTITIES:
            continue
        if s["rule"] not in RULES:
            raise InputError(f"setting.rule must be one of {', '.join(RULES)}, got {s['rule']}")
        own_radius = s["eps"] == s["train_eps"] or (
            s["train_eps"] == 0 and record.quantity == "natural_error"
        )
        if own_radius:
            key = (s["dim"], s["eta"], s["sigma"])
            groups.setdefault(key, {}).setdefault((s["rule"], s["K"]), []).append(record)
    return [
        Curves(
            f"d = {d}, eta = {eta:g}, sigma = {sigma:g}",
            tuple(
                _panel(rule, GaussianMixture(dim=d, eta=eta, sigma=sigma, K=K), cell)
                for (rule, K), cell in sorted(
                    cells.items(), key=lambda item: (list(RULES).index(item[0][0]), item[0][1])
                )
            ),
        )
        for (d, eta, sigma), cells in groups.items()
    ]


def _panel(rule: str, mixture: GaussianMixture, records: list[Record]) -> Panel:
    """Return the panel of one mixture and one way of training.

    Raises:
        InputError: a class or a quantity has no record.
    """
    points: dict[Key, set[tuple[float, int, int]]] = {}
    for record in records:
        where = record.setting["train_eps"]
        points.setdefault((record.label, record.quantity), set()).add(
            (where, record.errors or 0, record.n or 1)
        )
        if where == 0:  # without an adversary the robust error is the natural error
            points.setdefault((record.label, "robust_error"), set()).add(
                (0.0, record.errors or 0, record.n or 1)
            )
    missing = [f"{q} of class {y}" for y in CLASSES for q in QUANTITIES if (y, q) not in points]
    if missing:
        raise InputError(
            f"the simulation at K = {mixture.K:g}, {rule}, has no record of {', '.join(missing)}"
        )
    counted = {
        k: np.array([(e, c / n, *exact_interval(c, n)) for e, c, n in sorted(v)]) for k, v in points.items()
    }
    eps = np.linspace(
        0, min(0.98 * mixture.eta, 1.25 * max(p[:, 0].max() for p in counted.values()) + 1e-9), 60
    )
    errors = np.array([_errors(rule, mixture, float(e)) for e in eps])  # (m, quantity, class)
    curves = {(y, q): errors[:, j, i] for i, y in enumerate(CLASSES) for j, q in enumerate(QUANTITIES)}
    return Panel(mixture.K, rule, eps, curves, counted)


def _errors(rule: str, mixture: GaussianMixture, eps: float) -> npt.NDArray[np.float64]:
    """Return theory's (natural, robust) x (+1, -1) errors of the classifier trained at ``eps``."""
    if rule == "logistic":
        classifier = logistic_optimum(mixture, eps).linear()
        z = [classifier.z_scores(mixture, e) for e in (0.0, eps)]
    else:
        optimum = optimal_classifier(mixture, eps)
        z = [optimum.z_scores(e) for e in (0.0, eps)]
    return np.asarray(ndtr(z))


def draw(curves: Curves) -> Figure:
    """Draw a row of panels for each rule, a column for each K."""
    rules = list(dict.fromkeys(p.rule for p in curves.panels))
    ratios = sorted({p.K for p in curves.panels})
    figure = Figure(figsize=(1.2 + 2.3 * len(ratios), 0.9 + 2.2 * len(rules)))
    axes = figure.subplots(len(rules), len(ratios), sharex=True, sharey=True, squeeze=False)
    for panel in curves.panels:
        ax = axes[rules.index(panel.rule), ratios.index(panel.K)]
        for y, color, marker in zip(CLASSES, ("C0", "C1"), "os", strict=True):
            for quantity, line, fill in zip(QUANTITIES, ("--", "-"), ("white", color), strict=True):
                label = f"class {y}, {quantity.replace('_', ' ')}"
                ax.plot(panel.eps, 100 * panel.curves[y, quantity], color=color, ls=line, label=label)
                x, value, low, high = panel.points[y, quantity].T
                ax.errorbar(
                    x,
                    100 * value,
                    100 * np.array([value - low, high - value]),
                    color=color,
                    ls="",
                    marker=marker,
                    ms=4,
                    mfc=fill,
                )
        ax.set_title(f"K = {panel.K:g}")
    for row, rule in enumerate(rules):
        axes[row, 0].set_ylabel(RULES[rule].replace(" (", "\n(") + "\nerror (%)")
    for ax in axes[-1]:
        ax.set_xlabel("training radius eps")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4)
    return figure
