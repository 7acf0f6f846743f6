"""Dataclasses whose fields are checked, and are the flags of a command line.

A field has its type and, in its metadata, ``help`` and what is allowed: ``choices`` (names), ``low`` and
``high`` (both included; ``strict``: low is not, ``below``: high is not), ``radius`` (a text such as 8/255),
``completed`` (None stands for a value that the class fills in), ``convert`` (makes a value of a text).
"""

import argparse
import dataclasses
import typing
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from theory.common.cli import one_of, radius, real, whole
from theory.common.inputs import InputError, check_real, parse_radius

__all__ = ["add_fields", "built", "check_fields", "flag_of", "setting"]


def setting(default: Any, text: str, **allowed: Any) -> Any:
    """Return a field with a default, its help, and what is allowed, as above."""
    return dataclasses.field(default=default, metadata={"help": text, **allowed})


def flag_of(name: str) -> str:
    """Return the flag of a field."""
    return "--" + name.replace("_", "-")


def add_fields(parser: argparse._ActionsContainer, cls: type, names: Collection[str] | None = None) -> None:
    """Add one flag for each field of the dataclass ``cls``: its type, default and ``help``.

    Args:
        parser: where flags are added.
        cls: its fields are ``float``, ``int``, ``bool``, ``str``, ``Path`` or a ``Literal`` of names, each
            possibly ``| None``.
        names: of the fields that are added, in this order; all if None.
    """
    fields, kinds = {f.name: f for f in dataclasses.fields(cls)}, _kinds(cls)
    for name in fields if names is None else names:
        field = fields[name]
        how: dict[str, Any] = {"default": field.default, "help": field.metadata["help"]}
        if kinds[name] is bool:
            parser.add_argument(flag_of(name), action=argparse.BooleanOptionalAction, **how)
        else:
            parser.add_argument(flag_of(name), type=_parse(kinds[name], field.metadata), **how)


def check_fields(instance: Any) -> None:
    """Check every field that has ``help``; integers become floats where those are due, in frozen classes too.

    Raises:
        InputError: a value is not what its field allows.
    """
    kinds = _kinds(type(instance))
    for field in dataclasses.fields(instance):
        value = _checked(field, kinds[field.name], getattr(instance, field.name))
        object.__setattr__(instance, field.name, value)


def built(cls: type, values: Mapping[str, Any]) -> Any:
    """Return an instance of a dataclass from values by the names of its fields.

    Raises:
        InputError: a name is unknown, or a value is not what its field allows.
    """
    fields, kinds = {f.name: f for f in dataclasses.fields(cls)}, _kinds(cls)
    for name in values:
        if name not in fields:
            raise InputError(f"{name!r:.60} is no setting here; allowed: {', '.join(fields) or 'none'}")
    return cls(**{name: _checked(fields[name], kinds[name], value) for name, value in values.items()})


def _kinds(cls: type) -> dict[str, Any]:
    """Return the kind of each field: a type, or the choices of a Literal, whether or not it may be None."""
    out = {}
    for name, hint in typing.get_type_hints(cls).items():
        parts = [k for k in typing.get_args(hint) if k is not type(None)]
        literal = [typing.get_args(k) for k in (hint, *parts) if typing.get_origin(k) is typing.Literal]
        out[name] = (
            literal[0] if literal else (parts[0] if parts and typing.get_origin(hint) is not dict else hint)
        )
    return out


def _parse(kind: Any, allowed: Mapping[str, Any]) -> Callable[[str], object]:
    """Return what makes a value of a word of the command line."""
    choices = kind if isinstance(kind, tuple) else allowed.get("choices")
    if choices is not None:
        return one_of([*choices])
    if allowed.get("radius"):
        return radius
    if kind is int:
        return whole(allowed.get("low", 0), allowed.get("high"))
    return real if kind is float else Path if kind is Path else str


def _checked(field: "dataclasses.Field[Any]", kind: Any, value: object) -> Any:
    """Return the value of a field, of its type.

    Raises:
        InputError: it is not allowed.
    """
    allowed, flag = field.metadata, flag_of(field.name)
    if "help" not in allowed:  # the class checks it
        return value
    if value is None and (field.default is None or allowed.get("completed")):
        return None
    value = value.item() if isinstance(value, np.generic) else value
    choices = kind if isinstance(kind, tuple) else allowed.get("choices")
    if choices is not None:
        if not isinstance(value, str) or value not in choices:
            raise InputError(f"{flag} must be one of {', '.join(choices)}, got {value!r:.60}")
        return value
    if allowed.get("radius"):
        return _radius(flag, value)
    if kind is float:
        return _real(flag, value, allowed)
    if kind is int:
        return _whole(flag, value, allowed.get("low", 0), allowed.get("high"))
    convert = Path if kind is Path else allowed.get("convert")
    if convert is not None and isinstance(value, str):
        return convert(value)
    if isinstance(kind, type) and not isinstance(value, kind):
        names = {bool: "true or false", str: "a text", Path: "a path"}
        raise InputError(f"{flag} must be {names.get(kind, kind.__name__)}, got {value!r:.60}")
    return value


def _whole(flag: str, value: object, low: int, high: int | None) -> int:
    good = isinstance(value, int) and not isinstance(value, bool) and value >= low
    if not good or (high is not None and value > high):  # type: ignore[operator]  # an int here
        span = f">= {low}" if high is None else f"from {low} to {high}"
        raise InputError(f"{flag} must be an integer {span}, got {value!r:.60}")
    return typing.cast(int, value)


def _real(flag: str, value: object, allowed: Mapping[str, Any]) -> float:
    low, high, below = allowed.get("low"), allowed.get("high"), allowed.get("below")
    number = check_real(
        flag,
        value,
        low=-np.inf if low is None else low,
        high=np.inf if high is None else high,
        strict=allowed.get("strict", False),
    )
    if below is not None and number >= below:
        raise InputError(f"{flag} must be from {low or 0:g} to below {below:g}, got {number:g}")
    return number


def _radius(flag: str, value: object) -> str:
    """Return the text of a radius; a number is written as Python does."""
    text = value if isinstance(value, str) else repr(value)
    try:
        parse_radius(text)
    except InputError as error:
        raise InputError(f"{flag}: {error}") from None
    return text
