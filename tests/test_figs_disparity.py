"""The figure of disparity at equal accuracy: networks by what made them worse, and what is compared."""

from pathlib import Path

import matplotlib.style
import numpy as np
import pytest

import paper_figs
from paper_figs.archive import Archive, read_archive
from paper_figs.figures import disparity_and_accuracy as figure_of
from theory.results.counts import ClassErrors
from theory.results.flags import Evaluation
from theory.results.records import records_of, to_jsonl

STYLE = Path(paper_figs.__file__).with_name("style.mplstyle")
CLASSES = tuple("abcde")
SHAPE = np.array([-1.0, -0.5, 0, 0.5, 1])
N = 400


def write(folder, name, method, average, spread, **setting):
    """Write a run whose natural errors have an average and a spread."""
    wrong = np.round(N * (average + spread * SHAPE / SHAPE.std())).astype(int)
    ok = np.array([i >= w for w in wrong for i in range(N)])
    labels = np.repeat(np.arange(len(CLASSES)), N)
    flags = Evaluation(("clean", "PGD-20"), np.arange(len(labels)), labels, np.stack([ok, np.zeros_like(ok)]))
    counted = ClassErrors(CLASSES, (N,) * len(CLASSES), tuple(map(int, wrong)), (N,) * len(CLASSES))
    common = {"dataset": "d", "model": "m", "epochs": 8, "n_train": 9, "eps": 0.1, "params": {}, **setting}
    (folder / name).mkdir(parents=True)
    records = records_of(counted, source="deep", setting=common, method=method, seed=0, attack="PGD-20")
    (folder / name / "records.jsonl").write_text(to_jsonl(records))
    (folder / name / "flags.npz").write_bytes(flags.to_bytes())


@pytest.fixture
def folder(tmp_path):
    """Return records of natural networks worse by noise and by epochs, PGD at two radii, and of a method."""
    ladder = tmp_path / "d_disparity"
    write(ladder, "a", "natural", 0.1, 0.03)
    write(ladder, "b", "natural", 0.4, 0.12, epochs=1)
    write(ladder, "c", "natural", 0.5, 0.05, label_noise=0.6)
    write(ladder, "d", "natural", 0.2, 0.06, train_per_class=50)
    write(ladder, "e", "pgd", 0.2, 0.06, train_eps=0.05, train_eps_text="0.05")
    write(ladder, "f", "pgd", 0.3, 0.14)
    write(tmp_path / "other", "g", "pgd", 0.3, 0.14)
    return tmp_path


def test_networks_are_sorted_by_what_made_them_worse_and_compared_at_equal_average(folder):
    archive = read_archive(folder)
    assert len(archive.ladders) == 6 and len(archive.runs) == 1
    assert [len(t.runs) for t in archive.trained] == [1], "ladders are not compared as methods are"
    (data,) = figure_of.compute(archive)
    assert {way: len(a) for way, a in data.averages.items()} == {
        "natural, noisier labels": 2,  # each begins at the best network
        "natural, fewer images": 2,
        "natural, fewer epochs": 2,
        "PGD, smaller radii": 2,
    }
    assert data.spreads["PGD, smaller radii"][:, 0] == pytest.approx([0.06, 0.14], abs=3e-3)
    epochs, noise = data.excess["natural, fewer epochs"], data.excess["natural, noisier labels"]
    assert epochs.value == pytest.approx(0.14 - 0.09, abs=3e-3) and epochs.low > 0
    assert noise.value == pytest.approx(0.14 - 0.04, abs=3e-3)
    assert data.excess["natural, fewer images"] is None and "PGD, smaller radii" not in data.excess
    assert data.orders["PGD, smaller radii"][:, 0] == pytest.approx(1)
    assert "fewer epochs: +5.0" in figure_of.caption(data)


def test_the_figure_is_drawn_and_there_is_none_without_both_kinds(folder):
    assert figure_of.compute(Archive(())) == []
    archive = read_archive(folder)
    natural = tuple(run for run in archive.ladders if run.method.is_natural)
    assert figure_of.compute(Archive((), ladders=natural)) == []
    (data,) = figure_of.compute(archive)
    with matplotlib.style.context(STYLE):
        figure = figure_of.draw(data)
        figure.canvas.draw()
    assert len(figure.axes) == 2 and all(len(ax.containers) == 4 for ax in figure.axes)
