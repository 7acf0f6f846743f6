"""What is promoted: copies without weights and without paths of the machine, of runs that are finished."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from deep import portrait, promote, report, train
from deep.attacks.linear_oracle import Linear
from deep.data import DATASETS
from deep.nets.networks import build
from deep.runs import shipped
from deep.runs.command_line import parse
from deep.runs.folder import read_config, weights_sha256
from deep.runs.place import resumed, run_of
from deep.runs.reload import load_run
from deep.training.checkpoint import fill
from paper_figs.archive import read_archive
from theory.common.inputs import InputError
from theory.results.flags import Evaluation
from theory.results.records import read_records

SMALL = ["--epochs", "2", "--steps", "2", "--eval-steps", "2", "--width", "4", "--train-per-class", "20"]
SMALL += ["--test-per-class", "10", "--threads", "1"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the folders of a natural and an FRL run."""
    root = tmp_path_factory.mktemp("runs")
    for name, more in {"natural": [], "frl": ["--variant", "reweight", "--seed", "0"]}.items():
        assert train.main(["--method", name, *SMALL, *more, "--out", str(root / name)]) == 0
    return root


def link_of(size, **more):
    """Return the text of a link.json of some digits."""
    both = ("natural_error", "robust_error")
    errors = dict.fromkeys(both, [0.5] * size)
    side = {**errors, "low": errors, "high": errors}
    confusion = dict.fromkeys(("natural", "attacked"), np.eye(size).tolist())
    parts = {name: {q: {} for q in both} for name in ("rank_correlation", "explained_variance")}
    parts |= {"predicted": side, "measured": side, "failures": {q: [] for q in both}}
    return json.dumps({"classes": [*map(str, range(size))], "confusion": confusion, **parts, **more})


@pytest.fixture
def runs(made, tmp_path):
    return shutil.copytree(made, tmp_path / "runs")


def test_a_promoted_run_has_the_same_numbers(runs, invoke, tmp_path):
    argv = ["python", "-m", "deep.link", str(runs / "frl"), "--eps", "8/255"]
    (runs / "frl" / "link.json").write_text(link_of(10, a=[0.5], provenance={"argv": argv}))
    (runs / "frl" / "report").mkdir()
    shutil.copy(runs / "frl" / "flags.npz", runs / "frl" / "report" / "evaluation.npz")
    code, out, _ = invoke(promote.main, runs / "natural", runs / "frl", "--to", tmp_path / "to")
    assert code == 0 and out.count("flags.npz") == 2
    names = {m: read_config(runs / m)["id"] for m in ("natural", "frl")}
    there = tmp_path / "to" / names["frl"]
    files = {str(p.relative_to(there)) for p in there.rglob("*") if p.is_file()}
    assert files == {"records.jsonl", "history.jsonl", "flags.npz", "link.json", "report/evaluation.npz"}
    before, after = (read_records(f) for f in (runs / "frl", there))
    assert [(r.setting, r.label, r.errors) for r in before] == [(r.setting, r.label, r.errors) for r in after]
    flags = [Evaluation.read(f / "flags.npz") for f in (runs / "frl", there)]
    np.testing.assert_array_equal(flags[0].ok, flags[1].ok)
    argv = promote.command(read_config(runs / "frl"), runs / "frl")
    assert {tuple(r.provenance["argv"]) for r in after} == {tuple(argv)} and "commit" in after[0].provenance
    everything = "".join(p.read_text() for p in (tmp_path / "to").rglob("*.json*"))
    assert str(tmp_path) not in everything
    kept = json.loads((there / "link.json").read_text())
    assert kept["a"] == [0.5] and kept["provenance"]["argv"] == [
        "python",
        "-m",
        "deep.link",
        f"runs/deep/{names['frl']}",
        "--eps",
        "8/255",
    ]
    archive = read_archive(tmp_path / "to")
    assert [(r.name, len(r.history), r.margins is None) for r in archive.runs] == [
        (name, 2, name == names["natural"]) for name in sorted(names.values())
    ]


def test_the_command_of_a_record_makes_the_run_again(runs):
    """It names what is not a default, and nothing else; the variant decides what the default is."""
    config = read_config(runs / "frl")
    words = promote.command(config, runs / "frl")
    assert parse(words[3:])[0].id == config["id"]
    assert {word[2:].split("=")[0].replace("-", "_") for word in words[3:]} == {
        *("method", "dataset", "seed", "threads", "variant"),
        *("epochs", "steps", "eval_steps", "width", "train_per_class", "test_per_class"),
    }
    assert parse([*words[3:], "--steps=3"])[0].id != config["id"]


