"""Networks that take inputs in [0, 1] and normalise them themselves.

``width`` means one thing in all of them: the channels of the first stage (of a residual network) or of the
first convolution. PreAct-ResNet-18 and ResNet-18 have width 64; WRN-28-10 and WRN-34-10 have width 160, which
is 16 times their widening factor. PreAct-ResNet-8-patch is for CPUs: three stages of one block, on patches.

Weights start as torch starts them (He's uniform law with a = sqrt(5); batch norms at 1 and 0), but for wide
residual networks, which start as published: He's normal law over the fan out, and no bias.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.data import DataSpec
from deep.nets.blocks import PostActBlock, PreActBlock
from deep.nets.imported import check_logits, network_of
from theory.common.inputs import InputError

__all__ = ["MODELS", "LinearNetwork", "PreActResNet", "ResNet", "SmallCNN", "build"]


class Normalised(nn.Module):
    """The normalisation that every network begins with."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], sides: int = 2) -> None:
        """Keep mean and standard deviation of each channel of inputs with so many sides, 2 of an image."""
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, *[1] * sides))
        self.register_buffer("std", torch.tensor(std).view(-1, *[1] * sides))

    def normalise(self, x: Tensor) -> Tensor:
        """Return inputs in [0, 1], shape (n, c, h, w), with mean 0 and standard deviation 1."""
        return (x - self.mean) / self.std


def _logits(head: nn.Linear, features: Tensor) -> Tensor:
    """Return the logits in single precision where the rest of the network is in bfloat16.

    Their differences are what losses and attacks look at, and of bfloat16 three digits are known.
    """
    if features.dtype != torch.bfloat16:
        return head(features)
    with torch.autocast(features.device.type, enabled=False):
        return head(features.float())


def _stages(
    block: Callable[[int, int, int], nn.Module], blocks: tuple[int, ...], channels: int, width: int
) -> nn.Sequential:
    """Return stages, each with twice the channels and half the resolution of the one before."""
    layers = []
    for stage, count in enumerate(blocks):
        for i in range(count):
            out = width * 2**stage
            layers.append(block(channels, out, 2 if stage > 0 and i == 0 else 1))
            channels = out
    return nn.Sequential(*layers)


