"""Which images are trained on, validated on and tested on: drawn by seed and class, and kept in a file."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from deep.data.formats import Arrays, Bytes
from deep.data.order import reordered
from deep.data.own import channel_statistics, read_own
from deep.data.raw_files import Raw
from deep.data.specs import DATASETS, OWN, DataSpec, is_own, own_name
from deep.data.tensors import Split
from theory.common.inputs import InputError, parse_object, read_text
from theory.results.run_files import ORDER

__all__ = ["Dataset", "load", "restore"]

Index = npt.NDArray[np.int64]
PARTS = ("train", "val", "test")
VALIDATION = 0.1
"""Share of the images of each class of own data, without those to test on, that are validated on."""


@dataclass(frozen=True)
class Dataset:
    """The three splits of a data set; the test split is never used before the end of training.

    Args:
        name: key of `DATASETS`, or "own:" and the checksum of somebody's own data.
        classes: name of each class.
        train: what is trained on.
        val: what hyper-parameters, checkpoints and multipliers are chosen on.
        test: what errors are reported on.
        sha256: checksum of all images and labels of the data set.
        published: whether every file has the published checksum; None where one is not known.
        spec: shape of the inputs, their mean and standard deviation, and how they are augmented.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    sha256: str
    published: bool | None
    spec: DataSpec = OWN

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
    val: int | None,
    train: int | None,
    test: int | None,
    device: torch.device,
    imbalance: float | None = None,
    download: bool = False,
    scale: float | None = None,
) -> Dataset:
    """Read a data set and split it.

    Args:
        name: key of `DATASETS`, or that of own data.
        data_dir: folder of the files, for data sets that are not embedded; the path of own data.
        seed: seed of the splits: which images of a class go where.
        val: validation images of each class, taken from the training pool; a tenth of own data if None.
        train: training images of each class; all that remain if None.
        test: test images of each class; all if None.
        device: where the tensors are put.
        imbalance: ratio of the training images of the first class to those of the last. Class c of C,
            in the order of the labels, keeps the share ratio^(-c / (C - 1)) of its training images, the
            long-tailed profile of Cui et al. (2019, section 5.1). Validation and test images are as
            without it, and the images that are kept are a part of those without it.
        download: fetch files that are missing into ``data_dir``.
        scale: what own inputs are divided by.

    Raises:
        InputError: the folder or a file is missing or damaged, or a class has too few images.
    """
    spec, raw = _read(name, data_dir, download=download, scale=scale)
    if raw.held_out is None:
        labels = raw.pool[1]
        chosen_test, pool = _take(labels, spec.held_out, "test", np.random.default_rng([seed, 0]))
    else:
        labels, pool = raw.held_out[1], np.arange(len(raw.pool[1]))
        chosen_test = np.arange(len(labels))
    rng = np.random.default_rng([seed, 1])
    chosen_val, rest = _take(raw.pool[1], VALIDATION if val is None else val, "validation", rng, pool)
    chosen_train, _ = _take(raw.pool[1], train, "training", rng, rest, imbalance or 1.0)
    chosen_test, _ = _take(labels, test, "test", rng, chosen_test)
    return _assemble(name, spec, raw, (chosen_train, chosen_val, chosen_test), device)


def _read(name: str, data_dir: Path | None, *, download: bool, scale: float | None) -> tuple[DataSpec, Raw]:
    """Return a data set, and what networks need to know of it."""
    if name in DATASETS:
        return DATASETS[name], DATASETS[name].read(name, data_dir, download=download)
    if data_dir is None:
        raise InputError(f"the data {name} need --data-dir, the path that was given as --data")
    spec, raw = read_own(data_dir, scale)
    if own_name(raw.sha256) != name:
        raise InputError(f"{data_dir} has other data than {name}: they are {own_name(raw.sha256)}")
    return spec, raw


