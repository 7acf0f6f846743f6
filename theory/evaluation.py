"""What an evaluation leaves: whether each sample withstood each attack. Every error is derived from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from theory.arrays import packed, read_arrays
from theory.digits import percent
from theory.errors import ClassErrors
from theory.inference import mcnemar, paired_interval
from theory.inputs import InputError
from theory.table import Table

__all__ = ["CLEAN", "Evaluation", "paired_table"]

CLEAN = "clean"
MOST = 1 << 18
"""Samples of a file. The largest test set of this package has 26032."""
PACKED = {"attacks": "U1", "gaps": "i1", "labels": "i1", "ok": "u2"}
"""Kind and dimensions of the arrays of a file; "gaps" are the differences of the index, which compress, and
"ok" holds eight samples a byte."""
PLAIN = {"attacks": "U1", "index": "i1", "labels": "i1", "ok": "b2"}
"""The same before flags were packed."""


@dataclass(frozen=True)
class Evaluation:
    """The flags of an evaluation.

    Args:
        attacks: what was done to the samples, "clean" (nothing) first; A names.
        index: what names each sample, shape (n,).
        labels: class of each sample, shape (n,).
        ok: whether the sample is classified right after the attack, shape (A, n); a sample that is wrong
            without an attack is wrong under each.

    Raises:
        InputError: the arrays do not fit each other.
    """

    attacks: tuple[str, ...]
    index: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    ok: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit."""
        n = len(self.labels)
        if self.index.shape != (n,) or self.ok.shape != (len(self.attacks), n) or n == 0:
            raise InputError(
                f"an evaluation needs n > 0 labels, n indices and (attacks, n) flags, got "
                f"{self.labels.shape}, {self.index.shape} and {self.ok.shape} for {len(self.attacks)} attacks"
            )
        if self.attacks[:1] != (CLEAN,) or len(set(self.attacks)) < len(self.attacks):
            raise InputError(f"the attacks must differ, {CLEAN} the first, got {self.attacks!r:.200}")
        if (self.ok & ~self.ok[0]).any() or (self.labels < 0).any():
            raise InputError("an evaluation has a sample that only an attack sets right, or a negative label")

    @property
    def ok_natural(self) -> npt.NDArray[np.bool_]:
        """Return whether each sample is right without an attack, shape (n,)."""
        return np.asarray(self.ok[0])

    @property
    def ok_attacked(self) -> npt.NDArray[np.bool_]:
        """Return whether each sample withstands every attack, shape (n,)."""
        return np.asarray(np.all(self.ok, axis=0))

    @property
    def attack(self) -> str:
        """Return the attacks in words: a sample withstands them if it withstands each."""
        return "; and ".join(self.attacks[1:]) or CLEAN

    def errors(self, classes: Sequence[str], *attacks: str) -> ClassErrors:
        """Return the counts of each class, under the worst of the attacks for each sample.

        Args:
            classes: names of the classes.
            attacks: names of those that count; all if none is given.

        Raises:
            InputError: a label has no class.
        """
        if int(self.labels.max()) >= len(classes):
            raise InputError(f"label {self.labels.max()} has no class, there are {len(classes)}")
        chosen = [self.attacks.index(a) for a in attacks or self.attacks]
        return ClassErrors.from_flags(classes, self.labels, self.ok_natural, np.all(self.ok[chosen], axis=0))

    def to_bytes(self) -> bytes:
        """Return the content of an npz file, about two bytes a sample."""
        labels = self.labels.astype(np.min_scalar_type(-1 - int(self.labels.max())))
        gaps, ok = np.diff(self.index, prepend=0), np.packbits(self.ok, axis=1)
        return packed({"attacks": self.attacks, "gaps": gaps, "labels": labels, "ok": ok})

    @classmethod
    def read(cls, path: Path, most: int = MOST) -> "Evaluation":
        """Return the evaluation of an npz file.

        Args:
            path: the file.
            most: samples that it may have; never more than `MOST`.

        Raises:
            InputError: it is missing, damaged, not an evaluation, or of more samples.
        """
        most = min(most, MOST)
        arrays = read_arrays(path, 32 * most + (1 << 20))  # as int64, 16 attacks a byte each, and their names
        kinds = {name: arrays[name].dtype.kind + str(arrays[name].ndim) for name in sorted(arrays)}
        if kinds not in (PACKED, PLAIN):
            raise InputError(f"{path} is no evaluation: it must hold {', '.join(PACKED)}")
        if len(arrays["labels"]) > most:
            raise InputError(f"{path} has {len(arrays['labels'])} samples, there can be at most {most}")
        labels, ok = arrays["labels"].astype(np.int64), arrays["ok"]
        try:
            if kinds == PACKED:
                arrays["index"], ok = np.cumsum(arrays["gaps"], dtype=np.int64), _unpacked(ok, len(labels))
            return cls(tuple(arrays["attacks"].tolist()), arrays["index"].astype(np.int64), labels, ok)
        except InputError as error:
            raise InputError(f"{path} is no evaluation: {error}") from None

    @classmethod
    def join(cls, parts: Sequence["Evaluation"]) -> "Evaluation":
        """Return the evaluation of the samples of several, under the same attacks."""
        return cls(
            parts[0].attacks,
            np.concatenate([p.index for p in parts]),
            np.concatenate([p.labels for p in parts]),
            np.concatenate([p.ok for p in parts], axis=1),
        )


