"""The epoch loop: it knows what a method is and knows no method."""

import math
import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from deep.augment import Augment
from deep.data import Dataset
from deep.evaluate import Attack, evaluate
from deep.methods.base import Method
from deep.seeds import stream
from theory.inputs import InputError

__all__ = ["Recipe", "fit"]


@dataclass(frozen=True)
class Recipe:
    """SGD with momentum 0.9; the learning rate is divided by 10 after 50 % and 75 % of the epochs.

    The schedule is that of Rice et al. (2020), "Overfitting in adversarially robust deep
    learning".

    Args:
        epochs: epochs in all, those of a hot start included.
        lr: learning rate at the start.
        batch_size: images a step; a last incomplete batch is left out.
        weight_decay: L2 penalty.
        augment: what is done to the images of a step; nothing if None.
        seed: seed of the run.
    """

    epochs: int
    lr: float
    batch_size: int
    weight_decay: float
    augment: Augment | None
    seed: int

    def lr_at(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        return self.lr * 0.1 ** ((epoch >= self.epochs / 2) + (epoch >= self.epochs * 3 / 4))


def fit(
    model: nn.Module, method: Method, data: Dataset, recipe: Recipe, attack: Attack
) -> list[dict[str, Any]]:
    """Train a model and return the history: the loss, learning rate and method's state of each epoch.

    Args:
        model: trained in place.
        method: what is done at each step.
        data: the training split is trained on; the validation split is shown to methods that want
            it.
        recipe: the optimiser and its schedule.
        attack: the attack of the validation errors.

    Raises:
        InputError: the loss stopped being finite.
    """
    history: list[dict[str, Any]] = []
    shuffle = torch.Generator(data.train.labels.device).manual_seed(stream(recipe.seed, "shuffle"))
    optimizer = torch.optim.SGD(
        model.parameters(), lr=recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay
    )
    total = len(data.train) // recipe.batch_size * recipe.epochs
    with tqdm(total=total, unit="step", desc="training", file=sys.stderr, mininterval=0.5) as bar:
        for epoch, current in enumerate(method.schedule(recipe.epochs)):
            optimizer.param_groups[0]["lr"] = recipe.lr_at(epoch)
            if current.needs_validation:
                current.on_epoch_start(
                    evaluate(model, data.val, attack, seed=stream(recipe.seed, "validation")).errors(
                        data.classes
                    )
                )
            loss = _epoch(model, current, data, recipe, optimizer, shuffle, bar)
            if not math.isfinite(loss):
                raise InputError(
                    f"training diverged: the loss is {loss} in epoch {epoch + 1}; "
                    f"lower --lr (it is {recipe.lr:g}) or what weights the loss"
                )
            line = {"epoch": epoch + 1, "lr": recipe.lr_at(epoch), "loss": loss}
            history.append(line | {"trained_by": type(current).__name__, **current.state()})
    return history


def _epoch(
    model: nn.Module,
    method: Method,
    data: Dataset,
    recipe: Recipe,
    optimizer: torch.optim.Optimizer,
    shuffle: torch.Generator,
    bar: "tqdm[Any]",
) -> float:
    """Train for one epoch and return the mean loss."""
    model.train()
    device = data.train.labels.device
    order = torch.randperm(len(data.train), generator=shuffle, device=device)
    steps = len(order) // recipe.batch_size
    total = torch.zeros((), device=device)
    for step in range(steps):
        index = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
        x, y = data.train.inputs(index), data.train.labels[index]
        if recipe.augment:
            x = recipe.augment(x, shuffle)
        loss = method.loss(model, x, y, method.attack(model, x, y))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += loss.detach()
        bar.update()
    bar.set_postfix(loss=f"{float(total) / steps:.3f}")
    return float(total) / steps
