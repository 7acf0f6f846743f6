"""TRADES: Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy", ICML 2019.

https://arxiv.org/abs/1901.08573:

CE(f(x), y) + beta max over |d|_inf <= eps of KL(p(x) || p(x + d)) with beta = 1 / lambda.

As in the official code (yaodongyu/TRADES): Gaussian start of 0.001, the KL divergence as the
attack's objective, running statistics of batch norm while attacking, gradients through both
arguments of the KL in the loss. Deviations: the step is eps / 4 (there .007 for eps = .031); the
clean logits are computed once, so batch norm sees the clean batch once a step and not twice.
"""

from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.attacks.noise import Noise
from deep.attacks.pgd import attacking, kl_from, perturbed_start
from deep.methods.base import Method
from theory.common.inputs import check_real

__all__ = ["METHOD", "TRADES", "divergence", "smoothed", "surrogates"]


def divergence(clean: Tensor, attacked: Tensor) -> Tensor:
    """Return KL(p || q) of each sample, shape (n,), from logits of p and q, shape (n, classes) each."""
    log_p, log_q = F.log_softmax(clean, dim=1), F.log_softmax(attacked, dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(1)


def smoothed(logits: Tensor, y: Tensor, smoothing: float) -> Tensor:
    """Return the cross-entropy of each sample, shape (n,), to its label smoothed by the uniform one."""
    return F.cross_entropy(logits, y, reduction="none", label_smoothing=smoothing)


def surrogates(
    model: nn.Module, x: Tensor, y: Tensor, adv: Tensor, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return CE(f(x), y) and KL(p(x) || p(adv)) of each sample, shape (n,) each.

    They stand for the natural and the boundary error.
    """
    clean = model(x)
    return smoothed(clean, y, smoothing), divergence(clean, model(adv))


class TRADES(Method):
    """TRADES."""

    @dataclass(frozen=True)
    class Params:
        """Hyper-parameters."""

        beta: float = field(default=6.0, metadata={"help": "weight of the KL term, 1 / lambda in the paper"})

        def __post_init__(self) -> None:
            """Refuse a negative weight."""
            check_real("--beta", self.beta, low=0, high=1e6)

    def attack(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the inputs that maximise KL(p(x) || p(x')) within each sample's radius."""
        return self.diverge(model, x, y, self.context.noise(len(y)))

    def diverge(self, model: nn.Module, x: Tensor, y: Tensor, noise: Noise) -> Tensor:
        """Return them, of given random numbers."""
        with attacking(model, self.context.batch_norm), torch.no_grad():
            clean = model(x)
        return self.maximise(model, x, y, kl_from(clean), noise, partial(perturbed_start, x))

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return CE + beta KL, averaged over the batch."""
        natural, boundary = surrogates(model, x, y, adv, self.context.label_smoothing)
        return natural.mean() + self.params.beta * boundary.mean()


METHOD = TRADES
