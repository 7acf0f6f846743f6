"""Pre-activation residual networks (He et al., 2016), normalising their inputs themselves."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["MODELS", "PreActResNet"]

MODELS: Mapping[str, tuple[int, ...]] = {"preact-resnet18": (2, 2, 2, 2), "preact-small": (1, 1)}
"""Blocks of each stage. A stage has twice the channels and half the resolution of the one before."""


class Block(nn.Module):
    """Two 3 x 3 convolutions, each after batch norm and ReLU, beside a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        """Make the layers; a 1 x 1 convolution is the shortcut where the shape changes."""
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        same = stride == 1 and channels_in == channels
        self.shortcut = None if same else nn.Conv2d(channels_in, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels_in, h, w) to (n, channels, h / stride, w / stride)."""
        out = F.relu(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(out)
        return self.conv2(F.relu(self.norm2(self.conv1(out)))) + shortcut


class PreActResNet(nn.Module):
    """A pre-activation residual network for inputs in [0, 1].

    Args:
        blocks: blocks of each stage.
        width: channels of the first stage; 64 with blocks (2, 2, 2, 2) is PreAct-ResNet-18.
        classes: number of logits.
        mean: mean of each input channel.
        std: standard deviation of each input channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        blocks: tuple[int, ...],
        width: int,
        classes: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        """Make the layers with torch's global generator."""
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))
        self.stem = nn.Conv2d(len(mean), width, 3, 1, 1, bias=False)
        layers, channels = [], width
        for stage, count in enumerate(blocks):
            for i in range(count):
                out = width * 2**stage
                layers.append(Block(channels, out, stride=2 if stage > 0 and i == 0 else 1))
                channels = out
        self.body = nn.Sequential(*layers)
        self.norm = nn.BatchNorm2d(channels)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (n, classes), of inputs in [0, 1], shape (n, c, h, w)."""
        out = F.relu(self.norm(self.body(self.stem((x - self.mean) / self.std))))
        return self.head(out.mean((2, 3)))
