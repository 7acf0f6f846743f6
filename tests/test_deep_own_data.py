"""Training on data and networks of somebody else: runs by all commands, and what is refused."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

from deep import compare, grid, promote, repair, report, sanity, train
from deep.data import DATASETS, load, restore
from deep.data.distributed import World
from deep.data.own import read_own
from deep.data.specs import own_name
from deep.nets.networks import build
from deep.runs.place import Place
from deep.runs.reload import load_run
from deep.runs.settings import Settings
from theory.common.inputs import InputError

sys.path.insert(0, str(Path(__file__).parent))  # for deep.train --model
CLASSES = ("cat", "dog", "eel")
COUNTS = (20, 30, 40)
QUICK = "--eps 0.05 --epochs 2 --batch-size 16 --steps 1 --eval-steps 2 --threads 1 --device cpu".split()
MODEL = f"{__name__}:network"
CPU = torch.device("cpu")


def network(classes, shape):
    """Return a network of somebody else."""
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), classes))


def by_count(num_classes):
    """Return a network that only knows how many classes there are."""
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))


def headless(classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes + 1))


def broken(classes):
    raise RuntimeError("no\nsuch thing")


def for_ten():
    return nn.Linear(4, 10)


def arrays(shape=(2, 4, 6), scale=255):
    y = np.repeat(np.arange(3), COUNTS)
    x = np.random.default_rng(0).uniform(0, 0.5, (len(y), *shape)) + 0.2 * y.reshape(-1, *[1] * len(shape))
    return (x * scale).astype(np.uint8) if scale else x.astype(np.float32), y


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Return a npz file of 8-bit images of 3 classes, which are not square."""
    path = tmp_path_factory.mktemp("own") / "own.npz"
    x, y = arrays()
    np.savez(path, x=x, y=y, classes=np.array(CLASSES))
    return path


def given(own, *more):
    return ["--data", own, "--scale", 255, *QUICK, *more]


def test_splits_are_stratified_shares_and_come_back(own, tmp_path):
    name = own_name(read_own(own, 255.0)[1].sha256)
    sizes = {"seed": 3, "val": None, "train": None, "test": None, "device": CPU, "scale": 255.0}
    data = load(name, own, **sizes)
    counts = {part: np.bincount(getattr(data, part).labels).tolist() for part in ("train", "val", "test")}
    assert counts == {"test": [4, 6, 8], "val": [2, 2, 3], "train": [14, 22, 29]}
    index = np.concatenate([getattr(data, part).index for part in counts])
    assert sorted(index) == [*range(90)] and data.classes == CLASSES
    images = data.train.inputs(slice(None)).numpy()
    assert np.allclose(data.spec.mean, images.mean((0, 2, 3)), atol=1e-6)
    assert np.allclose(data.spec.std, images.std((0, 2, 3)), atol=1e-6)
    path = tmp_path / "split.json"
    path.write_text(data.to_json())
    again = restore(path, own, CPU, scale=255.0)
    assert (again.train.images == data.train.images).all() and again.spec == data.spec
    other = load(name, own, **{**sizes, "seed": 4})
    assert other.test.index.tolist() != data.test.index.tolist()
    with pytest.raises(InputError, match="other data"):
        load(name, own, **{**sizes, "scale": 254.0})


def test_a_name_is_of_the_content_alone(own, tmp_path):
    there = tmp_path / "elsewhere.npz"
    there.write_bytes(own.read_bytes())
    first = read_own(own, 255.0)[1].sha256
    assert read_own(there, 255.0)[1].sha256 == first
    x, y = arrays()
    x[0, 0, 0, 0] ^= 1
    np.savez(there, x=x, y=y, classes=np.array(CLASSES))
    assert read_own(there, 255.0)[1].sha256 != first  # read again, though the path is the same


@pytest.mark.parametrize("method", ["pgd", "trades", "frl"])
def test_a_run_that_was_interrupted_is_that_of_one_go(method, own, tmp_path, invoke):
    model = ["--model", MODEL] if method == "trades" else ["--width", 4]
    words = given(own, "--method", method, *model)
    assert invoke(train.main, *words, "--out", tmp_path / "whole")[0] == 0
    assert invoke(train.main, *words, "--out", tmp_path / "parts", "--stop-after", 1)[0] == 0
    code, out, err = invoke(train.main, "--resume", tmp_path / "parts")
    assert code == 0, err
    weights = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("whole", "parts")]
    assert weights[0] == weights[1]
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    assert config["settings"]["dataset"] == own_name(config["data_sha256"])
    assert config["settings"]["scale"] == 255 and config["data_dir"] == str(own)
    assert "each of the 2 wrong classes" in out
    assert invoke(train.main, *words, "--out", tmp_path / "whole")[1].count("finished") == 1


