"""Data, models, attacks and evaluation: the parts that every method rests on."""

import numpy as np
import pytest
import torch
from torch import nn

from deep import data
from deep.attacks import attacking
from deep.augment import crop_and_flip
from deep.data import DATASETS, load
from deep.evaluate import Attack, evaluate
from deep.models import MODELS, PreActResNet
from theory.inputs import InputError

CPU = torch.device("cpu")


def digits(seed=0, **sizes):
    return load("digits", None, seed=seed, **({"val": 25, "train": None, "test": None} | sizes), device=CPU)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_attacking_restores_modes_and_flags_even_after_an_error():
    model = PreActResNet((1, 1), 4, 10, (0.3,), (0.4,)).train()
    model.norm.eval()
    model.head.weight.requires_grad_(False)
    with pytest.raises(RuntimeError), attacking(model):
        assert not any(m.training for m in model.modules())
        assert not any(p.requires_grad for p in model.parameters())
        raise RuntimeError
    assert model.training and not model.norm.training and model.stem.weight.requires_grad
    assert not model.head.weight.requires_grad


def test_evaluation_does_not_touch_the_model():
    d = digits(test=10)
    torch.manual_seed(0)
    model = PreActResNet((1, 1), 4, 10, (0.3,), (0.4,)).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    flags = [evaluate(model, d.test, Attack(0.1, "0.1", 3), seed=s, batch_size=37) for s in (0, 0, 1)]
    assert model.training and all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert (flags[0].ok_attacked == flags[1].ok_attacked).all()
    assert not (flags[0].ok_attacked & ~flags[0].ok_natural).any()
    clean = evaluate(model, d.test, Attack(0.0, "0", 3), seed=0)
    assert (clean.ok_attacked == clean.ok_natural).all()  # eps = 0 is no attack


def test_a_larger_radius_never_helps_and_a_huge_one_breaks_everything():
    d = digits(test=20)
    torch.manual_seed(0)
    model = PreActResNet((1, 1), 8, 10, (0.3,), (0.4,))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(d.train.inputs(slice(None))), d.train.labels).backward()
        optimizer.step()
    rates = [
        evaluate(model, d.test, Attack(e, str(e), 20), seed=0).errors(d.classes).average("robust_error")
        for e in (0.0, 0.05, 0.15, 1.0)
    ]
    assert rates == sorted(rates) and rates[0] < 0.3 and rates[-1] == 1.0


def test_models_have_the_published_size():
    spec = DATASETS["cifar10"]
    model = PreActResNet(MODELS["preact-resnet18"], 64, 10, spec.mean, spec.std)
    assert sum(p.numel() for p in model.parameters()) == 11_172_170  # 11.17 M
    assert model.eval()(torch.rand(2, 3, 32, 32)).shape == (2, 10)


def test_digits_are_split_by_seed_without_overlap():
    one, same, other = digits(), digits(), digits(seed=1)
    assert torch.equal(one.test.images, same.test.images) and not torch.equal(
        one.test.images, other.test.images
    )
    for split, per_class in ((one.val, 25), (one.test, 60)):
        assert torch.bincount(split.labels).tolist() == [per_class] * 10
    images = torch.cat([s.images.flatten(1) for s in (one.train, one.val, one.test)])
    assert len(images) == 1797 == len(torch.unique(images, dim=0))
    assert float(one.train.inputs(slice(None)).max()) == 1.0
    assert len(digits(train=7).train) == 70


@pytest.mark.parametrize(
    "sizes", [{"val": 0}, {"val": 500}, {"train": 0}, {"train": 98}, {"test": 61}, {"val": 114}]
)
def test_impossible_splits_are_refused(sizes):
    with pytest.raises(InputError, match="per-class|left"):
        digits(**sizes)


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """Write a small data set in CIFAR-10's binary layout and return its folder."""
    monkeypatch.setattr(data, "CIFAR10_RECORDS", 50)
    rng = np.random.default_rng(0)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        records = rng.integers(0, 256, (50, 3073), dtype=np.uint8)
        records[:, 0] = rng.permutation(np.arange(50) % 10)
        records.tofile(tmp_path / f"{name}.bin")
    return tmp_path


def cifar10(folder, **sizes):
    return load("cifar10", folder, seed=0, **({"val": 5, "train": None, "test": None} | sizes), device=CPU)


def test_cifar10_layout(cifar):
    d = cifar10(cifar, val=5, test=3)
    assert (len(d.train), len(d.val), len(d.test)) == (200, 50, 30)
    raw = np.fromfile(cifar / "data_batch_1.bin", np.uint8).reshape(50, 3073)
    first = torch.from_numpy(raw[0, 1:].reshape(3, 32, 32))  # planes R, G, B, row by row
    found = (torch.cat([d.train.images, d.val.images]) == first).flatten(1).all(1)
    assert int(found.sum()) == 1
    label = torch.cat([d.train.labels, d.val.labels])[found]
    assert int(label) == raw[0, 0] and d.classes[3] == "cat"
    (cifar / "cifar-10-batches-bin").mkdir()
    for file in cifar.glob("*.bin"):
        file.rename(cifar / "cifar-10-batches-bin" / file.name)
    assert cifar10(cifar).sha256 == d.sha256


@pytest.mark.parametrize(
    "damage", ["missing", "record short", "byte long", "empty", "bad label", "unequal", "folder"]
)
def test_damaged_cifar10_is_refused(cifar, damage):
    path = cifar / "data_batch_3.bin"
    raw = bytearray(path.read_bytes())
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        raw = {
            "record short": raw[:-3073],
            "byte long": raw + b"\0",
            "empty": b"",
            "bad label": b"\x0a" + raw[1:],
            "unequal": bytes([(raw[0] + 1) % 10]) + raw[1:],
        }[damage]
        path.write_bytes(raw)
    with pytest.raises(InputError, match=r"data_batch_3|every class"):
        cifar10(cifar)


def test_missing_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="needs --data-dir"):
        cifar10(None)
    with pytest.raises(InputError, match="not a folder"):
        cifar10(tmp_path / "nothing")
    with pytest.raises(InputError, match="takes no --data-dir"):
        load("digits", tmp_path, seed=0, val=25, train=None, test=None, device=CPU)


def test_augmentation_crops_and_flips_whole_images():
    x = torch.arange(1, 65).float().reshape(1, 1, 8, 8).repeat(400, 1, 1, 1)
    out = crop_and_flip(x, generator(), padding=2)
    assert out.shape == x.shape
    padded = nn.functional.pad(x[0, 0], [2] * 4)
    crops = {
        tuple(w.flatten().tolist())
        for i in range(5)
        for j in range(5)
        for p in (padded[i : i + 8, j : j + 8],)
        for w in (p, p.flip(1))
    }
    seen = {tuple(v.flatten().tolist()) for v in out}
    assert seen <= crops and len(seen) == len(crops) == 50  # all 25 shifts, both ways
    assert torch.equal(out, crop_and_flip(x, generator(), padding=2))
