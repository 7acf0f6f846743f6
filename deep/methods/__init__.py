"""Training methods, one file each; a file's name is the method's name on the command line."""

import importlib
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType

from deep.methods.base import Method

__all__ = ["METHODS"]

SHARED = ("base", "based", "batchwise", "perturbed")
"""Files that are no methods."""


def _discover() -> Mapping[str, type[Method]]:
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in SHARED)
    return MappingProxyType({n: importlib.import_module(f"{__name__}.{n}").METHOD for n in names})


METHODS = _discover()
"""Every method by name."""