def test_every_command_takes_such_a_run(own, tmp_path, invoke, refuses):
    run, other = tmp_path / "run", tmp_path / "other"
    for method, folder in (("pgd", run), ("trades", other)):
        words = given(own, "--method", method, "--model", MODEL, "--val-per-class", 5)
        assert invoke(train.main, *words, "--out", folder)[0] == 0
    assert load_run(run).data.spec.shape == (2, 4, 6)
    code, out, _ = invoke(report.main, run)
    assert code == 0 and "each of the 2 wrong classes" in out and "9 wrong" not in out
    code, _, err = invoke(repair.main, run)
    assert code == 0, err
    code, out, err = invoke(compare.main, run, other, tmp_path / "run-offsets")
    assert code == 0 and MODEL in out, err
    assert invoke(sanity.main, run, "--per-class", 2, "--queries", 5)[0] in (0, 1)
    assert invoke(promote.main, run, "--to", tmp_path / "kept")[0] == 0
    moved = tmp_path / "moved.npz"
    moved.write_bytes(own.read_bytes())
    assert load_run(run, data_dir=moved).data.sha256 == load_run(run).data.sha256
    x, y = arrays()
    np.savez(moved, x=x[::-1], y=y[::-1])
    refuses(report.main, run, "--data-dir", moved)


def test_a_grid_takes_own_data(own, tmp_path, invoke):
    plan = tmp_path / "plan.toml"
    plan.write_text(f'data = "{own}"\nscale = 255\neps = "0.05"\nmethod = ["pgd", "trades"]\nthreads = 1\n')
    code, out, err = invoke(grid.main, plan, "--out", tmp_path / "runs", "--dry-run")
    assert code == 0 and out.count(f"--data={own}") == 2, err


def test_folders_and_vectors(tmp_path, invoke):
    x, y = arrays((5, 4, 3))
    for i, (image, label) in enumerate(zip(x, y, strict=True)):
        folder = tmp_path / "images" / CLASSES[label]
        folder.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(image).save(folder / f"{i:03}.png")
    spec, raw = read_own(tmp_path / "images", None)
    assert spec.classes == CLASSES and spec.peak == 255 and raw.pool[0].shape == (90, 3, 5, 4)
    assert (raw.pool[0].transpose(0, 2, 3, 1) == x).all()
    x, y = arrays((6,), None)
    np.savez(tmp_path / "v.npz", x=x, y=y)
    vectors = ["--data", tmp_path / "v.npz", *QUICK, "--out", tmp_path / "run"]
    assert invoke(train.main, *vectors, "--model", "linear", "--width", 1)[0] == 0
    assert tuple(load_run(tmp_path / "run").model.mean.shape) == (6,)


def test_a_crop_is_the_only_augmentation(own):
    def made(**more):
        name = own_name(read_own(own, 255.0)[1].sha256)
        settings = Settings(dataset=name, eps="0.05", scale=255, threads=1, batch_size=16, width=4, **more)
        place = Place(out=own.parent / "none", data_dir=own, device="cpu")
        return train.trainer_of(settings, place, train.data_of(settings, place), World())

    seen = [torch.cat([x for x, _ in made(**more)._batches()]) for more in ({}, {"crop": 2})]
    stored = made().data.train.inputs(slice(None))
    inside = [all((stored == x).flatten(1).all(1).any() for x in batch) for batch in seen]
    assert inside == [True, False]


