"""RiFT, robustness critical fine-tuning: Zhu et al., ICCV 2023, https://arxiv.org/abs/2308.02533.

"Improving Generalization of Adversarial Training via Robust Critical Fine-Tuning":

1. the criticality of a layer is by how much the loss at attacked images can rise when its weights alone are
   moved by a tenth of their norm, max over |v| <= .1 |w| of L(w + v) - L(w), by gradient ascent;
2. the layer with the smallest is tuned on images without an attack, and no other;
3. of the networks w + a (v - w) between the first, w, and the tuned one, v, that with the smallest natural
   error is taken whose robust error is within ``--budget``, as by the stage interpolate.

Deviations: criticality and a are looked at in validation, where the authors' code (microsoft/robustlearn)
takes test images; batch norm keeps its statistics while the layer is tuned, there those of all layers drift;
the tuning sees images without crops and flips; a step of the attack is a quarter of the radius.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.attacks.ball import Ball
from deep.attacks.noise import Noise
from deep.attacks.pgd import cross_entropy, pgd
from deep.data import Split
from deep.runs.reload import Run
from deep.stages.base import Stage, Staged
from deep.stages.interpolate import chosen_between
from deep.training.seeds import stream
from theory.common.digits import rounded
from theory.common.fields import check_fields, setting

__all__ = ["STAGE", "RiFT", "criticality", "layers_of", "tuned"]

BATCH = 128


class RiFT(Stage):
    """The least critical layer tuned without an attack, as far as the robust accuracy allows."""

    @dataclass(frozen=True)
    class Params:
        """Settings."""

        budget: float = setting(
            0.0, "points of average robust accuracy in validation that it may cost", low=0, high=100
        )
        epochs: int = setting(10, "epochs of the tuning; after half of them lr is divided by 10", low=1)
        lr: float = setting(0.001, "learning rate of the tuning", low=0, high=1e3, strict=True)
        reach: float = setting(0.1, "how far weights are moved, in units of their norm", low=0, high=1)

        def __post_init__(self) -> None:
            """Check every value."""
            check_fields(self)

    def apply(self, run: Run, shards: Path, tick: Callable[[float], None]) -> Staged:
        """Return the network on the way to the tuned one, which is chosen in validation."""
        x, y = attacked(run), run.data.val.labels
        rises: dict[str, float] = {}
        for name in (names := layers_of(run.model)):
            rises[name] = criticality(run.model, name, x, y, self.params.reach)
            tick(0.3 * len(rises) / len(names))
        name = min(rises, key=rises.__getitem__)
        generator = torch.Generator(y.device).manual_seed(stream(run.settings.seed, "shuffle"))
        end = tuned(run.model, name, run.data.train, self.params.epochs, self.params.lr, generator)
        tick(0.5)
        staged = chosen_between(run, end, self.params.budget, shards, lambda done: tick(0.5 + done / 2))
        note = f"{staged.table.note}; {name} is tuned, whose criticality is {rounded(rises[name], 4)}"
        table = replace(staged.table, note=note)
        return Staged(staged.model, {**staged.state, "layer": name, "criticality": rises}, table)


def attacked(run: Run) -> Tensor:
    """Return the validation images of a run as PGD makes them of its network."""
    x, y, attack = run.data.val.inputs(slice(None)), run.data.val.labels, run.settings.attack
    noise, parts = Noise.of(stream(run.settings.seed, "validation"), run.data.val.index), []
    for part in torch.arange(len(y), device=y.device).split(BATCH):
        ball = Ball(x[part], torch.full(part.shape, attack.eps, device=x.device))
        start, objective = ball.uniform(noise[part]), cross_entropy(y[part])
        parts.append(pgd(run.model, ball, start, ball.eps / 4, attack.steps, objective))
    return torch.cat(parts)


def layers_of(model: nn.Module) -> Mapping[str, nn.Conv2d | nn.Linear]:
    """Return the convolutions and linear layers of a network by name."""
    return {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


def criticality(
    model: nn.Module, name: str, x: Tensor, y: Tensor, reach: float = 0.1, epochs: int = 10, lr: float = 1.0
) -> float:
    """Return how much the mean cross-entropy rises when the weights of a layer move the worst way.

    Args:
        model: in evaluation mode; it is left as it was.
        name: of the layer.
        x: attacked inputs, shape (n, ...).
        y: labels, shape (n,).
        reach: how far the weights w may move in l2, in units of |w|.
        epochs: passes of the ascent over the inputs.
        lr: its step, in units of the gradient.
    """
    moved = copy.deepcopy(model).requires_grad_(False)
    weight = layers_of(moved)[name].weight
    first, batches = weight.clone(), torch.arange(len(y), device=y.device).split(BATCH)
    before = _loss(moved, x, y)
    weight.requires_grad_(True)
    for _ in range(epochs):
        for part in batches:
            (slope,) = torch.autograd.grad(F.cross_entropy(moved(x[part]), y[part]), weight)
            with torch.no_grad():
                shift = weight + lr * slope - first
                weight.copy_(
                    first + shift * (reach * first.norm() / shift.norm().clamp(min=1e-12)).clamp(max=1)
                )
    return max(0.0, _loss(moved, x, y) - before)  # no move at all is allowed too


def _loss(model: nn.Module, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        parts = [
            F.cross_entropy(model(a), b, reduction="sum")
            for a, b in zip(x.split(BATCH), y.split(BATCH), strict=True)
        ]
    return float(torch.stack(parts).sum()) / len(y)


def tuned(
    model: nn.Module, name: str, split: Split, epochs: int, lr: float, generator: torch.Generator
) -> nn.Module:
    """Return a copy of a network in evaluation mode, of which a layer is tuned without an attack.

    Args:
        model: the network.
        name: of the layer.
        split: training images.
        epochs: passes over them; the learning rate is divided by 10 after half of them.
        lr: learning rate of SGD with momentum 0.9 and weight decay 5e-4.
        generator: of the order.
    """
    end = copy.deepcopy(model).eval().requires_grad_(False)
    layer = layers_of(end)[name].requires_grad_(True)
    optimizer = torch.optim.SGD(layer.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = lr / 10 if 2 * epoch >= epochs and epoch else lr
        order = torch.randperm(len(split), generator=generator, device=generator.device)
        for part in order.split(BATCH):
            loss = F.cross_entropy(end(split.inputs(part)), split.labels[part])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    return end.requires_grad_(True)


STAGE = RiFT