class PreActResNet(Normalised):
    """A pre-activation residual network, wide ones included.

    Its stem is 3 x 3, as usual for small images, or takes patches: 4 x 4 pixels, every second one, which
    halves the resolution of every stage and so divides the cost by 4.

    Args:
        blocks: blocks of each stage.
        width: channels of the first stage; 64 with blocks (2, 2, 2, 2) is PreAct-ResNet-18.
        classes: number of logits.
        mean: mean of each input channel.
        std: standard deviation of each input channel.
        stem: channels of the stem; ``width`` if None.
        patch: whether the stem takes patches.
    """

    def __init__(
        self,
        blocks: tuple[int, ...],
        width: int,
        classes: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        *,
        stem: int | None = None,
        patch: bool = False,
    ) -> None:
        """Make the layers with torch's global generator."""
        super().__init__(mean, std)
        stem, channels = stem or width, width * 2 ** (len(blocks) - 1)
        self.stem = nn.Conv2d(len(mean), stem, *((4, 2, 1) if patch else (3, 1, 1)), bias=False)
        self.body = _stages(PreActBlock, blocks, stem, width)
        self.norm = nn.BatchNorm2d(channels)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (n, classes), of inputs in [0, 1], shape (n, c, h, w)."""
        out = torch.relu_(self.norm(self.body(self.stem(self.normalise(x)))))
        return _logits(self.head, out.mean((2, 3)))


class ResNet(Normalised):
    """A residual network that activates after each sum, with a 3 x 3 stem as usual for small images.

    Args:
        blocks: blocks of each stage.
        width: channels of the first stage; 64 with blocks (2, 2, 2, 2) is ResNet-18.
        classes: number of logits.
        mean: mean of each input channel.
        std: standard deviation of each input channel.
    """

    def __init__(
        self,
        blocks: tuple[int, ...],
        width: int,
        classes: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        """Make the layers with torch's global generator."""
        super().__init__(mean, std)
        self.stem = nn.Conv2d(len(mean), width, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.body = _stages(PostActBlock, blocks, width, width)
        self.head = nn.Linear(width * 2 ** (len(blocks) - 1), classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (n, classes), of inputs in [0, 1], shape (n, c, h, w)."""
        out = self.body(torch.relu_(self.norm(self.stem(self.normalise(x)))))
        return _logits(self.head, out.mean((2, 3)))


class SmallCNN(Normalised):
    """Two 4 x 4 convolutions of stride 2 and two linear layers, without batch norm (Wong and Kolter, 2018).

    Args:
        width: channels of the first convolution; 16 there, and twice as many in the second.
        classes: number of logits.
        side: height and width of an input, or both if they differ.
        mean: mean of each input channel.
        std: standard deviation of each input channel.
    """

    def __init__(
        self,
        width: int,
        classes: int,
        side: int | tuple[int, ...],
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        """Make the layers with torch's global generator."""
        super().__init__(mean, std)
        self.conv1 = nn.Conv2d(len(mean), width, 4, 2, 1)
        self.conv2 = nn.Conv2d(width, 2 * width, 4, 2, 1)
        sides = (side, side) if isinstance(side, int) else side
        self.hidden = nn.Linear(2 * width * math.prod(s // 2 // 2 for s in sides), 100)
        self.head = nn.Linear(100, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (n, classes), of inputs in [0, 1], shape (n, c, side, side)."""
        out = F.relu(self.conv2(F.relu(self.conv1(self.normalise(x)))))
        return _logits(self.head, F.relu(self.hidden(out.flatten(1))))


class LinearNetwork(Normalised):
    """Softmax regression on the pixels, for which the exact worst case of an attack is known.

    Args:
        classes: number of logits.
        sides: what follows the channels of an input: height and width, or nothing.
        mean: mean of each input channel.
        std: standard deviation of each input channel.
    """

    def __init__(
        self, classes: int, sides: tuple[int, ...], mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        """Make the layer with torch's global generator."""
        super().__init__(mean, std, len(sides))
        self.head = nn.Linear(len(mean) * math.prod(sides), classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (n, classes), of inputs in [0, 1], shape (n, c, *sides)."""
        return self.head(self.normalise(x).flatten(1))


@dataclass(frozen=True)
class Architecture:
    """A network by name.

    Args:
        width: its width as published.
        make: returns it, given its width, the number of logits, and the data set.
    """

    width: int
    make: Callable[[int, int, DataSpec], nn.Module]


def _preact(
    blocks: tuple[int, ...], width: int, classes: int, spec: DataSpec, *, patch: bool = False
) -> nn.Module:
    return PreActResNet(blocks, width, classes, spec.mean, spec.std, patch=patch)


def _resnet(blocks: tuple[int, ...], width: int, classes: int, spec: DataSpec) -> nn.Module:
    return ResNet(blocks, width, classes, spec.mean, spec.std)


def _wide(blocks: int, width: int, classes: int, spec: DataSpec) -> nn.Module:
    """Return a wide residual network of depth 6 blocks + 4 (Zagoruyko and Komodakis, 2016)."""
    model = PreActResNet((blocks,) * 3, width, classes, spec.mean, spec.std, stem=16)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(model.head.bias)
    return model


def _small(width: int, classes: int, spec: DataSpec) -> nn.Module:
    return SmallCNN(width, classes, spec.side, spec.mean, spec.std)


def _linear(width: int, classes: int, spec: DataSpec) -> nn.Module:
    if width != 1:
        raise InputError(f"--model linear has no width but 1, got --width {width}")
    return LinearNetwork(classes, spec.sides, spec.mean, spec.std)


MODELS: Mapping[str, Architecture] = {
    "linear": Architecture(1, _linear),
    "preact-resnet8-patch": Architecture(64, partial(_preact, (1, 1, 1), patch=True)),
    "preact-resnet18": Architecture(64, partial(_preact, (2, 2, 2, 2))),
    "preact-small": Architecture(16, partial(_preact, (1, 1))),
    "resnet18": Architecture(64, partial(_resnet, (2, 2, 2, 2))),
    "small-cnn": Architecture(16, _small),
    "wrn-28-10": Architecture(160, partial(_wide, 4)),
    "wrn-34-10": Architecture(160, partial(_wide, 5)),
}
"""Every network by name."""


def build(name: str, width: int | None, classes: int, spec: DataSpec) -> nn.Module:
    """Return a network for a data set, its weights drawn with torch's global generator.

    Args:
        name: key of `MODELS`, or package.module:function, see `deep.nets.imported.network_of`.
        width: see the head of this module; None for a function.
        classes: number of logits.
        spec: the data set, for the shape of its images and their mean and standard deviation.

    Raises:
        InputError: the network has no such width, or takes no such inputs.
    """
    if name not in MODELS or width is None:
        return network_of(name, classes, spec.shape)
    if name != "linear" and len(spec.sides) != 2:
        raise InputError(
            f"--model {name} takes images, inputs of shape (c, h, w), got {spec.shape}; take --model "
            "linear or package.module:function"
        )
    model = MODELS[name].make(width, classes, spec)
    if not spec.files and spec.eps is None:  # own data, perhaps of a size that no network was made for
        check_logits(name, model, classes, spec.shape)
    return model
