"""Files of arrays (npz), packed in memory and read back."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from theory.inputs import InputError

__all__ = ["packed", "read_arrays"]


def packed(arrays: Mapping[str, Any]) -> bytes:
    """Return the content of a compressed npz file of numbers and texts.

    Args:
        arrays: arrays by name, or what numpy makes arrays of.
    """
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **{name: np.asarray(v) for name, v in arrays.items()})
    return file.getvalue()


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an npz file by name.

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or 'it is damaged'}") from None
    except Exception as error:  # what a damaged archive raises is of many types
        raise InputError(f"{path} is damaged or not an npz file ({type(error).__name__})") from None
