"""MTARD, multi-teacher adversarial robustness distillation: Zhao et al., ECCV 2022.

https://doi.org/10.1007/978-3-031-19772-7_34. "Enhanced Accuracy and Robustness via Multi-Teacher Adversarial
Distillation": one finished network, R, is robust, another, N, accurate, and the student learns from both,

w_adv KL(r(x') || p(x')) / C + w_nat KL(n(x) || p(x)) / C,   w_adv = 1 - w_nat,

x' by PGD on the cross-entropy of the student, from a normal start of 0.001. In each step, before it is
taken, w_nat moves towards the part that is learnt slower: with L the losses and L_1 those of the first step,

w_nat <- w_nat - rate (w_nat - s_nat / (s_adv + s_nat)),   s = L / L_1.

No label is learnt from. As in the authors' code (zhaoshiji123/MTARD): w_nat begins at 1/2, rate .025, the
divergences are divided by C, the number of classes, which makes for small steps: there are 300 epochs. A
short training asks for ``--no-class-mean``. Deviations: the rate is constant, there it falls with
the learning rate, by 10 after 72, 87 and 95 % of 300 epochs; 1e-5 is added to what the logarithm of a
teacher is of there; the normal start is the method's, the step eps / 4. The balance of the teachers'
entropies of the later journal version (B-MTARD) is left out: its rule was not available.
"""

from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from deep.attacks.pgd import cross_entropy, perturbed_start
from deep.methods.base import Context, Method
from deep.methods.trades import divergence
from theory.common.inputs import check_real

__all__ = ["METHOD", "MTARD", "moved_weight"]


def moved_weight(weight: float, losses: Tensor, first: Tensor, rate: float) -> float:
    """Return the weight of what the natural teacher teaches, after a step.

    Args:
        weight: before it.
        losses: from the robust and from the natural teacher, shape (2,).
        first: those of the first step.
        rate: how fast it moves, from 0 to 1.

    >>> round(moved_weight(0.5, torch.tensor([0.8, 1.2]), torch.ones(2), 0.025), 6)
    0.5025
    """
    # A student that begins as its teacher has a first loss of 0.
    slow = losses.double() / first.double().clamp(min=1e-12)
    share = float(slow[1] / slow.sum().clamp(min=1e-12))
    return weight - rate * (weight - share)


class MTARD(Method):
    """Distillation from a robust and a natural teacher."""

    teachers = MappingProxyType(
        {
            "robust_teacher": "folder of a finished run, whose network teaches attacked images",
            "natural_teacher": "folder of a finished run, whose network teaches images without an attack",
        }
    )

    @dataclass(frozen=True)
    class Params:
        """Hyper-parameters."""

        rate: float = field(default=0.025, metadata={"help": "how fast the weights of the teachers move"})
        class_mean: bool = field(
            default=True,
            metadata={"help": "divide divergences by the number of classes, as published; or only sum them"},
        )

        def __post_init__(self) -> None:
            """Refuse what is no share."""
            check_real("--rate", self.rate, low=0, high=1)

    def __init__(self, params: Any, context: Context) -> None:
        """Start with equal weights."""
        super().__init__(params, context)
        self.weight = 0.5
        self.first = torch.zeros(2, dtype=torch.float64, device=context.generator.device)

    def attack(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the inputs that maximise the cross-entropy, from a start next to x."""
        noise = self.context.noise(len(y))
        return self.maximise(model, x, y, cross_entropy(y), noise, partial(perturbed_start, x))

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the weighted divergences from both teachers."""
        pairs = (("robust_teacher", adv), ("natural_teacher", x))
        size = self.context.classes if self.params.class_mean else 1
        parts = [divergence(self.taught(name, v), model(v)).mean() / size for name, v in pairs]
        self.balance(torch.stack(parts).detach())
        return (1 - self.weight) * parts[0] + self.weight * parts[1]

    def balance(self, losses: Tensor) -> None:
        """Move the weights by the losses of the whole batch, shape (2,)."""
        world = self.context.world
        losses = world.total(losses.double()).clamp(min=0) / world.size  # rounding makes a 0 negative
        if not self.first.any():
            self.first = losses
        self.weight = moved_weight(self.weight, losses, self.first, self.params.rate)

    def state(self) -> dict[str, Any]:
        """Return the weight of what the natural teacher teaches."""
        return {"natural_weight": self.weight}


METHOD = MTARD
