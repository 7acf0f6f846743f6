"""Bad input, and the checks of numbers that every layer shares."""

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "DoubtWarning",
    "InputError",
    "Radius",
    "check_array",
    "check_count",
    "check_radii",
    "check_radius",
    "check_real",
    "parse_number",
    "parse_object",
    "parse_radius",
    "usual_radius",
    "read_lines",
    "read_text",
]

LONGEST = 1 << 22
"""Bytes of a text that is read at once, a file or a line of one; its objects take up to 25 times as many."""
DEEPEST = 32
"""Objects and lists within each other; no file of this package has more than 8."""
WHOLE = re.compile("[+-]?[0-9]+")
DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
"""Numbers as a person writes them: Python reads 1_000, " 5 ", infinity and the digits of every script too."""
Radius = float | str
"""A number, or a text such as ``8/255``."""
LONGEST_RADIUS = 40
"""Characters: names of attacks have the text of their radius."""


class InputError(ValueError):
    """Bad input, said in one sentence: what was given and what is allowed."""


class DoubtWarning(UserWarning):
    """A result that is not to be trusted as it is, said in one sentence: how much of it, and why."""


def check_real(
    name: str, value: object, *, low: float, high: float = math.inf, strict: bool = False
) -> float:
    """Return ``value``, a number of Python or numpy, as a float.

    Raises:
        InputError: it is not a finite number from ``low`` (``strict``: above it) to ``high``.
    """
    allowed = f"{name} must be a finite number {'>' if strict else '>='} {low:g}"
    if high < math.inf:
        allowed += f" and <= {high:g}"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"{allowed}, got {value!r:.60}")
    try:
        number = float(value)
    except OverflowError:
        raise InputError(f"{allowed}, got an integer of more than 300 digits") from None
    if not math.isfinite(number) or not low <= number <= high or (strict and number == low):
        raise InputError(f"{allowed}, got {value!r}")
    return number


def check_array(
    name: str, values: npt.ArrayLike, *, low: float, high: float = math.inf, strict: bool = False
) -> npt.NDArray[np.float64]:
    """Return ``values`` as an array of doubles.

    Raises:
        InputError: one is not a finite number from ``low`` (``strict``: above it) to ``high``.
    """
    array = np.asarray(values, np.float64)
    good = np.isfinite(array) & (array >= low) & (array <= high) & ~(strict & (array == low))
    for wrong in np.atleast_1d(array)[~np.atleast_1d(good)][:1]:
        check_real(name, float(wrong), low=low, high=high, strict=strict)
    return array


