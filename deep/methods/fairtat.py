"""FAIR-TAT: Medi, Jung and Keuper, WACV 2025, https://arxiv.org/abs/2410.23142.

"FAIR-TAT: Improving Model Fairness using Targeted Adversarial Training": training examples are attacked
towards a class, which they minimise the cross-entropy to. The target of a sample is drawn by softmax(s)
from the classes that are not its own, s_k the share of class k in all wrong answers at the training
examples of the previous epoch; in the first epoch all are as likely. On top of it is `deep.methods.cfa`:
a radius for each class, and its average of weights.

As in the authors' code (TejaswiniMedi/FAIR-TAT): decay .85 and threshold .2 of the average, radii (1/2 +
a_c) eps. The shares are near 1 / C, so the softmax is almost flat: no class is more than e times as
likely as another. Deviations: those of CFA; there two further clean passes of a step move the statistics
of batch norm; --base trades trains TRADES' loss at the same examples. --uniform leaves all classes as
likely.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.attacks.pgd import predicted
from deep.methods.base import Context, Epoch
from deep.methods.based import Based, Terms
from deep.methods.cfa import CFA

__all__ = ["METHOD", "FairTAT", "drawn_targets", "target_odds"]


def target_odds(named: Tensor) -> Tensor:
    """Return softmax of the shares of the classes among wrong answers, shape (C,); uniform without any.

    Args:
        named: how often each class was answered wrongly, shape (C,).
    """
    return F.softmax(named / named.sum().clamp(min=1), dim=0)


def drawn_targets(odds: Tensor, y: Tensor, uniform: Tensor) -> Tensor:
    """Return a class for each sample that is not its own, shape (n,).

    Args:
        odds: of each class, shape (C,), as `target_odds` has them; renormalised without the sample's class.
        y: labels, shape (n,).
        uniform: a uniform number of [0, 1) for each sample, shape (n,).
    """
    others = odds.expand(len(y), -1).scatter(1, y[:, None], 0.0)
    reached = others.cumsum(1)
    target = (reached <= (uniform * reached[:, -1])[:, None]).sum(1)
    last = len(odds) - 1 - (y == len(odds) - 1).long()  # where rounding goes past the end
    return torch.minimum(target, last)


class FairTAT(CFA):
    """Fair targeted adversarial training."""

    attacks = ("pgd", "fgsm-rs", "nfgsm")  # "free" ascends the loss, which has no target

    @dataclass(frozen=True)
    class Params(CFA.Params):
        """Hyper-parameters; those that are None take the value of the base in the authors' code."""

        base: Literal["pgd", "trades"] = field(
            default="pgd", metadata={"help": "what is trained: pgd or trades"}
        )
        variant: Literal["both", "margin", "regularisation"] = field(
            default="margin",
            metadata={"help": "what is class-wise: margin, regularisation (of trades) or both"},
        )
        fawa: float = field(
            default=0.85, metadata={"help": "decay an epoch of the fairness-aware weight average; off if 0"}
        )
        uniform: bool = field(default=False, metadata={"help": "draw all targets alike"})

    def __init__(self, params: Any, context: Context) -> None:
        """Start with all targets as likely."""
        super().__init__(params, context)
        self.named = context.per_class(0.0)
        self.odds = target_odds(self.named)

    def attack(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the inputs that minimise the cross-entropy to a target, within the radius of their class."""
        noise = self.context.noise(len(y))
        target = drawn_targets(self.odds, y, noise.fork(0).uniform((1,)).squeeze(1))
        return self.maximise(
            model, x, y, lambda logits: -F.cross_entropy(logits, target, reduction="sum"), noise
        )

    def terms(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Terms:
        """Return the parts of the base loss, and count the wrong answers by class."""
        terms = Based.terms(self, model, x, y, adv)
        answers = predicted(terms.logits.detach())
        wrong = answers[(answers != y) & (answers >= 0)]
        self.named += torch.bincount(wrong, minlength=self.context.classes)
        return terms

    def on_epoch_start(self, epoch: Epoch) -> None:
        """Draw targets by what the last epoch has counted, and count anew."""
        super().on_epoch_start(epoch)
        if not self.params.uniform:
            self.odds = target_odds(self.named)
        self.named = torch.zeros_like(self.named)

    def on_epoch_end(self, epoch: Epoch) -> None:
        """Total what all processes have counted."""
        super().on_epoch_end(epoch)
        self.named = self.context.world.total(self.named)

    def state(self) -> dict[str, Any]:
        """Return those of CFA, and how likely each class is a target."""
        return super().state() | {"target_odds": self.odds.tolist()}


METHOD = FairTAT
