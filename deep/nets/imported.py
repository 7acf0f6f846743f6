"""Networks of other people by name: ``package.module:function``."""

import hashlib
import importlib
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from theory.common.cli import one_line
from theory.common.inputs import InputError

__all__ = ["check_logits", "function_of", "is_import_name", "network_of", "source_sha256"]

NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
COUNTS = ("classes", "num_classes")
"""What a function may call the number of classes; a function without it makes no network for any data."""
SHAPE = "shape"
"""What it may call the shape of an input, channels first."""


def is_import_name(name: str) -> bool:
    """Return whether this is of the form package.module:function."""
    return NAME.fullmatch(name) is not None


def function_of(name: str) -> Callable[..., Any]:
    """Return the function that is named, looked for in the present folder too.

    Raises:
        InputError: there is none, or its module cannot be loaded.
    """
    module, _, function = name.partition(":")
    sys.path.insert(0, "")
    try:
        return getattr(importlib.import_module(module), function)  # type: ignore[no-any-return]
    except Exception as error:  # whatever somebody else's code raises
        raise InputError(
            f"--model {name} fails: {type(error).__name__}: {one_line(str(error)):.200}"
        ) from error
    finally:
        sys.path.remove("")


def source_sha256(name: str) -> str | None:
    """Return the SHA-256 of the file that a function is in, None where it is in none.

    Raises:
        InputError: there is no such function.
    """
    try:
        file = inspect.getsourcefile(inspect.unwrap(function_of(name)))
        return None if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except (TypeError, OSError):
        return None


def network_of(name: str, classes: int, shape: tuple[int, ...]) -> nn.Module:
    """Return the network that a function makes, once it is one.

    Args:
        name: package.module:function, of a function with a parameter ``classes`` or ``num_classes``, and
            perhaps ``shape``.
        classes: number of logits.
        shape: of an input, channels first.

    Raises:
        InputError: there is no such function, or what it returns is no network for such inputs.
    """
    function = function_of(name)
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        parameters = {}  # type: ignore[assignment]
    counts = [count for count in COUNTS if count in parameters]
    if not counts:
        raise InputError(
            f"--model {name} must take the number of classes as classes, and may take the shape of an input "
            f"as shape, got a function of {', '.join(parameters) or 'nothing'}"
        )
    arguments = {counts[0]: classes} | ({SHAPE: shape} if SHAPE in parameters else {})
    try:
        model = function(**arguments)
    except Exception as error:  # whatever somebody else's code raises
        raise InputError(
            f"--model {name} fails: {type(error).__name__}: {one_line(str(error)):.200}"
        ) from error
    if not isinstance(model, nn.Module) or not any(True for _ in model.parameters()):
        raise InputError(
            f"--model {name} must return a torch module with parameters, got {type(model).__name__}"
        )
    check_logits(name, model, classes, shape)
    return model


def check_logits(name: str, model: nn.Module, classes: int, shape: tuple[int, ...]) -> None:
    """Refuse a network that does not return a logit for each class.

    Raises:
        InputError: it fails on such inputs, or returns something else.
    """
    trains = model.training
    try:
        with torch.no_grad():
            logits = model.eval()(torch.zeros(2, *shape))
    except Exception as error:
        raise InputError(
            f"--model {name} fails on inputs of shape {shape}: {type(error).__name__}: "
            f"{one_line(str(error)):.200}"
        ) from error
    model.train(trains)
    if not isinstance(logits, torch.Tensor) or logits.shape != (2, classes):
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise InputError(
            f"--model {name} must return logits of shape (n, {classes}), got {got} of inputs {(2, *shape)}"
        )
