"""Records: the one vocabulary of theory, sim and deep, and all that paper_figs reads.

A record is one line of JSON: one number, where it comes from, and what it takes to make it again.
What is missing is absent. Counts are the truth where there are counts; ``value`` is derived from
them.
"""

import dataclasses
import hashlib
import json
import math
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

from theory.common.inputs import InputError, check_real, parse_object, read_lines
from theory.results.counts import QUANTITIES, ClassErrors
from theory.results.run_files import RECORDS

__all__ = [
    "Record",
    "provenance",
    "read_records",
    "records_of",
    "setting_id",
    "to_jsonl",
]

SCHEMA = 1
SOURCES = ("theory", "sim", "deep")


def _check_text(name: str, value: object, longest: int = 300) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > longest:
        raise InputError(f"{name} must be a printable text, got {value!r:.60}")
    return value


def _check_whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise InputError(f"{name} must be an integer from 0 to 2^63 - 1, got {value!r:.60}")
    return value


def _check_object(name: str, value: object) -> None:
    if not isinstance(value, Mapping):
        raise InputError(f"{name} must be an object, got {value!r:.60}")


def _check_positive(name: str, value: object) -> None:
    check_real(name, value, low=0, strict=True)


def _check_radius(name: str, value: object) -> None:
    check_real(name, value, low=0)


def _check_width(name: str, value: object) -> None:
    """Check the width of a network; one that somebody else wrote has none."""
    if value is not None:
        _check_whole(name, value)


REQUIRED: Mapping[str, Mapping[str, Callable[[str, object], object]]] = {
    "theory": {},
    "sim": {
        "dim": _check_whole,
        **dict.fromkeys(("eta", "sigma", "K"), _check_positive),
        **dict.fromkeys(("eps", "train_eps"), _check_radius),
        "rule": _check_text,
    },
    "deep": {
        **dict.fromkeys(("dataset", "model"), _check_text),
        **dict.fromkeys(("epochs", "n_train"), _check_whole),
        "width": _check_width,
        "params": _check_object,
    },
}
"""What readers need of a setting, by source."""


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
        attack: the evaluation attack of the run, with its settings; absent in theory.
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
        for name, allowed in (("source", SOURCES), ("quantity", QUANTITIES), ("schema", (SCHEMA,))):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} must be one of {allowed}, got {getattr(self, name)!r:.60}")
        for name in ("setting", "provenance", "extra"):
            if not isinstance(getattr(self, name), Mapping):
                raise InputError(f"{name} must be an object, got {getattr(self, name)!r:.60}")
        _check_text("label", self.label)
        check_real("value", self.value, low=0, high=1)
        self._check_counts()
        if self.source != "theory":
            _check_text("method", self.method)
            _check_text("attack", self.attack)
            _check_whole("seed", self.seed)
        for name, check in REQUIRED[self.source].items():
            check(f"setting.{name}", self.setting.get(name))
        if self.source == "deep":
            for name, value in self.setting["params"].items():
                if isinstance(value, str):
                    _check_text(f"setting.params.{name}", value)
                elif not isinstance(value, bool):
                    check_real(f"setting.params.{name}", value, low=-math.inf)
        if "argv" in self.provenance:
            argv = self.provenance["argv"]
            if not isinstance(argv, list):
                raise InputError(f"provenance.argv must be a list of words, got {argv!r:.60}")
            for word in argv:
                _check_text("a word of provenance.argv", word, longest=10_000)
        if "commit" in self.provenance:
            _check_text("provenance.commit", self.provenance["commit"])
        if "verdict" in self.extra:
            _check_text("extra.verdict", self.extra["verdict"])
            for name in ("predicted", "detectable"):
                check_real(f"extra.{name}", self.extra.get(name), low=0, high=1)

    def _check_counts(self) -> None:
        if self.source == "theory" and self.errors is None and self.n is None:
            return
        errors, n = _check_whole("errors", self.errors), _check_whole("n", self.n)
        if not n or not math.isclose(self.value, errors / n, abs_tol=1e-12):
            raise InputError(f"value must be errors / n, got {self.value!r}, {errors} and {n}")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Record":
        """Return the record of an object that was read.

        Raises:
            InputError: it has other fields, or see above.
        """
        fields = dataclasses.fields(cls)
        names = {f.name for f in fields}
        needed = {f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING}
        if not needed <= set(values) <= names:
            raise InputError(
                f"it needs {', '.join(sorted(needed))}, and nothing but {', '.join(sorted(names))}"
            )
        return cls(**values)

    def to_json(self) -> str:
        """Return the record as one line of strict JSON."""
        fields = {k: v for k, v in dataclasses.asdict(self).items() if v is not None and v != {}}
        return json.dumps(fields, allow_nan=False)


