"""ABSLD, with a teacher or without: after Zhao et al., NeurIPS 2024, https://arxiv.org/abs/2312.05508.

"Improving Adversarial Robust Fairness via Anti-Bias Soft Label Distillation": the temperature of the soft
labels of a class follows its error, so that a hard class has sharper ones. After each epoch

T_c <- clip(T_c - rate (L_c - mean L) / max_k |L_k - mean L|, 1/2, 5),

L_c the mean cross-entropy of class c in the training steps of the epoch: attacked for the labels of the
attacked inputs, clean for those of the clean ones. The loss is 5/6 CE(f(x'), P(T_attacked)) + 1/6
CE(f(x), P(T_clean)), and x' maximises the first.

With ``--teacher RUN``, as there, P is what the robust network of a finished run answers to x, softened by
the class's temperature, and the network itself is evaluated; there T starts at 1 (``--start 1``). A later
form of it (2025, https://arxiv.org/abs/2506.08611) does without; only its abstract was seen. Without a
teacher P is here the rectified label of `deep.methods.adr` with the class's temperature: the average of the
network's own weights teaches, and is evaluated, and the true label has a share, without which a network that
teaches itself would learn nothing. So are ours: that share, which is that of ADR, and the start at T = 2,
between the bounds and near that of ADR.

Other deviations: the temperatures of attacked and clean labels are two, as in the paper; in the authors'
code (zhaoshiji123/ABSLD) one tensor is divided by both. The rate is constant; there it falls with the
learning rate. There is no base: the loss is that of distillation.
"""

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.methods.adr import ADR, soft_cross_entropy
from deep.methods.base import Context, Epoch
from theory.common.inputs import InputError, check_real

__all__ = ["ABSLD", "METHOD", "moved_temperatures"]

BOUNDS = (0.5, 5.0)  # authors' code, as are the shares of the loss
ATTACKED = 5 / 6


def moved_temperatures(temperatures: Tensor, losses: Tensor, rate: float) -> Tensor:
    """Return the temperatures after an epoch, shape (C,): lower where the loss is above its mean.

    Args:
        temperatures: of each class, shape (C,).
        losses: mean cross-entropy of each class, shape (C,).
        rate: by which the class furthest from the mean moves.
    """
    excess = losses - losses.mean()
    return (temperatures - rate * excess / excess.abs().max().clamp(min=1e-12)).clamp(*BOUNDS)


class ABSLD(ADR):
    """Anti-bias soft labels, answered by a teacher or by the average of the weights."""

    teachers = MappingProxyType({"teacher": "folder of a finished run whose network teaches; none if None"})
    needs_teachers = False

    @dataclass(frozen=True)
    class Params:
        """Hyper-parameters."""

        start: float = field(default=2.0, metadata={"help": "temperature of every class in the first epoch"})
        rate: float = field(default=0.1, metadata={"help": "largest change of a temperature in an epoch"})
        share: float = field(
            default=0.7, metadata={"help": "share of the average's answer in the first step"}
        )
        last_share: float = field(default=0.95, metadata={"help": "the same in the last step"})
        average_decay: float = field(default=0.995, metadata={"help": "decay of the average of weights"})

        def __post_init__(self) -> None:
            """Refuse what makes no sense."""
            check_real("--start", self.start, low=BOUNDS[0], high=BOUNDS[1])
            check_real("--rate", self.rate, low=0, high=10)
            for name in ("share", "last_share"):
                check_real(f"--{name.replace('_', '-')}", getattr(self, name), low=0, high=1)
            if not 0 <= self.average_decay < 1:
                raise InputError(f"--average-decay must be from 0 to below 1, got {self.average_decay:g}")

    def __init__(self, params: Any, context: Context) -> None:
        """Start with equal temperatures."""
        super().__init__(params, context)
        self.attacked, self.clean = (context.per_class(params.start) for _ in range(2))
        self.sums = torch.stack([context.per_class(0.0)] * 3).double()

    def answers(self, x: Tensor) -> Tensor:
        """Return the logits of what teaches at inputs x without an attack, shape (n, classes)."""
        return self.taught("teacher", x) if self.context.teachers else super().answers(x)

    def target(self, answers: Tensor, y: Tensor, temperature: Tensor | float | None = None) -> Tensor:
        """Return the soft labels, shape (n, classes): those of a teacher, or rectified ones."""
        if self.context.teachers and temperature is not None:
            return F.softmax(answers / temperature, dim=1)
        return super().target(answers, y, temperature)

    def eval_model(self, model: nn.Module) -> nn.Module:
        """Return the network, or, if its average teaches, that."""
        return model if self.context.teachers else super().eval_model(model)

    def attack(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the inputs that maximise the cross-entropy to the soft labels."""
        return self.mislead(model, x, y, self.target(self.answers(x), y, self.attacked[y][:, None]))

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return 5/6 of the cross-entropy of attacked inputs and 1/6 of that of clean ones."""
        attacked, clean, answers = model(adv), model(x), self.answers(x)
        self.count(attacked.detach(), clean.detach(), y)
        pairs = ((attacked, self.attacked), (clean, self.clean))
        losses = [
            soft_cross_entropy(v, self.target(answers, y, temperatures[y][:, None])).mean()
            for v, temperatures in pairs
        ]
        return ATTACKED * losses[0] + (1 - ATTACKED) * losses[1]

    def count(self, attacked: Tensor, clean: Tensor, y: Tensor) -> None:
        """Add up both cross-entropies of each class, and its samples."""
        member = F.one_hot(y, self.context.classes).double()
        losses = [F.cross_entropy(v.double(), y, reduction="none") @ member for v in (attacked, clean)]
        self.sums += torch.stack([*losses, member.sum(0)])

    def on_epoch_end(self, epoch: Epoch) -> None:
        """Move the temperatures by what all processes have counted."""
        super().on_epoch_end(epoch)
        attacked, clean, counts = self.context.world.total(self.sums)
        rate, counts = self.params.rate, counts.clamp(min=1)
        self.attacked = moved_temperatures(self.attacked, (attacked / counts).to(self.attacked), rate)
        self.clean = moved_temperatures(self.clean, (clean / counts).to(self.clean), rate)
        self.sums = torch.zeros_like(self.sums)

    def state(self) -> dict[str, Any]:
        """Return both temperatures of every class."""
        return {"temperatures": self.attacked.tolist(), "clean_temperatures": self.clean.tolist()}


METHOD = ABSLD
