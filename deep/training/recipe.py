"""How a network is trained: the optimiser, its schedule, precision, and which weights are chosen."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from deep.data.augment import Augment
from theory.results.counts import ClassErrors

__all__ = ["AMP", "CRITERIA", "DECAYS", "ON_COLLAPSE", "SCHEDULES", "Recipe"]

SCHEDULES: Mapping[str, Callable[[float, float, float], float]] = {
    "piecewise": lambda epoch, *_: 0.1 ** ((epoch >= 0.5) + (epoch >= 0.75)),  # Rice et al. (2020)
    "trades": lambda epoch, *_: 0.1 ** ((epoch >= 0.75) + (epoch >= 0.9)),  # Zhang et al. (2019)
    "cosine": lambda _, step, peak: (1 + math.cos(math.pi * step)) / 2,  # Loshchilov and Hutter (2017)
    "one-cycle": lambda _, step, peak: min(step / peak, (1 - step) / (1 - peak)),  # Wong et al. (2020)
}
"""The learning rate in units of --lr, from the share of training done at the start of the epoch and after
the step, and the share that warms up: what changes by epoch looks at the one, what changes by step at the
others."""
LR_WARMUP = 0.4  # as in Rice et al. (2020); 1/2 in Wong et al.
EPS_START = 0.25
"""The radius that --eps-warmup starts from, in units of --eps: 2/255 of 8/255."""
AMP = ("off", "train", "all")
"""What is computed in bfloat16: nothing, training, or training and its attacks. Evaluation never is."""
DECAYS = ("all", "matrices")
"""What weight decay is for: all parameters, or those that are neither biases nor scales of a norm."""
ON_COLLAPSE = ("warn", "stop")
"""What follows when training overfits catastrophically: it is told, or ends with the weights before."""
CRITERIA: Mapping[str, Callable[[ClassErrors], float]] = {
    "average": lambda errors: errors.average("robust_error"),
    "worst": lambda errors: float(errors.rates("robust_error").max()),
}
"""What the best epoch has least of in validation: the robust error, average or of the worst class."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """SGD with momentum 0.9, and what goes with it.

    Args:
        epochs: epochs in all, those of a warm-up included.
        lr: largest learning rate.
        batch_size: images a step, over all processes; a last incomplete batch is left out.
        weight_decay: L2 penalty.
        augment: what is done to the images of a step; nothing if None.
        seed: seed of the run.
        schedule: key of `SCHEDULES`.
        ema: decay of the average of weights that is evaluated instead of the last ones; none if 0.
        amp: one of `AMP`.
        val_every: epochs from one validation to the next; the last epoch is always validated.
        select: key of `CRITERIA`.
        nesterov: whether the momentum is Nesterov's.
        decay: one of `DECAYS`.
        lr_warmup: share of the training in which the learning rate of "one-cycle" rises; 0.4 if None.
        eps_warmup: share of the training in which the radius of the training attack rises to its value.
        replays: how often each batch is trained on in a row by free adversarial training; None is without.
        on_collapse: one of `ON_COLLAPSE`.
    """

    epochs: int
    lr: float
    batch_size: int
    weight_decay: float
    augment: Augment | None
    seed: int
    schedule: str = "piecewise"
    ema: float = 0.0
    amp: str = "off"
    val_every: int = 1
    select: str = "average"
    nesterov: bool = False
    decay: str = "all"
    lr_warmup: float | None = None
    eps_warmup: float = 0.0
    replays: int | None = None
    on_collapse: str = "warn"

    def lr_at(self, epoch: int, part: float = 0.0) -> float:
        """Return the learning rate of an epoch, counted from 0, at a part of it from 0 to 1."""
        peak = LR_WARMUP if self.lr_warmup is None else self.lr_warmup
        return self.lr * SCHEDULES[self.schedule](epoch / self.epochs, (epoch + part) / self.epochs, peak)

    def radius_at(self, epoch: int, part: float = 0.0) -> float:
        """Return the radius of the training attack, in units of eps, at a part of an epoch."""
        if self.eps_warmup == 0:
            return 1.0
        risen = (epoch + part) / self.epochs / self.eps_warmup
        return min(1.0, EPS_START + (1 - EPS_START) * risen)

    def optimizer(self, parameters: Sequence[nn.Parameter]) -> torch.optim.SGD:
        """Return the optimiser of the parameters."""
        groups: list[dict[str, Any]] = [{"params": parameters}]
        if self.decay == "matrices":
            groups = [{"params": [p for p in parameters if p.dim() > 1]}]
            groups += [{"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0}]
        return torch.optim.SGD(
            [g for g in groups if g["params"]],
            lr=self.lr,
            momentum=0.9,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov,
        )
