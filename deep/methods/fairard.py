"""Fair-ARD, fair adversarial robustness distillation: Yue, Mou, Wang and Zhao, NeurIPS 2023.

https://openreview.net/forum?id=ywrPcBEXdC. "Revisiting Adversarial Robustness Distillation from the
Perspective of Robust Fairness": a student learns from a finished robust network t, and more of the classes
that are broken early. In an epoch, k_c is the mean number of the iterates x_0, ..., x_{K-1} of the attack at
which samples of class c are still right; in the next one their loss has the weight

w_c = clip(C k_c^-beta / sum_j k_j^-beta, 5/6, 5/2).

The loss and its attack are by ``--variant``, as in the authors' code (NISP-official/Fair-ARD):

- rslad (Zi et al., ICCV 2021): 5/6 KL(t(x) || p(x')) / C + 1/6 KL(t(x) || p(x)) / C; x' maximises the first,
  from a normal start of 0.001;
- ard (Goldblum et al., AAAI 2020): T^2 KL(t_T(x) || p_T(x')) / C at the temperature T = 30, with no share of
  the label; x' maximises the cross-entropy, from a uniform start.

The division by C makes for small steps: there are 300 epochs, of ard 200. A short training asks for
``--no-class-mean``.

Deviations: k_c is over the samples of its class, there over N / C, so that a class with few images is taken
for a hard one; a k of 0 counts as 1e-5 in both variants, in that code in ard alone; 1e-5 is added to what
the logarithm of a teacher is of there; the attack of ard uses running statistics of batch norm, there those
of the batch; the step is eps / 4. The teacher sees every image twice a step of rslad, for the attack and
for the loss.
"""

from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.attacks.pgd import cross_entropy, kl_from, perturbed_start, predicted
from deep.methods.base import Context, Epoch, Method
from deep.methods.trades import divergence
from theory.common.inputs import check_real

__all__ = ["METHOD", "FairARD", "weights_of_steps"]

BOUNDS = (5 / 6, 5 / 2)  # authors' code, as are the two shares and the temperature
ATTACKED = 5 / 6
TEMPERATURE = 30.0


def weights_of_steps(steps: Tensor, beta: float) -> Tensor:
    """Return the weights of the classes, shape (C,), from how many steps of the attack each withstands.

    Args:
        steps: mean number of iterates at which a class is right, shape (C,).
        beta: how much more a class weighs that is broken early.

    >>> weights_of_steps(torch.tensor([10.0, 5.0, 2.5]), 2.0)
    tensor([0.8333, 0.8333, 2.2857])
    """
    raw = steps.clamp(min=1e-5) ** -beta
    return (len(raw) * raw / raw.sum()).clamp(*BOUNDS)


class FairARD(Method):
    """Distillation from a robust teacher, with weights of classes by the steps that they withstand."""

    attacks = ("pgd",)  # it looks at every iterate
    teachers = MappingProxyType({"robust_teacher": "folder of a finished run, whose network is learnt from"})

    @dataclass(frozen=True)
    class Params:
        """Hyper-parameters."""

        variant: Literal["rslad", "ard"] = field(
            default="rslad", metadata={"help": "what is made fair: rslad or ard"}
        )
        exponent: float = field(
            default=2.0,
            metadata={"help": "beta, by which a class weighs more that is broken early; 0 is none"},
        )

        class_mean: bool = field(
            default=True,
            metadata={"help": "divide divergences by the number of classes, as published; or only sum them"},
        )

        def __post_init__(self) -> None:
            """Refuse what would weigh easy classes more."""
            check_real("--exponent", self.exponent, low=0, high=10)

    def __init__(self, params: Any, context: Context) -> None:
        """Start with equal weights."""
        super().__init__(params, context)
        self.weights = context.per_class(1.0)
        self.sums = torch.stack([context.per_class(0.0)] * 2).double()

    def attack(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the training examples, and count at how many of their steps each class is right."""
        right = torch.zeros(len(y), dtype=torch.float64, device=y.device)
        if self.params.variant == "rslad":
            increased, start = kl_from(self.taught("robust_teacher", x)), partial(perturbed_start, x)
        else:
            increased, start = cross_entropy(y), None

        def objective(logits: Tensor) -> Tensor:
            right.add_(predicted(logits.detach()) == y)
            return increased(logits)

        adv = self.maximise(model, x, y, objective, self.context.noise(len(y)), start)
        member = F.one_hot(y, self.context.classes).double()
        self.sums += torch.stack([right @ member, member.sum(0)])
        return adv

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the mean divergence from the teacher, each sample's with the weight of its class."""
        taught = self.taught("robust_teacher", x)
        if self.params.variant == "rslad":
            each = ATTACKED * divergence(taught, model(adv)) + (1 - ATTACKED) * divergence(taught, model(x))
        else:
            T = TEMPERATURE
            each = T**2 * divergence(taught / T, model(adv) / T)
        return (self.weights[y] * each).mean() / (self.context.classes if self.params.class_mean else 1)

    def on_epoch_end(self, epoch: Epoch) -> None:
        """Weigh the classes by what all processes have counted."""
        right, counts = self.context.world.total(self.sums)
        self.weights = weights_of_steps(right / counts.clamp(min=1), self.params.exponent).to(self.weights)
        self.sums = torch.zeros_like(self.sums)

    def state(self) -> dict[str, Any]:
        """Return the weights of the classes."""
        return {"weights": self.weights.tolist()}


METHOD = FairARD