def records_of(
    counted: ClassErrors, per_class: Mapping[str, Sequence[float]] = MappingProxyType({}), /, **common: Any
) -> Iterator[Record]:
    """Yield a record for every quantity of every class, the average and the worst class.

    Args:
        counted: the counts.
        per_class: what else is known of the classes, by name, length C each: added to ``extra``.
        common: the other fields of `Record`.
    """
    extra = common.pop("extra", {})
    total = sum(counted.n)
    for quantity in QUANTITIES:
        counts, rates = counted.counts(quantity), counted.rates(quantity)
        worst = int(rates.argmax())
        rows = [*zip(counted.classes, counts.tolist(), counted.n, strict=True)]
        rows += [("average", int(counts.sum()), total), ("worst", int(counts[worst]), counted.n[worst])]
        for i, (label, errors, n) in enumerate(rows):
            more = {name: values[i] for name, values in per_class.items()} if i < len(counts) else {}
            numbers = {"value": errors / n, "errors": errors, "n": n, "extra": {**extra, **more}}
            yield Record(quantity=quantity, label=label, **numbers, **common)


def provenance(**more: Any) -> dict[str, Any]:
    """Return what made a number: command, commit and whether it was changed, versions, and ``more``."""
    out: dict[str, Any] = {
        "argv": ["python", *(_printable(word) for word in sys.orig_argv[1:])],
        "python": platform.python_version(),
        "versions": {p: metadata.version(p) for p in ("numpy", "scipy")},
        **more,
    }
    if _git("ls-files", "--error-unmatch", str(Path(__file__).resolve())):  # this checkout, not one around it
        changed = _git("status", "--porcelain").splitlines()
        relevant = [line for line in changed if not line.startswith("??") or line.endswith((".py", "/"))]
        out |= {"commit": _git("rev-parse", "HEAD"), "dirty": bool(relevant)}
    return out


def _printable(word: str) -> str:
    return word if word.isprintable() and word.strip() else ascii(word)


def _git(*arguments: str) -> str:
    """Return what git says of this checkout, or nothing where it is not one."""
    folder = Path(__file__).resolve().parent
    try:
        result = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout.strip()


def setting_id(setting: Mapping[str, Any]) -> str:
    """Return 12 hexadecimal digits that name a setting: a hash of its canonical JSON."""
    text = json.dumps(setting, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def to_jsonl(records: Iterable[Record]) -> str:
    """Return records as the text of a JSON Lines file."""
    return "".join(record.to_json() + "\n" for record in records)


def read_records(path: Path) -> list[Record]:
    """Return the records of a JSON Lines file, or of every ``records.jsonl`` below a folder.

    Raises:
        InputError: nothing is there, or a line is damaged (file and line are named).

    Examples:
        >>> from importlib.util import find_spec
        >>> folder = Path(find_spec("paper_figs").origin).parent / "records" / "mnist_pilot"
        >>> {record.quantity for record in read_records(folder)} == set(QUANTITIES)
        True
    """
    files = sorted(path.rglob(RECORDS)) if path.is_dir() else [path]
    if not files:
        raise InputError(f"no records.jsonl in or below the folder {path}")
    records = [record for file in files for record in _read_file(file)]
    if not records:
        raise InputError(f"no records in {path}")
    return records


def _read_file(path: Path) -> Iterator[Record]:
    for number, line in read_lines(path):
        try:
            yield Record.of(parse_object(line, "it"))
        except InputError as error:
            raise InputError(f"{path}, line {number} is not a record: {error}") from None
