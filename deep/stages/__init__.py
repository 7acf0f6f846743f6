"""What is done to a finished network: one stage a file; a file's name is the stage's name."""

import importlib
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType

from deep.stages.base import Stage

__all__ = ["STAGES"]

SHARED = ("any_network", "base")
"""Files that are no stages."""


def _discover() -> Mapping[str, type[Stage]]:
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in SHARED)
    return MappingProxyType({n: importlib.import_module(f"{__name__}.{n}").STAGE for n in names})


STAGES = _discover()
"""Every stage by name."""
