"""Weights between those of two networks, after RiFT (Zhu et al., ICCV 2023, https://arxiv.org/abs/2308.02533).

RiFT goes from an adversarially trained network towards one fine-tuned from it without attacks, and stops
where robustness starts to fall. How far to go is chosen on validation images, not on the test images.
Statistics of batch norm are interpolated too; the authors' code takes them from the fine-tuned network.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from deep.attacks.evaluate import evaluate
from deep.runs.reload import Run, load_run
from deep.stages.base import Stage, Staged
from deep.training.seeds import stream
from theory.common.digits import percent
from theory.common.fields import check_fields, setting
from theory.common.inputs import InputError
from theory.common.table import Table

__all__ = ["STAGE", "Interpolate", "between_weights", "chosen_between"]

SHARES = tuple(i / 10 for i in range(11))
"""Of the way that are tried."""


class Interpolate(Stage):
    """The farthest point of the way to another network that keeps the average robust accuracy."""

    folders = ("to",)

    @dataclass(frozen=True)
    class Params:
        """Settings."""

        to: str = setting("", "folder of the run to go towards, such as one with --init RUN --method natural")
        budget: float = setting(
            0.0, "points of average robust accuracy in validation that it may cost", low=0, high=100
        )

        def __post_init__(self) -> None:
            """Check every value."""
            check_fields(self)

    def apply(self, run: Run, shards: Path, tick: Callable[[float], None]) -> Staged:
        """Return the network with the smallest natural error whose robust error is within the budget."""
        if not self.params.to:
            raise InputError("--to must name the folder of the run to go towards")
        other = load_run(Path(self.params.to), device=str(run.data.val.labels.device))
        return chosen_between(run, other.model, self.params.budget, shards, tick)


def chosen_between(
    run: Run, other: nn.Module, budget: float, shards: Path, tick: Callable[[float], None]
) -> Staged:
    """Return the network on the way to another whose natural error in validation is smallest.

    Args:
        run: where the way begins.
        other: the network at its end.
        budget: points of average robust accuracy that it may cost.
        shards: folder where evaluations are kept until the stage is finished.
        tick: called with the share of the work that is done.
    """
    seed, counted = stream(run.settings.seed, "validation"), []
    for i, share in enumerate(SHARES):
        model = between_weights(run.model, other, share)
        flags = evaluate(model, run.data.val, run.settings.attack, seed=seed, shards=shards)
        counted.append(flags.errors(run.data.classes))
        tick((i + 1) / len(SHARES))
    robust = np.array([c.average("robust_error") for c in counted])
    natural = np.array([c.average("natural_error") for c in counted])
    allowed = robust <= robust[0] + budget / 100
    best = int(np.where(allowed, natural, np.inf).argmin())
    rows = [
        [f"{share:g}", percent(n), percent(r), percent(float(c.rates("robust_error").max()))]
        for share, n, r, c in zip(SHARES, natural, robust, counted, strict=True)
    ]
    header = ["share of the way", "natural", "robust", "worst class"]
    note = f"errors in percent of the validation images; {SHARES[best]:g} is chosen"
    table = Table("Between the two networks", header, rows, note)
    return Staged(between_weights(run.model, other, SHARES[best]), {"share": SHARES[best]}, table)


def between_weights(model: nn.Module, other: nn.Module, share: float) -> nn.Module:
    """Return a network with weights and statistics w + share (v - w), w of a model and v of another.

    Args:
        model: the network at share 0.
        other: of the same architecture, at share 1.
        share: how far to go, from 0 to 1.

    Raises:
        InputError: the networks are of different architectures.
    """
    ours, theirs = model.state_dict(), other.state_dict()
    if {k: v.shape for k, v in ours.items()} != {k: v.shape for k, v in theirs.items()}:
        raise InputError("the two networks are of different architectures")
    mixed = copy.deepcopy(model)
    mixed.load_state_dict(
        {k: v.lerp(theirs[k].to(v), share) if v.is_floating_point() else v for k, v in ours.items()}
    )
    return mixed


STAGE = Interpolate
