"""Bad input, and the checks of numbers that every layer shares."""

import json
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

__all__ = ["InputError", "check_real", "parse_object", "parse_radius"]


class InputError(ValueError):
    """Bad input, said in one sentence: what was given and what is allowed."""


def check_real(name: str, value: object, *, low: float, strict: bool = False) -> float:
    """Return ``value`` as a float.

    Raises:
        InputError: it is not a finite number, or below ``low`` (``strict``: not above it).
    """
    allowed = f"{name} must be a finite number {'>' if strict else '>='} {low:g}"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(f"{allowed}, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or number < low or (strict and number == low):
        raise InputError(f"{allowed}, got {number if math.isinf(number) else value!r}")
    return number


def parse_radius(text: str) -> float:
    """Return the l-infinity radius written as ``text``: a decimal (``0.05``) or a fraction (``8/255``).

    Raises:
        InputError: the text is neither, or the radius is negative or too large for a double.
    """
    try:
        value = float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        value = -1.0
    if value < 0:
        raise InputError(f"eps must be a number >= 0 such as 0.05 or 8/255, got {text!r}")
    return value


def parse_object(text: str, where: str) -> Mapping[str, Any]:
    """Parse one JSON object.

    Raises:
        InputError: the text is not one; ``where`` says which text.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise InputError(f"{where} must be a JSON object, got {text.strip()[:60]}")
    return value
