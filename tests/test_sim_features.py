"""Which features linear classifiers lean on: the command, its readers of images, and a known answer."""

import gzip
import json
import sys

import numpy as np
import pytest

from sim import features
from sim.features import correlations, reliance, study
from sim.sampling.draws import Tsipras
from sim.sampling.images import Images, load
from theory.common.inputs import InputError
from theory.variants.tsipras import TsiprasModel

FAST = ["--samples", 40, "--resamples", 2]


def idx(array):
    sizes = b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


@pytest.fixture
def mnist(tmp_path):
    """Write small files laid out as MNIST: digits 0 to 9, each brighter in the columns up to its number."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "data" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for part, n in (("train", 600), ("t10k", 300)):
        labels = np.arange(n) % 10
        images = rng.integers(0, 60, (n, 4, 10)) + 90 * (np.arange(10) <= labels[:, None])[:, None]
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    return tmp_path / "data"


def arrays_of(path):
    with np.load(path) as archive:
        return dict(archive)


def test_natural_training_leans_on_weak_features_and_adversarial_training_does_not():
    """The model of Tsipras et al. on 100 weak features; with hardly any adversary the two are the same."""
    model = Tsipras(TsiprasModel(dim=100, p=0.75, eta=0.07))
    rng = np.random.default_rng(1)
    (plus, minus), test = model.draw(rng, 2000), model.draw(rng, 5000)
    images = Images((plus, minus), test, (1, 101))
    options = {"l2": 1e-4, "resamples": 4, "seed": 0}
    found = study(images, 0.3, **options)
    natural, adversarial = (found.reliances[t] for t in ("natural", "adversarial"))
    assert natural.weak > 0.3 and natural.used == 101
    assert adversarial.weak < 1e-9 and adversarial.strong == pytest.approx(1) and adversarial.used == 1
    robust = {t: sum(at[2][1].robust) for t, at in found.errors.items()}
    natural_errors = {t: sum(at[0][1].natural) for t, at in found.errors.items()}
    assert robust["adversarial"] < robust["natural"] - 500
    assert natural_errors["natural"] < natural_errors["adversarial"] - 100
    same = study(images, 1e-9, **options)
    assert vars(same.reliances["natural"]) == pytest.approx(vars(same.reliances["adversarial"]), rel=1e-3)


def test_correlations_are_pearsons():
    rng = np.random.default_rng(2)
    plus, minus = rng.standard_normal((30, 4)) + [1, 0, 0.3, 0], rng.standard_normal((50, 4))
    plus[:, 3] = minus[:, 3] = 7.1  # constant
    x, y = np.concatenate([plus, minus]), np.repeat([1.0, -1.0], [30, 50])
    expected = [np.corrcoef(x[:, j], y)[0, 1] for j in range(3)]
    np.testing.assert_allclose(correlations(plus, minus), [*expected, 0.0], atol=1e-12)


def test_shares_add_up_and_ranks_are_spearmans():
    found = reliance(np.array([1.0, -2.0, 0.0, 1.0]), np.array([0.05, 0.5, -0.2, 0.3]))
    assert (found.used, found.weak, found.middle, found.strong) == (3, 0.25, 0.0, 0.75)
    assert found.rank == pytest.approx(0.632, abs=1e-3)
    with pytest.raises(InputError, match="lower --eps"):
        reliance(np.zeros(3), np.ones(3))


def test_images_are_read_split_and_scaled(mnist):
    images = load("mnist", mnist, (7, 2), 40, 0)
    assert images.shape == (4, 10)
    assert [len(x) for x in (*images.train, *images.test)] == [40, 40, 30, 30]
    bright = [x.reshape(-1, 4, 10).mean(axis=(0, 1)) > 0.25 for x in images.train]
    assert [b.sum() for b in bright] == [8, 3] and images.train[0].max() <= 1
    assert load("mnist", mnist, (7, 2), 40, 1).sha256 != images.sha256
    assert load("mnist", mnist, (7, 2), 40, 0).sha256 == images.sha256
    raw = mnist / "MNIST" / "raw"
    for file in list(raw.iterdir()):  # unpacked, in the folder itself
        (mnist / file.name.removesuffix(".gz")).write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    assert load("mnist", mnist, (7, 2), 40, 0).sha256 == images.sha256
    held = load("digits", None, (5, 6), 2000, 0)
    assert [len(x) for x in held.test] == [60, 60] and held.shape == (8, 8)
    train, test = ({row.tobytes() for x in part for row in x} for part in (held.train, held.test))
    assert not train & test and held.train[0].max() == 1


def test_the_command_prints_and_writes_what_it_found(invoke, mnist, tmp_path):
    argv = ["--data-dir", mnist, "--pair", 8, 3, "--eps", "1/20", *FAST, "--out", tmp_path / "run"]
    code, out, _ = invoke(features.main, *argv)
    assert code == 0 and "8 against 3" in out and "resampled" in out
    written = json.loads((tmp_path / "run" / "features.json").read_text())
    assert written["settings"]["pair"] == [8, 3] and "data_dir" not in written["settings"]
    arrays = arrays_of(tmp_path / "run" / "features.npz")
    assert set(arrays) == {"correlation", "natural_weights", "adversarial_weights"}
    assert arrays["correlation"][:, 4:9].min() > 0.3  # the columns in which an 8 is brighter than a 3
    for training in ("natural", "adversarial"):
        assert written[training]["leaning"]["used"] == (arrays[f"{training}_weights"] != 0).sum()
        assert [e["eps"] for e in written[training]["errors"]] == [0, 0.025, 0.05, 0.1]
    assert invoke(features.main, *argv)[0] == 0
    assert np.array_equal(arrays_of(tmp_path / "run" / "features.npz")["correlation"], arrays["correlation"])


@pytest.mark.parametrize(
    "argv, says",
    [
        ([], ["--data-dir"]),
        (["--data", "digits", "--data-dir", "."], ["embedded"]),
        (["--data", "cifar10"], ["mnist, digits"]),
        (["--data", "digits", "--pair", "3", "3"], ["--pair"]),
        (["--data", "digits", "--pair", "3", "10"], ["--pair"]),
        (["--data", "digits", "--eps", "0"], ["--eps"]),
        (["--data", "digits", "--eps", "x"], ["--eps"]),
        (["--data", "digits", "--l2", "0"], ["--l2"]),
        (["--data", "digits", "--eps", "3", *FAST], ["lower --eps"]),
        (["--data-dir", "nowhere"], ["train-images-idx3-ubyte"]),
    ],
)
def test_bad_input_is_refused(refuses, tmp_path, argv, says):
    refuses(features.main, *argv, "--out", tmp_path / "new", says=says)


@pytest.mark.parametrize(
    "name, damage, says",
    [
        ("train-images-idx3-ubyte.gz", lambda b: b[: len(b) // 2], "train-images"),
        ("train-images-idx3-ubyte.gz", lambda b: b"\x1f\x8b" + bytes(50), "train-images"),
        ("train-images-idx3-ubyte.gz", lambda b: gzip.compress(gzip.decompress(b)[:-1]), "cut short"),
        ("train-images-idx3-ubyte.gz", lambda b: gzip.compress(b""), "cut short"),
        ("t10k-labels-idx1-ubyte.gz", lambda b: gzip.compress(idx(np.zeros(5))), "5 labels"),
        ("t10k-labels-idx1-ubyte.gz", lambda b: gzip.compress(idx(np.zeros(300))), "no digit 5"),
    ],
)
def test_damaged_files_are_refused(refuses, mnist, tmp_path, name, damage, says):
    path = mnist / "MNIST" / "raw" / name
    path.write_bytes(damage(path.read_bytes()))
    refuses(features.main, "--data-dir", mnist, "--out", tmp_path / "new", says=[says])


def test_a_missing_extra_is_named(refuses, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    refuses(features.main, "--data", "digits", "--out", tmp_path / "new", says=["robust-fairness[deep]"])


def test_the_folder_of_something_else_is_kept(refuses, tmp_path):
    (tmp_path / "features.json").write_text('{"id": "other"}')
    refuses(features.main, "--data", "digits", *FAST, "--out", tmp_path, says=["features.json"])
    assert (tmp_path / "features.json").read_text() == '{"id": "other"}'
