"""Own data to train on: a folder of images by class or a npz file, as ``deep.audit`` reads them."""

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from deep.data.raw_files import Raw, sha256
from deep.data.samples import read_samples, samples_of
from deep.data.specs import OWN, DataSpec
from theory.common.inputs import InputError

__all__ = ["channel_statistics", "read_own"]

FEWEST = 3
"""Samples of a class: one to train on, one to validate on and one to test on."""
CHUNK = 256  # inputs at once


def read_own(path: Path, scale: float | None) -> tuple[DataSpec, Raw]:
    """Return own data, and what is known of them: classes and shape of the inputs.

    What was read is kept until another path is asked for or a file changes.

    Args:
        path: a folder with a folder of images for each class, or a npz file of x and y.
        scale: what inputs are divided by; 255 for images if None, else 1.

    Raises:
        InputError: there are no such data, or they cannot be trained on.
    """
    return _read(path, scale, _stamp(path))


def _stamp(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Return what changes when a file does."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path] if path.exists() else []
    stats = [(str(file), file.stat()) for file in files]
    return tuple((name, s.st_mtime_ns, s.st_size) for name, s in stats)


@lru_cache(maxsize=1)
def _read(path: Path, scale: float | None, _: object) -> tuple[DataSpec, Raw]:
    found = read_samples(path, _reading)
    found = replace(found, scale=scale or found.scale)
    split = samples_of(found, (0.0, 1.0), dtype=torch.float32, device=torch.device("cpu"))
    x = split.images.float() if split.images.is_floating_point() else split.images
    images, labels = np.ascontiguousarray(x.numpy()), split.labels.numpy()
    names = _classes(path, found.classes, labels)
    kind = f"{images.dtype} {images.shape} {split.peak!r} {names}".encode()
    digest = sha256((images, labels, np.frombuffer(kind, np.uint8)))
    augment = OWN.augment if images.ndim == 4 else None
    spec = replace(OWN, classes=names, side=images.shape[2:], peak=split.peak, augment=augment)
    return spec, Raw((images, labels), None, digest, None)


def _reading(files: Iterable[Any]) -> Iterable[Any]:
    bar: Iterable[Any] = tqdm(files, unit="image", desc="reading", leave=False)
    return bar


def _classes(path: Path, names: tuple[str, ...] | None, labels: npt.NDArray[np.int64]) -> tuple[str, ...]:
    """Return the names of the classes, each of which must have samples."""
    low, high = int(labels.min()), int(labels.max())
    count = high + 1 if names is None else len(names)
    if low < 0 or high >= min(count, len(labels)) or count < 2:
        raise InputError(
            f"the labels of {path} must be from 0 to {max(count, 2) - 1}, the places of at least 2 classes, "
            f"got {low} to {high}"
        )
    named = tuple(map(str, range(count))) if names is None else names
    if len(set(named)) < count:
        raise InputError(f"the classes of {path} must have different names, got {named!r:.100}")
    sizes = np.bincount(labels, minlength=count)
    if sizes.min() < FEWEST:
        raise InputError(
            f"{path} must have at least {FEWEST} samples of each class, to train, validate and test on, got "
            f"{sizes.min()} of {named[sizes.argmin()]}"
        )
    return named


def channel_statistics(
    images: npt.NDArray[Any], index: npt.NDArray[np.int64], peak: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel of chosen inputs; 1 for one that is constant.

    Args:
        images: inputs as stored, shape (n, c, ...).
        index: which of them.
        peak: what they are divided by.
    """
    axes = (0, *range(2, images.ndim))
    count = len(index) * int(np.prod(images.shape[2:]))
    parts = [index[i : i + CHUNK] for i in range(0, len(index), CHUNK)]
    mean = sum((images[part] / peak).sum(axes, dtype=float) for part in parts) / count
    wide = mean.reshape(-1, *[1] * (images.ndim - 2))
    variance = sum(((images[part] / peak - wide) ** 2).sum(axes, dtype=float) for part in parts) / count
    std = np.sqrt(variance)
    return tuple(mean.tolist()), tuple(np.where(std > 1e-6, std, 1.0).tolist())
