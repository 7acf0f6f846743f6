"""The blocks of residual networks."""

import torch
from torch import Tensor, nn

__all__ = ["Pointwise", "PostActBlock", "PreActBlock"]


class Pointwise(nn.Conv2d):
    """A 1 x 1 convolution; with a stride it takes every so many pixels first, which is the same function.

    oneDNN writes past its workspace in the gradient of the weight of a strided 1 x 1 convolution with fewer
    channels than it computes at once (8 with AVX2; with AVX-512 2 were seen to crash; torch 2.13;
    https://github.com/uxlfoundation/oneDNN/issues/6035). Of stride 1 it is right.
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        """Make the layer with torch's global generator."""
        super().__init__(channels_in, channels, 1, bias=False)
        self.every = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels_in, h, w) to (n, channels, h / stride, w / stride), rounded up."""
        return super().forward(x[..., :: self.every, :: self.every])


class PreActBlock(nn.Module):
    """Two 3 x 3 convolutions, each after batch norm and ReLU, beside a shortcut (He et al., 2016b)."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        """Make the layers; a 1 x 1 convolution is the shortcut where the shape changes."""
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        same = stride == 1 and channels_in == channels
        self.shortcut = None if same else Pointwise(channels_in, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels_in, h, w) to (n, channels, h / stride, w / stride)."""
        out = torch.relu_(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(out)
        return self.conv2(torch.relu_(self.norm2(self.conv1(out)))).add_(shortcut)


class PostActBlock(nn.Module):
    """Two 3 x 3 convolutions, each before batch norm, beside a shortcut, then ReLU (He et al., 2016a)."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        """Make the layers; a normalised 1 x 1 convolution is the shortcut where the shape changes."""
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut = None
        if stride != 1 or channels_in != channels:
            conv = Pointwise(channels_in, channels, stride)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels_in, h, w) to (n, channels, h / stride, w / stride)."""
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return torch.relu_(self.norm2(self.conv2(torch.relu_(self.norm1(self.conv1(x))))) + shortcut)
