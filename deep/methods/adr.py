"""ADR, annealing self-distillation rectification: Wu, Wang and Chen, ICLR 2024.

https://arxiv.org/abs/2305.12118. "Annealing Self-Distillation Rectification Improves Adversarial
Training": the label of a sample becomes

P = lam_i q + (1 - lam_i) 1_y,  q = softmax(f_average(x) / T),  lam_i = clip(lam - (max_k q_k - q_y), 0,
1),

with f_average the average of the network's weights and statistics, at the input without an attack. Both
the attack and the training take the cross-entropy to P; on TRADES the attack is its own, and the loss
CE(f(x), P) + beta KL(p(x) || p(x')). P is largest at y, whatever the average answers. T falls and lam
rises by half a cosine over all steps. The average is what is evaluated.

As in the authors' code (yuyuwu5/ADR): T from 2.5 to 2 on PGD and to 1.5 on TRADES, lam from .7 to .95 and
to .85, decay .995. Deviations:

- the decay grows from .1 to that, as that of --ema, so that a short training forgets its initial weights;
  there it is constant, which a long one does not tell apart;
- the clean and the attacked inputs are two batches to batch norm, there one; and the attack uses running
  statistics, there those of the batch, which it moves;
- the average sees every image twice a step, for the attack and for the loss; --ema makes another average,
  which is not evaluated.

Labels as soft as these ask for many steps: on digits the worst class has a robust error of 100 % after 12
epochs and of 75 % after 40, where PGD has 88 % after 12 (one seed).
"""

import copy
import math
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.methods.base import Context, Epoch
from deep.methods.based import Based, Terms
from deep.methods.cfa import take_in
from deep.methods.score import soft_labels
from deep.methods.trades import TRADES, divergence
from theory.common.inputs import InputError, check_real

__all__ = ["ADR", "METHOD", "annealed", "rectified", "soft_cross_entropy"]

COLDEST = {"pgd": 2.0, "trades": 1.5}  # authors' code for CIFAR-10, on TRADES with AWP
LARGEST_SHARE = {"pgd": 0.95, "trades": 0.85}


def annealed(begin: float, end: float, done: float) -> float:
    """Return the value at a part of the training, from 0 to 1, on half a cosine from begin to end."""
    return end + (begin - end) * (1 + math.cos(math.pi * done)) / 2


