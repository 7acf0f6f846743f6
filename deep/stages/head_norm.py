"""Rows of the last layer scaled to one norm: the nearest rival of class offsets that needs no training.

Class-wise robust accuracy goes with the norms of these rows, as a submission to OpenReview observes
(https://openreview.net/forum?id=df4mr7eQg7); it re-balances them. Unlike offsets it rescales logits by
class, so that the margins of the attack before say nothing of the network after.
"""

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from deep.runs.reload import Run
from deep.stages.base import Stage, Staged, head_of
from theory.common.digits import rounded
from theory.common.inputs import InputError
from theory.common.table import Table

__all__ = ["STAGE", "HeadNorm", "with_equal_rows"]


class HeadNorm(Stage):
    """Every row of the last layer, with its bias, scaled to the mean norm."""

    def apply(self, run: Run, shards: Path, tick: Callable[[float], None]) -> Staged:
        """Return the network with equal rows; nothing is chosen, so validation is not looked at."""
        model, norms = with_equal_rows(run.model)
        tick(1.0)
        rows = [[name, rounded(norm)] for name, norm in zip(run.data.classes, norms, strict=True)]
        note = "l2 norms of the rows of the last layer before they are scaled to their mean"
        return Staged(model, {"head_norms": norms}, Table("Rows of the head", ["class", "norm"], rows, note))


def with_equal_rows(model: nn.Module) -> tuple[nn.Module, list[float]]:
    """Return a copy of a network whose last layer ``head`` has rows of one norm, and the norms before.

    Args:
        model: has a linear layer ``head`` that returns the logits.

    Raises:
        InputError: it has no such layer, or a row is 0.
    """
    scaled = copy.deepcopy(model)
    head = head_of(scaled)
    norms = head.weight.detach().norm(dim=1)
    if not bool((norms > 0).all()):
        raise InputError("a row of the last layer is 0 and cannot be scaled")
    factor = norms.mean() / norms
    with torch.no_grad():
        head.weight *= factor[:, None]
        if head.bias is not None:
            head.bias *= factor
    return scaled, norms.tolist()


STAGE = HeadNorm
