"""Figures of many classes, methods and variants: they stay within a page and name only what can be read."""

import numpy as np
import pytest

from paper_figs.archive import Archive
from paper_figs.figures import (
    class_errors,
    class_geometry,
    confusion,
    multipliers,
    predicted_vs_measured,
    tradeoff,
)
from paper_figs.summary import chosen_classes
from theory.results.counts import ClassErrors
from theory.results.records import records_of

PAGE = 11, 9


def archive(classes, methods, seeds=1):
    """Return records in which class i has a robust error of i of ``classes``."""
    robust = tuple(range(classes))
    setting = {"dataset": "d", "model": "m", "width": 1, "epochs": 2, "n_train": 3}
    counted = ClassErrors(tuple(f"c{i}" for i in robust), (classes,) * classes, (0,) * classes, robust)
    return Archive(
        tuple(
            record
            for seed in range(seeds)
            for name, params in methods
            for record in records_of(
                counted,
                source="deep",
                setting={**setting, "params": params},
                method=name,
                seed=seed,
                attack="PGD-20",
            )
        )
    )


def names(axes):
    return [t.get_text() for t in axes.texts if t.get_text()]


def test_of_many_classes_the_worst_and_the_best_are_shown():
    (bars,) = class_errors.compute(archive(100, [("natural", {}), ("pgd", {})]))
    worst, best = [f"c{i}" for i in range(99, 87, -1)], ["c3", "c2", "c1", "c0"]
    assert bars.classes == (*worst, *best, "average", "worst")
    np.testing.assert_allclose(bars.heights["robust_error"]["PGD"][[0, 15, 16, 17], 0], [99, 0, 49.5, 99])
    assert "Of 100 classes those 12" in class_errors.caption(bars)
    (bars,) = class_errors.compute(archive(20, [("pgd", {})]))
    assert len(bars.classes) == 22 and bars.selection == "" and bars.classes[0] == "c0"


def test_many_methods_have_looks_of_their_own_without_colour():
    methods = [("pgd", {}), *(("trades", {"beta": float(b)}) for b in range(1, 25))]
    (plane,) = tradeoff.compute(archive(2, methods))
    lines = [line for line in tradeoff.draw(plane).axes[0].lines if not line.get_label().startswith("_")]
    looks = {
        (line.get_marker(), line.get_fillstyle(), line.get_markerfacecolor() == "white") for line in lines
    }
    assert len(lines) == len(looks) == 25


@pytest.mark.parametrize("count", [100, 1000])
def test_a_map_of_many_classes_names_a_few_and_stays_within_a_page(count):
    rng = np.random.default_rng(0)
    measured = 100 * rng.random(count)[:, None] + [0, -5, 5]
    labels = tuple(f"c{i}" for i in range(count))
    means = rng.normal(size=(count, 5))
    data = class_geometry.Data("k", "t", "d", labels, means, 0.1, 0.3, measured[:, 0], measured, "W")
    figure = class_geometry.draw(data)
    chosen, _ = chosen_classes(measured[:, 0])
    assert (figure.get_size_inches() <= PAGE).all()
    assert names(figure.axes[0]) == [labels[k] for k in chosen[:6]]
    assert {t.get_text() for t in figure.axes[1].get_yticklabels()} == {labels[k] for k in chosen}


def test_a_scatter_of_many_classes_names_those_farthest_from_theory():
    points = np.tile(np.linspace(0, 100, 200)[:, None], (2, 1, 3))
    points[1, 10:20] += 30
    key = ("PGD", "natural_error"), ("PGD", "robust_error")
    fails = np.zeros(200, bool)
    labels = tuple(f"c{i}" for i in range(200))
    scatter = predicted_vs_measured.Scatter(
        "k",
        "t",
        "d",
        labels,
        {"PGD": 1},
        dict.fromkeys(key, points),
        dict.fromkeys(key, fails),
        {k: () for k in key},
    )
    figure = predicted_vs_measured.draw(scatter)
    assert set(names(figure.axes[0])) == {f"c{i}" for i in range(10, 20)}
    assert "Named: the 10 classes" in predicted_vs_measured.caption(scatter)


def test_of_many_classes_the_largest_confusions_are_shown():
    shares = np.zeros((2, 100, 100))
    shares[:, range(100), range(100)] = 90
    shares[1, 3, 70], shares[0, 41, 5] = 40, 50
    chosen = confusion._confused(shares)
    assert {3, 70, 41, 5} <= set(chosen) and 11 <= len(chosen) <= 12 and chosen == sorted(chosen)
    assert confusion._confused(shares[:, :20, :20]) == list(range(20))


def test_many_classes_that_hardly_move_are_a_band_and_legends_fit():
    ends = np.linspace(0, 1, 300) ** 9
    curve = np.stack([0 * ends, ends])[None]
    curves = {"FRL": {"phi_nat": curve, "phi_bndy": curve, "radii": 1 + curve}}
    data = multipliers.Curves(
        "k", "t", "d", tuple(f"a long name {i}" for i in range(300)), {"FRL": 1}, curves
    )
    figure = multipliers.draw(data)
    assert len(figure.axes[0].lines) == 1 + multipliers.SHOWN  # the neutral value
    figure.canvas.draw()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
