"""What deep.link leaves of a run in link.json: class errors that margins predict, beside those counted."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from theory.common.inputs import InputError, parse_object, read_text

__all__ = ["AGREEMENTS", "ERRORS", "MarginReport"]

ERRORS = ("natural_error", "robust_error")
AGREEMENTS = ("rank_correlation", "explained_variance")
"""How predicted and counted errors agree: Spearman's correlation and 1 - residual / total sum of squares."""
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MarginReport:
    """Predicted and counted class errors of a run.

    Args:
        classes: names, length C.
        predicted: errors of each class by the name of the error, length C, and the ends of their 95 %
            intervals likewise in the objects "low" and "high".
        measured: the same of the errors that were counted.
        rank_correlation: by the name of the error: value, low and high, as far as they are defined.
        explained_variance: likewise.
        failures: by the name of the error, the classes whose error is not the predicted one beyond noise.
        confusion: "natural" and "attacked": samples of each class (row) that are given each class (column).
        details: everything else, by name.
        provenance: see `theory.results.records.provenance`.

    Raises:
        InputError: a part is not what is said here.
    """

    classes: tuple[str, ...]
    predicted: Mapping[str, Any]
    measured: Mapping[str, Any]
    rank_correlation: Mapping[str, Any]
    explained_variance: Mapping[str, Any]
    failures: Mapping[str, Any]
    confusion: Mapping[str, Any]
    details: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no reader could use."""
        size = len(self.classes)
        if not size or not all(isinstance(name, str) for name in self.classes):
            raise InputError("classes must be a list of names")
        for error in ERRORS:
            for side in ("predicted", "measured"):
                self._numbers(side, error)
            for name in AGREEMENTS:
                self._check_agreement(name, error)
            failed = self.failures.get(error) if isinstance(self.failures, Mapping) else None
            if not isinstance(failed, list) or any(
                type(c) is not int or c not in range(size) for c in failed
            ):
                raise InputError(f"failures must have {error}, a list of some of {size} classes")
        for name in ("natural", "attacked"):
            self.confused(name)
        if not isinstance(self.provenance, Mapping):
            raise InputError(f"provenance must be an object, got {self.provenance!r:.60}")

    def _numbers(self, side: str, error: str) -> Array:
        """Return the errors of each class with both ends of their intervals, shape (3, C)."""
        part = getattr(self, side)
        try:
            numbers = np.array([part[error], part["low"][error], part["high"][error]], np.float64)
        except (KeyError, TypeError, ValueError, IndexError):
            numbers = np.empty(0)
        if numbers.shape != (3, len(self.classes)) or not ((numbers >= 0) & (numbers <= 1)).all():
            raise InputError(
                f"{side} must have {error} of {len(self.classes)} classes with low and high, from 0 to 1"
            )
        return numbers

    def _check_agreement(self, name: str, error: str) -> None:
        part = getattr(self, name)
        values = part.get(error) if isinstance(part, Mapping) else None
        numbers = [*values.values()] if isinstance(values, Mapping) else [None]
        if not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in numbers):
            raise InputError(f"{name} must have {error}, an object of numbers")

    def errors(self, error: str) -> Array:
        """Return predicted and counted error of each class with low and high, shape (2, C, 3)."""
        sides = [self._numbers(side, error) for side in ("predicted", "measured")]
        return np.array(sides).swapaxes(1, 2)

    def agreement(self, name: str, error: str) -> Mapping[str, float]:
        """Return value, low and high of one of `AGREEMENTS`, as far as they are defined."""
        values: Mapping[str, float] = getattr(self, name)[error]
        return values

    def confused(self, name: str) -> Array:
        """Return the confusion, "natural" or "attacked", shape (C, C).

        Raises:
            InputError: it is not there, or a class has no sample.
        """
        size = len(self.classes)
        try:
            counts = np.array(self.confusion[name], np.float64)
        except (KeyError, TypeError, ValueError):
            counts = np.empty(0)
        if counts.shape != (size, size) or not (counts >= 0).all() or not counts.sum(axis=1).all():
            raise InputError(f"confusion must have {name}, counts of {size} x {size} classes")
        return counts

    def pairs(self, name: str) -> Array:
        """Return what was fitted to the margin of each pair of classes, shape (C, C).

        Args:
            name: "mean", "spread" or "drop", which an adversary takes of it.

        Raises:
            InputError: it is not there, or a margin has no spread.
        """
        size = len(self.classes)
        try:
            values = np.array(self.details["pairs"][name], np.float64)
        except (KeyError, TypeError, ValueError, IndexError):
            values = np.empty(0)
        off = ~np.eye(size, dtype=bool)
        if values.shape != (size, size) or not np.isfinite(values).all():
            raise InputError(f"pairs must have {name}, numbers of {size} x {size} classes")
        if name == "spread" and not (values[off] > 0).all():
            raise InputError("pairs must have spread, > 0 off the diagonal")
        return values

    @classmethod
    def read(cls, path: Path) -> "MarginReport":
        """Return the report of a file.

        Raises:
            InputError: the file cannot be read, or a part is missing or damaged.
        """
        content = dict(parse_object(read_text(path), str(path)))
        parts = {f.name: content.pop(f.name, None) for f in dataclasses.fields(cls) if f.name != "details"}
        classes = parts.pop("classes")
        try:
            if not isinstance(classes, list):
                raise InputError(f"classes must be a list of names, got {classes!r:.60}")
            parts["provenance"] = parts["provenance"] or {}
            return cls(classes=tuple(classes), details=content, **parts)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def to_json(self) -> str:
        """Return the content of the file."""
        parts = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        details = parts.pop("details")
        return json.dumps({**details, **parts}, allow_nan=False) + "\n"