NETWORKS = {
    "no.such.module:network": "no.such",
    f"{__name__}:nothing": "nothing",
    f"{__name__}:for_ten": "classes",
    "os:getcwd": "classes",
    f"{__name__}:broken": "no such thing",
    f"{__name__}:headless": "(n, 3)",
    f"{__name__}:arrays": "classes",
    "network": "package.module:function",
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_bad_network_is_refused(name, own, tmp_path, refuses):
    refuses(train.main, *given(own, "--model", name, "--out", tmp_path / "run"), says=(NETWORKS[name],))
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_network_may_take_the_count_alone():
    model = build(f"{__name__}:by_count", None, 10, DATASETS["digits"])
    assert model[1].out_features == 10 and model.training


X, Y = arrays()
BAD_FILES = {
    "nothing.npz": (None, "cannot read"),
    "text.txt": (b"x", ".npz"),
    "damaged.npz": (b"PK\x03\x04", "damaged"),
    "other.npz": ({"a": X}, "must hold x and y"),
    "short.npz": ({"x": X, "y": Y[:-1]}, "label for each"),
    "float-labels.npz": ({"x": X, "y": Y / 1.0}, "integers"),
    "negative.npz": ({"x": X, "y": Y - 1}, "from 0"),
    "one-class.npz": ({"x": X, "y": 0 * Y}, "2 classes"),
    "gap.npz": ({"x": X, "y": 2 * Y}, "at least 3"),
    "huge.npz": ({"x": X, "y": Y * 10**12}, "from 0"),
    "few.npz": ({"x": X[:22], "y": Y[:22]}, "got 2 of 1"),
    "nan.npz": ({"x": np.where(X > 5, np.nan, X), "y": Y}, "finite"),
    "negative-x.npz": ({"x": X / 255.0 - 0.5, "y": Y}, "bounds"),
    "names.npz": ({"x": X, "y": Y, "classes": np.array(["a", "a", "b"])}, "different"),
    "fewer-names.npz": ({"x": X, "y": Y, "classes": np.array(["a", "b"])}, "from 0 to 1"),
    "flat.npz": ({"x": Y, "y": Y}, "shape"),
    "folder": ("folder", "at least 2 classes"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_malformed_file_is_refused(name, tmp_path, refuses):
    content, says = BAD_FILES[name]
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif isinstance(content, dict):
        file = io.BytesIO()
        np.savez(file, **content)
        path.write_bytes(file.getvalue())
    elif content is not None:
        path.write_bytes(content)
    scale = [] if name.startswith(("nan", "negative-x")) else ["--scale", 255]
    refuses(train.main, "--data", path, "--eps", "0.05", *scale, "--out", tmp_path / "run", says=(says,))
    assert not (tmp_path / "run").exists()


BAD_FLAGS = [
    (["--scale", 255], "--eps must be given"),
    (["--eps", "0.1"], "scale=255"),
    (["--eps", "0.1", "--scale", "0"], "--scale"),
    (["--eps", "0.1", "--scale", 255, "--dataset", "digits"], "--dataset"),
    (["--eps", "0.1", "--scale", 255, "--data-dir", "x"], "--data-dir"),
    (["--eps", "0.1", "--scale", 255, "--padding", "reflect"], "--padding"),
    (["--eps", "0.1", "--scale", 255, "--model", MODEL, "--width", 3], "--width"),
    (["--eps", "0.1", "--scale", 255, "--batch-size", 66], "--batch-size"),
    (["--eps", "0.1", "--scale", 255, "--test-per-class", 5], "from 1 to 4"),
]


@pytest.mark.parametrize("words, says", BAD_FLAGS)
def test_flags_that_make_no_sense_are_refused(words, says, own, tmp_path, refuses):
    refuses(train.main, "--data", own, *words, "--out", tmp_path / "run", says=(says,))


def test_scale_is_for_own_data(refuses):
    refuses(train.main, "--scale", 255, says=("--scale",))


def misleading(classes):
    """Return a network whose last linear layer is not where the logits come from."""

    class Misleading(nn.Module):
        def __init__(self):
            super().__init__()
            self.logits, self.other = nn.LazyLinear(classes), nn.LazyLinear(classes)

        def forward(self, x):
            return self.logits(x.flatten(1)) + 0 * self.other(x.flatten(1))

    return Misleading()


def test_offsets_are_not_put_where_they_do_nothing(own, tmp_path, invoke, refuses):
    words = given(own, "--model", f"{__name__}:misleading", "--val-per-class", 5, "--out", tmp_path / "run")
    assert invoke(train.main, *words)[0] == 0
    refuses(repair.main, tmp_path / "run", says=("do not come from",))


def test_code_that_has_changed_is_told(own, tmp_path, invoke, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    source = "from torch import nn\ndef net(classes):\n    return "
    source += "nn.Sequential(nn.Flatten(), nn.Linear(48, classes))\n"
    (tmp_path / "their_network.py").write_text(source)
    words = given(own, "--model", "their_network:net", "--out", tmp_path / "run")
    assert invoke(train.main, *words, "--stop-after", 1)[0] == 0
    code, _, err = invoke(train.main, *words)
    assert code == 0 and "has changed" not in err and load_run(tmp_path / "run").warnings == ()
    (tmp_path / "their_network.py").write_text(source + "# another\n")
    assert "their_network:net has changed" in load_run(tmp_path / "run").warnings[0]
