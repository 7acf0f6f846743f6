"""The figures of networks, from records that are made up so that every number on them is known."""

import json
import shutil
from dataclasses import replace
from html import escape
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.style
import numpy as np
import pytest
from scipy.stats import norm
from test_theory_errors import run_records

import paper_figs
from paper_figs import __main__ as command
from paper_figs.archive import Archive, Saliency, read_archive
from paper_figs.figures import (
    class_errors,
    class_geometry,
    confusion,
    multipliers,
    predicted_vs_measured,
    saliency,
    tradeoff,
)
from paper_figs.summary import interval
from theory.common.inputs import InputError
from theory.results.counts import exact_interval, mean_interval
from theory.results.margin_report import MarginReport
from theory.results.records import to_jsonl
from theory.variants.many_classes import nearest_mean_errors

MODULES = (class_errors, class_geometry, confusion, multipliers, predicted_vs_measured, saliency, tradeoff)
STYLE = Path(paper_figs.__file__).with_name("style.mplstyle")
CLASSES = ["a", "b"]


def history(epochs, radius=1.0):
    """Return a history in which the second class rises by 0.1 an epoch."""
    rising = [[0.0, 0.1 * e] for e in range(epochs)]
    lines = [
        {"epoch": e + 1, "phi_nat": v, "phi_bndy": [0, 0], "radii": [1, radius]} for e, v in enumerate(rising)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


def link(attacked, predicted=(0.1, 0.5), measured=(0.2, 0.6), failures=(1,)):
    sides = {"predicted": predicted, "measured": measured}
    both = {q: list(failures) for q in ("natural_error", "robust_error")}
    return {
        "classes": CLASSES,
        "confusion": {"natural": [[1, 0], [0, 1]], "attacked": attacked},
        **{
            side: {
                **dict.fromkeys(both, list(values)),
                "low": dict.fromkeys(both, [v - 0.1 for v in values]),
                "high": dict.fromkeys(both, [v + 0.2 for v in values]),
            }
            for side, values in sides.items()
        },
        "failures": both,
        "rank_correlation": {"natural_error": {}, "robust_error": {"value": 0.8, "low": 0.5, "high": 0.9}},
        "explained_variance": {"natural_error": {}, "robust_error": {"value": 0.4}},
        "pairs": {"mean": [[0, 2], [3, 0]], "spread": [[0, 1], [2, 0]], "drop": [[0, 0.5], [0.5, 0]]},
    }


def write(folder, name, records, **files):
    run = folder / name
    run.mkdir(parents=True)
    (run / "records.jsonl").write_text(to_jsonl(records))
    for file, text in files.items():
        (run / f"{file}.{'jsonl' if file == 'history' else 'json'}").write_text(text)


@pytest.fixture
def folder(tmp_path):
    """Return a folder with three seeds of natural, PGD, TRADES and FRL, of which the last two are linked."""
    for seed in range(3):
        write(tmp_path, f"n{seed}", run_records("natural", seed, (1, 2), (100, 100)))
        write(tmp_path, f"p{seed}", run_records("pgd", seed, (5, 6), (30 + seed, 70)))
        linked = json.dumps(link([[60, 40], [30, 70]]))
        write(tmp_path, f"t{seed}", run_records("trades", seed, (5, 6), (40, 60), beta=6.0), link=linked)
        frl = run_records("frl", seed, (5, 6), (40, 50 + seed), variant="both", beta=6.0)
        linked = json.dumps(link([[80, 20], [50 - seed, 50 + seed]], predicted=(0.1 + 0.01 * seed, 0.5)))
        write(tmp_path, f"f{seed}", frl, link=linked, history=history(4, radius=1 + 0.1 * seed))
    frl = run_records("frl", 0, (5, 6), (40, 50), variant="reweight", beta=6.0)
    write(tmp_path, "r0", frl, history=history(3))
    return tmp_path


def only(found):
    (data,) = found
    return data


def texts(figure):
    figure.canvas.draw()
    return [t.get_text() for ax in figure.axes for t in ax.texts]


def test_runs_are_sorted_by_protocol_method_and_seed(folder):
    archive = read_archive(folder)
    trained = only(archive.trained)
    assert trained.key == "d" and {*trained.base_of.values()} == {"TRADES beta=6"}
    assert [run.name for run in trained.runs["FRL both"]] == ["f0", "f1", "f2"]
    assert trained.bases == ("natural", "PGD", "TRADES beta=6")
    assert trained.mitigations == ("FRL both", "FRL reweight")
    assert len(archive.records) == sum(len(run.records) for run in archive.runs) == 13 * 12
    other = run_records("pgd", 0, (5, 6), (30, 70))
    (folder / "p0" / "records.jsonl").write_text(
        to_jsonl(other).replace('"epochs": 2', '"epochs": 3')  # a protocol of its own
    )
    keys = [t.key for t in read_archive(folder).trained]
    assert len(set(keys)) == 2 and all(key.startswith("d-") for key in keys)


@pytest.mark.parametrize(
    "file, text",
    [
        ("history.jsonl", '{"epoch": 2}\n'),
        ("history.jsonl", "{"),
        ("link.json", "[]"),
        ("link.json", "\ud800"),
        ("records.jsonl", "{}"),
        ("portrait.npz", "text"),
    ],
)
def test_a_damaged_file_is_named(folder, file, text):
    (folder / "f0" / file).write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(InputError, match=file.replace(".", r"\.")):
        read_archive(folder)


def test_nothing_to_read_is_said(tmp_path):
    (tmp_path / "records.jsonl").touch()
    with pytest.raises(InputError, match="records"):
        read_archive(tmp_path)


@pytest.mark.parametrize("module", MODULES)
def test_every_figure_keeps_the_contract(folder, module):
    assert module.SECTION == "networks" and module.TITLE and module.COMMAND.startswith("python -m deep.")
    assert module.compute(Archive(())) == []
    archive = read_archive(folder)
    archive = Archive(archive.records, archive.runs, (painted(),))
    found = module.compute(archive)
    assert found and len({data.key for data in found}) == len(found)
    with matplotlib.style.context(STYLE):
        for data in found:
            figure = module.draw(data)
            figure.canvas.draw()
            said = module.caption(data)
            assert said.endswith(".") and ("seed" in said or "One run" in said)


def test_bars_are_means_over_seeds(folder):
    bases, mitigations = class_errors.compute(read_archive(folder))
    expected = 100 * np.array(mean_interval([0.3, 0.31, 0.32]))
    np.testing.assert_allclose(bases.heights["robust_error"]["PGD"][0], expected)
    np.testing.assert_allclose(bases.heights["robust_error"]["PGD"][2:, 0], [50.5, 70])  # average, worst
    drawn = sorted(round(p.get_height(), 1) for p in class_errors.draw(bases).axes[1].patches)
    assert drawn == [31, 40, 50, 50.5, 60, 60, 70, 70, 100, 100, 100, 100]
    assert mitigations.base_of == dict.fromkeys(("FRL both", "FRL reweight"), "TRADES beta=6")
    rows = class_errors.draw(mitigations).axes
    assert len(rows) == 4
    np.testing.assert_allclose([p.get_height() for p in rows[1].patches], [40, 60, 50, 60])
    (points,) = (line for line in rows[1].lines if line.get_label() == "the mitigation")
    np.testing.assert_allclose(points.get_ydata(), [40, 51, 45.5, 51])
    assert "TRADES beta=6 3, FRL both 3, FRL reweight 1" in class_errors.caption(mitigations)


def test_intervals_are_over_seeds_or_over_images():
    np.testing.assert_allclose(interval([30, 31, 32], 100), mean_interval([0.3, 0.31, 0.32]))
    np.testing.assert_allclose(interval([30, 34], 100), [0.32, *exact_interval(32, 100)])
    np.testing.assert_allclose(interval([30], 100), [0.3, *exact_interval(30, 100)])


def test_the_plane_has_average_and_worst(folder):
    plane = only(tradeoff.compute(read_archive(folder)))
    assert "natural" not in plane.points["robust_error"]
    np.testing.assert_allclose(plane.points["robust_error"]["FRL both"][:, 0], [45.5, 51])
    figure = tradeoff.draw(plane)
    markers = {
        line.get_label(): line for line in figure.axes[1].lines if not line.get_label().startswith("_")
    }
    assert {m for m, line in markers.items() if line.get_markerfacecolor() == "white"} == {
        "FRL both",
        "FRL reweight",
    }
    assert len({line.get_marker() for line in markers.values()}) == len(markers)
    for line in markers.values():  # the limits keep every method
        (x, y), ax = line.get_xydata()[0], figure.axes[1]
        assert ax.get_xlim()[0] <= x <= ax.get_xlim()[1] and ax.get_ylim()[0] <= y <= ax.get_ylim()[1]


def test_multipliers_are_those_of_the_history(folder):
    curves = only(multipliers.compute(read_archive(folder)))
    assert list(curves.curves) == ["FRL both", "FRL reweight"] and curves.moved == [1]
    assert curves.curves["FRL both"]["phi_nat"].shape == (3, 4, 2)
    np.testing.assert_allclose(curves.curves["FRL both"]["radii"][:, -1, 1], [1, 1.1, 1.2])
    axes = multipliers.draw(curves).axes
    drawn = {line.get_label(): line.get_ydata() for line in axes[0].lines}
    np.testing.assert_allclose(drawn["b"], [0, 0.1, 0.2, 0.3])
    (radii,) = (line for line in axes[4].lines if line.get_label() == "b")
    np.testing.assert_allclose(radii.get_ydata(), 4 * [1.1])  # the mean over seeds


def test_a_history_that_lacks_a_multiplier_is_refused(folder):
    (folder / "f1" / "history.jsonl").write_text(history(4).replace("radii", "margins"))
    with pytest.raises(InputError, match="f0, f1, f2 .*radii"):
        multipliers.compute(read_archive(folder))


def test_confusion_is_shares_and_their_change(folder):
    maps = only(confusion.compute(read_archive(folder)))
    assert maps.names == ("TRADES beta=6", "FRL both") and maps.seeds == (3, 3) and maps.n == 100
    np.testing.assert_allclose(maps.shares, [[[60, 40], [30, 70]], [[80, 20], [49, 51]]])
    figure = confusion.draw(maps)
    written = texts(figure)
    assert written[:8] == ["60", "40", "30", "70", "80", "20", "49", "51"]
    assert written[8:] == ["+20", "-20", "+19", "-19"]  # the sign is not left to the colour


@pytest.mark.parametrize("attacked", [[[1, 2]], [[0, 0], [1, 1]], [[-1, 3], [1, 1]], "x", None])
def test_a_confusion_of_other_classes_is_refused(folder, attacked):
    (folder / "f1" / "link.json").write_text(json.dumps(link(attacked)))
    with pytest.raises(InputError, match=r"f1/link\.json"):
        read_archive(folder)


def test_predictions_stand_beside_measurements(folder):
    scatter = only(predicted_vs_measured.compute(read_archive(folder)))
    assert scatter.seeds == {"TRADES beta=6": 3, "FRL both": 3}
    points = scatter.points["FRL both", "robust_error"]
    np.testing.assert_allclose(points[0, 0], 100 * np.array(mean_interval([0.1, 0.11, 0.12])))
    np.testing.assert_allclose(points[:, :, 0], [[11, 50], [20, 60]])
    assert scatter.fails["FRL both", "robust_error"].tolist() == [False, True]
    assert scatter.ranks["FRL both", "robust_error"] == (0.8, 0.8, 0.8)
    axes = predicted_vs_measured.draw(scatter).axes
    assert axes[0].get_title().endswith("r undefined") and axes[2].get_title().startswith("r = 0.80")
    for lines, xy in zip(axes[3].lines[:2], ([11, 20], [50, 60]), strict=True):
        np.testing.assert_allclose(lines.get_xydata(), [xy])


def test_errors_come_from_the_distances_of_the_classes(folder):
    """The scores of the pair are 2 and 1.5, their sum the distance; the radius is the mean of .5 and .25."""
    data = only(class_geometry.compute(read_archive(folder)))
    assert data.title == "d, TRADES beta=6" and data.misfit < 1e-9
    np.testing.assert_allclose(data.predicted, 100 * norm.cdf(-(3.5 / 2 - 0.375)), rtol=1e-3)
    np.testing.assert_allclose(data.measured[:, 0], [40, 60])


def test_geometry_of_nearest_mean_is_its_own_and_its_errors_are_theorys():
    """Of margins of nearest-mean the means come back up to turns; other distances give other errors."""
    means = np.array([[0.0, 0.0], [2.0, 0.3], [0.5, 3.0]])
    model = class_geometry.nearest_mean_model(means, 0.4)
    distances, eps = class_geometry.geometry(model.mean, model.spread, model.drop)
    np.testing.assert_allclose(distances, np.linalg.norm(means[:, None] - means, axis=2), atol=1e-12)
    exact = [c.R for c in nearest_mean_errors(means, 1.0, 0.4)]
    assert eps == pytest.approx(0.4)
    np.testing.assert_allclose(model.errors(attacked=True), exact, atol=3e-4)
    other = class_geometry.nearest_mean_model(1.1 * means, 0.4).errors(attacked=True)
    assert np.abs(other - exact).min() > 3e-3


@pytest.mark.parametrize(
    "pairs", [None, {}, {"spread": [[0, 1]]}, {"spread": "x"}, {"spread": [[0, 0], [1, 0]]}]
)
def test_pairs_of_other_classes_are_refused(folder, pairs):
    report = MarginReport.read(folder / "t0" / "link.json")
    with pytest.raises(InputError, match="pairs must have spread"):
        replace(report, details={"pairs": pairs}).pairs("spread")


def test_few_runs_keep_the_intervals_of_their_own(folder):
    for seed in (1, 2):
        (folder / f"f{seed}" / "link.json").unlink()
    scatter = only(predicted_vs_measured.compute(read_archive(folder)))
    np.testing.assert_allclose(scatter.points["FRL both", "robust_error"][0, 0], [10, 0, 30], atol=1e-9)


@pytest.mark.parametrize(
    "damage",
    [
        {"predicted": {}},
        {"measured": link([], measured=(0.2,))["measured"]},
        {"predicted": link([], predicted=(0.5, 1.5))["predicted"]},
        {"failures": {"natural_error": [2], "robust_error": []}},
        {"rank_correlation": {"natural_error": 1}},
        {"classes": ["b", "a"]},
        {"classes": None},
        {"confusion": {"natural": [[1, 0], [0, 1]]}},
        {"explained_variance": {"natural_error": {}, "robust_error": {"value": "x"}}},
        {"failures": {"natural_error": [True], "robust_error": []}},
        {"provenance": [1]},
    ],
)
def test_a_link_that_lacks_something_is_refused(folder, damage):
    (folder / "f2" / "link.json").write_text(json.dumps(link([[1, 1], [1, 1]]) | damage))
    with pytest.raises(InputError, match=r"f2/link\.json"):
        read_archive(folder)


def painted(**changed):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 3, 4, 4), dtype=np.uint8)
    arrays = {
        "images": images,
        "labels": np.array([0, 1]),
        "gradients": np.stack([images, 255 - images]),
        "adversarial": np.stack([images // 2, images // 3]),
        "predicted": np.array([[1, 1], [0, 1]]),
    }
    words = {
        "networks": ("natural", "PGD"),
        "runs": ("0a", "0b"),
        "classes": ("cat", "dog"),
        "protocol": "d; x",
    }
    return Saliency(**(words | arrays | changed))


def test_saliency_figures_show_their_pictures():
    data = only(saliency.compute(Archive((), (), (painted(),))))
    figure = saliency.draw(data)
    shown = [ax.images[0].get_array() for ax in figure.axes]
    p = data.pictures
    rows = [p.images, p.gradients[0], p.adversarial[0], p.gradients[1], p.adversarial[1]]
    for i, row in enumerate(rows):
        for j in range(2):
            np.testing.assert_array_equal(shown[2 * i + j], np.moveaxis(row[j], 0, -1))
    assert [ax.get_xlabel() for ax in figure.axes[4:6]] == ["dog", "dog"]
    grey = painted(**{k: getattr(p, k)[..., :1, :, :] for k in ("images", "gradients", "adversarial")})
    assert saliency.draw(saliency.Pictures("d", grey)).axes[0].images[0].get_array().shape == (4, 4)


@pytest.mark.parametrize(
    "changed", [{"runs": ("0a",)}, {"labels": np.array([0])}, {"predicted": np.array([[0, 2], [0, 0]])}]
)
def test_saliency_maps_that_do_not_fit_are_refused(changed):
    with pytest.raises(InputError, match="saliency"):
        painted(**changed)


@pytest.mark.parametrize("heights", [[0.5] * 5, [0.9, 1.2, 1.0, 0.1], [0.2, -0.4, 0.3], [0.5] * 40, [0.4]])
def test_names_are_apart_and_in_order(heights):
    found = predicted_vs_measured._apart(np.array(heights), 0.1)
    order = np.argsort(heights, kind="stable")
    assert (np.diff(found[order]) >= min(0.1, 1 / max(len(heights) - 1, 1)) - 1e-12).all()
    assert found.min() >= 0 and found.max() <= 1 + 1e-12
    far = [0.0, 0.5, 1.0]
    np.testing.assert_allclose(predicted_vs_measured._apart(np.array(far), 0.1), far)


ODD = ("$\\frac{$ 100% </script><b>&lt;", "_a_b *|`\\^~ \U0001f600 \u05d0")


def test_a_name_with_markup_is_text_in_figures_page_and_tables(folder, tmp_path, invoke, monkeypatch):
    drawn = {m.__name__.rpartition(".")[2]: m for m in (class_errors, confusion, multipliers)}
    monkeypatch.setattr(command, "modules", lambda: drawn)
    for run in "pf":
        shutil.copytree(folder / f"{run}0", tmp_path / "renamed" / run)
    for file in (tmp_path / "renamed").rglob("*.json*"):
        text = file.read_text().replace('["a", "b"]', json.dumps(ODD)).replace('"both"', '"both $_"')
        for plain, odd in zip(CLASSES, ODD, strict=True):
            text = text.replace(f'"label": "{plain}"', f'"label": {json.dumps(odd)}')
        file.write_text(text.replace('"dataset": "d"', f'"dataset": {json.dumps(ODD[1])}'))
    (tmp_path / "renamed" / "unfinished").mkdir()
    (tmp_path / "renamed" / "unfinished" / "config.json").touch()
    code, _, err = invoke(command.main, "--records", tmp_path / "renamed", "--out", tmp_path / "out")
    assert code == 0 and len(err.splitlines()) == 1 and str(tmp_path / "renamed" / "unfinished") in err
    html = (tmp_path / "out" / "report.html").read_text()
    assert all(f"<td>{escape(odd)}</td>" in html for odd in ODD) and "<b>&" not in html
    figures = [*(tmp_path / "out").glob("*.svg")]
    assert len(figures) >= 2 and all(map(ElementTree.parse, figures))
    (curves,) = multipliers.compute(read_archive(tmp_path / "renamed"))
    shown = [t.get_text().strip() for legend in multipliers.draw(curves).legends for t in legend.get_texts()]
    assert ODD[1] in shown
