"""The published binary layouts of image data sets, read in bounded memory; no layout here can carry code.

Each reader takes the files of one part of a data set and the number of images that must be in them.
"""

import itertools
import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from theory.common.inputs import InputError

__all__ = ["Arrays", "Bytes", "Source", "read_cifar", "read_idx", "read_mat", "read_stl"]

Bytes = npt.NDArray[np.uint8]
Arrays = tuple[Bytes, Bytes]
"""Images of shape (n, c, h, w) and their labels, from 0, of shape (n,)."""
Source = tuple[Path, bytes]
"""A file and its content."""


def read_cifar(files: Sequence[Source], n: int, *, label_bytes: int = 1) -> Arrays:
    """Read CIFAR's binary layout: records of a label and the R, G and B planes of 32 x 32 pixels.

    Args:
        files: files of equally many records.
        n: images in all of them.
        label_bytes: bytes before the pixels; the last is the label, one before it the superclass.

    Raises:
        InputError: a file is not of this layout and size.
    """
    share = n // len(files)
    parts = [_exactly(file, share * (label_bytes + 3072)).reshape(share, -1) for file in files]
    records = np.concatenate(parts)
    if label_bytes > 1:
        fine = np.unique(records[:, label_bytes - 1]).size
        if np.unique(records[:, :label_bytes], axis=0).shape[0] != fine:
            raise InputError(f"{files[0][0]} is damaged: a class must belong to one superclass")
    return records[:, label_bytes:].reshape(-1, 3, 32, 32), records[:, label_bytes - 1].copy()


def read_idx(files: Sequence[Source], n: int) -> Arrays:
    """Read MNIST's layout: a file of 28 x 28 images and one of labels, each after a header of its shape.

    Raises:
        InputError: a file is not of this layout and size.
    """
    images, labels = files
    return _idx(images, (n, 28, 28))[:, None], _idx(labels, (n,))


def _idx(file: Source, shape: tuple[int, ...]) -> Bytes:
    """Return a uint8 array; the header is 0, 0, 8 for bytes, the number of dimensions, and each of them."""
    header = np.array([0x800 + len(shape), *shape], ">u4").tobytes()
    raw = _exactly(file, len(header) + math.prod(shape))
    if raw[: len(header)].tobytes() != header:
        raise InputError(
            f"{file[0]} is no idx file of {' x '.join(map(str, shape))} bytes: "
            f"its header must be {header.hex()}, got {raw[: len(header)].tobytes().hex()}"
        )
    return raw[len(header) :].reshape(shape).copy()


def read_stl(files: Sequence[Source], n: int) -> Arrays:
    """Read STL-10's layout: a file of 96 x 96 images, three planes each, column by column, and one of labels.

    Raises:
        InputError: a file is not of this layout and size.
    """
    images, labels = files
    pixels, named = _exactly(images, n * 3 * 96 * 96), _exactly(labels, n)
    return _planes_by_column(pixels, 96), _one_to_ten(labels[0], named) - np.uint8(1)


def read_mat(files: Sequence[Source], n: int) -> Arrays:
    """Read SVHN's layout: a MATLAB 5 file of the images X, 32 x 32 x 3 x n bytes, and the labels y, n x 1.

    The digit 0 is labelled 10 there; here every label is its digit.
    SciPy's reader is not used: a damaged file can crash the interpreter in it.

    Raises:
        InputError: the file is not of this layout and size.
    """
    ((path, raw),) = files
    try:
        found = dict(_matlab(raw, n * 3072 + 4096))
        (shape_x, x), (shape_y, y) = found["X"], found["y"]
    except (ValueError, KeyError, struct.error, zlib.error) as error:
        raise InputError(f"{path} is damaged or no MATLAB 5 file of X and y: {error}") from None
    if (shape_x, shape_y, x.dtype, x.size, y.size) != ((32, 32, 3, n), (n, 1), np.uint8, n * 3072, n):
        raise InputError(
            f"{path} must hold X, 32 x 32 x 3 x {n} bytes, and y, {n} x 1, got {shape_x} of {x.dtype} "
            f"and {shape_y}"
        )
    return _planes_by_column(x, 32), _one_to_ten(path, y) % np.uint8(10)


MATLAB_TYPES = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8"}
MATLAB_MATRIX, MATLAB_COMPRESSED = 14, 15


def _matlab(raw: bytes, most: int) -> Iterator[tuple[str, tuple[tuple[int, ...], npt.NDArray[np.generic]]]]:
    """Yield name, shape and values of the numeric arrays of a MATLAB 5 file.

    Args:
        raw: the file.
        most: bytes that an array may take once it is decompressed.

    Raises:
        ValueError, struct.error, zlib.error: the file is damaged or of another version.
    """
    if raw[124:128] != b"\x00\x01IM":
        raise ValueError("it has no header of version 5, little-endian")
    for kind, data in itertools.islice(_elements(memoryview(raw)[128:]), 8):
        if kind == MATLAB_COMPRESSED:
            stream = zlib.decompressobj()
            plain = stream.decompress(data, most)
            if not stream.eof:
                raise ValueError(f"an array is cut off or has more than {most} bytes")
            ((kind, data),) = _elements(memoryview(plain))
        if kind == MATLAB_MATRIX:
            (_, _), (_, shape), (_, name), (dtype, values) = itertools.islice(_elements(data), 4)
            if dtype not in MATLAB_TYPES:
                raise ValueError(f"an array has values of type {dtype}")
            array = np.frombuffer(values, MATLAB_TYPES[dtype])
            yield bytes(name).decode("latin-1"), (tuple(np.frombuffer(shape, "<i4").tolist()), array)


def _elements(raw: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield type and data of each element; one of up to 4 bytes may have its size and data in its tag."""
    at = 0
    while at < len(raw):
        kind, size = struct.unpack_from("<II", raw, at)
        if kind >> 16:
            kind, size, begin, at = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        else:
            begin = at + 8
            at = begin + size + (0 if kind == MATLAB_COMPRESSED else -size % 8)
        if begin + size > len(raw):
            raise ValueError("it ends within an array")
        yield kind, raw[begin : begin + size]


def _exactly(file: Source, size: int) -> Bytes:
    path, raw = file
    if len(raw) != size:
        raise InputError(f"{path} is damaged or truncated: it must have {size} bytes, got {len(raw)}")
    return np.frombuffer(raw, np.uint8)


def _planes_by_column(raw: npt.NDArray[np.generic], side: int) -> Bytes:
    """Return images of shape (n, 3, side, side) of which each plane is stored column by column."""
    return np.ascontiguousarray(raw.reshape(-1, 3, side, side).swapaxes(2, 3))


def _one_to_ten(path: Path, labels: npt.NDArray[np.generic]) -> Bytes:
    if not np.isin(labels, np.arange(1, 11)).all():
        raise InputError(
            f"{path} is damaged: a label must be from 1 to 10, got {labels.min()} to {labels.max()}"
        )
    return labels.astype(np.uint8)
