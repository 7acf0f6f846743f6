"""Which images are trained on, validated on and tested on: drawn by seed and class, and kept in a file."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from deep.data.formats import Arrays, Bytes
from deep.data.raw_files import Raw
from deep.data.specs import DATASETS
from theory.common.inputs import InputError, parse_object, read_text

__all__ = ["Dataset", "Split", "load", "restore"]

Index = npt.NDArray[np.int64]
PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """Images as stored, uint8 of shape (n, c, h, w), and labels of shape (n,); or other inputs.

    Args:
        images: the images.
        labels: their classes, int64.
        peak: largest pixel value; inputs are divided by it.
        index: position of each image in the order of the files, int64 of shape (n,): the training files one
            after the other for images to train and validate on, the test files for those to test on.
            It names an image whatever the batch it comes in.
        dtype: of the inputs.
    """

    images: torch.Tensor
    labels: torch.Tensor
    peak: float
    index: torch.Tensor
    dtype: torch.dtype = torch.float32

    def inputs(self, index: torch.Tensor | slice) -> torch.Tensor:
        """Return the chosen images as numbers in [0, 1], shape (len(index), c, h, w)."""
        return self.images[index].to(self.dtype) / self.peak

    def take(self, chosen: torch.Tensor | slice) -> "Split":
        """Return the chosen images as a split of their own."""
        parts = self.images[chosen], self.labels[chosen], self.peak, self.index[chosen]
        return Split(*parts, self.dtype)

    def first(self, per_class: int) -> torch.Tensor:
        """Return the places of the first images of each class, or of all that there are, in order."""
        places = [(self.labels == c).nonzero().squeeze(1)[:per_class] for c in self.labels.unique()]
        return torch.cat(places).sort().values

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """The three splits of a data set; the test split is never used before the end of training.

    Args:
        name: key of `DATASETS`.
        classes: name of each class.
        train: what is trained on.
        val: what hyper-parameters, checkpoints and multipliers are chosen on.
        test: what errors are reported on.
        sha256: checksum of all images and labels of the data set.
        published: whether every file has the published checksum; None where one is not known.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    sha256: str
    published: bool | None

    @property
    def warning(self) -> str:
        """Return what a person must know of the files in one sentence, or nothing."""
        told = f"the files of {self.name} have other checksums than the published: numbers are of other data"
        return told if self.published is False else ""

    def to_json(self) -> str:
        """Return the index file: which images each split has. `restore` reads it."""
        parts = {name: getattr(self, name).index.tolist() for name in PARTS}
        return json.dumps({"dataset": self.name, "sha256": self.sha256, **parts}) + "\n"


