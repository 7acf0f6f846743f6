"""Free adversarial training: Shafahi et al., "Adversarial Training for Free!", NeurIPS 2019.

Each batch is trained on m times in a row, at x + delta. The backward pass that gives the gradient of the
weights gives that of delta too, which ascends the same loss for the next time: no pass is spent on an attack.
As in the authors' code (ashafahi/free_adv_train) delta is not made anew for the next batch: what was learnt
on other images is where it starts. So the first step of a training is a natural one.

With a method whose loss is not the cross-entropy delta ascends that loss. An epoch costs m times that of
natural training: the published runs divide the epochs by m, and so should --epochs.
"""

import torch
from torch import Tensor

from deep.attacks.ball import UNIT, each
from deep.data.distributed import World

__all__ = ["Perturbation"]


class Perturbation:
    """The delta of a batch.

    Args:
        world: the processes that train together; each moves its part.
    """

    def __init__(self, world: World) -> None:
        """Start with none."""
        self.world = world
        self.delta: Tensor | None = None
        self.whole: Tensor | None = None

    def added(self, x: Tensor, eps: Tensor) -> Tensor:
        """Return x + delta within [0, 1], which passes gradients to delta.

        Args:
            x: inputs, shape (n, ...).
            eps: radius of each sample, shape (n,).
        """
        if self.delta is None:
            before = torch.zeros_like(x) if self.whole is None else self.whole[self._part(self.whole)].to(x)
        else:
            before = self.delta.detach()
        radius = each(eps, x)
        self.delta = before.clamp(-radius, radius).requires_grad_()
        return (x + self.delta).clamp(*UNIT)

    def ascend(self, eps: Tensor, step: Tensor) -> None:
        """Move delta by the sign of the gradient that a backward pass left, within each sample's radius."""
        if self.delta is None or self.delta.grad is None:
            raise RuntimeError("a backward pass comes first")
        radius = each(eps, self.delta)
        moved = self.delta.detach() + each(step, self.delta) * self.delta.grad.sign()
        self.delta = moved.clamp(-radius, radius)

    def gather(self) -> None:
        """Keep the delta of the batch of all processes."""
        if self.delta is None:
            return
        delta = self.delta.detach()
        self.whole = delta.new_zeros(len(delta) * self.world.size, *delta.shape[1:])
        self.whole[self._part(self.whole)] = delta
        self.whole = self.world.total(self.whole)

    def _part(self, whole: Tensor) -> slice:
        return self.world.part(len(whole))
