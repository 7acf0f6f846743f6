"""What methods share that are built on PGD adversarial training or on TRADES: the base loss is a setting."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from deep.methods.base import Method
from deep.methods.trades import TRADES, divergence, smoothed
from theory.common.inputs import InputError, check_real

__all__ = ["Based", "Terms", "warm_up_epochs"]


def warm_up_epochs(share: float, epochs: int) -> int:
    """Return how many of a run's epochs train the warm-up that a method begins from; at least one is left.

    Raises:
        InputError: a warm-up was asked for and there is no epoch for it.
    """
    warm_up = min(round(share * epochs), epochs - 1)
    if share > 0 and warm_up == 0:
        raise InputError(f"--epochs must leave one for the warm-up, got {epochs}; or give --hot-share 0")
    return warm_up


class Terms(NamedTuple):
    """The parts of a base loss.

    Args:
        main: cross-entropy of each sample, shape (n,): at attacked inputs for PGD, at clean ones for TRADES.
        boundary: KL(p(x) || p(x')) of each sample, shape (n,); 0 for PGD.
        logits: at the attacked inputs, shape (n, classes).
    """

    main: Tensor
    boundary: Tensor
    logits: Tensor


class Based(TRADES):
    """A method on top of PGD adversarial training or TRADES; alone it is that base."""

    @dataclass(frozen=True)
    class Params:
        """Hyper-parameters of the base."""

        base: Literal["pgd", "trades"] = field(
            default="trades", metadata={"help": "what is trained: pgd or trades"}
        )
        beta: float = field(default=6.0, metadata={"help": "weight of the KL term of trades"})

        def __post_init__(self) -> None:
            """Refuse a negative weight."""
            check_real("--beta", self.beta, low=0, high=1e6)

    def attack(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the training examples of the base."""
        base = Method if self.params.base == "pgd" else TRADES
        return base.attack(self, model, x, y)

    def terms(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Terms:
        """Return the parts of the base loss at inputs x, labels y and training examples adv."""
        if self.params.base == "pgd":
            logits = model(adv)
            main = smoothed(logits, y, self.context.label_smoothing)
            return Terms(main, torch.zeros_like(main), logits)
        clean, logits = model(x), model(adv)
        main = smoothed(clean, y, self.context.label_smoothing)
        return Terms(main, divergence(clean, logits), logits)

    def losses(self, terms: Terms) -> Tensor:
        """Return the base loss of each sample, shape (n,)."""
        return terms.main + self.params.beta * terms.boundary

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the mean base loss."""
        return self.losses(self.terms(model, x, y, adv)).mean()
