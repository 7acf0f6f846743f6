"""Images of two digits: MNIST from its idx files, or the 8 x 8 digits that scikit-learn embeds."""

import gzip
import hashlib
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from theory.common.inputs import InputError

__all__ = ["DATA", "Images", "load"]

Array = npt.NDArray[np.float64]
Labelled = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]

DATA = ("mnist", "digits")
LARGEST = 60_000 * 28 * 28
"""Bytes of the largest file of MNIST."""
HELD_OUT = 60
"""Test images of each class of the embedded digits, which have no published test set."""


@dataclass(frozen=True, eq=False)
class Images:
    """Two classes of images with pixels from 0 to 1, each array of shape (n, height * width).

    Args:
        train: of class +1 and of class -1.
        test: of class +1 and of class -1.
        shape: height and width.
    """

    train: tuple[Array, Array]
    test: tuple[Array, Array]
    shape: tuple[int, int]

    @property
    def sha256(self) -> str:
        """Return the digest of all pixels."""
        return hashlib.sha256(b"".join(x.tobytes() for x in (*self.train, *self.test))).hexdigest()


def load(data: str, folder: Path | None, pair: tuple[int, int], samples: int, seed: int) -> Images:
    """Return the images of two digits.

    Args:
        data: mnist, or digits.
        folder: of the idx files of MNIST, packed with gzip or not; they may lie in MNIST/raw below it.
        pair: the digits that are class +1 and class -1.
        samples: most training images of each class; they are drawn at random.
        seed: of that draw, and of the test images of the embedded digits.

    Raises:
        InputError: a file is missing or damaged, a digit has no image, or scikit-learn is not installed.
    """
    if (folder is None) == (data == "mnist"):
        raise InputError(
            "--data mnist needs --data-dir, the folder of its idx files"
            if folder is None
            else f"--data digits is embedded and takes no --data-dir, got {folder}"
        )
    rng = np.random.default_rng([seed, 0])
    train, test, peak = _digits(rng) if folder is None else _mnist(folder)
    for digit in pair:
        for images, use in ((train, "training"), (test, "test")):
            if not (images[1] == digit).any():
                raise InputError(f"the {use} images of {folder or data} have no digit {digit}")
    chosen = [rng.permutation(np.flatnonzero(train[1] == digit))[:samples] for digit in pair]
    parts = [[train[0][np.sort(i)] for i in chosen], [test[0][test[1] == digit] for digit in pair]]
    (a, b), (c, d) = ([x.reshape(len(x), -1) / peak for x in part] for part in parts)
    return Images((a, b), (c, d), train[0].shape[1:])


def _digits(rng: np.random.Generator) -> tuple[Labelled, Labelled, float]:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise InputError("--data digits needs scikit-learn: pip install 'robust-fairness[deep]'") from None
    found = load_digits()
    images, labels = found.images.astype(np.uint8), found.target.astype(np.uint8)
    held = np.concatenate([rng.permutation(np.flatnonzero(labels == c))[:HELD_OUT] for c in range(10)])
    rest = np.setdiff1d(np.arange(len(labels)), held)
    return (images[rest], labels[rest]), (images[held], labels[held]), 16.0


def _mnist(folder: Path) -> tuple[Labelled, Labelled, float]:
    train, test = (
        (_idx(folder, f"{part}-images-idx3-ubyte", 3), _idx(folder, f"{part}-labels-idx1-ubyte", 1))
        for part in ("train", "t10k")
    )
    for part, (images, labels) in (("train", train), ("t10k", test)):
        if len(images) != len(labels) or images.shape[1:] != train[0].shape[1:]:
            raise InputError(
                f"{folder}: {part} has {len(images)} images of {images.shape[1:]} and {len(labels)} labels"
            )
    return train, test, 255.0


def _idx(folder: Path, name: str, dimensions: int) -> npt.NDArray[np.uint8]:
    """Read a file of unsigned bytes: two zero bytes, the code 8, the number of dimensions, sizes, bytes."""
    places = [base / (name + end) for base in (folder, folder / "MNIST" / "raw") for end in ("", ".gz")]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise InputError(f"no {name} or {name}.gz in {folder} or its MNIST/raw")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(4 + 4 * dimensions)
            sizes = struct.unpack(f">{dimensions}I", header[4:].ljust(4 * dimensions, b"\0"))
            content = file.read(min(math.prod(sizes), LARGEST) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read {path}: {error}") from None
    if header[:4] != bytes([0, 0, 8, dimensions]) or len(content) != math.prod(sizes):
        raise InputError(f"{path} is not an idx file of bytes in {dimensions} dimensions, or is cut short")
    return np.frombuffer(content, np.uint8).reshape(sizes)
