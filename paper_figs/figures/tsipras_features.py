"""Weights of linear classifiers against the correlation of their features with the label, on real images."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.archive import Archive
from paper_figs.readers.feature_reliance import PARTS, TRAININGS, FeatureReliance
from paper_figs.summary import overlap, with_interval
from theory.results.counts import exact_interval

__all__ = ["COMMAND", "SECTION", "TITLE", "Data", "caption", "compute", "draw", "finding"]

SECTION = "simulation"
TITLE = "Features that linear classifiers lean on"
COMMAND = "python -m sim.features --data-dir DIR --pair 5 6"

Array = npt.NDArray[np.float64]

BOUNDS = (0.1, 0.3)
"""Absolute correlations that part weak, middle and strong features, as in sim.features."""


@dataclass(frozen=True)
class Data:
    """One run; the dictionaries are by training, "natural" and "adversarial".

    Args:
        title: data and classes.
        eps: radius of adversarial training, as text.
        correlation: of each feature that varies with the label, shape (d,).
        weights: as shares of ||w||_1, with their signs, shape (d,).
        shares: of ||w||_1 on weak, middle and strong features, with half a 95 % interval, shape (3, 2).
        errors: (radius, error, low, high) on test images, shape (radii, 4).
        n: test images.
        resamples: trainings behind the intervals of the shares.
    """

    title: str
    eps: str
    correlation: Array
    weights: Mapping[str, Array]
    shares: Mapping[str, Array]
    errors: Mapping[str, Array]
    n: int
    resamples: int


def compute(archive: Archive) -> list[Data]:
    """Return the figure of each run."""
    return [_data(run) for run in archive.reliance]


def _data(run: FeatureReliance) -> Data:
    varies = run.correlation != 0
    first, second = run.settings["pair"]
    return Data(
        title=f"{run.settings['data']}, {first} against {second}",
        eps=str(run.settings["eps"]),
        correlation=run.correlation[varies],
        weights={t: w[varies] / np.abs(w).sum() for t, w in run.weights.items()},
        shares={t: values * [1, 1.96] for t, values in run.shares.items()},
        errors={
            t: np.column_stack([rows[:, 0], rows[:, 1] / rows[:, 2], exact_interval(rows[:, 1], rows[:, 2])])
            for t, rows in run.errors.items()
        },
        n=int(run.errors["natural"][0, 2]),
        resamples=int(run.settings["resamples"]),
    )


def finding(data: Data) -> str:
    """Return the shares of the weights that strong features have under both trainings."""
    shares = {}
    for training in TRAININGS:
        share, half = 100 * data.shares[training][-1]
        shares[training] = np.array([share, max(share - half, 0), min(share + half, 100)])
    natural, adversarial = (shares[t] for t in ("natural", "adversarial"))
    return (
        f"{data.title}: strong features have {with_interval(natural)} of ||w||_1 in natural, "
        f"{with_interval(adversarial)} in adversarial training{overlap(natural, adversarial)}."
    )


def caption(data: Data) -> str:
    """Say what is seen."""
    errors = "; ".join(f"{t} training {_said(data.errors[t], data.eps)}" for t in TRAININGS)
    used = {t: int((w != 0).sum()) for t, w in data.weights.items()}
    return (
        f"Sizes of the weights of logistic classifiers on {data.title}, against the correlation of each of "
        f"the {len(data.correlation)} pixels that vary with the label, after Tsipras et al. (2019). Natural "
        f"training has {used['natural']} weights that are not 0, adversarial training at eps = {data.eps} "
        f"has {used['adversarial']}; weak features, with a correlation below {BOUNDS[0]}, are shaded. "
        "Filled: the weight has the sign of the correlation; open: the other sign. Bars: share of ||w||_1, "
        f"with 1.96 standard deviations over {data.resamples} trainings on resampled images. Errors on "
        f"{data.n} test images with 95 % exact intervals: {errors}."
    )


def _said(rows: Array, eps: str) -> str:
    """Return the natural error, and the robust one at the radius of training."""
    parts = []
    for row, name in ((rows[0], "natural"), (rows[2], f"robust at eps = {eps}")):
        parts.append("{} {:.1f} % [{:.1f}, {:.1f}]".format(name, *(100 * row[1:])))
    return ", ".join(parts)


def draw(data: Data) -> Figure:
    """Draw the weights of both trainings, and their shares by the strength of the features."""
    figure = Figure(figsize=(8.8, 3.2))
    *left, right = figure.subplots(1, 3)
    left[1].sharey(left[0])
    for ax, training, color, marker in zip(left, TRAININGS, ("C0", "C1"), "o^", strict=True):
        _scatter(ax, data, training, color, marker)
    left[0].set_ylabel("|weight| (% of ||w||_1)")
    left[0].legend(title="sign of the correlation", loc="upper left")
    for i, (training, hatch) in enumerate(zip(TRAININGS, ("", "//"), strict=True)):
        share, half = 100 * data.shares[training].T
        arms = [np.minimum(half, share), np.minimum(half, 100 - share)]
        where = np.arange(len(PARTS)) + 0.38 * (i - 0.5)
        style = {"hatch": hatch, "edgecolor": "white", "linewidth": 0}
        right.bar(where, share, 0.38, yerr=arms, error_kw={"lw": 0.8}, label=training, **style)
    low, high = BOUNDS
    names = f"weak\n< {low}", f"middle\n{low} to {high}", f"strong\n>= {high}"
    right.set_xticks(range(len(PARTS)), names)
    right.set(ylabel="share of ||w||_1 (%)", xlabel="features by |correlation|", ylim=(0, 105))
    right.legend(title="training", loc="upper left")
    return figure


def _scatter(ax: Axes, data: Data, training: str, color: str, marker: str) -> None:
    """Draw one classifier: sizes of its weights, filled where they have the sign of the correlation."""
    weights, strength = data.weights[training], np.abs(data.correlation)
    along = weights * data.correlation > 0
    style = {"ls": "", "marker": marker, "ms": 4, "color": color, "mew": 0.7}
    for part, fill, label in ((along, color, "along it"), (~along & (weights != 0), "white", "against it")):
        ax.plot(strength[part], 100 * np.abs(weights[part]), mfc=fill, label=label, **style)
    none = weights == 0
    ax.plot(strength[none], weights[none], ls="", marker="|", ms=5, color="0.4")
    ax.axvspan(0, BOUNDS[0], color="0.9", zorder=0)
    ax.set_yscale("symlog", linthresh=0.01, linscale=0.5)
    ax.set_yticks([0, 0.01, 0.1, 1, 10], ["0", "0.01", "0.1", "1", "10"])
    ax.set(
        title=f"{training} training", xlabel="|correlation| with the label", xlim=(0, None), ylim=(-0.002, 15)
    )
