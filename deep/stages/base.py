"""What a stage is: it makes a network of the network of a finished run, without training all of it again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from deep.runs.reload import Run
from theory.common.inputs import InputError
from theory.common.table import Table

__all__ = ["Stage", "Staged", "head_of"]


@dataclass(frozen=True)
class Staged:
    """What a stage leaves.

    Args:
        model: the new network, of the architecture of the run, so that its weights can be read back.
        state: what was chosen, as JSON; lists with an entry a class go into the records of the classes.
        table: what a person must know of the choice: what it rests on, and its controls.
        kept_as: type of the weights in their file, which loses nothing of them; their own if None.
    """

    model: nn.Module
    state: Mapping[str, Any]
    table: Table
    kept_as: torch.dtype | None = None


class Stage:
    """A stage; a subclass lives in its own file as ``STAGE``.

    Its settings are the fields of the frozen dataclass ``Params``, each a flag of ``python -m
    deep.repair``. It looks at the training and validation split of the run, never at the test split.
    """

    folders: ClassVar[tuple[str, ...]] = ()
    """The settings that are folders of runs: they are kept by the recipe of the run, not by its path."""

    @dataclass(frozen=True)
    class Params:
        """No settings."""

    def __init__(self, params: Any) -> None:
        """Keep the settings."""
        self.params = params

    def apply(self, run: Run, shards: Path, tick: Callable[[float], None]) -> Staged:
        """Return the new network of a run.

        Args:
            run: the finished run; its network is left as it was.
            shards: folder where parts that are done are kept until the stage is finished.
            tick: called with the share of the work that is done.

        Raises:
            InputError: the run has no such network, or too few validation samples.
        """
        raise NotImplementedError


def head_of(model: nn.Module) -> nn.Linear:
    """Return the last layer ``head`` of a network.

    Raises:
        InputError: it has none.
    """
    head = getattr(model, "head", None)
    if not isinstance(head, nn.Linear):
        raise InputError("the network has no last layer `head`")
    return head
