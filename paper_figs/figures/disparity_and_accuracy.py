"""How far apart the classes are of networks that are worse for different reasons, at equal average error."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.archive import Archive
from paper_figs.marks import LINES, MARKERS
from paper_figs.summary import with_interval
from theory.results.counts import ClassErrors
from theory.results.disparity import Estimate, excess_spread, same_order, spread
from theory.results.runs import RunFiles

__all__ = ["COMMAND", "SECTION", "TITLE", "Ladders", "caption", "compute", "draw", "finding", "way_of"]

SECTION = "networks"
TITLE = "Disparity at equal accuracy"
COMMAND = "python -m deep.grid paper_figs/records/cifar10_disparity.toml"
QUANTITY = "natural_error"
ADVERSARIAL = "PGD, smaller radii"
NATURAL = {
    "label_noise": "natural, noisier labels",
    "train_per_class": "natural, fewer images",
    "epochs": "natural, fewer epochs",
}
"""What makes a natural network worse, by the setting that says so; the last where no other does."""


@dataclass(frozen=True)
class Ladders:
    """Networks by what made them worse, the best first.

    Args:
        key: name of the figure among its like.
        title: data set and network.
        averages: average natural errors of each way, shape (m,).
        spreads: standard deviations over classes, with their intervals, shape (m, 3).
        orders: share of the pairs of classes in the order of the largest radius, shape (m, 3).
        excess: of each natural way, how much farther apart the classes of PGD at the largest radius are than
            those of the natural networks at its average error; None where they have no such error.
        samples: test images of each class.
        seeds: of the runs.
    """

    key: str
    title: str
    averages: Mapping[str, npt.NDArray[np.float64]]
    spreads: Mapping[str, npt.NDArray[np.float64]]
    orders: Mapping[str, npt.NDArray[np.float64]]
    excess: Mapping[str, Estimate | None]
    samples: int
    seeds: tuple[int, ...]


def compute(archive: Archive) -> list[Ladders]:
    """Return the networks of each data set that has natural ones and some of PGD."""
    runs = sorted(archive.ladders, key=_dataset)
    groups = [(name, list(group)) for name, group in groupby(runs, _dataset)]
    return [made for name, group in groups if (made := _ladders(name, group)) is not None]


def _dataset(run: RunFiles) -> str:
    return str(run.records[0].setting["dataset"])


def way_of(run: RunFiles) -> str:
    """Return what made the network of a run worse."""
    if not run.method.is_natural:
        return ADVERSARIAL
    setting = run.records[0].setting
    return next(way for name, way in NATURAL.items() if setting.get(name))


def _radius(run: RunFiles) -> float:
    setting = run.records[0].setting
    return float(setting.get("train_eps") or setting["eps"])


def _errors(run: RunFiles) -> ClassErrors:
    assert run.evaluation is not None
    return run.evaluation.errors(run.classes)


def _ladders(name: str, runs: Sequence[RunFiles]) -> Ladders | None:
    runs = [run for run in runs if run.evaluation is not None]
    attacked = [run for run in runs if way_of(run) == ADVERSARIAL]
    if not attacked or len(attacked) == len(runs):
        return None
    reference = _errors(max(attacked, key=_radius))
    by_way: dict[str, list[ClassErrors]] = {}
    for run in runs:
        by_way.setdefault(way_of(run), []).append(_errors(run))
    best = min((e for way in NATURAL.values() for e in by_way.get(way, [])), key=_average)
    for way in NATURAL.values():  # all ways begin at the network that nothing made worse
        if way in by_way and best not in by_way[way]:
            by_way[way].append(best)
    ladders = {
        way: sorted(by_way[way], key=_average) for way in (*NATURAL.values(), ADVERSARIAL) if way in by_way
    }
    setting = runs[0].records[0].setting
    return Ladders(
        name,
        f"{name}, {setting['model']}" + (f" of width {setting['width']}" if "width" in setting else ""),
        {way: np.array([_average(e) for e in each]) for way, each in ladders.items()},
        {way: _triples([spread(e, QUANTITY) for e in each]) for way, each in ladders.items()},
        {way: _triples([same_order(e, reference, QUANTITY) for e in each]) for way, each in ladders.items()},
        {
            way: excess_spread(reference, each, QUANTITY)
            for way, each in ladders.items()
            if way != ADVERSARIAL
        },
        min(reference.n),
        tuple(sorted({run.seed for run in runs})),
    )


def _average(errors: ClassErrors) -> float:
    return errors.average(QUANTITY)


def _triples(estimates: Sequence[Estimate]) -> npt.NDArray[np.float64]:
    return np.array([(e.value, e.low, e.high) for e in estimates])


def finding(data: Ladders) -> str:
    """Return of how many natural ways the classes are closer together than PGD's, and the smallest excess."""
    excess = {way: e for way, e in data.excess.items() if e is not None}
    name = f"{data.key}, {len(data.seeds)} seed{'s' * (len(data.seeds) > 1)}"
    if not excess:
        return f"{name}: no natural network has the average error of PGD, so that nothing is compared."
    more = sum(e.low > 0 for e in excess.values())
    way, least = min(excess.items(), key=lambda item: item[1].value)
    points = with_interval(100 * np.array([least.value, least.low, least.high]), " points")
    return (
        f"{name}: at equal average error PGD's classes are farther apart than those of {more} of "
        f"{len(excess)} natural ways; least {points} ({way.removeprefix('natural, ')})."
    )


def caption(data: Ladders) -> str:
    """Say what is seen, and how far apart classes are at equal average error."""
    found = [
        f"{way.removeprefix('natural, ')}: {100 * e.value:+.1f} [{100 * e.low:+.1f}, {100 * e.high:+.1f}]"
        for way, e in data.excess.items()
        if e is not None
    ]
    seeds = ", ".join(map(str, data.seeds))
    return (
        f"Natural errors of the classes of networks that are worse for different reasons ({data.title}). "
        "Left: their standard deviation over classes against their average. Right: the share of the pairs of "
        "classes that have the order they have in PGD at the largest radius (1/2 by chance). Standard "
        "deviation of PGD at the largest radius minus that of natural networks at the same average error, in "
        "points: "
        + ("; ".join(found) or "no natural network has it")
        + f". Seed {seeds}; {data.samples} test "
        "images of each class; 95 % intervals of the counts."
    )


def draw(data: Ladders) -> Figure:
    """Draw both panels."""
    figure = Figure(figsize=(8.0, 3.4))
    left, right = figure.subplots(1, 2)
    _panel(left, data, data.spreads, "standard deviation over classes (points)")
    _panel(right, data, data.orders, "pairs of classes in one order (%)")
    right.axhline(50, color="0.6", linewidth=0.7, linestyle=":")
    left.set_ylim(bottom=0)
    left.legend(loc="best", fontsize="small")
    return figure


def _panel(ax: Axes, data: Ladders, heights: Mapping[str, npt.NDArray[np.float64]], label: str) -> None:
    for i, (way, values) in enumerate(heights.items()):
        style = {"marker": MARKERS[i], "linestyle": LINES[i], "color": f"C{i}", "capsize": 2, "markersize": 4}
        y, low, high = 100 * values.T
        ax.errorbar(100 * data.averages[way], y, [y - low, high - y], linewidth=1, label=way, **style)
    ax.set(xlabel="average natural error (%)", ylabel=label)
