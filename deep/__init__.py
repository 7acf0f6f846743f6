"""Adversarial training of networks, the fairness methods, and the errors of every class.

From Python:

- `train` trains a network on tensors by a method of the field; `METHODS` has them.
- `load_run` reads a run of ``python -m deep.train`` back: settings, data, network, evaluation.

Commands, each with ``--help``: ``python -m deep.train``, and likewise ``grid``, ``report``, ``sanity``,
``compare``, ``link``, ``portrait``, ``promote``. Torch is loaded on use: ``deep.compare`` needs none.
"""

import importlib
from typing import TYPE_CHECKING, Any

from theory.common.cli import refuse_without_extras
from theory.common.moved import find_in_rooms

if TYPE_CHECKING:
    from deep.methods import METHODS
    from deep.runs.reload import Run, load_run
    from deep.training.fit import Training, train

__all__ = ["METHODS", "Run", "Training", "load_run", "train"]

HOME = {
    "METHODS": "deep.methods",
    "Run": "deep.runs.reload",
    "Training": "deep.training.fit",
    "load_run": "deep.runs.reload",
    "train": "deep.training.fit",
}
"""The module of each public name."""

refuse_without_extras()
find_in_rooms("deep")


def __getattr__(name: str) -> Any:
    """Return a public name, importing its module (PEP 562)."""
    if name not in HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(HOME[name]), name)


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return sorted({*globals(), *__all__})
