"""Distance-Aware Fair Adversarial training: Lee et al., ICLR 2024, https://arxiv.org/abs/2401.12532.

Classes that the network confuses trade robustness. With S_ij the mean probability of class j at the training
examples of class i, gathered in the last epoch of a warm-up, class i gets once and for all

W_i = 1 + lam sum over j != i of (S_ij S_jj if S_ii < S_jj, -S_ji S_ii if S_ii > S_jj):

of two classes the better one gives to the worse one, the more the more alike they are, and sum_i W_i = C.
From then on W weighs the cross-entropy and scales radius and step of the attack; the KL term of TRADES keeps
its weight:

mean W_y CE + beta mean KL(p(x) || p(x')), |x' - x|_inf <= W_y eps.

As in the authors' code (rucy74/DAFA), the probabilities are those of the training step itself, before its
update, with batch statistics. What is not as there:

- the warm-up, 70 of 110 epochs there, is a share of the epochs (``--warm-share``);
- two classes with S_ii = S_jj give each other nothing; there both lose, and the weights do not sum to C;
- where a weight would fall below 0.1, all of them are drawn towards 1 until none does: a network that
  predicts one class for everything, as after a very short warm-up, would give it a negative radius;
- with PGD as the base each iteration takes the class's step and projects to the class's ball; there lines
  that were left over take a second step, unweighted, by the same gradient and project to the ball of eps, so
  that no radius exceeds eps (``--literal``). The start is that of PGD, uniform in the class's ball.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.attacks.ball import Ball
from deep.attacks.pgd import cross_entropy, pgd
from deep.methods.base import Context, Epoch
from deep.methods.based import Based
from theory.common.inputs import InputError, check_real

__all__ = ["DAFA", "METHOD", "TwiceSteppedBall", "class_weights", "raised"]

SMALLEST = 0.1  # ours: far below the weights of a network that has learnt something


def class_weights(similarity: Tensor, lam: float) -> Tensor:
    """Return W_i = 1 + lam (what i gets from better classes - what it gives to worse ones), shape (C,).

    Args:
        similarity: S_ij, the mean probability of class j at training examples of class i, shape (C, C).
        lam: strength of the transfer, 0 for none.
    """
    diagonal = similarity.diagonal()
    gets = (diagonal[:, None] < diagonal) * similarity * diagonal  # S_ij S_jj where j is the better one
    return 1 + lam * (gets.sum(1) - gets.sum(0))


def raised(weights: Tensor, smallest: float = SMALLEST) -> Tensor:
    """Return weights of mean 1 drawn towards 1 until none is below ``smallest``, which keeps their mean."""
    return 1 + (weights - 1) * min(1.0, (1 - smallest) / max(1 - float(weights.min()), 1e-12))


@dataclass(frozen=True)
class TwiceSteppedBall(Ball):
    """A ball in which an iteration takes a second step and is projected to a second ball, as in the code.

    Args:
        again: radius of the second ball, the same for every sample.
        step: size of the second step.
    """

    again: float = 0.0
    step: float = 0.0

    def ascend(self, z: Tensor, gradient: Tensor, step: Tensor) -> Tensor:
        """Return z moved and projected twice by the same gradient."""
        second = Ball(self.x, torch.full_like(self.eps, self.again), self.norm, self.bounds)
        return second.ascend(super().ascend(z, gradient, step), gradient, torch.full_like(step, self.step))


class DAFA(Based):
    """Distance-Aware Fair Adversarial training."""

    @dataclass(frozen=True)
    class Params(Based.Params):
        """Hyper-parameters."""

        lam: float = field(  # 1 for CIFAR-10, 1.5 for CIFAR-100 and STL-10 in the authors' code
            default=1.0, metadata={"help": "strength of the transfer between similar classes"}
        )
        warm_share: float = field(
            default=70 / 110,  # authors' code
            metadata={"help": "share of the epochs before classes get weights; the last one gathers them"},
        )
        literal: bool = field(
            default=False, metadata={"help": "step twice in an iteration of the attack of pgd, as published"}
        )

        def __post_init__(self) -> None:
            """Refuse what makes no sense."""
            super().__post_init__()
            check_real("--lam", self.lam, low=0, high=1e6)
            if not 0 <= self.warm_share < 1:
                raise InputError(f"--warm-share must be from 0 to below 1, got {self.warm_share:g}")
            if self.literal and self.base != "pgd":
                raise InputError(f"--literal of dafa needs --base pgd, got --base {self.base}")

    def __init__(self, params: Params, context: Context) -> None:
        """Start with weights of 1 and nothing gathered."""
        super().__init__(params, context)
        self.class_weights = context.per_class(1.0)
        self.similarity = torch.diag(context.per_class(0.0)).double()
        self.warm_epochs, self.gathering = 0, False

    def setup(self, model: nn.Module, epochs: int) -> None:
        """Fix the length of the warm-up: at least one epoch, to gather similarities, and one after it.

        Raises:
            InputError: there is no epoch for one of them, or the attack cannot step twice.
        """
        if self.params.literal and (self.context.start, self.context.reach) != (None, 1.0):
            raise InputError("--literal of dafa steps as --train-attack pgd, give no other attack")
        if epochs < 2:
            raise InputError(f"--epochs must leave one for the warm-up and one after it, got {epochs}")
        self.warm_epochs = min(max(1, round(self.params.warm_share * epochs)), epochs - 1)

    def on_epoch_start(self, epoch: Epoch) -> None:
        """Gather similarities in the last epoch of the warm-up; set the weights after it, once."""
        self.gathering = epoch.index == self.warm_epochs - 1
        if epoch.index == self.warm_epochs:
            weights = raised(class_weights(self.similarity, self.params.lam))
            self.class_weights = weights.to(self.class_weights)

    def eps(self, y: Tensor) -> Tensor:
        """Return eps times the weight of each sample's class."""
        return self.context.eps * self.class_weights[y]

    def attack(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the training examples of the base, in the ball of each sample's class."""
        if not self.params.literal:
            return super().attack(model, x, y)
        eps, size = self.eps(y), self.context.step_size * self.context.eps
        ball = TwiceSteppedBall(x, eps, again=self.context.eps, step=size)
        start = ball.uniform(self.context.noise(len(y)))
        step, bn = self.step(y, eps), self.context.batch_norm
        return pgd(model, ball, start, step, self.context.steps, cross_entropy(y), batch_norm=bn)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the mean of W CE + beta KL."""
        terms = self.terms(model, x, y, adv)
        if self.gathering:
            self.gather(terms.logits, y)
        return (self.class_weights[y] * terms.main + self.params.beta * terms.boundary).mean()

    def gather(self, logits: Tensor, y: Tensor) -> None:
        """Add up the probabilities of each class at the training examples of each class."""
        probabilities = F.softmax(logits.detach().double(), dim=1)
        self.similarity += F.one_hot(y, self.context.classes).double().T @ probabilities

    def on_epoch_end(self, epoch: Epoch) -> None:
        """Make mean probabilities of what all processes have gathered."""
        if self.gathering:
            sums = self.context.world.total(self.similarity)
            self.similarity = sums / sums.sum(1, keepdim=True).clamp(min=1e-12)  # a sample's sum to 1

    def state(self) -> dict[str, Any]:
        """Return weights and radii of every class."""
        weights, radii = self.class_weights.tolist(), self.class_weights.tolist()
        if self.params.base == "pgd":
            return {"weights": weights, "radii": radii}
        return {"weights_nat": weights, "weights_bndy": [1.0] * len(weights), "radii": radii}


METHOD = DAFA
