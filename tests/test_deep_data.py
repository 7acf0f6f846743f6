"""Data sets in their published layouts, made small here: what is read, what is refused, how it is split."""

import dataclasses
import gzip
import hashlib
import json
import struct
import tracemalloc
from collections import Counter

import numpy as np
import pytest
import scipy.io
import torch
from torch import nn

from deep import report, train
from deep.data import DATASETS, load, restore
from deep.data.augment import Augment
from deep.data.distributed import World
from deep.data.label_noise import with_label_noise
from deep.data.order import order_of
from deep.runs.command_line import parse
from theory.common.inputs import InputError
from theory.results.run_files import ORDER

CPU = torch.device("cpu")
STORED = ("cifar10", "cifar100", "fmnist", "mnist", "stl10", "svhn")


def get(name, folder=None, **more):
    sizes = {"seed": 0, "val": 1, "train": None, "test": None, "device": CPU}
    return load(name, folder, **(sizes | more))


def digits(seed=0, **sizes):
    return get("digits", **({"seed": seed, "val": 25} | sizes))


def cifar_file(path, images, labels, coarse=False):
    with path.open("wb") as file:
        for image, label in zip(images, labels, strict=True):
            file.write(bytes([label // 5] * coarse + [label]) + image.tobytes())


def idx_file(path, array):
    with (gzip.open if path.suffix == ".gz" else open)(path, "wb") as file:
        file.write(struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes())


def write_part(name, folder, part, images, labels):
    """Write one part of a data set as its publisher does."""
    files = DATASETS[name].files
    paths = [folder / n for n in getattr(files, part)]
    if name in ("mnist", "fmnist"):
        zipped = [p.with_name(p.name + ".gz") for p in paths] if part == "train" else paths
        idx_file(zipped[0], images[:, 0])
        idx_file(zipped[1], labels)
    elif name == "stl10":
        images.transpose(0, 1, 3, 2).tofile(paths[0])
        (labels + 1).tofile(paths[1])
    elif name == "svhn":
        y = np.where(labels == 0, 10, labels)[:, None]
        arrays = {"X": images.transpose(2, 3, 1, 0), "y": y.astype(np.uint8 if part == "train" else float)}
        scipy.io.savemat(paths[0], arrays, do_compression=part == "train")
    else:
        for path, k in zip(paths, np.array_split(np.arange(len(labels)), len(paths)), strict=True):
            cifar_file(path, images[k], labels[k], coarse=name == "cifar100")


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Return a function that writes a small data set and returns its folder and what is in it."""

    def make(name, per_class=5, held_out=2):
        spec, rng = DATASETS[name], np.random.default_rng(0)
        uneven = name in ("mnist", "svhn")  # as published
        counts = [(k, k + uneven) + (k,) * (len(spec.classes) - 2) for k in (per_class, held_out)]
        files = dataclasses.replace(spec.files, train_counts=counts[0], test_counts=counts[1])
        monkeypatch.setitem(DATASETS, name, dataclasses.replace(spec, files=files))
        folder, held = tmp_path / spec.files.folder, {}
        folder.mkdir(parents=True)
        for part, each in zip(("train", "test"), counts, strict=True):
            labels = rng.permutation(np.repeat(np.arange(len(each)), each)).astype(np.uint8)
            shape = (len(labels), len(spec.mean), spec.side, spec.side)
            held[part] = rng.integers(0, 256, shape, dtype=np.uint8), labels
            write_part(name, folder, part, *held[part])
        return tmp_path, held

    return make


@pytest.mark.parametrize("name", STORED)
def test_every_layout_gives_back_what_was_written(small, name):
    folder, written = small(name)
    data = get(name, folder)
    everything = [
        (written["train"], (data.train, data.val)),
        (written["test"], (data.test,)),
    ]
    for (images, labels), splits in everything:
        index = torch.cat([s.index for s in splits]).numpy()
        assert sorted(index) == list(range(len(labels))) and index.dtype == np.int64
        assert (torch.cat([s.images for s in splits]).numpy() == images[index]).all()
        assert (torch.cat([s.labels for s in splits]).numpy() == labels[index]).all()
    assert data.published is False and len(data.classes) == len(np.unique(written["test"][1]))
    for path in (folder / DATASETS[name].files.folder).iterdir():
        path.rename(folder / path.name)  # directly in the folder
    assert get(name, folder).sha256 == data.sha256


def test_a_checksum_that_is_not_the_published_one_is_said(small, monkeypatch):
    folder, _ = small("mnist")
    files = DATASETS["mnist"].files
    own = {}
    for path in (folder / files.folder).iterdir():
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        own[path.name.removesuffix(".gz")] = hashlib.md5(raw).hexdigest()
    for md5, verdict in ((own, True), (files.md5, False), ({k: own[k] for k in list(own)[:3]}, None)):
        spec = dataclasses.replace(DATASETS["mnist"], files=dataclasses.replace(files, md5=md5))
        monkeypatch.setitem(DATASETS, "mnist", spec)
        assert get("mnist", folder).published is verdict
    assert digits().published is True


def test_the_data_sets_are_described_in_full():
    assert list(DATASETS) == sorted((*STORED, "digits"))
    for name in STORED:
        spec, files = DATASETS[name], DATASETS[name].files
        assert (
            len(set(spec.classes)) == len(spec.classes) == len(files.train_counts) == len(files.test_counts)
        )
        assert len(spec.mean) == len(spec.std) == files.image_bytes // spec.side**2
        assert set(files.md5) == {*files.train, *files.test} and spec.val_per_class < min(files.train_counts)
        assert all(len(m) == 32 for m in (*files.md5.values(), *(d.md5 for d in files.downloads)))
    sizes = {n: (sum(DATASETS[n].files.train_counts), sum(DATASETS[n].files.test_counts)) for n in STORED}
    assert sizes["svhn"] == (73_257, 26_032) and sizes["mnist"] == sizes["fmnist"] == (60_000, 10_000)
    assert sizes["cifar10"] == sizes["cifar100"] == (50_000, 10_000) and sizes["stl10"] == (5_000, 8_000)
    names = DATASETS["cifar100"].classes
    assert names == tuple(sorted(names)) and names[0] == "apple" and names[-1] == "worm"


def damages(rng):
    """Return ways to damage the content of a file, at random places."""

    def flip(raw):
        raw = bytearray(raw)
        for _ in range(rng.integers(1, 4)):
            raw[int(min(rng.exponential(40), len(raw) - 1))] ^= int(rng.integers(1, 256))
        return bytes(raw)

    def huge(raw):
        at = int(rng.integers(0, 160)) // 4 * 4
        return raw[:at] + rng.choice([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0"]) + raw[at + 4 :]

    return {
        "flip": flip,
        "huge": huge,
        "truncate": lambda raw: raw[: rng.integers(0, len(raw))],
        "append": lambda raw: raw + rng.bytes(int(rng.integers(1, 100))),
        "garbage": lambda raw: rng.bytes(int(rng.integers(0, 400))),
        "empty": lambda raw: b"",
        "twice": lambda raw: raw + raw,
        "page": lambda raw: b"<!DOCTYPE html><html><body>Quota exceeded</body></html>\n",
    }


@pytest.mark.parametrize("name", STORED)
def test_no_damaged_file_gets_further_than_one_sentence(small, name):
    """Whatever a file holds, it is read or refused; only a changed pixel cannot be told from a right one."""
    folder, written = small(name, per_class=1 if name == "cifar100" else 5, held_out=1)
    rng, refused = np.random.default_rng(1), Counter()
    paths = sorted((folder / DATASETS[name].files.folder).iterdir())
    for kind, damage in 12 * list(damages(rng).items()):
        path = paths[rng.integers(len(paths))]
        raw = path.read_bytes()
        path.write_bytes(damage(raw))
        try:
            found = DATASETS[name].read(name, folder)
            assert kind in ("flip", "huge", "append", "truncate"), path  # the header of a .mat says little
            assert found.pool[0].shape == written["train"][0].shape and not found.published
        except InputError as error:
            assert len(str(error).splitlines()) == 1 and path.name.removesuffix(".gz") in str(error), (
                kind,
                error,
            )
            refused[kind] += 1
        path.write_bytes(raw)
    assert all(refused[kind] == 12 for kind in ("empty", "garbage", "truncate", "twice", "page")), refused
    assert (DATASETS[name].read(name, folder).pool[0] == written["train"][0]).all()


def test_every_byte_of_an_idx_header_counts(small):
    folder, _ = small("mnist")
    for name, size in (("t10k-images-idx3-ubyte", 16), ("t10k-labels-idx1-ubyte", 8)):
        path = folder / "MNIST" / "raw" / name
        raw = path.read_bytes()
        for at in range(size):
            path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
            with pytest.raises(InputError, match="no idx file"):
                get("mnist", folder)
        path.write_bytes(raw)
    assert get("mnist", folder).published is False


def test_a_wrong_label_is_refused_wherever_it_is(small):
    folder, _ = small("cifar10")
    path = folder / "cifar-10-batches-bin" / "data_batch_3.bin"
    raw = path.read_bytes()
    for label, says in ((raw[0] ^ 1, "5 images, got"), (10, "0 to 9"), (255, "0 to 9")):
        path.write_bytes(bytes([label]) + raw[1:])
        with pytest.raises(InputError, match=says):
            get("cifar10", folder)


def test_a_class_of_two_superclasses_is_refused(small):
    folder, _ = small("cifar100")
    path = folder / "cifar-100-binary" / "train.bin"
    raw = path.read_bytes()
    path.write_bytes(bytes([raw[0] ^ 1]) + raw[1:])
    with pytest.raises(InputError, match="one superclass"):
        get("cifar100", folder)


def test_a_file_of_another_data_set_is_refused(small, tmp_path):
    folder, _ = small("mnist")
    (folder / "MNIST").rename(folder / "FashionMNIST")
    with pytest.raises(InputError, match="60000|47040016"):
        get("fmnist", folder)
    raw = folder / "FashionMNIST" / "raw"
    (raw / "t10k-images-idx3-ubyte").replace(raw / "t10k-labels-idx1-ubyte")
    (raw.parent).rename(folder / "MNIST")
    with pytest.raises(InputError, match="missing"):
        get("mnist", folder)


@pytest.mark.parametrize("damage", ["missing", "folder", "link to nowhere", "not gzip", "gzip cut"])
def test_what_is_no_readable_file_is_refused(small, damage):
    folder, _ = small("mnist")
    path = folder / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    raw = path.read_bytes()
    path.unlink()
    {
        "missing": lambda: None,
        "folder": path.mkdir,
        "link to nowhere": lambda: path.symlink_to(folder / "nowhere"),
        "not gzip": lambda: path.write_bytes(gzip.decompress(raw)),
        "gzip cut": lambda: path.write_bytes(raw[:-5]),
    }[damage]()
    with pytest.raises(InputError, match="train-images-idx3-ubyte"):
        get("mnist", folder)


@pytest.mark.parametrize("name", ["mnist", "svhn"])
def test_a_file_that_swells_is_not_swallowed(small, name):
    """A small file of gigabytes of zeros costs no more memory than the data set that it claims to be."""
    folder, _ = small(name)
    path = folder / DATASETS[name].files.folder
    if name == "mnist":
        path /= "train-images-idx3-ubyte.gz"
        path.write_bytes(gzip.compress(bytes(1 << 27), 1))
    else:
        path /= "train_32x32.mat"
        scipy.io.savemat(path, {"X": np.zeros((32, 32, 3, 1 << 15), np.uint8)}, do_compression=True)
    tracemalloc.start()
    with pytest.raises(InputError, match="bytes"):
        get(name, folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6, peak


def test_missing_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="needs --data-dir"):
        get("cifar10")
    with pytest.raises(InputError, match="not a folder"):
        get("cifar10", tmp_path / "nothing")
    with pytest.raises(InputError, match="--download fetches it"):
        get("cifar10", tmp_path)
    with pytest.raises(InputError, match="takes no --data-dir"):
        get("digits", tmp_path)
    with pytest.raises(InputError, match="takes no --download"):
        get("digits", download=True)


def test_digits_are_split_by_seed_without_overlap():
    one, same, other = digits(), digits(), digits(seed=1)
    assert torch.equal(one.test.images, same.test.images)
    assert not torch.equal(one.test.images, other.test.images)
    for split, per_class in ((one.val, 25), (one.test, 60)):
        assert torch.bincount(split.labels).tolist() == [per_class] * 10
    images = torch.cat([s.images.flatten(1) for s in (one.train, one.val, one.test)])
    assert len(images) == 1797 == len(torch.unique(images, dim=0))
    index = torch.cat([s.index for s in (one.train, one.val, one.test)])
    assert sorted(index.tolist()) == list(range(1797))
    where = {i: x for i, x in zip(index.tolist(), images, strict=True)}
    again = zip(other.test.index.tolist(), other.test.images.flatten(1), strict=True)
    assert all(torch.equal(where[i], x) for i, x in again)  # an index names an image whatever the seed
    assert float(one.train.inputs(slice(None)).max()) == 1.0
    assert len(digits(train=7).train) == 70


@pytest.mark.parametrize(
    "sizes", [{"val": 0}, {"val": 500}, {"train": 0}, {"train": 98}, {"test": 61}, {"val": 114}]
)
def test_impossible_splits_are_refused(sizes):
    with pytest.raises(InputError, match="per-class|left"):
        digits(**sizes)


def test_label_noise_gives_a_share_of_each_class_one_of_the_other_labels():
    split = digits().train
    noisy, more = (with_label_noise(split, share, 10, 0) for share in (0.2, 0.5))
    wrong = noisy.labels != split.labels
    counts = torch.bincount(split.labels)
    assert torch.equal(torch.bincount(split.labels[wrong]), (0.2 * counts).round().long())
    assert torch.equal(noisy.index, split.index)
    assert (more.labels[wrong] == noisy.labels[wrong]).all(), "a larger share has those of a smaller one"
    assert not torch.equal(with_label_noise(split, 0.2, 10, 1).labels, noisy.labels)
    shift = torch.bincount((more.labels - split.labels)[more.labels != split.labels] % 10, minlength=10)
    assert shift[0] == 0
    expected = shift[1:].sum() / 9
    assert ((shift[1:] - expected).abs() < 5 * expected.sqrt()).all()
    assert torch.equal(with_label_noise(split, 0.0, 10, 0).labels, split.labels)


def test_what_is_trained_on_has_label_noise_and_what_is_measured_has_none(monkeypatch):
    seen = {}
    monkeypatch.setattr(train, "Trainer", lambda model, method, data, *_: seen.update(data=data))
    settings, place = parse(["--label-noise", "0.3", "--out", "unused"])
    clean = train.data_of(settings, place)
    train.trainer_of(settings, place, clean, World(0, 1))
    assert (seen["data"].train.labels != clean.train.labels).double().mean() == pytest.approx(0.3, abs=0.01)
    assert seen["data"].val is clean.val and seen["data"].test is clean.test


@pytest.mark.parametrize("share", ["-0.1", "1", "nan"])
def test_label_noise_outside_its_domain_is_refused(invoke, tmp_path, share):
    code, _, err = invoke(train.main, "--label-noise", share, "--out", tmp_path / "run")
    assert (code, "--label-noise" in err, share in err) == (2, True, True)


def test_imbalance_is_exponential_in_the_training_images_alone():
    even, uneven = digits(train=80), digits(train=80, imbalance=16.0)
    assert torch.bincount(uneven.train.labels).tolist() == [80, 58, 43, 31, 23, 17, 12, 9, 6, 5]
    assert set(uneven.train.index.tolist()) < set(even.train.index.tolist())
    for part in ("val", "test"):
        assert torch.equal(getattr(even, part).index, getattr(uneven, part).index)
    assert torch.equal(digits(imbalance=1.0).train.index, digits().train.index)
    for ratio in (2.0, 4.0, 5.0, 10.0, 20.0):  # n / ratio is whole: no image is lost to rounding
        assert torch.bincount(digits(train=80, imbalance=ratio).train.labels)[-1] == 80 / ratio
    with pytest.raises(InputError, match="--imbalance 1000"):
        digits(train=80, imbalance=1000.0)


def test_a_split_is_kept_and_restored(tmp_path, small):
    folder, _ = small("cifar10")
    for data, where in ((digits(seed=5, train=20, test=9), None), (get("cifar10", folder, seed=5), folder)):
        (tmp_path / "split.json").write_text(data.to_json())
        again = restore(tmp_path / "split.json", where, CPU)
        for part in ("train", "val", "test"):
            for field in ("images", "labels", "index"):
                assert torch.equal(getattr(getattr(data, part), field), getattr(getattr(again, part), field))
        assert (data.name, data.sha256, data.classes) == (again.name, again.sha256, again.classes)


def test_the_same_images_in_another_order_are_put_into_that_of_the_split(tmp_path, small):
    """Equal images among them; a pixel or a label that is another is refused, as without the file."""
    folder, held = small("cifar10", 6)
    held["train"][1].sort()
    held["train"][0][1] = held["train"][0][0]  # of one class
    home = folder / DATASETS["cifar10"].files.folder

    def write(order, change=lambda images, labels: None):
        images, labels = (a[order].copy() for a in held["train"])
        change(images, labels)
        write_part("cifar10", home, "train", images, labels)

    write(np.arange(60))
    path = tmp_path / "split.json"
    data = get("cifar10", folder, seed=5)
    path.write_text(data.to_json())
    (tmp_path / ORDER).write_bytes(order_of(DATASETS["cifar10"].read("cifar10", folder)))
    mixed = np.random.default_rng(1).permutation(60)
    write(mixed)
    again = restore(path, folder, CPU)
    assert again.sha256 == data.sha256 and again.to_json() == data.to_json()
    for part in ("train", "val", "test"):
        assert torch.equal(getattr(again, part).images, getattr(data, part).images)
        assert torch.equal(getattr(again, part).labels, getattr(data, part).labels)

    def pixel(images, labels):
        images[3, 0, 0, 0] ^= 1

    def label(images, labels):
        labels[[3, np.flatnonzero(labels != labels[3])[0]]] = labels[
            [np.flatnonzero(labels != labels[3])[0], 3]
        ]

    for change in (pixel, label):
        write(mixed, change)
        with pytest.raises(InputError, match="other files"):
            restore(path, folder, CPU)
    write(mixed)
    (tmp_path / ORDER).write_bytes(b"no arrays")
    with pytest.raises(InputError, match=ORDER):
        restore(path, folder, CPU)
    (tmp_path / ORDER).unlink()
    with pytest.raises(InputError, match="other files"):
        restore(path, folder, CPU)


@pytest.mark.parametrize(
    "change, says",
    [
        ({"train": [0, 0]}, "different integers"),
        ({"train": [1797]}, "0 to 1796"),
        ({"train": [-1]}, "0 to 1796"),
        ({"train": [True]}, "integers"),
        ({"train": [1.0]}, "integers"),
        ({"train": [[1]]}, "integers"),
        ({"train": "1, 2"}, "integers"),
        ({"train": []}, "integers"),
        ({"train": [10**30]}, "integers"),
        ({"train": [5], "val": [5]}, "two splits"),
        ({"train": [5], "test": [5]}, "two splits"),
        ({"sha256": "0"}, "other files"),
        ({"dataset": "imagenet"}, "known dataset"),
        ({"dataset": ["digits"]}, "known dataset"),
        ({"dataset": "mnist"}, "--data-dir"),
        ({"more": 1}, "known dataset"),
    ],
)
def test_a_damaged_split_is_refused(tmp_path, change, says):
    good = json.loads(digits(train=2).to_json()) | {"val": [7], "test": [8]}
    (tmp_path / "split.json").write_text(json.dumps(good | change))
    with pytest.raises(InputError, match=says):
        restore(tmp_path / "split.json", None, CPU)


def test_a_split_that_is_no_json_is_refused(tmp_path):
    path = tmp_path / "split.json"
    for content in (b"", b"\xff\xfe", b"[", b"[]", b"1" * 5000, b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(InputError):
            restore(path, None, CPU)
    with pytest.raises(InputError, match="cannot read"):
        restore(tmp_path, None, CPU)


@pytest.mark.parametrize("fill", ["zero", "reflect"])
@pytest.mark.parametrize("flip", [True, False])
def test_augmentation_crops_and_flips_whole_images(fill, flip):
    x = torch.arange(1, 65).float().reshape(1, 1, 8, 8).repeat(400, 1, 1, 1)
    augment = Augment(padding=2, flip=flip, fill=fill)
    out = augment(x, torch.Generator().manual_seed(0))
    assert out.shape == x.shape
    padded = nn.functional.pad(x[:1], [2] * 4)[0, 0]
    if fill == "reflect":
        padded = torch.from_numpy(np.pad(x[0, 0].numpy(), 2, mode="reflect"))
    crops = {
        tuple(w.flatten().tolist())
        for i in range(5)
        for j in range(5)
        for p in (padded[i : i + 8, j : j + 8],)
        for w in ((p, p.flip(1)) if flip else (p,))
    }
    seen = {tuple(v.flatten().tolist()) for v in out}
    assert seen <= crops and len(seen) == len(crops) == 25 * (1 + flip)  # all 25 shifts
    assert torch.equal(out, augment(x, torch.Generator().manual_seed(0)))


SHORT = [
    "--method",
    "pgd",
    "--threads",
    "1",
    "--epochs",
    "1",
    "--steps",
    "1",
    "--eval-steps",
    "1",
    "--batch-size",
    "8",
]


def test_a_run_on_files_says_which_they_were(invoke, small, tmp_path):
    folder, _ = small("cifar10")
    out = tmp_path / "run"
    argv = ["--dataset", "cifar10", "--data-dir", folder, "--width", "2", "--val-per-class", "1", *SHORT]
    code, _, err = invoke(train.main, *argv, "--padding", "reflect", "--imbalance", "2", "--out", out)
    assert code == 0 and err.count("checksums") == 1, err
    result = json.loads((out / "result.json").read_text())
    assert result["provenance"]["data_published"] is False and "checksums" in " ".join(result["warnings"])
    code, said, err = invoke(report.main, out, "--attacks", "pgd", "--steps", "1")
    assert code == 0 and said.count("checksums") == 1, err
    assert "checksums" in " ".join(json.loads((out / "report" / "report.json").read_text())["warnings"])
    assert (result["setting"]["padding"], result["setting"]["imbalance"]) == ("reflect", 2.0)
    split = json.loads((out / "split.json").read_text())
    assert result["provenance"]["data_sha256"] == split["sha256"] and len(split["val"]) == 10
    assert result["setting"]["n_train"] == len(split["train"]) < 40
    again = restore(out / "split.json", folder, CPU)
    assert torch.bincount(again.train.labels).tolist() == [4, 3, 3, 3, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("model", ["linear", "small-cnn", "resnet18", "preact-small"])
def test_every_small_model_trains(invoke, tmp_path, model):
    argv = ["--model", model, "--train-per-class", "2", "--test-per-class", "2", *SHORT]
    assert invoke(train.main, *argv, "--out", tmp_path)[0] == 0


@pytest.mark.parametrize(
    "argv, says",
    [
        (["--dataset", "svhn"], ["--data-dir"]),
        (["--dataset", "stl10", "--download"], ["--data-dir"]),
        (["--download"], ["--download", "digits"]),
        (["--padding", "reflect"], ["--padding", "digits"]),
        (["--padding", "wrap"], ["wrap", "reflect"]),
        (["--imbalance", "0.5"], ["0.5"]),
        (["--imbalance", "nan"], ["nan"]),
        (["--imbalance", "1e5"], ["--imbalance 100000", "class"]),
        (["--model", "linear", "--width", "4"], ["linear", "4"]),
        (["--dataset", "cifar10", "--data-dir", "a\0b"], ["--data-dir"]),
    ],
)
def test_bad_flags_are_refused(refuses, tmp_path, argv, says):
    refuses(train.main, *argv, "--out", tmp_path, says=says)
    assert not list(tmp_path.iterdir())


def test_an_imbalance_of_one_is_none(invoke, tmp_path):
    ids = []
    for name, more in (("a", []), ("b", ["--imbalance", "1"]), ("c", ["--imbalance", "2"])):
        argv = ["--model", "linear", "--train-per-class", "4", "--test-per-class", "2", *SHORT, *more]
        assert invoke(train.main, *argv, "--out", tmp_path / name)[0] == 0
        ids.append(json.loads((tmp_path / name / "result.json").read_text())["id"])
    assert ids[0] == ids[1] != ids[2]
