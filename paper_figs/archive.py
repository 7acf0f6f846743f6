"""What figures are made of: the records of every layer, the files of trained networks, and saliency maps."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from paper_figs.readers.feature_reliance import FeatureReliance, read_feature_reliance
from paper_figs.readers.sampled_errors import SampledErrors, read_sampled_errors
from theory.common.arrays import read_arrays
from theory.common.inputs import InputError
from theory.results.protocols import Comparison, comparisons
from theory.results.records import Record, read_records, setting_id
from theory.results.run_files import PORTRAITS
from theory.results.runs import RunFiles, record_files, runs_of
from theory.results.study import base_labels

__all__ = ["Archive", "Saliency", "TrainedNetworks", "read_archive"]

WORDS = ("networks", "runs", "classes", "protocol")
MOST_WORDS = 10_000
LADDERS = "disparity"
"""How the name of a folder of ladders ends."""
ARRAYS = {
    **dict.fromkeys(WORDS, "U"),
    **dict.fromkeys(("images", "gradients", "adversarial"), "u"),
    **dict.fromkeys(("labels", "predicted"), "i"),
}
"""Arrays of saliency maps and their kinds."""


@dataclass(frozen=True)
class Saliency:
    """What some networks look at in some images.

    Args:
        networks: names, length m.
        runs: their ids, length m.
        classes: names.
        protocol: how the pictures were made, in words.
        images: uint8, shape (k, c, h, w).
        labels: classes of the images, shape (k,).
        gradients: of the loss, 128 where 0, uint8 of shape (m, k, c, h, w).
        adversarial: attacked images, uint8 of shape (m, k, c, h, w).
        predicted: what each network takes its attacked images for, shape (m, k).

    Raises:
        InputError: the arrays do not fit each other.
    """

    networks: tuple[str, ...]
    runs: tuple[str, ...]
    classes: tuple[str, ...]
    protocol: str
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    gradients: npt.NDArray[np.uint8]
    adversarial: npt.NDArray[np.uint8]
    predicted: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit."""
        m, k = len(self.networks), len(self.labels)
        pictures = (m, *self.images.shape)
        shapes = (self.gradients.shape, self.adversarial.shape, self.predicted.shape)
        fit = self.images.ndim == 4 and len(self.images) == k and shapes == (pictures, pictures, (m, k))
        if not fit or len(self.runs) != m or not m * k:
            raise InputError(
                f"saliency maps of {m} networks need images (k, c, h, w) and k labels, got "
                f"{self.images.shape}, {k} and {shapes}"
            )
        for name in ("labels", "predicted"):
            if getattr(self, name).min() < 0 or getattr(self, name).max() >= len(self.classes):
                raise InputError(f"the {name} of saliency maps must be among its {len(self.classes)} classes")


@dataclass(frozen=True)
class TrainedNetworks:
    """Networks trained under one protocol.

    Args:
        key: names the protocol: its data set, and more where another shares it.
        comparison: their errors.
        runs: for each method's label, its runs in the order of their seeds.
    """

    key: str
    comparison: Comparison
    runs: Mapping[str, tuple[RunFiles, ...]]

    @property
    def bases(self) -> tuple[str, ...]:
        """Return the methods that treat all classes alike, in the order of the comparison."""
        return tuple(m for m in self.comparison.runs if self.comparison.methods[m].is_base)

    @property
    def mitigations(self) -> tuple[str, ...]:
        """Return the other methods."""
        return tuple(m for m in self.comparison.runs if m not in self.bases)

    @property
    def base_of(self) -> dict[str, str]:
        """Return the base of each mitigation that has one, see `theory.results.methods.bases_of`."""
        bases = base_labels(self.comparison)
        return {m: bases[m] for m in self.mitigations if m in bases}

    def with_margins(self) -> dict[str, list[RunFiles]]:
        """Return the runs of each method that deep.link has looked at."""
        return {m: [run for run in runs if run.margins] for m, runs in self.runs.items()}


