"""FAT: Ma, Wang and Liu, "On the Tradeoff Between Robustness and Fairness", NeurIPS 2022.

https://openreview.net/forum?id=LqGA2JMLwBw. Fairly adversarial training adds to the base loss, PGD or
TRADES, alpha times the variance over the classes of their mean adversarial cross-entropies in the batch.

As in the official code (wzekai99/FAT): the attack is that of PGD whatever the base, on the cross-entropy
from a uniform start, with running statistics of batch norm. Deviations:

- the variance is that of the classes in the batch, divided by their number. There, the losses of the
  classes stand in a vector of 100 zeros, and the variance is that of its 100 entries, divided by 99: with
  10 classes it penalises the mean loss more than its spread, and a class that is not in the batch has
  loss 0. ``--literal`` does that;
- the step is eps / 4 (there .007 for eps = .031); schedule and batch size are those of all methods here.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.methods.base import Method
from deep.methods.based import Based
from deep.methods.batchwise import Batchwise
from theory.common.inputs import check_real

__all__ = ["FAT", "METHOD", "class_variance"]

SLOTS = 100  # length of the vector of class losses in the authors' code


def class_variance(losses: Tensor, *, literal: bool = False) -> Tensor:
    """Return the population variance of the mean losses of the present classes, a scalar.

    Args:
        losses: shape (k,), k from 1 to 100.
        literal: return the unbiased variance of 100 entries, these and zeros, as the authors' code does.
    """
    if literal:
        return torch.cat([losses, losses.new_zeros(SLOTS - len(losses))]).var()
    return losses.var(correction=0)


class FAT(Batchwise):
    """Fairly adversarial training."""

    @dataclass(frozen=True)
    class Params(Based.Params):
        """Hyper-parameters."""

        alpha: float = field(default=0.1, metadata={"help": "weight of the variance over the classes"})
        literal: bool = field(
            default=False, metadata={"help": "take the variance of 100 slots, as in the authors' code"}
        )

        def __post_init__(self) -> None:
            """Refuse negative weights."""
            super().__post_init__()
            check_real("--alpha", self.alpha, low=0, high=1e6)

    def attack(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the inputs that maximise the cross-entropy, whatever the base."""
        return Method.attack(self, model, x, y)

    def variance(self, losses: Tensor) -> Tensor:
        """Return what is penalised, from the mean losses of the present classes, shape (k,)."""
        return class_variance(losses, literal=self.params.literal)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the mean base loss + alpha Var.

        The weight noted for a class is that of its adversarial cross-entropy if the base loss has weight 1 on
        every class, 1 + k alpha dVar / dl_c; for the variance of k classes this is 1 + 2 alpha (l_c - l).
        """
        terms = self.terms(model, x, y, adv)
        means, counts = self.class_means(F.cross_entropy(terms.logits, y, reduction="none"), y)
        present = counts > 0
        slope = torch.func.grad(self.variance)(means[present].detach())
        self.note(1 + len(slope) * self.params.alpha * slope, present)
        return self.losses(terms).mean() + self.params.alpha * self.variance(means[present])


METHOD = FAT
