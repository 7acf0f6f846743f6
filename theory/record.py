"""Records: the one vocabulary of theory, sim and deep, and all that paper_figs reads.

A record is one line of JSON: one number, where it comes from, and what it takes to make it again.
What is missing is absent. Counts are the truth where there are counts; ``value`` is derived from
them.
"""

import dataclasses
import hashlib
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from theory.errors import QUANTITIES, ClassErrors
from theory.inputs import InputError

__all__ = [
    "Record",
    "provenance",
    "read_records",
    "records_of",
    "setting_id",
    "write_atomic",
    "write_records",
]

SCHEMA = 1
SOURCES = ("theory", "sim", "deep")


@dataclass(frozen=True, kw_only=True)
class Record:
    """One number.

    Args:
        source: theory, sim or deep.
        setting: everything that fixes the number but the seed; eps both as exact text and as a
            float.
        quantity: natural_error, boundary_error or robust_error.
        label: a class, "average" (over all samples) or "worst" (class).
        value: the error, a fraction in [0, 1].
        errors: samples in error, where they were counted.
        n: samples tried, where they were counted.
        attack: what attacked, with its settings; absent without an attack.
        seed: seed of the run, where there is chance.
        method: what was trained or is optimal.
        provenance: see `provenance`.
        extra: whatever else belongs to the number, such as a verdict.
        schema: version of this list.

    Raises:
        InputError: a field is outside what is said here, or value is not errors / n.
    """

    source: str
    setting: Mapping[str, Any]
    quantity: str
    label: str
    value: float
    errors: int | None = None
    n: int | None = None
    attack: str | None = None
    seed: int | None = None
    method: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        """Refuse what no reader could use."""
        if self.source not in SOURCES:
            raise InputError(f"source must be one of {', '.join(SOURCES)}, got {self.source!r}")
        if self.quantity not in QUANTITIES:
            raise InputError(f"quantity must be one of {', '.join(QUANTITIES)}, got {self.quantity!r}")
        if self.schema != SCHEMA:
            raise InputError(f"schema must be {SCHEMA}, got {self.schema!r}")
        for name in ("setting", "provenance", "extra"):
            if not isinstance(getattr(self, name), Mapping):
                raise InputError(f"{name} must be an object, got {getattr(self, name)!r}")
        if (
            not isinstance(self.label, str)
            or not isinstance(self.value, (int, float))
            or not 0 <= self.value <= 1
        ):
            raise InputError(f"value must be from 0 to 1, of a label, got {self.value!r} of {self.label!r}")
        if (self.errors is None) != (self.n is None):
            raise InputError("errors and n come together, got one of them")
        if self.errors is not None and self.n is not None:
            counts = all(isinstance(c, int) and c >= 0 for c in (self.errors, self.n))
            if not counts or not self.n or not math.isclose(self.value, self.errors / self.n, abs_tol=1e-12):
                raise InputError(
                    f"value must be errors / n, got {self.value!r}, {self.errors!r} and {self.n!r}"
                )

    def to_json(self) -> str:
        """Return the record as one line of strict JSON."""
        fields = {k: v for k, v in dataclasses.asdict(self).items() if v is not None and v != {}}
        return json.dumps(fields, allow_nan=False)


def records_of(counted: ClassErrors, **common: Any) -> Iterator[Record]:
    """Yield a record for every quantity of every class, the average and the worst class.

    Args:
        counted: the counts.
        common: the other fields of `Record`.
    """
    total = sum(counted.n)
    for quantity in QUANTITIES:
        counts, rates = counted.counts(quantity), counted.rates(quantity)
        worst = int(rates.argmax())
        rows = [*zip(counted.classes, counts.tolist(), counted.n, strict=True)]
        rows += [
            ("average", int(counts.sum()), total),
            ("worst", int(counts[worst]), counted.n[worst]),
        ]
        for label, errors, n in rows:
            yield Record(quantity=quantity, label=label, value=errors / n, errors=errors, n=n, **common)


def provenance(**more: Any) -> dict[str, Any]:
    """Return what made a number: command, commit and whether it was changed, versions, and ``more``."""
    out: dict[str, Any] = {
        "argv": ["python", *sys.orig_argv[1:]],
        "python": platform.python_version(),
        "versions": {p: metadata.version(p) for p in ("numpy", "scipy")},
        **more,
    }
    commit = _git("rev-parse", "HEAD")
    if commit:
        out |= {
            "commit": commit,
            "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        }
    return out


def _git(*arguments: str) -> str:
    """Return what git says of this checkout, or nothing where it is not one."""
    here = Path(__file__).resolve().parent
    try:
        result = subprocess.run(
            ["git", "-C", str(here), *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout.strip()


def setting_id(setting: Mapping[str, Any]) -> str:
    """Return 12 hexadecimal digits that name a setting: a hash of its canonical JSON."""
    text = json.dumps(setting, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader finds the old content or the new one, never a part."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write records to a JSON Lines file, atomically."""
    write_atomic(path, "".join(record.to_json() + "\n" for record in records))


def read_records(path: Path) -> list[Record]:
    """Return the records of a JSON Lines file, or of every ``records.jsonl`` below a folder.

    Raises:
        InputError: nothing is there, or a line is damaged (file and line are named).
    """
    files = sorted(path.rglob("records.jsonl")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"no records.jsonl in or below the folder {path}")
    return [record for file in files for record in _read_file(file)]


def _read_file(path: Path) -> Iterator[Record]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot read records from {path}: {getattr(error, 'strerror', 'not text')}"
        ) from None
    for number, line in enumerate(lines, 1):
        try:
            yield Record(**json.loads(line))
        except (ValueError, TypeError, RecursionError) as error:
            raise InputError(f"{path}, line {number} is not a record ({error})") from None
