"""Files of arrays (npz), packed in memory and read back without trusting what they say of their size."""

import io
import math
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from theory.common.inputs import InputError

__all__ = ["packed", "read_arrays"]

Archive = dict[str, npt.NDArray[Any]]
MEMBERS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How numpy packs; other methods take memory that the file chooses."""


def packed(arrays: Mapping[str, Any]) -> bytes:
    """Return the content of a compressed npz file of numbers and texts.

    numpy's own writer is not used: in 2.0 its ``allow_pickle`` became an array of that name.

    Args:
        arrays: arrays by name, or what numpy makes arrays of.
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(values), allow_pickle=False)
    return file.getvalue()


def read_arrays(path: Path, most: int = 1 << 24) -> Archive:
    """Return the arrays of an npz file by name.

    Args:
        path: the file.
        most: bytes that all arrays together may take; if they say that they take more, none is unpacked.

    Raises:
        InputError: it is missing or damaged, or has more than ``most`` bytes.
    """
    try:
        with warnings.catch_warnings(action="error"), zipfile.ZipFile(path) as archive:
            size = sum(_size(archive, name) for name in archive.namelist())
            if size > most:
                raise InputError(f"{path} has arrays of {size} bytes, more than the {most} expected of it")
            return {name.removesuffix(".npy"): _array(archive, name) for name in archive.namelist()}
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or 'it is damaged'}") from None
    except Exception as error:  # what a damaged archive raises is of many types
        raise InputError(f"{path} is damaged or not an npz file ({type(error).__name__})") from None


def _size(archive: zipfile.ZipFile, name: str) -> int:
    """Return the bytes that an array takes, by its header."""
    info = archive.getinfo(name)
    with archive.open(info) as member:
        if info.compress_type not in MEMBERS or np.lib.format.read_magic(member) != (1, 0):
            raise ValueError("not as numpy packs arrays")
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
    if dtype.hasobject or not dtype.itemsize or min(shape, default=0) < 0:
        raise ValueError("not an array of numbers or texts")
    return math.prod(shape) * dtype.itemsize


def _array(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    with archive.open(name) as member:
        array: npt.NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
        if member.read(1):  # at the end the checksum is compared
            raise ValueError("more than its header says")
    return array
