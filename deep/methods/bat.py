"""BAT, balance adversarial training: Sun et al., AAAI 2023, https://arxiv.org/abs/2209.07534.

"Improving Robust Fairness via Balance Adversarial Training": each sample is attacked until the network errs,
and is trained on at both sides of the boundary,

CE(f(x_last), y) + beta KL(p(x) || p(x_first)) + KL(p(x_last) || u) + KL(p(x_first) || u),   u uniform.

The iterates x_0, ..., x_K are those of TRADES' attack, and x_0 to x_{K-1} are looked at. As in the authors'
code (silvercherry/Improving-Robust-Fairness-via-Balance-Adversarial-Training):

- x_last is the iterate before the first wrong one; x_0 if that is already wrong, x_K if none is wrong;
- x_first is the second wrong one; x_K if there are fewer.

x_K is not looked at, so it may be right or wrong. Deviations: both are taken from one attack, with one start,
where two are made there; the step is eps / 4 (there .007 for eps = .031); u has the number of classes (there
10). No sample depends on another: with several processes this is exact where TRADES is.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.attacks.ball import Ball
from deep.attacks.pgd import attacking, kl_from, perturbed_start, predicted
from deep.methods.trades import TRADES, divergence, smoothed
from deep.nets.folded import folded
from theory.common.inputs import check_real

__all__ = ["BAT", "METHOD", "from_uniform", "last_and_first"]


def last_and_first(iterates: Tensor, wrong: Tensor) -> tuple[Tensor, Tensor]:
    """Return the last iterate of each sample before it is wrong, and the second that is wrong.

    Args:
        iterates: x_0 to x_K, shape (K + 1, n, ...).
        wrong: whether the network gets x_0 to x_{K-1} wrong, shape (K, n).

    Returns:
        Shape (n, ...) each; see the module for what is not there.
    """
    steps, samples = len(wrong), torch.arange(wrong.shape[1], device=wrong.device)
    so_far = wrong.cumsum(0)
    before = (so_far == 0).sum(0)  # the number of iterates before the first wrong one
    last = torch.where(before < steps, (before - 1).clamp(min=0), steps)
    return iterates[last, samples], iterates[(so_far < 2).sum(0), samples]


def from_uniform(logits: Tensor) -> Tensor:
    """Return KL(p || u) of each sample, shape (n,), from logits of shape (n, classes)."""
    log_p = F.log_softmax(logits, dim=1)
    return (log_p.exp() * log_p).sum(1) + math.log(logits.shape[1])


class BAT(TRADES):
    """Balance adversarial training."""

    attacks = ("pgd",)  # it looks at every iterate

    @dataclass(frozen=True)
    class Params(TRADES.Params):
        """Hyper-parameters."""

        uniform: float = field(
            default=1.0, metadata={"help": "weight of the divergences from the uniform distribution"}
        )

        def __post_init__(self) -> None:
            """Refuse negative weights."""
            super().__post_init__()
            check_real("--uniform", self.uniform, low=0, high=1e6)

    def attack(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return x_last and x_first, stacked, shape (2, n, ...)."""
        eps = self.eps(y)
        ball, step = Ball(x, eps), self.step(y, eps)
        iterates, wrong = [ball.project(perturbed_start(x, self.context.noise(len(y))))], []
        with attacking(model, self.context.batch_norm):
            network = folded(model)
            with torch.no_grad():
                objective = kl_from(network(x))
            for _ in range(self.context.steps):
                adv = iterates[-1].detach().requires_grad_(True)
                logits = network(adv)
                (gradient,) = torch.autograd.grad(objective(logits), adv)
                wrong.append(predicted(logits.detach()) != y)
                iterates.append(ball.ascend(adv.detach(), gradient, step))
        return torch.stack(last_and_first(torch.stack(iterates), torch.stack(wrong)))

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the mean loss, for x_last and x_first stacked."""
        clean, last, first = model(x), model(adv[0]), model(adv[1])
        natural = smoothed(last, y, self.context.label_smoothing)
        uniform = from_uniform(last) + from_uniform(first)
        return (natural + self.params.beta * divergence(clean, first) + self.params.uniform * uniform).mean()


METHOD = BAT
