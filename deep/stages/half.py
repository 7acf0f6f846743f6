"""Weights rounded to half precision, so that a network can be handed on in half the bytes.

It computes in single precision, as before; the rounding is attacked like any other change of a network.
"""

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from deep.attacks.evaluate import evaluate
from deep.runs.reload import Run
from deep.stages.base import Stage, Staged
from deep.training.seeds import stream
from theory.common.table import Table

__all__ = ["STAGE", "Half", "rounded_weights"]


class Half(Stage):
    """The same network with weights and statistics of 16 bits."""

    def apply(self, run: Run, shards: Path, tick: Callable[[float], None]) -> Staged:
        """Return the rounded network, with the validation images whose answers change."""
        model = rounded_weights(run.model)
        seed = stream(run.settings.seed, "validation")
        flags = [
            evaluate(network, run.data.val, run.settings.attack, seed=seed, shards=shards).ok
            for network in (run.model, model)
        ]
        tick(1.0)
        changed = (flags[0] != flags[1]).sum(1).tolist()
        rows = [["without an attack", str(changed[0])], ["under attack", str(changed[1])]]
        note = f"of {len(run.data.val)} validation images"
        return Staged(model, {}, Table("Answers that change", ["", "images"], rows, note), torch.float16)


def rounded_weights(model: nn.Module) -> nn.Module:
    """Return a copy of a network whose weights and statistics are numbers of half precision."""
    rounded = copy.deepcopy(model)
    rounded.load_state_dict(
        {k: v.half().to(v.dtype) if v.is_floating_point() else v for k, v in rounded.state_dict().items()}
    )
    return rounded


STAGE = Half