def test_where_data_and_warm_up_lie_is_said_as_the_project_has_it(runs):
    config = dict(read_config(runs / "natural"))
    config["data_dir"] = str(runs / "MNIST")
    assert promote.command(config, runs / "natural")[-1] == "--data-dir=data/MNIST"
    settings, _ = run_of({"dataset": "cifar10"})
    config = {"settings": settings.as_json(), "id": settings.id}
    for there, said in (("cifar-10-batches-bin", "data/cifar-10-batches-bin"), ("elsewhere", "data")):
        config["data_dir"] = str(runs / there)
        assert promote.command(config, runs / "natural")[-1] == f"--data-dir={said}"


def test_a_command_names_the_preset_that_makes_it_short(runs):
    for asked in ({"preset": "cpu", "amp": "all"}, {"preset": "cpu-long"}, {"preset": "cpu", "epochs": 21}):
        settings, _ = run_of({"dataset": "cifar10", "method": "trades", **asked})
        words = promote.command({"settings": settings.as_json(), "id": settings.id}, runs / "natural")[3:]
        assert parse(words)[0].id == settings.id
        left = {w for w in words if not w.startswith(("--method", "--dataset", "--seed", "--threads"))}
        assert left == {f"--{k}={v}" for k, v in asked.items()}


def test_a_network_of_the_package_is_read_by_its_name_and_reported_on_in_a_copy(
    runs, invoke, refuses, tmp_path, monkeypatch
):
    networks = tmp_path / "networks"
    to = ("--to", networks, "--network", "digits-frl")
    assert invoke(promote.main, runs / "frl", *to)[0] == 0
    assert str(tmp_path) not in (networks / "digits-frl" / "config.json").read_text()
    monkeypatch.setattr(shipped, "NETWORKS", networks)
    monkeypatch.chdir(tmp_path)
    assert shipped.shipped() == ("digits-frl",)
    run, again = load_run(runs / "frl"), load_run("digits-frl")
    x = run.data.test.inputs(slice(None))
    assert torch.equal(run.model(x), again.model(x)) and again.warnings == run.warnings
    before = sorted(networks.rglob("*"))
    words = ("--attacks", "pgd", "--steps", "1", "--per-class", "2")
    code, _, err = invoke(report.main, "digits-frl", *words)
    assert code == 0 and "runs/digits-frl" in err
    assert invoke(report.main, "digits-frl", *words)[2] == "", "copied once"
    assert (tmp_path / "runs" / "digits-frl" / "report" / "report.json").is_file()
    assert sorted(networks.rglob("*")) == before
    refuses(report.main, "digits-pgd", says=["digits-pgd"])
    refuses(promote.main, runs / "frl", "--to", networks, "--network", "../a", says=["--network", "../a"])
    refuses(promote.main, runs / "frl", runs / "natural", *to, says=["digits-frl"])
    weights = runs / "frl" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"1234")
    refuses(promote.main, runs / "frl", "--to", tmp_path / "to", "--network", "a", says=["SHA-256"])


@pytest.mark.parametrize("name", shipped.shipped())
def test_a_network_that_comes_with_the_package_is_whole_and_small(name):
    """Its weights were attacked, its flags give its errors, and its images can be found again."""
    folder = shipped.run_folder(Path(name))
    config, result = read_config(folder), json.loads((folder / "result.json").read_text())
    settings, _ = resumed(config, folder, device="cpu")
    spec = DATASETS[settings.dataset]
    model = build(settings.model, settings.width, len(spec.classes), spec)
    fill(model, folder / "model.safetensors")
    assert weights_sha256(folder)[1] == "" and (folder / "model.safetensors").stat().st_size < 3e6
    flags = Evaluation.read(folder / "flags.npz")
    for quantity, rates in (("natural_error", ~flags.ok[0]), ("robust_error", ~flags.ok_attacked)):
        errors = [int(rates[flags.labels == c].sum()) for c in range(len(spec.classes))]
        assert errors == result[quantity]["errors"]
    order = np.load(folder / "order.npz")
    split = json.loads((folder / "split.json").read_text())
    assert len(order["pool"]) == len(split["train"]) + len(split["val"])
    assert len(order["held_out"]) == len(split["test"]) == len(flags.labels)
    assert model(torch.rand(2, 3, 32, 32)).isfinite().all()


def test_there_are_networks_with_the_package():
    assert shipped.shipped() == ("cifar10-natural", "cifar10-pgd")