def check_count(name: str, value: object, *, low: int) -> int:
    """Return ``value``, an integer of Python or numpy, as an int.

    Raises:
        InputError: it is not an integer >= ``low``.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < low:
        raise InputError(f"{name} must be an integer >= {low}, got {value!r:.60}")
    return int(value)


def check_radius(name: str, value: object) -> float:
    """Return a radius, given as a number or as a text such as ``8/255``.

    Raises:
        InputError: it is no finite number >= 0, or a text that `parse_radius` refuses.

    >>> check_radius("eps", "1/4"), check_radius("eps", np.float32(0.25))
    (0.25, 0.25)
    """
    return abs(parse_radius(value) if isinstance(value, str) else check_real(name, value, low=0))  # no -0.0


def check_radii(name: str, value: object) -> tuple[float, float]:
    """Return the radii of class +1 and of class -1, given as one for both or as a pair.

    Raises:
        InputError: as `check_radius`, or there are neither one nor two.
    """
    pair = tuple(value) if isinstance(value, (tuple, list, np.ndarray)) and np.ndim(value) else (value, value)
    if len(pair) != 2:
        raise InputError(f"{name} must be a number or one of each class, got {value!r:.60}")
    return check_radius(name, pair[0]), check_radius(name, pair[1])


def parse_number(text: str, kind: type[int] | type[float] = float) -> float:
    """Return the decimal that a text is, or the integer if ``kind`` is int; nan if it is none."""
    try:
        value = kind(text) if (WHOLE if kind is int else DECIMAL).fullmatch(text) else math.nan
        return value if kind is int or math.isfinite(value) else math.nan
    except ValueError:  # an integer of thousands of digits
        return math.nan


def parse_radius(text: str) -> float:
    """Return the l-infinity radius written as ``text``: a decimal (``0.05``) or a fraction (``8/255``).

    Raises:
        InputError: the text is neither, or the radius is negative or too large for a double.
    """
    try:
        if "/" in text:
            over, under = (parse_number(part, int) for part in text.split("/"))
            value = over / under if under > 0 else math.nan
        else:
            value = parse_number(text)
    except (ValueError, OverflowError):
        value = math.nan
    if not 0 <= value < math.inf or len(text) > LONGEST_RADIUS:
        raise InputError(
            f"eps must be a number >= 0 such as 0.05 or 8/255, of {LONGEST_RADIUS} characters at most, "
            f"got {text!r:.60}"
        )
    return abs(value)  # no -0.0


def usual_radius(text: str) -> str:
    """Return the usual spelling of a radius: equal for texts of one value, whichever spelling was given.

    It is a decimal of at most 6 characters, else a fraction of 255, else one of at most 1000, else the
    shortest decimal that is this double.

    Raises:
        InputError: the text is no radius.

    >>> [usual_radius(text) for text in ("0.150", "8/255", "16/510", "1/7", "2")]
    ['0.15', '8/255', '8/255', '1/7', '2']
    """
    value = parse_radius(text)
    decimal = repr(value).removesuffix(".0")
    if len(decimal) <= 6:
        return decimal
    levels = round(255 * value)
    if levels / 255 == value:
        return f"{levels}/255"
    fraction = Fraction(value).limit_denominator(1000)
    return str(fraction) if float(fraction) == value else decimal


def read_text(path: Path, most: int = LONGEST) -> str:
    """Return the content of a text file.

    Raises:
        InputError: it cannot be read, is not UTF-8, or has more than ``most`` bytes.
    """
    with _reading(path), path.open("rb") as file:
        return _decoded(file.read(most + 1), most, str(path))


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line of a text file, from 1, without holding the others.

    Raises:
        InputError: it cannot be read, or a line is not UTF-8 or has more than `LONGEST` bytes.
    """
    with _reading(path), path.open("rb") as file:
        for number in itertools.count(1):
            line = file.readline(LONGEST + 1)
            if not line:
                return
            yield number, _decoded(line, LONGEST, f"{path}, line {number}")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a path that cannot be one
        raise InputError(f"cannot read {str(path):.300}: {getattr(error, 'strerror', error)}") from None


def _decoded(raw: bytes, most: int, where: str) -> str:
    if len(raw) > most:
        raise InputError(f"cannot read {where}: it has more than {most} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise InputError(f"cannot read {where}: not text in UTF-8") from None


def parse_object(text: str, where: str) -> Mapping[str, Any]:
    """Parse one object of strict JSON: every number is finite as a double, and no key is there twice.

    Raises:
        InputError: the text is not one; ``where`` says which text.
    """
    try:
        value = json.loads(
            text, object_pairs_hook=_once, parse_constant=_finite, parse_float=_finite, parse_int=_whole
        )
        if text.count("[") + text.count("{") > DEEPEST:
            _check_depth(value)
    except InputError as error:
        raise InputError(f"{where} {error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise InputError(f"{where} must be a JSON object, got {text.strip()[:60]}")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise InputError(f"has {text:.60}; a number must be finite")
    return value


def _whole(text: str) -> int:
    _finite(text)
    return int(text)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        inner = [v for v in level if isinstance(v, (dict, list))]
        level = [w for v in inner for w in (v.values() if isinstance(v, dict) else v)]
        if not level:
            return
    raise InputError(f"has more than {DEEPEST} objects and lists within each other")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object whose keys are all different."""
    values = dict(pairs)
    if len(values) < len(pairs):
        (key, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise InputError(f"has the key {key!r:.60} twice")
    return values
