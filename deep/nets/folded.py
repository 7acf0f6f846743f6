"""The same network, cheaper to attack: running statistics folded, and channels last in memory.

An attack evaluates a network many times at fixed weights and needs the gradient of its input alone. So a
batch norm disappears into the convolution right before it, or becomes one multiply-add of each channel, and
wide convolutions on the CPU are done in tiles, by fewer multiplications (`deep.nets.winograd`).
Logits and gradients are those of the network in evaluation mode, up to rounding.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.nets.blocks import Pointwise, PostActBlock, PreActBlock
from deep.nets.networks import PreActResNet, ResNet
from deep.nets.winograd import Filters, convolve

__all__ = ["folded"]

PAIRS: Mapping[type[nn.Module], Mapping[str, str]] = {
    PreActBlock: {"conv1": "norm2"},
    PostActBlock: {"conv1": "norm1", "conv2": "norm2"},
    ResNet: {"stem": "norm"},
    nn.Sequential: {"0": "1"},
}
"""Convolutions whose output goes to a batch norm and nowhere else."""


def folded(model: nn.Module) -> nn.Module:
    """Return what computes the same as a residual network in evaluation mode, at its present weights.

    It has no gradient towards weights, and does not follow them: make it anew when they change. Another
    network is returned as it is, as is one whose batch norms have no running statistics.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    if type(model) not in (PreActResNet, ResNet) or any(norm.running_var is None for norm in norms):
        return model
    symbolic_form = _twin(model)
    symbolic_form.stem.weight = symbolic_form.stem.weight / model.std.view(1, -1, 1, 1)
    symbolic_form.normalise = lambda x: x - model.mean
    return symbolic_form


def _twin(module: nn.Module) -> nn.Module:
    """Return a module with the forward of this one, over layers that do the same at less cost."""
    children = dict(module.named_children())
    pairs = {
        conv: norm for conv, norm in PAIRS.get(type(module), {}).items() if _foldable(children, conv, norm)
    }
    twins: dict[str, nn.Module | None] = {}
    for name, child in children.items():
        if isinstance(child, nn.Conv2d):
            twins[name] = _Convolution(child, children.get(pairs.get(name, "")))
        elif isinstance(child, nn.BatchNorm2d):
            twins[name] = nn.Identity() if name in pairs.values() else _Affine(child)
        else:
            twins[name] = _twin(child)
    symbolic_form = copy.copy(module)
    symbolic_form._modules = {**module._modules, **twins}
    return symbolic_form


def _foldable(children: Mapping[str, nn.Module], conv: str, norm: str) -> bool:
    return isinstance(children.get(conv), nn.Conv2d) and isinstance(children.get(norm), nn.BatchNorm2d)


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return scale and shift of each channel by running statistics, shape (channels,) each."""
    scale = norm.weight.detach() * torch.rsqrt(norm.running_var + norm.eps)
    return scale, norm.bias.detach() - norm.running_mean * scale


class _Affine(nn.Module):
    """A batch norm by its running statistics: one multiply-add."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.scale, self.shift = (v.view(1, -1, 1, 1) for v in _affine(norm))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to the same shape."""
        whole = (1, *x.shape[1:])  # written out, for a contiguous loop over a whole sample is faster
        scale, shift = (
            v.expand(whole).contiguous(memory_format=torch.channels_last) for v in (self.scale, self.shift)
        )
        return torch.addcmul(shift, x, scale)


class _Convolution(nn.Module):
    """A convolution at fixed weights, with the batch norm after it if there is one."""

    def __init__(self, conv: nn.Conv2d, norm: nn.Module | None) -> None:
        super().__init__()
        weight, self.bias = conv.weight.detach(), None
        self.stride, self.padding = conv.stride, conv.padding
        self.every = conv.every if isinstance(conv, Pointwise) else 1
        if isinstance(norm, nn.BatchNorm2d):
            scale, self.bias = _affine(norm)
            weight = weight * scale.view(-1, 1, 1, 1)
        tile = _tile(conv)
        self.filters = Filters(weight, tile) if tile else None
        self.weight = None if tile else weight.contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels_in, h, w) to (n, channels, h / stride, w / stride)."""
        if self.filters is None:
            x = x[..., :: self.every, :: self.every] if self.every > 1 else x
            return F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        return convolve(x, self.filters, self.bias)


def _tile(conv: nn.Conv2d) -> int:
    """Return the height of the tiles with which Winograd's convolution pays, 0 where none does.

    Measured in PreAct-ResNet-18 at 32 x 32 with one thread of an AVX-512 processor, forward and gradient, of
    16 and 64 images: it pays from 256 channels on, not at 128 and below. From 512 channels on (4 x 4 pixels)
    tiles of 4 are as fast or 7 % faster, but their transformed weights are 4 times as large and not 1.8.
    In bfloat16 its transforms would round too much.
    """
    plain = conv.kernel_size == (3, 3) and conv.stride == (1, 1) and conv.padding == (1, 1)
    channels = min(conv.in_channels, conv.out_channels)
    if not plain or channels < 256 or conv.weight.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return 0
    return 4 if channels < 512 else 2
