"""How a network is trained: the optimiser, its schedule, precision, and which weights are chosen."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from deep.augment import Augment
from theory.errors import ClassErrors

__all__ = ["AMP", "CRITERIA", "SCHEDULES", "Recipe"]

SCHEDULES: Mapping[str, Callable[[float, float], float]] = {
    "piecewise": lambda epoch, _: 0.1 ** ((epoch >= 0.5) + (epoch >= 0.75)),  # Rice et al. (2020)
    "trades": lambda epoch, _: 0.1 ** ((epoch >= 0.75) + (epoch >= 0.9)),  # Zhang et al. (2019)
    "cosine": lambda _, step: (1 + math.cos(math.pi * step)) / 2,  # Loshchilov and Hutter (2017)
    "one-cycle": lambda _, step: min(step / 0.4, (1 - step) / 0.6),  # Wong et al. (2020), as in Rice et al.
}
"""The learning rate in units of --lr, from the share of training done at the start of the epoch and after
the step: what changes by epoch looks at the one, what changes by step at the other."""
AMP = ("off", "train", "all")
"""What is computed in bfloat16: nothing, training, or training and its attacks. Evaluation never is."""
CRITERIA: Mapping[str, Callable[[ClassErrors], float]] = {
    "average": lambda errors: errors.average("robust_error"),
    "worst": lambda errors: float(errors.rates("robust_error").max()),
}
"""What the best epoch has least of in validation: the robust error, average or of the worst class."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """SGD with momentum 0.9, and what goes with it.

    Args:
        epochs: epochs in all, those of a hot start included.
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

    def lr_at(self, epoch: int, part: float = 0.0) -> float:
        """Return the learning rate of an epoch, counted from 0, at a part of it from 0 to 1."""
        return self.lr * SCHEDULES[self.schedule](epoch / self.epochs, (epoch + part) / self.epochs)
