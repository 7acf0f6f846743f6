"""HR, holistic robust training: Bennouna, Lucas and Van Parys, ICML 2023, https://arxiv.org/abs/2303.02251.

"Certified Robust Neural Networks: Generalization and Corruption Resistance": in each batch the losses l_b
at the attacked inputs are weighed by the worst distribution that allows for a share alpha of corrupted
samples and for a sample that is finite,

max over p, s of sum_b p_b l_b + p_0 max l,  KL(q || p) <= r,  q_b = 1 / B - s_b,  q_0 = sum s <= alpha.

The worst corruption takes the mass alpha from the smallest losses and gives it the largest; then p is
proportional to q / (nu - l), as in FAAL, whose atoms are classes. r = alpha = 0 is the base; a large r is
the largest loss alone.

As in the authors' code (RyanLucas3/HR_Neural_Networks) r is .2 and alpha 0, in the order "HD": corruption
first. There a conic solver finds the weights and alpha is at least 1e-6. Deviations: TRADES as a base is
ours, the losses being CE + beta KL; with several processes the batch is that of all of them.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from deep.methods.based import Based
from deep.methods.faal import kl_ball_weights
from theory.common.inputs import InputError, check_real

__all__ = ["HR", "METHOD", "corrupted", "holistic_weights"]


def corrupted(losses: Tensor, alpha: float) -> Tensor:
    """Return q: 1 / B each, less a mass of alpha taken from the smallest losses first, shape (B,)."""
    n = len(losses)
    order = losses.argsort(stable=True)
    taken = (alpha - torch.arange(n, device=losses.device).double() / n).clamp(0, 1 / n)
    q = torch.empty(n, dtype=torch.float64, device=losses.device)
    q[order] = 1 / n - taken
    return q


def holistic_weights(losses: Tensor, radius: float, alpha: float) -> Tensor:
    """Return p, shape (B + 1,): of each sample, and of the extra atom, which has the largest loss.

    Args:
        losses: shape (B,).
        radius: r >= 0.
        alpha: share of corrupted samples, from 0 to below 1.
    """
    q = corrupted(losses.detach(), alpha)
    centre = torch.cat([q, 1 - q.sum()[None]])
    atoms = torch.cat([losses.detach(), losses.detach().amax()[None]])
    weights = torch.zeros_like(atoms)
    kept = centre > 1e-12  # what has no mass gets none: p is proportional to q
    weights[kept] = kl_ball_weights(atoms[kept], radius, centre[kept] / centre[kept].sum())
    return weights


class HR(Based):
    """Holistic robust training."""

    @dataclass(frozen=True)
    class Params(Based.Params):
        """Hyper-parameters."""

        base: Literal["pgd", "trades"] = field(
            default="pgd", metadata={"help": "what is trained: pgd or trades"}
        )
        radius: float = field(default=0.2, metadata={"help": "r, largest KL(q || p)"})
        alpha: float = field(default=0.0, metadata={"help": "share of samples that may be corrupted"})

        def __post_init__(self) -> None:
            """Refuse what makes no sense."""
            super().__post_init__()
            check_real("--radius", self.radius, low=0, high=1e3)
            if not 0 <= self.alpha < 1:
                raise InputError(f"--alpha must be from 0 to below 1, got {self.alpha:g}")

    def gathered(self, losses: Tensor) -> Tensor:
        """Return the losses of all processes, shape (B,), with the gradient of `Batchwise.class_means`."""
        world = self.context.world
        part, whole = world.part(len(losses) * world.size), losses.new_zeros(len(losses) * world.size)
        own = torch.index_copy(whole, 0, torch.arange(len(whole), device=whole.device)[part], losses)
        return world.total(own.detach()) + world.size * (own - own.detach())

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the worst weighted mean of the base losses in the batch."""
        losses = self.gathered(self.losses(self.terms(model, x, y, adv)))
        p = holistic_weights(losses, self.params.radius, self.params.alpha)
        return p[:-1] @ losses + p[-1] * losses[losses.argmax()]


METHOD = HR
