"""What methods share that look at the classes of every batch: the means of the classes, and their weights.

A batch is that of all processes that train together: means and weights are those of one process with the
whole batch, and so are gradients, once they are averaged. What is not: as in any method, batch norm
normalises the part of each process by its own statistics.
"""

from typing import Any

import torch
from torch import Tensor

from deep.methods.base import Context, Epoch
from deep.methods.based import Based

__all__ = ["Batchwise"]


class Batchwise(Based):
    """A method whose weights are made from each batch, of the classes that are in it."""

    def __init__(self, params: Any, context: Context) -> None:
        """Start with no batch seen."""
        super().__init__(params, context)
        self.weight_sums, self.batches = context.per_class(0.0), context.per_class(0.0)

    def on_epoch_start(self, epoch: Epoch) -> None:
        """Forget the weights of the epoch before."""
        self.weight_sums, self.batches = (self.context.per_class(0.0) for _ in range(2))

    def class_means(self, values: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean of each class over the batch of all processes, and its number of samples.

        The gradient is that of the part of this process, times the number of processes: averaged over them it
        is the gradient of the means.

        Args:
            values: of the samples of this process, shape (n,).
            y: their labels, shape (n,).

        Returns:
            Shape (C,) each; the mean of a class without samples is 0.
        """
        world, classes = self.context.world, torch.arange(self.context.classes, device=y.device)
        members = (y[:, None] == classes).to(values)
        sums = (members * values[:, None]).sum(0)
        total, counts = world.total(torch.stack([sums.detach(), members.sum(0)]))
        # Value: the sum over all processes, since the bracket is 0. Gradient: that of this process's own sum,
        # times the number of processes N, because `World.average` divides by N later:
        # (1 / N) sum over processes of N d sums_p = d total. Batch norm is the exception: the activations of
        # each process are normalised by its own part, and no gradient passes between parts.
        return (total + world.size * (sums - sums.detach())) / counts.clamp(min=1), counts

    def note(self, weights: Tensor, present: Tensor) -> None:
        """Keep the weights that the present classes had in a batch.

        Args:
            weights: of the present classes relative to the base loss, shape (k,), k of them.
            present: which classes those are, shape (C,).
        """
        noted = torch.zeros_like(self.weight_sums)
        noted[present] = weights.detach().to(noted)
        self.weight_sums, self.batches = self.weight_sums + noted, self.batches + present

    def state(self) -> dict[str, Any]:
        """Return the mean weight of each class over the batches of the epoch that have it; 1: the base."""
        mean = self.weight_sums / self.batches.clamp(min=1)
        return {"weights": torch.where(self.batches > 0, mean, 1.0).tolist()}
