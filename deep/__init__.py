"""Adversarial training of networks, the fairness methods, and the errors of every class.

From Python
    `audit` says how robust each class of any model is (`Audit`), `repair` lifts its worst class (`Repair`).
    `train` trains a network on tensors by one of `METHODS` (`TrainedNetwork`). `load_run` reads a run of
    ``python -m deep.train`` back (`Run`): settings, data, network, evaluation.
As commands, each with ``--help``
    ``python -m deep.train``, and likewise ``audit``, ``repair``, ``grid``, ``report``, ``sanity``,
    ``compare``, ``link``, ``portrait``, ``promote``. Torch is loaded on use: ``deep.compare`` needs none.

Example: two classes on a line, class 1 spread three times as far; adversarial training by PGD (Madry et al.,
2018, https://arxiv.org/abs/1706.06083) on tensors, and the errors of each class under attack.

    >>> import torch, deep
    >>> rng = torch.Generator().manual_seed(0)
    >>> y = torch.arange(400) % 2
    >>> noise = torch.randn(400, 1, generator=rng) * torch.where(y == 1, 0.15, 0.05)[:, None]
    >>> x = (torch.where(y == 1, 0.7, 0.4)[:, None] + noise).clamp(0, 1)
    >>> net = torch.nn.Linear(1, 2)
    >>> trained = deep.train(net, x, y, validation=(x, y), eps=0.05, epochs=10, batch_size=50, lr=2.0)
    >>> narrow, wide = trained.errors.rates("robust_error")
    >>> bool(narrow < wide), trained.errors.n
    (True, (200, 200))
"""

from typing import TYPE_CHECKING

from theory import __version__ as __version__
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
