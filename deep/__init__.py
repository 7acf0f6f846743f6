"""Adversarial training of networks, the fairness remedies, and the errors of every class.

``deep.audit(model, x, y)`` says how robust each class of a model is, see `deep.audits.audit.audit`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from theory.common.cli import refuse_without_extras

if TYPE_CHECKING:
    from deep.audits.audit import audit as audit

refuse_without_extras()


def __getattr__(name: str) -> Any:
    """Import what is called when it is first used, so that ``deep.compare`` runs without torch.

    ``deep.audit`` is a command, whose module is callable: the name means the same before and after its
    import.
    """
    if name == "audit":
        return importlib.import_module("deep.audit")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
