"""Data sets as uint8 tensors, with seeded stratified training, validation and test splits."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.datasets import load_digits

from theory.inputs import InputError

__all__ = ["DATASETS", "DataSpec", "Dataset", "Split", "load"]

Bytes = npt.NDArray[np.uint8]
Arrays = tuple[Bytes, Bytes]
CIFAR10_CLASSES = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())
CIFAR10_RECORDS = 10_000
"""Images a file of CIFAR-10's binary layout; a record is a label byte and 3072 bytes, R, G, B planes."""


@dataclass(frozen=True)
class Split:
    """Images as stored, uint8 of shape (n, c, h, w), and labels of shape (n,)."""

    images: torch.Tensor
    labels: torch.Tensor
    peak: int

    def inputs(self, index: torch.Tensor | slice) -> torch.Tensor:
        """Return the chosen images as float32 in [0, 1], shape (len(index), c, h, w)."""
        return self.images[index].float() / self.peak

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """The three splits of a data set; the test split is never used before the end of training."""

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    sha256: str


@dataclass(frozen=True)
class DataSpec:
    """How a data set is read, and the settings that experiments on it use unless told otherwise.

    Args:
        read: returns (images, labels) of the training pool and of the test set from a folder, and the
            SHA-256 of all of it.
        needs_folder: whether ``--data-dir`` is required.
        peak: largest pixel value, which becomes 1.
        mean: mean of each channel in [0, 1].
        std: standard deviation of each channel.
        augment: random crop with 4 pixels of padding, and horizontal flip.
        threads: CPU threads; all cores if None.
    """

    classes: tuple[str, ...]
    read: Callable[[Path | None, int], tuple[Arrays, Arrays, str]]
    needs_folder: bool
    peak: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: bool
    val_per_class: int
    eps: str
    model: str
    width: int
    epochs: int
    batch_size: int
    threads: int | None


def load(
    name: str,
    data_dir: Path | None,
    *,
    seed: int,
    val: int,
    train: int | None,
    test: int | None,
    device: torch.device,
) -> Dataset:
    """Read a data set and split it.

    Args:
        name: key of `DATASETS`.
        data_dir: folder of the files, for data sets that are not embedded.
        seed: seed of the splits: which images of a class go where.
        val: validation images of each class, taken from the training pool.
        train: training images of each class; all that remain if None.
        test: test images of each class; all if None.
        device: where the tensors are put.

    Raises:
        InputError: the folder or a file is missing or damaged, or a class has too few images.
    """
    spec = DATASETS[name]
    if spec.needs_folder and data_dir is None:
        raise InputError(f"--dataset {name} needs --data-dir, the folder of its files")
    if not spec.needs_folder and data_dir is not None:
        raise InputError(f"--dataset {name} is embedded and takes no --data-dir, got {data_dir}")
    pool, held_out, digest = spec.read(data_dir, seed)
    rng = np.random.default_rng([seed, 1])
    chosen_val, rest = _take(pool[1], val, "validation", rng)
    chosen_train, _ = _take(pool[1], train, "training", rng, rest)
    chosen_test, _ = _take(held_out[1], test, "test", rng)

    def split(arrays: Arrays, index: npt.NDArray[np.intp]) -> Split:
        images, labels = (torch.from_numpy(a[index]).to(device) for a in arrays)
        return Split(images, labels.long(), spec.peak)

    parts = (split(pool, chosen_train), split(pool, chosen_val), split(held_out, chosen_test))
    return Dataset(name, spec.classes, *parts, sha256=digest)


