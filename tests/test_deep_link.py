"""deep.link: margins of linear networks, where they are known exactly, and the command line on digits."""

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from deep import link as link_cli
from deep import train
from deep.attacks.ball import Ball
from deep.attacks.evaluate import Attack
from deep.attacks.linear_oracle import Linear, worst_margins
from deep.data import load
from deep.margins import fitted_margin_model as fitted
from deep.margins.fitted_margin_model import FittedMarginModel, fit_margin_model
from deep.margins.measure import losses, measured, predictions
from deep.margins.resolved_changes import _state
from deep.runs.reload import load_run
from theory.common.inputs import InputError
from theory.results.flags import Evaluation
from theory.results.methods import MethodId

SMALL = ["--epochs", "2", "--steps", "2", "--eval-steps", "2", "--width", "6", "--eps", "0.1"]
FEW = ["--replicates", "20", "--per-class", "10"]


@pytest.fixture(scope="module")
def digits():
    """Return digits and a linear network fitted to them."""
    data = load("digits", None, seed=0, val=25, train=40, test=20, device=torch.device("cpu"))
    x, y = data.train.inputs(slice(None)), data.train.labels
    return data, Linear.fit(x, y, 10).float()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_is_taken_from_a_linear_network_is_exact(digits, norm):
    data, model = digits
    attack = Attack(0.1, "0.1", 5, norm=norm)
    found, y = measured(model, data.test, attack, batch_size=64), data.test.labels
    left = found.samples.margin - found.samples.drop
    left[np.arange(len(y)), y] = np.inf
    ball = Ball(data.test.inputs(slice(None)), torch.full(y.shape, 0.1), norm)
    np.testing.assert_allclose(left.min(1), worst_margins(model, ball, y), atol=1e-4)
    gap = (model.weight[y][:, None] - model.weight).detach()
    np.testing.assert_allclose(found.norm, gap.norm(p=1 if norm == "linf" else 2, dim=2), rtol=1e-4)
    np.testing.assert_allclose(found.unbounded.drop, 0.1 * found.norm)
    assert (found.samples.drop <= found.unbounded.drop + 1e-5).all()
    assert (found.samples.drop < 0.9 * found.unbounded.drop).any()  # most pixels are 0 or 1
    free = measured(model, data.test, Attack(0.1, "0.1", 5, norm=norm, bounds=None))
    np.testing.assert_allclose(free.samples.drop, free.unbounded.drop, rtol=1e-4, atol=1e-6)


