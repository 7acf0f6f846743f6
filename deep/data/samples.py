"""Samples of other people: arrays, batches, npz files and folders of images, checked before any is used."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from deep.data.tensors import Split
from theory.common.arrays import read_arrays
from theory.common.inputs import InputError

__all__ = ["Samples", "check_labels", "read_folder", "read_npz", "read_samples", "samples_of", "stratified"]

MOST_BYTES = 1 << 36
"""Of an npz file of samples, 64 GiB; they are held in memory."""
SLACK = 1e-6
"""By which inputs may lie outside the bounds, for rounding in single precision; they are clamped."""
MODES = ("L", "RGB")
"""Of an image: grey or colour, 8 bits a channel; a palette becomes RGB."""


@dataclass(frozen=True)
class Samples:
    """Samples as they were passed.

    Args:
        x: inputs, shape (n, ...).
        y: labels, of any type until they are checked.
        classes: names of the classes, None where nobody says.
        scale: by which inputs are divided; None where nobody says.
    """

    x: Any
    y: Any
    classes: tuple[str, ...] | None = None
    scale: float | None = None

    @classmethod
    def of(cls, x: Any, y: Any) -> "Samples":
        """Return samples of arrays, or of an iterable of batches (inputs, labels) where y is None.

        Raises:
            InputError: there are none, or they are no pairs of arrays.
        """
        if y is not None:
            return cls(x, y)
        if isinstance(x, Tensor | np.ndarray) or not isinstance(x, Iterable):
            raise InputError("labels are missing: pass audit(model, x, y), or batches of (inputs, labels)")
        batches = []
        for batch in x:
            if not isinstance(batch, tuple | list) or len(batch) != 2:
                raise InputError(f"each batch must be a pair (inputs, labels), got {type(batch).__name__}")
            batches.append([torch.as_tensor(part).detach().cpu() for part in batch])
        if not batches:
            raise InputError("there are no samples: the batches are empty")
        try:
            inputs, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
        except (RuntimeError, ValueError):
            raise InputError("the batches must have samples of one shape, and a label each") from None
        return cls(inputs, labels)


def read_samples(path: Path, progress: Callable[[Iterable[Any]], Iterable[Any]] = iter) -> Samples:
    """Return the samples of a folder of images by class, or of a npz file.

    Args:
        path: the folder or file.
        progress: what shows how many images are read.

    Raises:
        InputError: it is neither, or damaged.
    """
    if path.is_dir():
        return read_folder(path, progress)
    if path.suffix == ".npz":
        return read_npz(path)
    raise InputError(f"--data must be a folder of images by class or a file .npz, got {str(path)!r:.100}")


def read_npz(path: Path) -> Samples:
    """Return the samples of a npz file.

    It has ``x`` and ``y``, or ``images`` and ``labels``, and perhaps ``classes``, their names.

    Raises:
        InputError: it is missing or damaged, or has no such arrays.
    """
    arrays = read_arrays(path, MOST_BYTES)
    for names in (("x", "y"), ("images", "labels")):
        if set(names) <= set(arrays) <= {*names, "classes"}:
            classes = arrays.get("classes")
            named = None if classes is None else tuple(map(str, classes.ravel().tolist()))
            return Samples(arrays[names[0]], arrays[names[1]], named)
    raise InputError(
        f"{path} must hold x and y, or images and labels, and perhaps classes, got {sorted(arrays)}"
    )


def read_folder(path: Path, progress: Callable[[Iterable[Any]], Iterable[Any]] = iter) -> Samples:
    """Return the images of a folder that has a folder for each class, in the order of their names.

    Args:
        path: the folder.
        progress: what shows how many images are read.

    Raises:
        InputError: it has no such folders, or a file that is no image, or images of different sizes.
    """
    folders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(folders) < 2:
        raise InputError(f"{path} must have a folder for each of at least 2 classes, got {len(folders)}")
    files = [
        (label, file)
        for label, folder in enumerate(folders)
        for file in sorted(folder.iterdir())
        if not file.name.startswith(".")
    ]
    if not files:
        raise InputError(f"the folders of {path} are empty")
    images = []
    for _, file in progress(files):
        images.append(_image(file))
        if images[-1].shape != images[0].shape:
            sizes = [" x ".join(map(str, im.shape)) for im in (images[0], images[-1])]
            raise InputError(
                f"the images of {path} must have one size, got {sizes[0]} and, {file.name}, {sizes[1]}"
            )
    labels = np.array([label for label, _ in files])
    return Samples(np.stack(images), labels, tuple(folder.name for folder in folders), 255.0)


def _image(file: Path) -> npt.NDArray[np.uint8]:
    """Return an image of shape (channels, h, w)."""
    import PIL.Image  # loaded only for folders of images

    try:
        with warnings.catch_warnings(action="error"), PIL.Image.open(file) as image:
            plain = image.convert("RGB") if image.mode == "P" else image
            if plain.mode not in MODES:
                raise InputError(f"{file} has the mode {plain.mode}; convert it to 8-bit grey or RGB")
            pixels = np.asarray(plain, np.uint8)
    except (OSError, ValueError, SyntaxError, Warning, PIL.Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file} is damaged or no image ({type(error).__name__})") from None
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def samples_of(
    samples: Samples,
    bounds: tuple[float, float] | None,
    *,
    dtype: torch.dtype | None,
    device: torch.device,
) -> Split:
    """Return samples as a split, once they are what they must be; `check_labels` looks at the classes.

    Args:
        samples: the samples.
        bounds: smallest and largest value of an input, None for none.
        dtype: of the inputs; that of the samples if None, single precision or double.
        device: where they are put.

    Raises:
        InputError: inputs are not finite, outside the bounds, integers without a scale, or none; labels are
        no
            integers, one for each.
    """
    x, y = _tensor("inputs", samples.x), _tensor("labels", samples.y)
    if x.dim() < 2 or not x.numel():
        raise InputError(f"inputs must have the shape (n, ...) with n > 0, got {tuple(x.shape)}")
    if y.dim() != 1 or y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        what = f"{_name(y)} of shape {tuple(y.shape)}"
        raise InputError(f"labels must be integers of shape (n,), the place of each class, got {what}")
    if len(x) != len(y):
        raise InputError(f"there must be a label for each sample, got {len(y)} labels of {len(x)} samples")
    if x.dtype == torch.bool or x.is_complex():
        raise InputError(f"inputs must be real numbers, got {_name(x)}")
    if not x.is_floating_point() and samples.scale is None:
        raise InputError(
            f"inputs are integers, {_name(x)} from {x.min()} to {x.max()}; say what they are divided by, "
            "scale=255 for images of 8 bits, or pass numbers"
        )
    if x.dtype in (torch.float16, torch.bfloat16):
        x = x.float()
    dtype = dtype or (torch.float64 if x.dtype == torch.float64 else torch.float32)
    index = torch.arange(len(y), device=device)
    split = Split(x.to(device), y.long().to(device), samples.scale or 1.0, index, dtype)
    return split if bounds is None else _within(split, bounds)


def check_labels(split: Split, classes: int) -> None:
    """Refuse labels that are no places of a model's logits.

    Raises:
        InputError: a label is negative, or too large.
    """
    least, most = int(split.labels.min()), int(split.labels.max())
    if least < 0 or most >= classes:
        raise InputError(
            f"labels must be from 0 to {classes - 1}, as the model has {classes} logits, got {least} to "
            f"{most}"
        )


def _name(values: Tensor) -> str:
    return str(values.dtype).removeprefix("torch.")


def _tensor(name: str, values: Any) -> Tensor:
    try:
        array = values if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))
    except (TypeError, ValueError):
        raise InputError(
            f"{name} must be a tensor or an array of numbers, got {type(values).__name__}"
        ) from None
    if array.is_floating_point() and not array.isfinite().all():
        raise InputError(f"{name} must be finite, got {int((~array.isfinite()).sum())} that are not")
    wide = array.dtype in (torch.uint16, torch.uint32, torch.uint64)  # of which torch computes nothing
    return array.detach().to(torch.int64) if wide else array.detach()


def _within(split: Split, bounds: tuple[float, float]) -> Split:
    """Return samples within bounds: an excess of rounding is clamped, another refused."""
    low, high = bounds
    least, most = (float(v) / split.peak for v in split.images.aminmax())
    excess = max(low - least, most - high)
    if excess > SLACK * max(1.0, abs(low), abs(high)):
        raise InputError(
            f"inputs must lie in the bounds {low:g} to {high:g}, got {least:g} to {most:g}, which is "
            f"outside by "
            f"{excess:g}; if they are normalised, pass them as they were and normalise inside the model, "
            f"else "
            "say their scale, or their bounds if those are others"
        )
    if excess > 0:
        return replace(split, images=split.inputs(slice(None)).clamp(low, high), peak=1.0)
    return split


def stratified(split: Split, per_class: int, seed: int) -> Split:
    """Return ``per_class`` random samples of each class, or all of a class that has fewer."""
    labels, rng = split.labels.cpu().numpy(), np.random.default_rng(seed)
    places: Sequence[npt.NDArray[np.int64]] = [
        rng.permutation(np.flatnonzero(labels == c))[:per_class] for c in np.unique(labels)
    ]
    return split.take(torch.from_numpy(np.sort(np.concatenate(places))).to(split.labels.device))