def _take(
    labels: Bytes,
    per_class: int | None,
    use: str,
    rng: np.random.Generator,
    among: npt.NDArray[np.intp] | None = None,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the sorted indices of ``per_class`` random images of each class, and those left over."""
    among = np.arange(len(labels)) if among is None else among
    chosen = []
    for c in np.unique(labels):
        members = rng.permutation(among[labels[among] == c])
        if per_class is not None and not 1 <= per_class <= len(members):
            raise InputError(
                f"--{'val' if use == 'validation' else use.removesuffix('ing')}-per-class must be from 1 to "
                f"{len(members)}, the {use} images there are of class {c}, got {per_class}"
            )
        if not len(members):
            raise InputError(f"no {use} image is left of class {c}; take fewer validation images")
        chosen.append(members[:per_class])
    taken = np.sort(np.concatenate(chosen))
    return taken, np.setdiff1d(among, taken)


def _read_digits(data_dir: Path | None, seed: int) -> tuple[Arrays, Arrays, str]:
    """Return the 1797 digits embedded in scikit-learn (8 x 8, 17 grey levels), 60 a class held out by seed.

    They have no published test set, so the held-out images are drawn anew for each seed. The draws of
    different seeds overlap: an interval over seeds speaks of these 1797 images, not of new ones.
    """
    images, labels = load_digits(return_X_y=True)
    arrays = images.reshape(-1, 1, 8, 8).astype(np.uint8), labels.astype(np.uint8)
    held_out, pool = _take(arrays[1], 60, "test", np.random.default_rng([seed, 0]))
    return (
        (arrays[0][pool], arrays[1][pool]),
        (arrays[0][held_out], arrays[1][held_out]),
        _sha256(arrays),
    )


def _read_cifar10(data_dir: Path | None, seed: int) -> tuple[Arrays, Arrays, str]:
    """Return CIFAR-10 from its binary layout, in ``data_dir`` or in its folder cifar-10-batches-bin."""
    assert data_dir is not None
    inner = data_dir / "cifar-10-batches-bin"
    folder = inner if inner.is_dir() else data_dir
    if not folder.is_dir():
        raise InputError(
            f"--data-dir {data_dir} is not a folder; it must hold data_batch_1.bin and the others"
        )
    parts = [_read_cifar10_file(folder / f"data_batch_{i}.bin") for i in range(1, 6)]
    pool = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    held_out = _read_cifar10_file(folder / "test_batch.bin")
    for use, labels in (("training", pool[1]), ("test", held_out[1])):
        counts = np.bincount(labels, minlength=10)
        if (counts != len(labels) // 10).any():
            raise InputError(
                f"{folder} is damaged: every class must have {len(labels) // 10} {use} images, "
                f"got from {counts.min()} to {counts.max()}"
            )
    return pool, held_out, _sha256((*pool, *held_out))


def _sha256(arrays: Iterable[Bytes]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _read_cifar10_file(path: Path) -> Arrays:
    try:
        raw = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"cannot read the CIFAR-10 file {path}: {error.strerror}") from None
    if raw.size != CIFAR10_RECORDS * 3073:
        raise InputError(
            f"{path} is damaged or truncated: it must have {CIFAR10_RECORDS * 3073} bytes, got {raw.size}"
        )
    records = raw.reshape(CIFAR10_RECORDS, 3073)
    if records[:, 0].max() > 9:
        raise InputError(f"{path} is damaged: a label must be from 0 to 9, got {records[:, 0].max()}")
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].copy()


DATASETS: Mapping[str, DataSpec] = {
    "cifar10": DataSpec(
        classes=CIFAR10_CLASSES,
        read=_read_cifar10,
        needs_folder=True,
        peak=255,
        mean=(0.4914, 0.4822, 0.4465),  # of the training images, as usual in the field
        std=(0.2470, 0.2435, 0.2616),
        augment=True,
        val_per_class=300,  # as in FRL's published code
        eps="8/255",
        model="preact-resnet18",
        width=64,
        epochs=110,
        batch_size=128,
        threads=None,
    ),
    "digits": DataSpec(
        classes=tuple("0123456789"),
        read=_read_digits,
        needs_folder=False,
        peak=16,
        mean=(0.305,),
        std=(0.376,),
        augment=False,
        val_per_class=25,
        eps="0.15",
        model="preact-small",
        width=16,
        epochs=12,
        batch_size=64,
        threads=1,
    ),
}
