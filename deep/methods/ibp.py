"""IBP, training by interval bounds: Gowal et al., 2018, https://arxiv.org/abs/1810.12715.

It is trained as by Shi et al., "Fast Certified Robust Training with Short Warmup", NeurIPS 2021,
https://arxiv.org/abs/2103.17268: on the cross-entropy of logits that no attack can make worse, 0 for the
label and for each other class j the upper bound of f_j - f_y over the ball
(`deep.attacks.interval_bounds`), by

- weights that start from a normal law of variance 2 pi / fan_in^2 but in the last layer, so that the bounds
  keep their width from layer to layer;
- a radius that is 0 for the first 1/80 of the training, and then rises to eps within half of it: as the
  fourth power of the time in the first quarter of that, and in a straight line after;
- while it rises, a penalty of weight (1 - radius / eps) / 2 that asks that no ReLU get bounds wider than
  twice those of the input, and that units that are always on and always off have like means and variances.
  As in the authors' code (shizhouxing/Fast-Certified-Robust-Training) it looks at a whole batch.

No input is attacked. The result has the share of each class that no bound certifies, the certified error.
With several processes the penalty is that of the part of each.

Deviations: no batch norm, which is part of the paper's remedy: it is for networks that are a chain of layers
without it, small-cnn and linear; SGD with momentum, and the schedule of all methods here, there Adam with
clipped gradients; the shape of the rise is from memory. ``--no-redraw`` keeps the weights, as ``--init``
needs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.attacks.ball import Ball
from deep.attacks.interval_bounds import Box, Normalise, chain_of, layer_bounds, margin_bounds
from deep.methods.base import Context, Epoch
from deep.methods.natural import Natural
from theory.common.fields import check_fields, setting

__all__ = ["IBP", "METHOD", "growth", "penalty", "redraw", "worst_logits"]

TOLERANCE = 0.5
"""How much narrower than the bounds after it the input may be, and how unlike units that are on and off."""
BEND = 0.25
"""Share of the rise of the radius that goes as the fourth power of time."""


def growth(part: float) -> float:
    """Return the radius in units of eps after a part of its rise: a t^4, then its tangent, which ends at 1.

    With the bend at m the tangent ends at a (m^4 + 4 m^3 (1 - m)).

    >>> growth(0.0), round(growth(0.25), 8), growth(1.0), growth(2.0)
    (0.0, 0.07692308, 1.0, 1.0)
    """
    t = min(max(part, 0.0), 1.0)
    whole = BEND**4 + 4 * BEND**3 * (1 - BEND)
    return t**4 / whole if t < BEND else (BEND**4 + 4 * BEND**3 * (t - BEND)) / whole


def worst_logits(bounds: Tensor) -> Tensor:
    """Return logits that no attack can make worse, shape (n, C), from lower bounds of the margins."""
    return -bounds


def redraw(layers: Sequence[nn.Module], generator: torch.Generator) -> None:
    """Draw the weights of all linear layers but the last from a normal law of variance 2 pi / fan_in^2."""
    for layer in layers[:-1]:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            std = math.sqrt(2 * math.pi) / layer.weight[0].numel()
            drawn = torch.randn(layer.weight.shape, generator=generator, device=generator.device)
            with torch.no_grad():
                layer.weight.copy_(std * drawn)


def penalty(width: Tensor, before: Sequence[Box]) -> Tensor:
    """Return the penalty of Shi et al. on the bounds before each ReLU, their mean.

    Args:
        width: mean half width of the bounds of the input, normalised.
        before: smallest and largest inputs of each ReLU, of a whole batch.
    """
    total = torch.zeros_like(width)
    for low, high in before:
        middle, half = (low + high) / 2, (high - low) / 2
        tight = F.relu(TOLERANCE - width / half.mean().clamp(min=1e-12)) / TOLERANCE
        total = total + tight + _unlike(middle, low > 0, high < 0)
    return total / max(len(before), 1)


def _unlike(middle: Tensor, on: Tensor, off: Tensor) -> Tensor:
    """Return by how much means and variances of units that are always on and always off differ.

    It is 0 where there are none of either, as in the authors' code.
    """
    zero = middle.new_zeros(())
    if not (on.any() and off.any()):
        return zero
    spread = (middle - middle.mean()).square()
    pairs = [((middle * on).sum(), -(middle * off).sum()), ((spread * on).sum(), (spread * off).sum())]
    ratios = [torch.minimum(a / b.clamp(min=1e-12), b / a.clamp(min=1e-12)) for a, b in pairs]
    return sum((F.relu(TOLERANCE - ratio) / TOLERANCE for ratio in ratios), zero)


class IBP(Natural):
    """Certified training by interval bounds."""

    attacks = ("pgd",)  # none is used

    @dataclass(frozen=True)
    class Params:
        """Hyper-parameters."""

        start: float = setting(1 / 80, "share of the training before the radius rises", low=0, high=1)
        rise: float = setting(0.5, "share of the training in which it rises", low=0, high=1)
        penalty: float = setting(0.5, "weight of the penalty where the rise begins", low=0, high=1e6)
        redraw: bool = setting(True, "draw the weights by the law of the paper before training")

        def __post_init__(self) -> None:
            """Check every value."""
            check_fields(self)

    def __init__(self, params: Any, context: Context) -> None:
        """Start at the first step."""
        super().__init__(params, context)
        self.done, self.steps = 0, 1

    def setup(self, model: nn.Module, epochs: int) -> None:
        """Refuse a network without bounds; draw its weights."""
        layers = chain_of(model)
        self.epochs = epochs
        if self.params.redraw:
            redraw(layers, self.context.generator)

    def on_epoch_start(self, epoch: Epoch) -> None:
        """Learn how many steps there are."""
        self.steps = epoch.steps

    @property
    def part(self) -> float:
        """Return the radius of the present step, in units of eps."""
        now = self.done / (self.steps * self.epochs) - self.params.start
        return growth(now / self.params.rise) if self.params.rise > 0 else float(now >= 0)

    def eps(self, y: Tensor) -> Tensor:
        """Return the radius of each sample, shape (n,)."""
        return self.part * super().eps(y)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the mean cross-entropy of the worst logits, and the penalty while the radius rises."""
        layers, ball, part = chain_of(model), Ball(x, self.eps(y)), self.part
        boxes = [(ball.low, ball.high), *layer_bounds(layers[:-1], ball.low, ball.high)]
        bounds = margin_bounds(layers[-1], *boxes[-1], y)  # type: ignore[arg-type]
        smoothing = self.context.label_smoothing
        main = F.cross_entropy(worst_logits(bounds), y, label_smoothing=smoothing)
        if not 0 < part < 1:
            return main
        before = [boxes[i] for i, layer in enumerate(layers) if isinstance(layer, nn.ReLU)]
        low, high = boxes[isinstance(layers[0], Normalise)]  # normalised, where the network does so
        return main + self.params.penalty * (1 - part) * penalty((high - low).mean() / 2, before)

    def on_batch_end(self, model: nn.Module) -> None:
        """Count the step."""
        self.done += 1


METHOD = IBP
