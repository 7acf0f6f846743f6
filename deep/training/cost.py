"""What a network costs, whatever it computes: its parameters, and its multiplications an image."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from deep.attacks.pgd import attacking
from deep.data import DataSpec

__all__ = ["Cost", "cost"]


class Cost(NamedTuple):
    """The size of a network, and the work of one image."""

    parameters: int
    multiply_adds: int

    def __str__(self) -> str:
        """Return both, rounded, for a person."""
        return (
            f"{self.parameters:,} parameters, {self.multiply_adds / 1e6:,.1f} million multiply-adds an image"
        )


def cost(model: nn.Module, spec: DataSpec) -> Cost:
    """Return the parameters of a network, and its multiply-adds in convolutions and linear layers an image.

    It is run on one image, and left as it was.

    Args:
        model: the network.
        spec: the data set, for the shape of its images.
    """
    total = 0

    def count(layer: Any, _: tuple[Tensor], out: Tensor) -> None:
        nonlocal total
        total += out.numel() * layer.weight[0].numel()  # each output is a sum over the weights of its channel

    parameters = [*model.parameters()]
    image = torch.zeros(1, *spec.shape, device=parameters[0].device)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        with attacking(model), torch.no_grad():
            model(image)
    finally:
        for hook in hooks:
            hook.remove()
    return Cost(sum(p.numel() for p in parameters), total)
