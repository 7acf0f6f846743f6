"""The order of the images of a data set, so that files with the same images in another order serve as well.

Splits and flags name images by their place in the files. A network that is handed on comes with a checksum of
each image in that order; who has the same images in other files gets them put into it.
"""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deep.data.formats import Arrays
from deep.data.raw_files import Raw, sha256
from theory.common.arrays import packed, read_arrays

__all__ = ["order_of", "reordered"]

BYTES = 5
"""Of the checksum of an image: of 60,000 two different ones agree with probability 60,000^2 / 2^41 = 0.002; what
comes out of it is compared with the checksum of the whole."""
PARTS = ("pool", "held_out")


def order_of(raw: Raw) -> bytes:
    """Return the content of a file with the checksum of each image, label included, in their order."""
    return packed({name: _checksums(getattr(raw, name)) for name in PARTS})


def reordered(raw: Raw, path: Path, expected: str) -> Raw | None:
    """Return the same images in the order of a file; None where they are not the same.

    Args:
        raw: the images as they were read, with those to test on.
        path: file with the content of `order_of`.
        expected: checksum of all images in that order.

    Raises:
        InputError: the file is damaged.
    """
    order, parts = read_arrays(path), []
    for name in PARTS:
        arrays, wanted = getattr(raw, name), order.get(name)
        if arrays is None or wanted is None or wanted.shape != (len(arrays[1]), BYTES):
            return None
        place = np.empty(len(wanted), np.int64)
        place[_sorted(wanted)] = _sorted(_checksums(arrays))  # images that are equal may change places
        parts.append(tuple(a[place] for a in arrays))
    digest = sha256((*parts[0], *parts[1]))
    return Raw(parts[0], parts[1], digest, raw.published) if digest == expected else None


def _checksums(arrays: Arrays) -> npt.NDArray[np.uint8]:
    """Return a checksum of each image and its label, shape (n, BYTES)."""
    images, labels = arrays
    digests = [
        hashlib.blake2b(image.tobytes() + label.tobytes(), digest_size=BYTES).digest()
        for image, label in zip(images, labels, strict=True)
    ]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, BYTES)


def _sorted(checksums: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return the places of checksums in their order."""
    return np.lexsort(checksums.T)
