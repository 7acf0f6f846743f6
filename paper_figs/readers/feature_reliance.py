"""Weights of linear classifiers and the correlations of their features, as ``sim.features`` writes them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from theory.common.arrays import read_arrays
from theory.common.inputs import InputError, check_array, check_real, parse_object, read_text

__all__ = ["PARTS", "TRAININGS", "FeatureReliance", "read_feature_reliance"]

Array = npt.NDArray[np.float64]

TRAININGS = ("natural", "adversarial")
PARTS = ("weak", "middle", "strong")
"""Features by the absolute correlation with the label: below 0.1, between, from 0.3 on."""


@dataclass(frozen=True)
class FeatureReliance:
    """One run; the dictionaries are by training, one of `TRAININGS`.

    Args:
        settings: data, pair, eps, l2, samples, resamples, seed.
        correlation: of each feature with the label, shape (d,).
        weights: shape (d,).
        shares: part of ||w||_1 on the features of each of `PARTS`, and its standard deviation over trainings
            on resampled images, shape (3, 2).
        errors: counted (radius, errors, samples) on test images, both classes together, shape (radii, 3).
    """

    settings: Mapping[str, Any]
    correlation: Array
    weights: Mapping[str, Array]
    shares: Mapping[str, Array]
    errors: Mapping[str, Array]


def read_feature_reliance(folder: Path) -> Iterator[FeatureReliance]:
    """Yield the runs below a folder.

    Raises:
        InputError: a file is damaged (it is named).
    """
    for path in sorted(folder.rglob("features.json")):
        try:
            yield _read(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise InputError(
                f"{path} and features.npz are not those of sim.features: {reason:.200}"
            ) from None


def _read(path: Path) -> FeatureReliance:
    numbers = parse_object(read_text(path), "it")
    raw = read_arrays(path.with_name("features.npz"))
    arrays = {name: check_array(name, array.ravel(), low=-np.inf) for name, array in raw.items()}
    correlation, weights = arrays["correlation"], {t: arrays[f"{t}_weights"] for t in TRAININGS}
    check_array("correlation", correlation, low=-1, high=1)
    for training, values in weights.items():
        if values.shape != correlation.shape or not values.any():
            raise InputError(f"{training}_weights must be {len(correlation)} numbers, not all 0")
    return FeatureReliance(
        settings=numbers["settings"],
        correlation=correlation,
        weights=weights,
        shares={t: _shares(numbers[t]) for t in TRAININGS},
        errors={t: _errors(numbers[t]["errors"]) for t in TRAININGS},
    )


def _shares(numbers: Mapping[str, Any]) -> Array:
    return np.array([[check_real(k, numbers[w][k], low=0) for w in ("leaning", "deviation")] for k in PARTS])


def _errors(rows: Any) -> Array:
    counts = [(row["eps"], sum(row["robust"]), sum(row["n"])) for row in rows]
    array = check_array("errors", counts, low=0).reshape(len(counts), 3)
    if not (array[:, 1] <= array[:, 2]).all() or not array[:, 2].all():
        raise InputError("errors must be at most n, and n > 0")
    return array