def rectified(logits: Tensor, labels: Tensor, y: Tensor, temperature: Tensor | float, share: float) -> Tensor:
    """Return P, the labels of shape (n, classes) mixed with what a teacher answers.

    Args:
        logits: of the teacher, shape (n, classes).
        labels: one-hot, or smoothed, shape (n, classes).
        y: their classes, shape (n,).
        temperature: divides the logits; a number, or of shape (n, 1).
        share: lam, of the teacher where it is right.
    """
    q = F.softmax(logits / temperature, dim=1)
    wrong = q.amax(1, keepdim=True) - q.gather(1, y[:, None])
    lam = (share - wrong).clamp(0, 1)
    return lam * q + (1 - lam) * labels


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return -sum_k target_k log p_k of each sample, shape (n,), from logits of shape (n, classes)."""
    return -(target * F.log_softmax(logits, dim=1)).sum(1)


class ADR(Based):
    """Annealing self-distillation rectification."""

    @dataclass(frozen=True)
    class Params(Based.Params):
        """Hyper-parameters; those that are None take the value of the base in the authors' code."""

        base: Literal["pgd", "trades"] = field(
            default="pgd", metadata={"help": "what is trained: pgd or trades"}
        )
        hot: float = field(default=2.5, metadata={"help": "temperature of the first step"})
        cold: float | None = field(
            default=None,
            metadata={"help": "temperature of the last step; 2 on pgd, 1.5 on trades if None"},
        )
        share: float = field(default=0.7, metadata={"help": "lam of the first step"})
        last_share: float | None = field(
            default=None,
            metadata={"help": "lam of the last step; .95 on pgd, .85 on trades if None"},
        )
        average_decay: float = field(default=0.995, metadata={"help": "decay of the average of weights"})

        def __post_init__(self) -> None:
            """Fill in what is by base, and refuse what makes no sense."""
            super().__post_init__()
            for name, values in (("cold", COLDEST), ("last_share", LARGEST_SHARE)):
                if getattr(self, name) is None:
                    object.__setattr__(self, name, values[self.base])
            for name in ("hot", "cold"):
                check_real(f"--{name}", getattr(self, name), low=1e-3, high=1e6)
            for name in ("share", "last_share"):
                check_real(f"--{name.replace('_', '-')}", getattr(self, name), low=0, high=1)
            if not 0 <= self.average_decay < 1:
                raise InputError(f"--average-decay must be from 0 to below 1, got {self.average_decay:g}")

    average: nn.Module

    def __init__(self, params: Any, context: Context) -> None:
        """Start with no step done."""
        super().__init__(params, context)
        self.epochs, self.all_steps, self.done = 1, 1, 0

    def setup(self, model: nn.Module, epochs: int) -> None:
        """Make the average, of the initial weights."""
        self.average = copy.deepcopy(model).requires_grad_(False).eval()
        self.epochs = epochs

    def on_epoch_start(self, epoch: Epoch) -> None:
        """Take the number of steps of the training."""
        self.all_steps = self.epochs * epoch.steps

    def scheduled(self, begin: float, end: float) -> float:
        """Return the present value of what is annealed."""
        return annealed(begin, end, self.done / self.all_steps)

    def answers(self, x: Tensor) -> Tensor:
        """Return the logits of the average at inputs x without an attack, shape (n, classes)."""
        with torch.no_grad():
            return self.average(x)

    def target(self, answers: Tensor, y: Tensor, temperature: Tensor | float | None = None) -> Tensor:
        """Return the rectified labels, shape (n, classes), from what the average answers.

        Args:
            answers: see there.
            y: labels, shape (n,).
            temperature: see `rectified`; the present one of the schedule if None.
        """
        if temperature is None:
            temperature = self.scheduled(self.params.hot, self.params.cold)
        share = self.scheduled(self.params.share, self.params.last_share)
        labels = soft_labels(y, self.context.classes, self.context.label_smoothing)
        return rectified(answers, labels, y, temperature, share)

    def attack(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the inputs that maximise the cross-entropy to the rectified labels; TRADES' on TRADES."""
        if self.params.base == "trades":
            return TRADES.attack(self, model, x, y)
        return self.mislead(model, x, y, self.target(self.answers(x), y))

    def mislead(self, model: nn.Module, x: Tensor, y: Tensor, target: Tensor) -> Tensor:
        """Return the inputs that maximise the cross-entropy to targets of shape (n, classes)."""
        noise = self.context.noise(len(y))
        return self.maximise(model, x, y, lambda logits: soft_cross_entropy(logits, target).sum(), noise)

    def terms(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Terms:
        """Return the base loss with the rectified labels for the labels."""
        logits, target = model(adv), self.target(self.answers(x), y)
        if self.params.base == "pgd":
            main = soft_cross_entropy(logits, target)
            return Terms(main, torch.zeros_like(main), logits)
        clean = model(x)
        return Terms(soft_cross_entropy(clean, target), divergence(clean, logits), logits)

    def on_batch_end(self, model: nn.Module) -> None:
        """Let the average take in the network."""
        take_in(self.average, model, min(self.params.average_decay, (1 + self.done) / (10 + self.done)))
        self.done += 1

    def on_epoch_end(self, epoch: Epoch) -> None:
        """Let all processes have the same statistics of batch norm in the average."""
        self.context.world.average(b for b in self.average.buffers() if b.is_floating_point())

    def eval_model(self, model: nn.Module) -> nn.Module:
        """Return the average."""
        return self.average


METHOD = ADR
