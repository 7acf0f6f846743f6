"""Bad input, and the checks of numbers that every layer shares."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "DoubtWarning",
    "InputError",
    "check_array",
    "check_count",
    "check_real",
    "parse_number",
    "parse_object",
    "parse_radius",
]

WHOLE = re.compile("[+-]?[0-9]+")
DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
"""Numbers as a person writes them: Python reads 1_000, " 5 ", infinity and the digits of every script too."""


class InputError(ValueError):
    """Bad input, said in one sentence: what was given and what is allowed."""


class DoubtWarning(UserWarning):
    """A result that is not to be trusted as it is, said in one sentence: how much of it, and why."""


def check_real(
    name: str, value: object, *, low: float, high: float = math.inf, strict: bool = False
) -> float:
    """Return ``value`` as a float.

    Raises:
        InputError: it is not a finite number from ``low`` (``strict``: above it) to ``high``.
    """
    allowed = f"{name} must be a finite number {'>' if strict else '>='} {low:g}"
    if high < math.inf:
        allowed += f" and <= {high:g}"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
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
    """Return ``value`` as an integer.

    Raises:
        InputError: it is not an integer >= ``low``.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise InputError(f"{name} must be an integer >= {low}, got {value!r:.60}")
    return value


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
    if not 0 <= value < math.inf:
        raise InputError(f"eps must be a number >= 0 such as 0.05 or 8/255, got {text!r:.60}")
    return abs(value)  # no -0.0


def parse_object(text: str, where: str) -> Mapping[str, Any]:
    """Parse one JSON object.

    Raises:
        InputError: the text is not one; ``where`` says which text.
    """
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except InputError as error:
        raise InputError(f"{where} {error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise InputError(f"{where} must be a JSON object, got {text.strip()[:60]}")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object whose keys are all different."""
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise InputError(f"has the key {next(k for k in keys if keys.count(k) > 1)!r:.60} twice")
    return dict(pairs)
