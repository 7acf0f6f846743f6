"""What an evaluation leaves: whether each sample withstood each attack. Every error is derived from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from theory.common.arrays import packed, read_arrays
from theory.common.digits import percent
from theory.common.inputs import InputError
from theory.common.table import Table
from theory.results.attacks import CLEAN, attack_key, kinds_of
from theory.results.counts import ClassErrors
from theory.results.intervals import mcnemar, paired_interval

__all__ = ["Evaluation", "paired_table"]

NO_GRADIENT = "gradient"
FEW_BLIND = 0.01
"""The share of right samples that may have no gradient, as in ``deep.sanity``; one always may."""
MOST = 1 << 18
"""Samples of a file. The largest test set of this package has 26032."""
PACKED = {"attacks": "U1", "gaps": "i1", "labels": "i1", "ok": "u2"}
"""Kind and dimensions of the arrays of a file; "gaps" are the differences of the index, which compress, and
"ok" holds eight samples a byte. Files of doubtful evaluations have "blind" and "not_finite" too."""
PLAIN = {"attacks": "U1", "index": "i1", "labels": "i1", "ok": "b2"}
"""The same before flags were packed."""
DOUBTFUL = {"blind": "i0", "not_finite": "i1"}
KINDS = {"kinds": "U1"}
"""The kinds of the attacks; files before these were kept have none."""


@dataclass(frozen=True)
class Evaluation:
    """The flags of an evaluation.

    Args:
        attacks: what was done to the samples, "clean" (nothing) first; A names.
        index: what names each sample, shape (n,).
        labels: class of each sample, shape (n,).
        ok: whether the sample is classified right after the attack, shape (A, n); a sample that is wrong
            without an attack is wrong under each.
        not_finite: how many samples have logits that are not finite, for each of the attacks, shape (A,);
            they are wrong. Empty if none has any.
        blind: how many of the samples that are right have a gradient of exactly 0, or one that is not finite.
        kinds: kind of each attack, such as "autoattack", A names; by `theory.results.attacks.kinds_of` if
            empty.

    Raises:
        InputError: the arrays do not fit each other.
    """

    attacks: tuple[str, ...]
    index: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    ok: npt.NDArray[np.bool_]
    not_finite: tuple[int, ...] = ()
    blind: int = 0
    kinds: tuple[str, ...] = ()

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
        object.__setattr__(self, "kinds", self.kinds or kinds_of(self.attacks))
        if len(self.kinds) != len(self.attacks) or self.kinds[0] != CLEAN:
            raise InputError(f"{len(self.attacks)} attacks need as many kinds, got {self.kinds!r:.200}")
        if (self.ok & ~self.ok[0]).any() or (self.labels < 0).any():
            raise InputError("an evaluation has a sample that only an attack sets right, or a negative label")
        counts = (*self.not_finite, self.blind)
        if len(self.not_finite) not in (0, len(self.attacks)) or min(counts) < 0 or max(counts) > n:
            raise InputError(f"of {n} samples {counts!r:.200} cannot be in doubt")

    @property
    def ok_natural(self) -> npt.NDArray[np.bool_]:
        """Return whether each sample is right without an attack, shape (n,)."""
        return np.asarray(self.ok[0])

    @property
    def ok_attacked(self) -> npt.NDArray[np.bool_]:
        """Return whether each sample is robust to every attack, shape (n,)."""
        return np.asarray(np.all(self.ok, axis=0))

    @property
    def keys(self) -> tuple[str, ...]:
        """Return what is equal for attacks that are one, see `theory.results.attacks.attack_key`."""
        return tuple(map(attack_key, self.attacks))

    def is_of_same(self, other: "Evaluation") -> bool:
        """Return whether another evaluation is of the same samples under the same attacks."""
        same = np.array_equal(self.index, other.index) and np.array_equal(self.labels, other.labels)
        return same and self.keys == other.keys

    def without(self, kind: str) -> tuple[str, ...]:
        """Return the names of the attacks that are not of a kind."""
        return tuple(a for a, its in zip(self.attacks, self.kinds, strict=True) if its != kind)

    @property
    def attack(self) -> str:
        """Return the attacks in words: a sample is robust to them if it is robust to each."""
        return "; and ".join(self.attacks[1:]) or CLEAN

    @property
    def doubts(self) -> dict[str, str]:
        """Return what must be said of the errors, by the name of an attack or "gradient": mostly nothing."""
        n, right = len(self.labels), int(self.ok_natural.sum())
        reasons = {
            attack: f"{count} of {n} samples have logits that are not finite ({attack}); they count as wrong"
            for attack, count in zip(self.attacks, self.not_finite, strict=False)
            if count
        }
        if self.blind > max(1, FEW_BLIND * right):
            reasons[NO_GRADIENT] = (
                f"gradients vanish for {self.blind} of the {right} samples that are right, so attacks by "
                "gradients cannot break them: robust errors are not to be trusted; look at them with a "
                "black-box attack, as deep.sanity does"
            )
        return reasons

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
        doubtful = {"blind": np.array(self.blind), "not_finite": np.array(self.not_finite, np.int64)}
        plain = {"attacks": self.attacks, "kinds": self.kinds, "gaps": gaps, "labels": labels, "ok": ok}
        return packed(plain | (doubtful if self.blind or any(self.not_finite) else {}))

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
        if kinds not in (PLAIN, *(a | b for a in (PACKED, PACKED | DOUBTFUL) for b in ({}, KINDS))):
            raise InputError(f"{path} is no evaluation: it must hold {', '.join(PACKED)}")
        if len(arrays["labels"]) > most:
            raise InputError(f"{path} has {len(arrays['labels'])} samples, there can be at most {most}")
        labels, ok = arrays["labels"].astype(np.int64), arrays["ok"]
        try:
            if "gaps" in arrays:
                arrays["index"], ok = np.cumsum(arrays["gaps"], dtype=np.int64), _unpacked(ok, len(labels))
            doubtful = tuple(arrays.get("not_finite", np.array([])).tolist()), int(arrays.get("blind", 0))
            index = arrays["index"].astype(np.int64)
            named = tuple(arrays.get("kinds", np.array([])).tolist())
            return cls(tuple(arrays["attacks"].tolist()), index, labels, ok, *doubtful, named)
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
            tuple(map(sum, zip(*(p.not_finite for p in parts if p.not_finite), strict=True))),
            sum(p.blind for p in parts),
            parts[0].kinds,
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
    if not first.is_of_same(second):
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