def restore(
    path: Path,
    data_dir: Path | None,
    device: torch.device,
    *,
    download: bool = False,
    scale: float | None = None,
) -> Dataset:
    """Read the splits that an index file names.

    Args:
        path: what `Dataset.to_json` returned, in a file; where the images of the data files are in another
            order, that of the file `ORDER` beside it is used, if there is one.
        data_dir: folder of the files, for data sets that are not embedded; the path of own data.
        device: where the tensors are put.
        download: fetch files that are missing into ``data_dir``.
        scale: what own inputs are divided by.

    Raises:
        InputError: the index file or a data file is damaged, or they do not belong together.
    """
    found = parse_object(read_text(path), str(path))
    name = found.get("dataset")
    known = isinstance(name, str) and (name in DATASETS or is_own(name))
    if set(found) != {"dataset", "sha256", *PARTS} or not known:
        raise InputError(f"{path} must have a known dataset, its sha256, and lists train, val and test")
    spec, raw = _read(str(name), data_dir, download=download, scale=scale)
    if found["sha256"] != raw.sha256:
        order = path.with_name(ORDER)
        again = reordered(raw, order, str(found["sha256"])) if order.exists() else None
        if again is None:
            raise InputError(f"{path} was made from other files of {name} than those in {data_dir}")
        raw = again
    among = (raw.pool, raw.pool, raw.held_out or raw.pool)
    parts = [_checked(path, p, found[p], len(arrays[1])) for p, arrays in zip(PARTS, among, strict=True)]
    apart = parts if raw.held_out is None else parts[:2]
    if len(np.unique(np.concatenate(apart))) < sum(map(len, apart)):
        raise InputError(f"{path} is damaged: no image may be in two splits, nor twice in one")
    return _assemble(str(name), spec, raw, (parts[0], parts[1], parts[2]), device)


def _checked(path: Path, part: str, given: object, n: int) -> Index:
    """Return indices that were read."""
    chosen = given if isinstance(given, list) else []
    good = chosen and all(type(i) is int and 0 <= i < n for i in chosen)
    if not good or len(set(chosen)) < len(chosen):
        raise InputError(f"{path} is damaged: {part} must be a list of different integers from 0 to {n - 1}")
    return np.array(chosen)


def _assemble(
    name: str, spec: DataSpec, raw: Raw, indices: tuple[Index, Index, Index], device: torch.device
) -> Dataset:
    """Put the chosen images on the device; own data get the statistics of those that are trained on."""

    def split(arrays: Arrays, index: Index) -> Split:
        images, labels = (torch.from_numpy(a[index]).to(device) for a in arrays)
        return Split(images, labels.long(), spec.peak, torch.from_numpy(index).to(device))

    train, val, test = indices
    parts = (split(raw.pool, train), split(raw.pool, val), split(raw.held_out or raw.pool, test))
    if is_own(name):
        mean, std = channel_statistics(raw.pool[0], train, spec.peak)
        spec = replace(spec, mean=mean, std=std)
    return Dataset(name, spec.classes, *parts, raw.sha256, raw.published, spec)


def _take(
    labels: Bytes,
    per_class: int | float | None,
    use: str,
    rng: np.random.Generator,
    among: Index | None = None,
    ratio: float = 1.0,
) -> tuple[Index, Index]:
    """Return the sorted indices of ``per_class`` random images of each class, and those left over.

    Args:
        labels: the class of each image.
        per_class: images of each class, their share if it is below 1, all if None.
        use: what they are for, for messages.
        rng: source of randomness.
        among: the images to choose from, all if None.
        ratio: of the images of the first class to those of the last, see `load`.
    """
    among = np.arange(len(labels)) if among is None else among
    chosen, classes = [], np.unique(labels)
    for c in classes:
        members = rng.permutation(among[labels[among] == c])
        n = _count(per_class, len(members))
        if n is not None and not 1 <= n <= len(members):
            raise InputError(
                f"--{'val' if use == 'validation' else use.removesuffix('ing')}-per-class must be from 1 to "
                f"{len(members)}, the {use} images there are of class {c}, got {n}"
            )
        if not len(members):
            raise InputError(f"no {use} image is left of class {c}; take fewer validation images")
        share = ratio ** -(c / (len(classes) - 1))
        keep = int(share * len(members[:n]) + 1e-9)
        if not keep:
            raise InputError(f"--imbalance {ratio:g} leaves no {use} image of class {c}; lower it")
        chosen.append(members[:keep])
    taken = np.sort(np.concatenate(chosen))
    return taken, np.setdiff1d(among, taken)


def _count(per_class: int | float | None, members: int) -> int | None:
    """Return how many of the images of a class are taken; of a share, at least one."""
    if per_class is None or per_class >= 1:
        return None if per_class is None else int(per_class)
    return max(1, round(per_class * members)) if per_class > 0 else 0