def _unpacked(packed: npt.NDArray[Any], n: int) -> npt.NDArray[np.bool_]:
    """Return the flags of n samples, shape (A, n), of eight a byte."""
    if packed.dtype != np.uint8 or packed.shape[1] != -(-n // 8):
        raise InputError(f"{n} samples need {-(-n // 8)} bytes an attack, got {packed.shape[1]}")
    return np.unpackbits(packed, axis=1, count=n).astype(bool)


def paired_table(
    names: tuple[str, str], pair: tuple[Evaluation, Evaluation], classes: Sequence[str]
) -> Table:
    """Return what the second network changes, class by class, on the same samples.

    Args:
        names: names of the two networks.
        pair: their evaluations.
        classes: names of the classes.

    Raises:
        InputError: the evaluations are not of the same samples under the same attacks.
    """
    first, second = pair
    same = np.array_equal(first.index, second.index) and np.array_equal(first.labels, second.labels)
    if not same or first.attacks != second.attacks:
        raise InputError(
            f"{names[0]} and {names[1]} were not evaluated on the same samples by the same attacks"
        )
    members = [(c, first.labels == i) for i, c in enumerate(classes)]
    rows = []
    for error, flags in (
        ("natural", [e.ok_natural for e in pair]),
        ("robust", [e.ok_attacked for e in pair]),
    ):
        for name, chosen in [*members, ("average", np.ones(len(first.labels), bool))]:
            rows.append([f"{name}, {error}", *_change(*(f[chosen] for f in flags), tests=len(classes))])
    header = ["class, error", *names, "change", "95 % interval", "p", "resolved"]
    note = (
        "errors in percent, change in percentage points with Agresti and Min's interval for pairs; p: "
        f"McNemar's exact test; resolved: p <= 0.05 / {len(classes)}, so that among {len(classes)} "
        "classes without a change one is called resolved in at most 5 % of tables. It speaks of these two "
        "networks, not of training again from other seeds"
    )
    return Table(f"{names[1]} against {names[0]}, {first.attack}", header, rows, note)


def _change(before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_], *, tests: int) -> list[str]:
    n, lost, won = len(before), int((before & ~after).sum()), int((~before & after).sum())
    low, high = (percent(end, signed=True) for end in paired_interval(lost, won, n))
    p = float(mcnemar(lost, won))
    return [
        *(percent((~ok).mean()) for ok in (before, after)),
        percent((lost - won) / n, signed=True),
        f"[{low}, {high}]",
        f"{p:.2g}",
        "yes" if p <= 0.05 / tests else "no",
    ]
