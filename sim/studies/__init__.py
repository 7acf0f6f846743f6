"""Studies, one file each; a file's name is the study's name. Each statement of `theory` is one too."""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from sim.studies.simulations import study_of_statement
from sim.studies.study import SimulationStudy
from theory.theorems import statements

__all__ = ["studies"]

SHARED = ("grid_runs", "simulations", "study", "tasks")
"""Files that are no studies."""


@cache
def studies() -> Mapping[str, SimulationStudy]:
    """Return every study by its name."""
    names = [m.name for m in pkgutil.iter_modules(__path__) if m.name not in SHARED]
    own = {n: importlib.import_module(f"{__name__}.{n}").STUDY for n in names}
    return MappingProxyType({n: study_of_statement(s) for n, s in statements().items()} | own)
