"""Adversarial training of networks, the fairness methods, and the errors of every class.

From Python
    `audit` says how robust each class of any model is (`Audit`), `repair` lifts its worst class (`Repair`).
    `train` trains a network on tensors by one of `METHODS` (`TrainedNetwork`). `load_run` reads a run of
    ``python -m deep.train`` back (`Run`): settings, data, network, evaluation.
As commands, each with ``--help``
    ``python -m deep.train``, and likewise ``audit``, ``repair``, ``grid``, ``report``, ``sanity``,
    ``compare``, ``link``, ``portrait``, ``promote``. Torch is loaded on use: ``deep.compare`` needs none.
"""

from typing import TYPE_CHECKING

from theory.common.cli import refuse_without_extras
from theory.common.lazy import front_door
from theory.common.moved import find_in_rooms

if TYPE_CHECKING:
    from deep.audits.any_model import audit as audit
    from deep.audits.result import Audit as Audit
    from deep.methods import METHODS as METHODS
    from deep.runs.reload import Run as Run
    from deep.runs.reload import load_run as load_run
    from deep.stages.any_network import Repair as Repair
    from deep.stages.any_network import repair as repair
    from deep.training.fit import TrainedNetwork as TrainedNetwork
    from deep.training.fit import train as train

HOMES = {
    "Audit": "audits.result",
    "METHODS": "methods",
    "Run": "runs.reload",
    "TrainedNetwork": "training.fit",
    "audit": "audit",
    "Repair": "stages.any_network",
    "load_run": "runs.reload",
    "repair": "repair",
    "train": "train",
}

refuse_without_extras()
find_in_rooms("deep")
__all__, __getattr__, __dir__ = front_door("deep", HOMES)
