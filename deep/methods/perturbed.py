"""What methods share that perturb the weights around a step of the optimiser."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from deep.data.distributed import World

__all__ = ["gradients", "matrices", "norm_of", "shifted", "statistics_kept"]

SMALLEST = 1e-20  # where a gradient is 0 its direction is 0 too; in the authors' code of AWP


def matrices(model: nn.Module) -> list[nn.Parameter]:
    """Return the weights of convolutions and linear layers: neither biases nor scales of a norm."""
    return [p for p in model.parameters() if p.dim() > 1]


def norm_of(tensors: Sequence[Tensor]) -> Tensor:
    """Return the l2 norm of all entries of some tensors, a scalar, at least 1e-20."""
    return torch.stack([t.norm() for t in tensors]).norm().clamp(min=SMALLEST)


def gradients(loss: Tensor, weights: Sequence[Tensor], world: World) -> list[Tensor]:
    """Return the gradient of the loss towards each of the weights, averaged over the processes."""
    slopes = [*torch.autograd.grad(loss, weights, materialize_grads=True)]
    world.average(slopes)
    return slopes


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """Undo what forward passes do to the running statistics of batch norm."""
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for buffer, value in before:
            buffer.copy_(value)


@contextmanager
def shifted(weights: Sequence[Tensor], shifts: Sequence[Tensor]) -> Iterator[None]:
    """Add the shifts to the weights; take them off after, and leave what a step has changed in between."""
    before = [w.detach().clone() for w in weights]
    with torch.no_grad():
        for weight, shift in zip(weights, shifts, strict=True):
            weight.add_(shift)
        begun = [w.detach().clone() for w in weights]
    try:
        yield
    finally:
        # (w + v) - v may differ from w by a rounding; w + (w' - (w + v)) is w where nothing has changed
        with torch.no_grad():
            for weight, value, start in zip(weights, before, begun, strict=True):
                weight.copy_(value + (weight - start))
