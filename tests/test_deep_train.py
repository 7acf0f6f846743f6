"""The command lines of deep, end to end on the embedded digits, as small as they go."""

import json

import numpy as np
import pytest
import safetensors.torch

from deep import compare, train
from deep.methods import METHODS
from deep.training.checkpoint import load_state
from theory.results.flags import Evaluation
from theory.results.records import read_records

SMALL = ["--epochs", "2", "--steps", "2", "--eval-steps", "2", "--width", "4", "--train-per-class", "20"]


def result(folder):
    return json.loads((folder / "result.json").read_text()) | {"provenance": None}


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """Return the folder of a run whose network may be learnt from."""
    folder = tmp_path_factory.mktemp("teacher") / "run"
    assert train.main([*SMALL, "--out", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_a_run_leaves_a_complete_folder(invoke, tmp_path, taught, method):
    out = tmp_path / "run"
    model = ["--model", "small-cnn"] if method == "ibp" else []
    kind = METHODS[method]
    teachers = [f"--{n.replace('_', '-')}={taught}" for n in kind.teachers if kind.needs_teachers]
    code, text, _ = invoke(train.main, "--method", method, *model, *teachers, *SMALL, "--out", out)
    assert code == 0 and "hard classes" in text and "average" in text
    assert sorted(p.name for p in out.iterdir()) == [
        "best.safetensors",
        "config.json",
        "flags.npz",
        "history.jsonl",
        "model.safetensors",
        "records.jsonl",
        "result.json",
        "split.json",
    ]
    found = result(out)
    assert found["classes"] == list("0123456789") and found["n"] == [60] * 10
    for quantity in ("natural_error", "boundary_error", "robust_error"):
        part = found[quantity]
        assert all(
            low <= v <= high for v, (low, high) in zip(part["per_class"], part["interval"], strict=True)
        )
        assert part["average"] == pytest.approx(np.mean(part["per_class"]))
        assert part["worst"] == max(part["per_class"]) == part["per_class"][int(part["worst_class"])]
    total = np.add(found["natural_error"]["per_class"], found["boundary_error"]["per_class"])
    np.testing.assert_allclose(total, found["robust_error"]["per_class"])
    flags = Evaluation.read(out / "flags.npz")
    errors = [int((~flags.ok.all(0))[flags.labels == c].sum()) for c in range(10)]
    assert errors == found["robust_error"]["errors"]
    records = {(r.quantity, r.label): r for r in read_records(out)}
    assert len(records) == 3 * 12 and records["robust_error", "average"].errors == sum(errors)
    history = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    assert len(history) == 2 and all(np.isfinite(line["loss"]) for line in history)
    assert (
        safetensors.torch.load_file(out / "model.safetensors")[
            "conv1.weight" if model else "stem.weight"
        ].shape[0]
        == 4
    )


def test_the_same_seed_gives_the_same_numbers(invoke, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert invoke(train.main, "--method", "frl", *SMALL, "--seed", seed, "--out", tmp_path / name)[0] == 0
    assert result(tmp_path / "a") == result(tmp_path / "b")
    assert result(tmp_path / "a")["setting"]["threads"] == 1  # whatever the environment says
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "abc"]
    assert weights[0] == weights[1] != weights[2]
    assert invoke(train.main, "--method", "frl", *SMALL, "--out", tmp_path / "a")[0] == 0  # may be repeated


def test_a_folder_of_another_run_is_kept(invoke, refuses, tmp_path):
    assert invoke(train.main, "--method", "natural", *SMALL, "--out", tmp_path)[0] == 0
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    refuses(
        train.main, "--method", "natural", *SMALL, "--seed", "7", "--out", tmp_path, says=["other settings"]
    )
    assert before == {p.name: p.read_bytes() for p in tmp_path.iterdir()}


@pytest.mark.parametrize(
    "argv, says",
    [
        (["--method", "magic"], ["magic", "frl"]),
        (["--method", "frl", "--variant", "none"], ["none", "reweight"]),
        (["--method", "pgd", "--variant", "both"], ["--variant", "--method"]),
        (["--method", "frl", "--cap", "2"], ["--cap", "2"]),
        (["--method", "trades", "--beta", "-1"], ["beta", "-1"]),
        (["--dataset", "imagenet"], ["imagenet", "cifar10"]),
        (["--dataset", "cifar10"], ["--data-dir"]),
        (["--dataset", "cifar10", "--data-dir", "/nonexistent"], ["/nonexistent"]),
        (["--data-dir", "/tmp"], ["/tmp"]),
        (["--model", "vgg"], ["vgg", "preact-small"]),
        (["--eps", "2"], ["2"]),
        (["--eps", "8/0"], ["8/0"]),
        (["--epochs", "0"], ["0"]),
        (["--lr", "nan"], ["nan"]),
        (["--lr", "0"], ["0"]),
        (["--width", "0"], ["0"]),
        (["--threads", "0"], ["0"]),
        (["--batch-size", "1000"], ["1000", "947"]),
        (["--seed", "-1"], ["-1"]),
        (["--device", "abacus"], ["abacus", "cpu"]),
        (["--device", "cuda:1000"], ["cuda:1000"]),
        (["--device", "cuda:-1"], ["cuda:-1"]),
        (["--lr", "1e300"], ["1e+300", "1e+06"]),
        (["--weight-decay", "1e300"], ["1e+300"]),
        (["--eps", "1e99999999"], ["1e99999999"]),
        (["a\nb"], ["a b"]),
        (["--device", "cuda:99"], ["cuda:99"]),
        (["--val-per-class", "1000"], ["1000"]),
        (["--ema", "1"], ["--ema", "1"]),
        (["--amp", "low"], ["--amp", "low", "train"]),
        (["--schedule", "steep"], ["steep", "cosine"]),
        (["--step-size", "0"], ["--step-size", "0"]),
        (["--init", "/nonexistent"], ["/nonexistent"]),
        (["--resume", "/nonexistent"], ["--out"]),
        (["--method", "frl", "--epochs", "1"], ["warm-up"]),
        (["extra"], ["extra"]),
    ],
)
def test_bad_input_is_refused(refuses, tmp_path, argv, says):
    refuses(train.main, *argv, "--out", tmp_path, says=says)
    assert list(tmp_path.iterdir()) == []


def test_divergence_is_told_and_leaves_what_was_good(refuses, tmp_path):
    for _ in range(2):
        argv = ("--lr", "1e6", "--epochs", "1", "--method", "natural", "--out", tmp_path)
        refuses(train.main, *argv, says=["diverged", "1e+06"])
        assert load_state(tmp_path / "checkpoint.safetensors")["epoch"] == 0


def test_unwritable_output_is_refused_before_training(refuses, tmp_path):
    (tmp_path / "file").write_text("kept")
    refuses(train.main, "--out", tmp_path / "file", says=["file"])
    assert (tmp_path / "file").read_text() == "kept"


def test_compare_prints_a_table_of_classes(invoke, tmp_path):
    for method in ("natural", "pgd", "frl"):
        assert invoke(train.main, "--method", method, *SMALL, "--out", tmp_path / method)[0] == 0
    code, out, _ = invoke(compare.main, tmp_path)
    header = next(line for line in out.splitlines() if line.startswith("class"))
    assert code == 0 and [c.strip() for c in header.split("|")] == ["class", "natural", "PGD", "FRL both"]
    assert "one seed" in out and "spread by chance" in out


def test_compare_refuses_what_is_no_run(refuses, tmp_path):
    refuses(compare.main, tmp_path, says=[str(tmp_path)])
    refuses(compare.main, tmp_path / "nothing")
    (tmp_path / "records.jsonl").write_text("{}\n")
    refuses(compare.main, tmp_path, says=["line 1"])