def load(
    name: str,
    data_dir: Path | None,
    *,
    seed: int,
    val: int,
    train: int | None,
    test: int | None,
    device: torch.device,
    imbalance: float | None = None,
    download: bool = False,
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
        imbalance: ratio of the training images of the first class to those of the last. Class c of C,
            in the order of the labels, keeps the share ratio^(-c / (C - 1)) of its training images, the
            long-tailed profile of Cui et al. (2019, section 5.1). Validation and test images are as
            without it, and the images that are kept are a part of those without it.
        download: fetch files that are missing into ``data_dir``.

    Raises:
        InputError: the folder or a file is missing or damaged, or a class has too few images.
    """
    spec = DATASETS[name]
    raw = spec.read(name, data_dir, download=download)
    if raw.held_out is None:
        labels = raw.pool[1]
        chosen_test, pool = _take(labels, spec.held_out, "test", np.random.default_rng([seed, 0]))
    else:
        labels, pool = raw.held_out[1], np.arange(len(raw.pool[1]))
        chosen_test = np.arange(len(labels))
    rng = np.random.default_rng([seed, 1])
    chosen_val, rest = _take(raw.pool[1], val, "validation", rng, pool)
    chosen_train, _ = _take(raw.pool[1], train, "training", rng, rest, imbalance or 1.0)
    chosen_test, _ = _take(labels, test, "test", rng, chosen_test)
    return _assemble(name, raw, (chosen_train, chosen_val, chosen_test), device)


def restore(path: Path, data_dir: Path | None, device: torch.device, *, download: bool = False) -> Dataset:
    """Read the splits that an index file names.

    Args:
        path: what `Dataset.to_json` returned, in a file.
        data_dir: folder of the files, for data sets that are not embedded.
        device: where the tensors are put.
        download: fetch files that are missing into ``data_dir``.

    Raises:
        InputError: the index file or a data file is damaged, or they do not belong together.
    """
    found = parse_object(read_text(path), str(path))
    name = found.get("dataset")
    if set(found) != {"dataset", "sha256", *PARTS} or not isinstance(name, str) or name not in DATASETS:
        raise InputError(f"{path} must have a known dataset, its sha256, and lists train, val and test")
    raw = DATASETS[name].read(name, data_dir, download=download)
    if found["sha256"] != raw.sha256:
        raise InputError(f"{path} was made from other files of {name} than those in {data_dir}")
    among = (raw.pool, raw.pool, raw.held_out or raw.pool)
    parts = [_checked(path, p, found[p], len(arrays[1])) for p, arrays in zip(PARTS, among, strict=True)]
    apart = parts if raw.held_out is None else parts[:2]
    if len(np.unique(np.concatenate(apart))) < sum(map(len, apart)):
        raise InputError(f"{path} is damaged: no image may be in two splits, nor twice in one")
    return _assemble(name, raw, (parts[0], parts[1], parts[2]), device)


def _checked(path: Path, part: str, given: object, n: int) -> Index:
    """Return indices that were read."""
    chosen = given if isinstance(given, list) else []
    good = chosen and all(type(i) is int and 0 <= i < n for i in chosen)
    if not good or len(set(chosen)) < len(chosen):
        raise InputError(f"{path} is damaged: {part} must be a list of different integers from 0 to {n - 1}")
    return np.array(chosen)


def _assemble(name: str, raw: Raw, indices: tuple[Index, Index, Index], device: torch.device) -> Dataset:
    """Put the chosen images on the device."""

    def split(arrays: Arrays, index: Index) -> Split:
        images, labels = (torch.from_numpy(a[index]).to(device) for a in arrays)
        return Split(images, labels.long(), DATASETS[name].peak, torch.from_numpy(index).to(device))

    train, val, test = indices
    parts = (split(raw.pool, train), split(raw.pool, val), split(raw.held_out or raw.pool, test))
    return Dataset(name, DATASETS[name].classes, *parts, raw.sha256, raw.published)


def _take(
    labels: Bytes,
    per_class: int | None,
    use: str,
    rng: np.random.Generator,
    among: Index | None = None,
    ratio: float = 1.0,
) -> tuple[Index, Index]:
    """Return the sorted indices of ``per_class`` random images of each class, and those left over.

    Args:
        labels: the class of each image.
        per_class: images of each class, all if None.
        use: what they are for, for messages.
        rng: source of randomness.
        among: the images to choose from, all if None.
        ratio: of the images of the first class to those of the last, see `load`.
    """
    among = np.arange(len(labels)) if among is None else among
    chosen, classes = [], np.unique(labels)
    for c in classes:
        members = rng.permutation(among[labels[among] == c])
        if per_class is not None and not 1 <= per_class <= len(members):
            raise InputError(
                f"--{'val' if use == 'validation' else use.removesuffix('ing')}-per-class must be from 1 to "
                f"{len(members)}, the {use} images there are of class {c}, got {per_class}"
            )
        if not len(members):
            raise InputError(f"no {use} image is left of class {c}; take fewer validation images")
        share = ratio ** -(c / (len(classes) - 1))
        keep = int(share * len(members[:per_class]) + 1e-9)
        if not keep:
            raise InputError(f"--imbalance {ratio:g} leaves no {use} image of class {c}; lower it")
        chosen.append(members[:keep])
    taken = np.sort(np.concatenate(chosen))
    return taken, np.setdiff1d(among, taken)
