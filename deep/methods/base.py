"""What a training method is: hooks that the epoch loop calls. The defaults are PGD adversarial training."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.attacks import cross_entropy, pgd
from deep.ball import Ball
from deep.noise import Noise
from theory.errors import ClassErrors

__all__ = ["Context", "Method"]


@dataclass(frozen=True)
class Context:
    """What every method may use.

    Args:
        classes: number of classes C.
        eps: training radius, in units of [0, 1].
        steps: steps of the training attack, of size eps / 4.
        generator: the source of all of the method's random numbers.
    """

    classes: int
    eps: float
    steps: int
    generator: torch.Generator

    def per_class(self, value: float) -> Tensor:
        """Return a vector of C equal values on the device of the run."""
        return torch.full((self.classes,), value, device=self.generator.device)

    def noise(self, n: int) -> Noise:
        """Return new random numbers for the n samples of a batch, keyed by their place in it."""
        device = self.generator.device
        seed = torch.randint(2**63 - 1, (), generator=self.generator, device=device)
        return Noise(seed, torch.arange(n, device=device))


class Method:
    """A training method; a subclass lives in its own file, named like the method, as ``METHOD``.

    Its hyper-parameters are the fields of the frozen dataclass ``Params``: each is a flag of the
    command line, with its ``help`` metadata and default.
    """

    @dataclass(frozen=True)
    class Params:
        """No hyper-parameters."""

    needs_validation = False
    """Whether `on_epoch_start` wants the errors on the validation split."""

    def __init__(self, params: Any, context: Context) -> None:
        """Keep the hyper-parameters and the context; make the state."""
        self.params = params
        self.context = context

    def schedule(self, epochs: int) -> list["Method"]:
        """Return the method of each epoch: this one, or before it the one that trains its hot start."""
        return [self] * epochs

    def on_epoch_start(self, val: ClassErrors) -> None:
        """Update the state from the errors on the validation split; called if `needs_validation`."""

    def eps(self, y: Tensor) -> Tensor:
        """Return the training radius of each sample, shape (n,), from the labels y."""
        return torch.full(y.shape, self.context.eps, device=y.device)

    def attack(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the training examples made from x, same shape."""
        eps = self.eps(y)
        ball = Ball(x, eps)
        start = ball.uniform(self.context.noise(len(y)))
        return pgd(model, ball, start, eps / 4, self.context.steps, cross_entropy(y))

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the scalar to descend, for inputs x, labels y and training examples adv."""
        return F.cross_entropy(model(adv), y)

    def state(self) -> dict[str, Any]:
        """Return what the method has learnt about the classes, as JSON, for the history."""
        return {}
