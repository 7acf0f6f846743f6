"""Training on several devices: each process takes its part of every batch, and gradients are averaged.

Started by ``torchrun --nproc-per-node N -m deep.train ...``. Every process holds the same weights, the same
random numbers and the same state of the method. Gradients are averaged in one message after the backward
pass, which leaves a method free to call the network as often as it wants.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, distributed

from theory.common.inputs import InputError

__all__ = ["World"]


@dataclass(frozen=True)
class World:
    """The processes that train one network together.

    Args:
        rank: the number of this one, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: torch.device) -> Self:
        """Return the processes that torchrun started, connected; this one alone if it started none.

        Raises:
            InputError: the variables that torchrun sets are damaged, or the others cannot be reached.
        """
        if os.environ.get("WORLD_SIZE", "1") == "1":
            return cls()
        try:
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        except (ValueError, RuntimeError) as error:
            raise InputError(f"cannot join the processes of torchrun: {error}") from None
        return cls(distributed.get_rank(), distributed.get_world_size())

    @staticmethod
    def is_first() -> bool:
        """Return whether this process is the first that torchrun started; known before they are connected."""
        return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK") == "0"

    def leave(self) -> None:
        """Part from the other processes."""
        if self.size > 1:
            distributed.destroy_process_group()

    def part(self, n: int) -> slice:
        """Return the part of this process of n things, n a multiple of the number of processes."""
        # every process draws the same order and augments the same batch, so a slice of it is enough
        each = n // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def total(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes."""
        # `all_reduce` writes into its argument, and has no gradient: what is summed is cloned, so that no
        # tensor of the caller changes, and a sum that a loss depends on needs the identity of
        # `deep.methods.batchwise.Batchwise.class_means`.
        if self.size > 1:
            value = value.clone()
            distributed.all_reduce(value)
        return value

    def first(self, value: Tensor) -> Tensor:
        """Return the tensor of process 0."""
        if self.size > 1:
            value = value.clone()
            distributed.broadcast(value, 0)
        return value

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors of one type by their means over the processes, in place."""
        # One message for all tensors: a message costs a fixed time, whatever its size, and a network has
        # hundreds of parameters. The mean of the gradients of equal parts of a batch is the gradient of the
        # mean loss.
        tensors = [*tensors]
        if self.size > 1 and tensors:
            means = self.total(torch.cat([t.reshape(-1) for t in tensors])) / self.size
            for tensor, mean in zip(tensors, means.split([t.numel() for t in tensors]), strict=True):
                tensor.copy_(mean.view(tensor.shape))