def test_a_run_that_cannot_be_promoted_is_refused_and_nothing_is_written(runs, refuses, tmp_path):
    to = tmp_path / "to"
    promoted = [runs / "natural", runs / "frl"]
    (runs / "unfinished").mkdir()
    shutil.copy(runs / "frl" / "config.json", runs / "unfinished")
    refuses(promote.main, *promoted, runs / "unfinished", "--to", to, says=["unfinished"])
    refuses(promote.main, *promoted, runs / "frl", "--to", to, says=["another RUN given"])
    refuses(promote.main, runs / "nothing", "--to", to, says=["nothing"])
    (runs / "frl" / "link.json").write_text(link_of(10, **{"made in": "/somewhere/else"}))
    refuses(promote.main, *promoted, "--to", to, says=["link.json", "/somewhere/else"])
    (runs / "frl" / "link.json").write_text("{")
    refuses(promote.main, *promoted, "--to", to, says=["link.json"])
    (runs / "frl" / "link.json").unlink()
    flags = (runs / "frl" / "flags.npz").read_bytes()
    (runs / "frl" / "flags.npz").write_bytes(flags[:50])
    refuses(promote.main, *promoted, "--to", to, says=["flags.npz"])
    assert not to.exists()


def test_a_folder_of_runs_stands_for_them(runs, invoke, refuses, tmp_path):
    (runs / "notes.log").write_text("not a run")
    assert invoke(promote.main, runs, "--to", tmp_path / "all")[0] == 0
    finished = [path for path in runs.iterdir() if (path / "result.json").is_file()]
    assert len([*(tmp_path / "all").iterdir()]) == len(finished) > 1
    refuses(promote.main, tmp_path, "--to", tmp_path / "none", says=[str(tmp_path)])
    (finished[0] / "config.json").unlink()
    refuses(promote.main, runs, "--to", tmp_path / "none", says=[str(finished[0]), "config.json"])


def test_what_was_promoted_is_never_overwritten(runs, invoke, refuses, tmp_path):
    to = tmp_path / "to"
    assert invoke(promote.main, runs / "frl", "--to", to)[0] == 0
    before = {p: p.read_bytes() for p in to.rglob("*") if p.is_file()}
    refuses(promote.main, runs / "natural", runs / "frl", "--to", to, says=["there already"])
    assert {p: p.read_bytes() for p in to.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    "text, seen",
    [
        ("/home/x", True),
        ("--out=/x", True),
        ("~/data", True),
        ("C:\\runs", True),
        ("cannot read '/tmp/y'", True),
        ("eps=8/255, step=eps/4", False),
        ("runs/deep/0123", False),
        ("../runs", False),
        ("and / or", False),
    ],
)
def test_paths_of_a_machine_are_seen(text, seen):
    assert bool(promote.PATH.search(text)) == seen


def test_gradients_are_those_of_the_loss_even_where_the_network_is_sure():
    """Of a linear network it is W^T (p - one-hot); here float32 would make it 0."""
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(3, 4, generator=generator), torch.rand(5, 1, 2, 2, generator=generator)
    model = Linear(300 * weight, torch.zeros(3))
    y = model(x).argmax(1)
    logits = x.flatten(1).double() @ (300 * weight).double().T
    exact = (torch.softmax(logits, 1) - torch.nn.functional.one_hot(y, 3)) @ (300 * weight).double()
    scaled = exact / (3 * exact.square().mean(dim=1, keepdim=True).sqrt())
    found = portrait.gradients(model, x, y)
    np.testing.assert_allclose(found.reshape(5, 4), 128 + 127 * scaled.clamp(-1, 1), atol=0.51)
    assert (torch.softmax(model(x).detach(), 1).amax(1) == 1).any()


def test_portraits_hold_what_the_networks_do(runs, invoke, refuses, tmp_path):
    out = tmp_path / "records" / "portrait.npz"
    argv = [runs / "natural", runs / "frl", "--times", "2"]
    assert invoke(portrait.main, *argv, "--out", out)[0] == 0
    shutil.copy(runs / "frl" / "records.jsonl", out.parent)
    (found,) = read_archive(out.parent).saliency
    assert found.networks == ("natural", "FRL reweight") and found.labels.tolist() == [*range(10)]
    moved = np.abs(found.adversarial.astype(int) - found.images[None].astype(int))
    assert 0.9 < moved.max() / (255 * 2 * 0.15) < 1.02
    assert (found.gradients[0] != found.gradients[1]).any() and found.gradients.std(axis=(2, 3, 4)).min() > 5
    kept = out.read_bytes()
    assert invoke(portrait.main, *argv, "--out", out)[0] == 0 and out.read_bytes() == kept
    refuses(portrait.main, *argv, "--out", tmp_path / "other.npz", says=["portrait*.npz"])
    refuses(portrait.main, *argv, "--per-class", 11, "--out", out, says=["--per-class", "at most 10"])
    refuses(portrait.main, *argv[:2], "--times", 0, "--out", out, says=["--times"])
    with np.load(out) as arrays:
        arrays = dict(arrays)
    for damage in (
        {"labels": arrays["labels"] + 1},
        {"images": arrays["images"][:5]},
        {"more": arrays["labels"]},
    ):
        np.savez(out, **(arrays | damage))
        with pytest.raises(InputError, match=r"portrait\.npz"):
            read_archive(out.parent)
