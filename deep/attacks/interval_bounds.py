"""Interval bounds: what a network's logits can be in an l-infinity ball, whatever the attack.

Gowal et al., 2018, https://arxiv.org/abs/1810.12715. A layer W x + b maps the box with centre c and half
width r to that with centre W c + b and half width |W| r; a function that rises in each coordinate maps its
corners. The last layer is merged with the differences of the logits, which are bounded themselves: for a
linear network that is the exact worst case. A network must be a chain of such layers.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.attacks.ball import Ball
from deep.data import Split
from deep.nets.networks import LinearNetwork, SmallCNN
from theory.common.inputs import InputError

__all__ = ["Normalise", "certified", "chain_of", "is_chain", "layer_bounds", "margin_bounds"]

RISING = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.Flatten, nn.Identity)
"""Layers without weights that rise in each coordinate, or move none."""
ROUNDING = 1e-5
"""By how much of the largest logit a bound must exceed 0: the logits of an attacked network are computed in
single precision, of which a few units in the seventh digit are lost in each layer."""
BATCH = 500

Box = tuple[Tensor, Tensor]


class Normalise(nn.Module):
    """The normalisation of a network, as a layer that rises."""

    def __init__(self, model: LinearNetwork | SmallCNN) -> None:
        """Keep mean and standard deviation."""
        super().__init__()
        self.mean, self.std = model.mean, model.std

    def forward(self, x: Tensor) -> Tensor:
        """Return normalised inputs."""
        return (x - self.mean) / self.std


def is_chain(model: nn.Module) -> bool:
    """Return whether a network has interval bounds here: small-cnn, linear, or layers in a row."""
    try:
        chain_of(model)
    except InputError:
        return False
    return True


def chain_of(model: nn.Module) -> list[nn.Module]:
    """Return the layers of a network in the order in which they are applied, a linear one last.

    Raises:
        InputError: it is no chain of linear and rising layers.
    """
    layers = _layers(model)
    wrong = [layer for layer in layers if not isinstance(layer, (nn.Linear, nn.Conv2d, Normalise, *RISING))]
    padded = [layer for layer in layers if isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros"]
    if wrong or padded or not isinstance(layers[-1], nn.Linear):
        raise InputError(
            "interval bounds are for --model small-cnn and linear, and for nn.Sequential of linear layers, "
            f"convolutions and ReLU that ends in a linear one, got {type(model).__name__}"
        )
    return layers


def _layers(model: nn.Module) -> list[nn.Module]:
    if type(model) is SmallCNN:
        convolutions = [Normalise(model), model.conv1, nn.ReLU(), model.conv2, nn.ReLU()]
        return [*convolutions, nn.Flatten(), model.hidden, nn.ReLU(), model.head]
    if type(model) is LinearNetwork:
        return [Normalise(model), nn.Flatten(), model.head]
    if type(model) is nn.Sequential and len(model):
        return [layer for part in model for layer in _layers(part)]
    return [model]


def layer_bounds(layers: Sequence[nn.Module], low: Tensor, high: Tensor) -> Iterator[Box]:
    """Yield the smallest and largest value of each output of each layer; they have gradients.

    Args:
        layers: see `chain_of`.
        low: smallest inputs, shape (n, ...).
        high: largest inputs, shape (n, ...).
    """
    for layer in layers:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            middle, half = layer((low + high) / 2), (high - low) / 2
            if isinstance(layer, nn.Linear):
                half = F.linear(half, layer.weight.abs())
            else:
                kept = (layer.stride, layer.padding, layer.dilation, layer.groups)
                half = F.conv2d(half, layer.weight.abs(), None, *kept)  # type: ignore[arg-type]
            low, high = middle - half, middle + half
        else:
            low, high = layer(low), layer(high)
        yield low, high


def margin_bounds(head: nn.Linear, low: Tensor, high: Tensor, y: Tensor) -> Tensor:
    """Return a lower bound of the label's logit minus each logit, shape (n, C); 0 at the label.

    Args:
        head: the last layer, of C logits.
        low: smallest features that it gets, shape (n, d).
        high: largest, shape (n, d).
        y: labels, shape (n,).
    """
    weight = head.weight[y][:, None] - head.weight  # (n, C, d): W_y - W_j
    bias = 0 if head.bias is None else head.bias[y][:, None] - head.bias
    middle, half = (low + high) / 2, (high - low) / 2
    return (weight @ middle[..., None] - weight.abs() @ half[..., None]).squeeze(2) + bias


def certified(model: nn.Module, split: Split, eps: float) -> Tensor:
    """Return whether no attack within an l-infinity ball, cut by [0, 1], can break each sample, shape (n,).

    Args:
        model: see `chain_of`; it is left as it was.
        split: samples and labels.
        eps: radius of the ball.

    Raises:
        InputError: the network has no interval bounds here.

    Examples:
        >>> from deep.data.tensors import Split
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
        >>> with torch.no_grad():
        ...     _ = model[1].weight.copy_(torch.tensor([[-1.0], [1.0]]))
        ...     _ = model[1].bias.copy_(torch.tensor([0.5, -0.5]))
        >>> x, y = torch.tensor([[0.1], [0.4], [0.9]]), torch.tensor([0, 0, 1])
        >>> certified(model, Split(x, y, 1, torch.arange(3)), 0.2)
        tensor([ True, False,  True])
    """
    layers, parts = chain_of(model), []
    with torch.no_grad():
        for begin in range(0, len(split), BATCH):
            part = slice(begin, begin + BATCH)
            x, y = split.inputs(part), split.labels[part]
            ball = Ball(x, torch.full(y.shape, eps, dtype=x.dtype, device=x.device))
            *_, (low, high), logits = [(ball.low, ball.high), *layer_bounds(layers, ball.low, ball.high)]
            bounds = margin_bounds(layers[-1], low, high, y)  # type: ignore[arg-type]
            least = bounds.scatter(1, y[:, None], torch.inf).amin(1)
            size = torch.maximum(logits[0].abs(), logits[1].abs()).amax(1)
            parts.append(least > ROUNDING * size.clamp(min=1))
    return torch.cat(parts)
