"""Errors of every class of a network, without an attack and under PGD."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from deep.attacks import attacking, cross_entropy, pgd, uniform_start
from deep.data import Split
from theory.errors import ClassErrors

__all__ = ["Attack", "Flags", "evaluate"]


@dataclass(frozen=True)
class Attack:
    """The evaluation attack: PGD on the cross-entropy from a uniform start, the same radius for every class.

    Args:
        eps: l-infinity radius, in units of [0, 1].
        eps_text: the same as it was given, such as 8/255.
        steps: number of steps, of size eps / 4 (2/255 for 8/255).
    """

    eps: float
    eps_text: str
    steps: int

    @property
    def name(self) -> str:
        """Return the full setting in words."""
        return f"PGD-{self.steps}, cross-entropy, l-infinity, eps={self.eps_text}, step=eps/4, uniform start"


@dataclass(frozen=True)
class Flags:
    """Whether each test sample is classified right, without and under the attack; shape (n,) each."""

    labels: npt.NDArray[np.int64]
    ok_natural: npt.NDArray[np.bool_]
    ok_attacked: npt.NDArray[np.bool_]

    def errors(self, classes: Sequence[str]) -> ClassErrors:
        """Return the counts of each class."""
        return ClassErrors.from_flags(classes, self.labels, self.ok_natural, self.ok_attacked)


def evaluate(model: nn.Module, split: Split, attack: Attack, *, seed: int, batch_size: int = 500) -> Flags:
    """Return the flags of every sample of a split.

    Args:
        model: returns logits; its mode is restored.
        split: images and labels.
        attack: the attack.
        seed: seed of the attack's random starts.
        batch_size: images attacked at once.
    """
    device = split.labels.device
    generator = torch.Generator(device).manual_seed(seed)
    natural, attacked = [], []
    for begin in range(0, len(split), batch_size):
        part = slice(begin, begin + batch_size)
        x, y = split.inputs(part), split.labels[part]
        eps = torch.full((len(y),), attack.eps, device=device)
        start = uniform_start(x, eps, generator)
        adv = pgd(model, x, start, eps, eps / 4, attack.steps, cross_entropy(y))
        with attacking(model), torch.no_grad():
            natural.append(model(x).argmax(1) == y)
            attacked.append(model(adv).argmax(1) == y)
    ok_natural = torch.cat(natural).cpu().numpy()
    return Flags(split.labels.cpu().numpy(), ok_natural, ok_natural & torch.cat(attacked).cpu().numpy())