def test_losses_of_a_linear_network_are_those_of_the_exact_margins(digits):
    data, model = digits
    attack = Attack(0.1, "0.1", 20)
    found, y = losses(model, data.test, attack, seed=0, batch_size=64), data.test.labels.numpy()
    samples = measured(model, data.test, attack).samples
    for counts, left in ((found.natural, samples.margin), (found.robust, samples.margin - samples.drop)):
        expected = np.array([(left[y == c] <= 0).sum(0) for c in range(10)])
        np.fill_diagonal(expected, 0)
        np.testing.assert_array_equal(counts, expected)
    assert found.n.tolist() == [20] * 10 and found.robust.sum() > found.natural.sum()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return the folder above small runs of each kind, all of one split."""
    folder = tmp_path_factory.mktemp("runs")
    for name, *more in (("natural",), ("trades", "--beta", "1.5"), ("frl",)):
        assert train.main(["--method", name, *more, *SMALL, "--out", str(folder / name)]) == 0
    return folder


@pytest.fixture
def copied(runs, tmp_path):
    """Return a copy of them that may be changed."""
    return shutil.copytree(runs, tmp_path / "runs")


def content(folder):
    return json.loads((folder / "link.json").read_text()) | {"provenance": None}


def test_the_command_line_predicts_and_compares(invoke, copied):
    names = ("frl", "natural", "trades")
    folders = [copied / n for n in names]
    code, text, err = invoke(link_cli.main, *folders, *FEW)
    assert code == 0 and err == ""
    assert re.findall(r"^(\w+).* on digits, seed 0, eps=0\.1$", text, re.MULTILINE) == [
        "natural",  # bases come first
        "TRADES",
        "FRL",
    ]
    assert "FRL both against TRADES beta=1.5" in text and "joint Gaussian" in text
    found = {n: content(copied / n) for n in names}
    for name, one in found.items():
        result = json.loads((copied / name / "result.json").read_text())
        assert (one["schema"], one["id"], one["method"]) == (1, result["id"], name)
        assert one["measured"]["n"] == result["n"] and one["fitted_on"] == "validation split"
        for quantity in ("natural_error", "robust_error"):
            assert one["measured"]["errors"][quantity] == result[quantity]["errors"]
            predicted = np.array(one["predicted"][quantity])
            assert predicted.shape == (10,) and ((predicted >= 0) & (predicted <= 1)).all()
            assert (np.array(one["predicted"]["low"][quantity]) <= predicted).all()
            assert (np.array(one["predicted"]["high"][quantity]) >= predicted).all()
            assert set(one["rank_correlation"][quantity]) <= {"value", "low", "high"}
        natural, attacked = (np.array(one["confusion"][k]) for k in ("natural", "attacked"))
        assert natural.sum(1).tolist() == attacked.sum(1).tolist() == result["n"]
        assert (60 - natural.diagonal()).tolist() == result["natural_error"]["errors"]
        flags = Evaluation.read(copied / name / "flags.npz")
        kept = [flags.ok[1][flags.labels == c].sum() for c in range(10)]
        assert attacked.diagonal().tolist() == kept
        assert np.array(one["pairs"]["spread"]).shape == (10, 10)
        assert np.array(one["pairs"]["losses"]["natural"]).max() <= 10
    against = [d["against"] for d in found["frl"]["directions"]]
    assert against == ["natural"] * 10 + ["TRADES beta=1.5"] * 20 and found["natural"]["directions"] == []
    assert {d["quantity"] for d in found["trades"]["directions"]} == {"natural_error"}
    before = found["natural"]["measured"]["natural_error"]
    for change, old, new in zip(
        found["trades"]["directions"], before, found["trades"]["measured"]["natural_error"], strict=True
    ):
        assert change["measured"]["value"] == pytest.approx(new - old)
    result.pop("sha256")  # as versions before this one left it
    (copied / "trades" / "result.json").write_text(json.dumps(result))
    code, _, err = invoke(link_cli.main, copied / "trades", *FEW)
    assert code == 0 and err.startswith("warning: ") and err.count("\n") == 1
    assert len(content(copied / "trades")["warnings"]) == 1 and found["trades"]["warnings"] == []
    assert invoke(link_cli.main, copied / "natural", *FEW)[0] == 0
    assert content(copied / "natural") == found["natural"]


def test_an_interrupted_command_goes_on_where_it_was(invoke, copied, monkeypatch):
    folders = [copied / n for n in ("natural", "trades")]
    measure, asked = fitted._measure, []

    def interrupted(run, *rest):
        asked.append(run.settings.method)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return measure(run, *rest)

    monkeypatch.setattr(fitted, "_measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        link_cli.main([*map(str, folders), *FEW])
    first = content(folders[0])
    assert not (folders[1] / "link.json").exists()
    assert invoke(link_cli.main, *folders, *FEW)[0] == 0
    assert asked == ["natural", "trades", "trades"] and content(folders[0]) == first
    second = content(folders[1])
    assert invoke(link_cli.main, *folders, *FEW)[0] == 0
    assert len(asked) == 3 and content(folders[1]) == second
    assert invoke(link_cli.main, folders[0], *FEW[:-1], "9")[0] == 0  # other samples
    assert len(asked) == 4 and max(map(max, content(folders[0])["pairs"]["losses"]["natural"])) <= 9


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b"", lambda b: b[:60] + b"x" * 9 + b[69:]])
def test_a_damaged_measurement_is_made_again(invoke, copied, damage):
    folder = copied / "natural"
    assert invoke(link_cli.main, folder, *FEW)[0] == 0
    first, path = content(folder), folder / "link.npz"
    path.write_bytes(damage(path.read_bytes()))
    assert fitted._kept(path, fitted._key(folder, load_run(folder).attacks, 10)) is None
    assert invoke(link_cli.main, folder, *FEW)[0] == 0
    assert content(folder) == first
    assert fitted._kept(path, fitted._key(folder, load_run(folder).attacks, 10), most=1 << 24) is not None
    assert fitted._kept(path, fitted._key(folder, load_run(folder).attacks, 11), most=1 << 24) is None


def test_another_radius_is_evaluated_anew(invoke, copied):
    assert invoke(link_cli.main, copied / "trades", *FEW, "--eps", "0")[0] == 0
    none = content(copied / "trades")
    assert none["measured"]["errors"]["robust_error"] == none["measured"]["errors"]["natural_error"]
    np.testing.assert_allclose(
        none["predicted"]["robust_error"], none["predicted"]["natural_error"], atol=1e-3
    )
    assert none["eps"] == 0 and none["directions"] == []
    assert none["confusion"]["natural"] == none["confusion"]["attacked"]


def test_a_small_validation_split_gives_way_to_half_of_the_test_split(invoke, tmp_path):
    argv = ["--method", "natural", *SMALL, "--val-per-class", "5", "--out", str(tmp_path)]
    train.main([*argv, "--test-per-class", "41"])
    run = load_run(tmp_path)
    one = fit_margin_model(tmp_path, run, "natural", eps=None, per_class=3, replicates=20)
    assert isinstance(one, FittedMarginModel) and one.counted.n == (21,) * 10
    assert one.losses.n.tolist() == [3] * 10
    assert np.bincount(one.margins.samples.labels).tolist() == [20] * 10
    first = run.data.test.labels == 0
    assert (
        one.evaluation.index[one.evaluation.labels == 0].tolist() == run.data.test.index[first][::2].tolist()
    )


def test_too_few_samples_are_refused(refuses, tmp_path):
    argv = ["--method", "natural", *SMALL, "--val-per-class", "5", "--test-per-class", "30"]
    train.main([*argv, "--out", str(tmp_path)])
    refuses(link_cli.main, tmp_path, says=[str(tmp_path), "20", "class 0", "5 and 30"])


def test_runs_that_do_not_belong_together_are_refused(refuses, copied, tmp_path):
    refuses(link_cli.main, tmp_path / "none", says=[str(tmp_path / "none")])
    refuses(link_cli.main, copied / "frl", copied / "frl", says=["give each once"])
    refuses(link_cli.main, copied / "frl", "--eps", "2", says=["--eps", "0 to 1"])
    other = tmp_path / "other"
    train.main(["--method", "natural", *SMALL, "--seed", "1", "--out", str(other)])
    refuses(link_cli.main, copied / "frl", other, *FEW, says=["its own split", str(other)])
    assert not (copied / "frl" / "link.json").exists() and not (other / "link.json").exists()


def run_of(**changed):
    given = {"id": changed.get("name"), "method": "pgd", "dataset": "digits", "eps": "0.1", "split": "s"}
    given |= {"seed": 0} | changed
    settings = SimpleNamespace(
        **given, method_id=MethodId(given["method"]), attack=SimpleNamespace(eps=float(given["eps"]))
    )
    data = SimpleNamespace(sha256=given["dataset"], to_json=lambda: given["split"])
    return SimpleNamespace(settings=settings, data=data)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"dataset": "mnist"}, "same data"),
        ({"eps": "0.2"}, "eps=0.2"),
        ({"method": "natural", "split": "t"}, "a .* needs a natural run of its own split"),
    ],
)
def test_runs_of_other_data_radius_or_split_are_refused(changed, says):
    with pytest.raises(InputError, match=says):
        link_cli._check(["a", "b"], [run_of(name="a"), run_of(name="b", **changed)], None)
    for good in ({}, {"split": "t"}, {"method": "natural"}):
        link_cli._check(["a", "b"], [run_of(name="a"), run_of(name="b", **good)], None)


@pytest.mark.parametrize("damage", ["", "[]", '{"weights": 1}', f'{{"weights_nat": {[1] * 9 + [0]}}}', None])
def test_a_damaged_history_is_refused(copied, damage):
    path = copied / "frl" / "history.jsonl"
    path.unlink()
    if damage is not None:
        path.write_text(damage)
    one = SimpleNamespace(folder=copied / "frl", run=load_run(copied / "frl"))
    with pytest.raises(InputError, match=r"history\.jsonl"):
        _state(one)


def test_weights_and_radii_are_read_from_the_history(runs):
    one = SimpleNamespace(folder=runs / "frl", run=load_run(runs / "frl"))
    last = json.loads((runs / "frl" / "history.jsonl").read_text().splitlines()[-1])
    weights, radii = _state(one)
    assert radii.tolist() == last["radii"]
    np.testing.assert_allclose(
        weights, 4 * np.array(last["weights_nat"]) + 6 * np.array(last["weights_bndy"]), rtol=1e-5
    )
    assert _state(SimpleNamespace(folder=runs / "trades", run=load_run(runs / "trades"))) is None


def test_predictions_under_attack_are_those_behind_the_flags(runs):
    run = load_run(runs / "frl")
    natural, attacked = predictions(
        run.model, run.data.test, run.attacks[0], seed=train.stream(run.settings.seed, "test")
    )
    np.testing.assert_array_equal(natural == run.evaluation.labels, run.evaluation.ok[0])
    np.testing.assert_array_equal(attacked == run.evaluation.labels, run.evaluation.ok[1])
    wrong = ~run.evaluation.ok[0]
    assert (attacked[wrong] == natural[wrong]).all()
