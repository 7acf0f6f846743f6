"""Worst-class Adversarial Training: Li and Liu, "WAT", AAAI 2023, on the loss of TRADES.

https://arxiv.org/abs/2302.04025. A game of the network against an adversary who plays a distribution over
C + 1 experts: the C classes and their average. The adversary plays Hedge: after each epoch every expert's
cost, its mean CE + beta KL under attack on the validation split, is added to G, and

v = C softmax(rate G), C + 1 entries with sum C.

The loss of the game, to which a sample of class y contributes its CE + beta KL, is

mean (v_y + v_average / C) (CE + beta KL),

in which v / C is what the adversary plays. Costs and v are those of the authors' code (boqili/WAT). What
is not as there:

- there the average counts C times as much, mean (v_y + v_average) (CE + beta KL), and v is 1 everywhere
  in the first epoch (``--literal``): while the costs are alike the loss is 2 C / (C + 1), and first 2,
  times that of TRADES, beside one learning rate and weight decay for all methods. Here equal costs give
  exactly TRADES, and the classes' weights always have mean 1;
- there a mean over the n validation images is a sum divided by 128 times the number of batches of 128,
  which makes the costs 2.3 % too small for n = 3000 (``--literal`` too);
- the KL attack of the costs is that of training, with the run's radius and steps.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.attacks.noise import Noise
from deep.attacks.pgd import attacking
from deep.data import Split
from deep.methods.base import Context, Epoch
from deep.methods.trades import TRADES, surrogates
from theory.common.inputs import check_real

__all__ = ["METHOD", "WAT", "expert_costs", "hedge_weights", "sample_weights"]

BATCH = 500


def hedge_weights(costs: Tensor, rate: float) -> Tensor:
    """Return C softmax(rate G) from the cumulated costs G of C classes and their average, shape (C + 1,)."""
    return (len(costs) - 1) * F.softmax(rate * costs, dim=0)


def sample_weights(hedge: Tensor) -> Tensor:
    """Return v_c + v_average / C, the weight of a sample of class c, shape (C,), from v, shape (C + 1,)."""
    return hedge[:-1] + hedge[-1] / (len(hedge) - 1)


def expert_costs(losses: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the mean loss of each class and that of all samples, shape (classes + 1,).

    Args:
        losses: of each sample, shape (n,).
        labels: of each sample, shape (n,); every class has one.
        classes: their number C.
    """
    member = F.one_hot(labels, classes).to(losses)
    return torch.cat([losses @ member / member.sum(0), losses.mean()[None]])


class WAT(TRADES):
    """Worst-class Adversarial Training."""

    @dataclass(frozen=True)
    class Params(TRADES.Params):
        """Hyper-parameters."""

        rate: float = field(default=0.1, metadata={"help": "rate of Hedge, eta in the paper"})
        literal: bool = field(
            default=False, metadata={"help": "weigh the average C times as much, as published"}
        )

        def __post_init__(self) -> None:
            """Refuse negative numbers."""
            super().__post_init__()
            check_real("--rate", self.rate, low=0, high=1e6)

    def __init__(self, params: Params, context: Context) -> None:
        """Start without costs."""
        super().__init__(params, context)
        self.costs = torch.cat([context.per_class(0.0), context.per_class(0.0)[:1]]).double()
        self.hedge = torch.ones_like(self.costs) if params.literal else hedge_weights(self.costs, params.rate)

    def on_epoch_start(self, epoch: Epoch) -> None:
        """Set the weights by the costs so far."""
        if epoch.index > 0:
            self.hedge = hedge_weights(self.costs, self.params.rate)

    def on_epoch_end(self, epoch: Epoch) -> None:
        """Add the costs of the network that the epoch has made."""
        split = epoch.validation
        costs = expert_costs(self.validation_losses(epoch.model, split), split.labels, self.context.classes)
        if self.params.literal:
            costs *= len(split) / (128 * -(-len(split) // 128))
        self.costs = self.costs + self.context.world.first(costs)

    def validation_losses(self, model: nn.Module, split: Split) -> Tensor:
        """Return CE + beta KL of each sample under the KL attack, in double precision, shape (n,)."""
        seed, losses = self.context.noise(0).seed, []
        for begin in range(0, len(split), BATCH):
            part = slice(begin, begin + BATCH)
            x, y = split.inputs(part), split.labels[part]
            adv = self.diverge(model, x, y, Noise(seed, split.index[part]))
            with attacking(model), torch.no_grad():
                natural, boundary = surrogates(model, x, y, adv)
            losses.append(natural.double() + self.params.beta * boundary.double())
        return torch.cat(losses)

    def class_weights(self) -> Tensor:
        """Return the weight of a sample of each class in the loss, shape (C,)."""
        return self.hedge[:-1] + self.hedge[-1] if self.params.literal else sample_weights(self.hedge)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the mean of the class's weight times CE + beta KL."""
        natural, boundary = surrogates(model, x, y, adv, self.context.label_smoothing)
        losses = natural + self.params.beta * boundary
        return (self.class_weights().to(losses)[y] * losses).mean()

    def state(self) -> dict[str, Any]:
        """Return the weights of every class, and the adversary's weight of the average."""
        return {"weights": self.class_weights().tolist(), "average_weight": float(self.hedge[-1])}


METHOD = WAT
