"""One statement a file, ``<author><year>_<claim>.py``.

Each has a `theory.claims.statement.Statement` named STATEMENT.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType, ModuleType

import numpy as np

from theory.claims.statement import Checked, Statement, check
from theory.common.inputs import InputError, check_count

__all__ = ["check_statement", "statements"]


@cache
def statements() -> Mapping[str, Statement]:
    """Return every statement by the name of its file.

    Raises:
        InputError: a file has no statement.

    Examples:
        >>> statements()["ours_ratio_above_K"].status
        'confirmed'
    """
    names = sorted(m.name for m in pkgutil.iter_modules(__path__))
    return MappingProxyType({n: _statement(importlib.import_module(f"{__name__}.{n}")) for n in names})


def _statement(module: ModuleType) -> Statement:
    statement = getattr(module, "STATEMENT", None)
    if not isinstance(statement, Statement):
        name = f"{module.__name__.replace('.', '/')}.py"
        raise InputError(f"{name} must define STATEMENT as a Statement, got {statement!r:.60}")
    return statement


def check_statement(name: str, *, settings: int = 300, seed: int = 0) -> Checked:
    """Try a statement, and its wrong version, on random settings from its domain.

    Args:
        name: of the file in ``theory/theorems/``, such as "ours_ratio_above_K".
        settings: how many.
        seed: seed of the settings; every statement draws others.

    Returns:
        What was found; ``.verdict(status)`` says it in a word.

    Raises:
        InputError: there is no such statement, or settings is not a count.

    Examples:
        >>> found = check_statement("ours_ratio_above_K", settings=20)
        >>> found.verdict(statements()["ours_ratio_above_K"].status)
        'holds'
    """
    known = statements()
    if name not in known:
        raise InputError(f"no statement {name!r:.60}; there are {', '.join(known)}")
    rng = np.random.default_rng([seed, [*known].index(name)])
    return check(known[name], rng, check_count("settings", settings, low=1))
