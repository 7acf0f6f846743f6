"""One statement a file, ``<author><year>_<claim>.py``.

Each has a `theory.claims.statement.Statement` named STATEMENT.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from theory.claims.statement import Statement

__all__ = ["statements"]


@cache
def statements() -> Mapping[str, Statement]:
    """Return every statement by the name of its file."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__))
    return MappingProxyType({n: importlib.import_module(f"{__name__}.{n}").STATEMENT for n in names})
