"""Adversarial training of networks, the fairness methods, and the errors of every class.

From Python
    `train` trains a network on tensors by a method of the field, one of `METHODS`. `load_run` reads a run of
    ``python -m deep.train`` back: settings, data, network, evaluation.
As commands, each with ``--help``
    ``python -m deep.train``, and likewise ``grid``, ``report``, ``sanity``, ``compare``, ``link``,
    ``portrait``, ``promote``. Torch is loaded on use: ``deep.compare`` needs none.
"""

from typing import TYPE_CHECKING

from theory.common.cli import refuse_without_extras
from theory.common.lazy import front_door
from theory.common.moved import find_in_rooms

if TYPE_CHECKING:
    from deep.methods import METHODS as METHODS
    from deep.runs.reload import Run as Run
    from deep.runs.reload import load_run as load_run
    from deep.training.fit import TrainedNetwork as TrainedNetwork
    from deep.training.fit import train as train

HOMES = {
    "METHODS": "methods",
    "Run": "runs.reload",
    "TrainedNetwork": "training.fit",
    "load_run": "runs.reload",
    "train": "train",
}

refuse_without_extras()
find_in_rooms("deep")
__all__, __getattr__, __dir__ = front_door("deep", HOMES)