@dataclass(frozen=True)
class Archive:
    """All that was read.

    Args:
        records: of every layer.
        runs: of networks.
        saliency: what networks look at.
        reliance: weights of linear classifiers on real images.
        sampled: errors of linear classifiers trained on few samples.
        ladders: networks that differ in how they were made worse, and are not compared as methods are.
    """

    records: tuple[Record, ...]
    runs: tuple[RunFiles, ...] = ()
    saliency: tuple[Saliency, ...] = ()
    reliance: tuple[FeatureReliance, ...] = ()
    sampled: tuple[SampledErrors, ...] = ()
    ladders: tuple[RunFiles, ...] = ()

    @cached_property
    def trained(self) -> tuple[TrainedNetworks, ...]:
        """Return the networks, by protocol.

        Raises:
            InputError: a run lacks a class, or is there twice with other counts.
        """
        protocols = comparisons(self.records)
        names = [str(c.protocol["dataset"]) for c in protocols]
        out = []
        for name, comparison in zip(names, protocols, strict=True):
            key = name if names.count(name) == 1 else f"{name}-{setting_id(comparison.protocol)[:4]}"
            runs: dict[str, list[RunFiles]] = {label: [] for label in comparison.runs}
            for run in sorted(self.runs, key=lambda run: run.records[0].seed or 0):
                label = comparison.label_of(run.records[0])
                if label is not None:
                    runs[label].append(run)
            out.append(
                TrainedNetworks(key, comparison, {label: tuple(members) for label, members in runs.items()})
            )
        return tuple(out)


def read_archive(path: Path) -> Archive:
    """Return what is in or below a folder.

    A run is a folder with ``records.jsonl`` of networks, see `theory.results.runs.runs_of`. Saliency maps
    are in the files ``portrait*.npz``; runs in a folder whose name ends in "disparity" are ladders; feature
    reliance is that of `sim.features`, errors of few samples those of `sim.sweep`.

    Args:
        path: the folder, or one file of records.

    Raises:
        InputError: there are no records, or a file is damaged (file and line are named).
    """
    by_file = {file: read_records(file) for file in record_files(path)}
    if not by_file:
        raise InputError(f"no records in or below the folder {path}: there is no records.jsonl with a line")
    beside = {file: by_file.pop(file) for file in [*by_file] if _is_ladder(file)}
    runs, ladders = (
        tuple(run for file, records in group.items() for run in runs_of(file, records))
        for group in (by_file, beside)
    )
    pictures = sorted(path.rglob(PORTRAITS)) if path.is_dir() else []
    return Archive(
        tuple(record for records in by_file.values() for record in records),
        runs,
        tuple(_saliency(file) for file in pictures),
        tuple(read_feature_reliance(path)) if path.is_dir() else (),
        tuple(read_sampled_errors(path)) if path.is_dir() else (),
        ladders,
    )


def _is_ladder(file: Path) -> bool:
    """Return whether a file of records is of a run in a folder of ladders."""
    return file.parent.parent.name.endswith(LADDERS)


def _saliency(path: Path) -> Saliency:
    arrays = read_arrays(path)
    if {name: arrays[name].dtype.kind for name in arrays} != ARRAYS:
        raise InputError(f"{path} holds no saliency maps: it must hold {', '.join(ARRAYS)}")
    if max(arrays[name].size for name in WORDS) > MOST_WORDS:
        raise InputError(
            f"{path} holds no saliency maps: it names more than {MOST_WORDS} networks or classes"
        )
    names = {name: tuple(arrays.pop(name).ravel().tolist()) for name in WORDS if name != "protocol"}
    try:
        return Saliency(**names, protocol=" ".join(arrays.pop("protocol").ravel().tolist()), **arrays)
    except InputError as error:
        raise InputError(f"{path} holds no saliency maps: {error}") from None
